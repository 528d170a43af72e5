"""Service levels: each fires once, at its time, whatever the run does or does not do."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
from flowc import plan as p
from flowc.types import SLA_MISS
from flowrun import messages as m
from flowrun import values
from flowrun.compression import compressed
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engine import builders as b
from tests.unit.engine.driver import START, Driver, Fail, states
from tests.unit.engine.shop import MINUTE, Shop, flow_of
from tests.unit.engine.test_snapshot import Freezing, Restoring, restored

KINDS = pytest.mark.parametrize("kind", [Driver, Restoring, Freezing])
#: block 1 of flows: what is done on a miss
TELL = b.block(b.task("tell", 0), params=1, result=1)
#: the same with a value of block 0
TELL_ALSO = b.block(b.task("tell", 0, 1), params=2, result=2)
ON_MISS = p.HandlerDef(event="sla_miss", block=1)


class Revived(Driver):
    """Goes on with another engine after every event, made of the bytes of the one before."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.packed: dict[str, bytes] = {}

    def post(self, event: m.Event) -> list[Any]:
        commands = super().post(event)
        rest = self.engine.pack_rest()
        self.engine = restored(self, self.packed)
        assert self.engine.pack_rest() == rest
        return commands


REVIVED = pytest.mark.parametrize("kind", [Driver, Revived])


def sla(**more: Any) -> p.SlaDef:
    return p.SlaDef(**more)


def slow(*nodes: Any, **more: Any) -> p.Plan:
    """A flow with a handler of misses."""
    return b.flow(*(nodes or (b.task("a"), b.task("c", 1))), blocks=(TELL,), handlers=(ON_MISS,), **more)


def with_level(level: p.SlaDef, *nodes: Any, **more: Any) -> p.Plan:
    """A flow whose settings 1 have this level."""
    return slow(*nodes, settings=(b.settings(), b.settings(sla=level)), **more)


def at(driver: Driver, ms: int) -> None:
    """Time passes until so long after the start; what is due comes."""
    while driver.timers and min(driver.timers.values()) <= START + ms:
        driver.fire()
    driver.now = max(driver.now, START + ms)


def ready(driver: Driver) -> list[str]:
    driver.ready = [work for work in driver.ready if driver.engine.wants(work)]
    return sorted(driver._node(work).name for work in driver.ready)


def do(driver: Driver, name: str) -> None:
    """A worker executes this step."""
    work = next(work for work in driver.ready if driver._node(work).name == name and driver.engine.wants(work))
    driver.ready.remove(work)
    driver.post(m.Results("b", "w", tuple(driver.execute(work))))


def told(driver: Driver) -> list[tuple[Any, ...]]:
    """What handlers were told: what, of which step, seconds late, whether as a warning."""
    return [(one["what"], one["step"], one["by"].total_seconds(), one["warning"]) for one in records(driver)]


def records(driver: Driver) -> list[dict[str, Any]]:
    """What handlers were given."""
    found = [values.encode(arguments[0]) for name, arguments in driver.calls if name == "tell"]
    return [values.decode(data, SLA_MISS, driver.blobs.__getitem__) for data in found]


def marks(driver: Driver, run: str = "r") -> list[tuple[Any, ...]]:
    """The levels of an ended run: step, what, and when it was due, warned of, missed and there, in milliseconds."""

    def passed(ms: int) -> int | None:
        return ms - START if ms else None

    return [
        (
            mark.step,
            mark.what,
            passed(mark.due_ms),
            passed(mark.warned_ms),
            passed(mark.missed_ms),
            passed(mark.done_ms),
        )
        for mark in driver.engine.record(run).slas
    ]


def counts(driver: Driver) -> dict[tuple[str, str, str], tuple[int, int, int, int]]:
    """(flow, step, what) -> met, missed, warned, neither."""
    found = driver.engine.sla_counts.counts()
    return {(one.flow, one.step, one.what): (one.met, one.missed, one.warned, one.other) for one in found}


# ---- runs -----------------------------------------------------------------------------------------------------------


@KINDS
def test_a_run_that_never_ends_misses_its_finish_once(kind: type[Driver]) -> None:
    driver = kind(slow(sla=sla(finish_ms=60_000)))
    driver.submit()
    at(driver, 59_999)
    assert ready(driver) == ["a"]
    at(driver, 60_000)
    assert ready(driver) == ["a", "tell"]
    do(driver, "tell")
    assert told(driver) == [("finish", "", 0.0, False)]
    at(driver, 10_000_000)
    assert ready(driver) == ["a"]
    record = driver.drain()
    assert states(record) == {"a": "success", "c": "success", "tell": "success"}
    assert marks(driver) == [("", "finish", 60_000, None, 60_000, 10_000_000)]
    assert counts(driver) == {("test", "", "finish"): (0, 1, 0, 0)}
    [miss] = driver.engine.sla_counts.misses()
    assert (miss.run, miss.missed_ms - START, miss.done_ms - START) == ("r", 60_000, 10_000_000)


