"""What a client says to runs that wait: signals, events, decisions; and what waits for a decision."""

from __future__ import annotations

import getpass
import secrets

import msgspec

from flowrun import values
from flowrun.messages import Decision, Event, Raised, Signal
from flowrun.parameters import ArgumentError
from flowrun.partitions import partitions

from .outbox import Outbox
from .requests import Requests

__all__ = ["World", "user_name"]


class World:
    """Of one client. `count`: partitions of the environment; `partition`: the only one that is meant, if not all."""

    def __init__(self, outbox: Outbox, requests: Requests, count: int, partition: str | None) -> None:
        self._outbox, self._requests = outbox, requests
        self._partitions = partitions(count) if partition is None else (partition,)
        self._prefix, self._count = secrets.token_hex(8), 0

    async def signal(self, partition: str, run: str, name: str, value: object, by: str, early: bool) -> None:
        """A signal into a run; `early`: it has not begun. Raises Refused, ArgumentError, what `Requests.ask` raises."""
        data = _encoded(value, f"the signal `{name}`")

        def event(client: str, id: str) -> Event:
            return Signal(run, name, data, id, client, by or user_name(), early)

        await self._requests.ask(partition, event, len(data))

    async def decide(self, partition: str, run: str, step: str, approved: bool, note: str | None, by: str) -> str:
        """Somebody's decision about a step; gives the step's name. Raises Refused, what `Requests.ask` raises."""

        def event(client: str, id: str) -> Event:
            return Decision(run, step, approved, note, id, client, by or user_name())

        found: str = msgspec.msgpack.decode(await self._requests.ask(partition, event, len(note or "")))
        return found

    async def emit(self, subject: str, key: str, value: object) -> None:
        """Something happened; returns when no partition can miss it. Raises ArgumentError, Busy, TransportError,
        StoreError."""
        if not subject:
            raise ArgumentError("an event has a subject, as `orders.paid`")
        self._count += 1
        data = _encoded(value, f"the event `{subject}`")
        event = Raised(subject, key, data, f"{self._prefix}{self._count:x}")
        await self._outbox.arrived([self._outbox.post(partition, event, len(data)) for partition in self._partitions])


def _encoded(value: object, what: str) -> bytes:
    try:
        data = values.encode(value)
    except values.NotSerialisable as error:
        raise ArgumentError(f"what {what} brings: {error}") from error
    if len(data) > values.INLINE_LIMIT:
        raise ArgumentError(
            f"what {what} brings has {len(data):,} bytes, and at most {values.INLINE_LIMIT:,} travel: store it, and "
            "send where it is"
        )
    return data


def user_name() -> str:
    """Who runs this process; "" where that cannot be told."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
