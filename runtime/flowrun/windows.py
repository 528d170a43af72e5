"""What the times of a grid stand for: each closes a window that began at the time before it.

The day of a run is that on which its window begins, where the trigger is: a daily run at midnight is about the day
that has just ended. Time zones come from the database of this machine: only the shell asks here, and puts what it is
told into events, so that decisions never depend on which machine they are taken on.
"""

from __future__ import annotations

from collections.abc import Iterator

from flowc.schedules import Grid, before, local, ticks

from .messages import Scheduled

__all__ = ["scheduled", "windows"]


def scheduled(trigger: str, source: Grid, at_ms: int, before_ms: int | None = None) -> Scheduled:
    """What a time of the grid stands for. `before_ms`: the time before it, where that is known. The first time of all
    has an empty window."""
    start_ms = before(source, at_ms) if before_ms is None else before_ms
    if start_ms is None:
        start_ms = at_ms
    return Scheduled(at_ms, start_ms, at_ms, local(start_ms, source.tz).date().isoformat(), trigger)


def windows(trigger: str, source: Grid, after_ms: int, until_ms: int) -> Iterator[Scheduled]:
    """The times after a moment up to another one, with what they stand for."""
    earlier: int | None = None
    for time in ticks(source, after_ms):
        if time > until_ms:
            return
        yield scheduled(trigger, source, time, earlier)
        earlier = time
