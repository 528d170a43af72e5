"""What an operator does to runs that live: pause and resume them, end a step of one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Literal

import msgspec

from flowrun import values
from flowrun.messages import Control, Event
from flowrun.parameters import ArgumentError
from flowrun.partitions import partitions

from .errors import Refused, UnknownRun
from .requests import Requests
from .world import user_name

__all__ = ["ByHand", "StepEnd", "mark_of"]

#: how a step may be ended by hand
StepEnd = Literal["success", "skipped", "failed"]
_ENDS = ("success", "skipped", "failed")


class ByHand:
    """Of one client. `count`: partitions of the environment; `partition`: the only one that is meant, if not all."""

    def __init__(self, requests: Requests, count: int, partition: str | None) -> None:
        self._requests = requests
        self._partitions = partitions(count) if partition is None else (partition,)

    async def of_run(self, partition: str, control: Control) -> str:
        """Does it to one run; gives what is worth knowing. Raises Refused, UnknownRun, what `Requests.ask` raises."""
        try:
            return await self._ask(partition, control)
        except Refused as error:
            if error.code == "unknown":
                raise UnknownRun(str(error)) from None
            raise

    async def of_trigger(self, partition: str, control: Control) -> str:
        """Does it to a trigger; gives what is worth knowing. Raises Refused."""
        return await self._ask(partition, control)

    async def of_flow(self, control: Control) -> None:
        """Does it to all runs of a flow, in every partition."""
        asked: list[Awaitable[str]] = [self._ask(partition, control) for partition in self._partitions]
        await asyncio.gather(*asked)

    async def _ask(self, partition: str, control: Control) -> str:
        by = control.by or user_name()

        def event(client: str, id: str) -> Event:
            return msgspec.structs.replace(control, id=id, client=client, by=by)

        size = len(control.value) + len(control.note)
        told: str = msgspec.msgpack.decode(await self._requests.ask(partition, event, size)) or ""
        return told


def mark_of(run: str, step: str, end: StepEnd, value: object, note: str, by: str) -> Control:
    """The event that ends a step by hand. Raises ArgumentError."""
    if end not in _ENDS:
        raise ArgumentError(f"a step is marked as one of {', '.join(_ENDS)}, and `{end}` is none of them")
    if value is not None and end != "success":
        raise ArgumentError(f"only a step that is marked as `success` has a value, and this one is marked as `{end}`")
    try:
        data = b"" if value is None else values.encode(value)
    except values.NotSerialisable as error:
        raise ArgumentError(f"the value of step `{step}`: {error}") from error
    if len(data) > values.INLINE_LIMIT:
        raise ArgumentError(
            f"the value of step `{step}` has {len(data):,} bytes, and at most {values.INLINE_LIMIT:,} fit"
        )
    return Control("mark", run, "", step, end, data, by, note)