@KINDS
def test_a_run_that_ends_in_time_meets_it(kind: type[Driver]) -> None:
    driver = kind(slow(sla=sla(finish_ms=60_000, start_ms=1_000)))
    driver.submit()
    driver.now += 60_000
    assert driver.drain().state == "success"
    assert (driver.timers, told(driver)) == ({}, [])
    assert marks(driver) == [("", "start", 1_000, None, None, 0), ("", "finish", 60_000, None, None, 60_000)]
    assert counts(driver) == {("test", "", "start"): (1, 0, 0, 0), ("test", "", "finish"): (1, 0, 0, 0)}


@KINDS
def test_a_warning_comes_before_a_miss(kind: type[Driver]) -> None:
    driver = kind(slow(sla=sla(finish_ms=60_000, warn=0.8)))
    driver.submit()
    at(driver, 48_000)
    do(driver, "tell")
    at(driver, 60_000)
    do(driver, "tell")
    assert told(driver) == [("finish", "", -12.0, True), ("finish", "", 0.0, False)]
    record = driver.drain()
    assert [(row.step, row.state) for row in record.steps] == [
        ("a", "success"), ("c", "success"), ("tell", "success"), ("tell", "success"),
    ]  # fmt: skip
    assert marks(driver) == [("", "finish", 60_000, 48_000, 60_000, 60_000)]
    assert counts(driver) == {("test", "", "finish"): (0, 1, 1, 0)}


def test_a_warned_run_may_end_in_time() -> None:
    driver = Driver(slow(sla=sla(finish_ms=60_000, warn=0.5)))
    driver.submit()
    at(driver, 40_000)
    assert driver.drain().state == "success"
    assert told(driver) == [("finish", "", -30.0, True)]
    assert counts(driver) == {("test", "", "finish"): (1, 0, 1, 0)}


@REVIVED
def test_a_run_that_waits_for_its_place_misses_its_start(kind: type[Driver]) -> None:
    plan = b.flow(
        b.task("a", 1), blocks=(TELL_ALSO,), handlers=(p.HandlerDef(event="sla_miss", block=1, captures=(1,)),),
        params=(b.param("who"),), sla=sla(start_ms=5_000, finish_ms=20_000), max_active_runs=1,
    )  # fmt: skip
    driver = kind(plan)
    driver.submit("first", b.args(who="one"))
    driver.submit("second", b.args(who="two"))
    at(driver, 5_000)
    assert ready(driver) == ["a", "tell"]
    do(driver, "tell")
    assert [arguments[1] for _, arguments in driver.calls] == ["two"]
    assert told(driver) == [("start", "", 0.0, False)]
    at(driver, 20_000)
    assert ready(driver) == ["a", "tell", "tell"]  # of both
    do(driver, "tell")
    do(driver, "a")
    while driver.ready:
        driver.step()
    assert {run: driver.engine.record(run).state for run in driver.ended} == {"first": "success", "second": "success"}
    assert states(driver.engine.record("second")) == {"a": "success", "tell": "success"}
    assert [mark[:5] for mark in marks(driver, "second")] == [
        ("", "start", 5_000, None, 5_000), ("", "finish", 20_000, None, 20_000),
    ]  # fmt: skip
    assert not driver.timers


def test_a_run_begins_while_it_is_told_that_it_has_not() -> None:
    driver = Driver(slow(sla=sla(start_ms=5_000), max_active_runs=1), max_fused=1)
    driver.submit("first")
    driver.submit("second")
    at(driver, 5_000)
    for name in ("a", "c", "a", "c"):
        do(driver, name)
    assert driver.ended == ["first"]  # the other waits for its handler, and no more than that
    assert ready(driver) == ["tell"]
    do(driver, "tell")
    assert driver.ended == ["first", "second"]
    assert states(driver.engine.record("second")) == {"a": "success", "c": "success", "tell": "success"}


@KINDS
def test_a_paused_run_misses_its_level_and_tells(kind: type[Driver]) -> None:
    driver = kind(slow(sla=sla(finish_ms=5_000)), max_fused=1)
    driver.submit()
    do(driver, "a")
    driver.post(m.Control("pause", "r"))
    at(driver, 5_000)
    work = next(work for work in driver.ready if driver._node(work).name == "tell")
    assert work.goes_on
    assert [driver.engine.wants(one) and one.goes_on for one in driver.engine.outstanding("r")].count(True) == 1
    do(driver, "tell")
    assert told(driver) == [("finish", "", 0.0, False)]
    driver.post(m.Control("resume", "r"))
    assert driver.drain().state == "success"
    assert told(driver) == [("finish", "", 0.0, False)]


