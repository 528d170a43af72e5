"""Calls a schedule in Python for its next times; see `custom_schedule`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from flowc.schedules import moment_of

from flowrun.operator import Fail

from .failures import TaskFailed
from .functions import Functions

__all__ = ["next_times"]


def next_times(after: dt.datetime, target: str, tz: str, count: int) -> list[int]:
    """The times after a moment, at most so many, milliseconds since 1970; fewer: there are no more. The schedule is
    told times of the clock of `tz`, and a time without an offset that it gives is one of that clock, too. Raises Fail
    for what is no schedule."""
    schedule, after = _schedule(target), after.astimezone(ZoneInfo(tz))
    found: list[int] = []
    while len(found) < count:
        time = schedule(after)
        if time is None:
            break
        if not isinstance(time, dt.datetime):
            raise Fail(f"a schedule gives a datetime or None, and `{target}` gave {type(time).__name__}")
        at_ms = moment_of(time, tz)
        last_ms = found[-1] if found else round(after.timestamp() * 1000)
        if at_ms <= last_ms:
            raise Fail(
                f"a schedule gives the time after the one that it is told, and `{target}` gave {time} for {after}"
            )
        found.append(at_ms)
        after = dt.datetime.fromtimestamp(at_ms / 1000, after.tzinfo)
    return found


def _schedule(target: str) -> Callable[[dt.datetime], Any]:
    try:
        found: Any = Functions(Path.cwd()).get(target).call
    except TaskFailed as failed:
        raise Fail(failed.failure.message) from failed
    made = found() if isinstance(found, type) else found
    call: Callable[[dt.datetime], Any] = getattr(made, "next", made)
    return call
