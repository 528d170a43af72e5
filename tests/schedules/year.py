"""A year of ticks as `flowc.schedules` has it, and where it parts from others."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from flowc.plan import CronSource
from flowc.schedules import ticks

from .oracles import FIRST, LAST, brute_force, clock_of

__all__ = ["POLICIES", "Special", "specials", "year_of"]

#: of gaps and overlaps
POLICIES = (("run", "once"), ("run", "twice"), ("skip", "once"), ("skip", "twice"))


def year_of(expression: str, zone: str, gap: str = "run", overlap: str = "once") -> list[int]:
    """The ticks in the year, in minutes since 1970."""
    source = CronSource(expression=expression, tz=zone, gap=gap, overlap=overlap)  # type: ignore[arg-type]
    found: list[int] = []
    for tick in ticks(source, FIRST * 60_000 - 1):
        minute, rest = divmod(tick, 60_000)
        assert rest == 0, tick
        if minute >= LAST:
            break
        found.append(minute)
    return found


class Special(NamedTuple):
    """What a change of the clock does to an expression."""

    #: minutes since 1970
    change: int
    expression: str
    #: how often it ticks from a day before to a day after the change, by policy
    counts: tuple[int, ...]
    #: what the clock shows at the ticks within two hours of the change, with its distance from UTC, by default
    shown: tuple[str, ...]


def specials(expression: str, zone: str) -> list[Special]:
    """The changes at which the policies differ for an expression."""
    found: list[Special] = []
    years = [brute_force(expression, zone, *policy) for policy in POLICIES]
    for change in clock_of(zone).changes:
        near = [[minute for minute in year if abs(minute - change) <= 1440] for year in years]
        if FIRST <= change < LAST and any(minutes != near[0] for minutes in near):
            shown = tuple(_shown(minute, zone) for minute in near[0] if abs(minute - change) <= 120)
            found.append(Special(change, expression, tuple(map(len, near)), shown))
    return found


def _shown(minute: int, zone: str) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).astimezone(ZoneInfo(zone)).strftime("%H:%M%z")
