"""When a schedule ticks: grids of moments, worked out from their definition alone.

A tick is named by its place in the grid, never by when it was noticed, so everybody who asks for the ticks after a
moment gets the same. Moments are milliseconds since 1970, UTC.

Cron expressions are read by `cronsim`, which does as Debian's cron does: five fields, names of days and months, `L`,
`#`; day of month and day of week both count where one of them begins with a star, else either. It is asked about the
clock on the wall alone, without a time zone. How wall clocks become moments is worked out here, from the changes of the
zone's clock as `whenever` knows them: between two changes the distance from UTC is one number, so such a piece of the
clock is moved as a whole. At a change two kinds of expressions differ, as in cron:

- one that begins with a star in its minute or its hour follows the clock as it goes: it never ticks in an hour that
  is not there, and ticks in both where an hour comes twice;
- any other names times of day. One that is not there ticks at the end of the gap (`gap: "run"`; once, however many
  times of day fall into it) or not at all (`"skip"`); one that comes twice ticks the first time (`overlap: "once"`)
  or both times (`"twice"`).

On holidays nothing ticks: the day is that of the tick, in the schedule's time zone. Both libraries are loaded by the
first schedule that needs them.
"""

from __future__ import annotations

import copy
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from .plan import AtSource, CronSource, IntervalSource

if TYPE_CHECKING:
    from cronsim import CronSim

__all__ = ["Grid", "ScheduleError", "before", "check", "follows_clock", "jittered", "local", "moment_of",
           "ticks", "transitions", "zone", "zone_hint"]  # fmt: skip


class ScheduleError(ValueError):
    """The schedule is none; the message says what is wrong with it, `hint` what to do, `finding` what it is called."""

    def __init__(self, problem: str, hint: str = "", finding: str = "cron-invalid") -> None:
        super().__init__(problem)
        self.hint = hint
        self.finding = finding


Grid = CronSource | IntervalSource | AtSource


_EPOCH = datetime(1970, 1, 1)
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
#: changes of clocks are known up to here, and nothing ticks after
_LAST_YEAR = 2200
#: how far back `before` looks for a tick, in steps, milliseconds
_HOUR_MS = 3_600_000
_BACK_MS = tuple(hours * _HOUR_MS for hours in (1, 26, 24 * 8, 24 * 32, 24 * 370, 24 * 366 * 9, 24 * 366 * 60))


# ---- the grid -------------------------------------------------------------------------------------------------------


def check(schedule: Grid) -> None:
    """Raises ScheduleError if it cannot tick: an invalid expression or time zone, an interval of nothing."""
    zone(schedule.tz)
    if isinstance(schedule, CronSource):
        _parsed(schedule.expression)
        if next(ticks(schedule, 0), None) is None:
            raise ScheduleError(f"no day fits {schedule.expression!r}", "change its day, month or day of week",
                                "cron-never-fires")  # fmt: skip
    elif isinstance(schedule, IntervalSource) and schedule.every_ms < 1:
        raise ScheduleError("an interval is longer than nothing", "write `interval(10m)`")


def ticks(schedule: Grid, after_ms: int) -> Iterator[int]:
    """The ticks after a moment, in rising order; without end, unless the schedule has one. Raises ScheduleError."""
    match schedule:
        case CronSource():
            days = _days(schedule.holidays)
            for tick in _of_cron(schedule, after_ms):
                if not days or local(tick, schedule.tz).date() not in days:
                    yield tick
        case IntervalSource():
            yield from _of_interval(schedule, after_ms)
        case AtSource():
            yield from schedule.at_ms[bisect_right(schedule.at_ms, after_ms) :]


def before(schedule: Grid, at_ms: int) -> int | None:
    """The last tick before a moment; None if there is none (in a lifetime)."""
    if isinstance(schedule, AtSource):
        position = bisect_left(schedule.at_ms, at_ms)
        return schedule.at_ms[position - 1] if position else None
    if isinstance(schedule, IntervalSource):
        return _before_in(schedule, at_ms)
    for back in _BACK_MS:
        found = None
        for tick in ticks(schedule, at_ms - back - 1):
            if tick >= at_ms:
                break
            found = tick
        if found is not None:
            return found
    return None


def jittered(trigger: str, at_ms: int, jitter_ms: int) -> int:
    """When a tick of a trigger is due: put off by 0 to `jitter_ms`, each time by the same."""
    if jitter_ms <= 0:
        return at_ms
    from hashlib import blake2b  # start-up time: it loads OpenSSL

    spread = int.from_bytes(blake2b(f"{trigger}@{at_ms}".encode(), digest_size=8).digest())
    return at_ms + spread % (jitter_ms + 1)


