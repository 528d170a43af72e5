"""Fields of connections: what kinds have, and those that an environment sets other than the files do.

A field's value is an expression of the plan: a constant, or ["secret", key]. What the environment sets stands in the
entry `connection.<name>` (`flowc connection set`), and counts for every project that declares a connection of that
name, from the next task on. Fields of [env.NAME.connection.X] in flow.toml become part of the deployed plans instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import msgspec
from flowc.plan import ConnectionDef, Expr, Plan
from flowc.types import BOOL, INT, STRING, Type, text

from .errors import Conflict, FlowError
from .parameters import ArgumentError, encode_argument, parse_argument
from .transport import Entry, Transport

__all__ = ["KINDS", "ConnectionProblem", "ConnectionSettings", "ConnectionStore", "Field", "configured",
           "field_names", "missing_fields", "overridden", "parse_field", "shown_value"]  # fmt: skip

#: version of the format of an entry
FORMAT = 1
#: what the environment sets is read again after this time, in seconds
_FRESH = 20.0
_PREFIX = "connection"


class ConnectionProblem(FlowError):
    """A field of a connection cannot be set like this: the message says why."""


class Field(msgspec.Struct, frozen=True):
    """A field of a kind."""

    type: Type = STRING
    required: bool = False
    #: it must come from a secret
    secret: bool = False


_LOGIN = {"user": Field(), "password": Field(secret=True)}
_SERVER = {"host": Field(required=True), "port": Field(INT), **_LOGIN}
#: kinds whose fields are known; others have the fields that are declared
KINDS: Mapping[str, Mapping[str, Field]] = {
    "sqlite": {"path": Field(required=True)},
    "duckdb": {"path": Field(required=True)},
    "http": {"url": Field(required=True), "token": Field(secret=True), **_LOGIN},
    "postgres": {**_SERVER, "database": Field(required=True), "sslmode": Field()},
    "mysql": {**_SERVER, "database": Field(required=True)},
    "smtp": {**_SERVER, "sender": Field(), "tls": Field(BOOL)},
    "s3": {
        "bucket": Field(required=True), "region": Field(), "endpoint": Field(), "access_key": Field(),
        "key": Field(secret=True),
    },
    "nats": {"url": Field(required=True), **_LOGIN, "token": Field(secret=True)},
}  # fmt: skip


# ---- fields ---------------------------------------------------------------------------------------------------------


def field_names(definition: ConnectionDef) -> tuple[str, ...]:
    """Those that it has, and that its kind may have."""
    return tuple(dict.fromkeys([*(name for name, _ in definition.fields), *KINDS.get(definition.kind, ())]))


def parse_field(definition: ConnectionDef, name: str, given: str) -> Expr:
    """The value that somebody typed: `secret(key)`, or a constant of the field's type. Raises ConnectionProblem."""
    _check_name(definition, name)
    if given.startswith("secret(") and given.endswith(")"):
        key = given[7:-1].strip().strip("\"'")
        return _checked(definition, name, ["secret", key])
    kind = _type_of(definition, name)
    try:
        return _checked(definition, name, ["lit", parse_argument(name, given, kind) if kind is not None else given])
    except ArgumentError as error:
        raise ConnectionProblem(f"connection `{definition.name}`: {error}") from None


def overridden(definition: ConnectionDef, fields: Mapping[str, object]) -> ConnectionDef:
    """The connection with other values: strings, numbers and booleans, or `{secret = "key"}`. Raises
    ConnectionProblem."""
    found = dict(definition.fields)
    for name, value in fields.items():
        _check_name(definition, name)
        if isinstance(value, dict) and value.keys() == {"secret"} and isinstance(value["secret"], str):
            found[name] = _checked(definition, name, ["secret", value["secret"]])
        else:
            found[name] = _checked(definition, name, ["lit", value])
    return msgspec.structs.replace(definition, fields=tuple(found.items()))


def configured(plan: Plan, settings: Mapping[str, object]) -> Plan:
    """The plan, and those of its child flows, with other fields of some connections, by name. Raises
    ConnectionProblem."""
    if not settings:
        return plan
    children = {name: configured(child, settings) for name, child in plan.children.items()}
    connections = tuple(_configured(one, settings.get(one.name)) for one in plan.connections)
    return msgspec.structs.replace(plan, connections=connections, children=children)


def _configured(definition: ConnectionDef, fields: object) -> ConnectionDef:
    if fields is None:
        return definition
    if not isinstance(fields, dict):
        raise ConnectionProblem(f"connection `{definition.name}` is a table of fields in flow.toml, and this is none")
    return overridden(definition, fields)


def shown_value(value: Expr) -> str:
    """As it may be shown: a secret by its name."""
    if value[0] == "secret":
        return f"secret({value[1]})"
    return str(value[1]) if len(value) == 2 and value[0] == "lit" else "…"


def _check_name(definition: ConnectionDef, name: str) -> None:
    known = field_names(definition)
    if name not in known:
        close = get_close_matches(name, known, 1)
        hint = f": did you mean `{close[0]}`?" if close else f": it has {', '.join(f'`{one}`' for one in known)}"
        raise ConnectionProblem(
            f"connection `{definition.name}` ({definition.kind}) has no field `{name}`{hint if known else ''}"
        )


