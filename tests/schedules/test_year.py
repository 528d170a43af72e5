"""A year of ticks of fifty expressions in six zones is what others work out."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from .expressions import EXPRESSIONS, YEAR, ZONES
from .oracles import brute_force, clock_of, walls_by_croniter
from .year import POLICIES, year_of


def test_there_are_fifty_expressions_and_six_zones() -> None:
    assert len(set(EXPRESSIONS)) == 50
    assert len(set(ZONES)) == 6


@pytest.mark.parametrize("zone", ZONES)
def test_every_minute_of_the_year(zone: str) -> None:
    """Against every minute of the zone's clock. `python -m tests.schedules` has each expression with each policy."""
    for number, expression in enumerate(EXPRESSIONS, ZONES.index(zone)):
        policy = POLICIES[number % len(POLICIES)]
        assert year_of(expression, zone, *policy) == brute_force(expression, zone, *policy), (expression, policy)


def test_february_and_march_are_as_croniter_has_them() -> None:
    """But for the days around the change. `python -m tests.schedules --croniter` compares whole years."""
    zone = ZONES[1]
    clock = clock_of(zone)
    start, stop = datetime(YEAR, 2, 1), datetime(YEAR, 4, 1)

    def is_meant(minute: int) -> bool:
        wall = datetime.fromtimestamp(minute * 60, ZoneInfo(zone)).replace(tzinfo=None)
        return start <= wall <= stop and all(abs(minute - change) > 1440 for change in clock.changes)

    for expression in EXPRESSIONS:
        others = [clock.first[wall] for wall in walls_by_croniter(expression, start, stop) if wall in clock.first]
        assert list(filter(is_meant, year_of(expression, zone))) == list(filter(is_meant, others)), expression