@lru_cache(maxsize=256)
def _days(holidays: tuple[str, ...]) -> frozenset[date]:
    return frozenset(map(date.fromisoformat, holidays))


def _of_interval(schedule: IntervalSource, after_ms: int) -> Iterator[int]:
    every, days = schedule.every_ms, _days(schedule.holidays)
    tick = _at_or_before(schedule, after_ms) + every
    while True:
        day = local(tick, schedule.tz).date() if days else None
        if day in days:
            tick = _at_or_before(schedule, _midnight(day + _DAY, schedule.tz) - 1)
        else:
            yield tick
        tick += every


def _before_in(schedule: IntervalSource, at_ms: int) -> int:
    """The last tick of an interval before a moment."""
    tick, days = _at_or_before(schedule, at_ms - 1), _days(schedule.holidays)
    while days and (day := local(tick, schedule.tz).date()) in days:
        tick = _at_or_before(schedule, _midnight(day, schedule.tz) - 1)
    return tick


def _at_or_before(schedule: IntervalSource, at_ms: int) -> int:
    """The last point of the grid up to a moment, holidays or not."""
    return schedule.origin_ms + (at_ms - schedule.origin_ms) // schedule.every_ms * schedule.every_ms


def _midnight(day: date, tz: str) -> int:
    """When a day begins."""
    return moment_of(datetime(day.year, day.month, day.day), tz)


# ---- cron -----------------------------------------------------------------------------------------------------------


def follows_clock(expression: str) -> bool:
    """Whether it follows the clock, or names times of day."""
    return any(field.startswith("*") for field in expression.split()[:2])


