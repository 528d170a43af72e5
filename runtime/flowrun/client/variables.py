"""Variables of the environment, as a client sets and reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
from flowc.types import text

from flowrun import values
from flowrun.errors import Conflict
from flowrun.manifest import Variable
from flowrun.parameters import ArgumentError
from flowrun.partitions import partitions
from flowrun.transport import Transport
from flowrun.variables import (
    Declared,
    SetVariable,
    VariableStore,
    default_of,
    encode_variable,
    event_of,
    read_declared,
    unknown,
)

from .outbox import Outbox
from .world import user_name

__all__ = ["VariableInfo", "Variables"]

#: a change that met another one is made again so often
_TRIES = 5


class VariableInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A variable of the environment."""

    name: str
    #: as a .flow file has it; "": nobody declares it any more
    type: str
    #: as plain data: what runs that begin now see; None also if it has neither a value nor a default
    value: Any
    #: a value was set; else it is the default
    is_set: bool
    #: it has a value, or a default
    has_value: bool
    #: when it was set or unset last, milliseconds since 1970 (0: never), and by whom
    at_ms: int = 0
    by: str = ""
    #: projects that declare it
    declared_by: tuple[str, ...] = ()


class Variables:
    """Of one client. `count`: partitions of the environment; `partition`: the only one that is meant, if not all."""

    def __init__(self, transport: Transport, outbox: Outbox, count: int, partition: str | None) -> None:
        self._transport, self._outbox, self._store = transport, outbox, VariableStore(transport)
        self._partitions = partitions(count) if partition is None else (partition,)

    async def set(self, name: str, value: object, by: str, declared: Iterable[Variable]) -> None:
        """Raises ArgumentError, Conflict, TransportError, StoreError."""
        known = await read_declared(self._transport, declared)
        await self._change(name, encode_variable(name, value, known), by)

    async def unset(self, name: str, by: str) -> None:
        """Raises as `set` does."""
        before = await self._store.get(name)
        if before is None or before.value is None:
            known = await read_declared(self._transport)
            raise ArgumentError(f"variable `{name}` is not set" if name in known else unknown(name, known))
        await self._change(name, None, by)

    async def _change(self, name: str, value: bytes | None, by: str) -> None:
        made = await self._written(name, value, by or user_name())
        event, size = event_of(name, made), len(value or b"")
        await self._outbox.arrived([self._outbox.post(partition, event, size) for partition in self._partitions])

    async def _written(self, name: str, value: bytes | None, by: str) -> SetVariable:
        for _ in range(_TRIES):
            try:
                return await self._store.set(name, value, by)
            except Conflict:
                await asyncio.sleep(0.01)
        return await self._store.set(name, value, by)

    async def get(self, name: str) -> VariableInfo:
        """Raises ArgumentError for a name that is neither declared nor set."""
        known, found = await asyncio.gather(read_declared(self._transport), self._store.get(name))
        if name not in known and (found is None or found.value is None):
            raise ArgumentError(unknown(name, known))
        return _info(name, known.get(name, []), found)

    async def all(self) -> tuple[VariableInfo, ...]:
        """All that are declared or set, by name."""
        known, found = await asyncio.gather(read_declared(self._transport), self._store.all())
        names = sorted({*known, *(name for name, one in found.items() if one.value is not None)})
        return tuple(_info(name, known.get(name, []), found.get(name)) for name in names)


def _info(name: str, declared: list[Declared], found: SetVariable | None) -> VariableInfo:
    is_set = found is not None and found.value is not None
    defaults = [one.variable for one in declared if one.variable.default is not None]
    if found is not None and found.value is not None:
        value = msgspec.msgpack.decode(found.value)
    else:
        value = msgspec.msgpack.decode(values.encode(default_of(defaults[0]))) if defaults else None
    return VariableInfo(
        name=name,
        type=" & ".join(dict.fromkeys(text(one.variable.type) for one in declared)),
        value=value,
        is_set=is_set,
        has_value=is_set or bool(defaults),
        at_ms=found.at_ms if found is not None else 0,
        by=found.by if found is not None else "",
        declared_by=tuple(dict.fromkeys(one.where.removeprefix("project ").strip("`") for one in declared)),
    )
