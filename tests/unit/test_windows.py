"""What times stand for, and where triggers are at home."""

from __future__ import annotations

import pytest
from flowc.plan import AtSource, CronSource, IntervalSource
from flowc.schedules import before
from flowrun.partitions import partition_of
from flowrun.run_ids import run_id_of_window
from flowrun.sources import home_of
from flowrun.windows import scheduled, windows

DAY, HOUR = 86_400_000, 3_600_000
MIDNIGHT = CronSource(expression="0 0 * * *", tz="Europe/Berlin")
#: 2026-03-28T23:00Z and 2026-03-29T22:00Z: midnights in Berlin around the day of 23 hours
BEFORE, AFTER = 1_774_738_800_000, 1_774_821_600_000


def test_a_daily_run_is_about_the_day_that_has_ended() -> None:
    first, second = windows("f.t", MIDNIGHT, BEFORE, AFTER + DAY)
    assert (first.at_ms, first.start_ms, first.end_ms, first.date) == (AFTER, BEFORE, AFTER, "2026-03-29")
    assert (second.date, second.start_ms, second.trigger) == ("2026-03-30", AFTER, "f.t")
    assert scheduled("f.t", MIDNIGHT, AFTER) == first


def test_the_first_time_of_all_has_an_empty_window() -> None:
    source = AtSource(at_ms=(10, 20))
    assert [(one.start_ms, one.end_ms) for one in windows("f.t", source, 0, 100)] == [(10, 10), (10, 20)]


def test_a_window_over_a_change_of_the_clock_is_an_hour_shorter() -> None:
    found = scheduled("f.t", CronSource(expression="15 4 * * *", tz="Europe/Berlin"), BEFORE + 3 * HOUR + HOUR // 4)
    assert (found.end_ms - found.start_ms, found.date) == (23 * HOUR, "2026-03-28")


def test_holidays_are_in_the_window_after_them() -> None:
    daily = CronSource(expression="0 9 * * 1-5", tz="UTC", holidays=("2026-12-25",))
    (found,) = windows("f.t", daily, 1_798_340_400_000, 1_798_459_200_000)  # 2026-12-27T03:00Z, 2026-12-28T12:00Z
    assert found.date == "2026-12-24"


@pytest.mark.parametrize(("at_ms", "expected"), [(25, 23), (24, 23), (23, 13), (13, 3), (3, -7), (0, -7)])
def test_the_time_before(at_ms: int, expected: int) -> None:
    assert before(IntervalSource(every_ms=10, origin_ms=3), at_ms) == expected


def test_a_run_s_id_follows_from_its_window_and_lies_at_its_trigger_s_home() -> None:
    for count in (1, 3, 8, 64):
        home = home_of("f.t", count)
        ids = [
            run_id_of_window("f.t", at_ms, number, home, count)
            for at_ms in range(0, 50 * DAY, DAY)
            for number in (1, 2)
        ]
        assert len(set(ids)) == 100
        assert {partition_of(run, count) for run in ids} == {home}
        assert ids[::2] == sorted(ids[::2])
        assert run_id_of_window("f.t", 0, 1, home, count) == ids[0]
