"""Backfills with the runs of real triggers: windows, ledger, pauses, snapshots."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
from flowc.plan import CronSource, Plan, SlaDef, TriggerDef
from flowrun import values
from flowrun.engine import Engine
from flowrun.engine.ledger import FAILED, LIVE, SUCCESS
from flowrun.engine.starting import state_of
from flowrun.manifest import DeployedFlow, Manifest
from flowrun.messages import Backfill, BackfillState, Control, Deployed, RunRecord, Scheduled

from tests.unit.engine.builders import flow, task
from tests.unit.engine.driver import Driver, Fail

DAY_MS = 86_400_000
FIRST_MS = int(dt.datetime(2013, 1, 1, tzinfo=dt.UTC).timestamp() * 1000)
T = "day.daily"


def window(number: int) -> Scheduled:
    start = FIRST_MS + number * DAY_MS
    return Scheduled(
        start + DAY_MS, start, start + DAY_MS, (dt.date(2013, 1, 1) + dt.timedelta(days=number)).isoformat()
    )


def day_flow(**more: Any) -> Plan:
    """A flow of one task that is given the run's facts."""
    return msgspec.structs.replace(flow(task("load", 0), result=1), flow="day", **more)


class Days(Driver):
    """Whose flow is deployed with a daily trigger; `load` gets `run`."""

    def __init__(self, plan: Plan, load: Any, *, past: bool = False) -> None:
        super().__init__(plan, {"load": load})
        definition = TriggerDef(name="daily", source=CronSource(expression="0 0 * * *"))
        self.manifest = Manifest(
            project="p",
            flows=(DeployedFlow(name="day", plan="plan", triggers=(definition,), depends_on_past=past),),
        )
        self.deploy(1)

    def deploy(self, number: int) -> None:
        self.engine.add_manifest("m", self.manifest)
        self.post(Deployed("p", number, "m", self.now))

    def backfill(self, numbers: range | list[int], *, concurrency: int = 2, **more: Any) -> BackfillState:
        times = tuple(map(window, numbers))
        self.post(Backfill(T, f"q{self.seq}", times, concurrency, name="b", **more))
        return self.told()

    def told(self) -> BackfillState:
        return self.engine.backfills.told("b")[0]

    def finish(self) -> BackfillState:
        while self.told().state == "running" and self.step():
            pass
        return self.told()

    def records(self) -> list[RunRecord]:
        return [self.engine.record(run) for run in self.ended]


def date_of(run: Any) -> str:
    return str(run["date"])


def test_each_window_is_a_run_with_its_facts() -> None:
    days = Days(day_flow(), lambda run: [str(run["date"]), str(run["window"]["start"])])
    days.backfill(range(5))
    told = days.finish()
    assert (told.state, told.done) == ("success", 5)
    records = sorted(days.records(), key=lambda record: record.scheduled.at_ms if record.scheduled else 0)
    results = [values.decode_plain(record.result, lambda digest: b"") for record in records]
    assert [str(result[0]) for result in results] == [window(n).date for n in range(5)]
    assert all(str(result[1]).startswith(window(n).date) for n, result in enumerate(results))
    assert {record.trigger for record in records} == {T}
    assert [state_of(days.engine, T, window(n).at_ms) for n in range(5)] == [SUCCESS] * 5


def test_a_failed_window_runs_again_as_another_run() -> None:
    broken = {window(1).date}

    def load(run: Any) -> str:
        if date_of(run) in broken:
            raise Fail
        return date_of(run)

    days = Days(day_flow(), load)
    days.backfill(range(3))
    told = days.finish()
    assert (told.state, told.done, told.failures) == ("failed", 2, (window(1).start_ms,))
    assert state_of(days.engine, T, window(1).at_ms) == FAILED
    broken.clear()
    days.backfill(range(3), only="failed")
    told = days.finish()
    assert (told.state, told.done, told.kept) == ("success", 1, 2)
    assert len(set(days.ended)) == 4


def test_the_flow_keeps_to_its_most_runs() -> None:
    days = Days(day_flow(max_active_runs=2), date_of)
    days.backfill(range(6), concurrency=5)
    assert days.told().running == 2
    assert len(days.ready) == 2
    assert days.finish().done == 6


def test_a_paused_trigger_may_be_backfilled() -> None:
    days = Days(day_flow(), date_of)
    days.post(Control("pause", trigger=T, id="c"))
    days.backfill(range(2))
    assert days.finish().state == "success"


def test_the_past_of_a_window_is_that_of_its_trigger() -> None:
    def load(run: Any) -> str:
        if date_of(run) == window(2).date:
            raise Fail
        return date_of(run)

    days = Days(day_flow(), load, past=True)
    days.backfill(range(5), concurrency=3)
    assert days.told().running == 1
    told = days.finish()
    assert (told.state, told.done, told.failed, told.left) == ("blocked", 2, 1, 2)


def test_arguments_that_do_not_fit_fail_each_window() -> None:
    days = Days(day_flow(), date_of)
    days.backfill(range(2), args=values.encode({"nonsense": 1}))
    assert days.finish().failed == 2


@pytest.mark.parametrize("after", [0, 1, 2])
def test_it_goes_on_after_a_snapshot(after: int) -> None:
    days = Days(day_flow(), date_of)
    days.backfill(range(4))
    for _ in range(after):
        days.step()
    old, days.engine = days.engine, Engine()
    packed = [(name, old.pack_run(name)) for name in [*old.living(), *old.take_touched()]]
    days.engine.add_plan("plan", days.plan)
    days.engine.restore(old.pack_rest(), packed)
    days.ready = list(days.engine.outstanding())
    assert days.told() == old.backfills.told("b")[0]
    assert days.finish().done == 4
    assert len(set(days.ended)) == 4


def test_a_trigger_that_is_undeployed_blocks_what_is_left() -> None:
    days = Days(day_flow(), date_of)
    days.backfill(range(4))
    days.post(Deployed("p", 2, "", days.now))
    told = days.finish()
    assert (told.state, told.done, told.left) == ("blocked", 2, 2)
    days.deploy(3)
    days.backfill(range(4))
    told = days.finish()
    assert (told.state, told.kept, told.done) == ("success", 2, 2)


def test_a_window_that_runs_is_not_doubled() -> None:
    days = Days(day_flow(), date_of)
    days.backfill(range(2))
    assert state_of(days.engine, T, window(0).at_ms) == LIVE
    days.post(Backfill(T, "other", tuple(map(window, range(3))), 5, name="c"))
    assert len(days.ready) == 3
    while days.step():
        pass
    assert [told.state for told in days.engine.backfills.told()] == ["success", "success"]
    assert len(days.ended) == 3


def test_a_run_that_the_engine_fails_on_is_a_window_that_failed() -> None:
    days = Days(day_flow(), date_of)
    days.backfill(range(3), concurrency=1)
    [lost] = days.engine.living()
    for command in days.engine.abandon(lost):
        days._do(command)
    told = days.finish()
    assert (told.state, told.done, told.failed) == ("failed", 2, 1)
    assert state_of(days.engine, T, window(0).at_ms) == FAILED


def test_service_levels_of_a_backfill_count_from_its_submission() -> None:
    days = Days(day_flow(sla=SlaDef(finish_ms=60_000)), lambda run: 0)
    days.backfill([0])
    (run,) = days.engine.living()
    assert days.timers == {(run, "sla/0"): days.now + 60_000}
    while days.step():
        pass
    assert [mark.missed_ms for mark in days.engine.record(run).slas] == [0]