def test_a_run_of_a_paused_flow_tells_before_it_has_begun() -> None:
    driver = Driver(slow(sla=sla(start_ms=5_000)))
    driver.post(m.Control("pause", flow="test"))
    driver.submit()
    at(driver, 5_000)
    assert ready(driver) == ["tell"]
    driver.post(m.Control("resume", flow="test"))
    assert ready(driver) == ["a", "tell"]
    assert driver.drain().state == "success"
    assert told(driver) == [("start", "", 0.0, False)]


@REVIVED
def test_a_run_that_expires_ends_when_its_handlers_have(kind: type[Driver]) -> None:
    driver = kind(slow(sla=sla(start_ms=5_000), max_active_runs=1))
    driver.submit("first")
    driver.post(m.Submit("second", "plan", b"\x80", expires_ms=START + 5_000))
    at(driver, 5_000)
    assert driver.ended == []
    driver.post(m.Control("pause", "second"))
    driver.post(m.Control("resume", "second"))
    do(driver, "tell")
    assert driver.ended == ["second"]
    record = driver.engine.record("second")
    assert (record.state, states(record)) == ("expired", {"tell": "success"})
    assert driver.drain("first").state == "success"
    assert not driver.timers


def test_a_run_that_is_cancelled_has_neither_met_nor_missed_what_is_still_open() -> None:
    driver = Driver(slow(sla=sla(start_ms=1_000, finish_ms=5_000)))
    driver.submit()
    at(driver, 4_000)
    driver.post(m.Cancel("r"))
    assert counts(driver) == {("test", "", "start"): (1, 0, 0, 0), ("test", "", "finish"): (0, 0, 0, 1)}
    assert marks(driver)[1] == ("", "finish", 5_000, None, None, None)
    assert (driver.timers, told(driver)) == ({}, [])


def test_a_run_that_fails_in_time_has_neither_met_nor_missed_its_level() -> None:
    def fail() -> None:
        raise Fail

    driver = Driver(slow(sla=sla(finish_ms=5_000)), {"a": fail})
    assert driver.run().state == "failed"
    assert counts(driver) == {("test", "", "finish"): (0, 0, 0, 1)}


@KINDS
def test_what_ends_late_before_its_timer_is_read_has_missed_its_level(kind: type[Driver]) -> None:
    """No coordinator was there at that time: the results stand in the inbox before the timer."""
    driver = kind(slow(b.task("a"), sla=sla(finish_ms=5_000, warn=0.5)))
    driver.submit()
    driver.now += 8_000
    do(driver, "a")
    assert driver.ended == []
    do(driver, "tell")
    assert driver.ended == ["r"]
    assert told(driver) == [("finish", "", 3.0, False)]
    assert marks(driver) == [("", "finish", 5_000, None, 8_000, 8_000)]
    assert not driver.timers


def test_a_handler_does_not_make_its_flow_late() -> None:
    driver = Driver(slow(b.task("a"), sla=sla(finish_ms=10_000, warn=0.5)))
    driver.submit()
    at(driver, 5_000)
    do(driver, "a")
    at(driver, 20_000)
    assert (driver.ended, ready(driver)) == ([], ["tell"])
    driver.drain()
    assert marks(driver) == [("", "finish", 10_000, 5_000, None, 5_000)]


def test_a_time_limit_does_not_end_what_is_told_of_a_miss_but_a_cancellation_does() -> None:
    for cancelled in (False, True):
        driver = Driver(slow(b.task("a"), sla=sla(finish_ms=10_000), timeout_ms=10_000))
        driver.submit()
        at(driver, 10_000)
        assert (driver.ended, ready(driver)) == ([], ["tell"])
        if cancelled:
            driver.post(m.Cancel("r"))
        else:
            do(driver, "tell")
        assert driver.ended == ["r"]
        record = driver.engine.record("r")
        assert (record.state, states(record)["tell"]) == ("failed", "cancelled" if cancelled else "success")


def test_a_scheduled_run_counts_from_its_time() -> None:
    when = m.Scheduled(START - 50_000, START - 60_000, START - 50_000, "2023-11-14", "test.daily")
    driver = Driver(slow(sla=sla(finish_ms=60_000)))
    driver.post(m.Submit("late", "plan", b"\x80", scheduled=when))
    driver.post(m.Submit("made up", "plan", b"\x80", scheduled=msgspec.structs.replace(when, made_up=True)))
    assert sorted(driver.timers.values()) == [START + 10_000, START + 60_000]


