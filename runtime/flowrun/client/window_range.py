"""Which windows of a trigger lie between two days: what a backfill is to run.

A window belongs to the range when it begins in it. Days and times are those of the trigger's time zone, and both ends
count: from 2013-01-01 to 2013-12-31 is a year. A window that has not ended cannot be run, and neither can one whose
time lies before the trigger's `start`, or after its `end`: these are left out where others are left.
"""

from __future__ import annotations

import datetime as dt

import msgspec
from flowc.plan import AtSource, CronSource, IntervalSource, TriggerDef
from flowc.schedules import Grid, ScheduleError, moment_of

from flowrun.messages import MOST_WINDOWS, Scheduled
from flowrun.parameters import ArgumentError
from flowrun.sources import leaves
from flowrun.windows import windows

__all__ = ["WindowRange", "grid_of", "parse_moment", "windows_between"]

#: a day (all of it), or a time of day; without a zone it is one of the trigger's
Moment = dt.date | dt.datetime | str

_DAY = dt.timedelta(days=1)
_FOREVER = 2**62


class WindowRange(msgspec.Struct, frozen=True):
    """Windows in rising order, and how many of the range are left out: the trigger does not begin before `start`, or
    ends with its `end`."""

    times: tuple[Scheduled, ...]
    outside: int = 0


def grid_of(name: str, definition: TriggerDef) -> Grid:
    """What the times of a trigger follow from. Raises ArgumentError for one that waits for something else."""
    grids = [leaf for leaf in leaves(definition.source) if isinstance(leaf, CronSource | IntervalSource | AtSource)]
    if len(grids) == 1:
        return grids[0]
    if not grids:
        raise ArgumentError(
            f"the trigger `{name}` has no windows, for it does not follow a clock: a backfill needs one with `cron`, "
            "`interval` or `at`"
        )
    raise ArgumentError(f"the trigger `{name}` follows {len(grids)} clocks, so its windows are not clear")


def windows_between(
    name: str, definition: TriggerDef, first: Moment, last: Moment, now_ms: int, most: int = MOST_WINDOWS
) -> WindowRange:
    """The windows of a trigger ("flow.trigger") that begin between two moments. Raises ArgumentError."""
    source = grid_of(name, definition)
    try:
        begin_ms, end_ms = _start_ms(first, source.tz), _end_ms(last, source.tz)
    except ScheduleError as error:
        raise ArgumentError(f"the trigger `{name}`: {error}") from error
    if begin_ms >= end_ms:
        raise ArgumentError(f"the range from {_shown(first)} to {_shown(last)} is empty: its end lies before its begin")
    found: list[Scheduled] = []
    outside = 0
    for time in windows(name, source, begin_ms - 1, _FOREVER):
        if time.start_ms >= end_ms:
            break
        if time.start_ms < begin_ms:
            continue
        if time.at_ms > now_ms:
            raise ArgumentError(_future(name, time, found))
        if not (definition.start_ms or 0) <= time.at_ms <= (definition.end_ms or time.at_ms):
            outside += 1
            continue
        found.append(time)
        if len(found) > most:
            raise ArgumentError(f"a backfill has at most {most:,} windows: take a shorter time")
    if not found:
        raise ArgumentError(_empty(name, first, last, outside))
    return WindowRange(tuple(found), outside)


def parse_moment(text: str) -> dt.date | dt.datetime:
    """2013-01-31, 2013-01-31T06:00, or with an offset. Raises ArgumentError."""
    try:
        return dt.date.fromisoformat(text) if len(text) == len("2013-01-31") else dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentError(
            f"`{text}` is neither a day nor a time: write it like 2013-01-31, or 2013-01-31T06:00"
        ) from error


def _start_ms(moment: Moment, tz: str) -> int:
    return _ms(moment, tz, dt.timedelta())


def _end_ms(moment: Moment, tz: str) -> int:
    """The first moment behind it."""
    return _ms(moment, tz, _DAY) + (1 if isinstance(_parsed(moment), dt.datetime) else 0)


def _ms(moment: Moment, tz: str, of_day: dt.timedelta) -> int:
    """A time; of a day its midnight, so much later."""
    found = _parsed(moment)
    if not isinstance(found, dt.datetime):
        try:
            found = dt.datetime.combine(found, dt.time()) + of_day
        except OverflowError as error:
            raise ArgumentError(f"{_shown(moment)} is beyond all calendars") from error
    return moment_of(found, tz)


def _parsed(moment: Moment) -> dt.date | dt.datetime:
    return parse_moment(moment) if isinstance(moment, str) else moment


def _future(name: str, time: Scheduled, found: list[Scheduled]) -> str:
    why = f"the window of {time.date} of `{name}` has not ended yet"
    if not found:
        return f"{why}: a backfill is for the past"
    return f"{why}: a backfill is for the past, and the last window that has ended begins on {found[-1].date}"


def _empty(name: str, first: Moment, last: Moment, outside: int) -> str:
    between = f"between {_shown(first)} and {_shown(last)}"
    if outside:
        return f"all {outside:,} windows of `{name}` {between} lie before the trigger's `start` or after its `end`"
    return f"`{name}` has no window that begins {between}"


def _shown(moment: Moment) -> str:
    return moment if isinstance(moment, str) else moment.isoformat()
