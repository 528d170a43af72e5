"""Which windows lie between two days."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from flowc.plan import AnySource, AtSource, CronSource, EventSource, IntervalSource, TriggerDef
from flowc.schedules import Grid
from flowrun.client.window_range import parse_moment, windows_between
from flowrun.parameters import ArgumentError

NEW_YORK = ZoneInfo("America/New_York")
NOW_MS = int(dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp() * 1000)


def ms(*parts: int, tz: dt.tzinfo = NEW_YORK) -> int:
    return int(dt.datetime(*parts, tzinfo=tz).timestamp() * 1000)  # type: ignore[misc, arg-type]


def trigger(source: Grid | AnySource | EventSource, **more: int) -> TriggerDef:
    return TriggerDef(name="t", source=source, **more)  # type: ignore[arg-type]


def cron(expression: str, tz: str = "America/New_York") -> CronSource:
    return CronSource(expression=expression, tz=tz)


def dates(definition: TriggerDef, first: object, last: object) -> list[str]:
    return [time.date for time in windows_between("f.t", definition, first, last, NOW_MS).times]  # type: ignore[arg-type]


@pytest.mark.parametrize("expression", ["0 0 * * *", "0 6 * * *"])
def test_days_count_at_both_ends(expression: str) -> None:
    found = dates(trigger(cron(expression)), "2013-01-01", "2013-12-31")
    assert len(found) == 365
    assert (found[0], found[-1]) == ("2013-01-01", "2013-12-31")


def test_a_year_of_hours() -> None:
    found = windows_between("f.t", trigger(cron("0 * * * *")), "2013-01-01", "2013-12-31", NOW_MS).times
    assert len(found) == 8_760  # one hour less in March, one more in November
    assert found[0].start_ms == ms(2013, 1, 1)
    assert found[-1].at_ms == ms(2014, 1, 1)
    assert all(a.at_ms == b.start_ms for a, b in pairwise(found))


def test_times_of_day() -> None:
    definition = trigger(IntervalSource(every_ms=3_600_000))
    found = windows_between("f.t", definition, "2013-05-01T10:00", "2013-05-01T12:00", NOW_MS).times
    assert [time.start_ms for time in found] == [ms(2013, 5, 1, hour, tz=dt.UTC) for hour in (10, 11, 12)]
    offset = windows_between("f.t", definition, "2013-05-01T10:00+02:00", "2013-05-01T08:00Z", NOW_MS).times
    assert [time.start_ms for time in offset] == [ms(2013, 5, 1, 8, tz=dt.UTC)]
    assert parse_moment("2013-05-01") == dt.date(2013, 5, 1)


def test_a_clock_among_other_sources() -> None:
    event = EventSource(subject="s", body=0)
    definition = trigger(AnySource(sources=(event, cron("0 0 * * *"))))
    assert dates(definition, dt.date(2013, 1, 1), dt.date(2013, 1, 2)) == ["2013-01-01", "2013-01-02"]


def test_what_lies_outside_of_start_and_end_is_left_out() -> None:
    definition = trigger(cron("0 0 * * *"), start_ms=ms(2013, 1, 3), end_ms=ms(2013, 1, 5))
    found = windows_between("f.t", definition, "2013-01-01", "2013-01-10", NOW_MS)
    assert [time.date for time in found.times] == ["2013-01-02", "2013-01-03", "2013-01-04"]
    assert found.outside == 7


@pytest.mark.parametrize(
    ("definition", "first", "last", "why"),
    [
        (trigger(cron("0 0 * * *")), "2013-02-01", "2013-01-01", "its end lies before its begin"),
        (trigger(cron("0 0 * * *")), "2013-02-30", "2013-03-01", "`2013-02-30` is neither a day nor a time"),
        (trigger(cron("0 0 * * *")), "yesterday", "2013-03-01", "write it like 2013-01-31"),
        (trigger(cron("0 0 * * *")), "2025-12-30", "2026-02-01", "the last window that has ended begins on 2025-12-30"),
        (trigger(cron("0 0 * * *")), "2027-01-01", "2027-02-01", "a backfill is for the past"),
        (trigger(cron("0 0 1 * *")), "2013-01-02", "2013-01-03", "no window that begins between 2013-01-02"),
        (trigger(cron("0 0 * * *"), end_ms=0 + 1), "2013-01-02", "2013-01-03", "all 2 windows"),
        (trigger(EventSource(subject="s", body=0)), "2013-01-02", "2013-01-03", "does not follow a clock"),
        (
            trigger(AnySource(sources=(cron("0 0 * * *"), AtSource(at_ms=(1,))))),
            "2013-01-02",
            "2013-01-03",
            "follows 2 clocks",
        ),
        (trigger(IntervalSource(every_ms=1_000)), "2013-01-01", "2013-12-31", "at most 100,000 windows"),
        (trigger(cron("0 0 * * *", "Mars/Base")), "2013-01-02", "2013-01-03", "no time zone 'Mars/Base'"),
        (trigger(cron("0 0 * * *")), "9999-12-31", "9999-12-31", "beyond all calendars"),
    ],
)
def test_what_is_no_range_says_why(definition: TriggerDef, first: str, last: str, why: str) -> None:
    with pytest.raises(ArgumentError, match=why.replace("(", r"\(")):
        windows_between("f.t", definition, first, last, NOW_MS)
