"""When a schedule ticks: grids of moments, worked out from their definition alone.

A tick is named by its place in the grid, never by when it was noticed, so everybody who asks for the ticks after a
moment gets the same. Moments are milliseconds since 1970, UTC.

Cron expressions are read by `cronsim`, which does as Debian's cron does: five fields, names of days and months, `L`,
`#`; day of month and day of week both count where one of them begins with a star, else either. Wall clocks become
moments through `whenever`. Where a clock jumps, two kinds of expressions differ, as in cron:

- one that begins with a star in its minute or its hour follows the clock as it goes: it never ticks in an hour that
  is not there, and ticks in both where an hour comes twice;
- any other names times of day. One that is not there ticks at the end of the gap (`gap: "run"`; once, however many
  times of day fall into it) or not at all (`"skip"`); one that comes twice ticks the first time (`overlap: "once"`)
  or both times (`"twice"`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from whenever import Instant, PlainDateTime, ZonedDateTime

from .plan import AtSource, CronSource, IntervalSource

__all__ = ["Grid", "ScheduleError", "check", "ticks"]


class ScheduleError(ValueError):
    """The schedule is none; the message says what is wrong with it."""


Grid = CronSource | IntervalSource | AtSource

#: no civil time is further from UTC, in seconds
_FARTHEST = 15 * 3600


def check(schedule: Grid) -> None:
    """Raises ScheduleError if it cannot tick: an invalid expression or time zone, an interval of nothing."""
    if isinstance(schedule, CronSource):
        zone(schedule.tz)
        if len(schedule.expression.split()) != 5:
            raise ScheduleError("a cron expression has five fields: minute, hour, day of month, month, day of week")
        try:
            next(CronSim(schedule.expression, datetime(2026, 1, 1)), None)
        except CronSimError as error:
            raise ScheduleError(f"{error} in the cron expression {schedule.expression!r}".lower()) from error
    elif isinstance(schedule, IntervalSource) and schedule.every_ms < 1:
        raise ScheduleError("an interval is longer than nothing")


def zone(name: str) -> ZoneInfo:
    """A time zone of the tz database. Raises ScheduleError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(f'there is no time zone {name!r}: write it as "Europe/Berlin"') from error


def ticks(schedule: Grid, after_ms: int) -> Iterator[int]:
    """The ticks after a moment, in rising order; without end, unless the schedule has one."""
    match schedule:
        case CronSource():
            follows_clock = any(field.startswith("*") for field in schedule.expression.split()[:2])
            found = _following(schedule, after_ms) if follows_clock else _named(schedule, after_ms)
            yield from (tick for tick in found if tick > after_ms)
        case IntervalSource():
            tick = schedule.origin_ms + ((after_ms - schedule.origin_ms) // schedule.every_ms + 1) * schedule.every_ms
            while True:
                yield tick
                tick += schedule.every_ms
        case AtSource():
            yield from (tick for tick in schedule.at_ms if tick > after_ms)


def _following(schedule: CronSource, after_ms: int) -> Iterator[int]:
    """Of an expression that follows the clock."""
    start = datetime.fromtimestamp(after_ms // 1000, UTC).astimezone(zone(schedule.tz))
    for tick in CronSim(schedule.expression, start):
        yield int(tick.timestamp()) * 1000


def _named(schedule: CronSource, after_ms: int) -> Iterator[int]:
    """Of an expression that names times of day: each becomes no moment, one or two. Second times of an hour that comes
    twice are held back until it is their turn."""
    start = datetime.fromtimestamp(after_ms // 1000 - 2 * _FARTHEST, UTC).replace(tzinfo=None)
    waiting: list[int] = []
    last = -1
    for local in CronSim(schedule.expression, start):
        for moment in _moments(schedule, PlainDateTime(local)):
            heapq.heappush(waiting, moment)
        # whatever comes later on the clock is not earlier than this
        bound = int((local.replace(tzinfo=UTC) - timedelta(seconds=_FARTHEST)).timestamp()) * 1000
        while waiting and waiting[0] <= bound:
            tick = heapq.heappop(waiting)
            if tick != last:
                last = tick
                yield tick
    while waiting:
        yield heapq.heappop(waiting)


def _moments(schedule: CronSource, local: PlainDateTime) -> tuple[int, ...]:
    """The moments of a time of day on a day."""
    first = local.assume_tz(schedule.tz, disambiguation="earlier")
    if first.to_plain() != local:
        end = first.next_transition()  # the time is not there: `earlier` lies before the gap
        assert end is not None
        return () if schedule.gap == "skip" else (_ms(end),)
    if first.is_repeated() and schedule.overlap == "twice":
        return (_ms(first), _ms(local.assume_tz(schedule.tz, disambiguation="later")))
    return (_ms(first),)


def _ms(moment: ZonedDateTime | Instant) -> int:
    return int(moment.timestamp()) * 1000
