"""What a deployment needs of its environment, and whether it is there: values of variables, fields of connections,
secrets. Looked at before it becomes the current one, so that it does not fail when a run first needs it.

Variables and connections are looked up in their entries. Secrets are resolved where they are used: so the nodes are
asked. Where none lives, what is kept on the server counts as there, and of the rest it cannot be told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from flowc.plan import ConnectionDef, Expr
from flowc.types import text

from .connections import ConnectionProblem, ConnectionStore, field_names, missing_fields
from .errors import FlowError
from .manifest import Manifest, Variable
from .secrets import KeyRing, Resolver, SealedStore, SecretError
from .secrets.asking import Resolves, ask_nodes
from .transport import Transport
from .variables import SetVariable, VariableStore, why_not

__all__ = ["Problem", "missing"]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a deployment needs and that is not there."""

    kind: Literal["variable", "connection", "secret"]
    name: str
    #: what is wrong, and what to do
    message: str
    #: False: it cannot be told, or concerns some of the nodes only
    sure: bool = True


async def missing(transport: Transport, manifest: Manifest, *, resolver: Resolver | None = None) -> list[Problem]:
    """What is missing for this manifest; nothing is changed. `resolver`: a secret that it can resolve counts as there,
    where no node lives to be asked. Takes a second or so if there are secrets. Raises TransportError, StoreError."""
    problems = await _variables(transport, manifest.variables)
    keys, of_connections = await _connections(transport, manifest)
    problems += of_connections
    if keys:
        problems += await _secrets(transport, sorted(keys), resolver)
    return problems


# ---- variables ------------------------------------------------------------------------------------------------------


async def _variables(transport: Transport, declared: Sequence[Variable]) -> list[Problem]:
    if not declared:
        return []
    try:
        known = await VariableStore(transport).all()
    except FlowError as error:
        return [Problem(kind="variable", name=one.name, message=str(error)) for one in declared[:1]]
    found = [_variable(one, known.get(one.name)) for one in declared]
    return [problem for problem in found if problem is not None]


def _variable(declared: Variable, found: SetVariable | None) -> Problem | None:
    name, kind = declared.name, text(declared.type)
    if found is None or found.value is None:
        if declared.default is not None:
            return None
        message = f"variable `{name}: {kind}` is not set, and has no default: `flowc var set {name} VALUE`"
    elif reason := why_not(found.value, declared.type):
        message = f"variable `{name}` is set to what is no {kind} ({reason}): set it anew with `flowc var set {name}`"
    else:
        return None
    return Problem(kind="variable", name=name, message=message)


# ---- connections ----------------------------------------------------------------------------------------------------


async def _connections(transport: Transport, manifest: Manifest) -> tuple[set[str], list[Problem]]:
    """The keys of all secrets that are needed, those of connections as the environment sets them; and what is wrong
    with connections."""
    keys, replaced, problems = set(manifest.secrets), set[str](), list[Problem]()
    store = ConnectionStore(transport)
    for one in manifest.connections:
        try:
            settings = await store.get(one.name)
        except ConnectionProblem as error:
            problems.append(Problem(kind="connection", name=one.name, message=str(error)))
            continue
        fields = {**dict(one.fields), **settings}
        keys |= _keys(fields)
        replaced |= _keys(dict(one.fields)) - _keys(fields)
        problems += _fields(one, settings, fields)
    return keys - replaced, problems


def _keys(fields: Mapping[str, Expr]) -> set[str]:
    return {value[1] for value in fields.values() if value[0] == "secret"}


def _fields(definition: ConnectionDef, settings: Mapping[str, Expr], fields: Mapping[str, Expr]) -> list[Problem]:
    name = definition.name
    found = [
        Problem(
            kind="connection",
            name=name,
            message=f"connection `{name}` ({definition.kind}) has no `{field}`: declare it, or set it with "
            f"`flowc connection set {name} {field.partition(':')[0]}=VALUE`",
        )
        for field in missing_fields(definition, fields)
    ]
    known = field_names(definition)
    return found + [
        Problem(
            kind="connection",
            name=name,
            message=f"the environment sets the field `{field}` of connection `{name}`, which it has not: "
            f"`flowc connection unset {name} {field}`",
            sure=False,
        )
        for field in settings
        if field not in known
    ]


# ---- secrets --------------------------------------------------------------------------------------------------------


async def _secrets(transport: Transport, keys: list[str], resolver: Resolver | None) -> list[Problem]:
    answers = await ask_nodes(transport, keys)
    if answers:
        found = [_told(key, answers) for key in keys]
    else:
        found = [await _alone(transport, key, resolver) for key in keys]
    return [problem for problem in found if problem is not None]


def _told(key: str, answers: list[Resolves]) -> Problem | None:
    """What the nodes say."""
    without = [answer for answer in answers if key not in answer.found]
    if not without:
        return None
    reason = without[0].missing.get(key, "it was not looked for")
    if len(without) == len(answers):
        return Problem(kind="secret", name=key, message=f"no node can resolve `{key}`: {reason}")
    names = ", ".join(sorted({answer.node for answer in without}))
    return Problem(
        kind="secret", name=key, message=f"not all nodes can resolve `{key}` ({names}): {reason}", sure=False
    )


async def _alone(transport: Transport, key: str, resolver: Resolver | None) -> Problem | None:
    """No node lives."""
    try:
        if await SealedStore(transport, KeyRing()).has(key) or (resolver is not None and await resolver.has(key)):
            return None
    except SecretError:
        pass  # it is nothing that is kept there, or cannot be told here
    message = f"it cannot be told whether the secret `{key}` is there: no node lives that could be asked"
    return Problem(kind="secret", name=key, message=message, sure=False)
