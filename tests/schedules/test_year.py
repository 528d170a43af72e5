"""A year of ticks of fifty expressions in six zones is what others work out."""

from __future__ import annotations

import pytest

from .expressions import EXPRESSIONS, ZONES
from .oracles import FIRST, LAST, brute_force, clock_of, walls_by_croniter
from .year import year_of


def test_there_are_fifty_expressions_and_six_zones() -> None:
    assert len(set(EXPRESSIONS)) == 50
    assert len(set(ZONES)) == 6


@pytest.mark.parametrize("zone", ZONES)
def test_every_minute_of_the_year(zone: str) -> None:
    """Against every minute of the zone's clock, with either policy of gaps and overlaps."""
    for expression in EXPRESSIONS:
        for gap, overlap in (("run", "once"), ("skip", "twice")):
            assert year_of(expression, zone, gap, overlap) == brute_force(expression, zone, gap, overlap), expression


def test_days_without_a_change_are_as_croniter_has_them() -> None:
    zone = ZONES[1]
    clock = clock_of(zone)

    def is_far(minute: int) -> bool:
        return all(abs(minute - change) > 1440 for change in clock.changes)

    for expression in EXPRESSIONS:
        others = [clock.first[wall] for wall in walls_by_croniter(expression) if wall in clock.first]
        wanted = [minute for minute in others if FIRST <= minute < LAST and is_far(minute)]
        assert list(filter(is_far, year_of(expression, zone))) == wanted, expression