def test_a_run_that_comes_after_its_time_says_so_at_once() -> None:
    when = m.Scheduled(START - 80_000, START - 90_000, START - 80_000, "2023-11-14", "test.daily")
    driver = Driver(slow(sla=sla(finish_ms=60_000, warn=0.5)))
    driver.post(m.Submit("r", "plan", b"\x80", scheduled=when))
    at(driver, 0)
    do(driver, "tell")
    assert told(driver) == [("finish", "", 20.0, False)]


def test_a_rerun_counts_from_its_own_submission() -> None:
    def fail(*_: object) -> None:
        raise Fail

    driver = Driver(slow(sla=sla(finish_ms=60_000)), {"c": fail})
    driver.run()
    driver.engine.add_image("image", compressed(driver.engine.image("r")))
    driver.functions = {}
    driver.now += 100_000
    driver.post(m.Submit("again", "plan", b"\x80", again=m.Again("r", "image")))
    assert driver.timers == {("again", "sla/0"): driver.now + 60_000}
    driver.drain("again")
    assert counts(driver) == {("test", "", "finish"): (1, 0, 0, 1)}


def test_a_finish_may_follow_from_history() -> None:
    driver = Driver(slow(sla=sla(quantile=0.95, factor=1.5, finish_ms=7_000)))
    for took in (1_000, 2_000, 3_000, 4_000, 10_000):
        driver.submit(f"r{took}")
        assert driver.timers == {(f"r{took}", "sla/0"): driver.now + 7_000}
        driver.now += took
        driver.drain(f"r{took}")
    driver.submit("next")
    assert driver.timers == {("next", "sla/0"): driver.now + 15_000}
    driver = Driver(slow(sla=sla(quantile=0.95, factor=1.5)))
    driver.submit()
    assert driver.timers == {}  # there is nothing to go by


def test_the_finish_of_a_step_may_follow_from_history() -> None:
    level = sla(quantile=0.5, factor=2.0)
    body = b.block(b.task("x", 0, settings=1), b.task("y", 1), params=1, result=2)
    plan = b.flow(
        b.task("a", settings=1), b.each(1, ["call", "range", ["lit", 2]], concurrency=1), blocks=(body,),
        settings=(b.settings(), b.settings(sla=level)),
    )  # fmt: skip
    driver = Restoring(plan)
    for number in range(5):
        run = f"r{number}"
        driver.submit(run)
        assert driver.timers == {}
        for name, seconds in (("a", 3), ("x", 1), ("y", 1), ("x", 1), ("y", 1)):
            driver.now += seconds * 1_000
            do(driver, name)
        assert driver.engine.record(run).slas == ()
        driver.engine.forget(run)
    assert counts(driver) == {}
    driver.submit("next")
    assert sorted(at_ms - driver.now for at_ms in driver.timers.values()) == [6_000, 14_000]


# ---- steps ----------------------------------------------------------------------------------------------------------


@KINDS
def test_a_step_counts_from_when_it_might_have_begun(kind: type[Driver]) -> None:
    attached = p.Attached(2, (1,))
    plan = with_level(sla(finish_ms=5_000), b.task("a"), b.task("c", 1, settings=1, on_sla_miss=(attached,)))
    plan = msgspec.structs.replace(plan, blocks=(*plan.blocks, TELL_ALSO))
    driver = kind(plan)
    driver.submit()
    at(driver, 60_000)
    do(driver, "a")
    at(driver, 65_000)
    do(driver, "tell")
    assert told(driver) == [("finish", "c", 0.0, False)]
    assert driver.calls[-1][1][1] == "a"  # the value of the step that it captures
    record = driver.drain()
    assert states(record) == {"a": "success", "c": "success", "tell": "success"}
    assert marks(driver) == [("c", "finish", 65_000, None, 65_000, 65_000)]
    assert counts(driver) == {("test", "c", "finish"): (0, 1, 0, 0)}


def test_of_a_step_without_handlers_those_of_the_flow_run() -> None:
    driver = Driver(with_level(sla(finish_ms=5_000), b.task("a", settings=1)))
    driver.submit()
    at(driver, 5_000)
    do(driver, "tell")
    assert told(driver) == [("finish", "a", 0.0, False)]


def test_the_attempts_of_a_step_are_one() -> None:
    class Flaky:
        left = 2

        def __call__(self) -> str:
            self.left -= 1
            if self.left >= 0:
                raise Fail
            return "a"

    retry = p.RetryPolicy(max=3, backoff="fixed", first_ms=4_000)
    plan = slow(b.task("a", settings=1), settings=(b.settings(), b.settings(sla=sla(finish_ms=5_000), retry=retry)))
    driver = Driver(plan, {"a": Flaky()})
    assert driver.run().state == "success"
    assert told(driver) == [("finish", "a", 0.0, False)]
    assert marks(driver) == [("a", "finish", 5_000, None, 5_000, 8_000)]


