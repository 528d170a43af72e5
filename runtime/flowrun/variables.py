"""Variables of an environment: the entries `var.<name>`, and the types that the deployed flows declare.

The entry is what counts. Whoever changes it (by compare-and-set, with a version that grows) then tells every partition
by a `SetVar`; leaders follow the entries, too, so a change whose author died half-way arrives all the same. What was
unset stays as an entry without a value, for its version.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import NoReturn

import msgspec
from flowc.types import Type, text

from . import values
from .deployments.reading import read_deployed
from .errors import Conflict, FlowError
from .expr import Env, evaluate
from .manifest import Variable
from .messages import SetVar
from .parameters import ArgumentError
from .transport import Entry, Transport

__all__ = ["PREFIX", "Declared", "SetVariable", "VariableStore", "default_of", "encode_variable", "event_of",
           "read_declared", "read_entry", "unknown", "why_not"]  # fmt: skip

PREFIX = "var"
#: version of the format of an entry
FORMAT = 1


class SetVariable(msgspec.Struct, frozen=True, array_like=True):
    """What was set last of a variable."""

    format: int
    version: int
    #: msgpack; None: it was unset
    value: bytes | None
    #: milliseconds since 1970, and who did it
    at_ms: int
    by: str


class Declared(msgspec.Struct, frozen=True):
    """A declaration of a variable."""

    variable: Variable
    #: "project `shop`", or where else
    where: str


_decoder = msgspec.msgpack.Decoder(SetVariable)
_encoder = msgspec.msgpack.Encoder()


# ---- entries --------------------------------------------------------------------------------------------------------


class VariableStore:
    """Methods raise TransportError and StoreError, and FlowError for an entry that cannot be read."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def get(self, name: str) -> SetVariable | None:
        """None: it never was set."""
        entry = await self._transport.read_entry(f"{PREFIX}.{name}")
        return None if entry is None or not entry.data else read_entry(entry)

    async def all(self) -> dict[str, SetVariable]:
        """By name, also what was unset."""
        found = [entry for entry in await self._transport.entries(PREFIX) if entry.data]
        return {entry.key.removeprefix(f"{PREFIX}."): read_entry(entry) for entry in found}

    async def set(self, name: str, value: bytes | None, by: str) -> SetVariable:
        """Changes the entry. Raises Conflict if somebody else did at the same time."""
        key = f"{PREFIX}.{name}"
        entry = await self._transport.read_entry(key)
        now_ms = int(time.time() * 1000)
        last = read_entry(entry).version if entry is not None and entry.data else 0
        made = SetVariable(FORMAT, max(last + 1, now_ms), value, now_ms, by)
        try:
            await self._transport.write_entry(key, _encoder.encode(made), 0 if entry is None else entry.revision)
        except Conflict:
            raise Conflict(f"the variable `{name}` was changed by somebody else at the same time: try again") from None
        return made


def read_entry(entry: Entry) -> SetVariable:
    """Raises FlowError."""
    try:
        found = _decoder.decode(entry.data)
    except msgspec.DecodeError as error:
        raise FlowError(f"the entry `{entry.key}` cannot be read ({error}): set the variable anew") from None
    if found.format > FORMAT:
        raise FlowError(f"the entry `{entry.key}` was written by a newer version: upgrade flowc here")
    return found


def event_of(name: str, found: SetVariable) -> SetVar:
    """What tells a partition of it."""
    return SetVar(name, found.value, f"{PREFIX}/{name}/{found.version}", by=found.by, version=found.version)


# ---- declarations ---------------------------------------------------------------------------------------------------


async def read_declared(transport: Transport, more: Iterable[Variable] = ()) -> dict[str, list[Declared]]:
    """The declarations of each variable, by its name: those of what is deployed, and more. Raises as
    `read_deployed`."""
    found: dict[str, list[Declared]] = {}
    for project, deployed in sorted((await read_deployed(transport)).items()):
        for variable in deployed.manifest.variables:
            found.setdefault(variable.name, []).append(Declared(variable, f"project `{project}`"))
    for variable in more:
        found.setdefault(variable.name, []).append(Declared(variable, "the project in this folder"))
    return found


def encode_variable(name: str, value: object, declared: Mapping[str, list[Declared]]) -> bytes:
    """The value as every declaration takes it. Raises ArgumentError: nobody declares it, or the type is another."""
    if name not in declared:
        raise ArgumentError(unknown(name, declared))
    data = b""
    for one in declared[name]:
        try:
            data = values.check(value, one.variable.type)
        except (values.TypeMismatch, values.NotSerialisable) as error:
            reason = str(error).removeprefix("`$`: ").replace("`$", f"`{name}")
            kind = text(one.variable.type)
            raise ArgumentError(f"variable `{name}` is declared as {kind} by {one.where}: {reason}") from None
    if len(data) > values.INLINE_LIMIT:
        raise ArgumentError(
            f"variable `{name}` would have {len(data):,} bytes, and at most {values.INLINE_LIMIT:,} are kept: store "
            "the value elsewhere, and set where it is"
        )
    return data


def unknown(name: str, declared: Mapping[str, object]) -> str:
    """Why a name is refused that nobody declares."""
    close = get_close_matches(name, declared, 1)
    if close:
        return f"no deployed flow has a variable `{name}`: did you mean `{close[0]}`?"
    known = ", ".join(f"`{one}`" for one in sorted(declared))
    return f"no deployed flow has a variable `{name}`: {'there are ' + known if known else 'there are none'}"


def why_not(value: bytes, kind: Type) -> str | None:
    """Why a value does not have a type; None if it has."""
    try:
        values.decode(value, kind, _nothing_stored)
    except values.TypeMismatch as error:
        return str(error)
    return None


def default_of(variable: Variable) -> object:
    """As the type has it; None if there is none."""
    return None if variable.default is None else evaluate(variable.default, Env([]))


def _nothing_stored(digest: str) -> NoReturn:
    raise values.TypeMismatch(f"it refers to the blob {digest}, and variables hold no large values")
