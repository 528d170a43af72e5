"""Schedules in Python: what a worker is asked for."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from flowc.plan import CustomSource
from flowrun.custom_schedule import TIMES, schedule_plan
from flowrun.operator import Fail
from flowrun.worker.next_times import next_times

AFTER = dt.datetime(2026, 3, 28, 12, tzinfo=dt.UTC)
HERE = __name__
DAY_MS = 86_400_000


def daily(after: dt.datetime) -> dt.datetime:
    return after + dt.timedelta(days=1)


def twice(after: dt.datetime) -> dt.datetime | None:
    return None if after > AFTER + dt.timedelta(days=1, hours=12) else daily(after)


def on_the_wall(after: dt.datetime) -> dt.datetime:
    return dt.datetime(2026, 3, 29, 2, 30)  # not there in Berlin


def backwards(after: dt.datetime) -> dt.datetime:
    return after


def text(after: dt.datetime) -> Any:
    return "tomorrow"


class Weekly:
    def next(self, after: dt.datetime) -> dt.datetime:
        return after + dt.timedelta(days=7)


def ms(moment: dt.datetime) -> int:
    return round(moment.timestamp() * 1000)


def test_the_next_times() -> None:
    assert next_times(AFTER, f"{HERE}:daily", "UTC", 3) == [ms(AFTER) + DAY_MS * i for i in (1, 2, 3)]
    assert next_times(AFTER, f"{HERE}:Weekly", "UTC", 2) == [ms(AFTER) + DAY_MS * i for i in (7, 14)]


def test_fewer_where_there_are_no_more() -> None:
    assert len(next_times(AFTER, f"{HERE}:twice", "UTC", 50)) == 2


def test_a_time_without_an_offset_is_one_of_the_trigger_s_zone() -> None:
    assert next_times(AFTER, f"{HERE}:on_the_wall", "Europe/Berlin", 1) == [
        ms(dt.datetime(2026, 3, 29, 1, tzinfo=dt.UTC))
    ]


@pytest.mark.parametrize(
    ("name", "why"), [("backwards", "after the one that it is told"), ("text", "gave str"), ("nowhere", "no function")]
)
def test_what_is_no_schedule_says_why(name: str, why: str) -> None:
    with pytest.raises(Fail, match=why):
        next_times(AFTER, f"{HERE}:{name}", "UTC", 2)


def test_the_plan_calls_it() -> None:
    plan = schedule_plan("f", "t", CustomSource(target="m:next", tz="Europe/Berlin"), "code")
    call = plan.blocks[0].nodes[-1]
    assert dict(call.args) == {  # type: ignore[union-attr]
        "after": ["in", 0], "target": ["lit", "m:next"], "tz": ["lit", "Europe/Berlin"], "count": ["lit", TIMES],
    }  # fmt: skip
    assert plan.code == "code"
