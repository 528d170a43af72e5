"""From messages of an inbox to events: what cannot be read is skipped, and told once in a while."""

from __future__ import annotations

import asyncio
import logging

from flowrun.messages import Event, Lost, MessageError, Results, Tick, unpack_known_events
from flowrun.transport import Record

__all__ = ["Complaints", "events_of", "weight_of"]

log = logging.getLogger("flow.coordinator")

#: lines about damaged messages in each so many seconds; more are counted only
_LINES, _SECONDS = 20, 10.0


class Complaints:
    """Log lines about what others did wrong, at most so many at a time: a flood of it must not fill a disk."""

    def __init__(self) -> None:
        self._since = float("-inf")
        self._count = 0

    def say(self, message: str, *args: object) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._since > _SECONDS:
            if self._count > _LINES:
                log.warning("%d more lines like the last were left out", self._count - _LINES)
            self._since, self._count = now, 0
        self._count += 1
        if self._count <= _LINES:
            log.warning(message, *args)


def events_of(record: Record, partition: str, complaints: Complaints) -> list[Event]:
    """The events of a message that can be read."""
    try:
        events, problems = unpack_known_events(record.data)
    except MessageError as error:
        complaints.say("message %d of partition %s is skipped: %s", record.seq, partition, error)
        return []
    for problem in problems:
        complaints.say("a part of message %d of partition %s is skipped: %s", record.seq, partition, problem)
    return events


def weight_of(event: Event) -> int:
    """How much there is to decide, in outcomes."""
    kind = type(event)
    if kind is Results:
        return len(event.outcomes) or 1  # type: ignore[union-attr]
    if kind is Lost:
        return len(event.items) or 1  # type: ignore[union-attr]
    if kind is Tick:
        return 10 * len(event.times) or 1  # type: ignore[union-attr]
    return 1