def test_a_step_that_waits_for_its_delay_or_its_inputs_has_no_level_yet() -> None:
    plan = slow(
        b.task("a"), b.task("c", 1, settings=1),
        settings=(b.settings(), b.settings(sla=sla(finish_ms=5_000), delay_ms=10_000)),
    )  # fmt: skip
    driver = Driver(plan)
    driver.submit()
    do(driver, "a")
    at(driver, 10_000)
    assert driver.timers == {("r", "sla/0"): START + 15_000}


def test_a_paused_run_does_not_stop_the_clock_of_a_step_that_might_begin() -> None:
    driver = Driver(with_level(sla(finish_ms=5_000), b.task("a"), b.task("c", 1, settings=1)))
    driver.submit()
    driver.post(m.Control("pause", "r"))
    do(driver, "a")
    at(driver, 5_000)
    assert ready(driver) == ["tell"]
    driver.post(m.Control("resume", "r"))
    assert driver.drain().state == "success"
    assert told(driver) == [("finish", "c", 0.0, False)]


def test_a_step_that_waits_for_permits_misses_its_level() -> None:
    pool = p.PoolDef(name="db", slots=1)
    held = b.settings(pool=0, sla=sla(finish_ms=5_000))
    plan = slow(b.task("a", settings=1), b.task("c", settings=1), settings=(b.settings(), held), pools=(pool,))
    driver = Driver(plan)
    driver.submit()
    at(driver, 5_000)
    assert ready(driver) == ["a", "tell", "tell"]


@KINDS
def test_the_items_of_an_each_are_one(kind: type[Driver]) -> None:
    body = b.block(b.task("x", 0, settings=1, on_sla_miss=(p.Attached(1),)), b.task("y", 1), params=1, result=2)
    plan = b.flow(
        b.each(2, ["call", "range", ["lit", 3]], concurrency=1), b.task("after", 1), blocks=(TELL, body),
        settings=(b.settings(), b.settings(sla=sla(finish_ms=5_000))),
    )  # fmt: skip
    driver = kind(plan)
    driver.submit()
    assert [name for _, name in driver.timers] == ["sla/0"]
    for name in ("x", "y", "x"):
        at(driver, 1_000)
        do(driver, name)
    at(driver, 5_000)
    do(driver, "tell")
    assert told(driver) == [("finish", "x", 0.0, False)]
    assert driver.drain().state == "success"
    assert marks(driver) == [("x", "finish", 5_000, None, 5_000, 5_000)]
    assert counts(driver) == {("test", "x", "finish"): (0, 1, 0, 0)}


def test_items_that_end_late_before_the_timer_is_read() -> None:
    body = b.block(b.task("x", 0, settings=1, on_sla_miss=(p.Attached(1, (0,)),)), params=1, result=1)
    plan = b.flow(
        b.each(2, ["call", "range", ["lit", 1]]), blocks=(TELL_ALSO, body),
        settings=(b.settings(), b.settings(sla=sla(finish_ms=5_000))),
    )  # fmt: skip
    driver = Driver(plan)
    driver.submit()
    driver.now += 6_000
    do(driver, "x")
    assert (driver.ended, ready(driver)) == ([], ["tell"])
    do(driver, "tell")
    assert driver.calls[-1][1][1] is None  # there is no item any more
    assert driver.ended == ["r"]


def test_a_worker_begins_one_step_of_the_items_and_no_other() -> None:
    inner = b.block(b.task("z", 0, settings=1), b.task("w", 1), params=1, result=2)
    body = b.block(b.task("x", 0, settings=1), b.each(2, ["call", "range", ["lit", 1]], name=""), params=1, result=1)
    plan = b.flow(
        b.each(1, ["call", "range", ["lit", 2]]), blocks=(body, inner),
        settings=(b.settings(), b.settings(sla=sla(start_ms=5_000))),
    )  # fmt: skip
    driver = Driver(plan)
    driver.submit()
    works = {driver._node(work).name: work for work in driver.ready}
    begun = works["z"]
    driver.now += 1_000
    driver.post(m.Begun("r", begun.scope, begun.node, begun.attempt))
    run = driver.engine.peek("r")
    assert run is not None
    assert run.levels is not None
    assert [mark.step for mark in run.levels.marks] == ["z"]
    assert [level.step for level in run.levels.open.values()] == ["x"]