def _checked(definition: ConnectionDef, name: str, value: Expr) -> Expr:
    field = KINDS.get(definition.kind, {}).get(name)
    declared = dict(definition.fields).get(name)
    is_secret = (field is not None and field.secret) or (declared is not None and declared[0] == "secret")
    if value[0] == "secret":
        if not value[1]:
            raise ConnectionProblem(f"connection `{definition.name}`: `{name}` names no secret: write `secret(key)`")
        return value
    if is_secret:
        raise ConnectionProblem(
            f"connection `{definition.name}`: `{name}` is a secret, and is not written out: "
            f"set it with `flowc secret set KEY`, and give `{name}=secret(KEY)`"
        )
    kind = _type_of(definition, name)
    if kind is not None:
        try:
            encode_argument(name, value[1], kind)
        except ArgumentError as error:
            raise ConnectionProblem(f"connection `{definition.name}`: {error}") from None
    return value


#: of a declared constant
_TYPES: Mapping[type, Type] = {str: STRING, int: INT, bool: BOOL}


def _type_of(definition: ConnectionDef, name: str) -> Type | None:
    """What a field takes, by its kind, else by what is declared; None: that is not known."""
    field = KINDS.get(definition.kind, {}).get(name)
    if field is not None:
        return field.type
    declared = dict(definition.fields).get(name)
    if declared is None or declared[0] != "lit":
        return STRING if declared is not None and declared[0] == "secret" else None
    return _TYPES.get(type(declared[1]))


def missing_fields(definition: ConnectionDef, fields: Mapping[str, Expr]) -> list[str]:
    """The fields that its kind needs and that nobody sets."""
    known = KINDS.get(definition.kind, {})
    return [f"{name}: {text(field.type)}" for name, field in known.items() if field.required and name not in fields]


# ---- what an environment sets ---------------------------------------------------------------------------------------


class _Settings(msgspec.Struct, frozen=True, array_like=True):
    """An entry."""

    format: int
    fields: dict[str, Expr]
    #: when it was changed last, milliseconds since 1970, and by whom
    at_ms: int
    by: str


_decoder = msgspec.msgpack.Decoder(_Settings)
_encoder = msgspec.msgpack.Encoder()


class ConnectionStore:
    """The entries. Methods raise TransportError, StoreError, ConnectionProblem."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def get(self, name: str) -> Mapping[str, Expr]:
        """The fields that are set for a connection."""
        entry = await self._transport.read_entry(f"{_PREFIX}.{name}")
        return _fields(entry)

    async def all(self) -> dict[str, Mapping[str, Expr]]:
        """By the name of the connection."""
        found = await self._transport.entries(_PREFIX)
        return {entry.key.removeprefix(f"{_PREFIX}."): _fields(entry) for entry in found if entry.data}

    async def set(self, definition: ConnectionDef, given: Mapping[str, str], by: str) -> None:
        """Sets fields to what somebody typed; all of them, or none."""
        made = {name: parse_field(definition, name, value) for name, value in given.items()}
        await self._change(definition.name, lambda fields: {**fields, **made}, by)

    async def unset(self, name: str, fields: tuple[str, ...], by: str) -> None:
        """What the files say holds again; without fields, of all."""

        def without(known: Mapping[str, Expr]) -> Mapping[str, Expr]:
            for one in fields:
                if one not in known:
                    raise ConnectionProblem(f"connection `{name}`: the environment does not set `{one}`")
            return {one: value for one, value in known.items() if fields and one not in fields}

        await self._change(name, without, by)

    async def _change(self, name: str, change: Callable[[Mapping[str, Expr]], Mapping[str, Expr]], by: str) -> None:
        key = f"{_PREFIX}.{name}"
        entry = await self._transport.read_entry(key)
        settings = _Settings(FORMAT, dict(change(_fields(entry))), int(time.time() * 1000), by)
        try:
            await self._transport.write_entry(key, _encoder.encode(settings), 0 if entry is None else entry.revision)
        except Conflict:
            raise ConnectionProblem(
                f"connection `{name}` was changed by somebody else at the same time: try again"
            ) from None


def _fields(entry: Entry | None) -> dict[str, Any]:
    if entry is None or not entry.data:
        return {}
    try:
        settings = _decoder.decode(entry.data)
    except msgspec.DecodeError as error:
        raise ConnectionProblem(f"the entry `{entry.key}` cannot be read ({error}): set its fields anew") from None
    if settings.format > FORMAT:
        raise ConnectionProblem(f"the entry `{entry.key}` was written by a newer version: upgrade flowc here")
    return settings.fields


class ConnectionSettings:
    """What an environment sets, as a worker reads it: remembered for a short time. `clock`: seconds."""

    def __init__(self, transport: Transport, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = ConnectionStore(transport), clock
        self._known: dict[str, tuple[Mapping[str, Expr], float]] = {}

    async def get(self, name: str) -> Mapping[str, Expr]:
        """Raises as ConnectionStore does."""
        known = self._known.get(name)
        if known is None or self._clock() - known[1] >= _FRESH:
            known = self._known[name] = (await self._store.get(name), self._clock())
        return known[0]
