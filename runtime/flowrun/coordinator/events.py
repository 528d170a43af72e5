"""From messages of an inbox to events: what cannot be read is skipped, and told once in a while."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import TypeVar

from flowrun.messages import Event, Lost, MessageError, Outcome, Results, WorkItem, unpack_known_events
from flowrun.transport import Record

__all__ = ["Complaints", "events_of", "parts_by_run", "run_of", "weight_of"]

log = logging.getLogger("flow.coordinator")

_OfRun = TypeVar("_OfRun", Outcome, WorkItem)

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


def run_of(event: Event) -> str:
    """The run that an event is about; of results, of the first (see `parts_by_run`). "": it is of no run."""
    match event:
        case Results(_, _, outcomes):
            return outcomes[0].run if outcomes else ""
        case Lost(_, items):
            return items[0].run if items else ""
        case _:
            return getattr(event, "run", "")


def weight_of(event: Event) -> int:
    """How much there is to decide, in outcomes."""
    match event:
        case Results(_, _, outcomes):
            return max(len(outcomes), 1)
        case Lost(_, items):
            return max(len(items), 1)
        case _:
            return 1


def parts_by_run(event: Event) -> list[Event]:
    """The event, taken apart if it is about several runs, so that none suffers from another."""
    match event:
        case Results(bundle, worker, outcomes) if len(outcomes) > 1:
            return [Results(bundle, worker, tuple(of_run)) for of_run in _grouped(outcomes)]
        case Lost(bundle, items) if len(items) > 1:
            return [Lost(bundle, tuple(of_run)) for of_run in _grouped(items)]
    return [event]


def _grouped(parts: Iterable[_OfRun]) -> Iterable[list[_OfRun]]:
    groups: dict[str, list[_OfRun]] = {}
    for part in parts:
        groups.setdefault(part.run, []).append(part)
    return groups.values()