def test_rounds_of_a_repeat_leave_one_mark() -> None:
    rounds = iter([False, False, True])
    body = b.block(b.task("x", settings=1), params=1, result=1)
    until = b.block(b.task("done"), params=1, result=1)
    plan = b.flow(
        p.RepeatNode(name="rep", body=1, until=2, every_ms=1_000, max=9), blocks=(body, until),
        settings=(b.settings(), b.settings(sla=sla(finish_ms=500))),
    )  # fmt: skip
    driver = Driver(plan, {"done": lambda: next(rounds)})
    assert driver.run().state == "success"
    assert marks(driver) == [("x", "finish", 2_500, None, None, 2_000)]
    assert counts(driver) == {("test", "x", "finish"): (3, 0, 0, 0)}


@KINDS
def test_a_child_run_has_levels_of_its_own(kind: type[Driver]) -> None:
    child = slow(b.task("inner", settings=1), name="part", sla=sla(finish_ms=5_000),
                 settings=(b.settings(), b.settings(sla=sla(finish_ms=7_000))))  # fmt: skip
    plan = b.flow(b.task("a"), p.ChildNode(name="call", flow="part", args=(), settings=0, inputs=b.ref(1)),
                  children={"part": child})  # fmt: skip
    driver = kind(plan)
    driver.submit()
    at(driver, 1_000)
    do(driver, "a")
    at(driver, 10_000)
    assert ready(driver) == ["inner", "tell", "tell"]
    assert driver.drain().state == "success"
    assert sorted(told(driver)) == [("finish", "call", 0.0, False), ("finish", "call.inner", 0.0, False)]
    assert sorted(mark[:5] for mark in marks(driver)) == [
        ("call", "finish", 6_000, None, 6_000), ("call.inner", "finish", 8_000, None, 8_000),
    ]  # fmt: skip
    assert counts(driver) == {("part", "", "finish"): (0, 1, 0, 0), ("part", "inner", "finish"): (0, 1, 0, 0)}


def test_a_step_of_a_handler_that_misses_its_level_after_the_end_of_the_flow_is_counted() -> None:
    late = b.block(b.task("bye", settings=1), params=1, result=1)
    plan = b.flow(
        b.task("a"), blocks=(TELL, late), handlers=(ON_MISS, p.HandlerDef(event="success", block=2)),
        settings=(b.settings(), b.settings(sla=sla(finish_ms=5_000))),
    )  # fmt: skip
    driver = Driver(plan)
    driver.submit()
    do(driver, "a")
    at(driver, 5_000)
    assert ready(driver) == ["bye"]  # nothing stands beside the flow any more
    driver.drain()
    assert counts(driver) == {("test", "bye", "finish"): (0, 1, 0, 0)}


def test_of_a_child_run_that_only_has_its_handlers_left_the_flow_around_is_told() -> None:
    late = b.block(b.task("bye", settings=1), params=1, result=1)
    child = b.flow(
        b.task("inner"), blocks=(TELL, late), handlers=(ON_MISS, p.HandlerDef(event="success", block=2)),
        settings=(b.settings(), b.settings(sla=sla(finish_ms=5_000))), name="part",
    )  # fmt: skip
    driver = Driver(slow(p.ChildNode(name="call", flow="part", args=(), settings=0), children={"part": child}))
    driver.submit()
    do(driver, "inner")
    at(driver, 5_000)
    assert ready(driver) == ["bye", "tell"]
    assert driver.drain().state == "success"
    assert told(driver) == [("finish", "call.bye", 0.0, False)]


def test_a_run_of_one_task_with_a_level_is_looked_at_like_all_others() -> None:
    driver = Driver(b.flow(b.task("a"), result=1, sla=sla(finish_ms=5_000)))
    driver.submit()
    assert not driver.engine.singles
    driver = Driver(b.flow(b.task("a", settings=1), result=1, settings=(b.settings(), b.settings(sla=sla(start_ms=9)))))
    driver.submit()
    assert not driver.engine.singles


# ---- what is told ---------------------------------------------------------------------------------------------------


def test_a_run_that_has_not_ended_shows_its_levels_and_its_expected_end() -> None:
    from flowrun.engine.view import summaries

    driver = Driver(slow(sla=sla(finish_ms=7_000, warn=0.5)))
    for number in range(5):
        driver.submit(f"r{number}")
        driver.now += 1_000 * (number + 1)
        driver.drain(f"r{number}")
    driver.submit("next")
    began = driver.now
    at(driver, driver.now + 4_000 - START)
    _, [summary] = summaries(driver.engine, "next")
    assert (summary.begun_ms, summary.expected_ms) == (began, began + 3_000)
    assert summary.slas == (m.SlaMark("", "finish", began + 7_000, began + 3_500),)