def _of_cron(schedule: CronSource, after_ms: int) -> Iterator[int]:
    """Piece by piece of the clock: at its beginning what fell into the gap, then what the clock on the wall says."""
    changes = transitions(schedule.tz)
    is_named = not follows_clock(schedule.expression)
    piece = bisect_right(changes, after_ms // 1000, key=_second) - 1
    while piece < len(changes):
        change = changes[piece]
        first = change.to_local  # the first second of the piece, on the wall
        if is_named and change.to_local > change.from_local and piece:
            if schedule.gap == "run" and change.at * 1000 > after_ms and _falls_into(schedule.expression, change):
                yield change.at * 1000
                first += 1
        elif is_named and schedule.overlap == "once":
            first = max(change.from_local, change.to_local)  # what comes again has been
        after = changes[piece + 1] if piece + 1 < len(changes) else None
        offset, last = change.to_local - change.at, None
        for wall in _walls(schedule.expression, max(first, after_ms // 1000 + 1 + offset)):
            if wall > _LAST_WALL:
                return
            if after is not None and wall >= after.from_local:
                break
            last = wall
            yield (wall - offset) * 1000
        else:
            return  # not in fifty years
        piece += 1
        if after is not None and (last is None or last < after.to_local):  # nothing comes again at the next change
            piece = max(piece, bisect_right(changes, wall, key=_from_local) - 1)


_LAST_WALL = (datetime(_LAST_YEAR, 1, 1) - _EPOCH) // _SECOND


def _falls_into(expression: str, change: Transition) -> bool:
    """Whether a time of day that is named is not there at a change, or is its very end."""
    wall = next(_walls(expression, change.from_local), None)
    return wall is not None and wall <= change.to_local


def _walls(expression: str, first: int) -> Iterator[int]:
    """What the clock on the wall shows at the ticks, from a second on: in seconds, as if it were UTC."""
    sim = copy.copy(_parsed(expression))
    sim.dt = _EPOCH + (first - 1) * _SECOND
    for found in sim:
        yield (found - _EPOCH) // _SECOND


@lru_cache(maxsize=4096)
def _parsed(expression: str) -> CronSim:
    """The expression, read once. Raises ScheduleError."""
    from cronsim import CronSim, CronSimError  # start-up time

    fields = expression.split()
    if len(fields) != 5:
        hint = _NICKNAMES.get(expression.strip().lower())
        if hint is not None:
            raise ScheduleError(f"{expression!r} is a nickname", f'write "{hint}"')
        hint = "write minute, hour, day of month, month, day of week: `15 4 * * *`"
        if len(fields) == 6:
            hint = "there are no seconds: for less than a minute write `interval(10s)`"
        raise ScheduleError(f"it has {len(fields)} fields, not five", hint)
    try:
        return CronSim(expression, _EPOCH)
    except CronSimError:
        raise _wrong_field(fields) from None


def _wrong_field(fields: list[str]) -> ScheduleError:
    """Which field is wrong: the one that is also wrong alone."""
    from cronsim import CronSim, CronSimError  # start-up time

    for position, (name, example) in enumerate(_FIELDS):
        alone = ["*"] * 5
        alone[position] = fields[position]
        try:
            CronSim(" ".join(alone), _EPOCH)
        except CronSimError:
            return ScheduleError(f"{fields[position]!r} is no {name}", f"write {example}")
    return ScheduleError(f"no day fits {' '.join(fields)!r}", "change its day or its month", "cron-never-fires")


_FIELDS = (
    ("minute", "0 to 59, `*`, `*/10`, `0,30` or `0-29`"),
    ("hour", "0 to 23, `*`, `*/2`, `8,20` or `8-18`"),
    ("day of the month", "1 to 31, `*`, `1,15` or `L` for the last one"),
    ("month", "1 to 12, `JAN` to `DEC`, `*` or `*/3`"),
    ("day of the week", "0 (Sunday) to 6, `MON` to `SUN`, `1-5`, `1#2` or `5L`"),
)
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


# ---- time zones -----------------------------------------------------------------------------------------------------


class Transition(NamedTuple):
    """A change of a zone's clock. All in seconds since 1970; what is on the wall as if it were UTC."""

    at: int
    #: what the clock would have shown, and what it shows
    from_local: int
    to_local: int


def _second(change: Transition) -> int:
    return change.at


def _from_local(change: Transition) -> int:
    return change.from_local


@lru_cache(maxsize=512)
def transitions(tz: str) -> tuple[Transition, ...]:
    """The changes of a zone's clock, up to the year 2200. The first is no change: the clock as it was in 1900. Raises
    ScheduleError where there is no such zone."""
    from whenever import Instant, TimeZoneNotFoundError  # start-up time

    try:
        moment = Instant.from_utc(1900, 1, 1).to_tz(tz)
    except (TimeZoneNotFoundError, ValueError) as error:
        raise ScheduleError(f"there is no time zone {tz!r}", zone_hint(tz), "unknown-time-zone") from error
    offset = int(moment.offset.total("seconds"))
    at = int(moment.timestamp())
    found = [Transition(at, at + offset, at + offset)]
    while (change := moment.next_transition()) is not None and change.year <= _LAST_YEAR:
        at, before_it = int(change.timestamp()), offset
        offset = int(change.offset.total("seconds"))
        if offset != before_it:
            found.append(Transition(at, at + before_it, at + offset))
        moment = change
    return tuple(found)


def local(at_ms: int, tz: str) -> datetime:
    """What the clock of a zone shows at a moment, without its zone. Raises ScheduleError."""
    changes = transitions(tz)
    change = changes[max(0, bisect_right(changes, at_ms // 1000, key=_second) - 1)]
    return _EPOCH + timedelta(milliseconds=at_ms) + (change.to_local - change.at) * _SECOND


def moment_of(wall: datetime, tz: str) -> int:
    """When the clock of a zone shows this: of a time that comes twice the first one, and of one that is not there the
    end of the gap. A time with an offset is where that says. Raises ScheduleError."""
    if wall.tzinfo is not None:
        return round(wall.timestamp() * 1000)
    shown = (wall - _EPOCH) // _SECOND
    changes = transitions(tz)
    found = changes[0].at + shown - changes[0].to_local
    for change in changes[1:]:
        if shown < change.from_local:
            break
        found = change.at + max(0, shown - change.to_local)
        if shown < change.to_local:  # it is not there
            break
    return found * 1000 + wall.microsecond // 1000


def zone(name: str) -> None:
    """Raises ScheduleError if there is no time zone of this name, spelt just so."""
    if name not in _zones():
        raise ScheduleError(f"there is no time zone {name!r}", zone_hint(name), "unknown-time-zone")


def zone_hint(name: str) -> str:
    """What was probably meant."""
    from .suggest import did_you_mean  # only where something is wrong

    by_lower = {known.lower(): known for known in _zones()}
    cities = {known.rpartition("/")[2].lower(): known for known in _zones() if "/" in known}
    meant = by_lower.get(name.lower()) or cities.get(name.lower().replace(" ", "_"))
    if meant is not None:
        return f'write "{meant}"'
    return did_you_mean(name, _zones(), 'write its name in the tz database, as "Europe/Berlin"').replace("`", '"')


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    from zoneinfo import available_timezones  # start-up time

    return frozenset(available_timezones())
