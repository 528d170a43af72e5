"""Two others who work out when a cron expression ticks.

`brute_force` walks over every minute of the year and asks `zoneinfo` what the clock shows; an expression is read field
by field, with nothing but sets. `croniter` is an independent library. It does at changes of the clock what `gap: "run"`
and `overlap: "twice"` say.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from croniter import croniter_range

from .expressions import YEAR

__all__ = ["FIRST", "LAST", "Clock", "brute_force", "by_croniter", "clock_of", "walls_by_croniter"]

#: minutes since 1970 at which the year begins and ends
FIRST = int(datetime(YEAR, 1, 1, tzinfo=UTC).timestamp()) // 60
LAST = int(datetime(YEAR + 1, 1, 1, tzinfo=UTC).timestamp()) // 60
_EPOCH = date(1970, 1, 1)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


# ---- every minute ---------------------------------------------------------------------------------------------------


class Clock(NamedTuple):
    """What a zone's clock shows in the year: minutes on the wall (since 1970, as if it were UTC) to minutes."""

    first: dict[int, int]
    #: of those that come twice
    second: dict[int, int]
    #: minutes at which the clock is changed
    changes: tuple[int, ...]


@lru_cache(maxsize=1)
def clock_of(zone: str) -> Clock:
    """Minute by minute, two days around the year."""
    tz = ZoneInfo(zone)
    first: dict[int, int] = {}
    second: dict[int, int] = {}
    changes: list[int] = []
    before, shift = None, 0
    for minute in range(FIRST - 3000, LAST + 3000):
        offset = datetime.fromtimestamp(minute * 60, tz).utcoffset()
        assert offset is not None
        if offset != before:
            if before is not None:
                changes.append(minute)
            before, shift = offset, offset // timedelta(minutes=1)
        wall = minute + shift
        if first.setdefault(wall, minute) != minute:
            second[wall] = minute
    return Clock(first, second, tuple(changes))


def brute_force(expression: str, zone: str, gap: str, overlap: str) -> list[int]:
    """The ticks in the year, in minutes since 1970."""
    clock = clock_of(zone)
    follows = any(field.startswith("*") for field in expression.split()[:2])
    found: set[int] = set()
    for wall in _walls(expression):
        if wall in clock.first:
            found.add(clock.first[wall])
            if wall in clock.second and (follows or overlap == "twice"):
                found.add(clock.second[wall])
        elif not follows and gap == "run":
            while wall not in clock.first:
                wall += 1
            found.add(clock.first[wall])
    return sorted(minute for minute in found if FIRST <= minute < LAST)


def _walls(expression: str) -> Iterator[int]:
    """The minutes on the wall that it names, a day around the year."""
    minute, hour, day, month, weekday = expression.upper().split()
    minutes, hours = _numbers(minute, 0, 59), _numbers(hour, 0, 23)
    months = _numbers(month, 1, 12, _MONTHS)
    is_either = not day.startswith("*") and not weekday.startswith("*")
    at = date(YEAR - 1, 12, 31)
    while at <= date(YEAR + 1, 1, 1):
        fits = (_fits_day(day, at), _fits_weekday(weekday, at))
        if at.month in months and (any(fits) if is_either else all(fits)):
            start = (at - _EPOCH).days * 1440
            yield from (start + h * 60 + m for h in sorted(hours) for m in sorted(minutes))
        at += timedelta(days=1)


def _fits_day(field: str, at: date) -> bool:
    if field == "L":
        return at.day == calendar.monthrange(at.year, at.month)[1]
    return at.day in _numbers(field, 1, 31)


def _fits_weekday(field: str, at: date) -> bool:
    name, _, count = field.partition("#")
    days = {number % 7 for number in _numbers(name, 0, 7, _DAYS)}
    return at.isoweekday() % 7 in days and (not count or (at.day - 1) // 7 + 1 == int(count))


def _numbers(field: str, low: int, high: int, names: tuple[str, ...] = ()) -> set[int]:
    """The numbers of a field: `*`, `1-5`, `1,3`, `*/2`, `1-9/2`, names."""

    def number(text: str) -> int:
        return names.index(text) + low if text in names else int(text)

    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        bounds = (low, high) if span == "*" else (number(first), number(last or first))
        found.update(range(bounds[0], bounds[1] + 1, int(step or 1)))
    return found


# ---- the library ----------------------------------------------------------------------------------------------------


def by_croniter(expression: str, zone: str) -> list[int]:
    """The ticks in the year as the library has them for a zone, in minutes since 1970."""
    tz = ZoneInfo(zone)
    start, stop = (datetime.fromtimestamp(minute * 60, tz) for minute in (FIRST, LAST - 1))
    return [int(tick.timestamp()) // 60 for tick in croniter_range(start, stop, expression)]


def walls_by_croniter(expression: str, start: datetime, stop: datetime) -> list[int]:
    """What the clock on the wall shows at its ticks, in minutes; without any zone."""
    found = croniter_range(start, stop, expression)
    return [int(tick.replace(tzinfo=UTC).timestamp()) // 60 for tick in found]