def test_counts_are_kept_by_day_and_survive_a_snapshot() -> None:
    driver = Restoring(slow(sla=sla(finish_ms=5_000)))
    day = 24 * 3600 * 1000
    driver.run("old")
    driver.now += 10 * day
    driver.submit("new")
    at(driver, 10 * day + 5_000)
    driver.drain("new")
    known = driver.engine.sla_counts
    assert [(one.met, one.missed) for one in known.counts("test")] == [(1, 1)]
    assert [(one.met, one.missed) for one in known.counts("test", driver.now - day)] == [(0, 1)]
    assert known.counts("other") == []
    assert [miss.run for miss in known.misses("test", driver.now - day)] == ["new"]
    assert known.misses("other") == []


# ---- every order ----------------------------------------------------------------------------------------------------

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(1, 4_000)),
        st.tuples(st.just("work"), st.integers(0, 9)),
        st.tuples(st.just("again"), st.integers(0, 50)),
        st.tuples(st.sampled_from(["pause", "resume", "skip timers", "cancel a"]), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(ACTIONS, st.sampled_from([Driver, Revived]), st.booleans())
def test_each_level_fires_once_and_not_before_its_time(actions: list[Any], kind: type[Driver], begins: bool) -> None:
    """Whatever happens in whatever order; a timer that is read late fires late, and all that happened replays alike.
    `begins`: the run begins at once, and does not wait for the end of another."""
    plan = with_level(
        sla(finish_ms=3_000, warn=0.5), b.task("a", settings=1), b.task("c", 1, settings=1), b.task("d"),
        sla=sla(start_ms=2_000, finish_ms=5_000, warn=0.4), max_active_runs=2 if begins else 1,
    )  # fmt: skip
    driver = kind(plan)
    driver.submit("before")
    driver.submit("r")
    for action, number in actions:
        act(driver, action, number)
    for _ in range(2):
        for run in ("before", "r"):
            driver.post(m.Control("resume", run, id=f"last {run}"))
        while driver.step():
            pass
    assert set(driver.ended) == {"before", "r"}
    check(driver)


def act(driver: Driver, action: str, number: int) -> None:
    if action == "wait":
        at(driver, driver.now - START + number)
    elif action == "skip timers":  # they are read late
        driver.now += 2_500
    elif action == "work" and ready(driver):
        do(driver, ready(driver)[number % len(ready(driver))])
    elif action == "again":
        driver.post(driver.log[number % len(driver.log)][0])
    elif action == "cancel a":
        driver.post(m.Cancel("r", step="a"))
    elif action in ("pause", "resume"):
        driver.post(m.Control(action, "r", id=f"{driver.seq}"))  # type: ignore[arg-type]


def check(driver: Driver) -> None:
    fired = records(driver)
    keys = [(one["run"], one["step"], one["what"], one["warning"]) for one in fired]
    assert len(keys) == len(set(keys))
    marked = {
        (run, mark.step, mark.what, warning)
        for run in driver.ended
        for mark in driver.engine.record(run).slas
        for warning, when in ((True, mark.warned_ms), (False, mark.missed_ms))
        if when
    }
    assert set(keys) == marked
    for run in driver.ended:
        for mark in driver.engine.record(run).slas:
            assert not mark.missed_ms or mark.missed_ms >= mark.due_ms
            assert not mark.warned_ms or mark.warned_ms < mark.due_ms
            assert bool(mark.missed_ms) == (mark.done_ms > mark.due_ms) or not mark.done_ms
    assert all(one["by"] >= dt.timedelta(0) for one in fired if not one["warning"])
    sums = [sum(numbers) for numbers in zip(*counts(driver).values(), strict=True)]
    levels = [mark for run in driver.ended for mark in driver.engine.record(run).slas]
    assert sums[0] + sums[1] + sums[3] == len(levels)
    again = driver.replayed()
    assert {run: again.record(run) for run in driver.ended} == {run: driver.engine.record(run) for run in driver.ended}
    assert again.pack_rest() == driver.engine.pack_rest()
    assert not driver.timers or isinstance(next(iter(driver.timers)), tuple)
    assert not list(driver.engine.timers())


def test_values_of_a_miss_have_the_type_that_flows_see() -> None:
    driver = Driver(slow(sla=sla(finish_ms=5_000)))
    driver.submit()
    at(driver, 5_000)
    do(driver, "tell")
    assert records(driver) == [
        {
            "flow": "test", "run": "r", "step": "", "what": "finish", "by": dt.timedelta(0), "warning": False,
            "due": dt.datetime.fromtimestamp(START / 1000 + 5, dt.UTC),
        }
    ]  # fmt: skip


# ---- starts of steps ------------------------------------------------------------------------------------------------


@KINDS
def test_a_step_that_no_worker_begins_misses_its_start(kind: type[Driver]) -> None:
    driver = kind(with_level(sla(start_ms=5_000), b.task("a", settings=1), b.task("c", 1, settings=1)))
    driver.submit()
    first = driver.ready[0]
    at(driver, 2_000)
    driver.post(m.Begun("r", first.scope, first.node, first.attempt))
    driver.post(m.Begun("r", first.scope, first.node, first.attempt))  # again
    at(driver, 9_000)
    assert told(driver) == []
    do(driver, "a")
    at(driver, 14_000)
    do(driver, "tell")
    second = next(work for work in driver.ready if driver._node(work).name == "c")
    at(driver, 15_000)
    driver.post(m.Begun("r", second.scope, second.node, second.attempt + 1))  # of no attempt
    driver.post(m.Begun("r", second.scope, second.node, second.attempt))
    assert driver.drain().state == "success"
    assert told(driver) == [("start", "c", 0.0, False)]
    assert marks(driver) == [("a", "start", 5_000, None, None, 2_000), ("c", "start", 14_000, None, 14_000, 15_000)]
    assert counts(driver) == {("test", "a", "start"): (1, 0, 0, 0), ("test", "c", "start"): (0, 1, 0, 0)}


def test_a_step_that_ends_before_it_is_known_that_it_began_has_begun() -> None:
    driver = Driver(with_level(sla(start_ms=5_000), b.task("a", settings=1)))
    driver.submit()
    driver.now += 3_000
    do(driver, "a")
    assert marks(driver) == [("a", "start", 5_000, None, None, 3_000)]


def test_what_needs_no_worker_begins_when_nothing_holds_it_back() -> None:
    wait = p.WaitNode(name="w", waits_for="sleep", args=(("for", ["lit", "PT1M"]),), settings=1)
    child = b.flow(b.task("inner"), name="part")
    call = p.ChildNode(name="call", flow="part", args=(), settings=1)
    driver = Driver(with_level(sla(start_ms=5_000), wait, call, children={"part": child}))
    driver.submit()
    at(driver, 0)
    run = driver.engine.peek("r")
    assert run is not None
    assert run.levels is not None
    assert [(mark.step, mark.done_ms) for mark in run.levels.marks] == [("w", START), ("call", START)]


# ---- runs of triggers -----------------------------------------------------------------------------------------------


def late_shop(**more: Any) -> Shop:
    """A flow that starts every minute, and is to begin within 90 s of its time."""
    plan = slow(b.task("a"), sla=sla(start_ms=90_000))
    every = p.TriggerDef(name="t", source=p.IntervalSource(every_ms=MINUTE), missed="all")
    shop = Shop()
    shop.deploy(flow_of("f", every, plan=plan, **more))
    return shop


def fire(shop: Shop) -> list[str]:
    """The timers that are due fire; gives the runs of which a handler is to be run since then."""
    before = len(shop.ready)
    for timer in sorted(shop.engine.timers(), key=lambda timer: timer.at_ms):
        if timer.at_ms <= shop.now:
            shop.post(m.TimerFired(timer.run, timer.timer))
    return [work.run for work in shop.ready[before:] if work.block == 1]


@pytest.mark.parametrize("restored", [False, True])
def test_a_run_that_waits_for_its_past_misses_its_start(restored: bool) -> None:
    shop = late_shop(depends_on_past=True)
    shop.minutes(2)
    (first,) = shop.started
    held = next(run for run in shop.engine.living() if run != first)
    if restored:
        shop.restored()
    shop.now += MINUTE
    assert fire(shop) == []
    shop.now += MINUTE // 2
    assert fire(shop) == [held]
    assert all(work.goes_on for work in shop.ready if work.run == held)
    if restored:
        shop.restored()
    shop.finish(first)
    shop.finish(held)
    shop.finish(held)
    record = shop.engine.record(held)
    assert (record.state, states(record)) == ("success", {"a": "success", "tell": "success"})
    assert [bool(mark.missed_ms) for mark in record.slas] == [True]
    assert [bool(mark.missed_ms) for mark in shop.engine.record(first).slas] == [False]


def test_times_that_went_by_while_nobody_was_there_are_late_and_say_so() -> None:
    shop = late_shop()
    shop.wait(5)  # one message, after five minutes
    shop.finish()
    told_of = fire(shop)
    late = {run for run in shop.ended if shop.engine.record(run).slas[0].missed_ms}
    assert (len(shop.started), len(late) + len(told_of)) == (5, 3)
