"""Grids of ticks: what is after, before, between; clocks, holidays, jitter, and what is no schedule."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from subprocess import run

import pytest
from flowc.plan import AtSource, CronSource, IntervalSource
from flowc.schedules import (
    Grid,
    ScheduleError,
    before,
    check,
    follows_clock,
    jittered,
    local,
    moment_of,
    ticks,
    zone,
    zone_hint,
)
from hypothesis import given, settings
from hypothesis import strategies as st

BERLIN = "Europe/Berlin"
MINUTE = 60_000
DAY = 24 * 60 * MINUTE


def ms(text: str) -> int:
    """A time with an offset, or in UTC."""
    at = datetime.fromisoformat(text)
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def cron(expression: str, tz: str = BERLIN, **more: object) -> CronSource:
    return CronSource(expression=expression, tz=tz, **more)  # type: ignore[arg-type]


def shown(schedule: Grid, after: str, count: int) -> list[str]:
    return [local(tick, schedule.tz).isoformat()[5:16] for tick in islice(ticks(schedule, ms(after)), count)]


# ---- ticks ----------------------------------------------------------------------------------------------------------


def test_a_tick_is_after_the_moment() -> None:
    daily = cron("15 4 * * *", "UTC")
    assert next(ticks(daily, ms("2026-01-01T04:15"))) == ms("2026-01-02T04:15")
    assert next(ticks(daily, ms("2026-01-01T04:15") - 1)) == ms("2026-01-01T04:15")


def test_intervals_lie_on_their_grid() -> None:
    often = IntervalSource(every_ms=10 * MINUTE, origin_ms=5 * MINUTE)
    assert list(islice(ticks(often, 5 * MINUTE), 2)) == [15 * MINUTE, 25 * MINUTE]
    assert next(ticks(often, -7 * MINUTE)) == -5 * MINUTE


def test_certain_times_end() -> None:
    some = AtSource(at_ms=(10, 20, 30))
    assert list(ticks(some, 10)) == [20, 30]
    assert list(ticks(some, 30)) == []


def test_both_days_count_where_one_is_open() -> None:
    assert shown(cron("0 0 13 * 5", "UTC"), "2026-02-01", 3) == ["02-06T00:00", "02-13T00:00", "02-20T00:00"]
    assert shown(cron("0 0 */2 * 5", "UTC"), "2026-02-01", 2) == ["02-13T00:00", "02-27T00:00"]


def test_last_days() -> None:
    assert shown(cron("0 0 L * *", "UTC"), "2026-01-15", 2) == ["01-31T00:00", "02-28T00:00"]
    assert shown(cron("0 0 * * 5L", "UTC"), "2026-01-15", 2) == ["01-30T00:00", "02-27T00:00"]
    assert shown(cron("0 0 29 2 *", "UTC"), "2026-01-15", 1) == ["02-29T00:00"]


def test_a_gap_ticks_at_its_end_once() -> None:
    assert shown(cron("0,30 2 * * *"), "2026-03-28T12:00", 2) == ["03-29T03:00", "03-30T02:00"]
    assert shown(cron("0 2,3 * * *"), "2026-03-28T12:00", 2) == ["03-29T03:00", "03-30T02:00"]
    assert shown(cron("30 2 * * *", gap="skip"), "2026-03-28T12:00", 1) == ["03-30T02:30"]


def test_an_overlap_ticks_once_or_twice() -> None:
    first, second = ms("2026-10-25T02:30+02:00"), ms("2026-10-25T02:30+01:00")
    once, twice = cron("30 2 * * *"), cron("30 2 * * *", overlap="twice")
    assert next(ticks(once, ms("2026-10-25"))) == first
    assert list(islice(ticks(twice, ms("2026-10-25")), 2)) == [first, second]
    assert next(ticks(once, first)) == ms("2026-10-26T02:30+01:00")  # asked from within the hour


def test_a_star_follows_the_clock() -> None:
    assert follows_clock("*/30 * * * *")
    assert follows_clock("30 */2 * * *")
    assert not follows_clock("30 2 * * *")
    hours = list(islice(ticks(cron("0 * * * *"), ms("2026-10-24T22:30")), 6))
    assert {later - earlier for earlier, later in pairwise(hours)} == {60 * MINUTE}
    assert shown(cron("*/30 2 * * *"), "2026-03-28T12:00", 1) == ["03-30T02:00"]


def test_holidays_are_days_of_the_zone() -> None:
    daily = cron("30 0 * * *", holidays=("2026-12-25",))
    assert shown(daily, "2026-12-24T12:00", 2) == ["12-26T00:30", "12-27T00:30"]
    often = IntervalSource(every_ms=6 * 60 * MINUTE, tz=BERLIN, holidays=("2026-12-25",))
    assert shown(often, "2026-12-24T17:00", 2) == ["12-24T19:00", "12-26T01:00"]


def test_quick_intervals_jump_over_holidays() -> None:
    quick = IntervalSource(every_ms=7, tz=BERLIN, holidays=("2026-12-25", "2026-12-26"))
    last = before(quick, ms("2026-12-27T00:00+01:00"))
    assert last is not None
    assert 0 < ms("2026-12-25T00:00+01:00") - last <= 7
    following = next(ticks(quick, last))
    assert 0 <= following - ms("2026-12-27T00:00+01:00") < 7
    assert before(quick, following) == last


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(["15 4 * * *", "*/7 * * * *", "30 2 * * 0", "0 0 1 * *", "30 1-3 * * *", "0 9 * * 1-5"]),
    st.sampled_from([BERLIN, "America/Havana", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu"]),
    st.integers(ms("2020-01-01"), ms("2035-01-01")),
)
def test_ticks_do_not_depend_on_where_one_begins(expression: str, tz: str, at: int) -> None:
    source = cron(expression, tz)
    later = list(islice(ticks(source, at), 5))
    assert later == sorted(set(later))
    assert list(islice(ticks(source, later[0]), 4)) == later[1:]
    assert list(islice(ticks(source, later[0] - 1), 5)) == later
    assert [before(source, tick) for tick in later[1:]] == later[:-1]


# ---- jitter --------------------------------------------------------------------------------------------------------


def test_what_ticks_seldom_has_a_tick_before_all_the_same() -> None:
    assert before(cron("0 0 29 2 *", "UTC"), ms("2027-05-01")) == ms("2024-02-29")
    assert before(IntervalSource(every_ms=7 * DAY), 3 * DAY) == 0
    assert before(AtSource(at_ms=(10, 20)), 10) is None


def test_jitter_is_the_same_each_time_and_within_its_bounds() -> None:
    at = [ms("2026-01-01") + i * DAY for i in range(500)]
    late = [jittered("flow.nightly", tick, MINUTE) - tick for tick in at]
    assert late == [jittered("flow.nightly", tick, MINUTE) - tick for tick in at]
    assert min(late) >= 0
    assert max(late) <= MINUTE
    assert len(set(late)) > 400
    assert late != [jittered("flow.other", tick, MINUTE) - tick for tick in at]
    assert jittered("flow.nightly", 5, 0) == 5


# ---- clocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wall", "at"),
    [
        ("2026-07-01T12:00", "2026-07-01T12:00+02:00"),
        ("2026-03-29T01:59", "2026-03-29T01:59+01:00"),
        ("2026-03-29T02:30", "2026-03-29T03:00+02:00"),  # it is not there: the end of the gap
        ("2026-10-25T02:30", "2026-10-25T02:30+02:00"),  # the first of two
        ("2026-07-01T12:00+09:00", "2026-07-01T05:00+02:00"),
        ("2150-07-01T12:00", "2150-07-01T12:00+02:00"),
    ],
)
def test_moments_of_a_clock(wall: str, at: str) -> None:
    assert moment_of(datetime.fromisoformat(wall), BERLIN) == ms(at)


@settings(max_examples=50, deadline=None)
@given(st.integers(ms("1975-01-01"), ms("2100-01-01")), st.sampled_from([BERLIN, "America/Havana", "Asia/Kathmandu"]))
def test_clocks_go_there_and_back(at: int, tz: str) -> None:
    again = moment_of(local(at, tz), tz)
    assert again == at or timedelta(0) < timedelta(milliseconds=at - again) <= timedelta(hours=1)


# ---- what is none ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "finding", "text"),
    [
        ("60 * * * *", "cron-invalid", "'60' is no minute"),
        ("* 24 * * *", "cron-invalid", "'24' is no hour"),
        ("* * 0 * *", "cron-invalid", "day of the month"),
        ("* * * 13 *", "cron-invalid", "month"),
        ("* * * * 8", "cron-invalid", "day of the week"),
        ("5-1 * * * *", "cron-invalid", "'5-1' is no minute"),
        ("*/0 * * * *", "cron-invalid", "minute"),
        ("* * * *", "cron-invalid", "4 fields"),
        ("", "cron-invalid", "0 fields"),
        ("@daily", "cron-invalid", "nickname"),
        ("0 0 30 2 *", "cron-never-fires", "no day"),
        ("0 0 31 4,6,9,11 *", "cron-never-fires", "no day"),
        ("0 0 */31 2 1#5", "cron-never-fires", "no day"),
        ("0 0 31 2 1#6", "cron-invalid", "week"),
    ],
)
def test_what_is_no_expression(expression: str, finding: str, text: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        check(cron(expression))
    assert caught.value.finding == finding
    assert text in str(caught.value)
    assert caught.value.hint


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=30),
        st.lists(st.text("0123456789*/-,LW#?²SUNJAN", min_size=1, max_size=6), min_size=5, max_size=5).map(" ".join),
    )
)
def test_any_text_is_an_expression_or_says_why_not(text: str) -> None:
    source = cron(text)
    problem: ScheduleError | None = None
    try:
        check(source)
    except ScheduleError as error:
        problem = error
    if problem is None:
        found = list(islice(ticks(source, ms("2026-01-01")), 3))
        assert found == sorted(found)
    else:
        assert problem.hint


def test_what_is_no_zone() -> None:
    for name in ("Berlin", "europe/berlin", "+02:00", "", "../etc/passwd", "CEST"):
        with pytest.raises(ScheduleError, match="no time zone"):
            zone(name)
    assert zone_hint("Berlin") == zone_hint("europe/berlin") == 'write "Europe/Berlin"'
    assert "Europe/Berlin" in zone_hint("Europe/Berlim")
    with pytest.raises(ScheduleError, match="no time zone"):
        list(ticks(cron("0 0 * * *", "Nowhere/At_all"), 0))


def test_an_interval_is_longer_than_nothing() -> None:
    with pytest.raises(ScheduleError):
        check(IntervalSource(every_ms=0))


def test_the_libraries_are_loaded_late() -> None:
    text = (
        "import sys, flowc.schedules, flowc.pipeline; print([m for m in ('cronsim', 'whenever') if m in sys.modules])"
    )
    found = run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
