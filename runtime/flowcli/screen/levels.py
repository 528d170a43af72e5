"""Service levels in words."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from flowrun.messages import SlaMark

from .style import seconds_text

__all__ = ["expected_text", "level_text", "told_levels"]


def told_levels(marks: Iterable[SlaMark]) -> list[SlaMark]:
    """Those that were missed, or of which a warning came: one line each."""
    return [mark for mark in marks if mark.missed_ms or mark.warned_ms]


def level_text(mark: SlaMark) -> str:
    """`late: x was to end by 12:30:00, and ended 3.10 s later`."""
    of, name = mark.step or "the run", f" (sla {mark.name})" if mark.name else ""
    done, came = ("begin", "began") if mark.what == "start" else ("end", "ended")
    if not mark.missed_ms:
        if mark.done_ms:
            return f"in time: {of} was to {done} by {clock_text(mark.due_ms)}{name}, and {came}"
        return f"{'soon late' if mark.warned_ms else 'due'}: {of} is to {done} by {clock_text(mark.due_ms)}{name}"
    late = f"{came} {seconds_text((mark.done_ms - mark.due_ms) / 1000)} later" if mark.done_ms else "has not yet"
    return f"late: {of} was to {done} by {clock_text(mark.due_ms)}{name}, and {late}"


def expected_text(expected_ms: int, now_ms: float) -> str:
    """When a run is expected to end: "at 12:30:00, late by 4.00 s"; "" if that is not known."""
    if not expected_ms:
        return ""
    late = (now_ms - expected_ms) / 1000
    return f"at {clock_text(expected_ms)}" + (f", late by {seconds_text(late)}" if late >= 1 else "")


def clock_text(time_ms: int) -> str:
    """The local time; with the day if that is not today's."""
    moment = dt.datetime.fromtimestamp(time_ms / 1000).astimezone()
    is_today = moment.date() == dt.datetime.now().astimezone().date()
    return f"{moment:%H:%M:%S}" if is_today else f"{moment:%Y-%m-%d %H:%M:%S}"
