"""Pause and resume, and steps that are marked by hand."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from flowc.plan import HandlerDef, PoolDef, RepeatNode, RetryPolicy, StepSettings
from flowc.types import INT, NULL, Optional
from flowrun import messages as m
from flowrun import values
from flowrun.engine.commands import Answer, Pause, Resume, Revoke
from flowrun.engine.view import steps_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engine import builders as b
from tests.unit.engine.driver import Driver, Fail, states
from tests.unit.engine.random_plans import random_plan
from tests.unit.engine.test_invariants import SEEDS, disturb, facts
from tests.unit.engine.test_snapshot import Restoring


def fail(*_: object) -> None:
    raise Fail("Boom", "no")


def say(driver: Driver, action: str, run: str = "r", **more: Any) -> m.Answered:
    """What the answer is."""
    event = m.Control(action, run, id=f"i{driver.seq}", client="c", by="ada", **more)  # type: ignore[arg-type]
    answers = [command for command in driver.post(event) if isinstance(command, Answer)]
    assert [(answer.client, answer.id) for answer in answers] == [("c", event.id)]
    told = values.decode_plain(answers[0].value, lambda _: b"") if answers[0].ok else answers[0].message
    return m.Answered(event.id, answers[0].ok, told)


def ready(driver: Driver) -> list[str]:
    driver.ready = [work for work in driver.ready if driver.engine.wants(work)]
    return [driver._node(work).name for work in driver.ready]


CHAIN = b.flow(b.task("a"), b.task("x", 1), b.task("c", 2), result=3)


# ---- pause ----------------------------------------------------------------------------------------------------------


def test_what_runs_ends_and_nothing_new_starts() -> None:
    driver = Driver(CHAIN, {"a": lambda: 1, "x": lambda x: x + 1, "c": lambda x: x + 1}, max_fused=1)
    driver.submit()
    assert say(driver, "pause", note="the disk is full").ok
    assert driver.step()
    assert not driver.step()
    record = driver.engine.peek("r")
    assert record is not None
    assert states_now(driver) == {"a": "success", "x": "waiting", "c": "waiting"}
    assert say(driver, "resume").ok
    record = driver.drain()
    assert (record.state, driver.value_of(record.result)) == ("success", 3)
    told = [(entry.action, entry.by, entry.note) for entry in record.audit]
    assert told == [("pause", "ada", "the disk is full"), ("resume", "ada", "")]


def states_now(driver: Driver) -> dict[str, str]:
    return {step.step: step.state for step in steps_of(driver.engine, "r")}


def test_a_chain_that_is_at_a_worker_runs_to_its_end() -> None:
    driver = Driver(CHAIN)
    driver.submit()
    say(driver, "pause")
    assert driver.drain().state == "success"


def test_the_shell_is_told() -> None:
    driver = Driver(CHAIN)
    driver.submit()
    assert Pause("r") in driver.post(m.Control("pause", "r"))
    assert driver.engine.pauses.runs == {"r"}
    assert Pause("r") not in driver.post(m.Control("pause", "r", id="2"))
    assert Resume("r") in driver.post(m.Control("resume", "r"))
    assert driver.engine.pauses.runs == set()


def test_retries_wait_for_the_resume() -> None:
    retry = b.settings(retry=RetryPolicy(max=2, first_ms=500))
    at_once = b.settings(retry=RetryPolicy(max=2, first_ms=0))
    plan = b.flow(b.task("a", settings=1), b.task("x", settings=2), settings=(b.settings(), retry, at_once))
    driver = Driver(plan, {"a": fail, "x": fail})
    driver.submit()
    say(driver, "pause")
    while driver.step():
        pass
    assert not ready(driver)
    assert not driver.timers
    driver.functions.clear()
    say(driver, "resume")
    assert sorted(ready(driver)) == ["a", "x"]
    assert driver.drain().state == "success"


def test_a_worker_that_dies_meanwhile() -> None:
    driver = Driver(CHAIN)
    driver.submit()
    say(driver, "pause")
    driver.post(m.Lost("b", (driver.ready[0].item(0),)))
    assert not ready(driver)
    say(driver, "resume")
    assert ready(driver) == ["a"]
    assert driver.drain().state == "success"


@pytest.mark.parametrize("simple", [True, False])
def test_items_wait_for_the_resume(simple: bool) -> None:
    body = b.block(b.task("item", 0), params=1, result=1)
    each = b.each(1, ["call", "range", ["lit", 9]], simple=simple, concurrency=2)
    driver = Driver(b.flow(each, blocks=(body,), result=1), {"item": lambda x: x}, cut=1)
    driver.submit()
    driver.step()
    say(driver, "pause")
    for _ in range(len(driver.ready)):
        driver.step()
    assert not ready(driver)
    assert len(driver.calls) <= 3
    say(driver, "resume")
    assert driver.value_of(driver.drain().result) == list(range(9))


def test_rounds_children_and_handlers_wait_for_the_resume() -> None:
    body = b.block(b.task("round", 0), params=1, result=1)
    until = b.block(b.value(["op", ">", ["in", 0], ["lit", 2]], 0), params=1, result=1)
    told = b.block(b.task("told", 0), params=1)
    child = b.flow(b.task("inner"), result=1, name="child")
    nodes = (
        RepeatNode(name="poll", body=1, until=2, every_ms=10, max=9),
        b.p.ChildNode(name="call", flow="k", args=(), settings=0, inputs=b.ref(1)),
    )
    plan = b.flow(
        *nodes, result=2, blocks=(body, until, told), children={"k": child},
        handlers=(HandlerDef(event="success", block=3),),
    )  # fmt: skip
    driver = Driver(plan, {"round": lambda last: (last or 0) + 1})
    driver.submit()
    record = None
    for _ in range(100):
        if driver.ended:
            record = driver.engine.record("r")
            break
        say(driver, "pause")
        while driver.step():
            pass
        assert not ready(driver)
        say(driver, "resume")
        if not driver.ended:
            driver.step()
    assert record is not None
    assert states(record) == dict.fromkeys(["poll", "round", "call", "call.inner", "told"], "success")


def test_a_paused_run_holds_no_permits_but_those_of_what_runs() -> None:
    plan = b.flow(
        b.task("a", settings=1), b.task("x", settings=1), settings=(b.settings(), b.settings(pool=0)),
        pools=(PoolDef(name="db", slots=1),),
    )  # fmt: skip
    driver = Driver(plan)
    driver.submit()
    driver.submit("other")
    assert driver.engine.quotas.taken("pool/db") == 1
    say(driver, "pause")
    driver.step()  # what runs ends, and the other run has the slot
    assert [work.run for work in driver.ready if driver.engine.wants(work)] == ["other"]
    driver.drain("other")
    assert driver.engine.quotas.taken("pool/db") == 0
    say(driver, "resume")
    assert driver.drain().state == "success"


def test_a_run_that_has_not_begun_waits_for_no_place() -> None:
    driver = Driver(b.flow(b.task("a"), max_active_runs=1))
    for run in ("first", "r", "last"):
        driver.submit(run)
    say(driver, "pause")
    driver.drain("first")
    driver.drain("last")
    assert "r" not in driver.ended
    say(driver, "resume")
    assert driver.drain().state == "success"


def test_cancelling_a_paused_run_ends_it_with_its_tear_downs() -> None:
    teardown = b.task("close", 1, handler=-2, after=(b.after("teardown", 1, 2, setups=(1,)),))
    driver = Driver(b.flow(b.task("open"), b.task("work", 1), teardown), max_fused=1)
    driver.submit()
    say(driver, "pause")
    driver.step()
    driver.post(m.Cancel("r"))
    record = driver.drain()
    assert (record.state, states(record)) == ("cancelled", {"open": "success", "work": "cancelled", "close": "success"})
    assert not driver.engine.pauses.runs


def test_what_cannot_be_paused_or_resumed() -> None:
    driver = Driver(CHAIN)
    assert say(driver, "pause").message.startswith("run r is not known")
    driver.run()
    assert not say(driver, "pause").ok
    assert say(driver, "pause").message == "run r has ended"
    driver.submit("s")
    assert say(driver, "resume", "s").message == "it was not paused"
    assert say(driver, "pause", "s").ok
    assert say(driver, "pause", "s").message == "it was paused already"


def test_an_event_that_comes_again_is_answered_alike_and_does_nothing() -> None:
    driver = Driver(CHAIN)
    driver.submit()
    event = m.Control("pause", "r", id="x", client="c")
    driver.post(event)
    driver.post(m.Control("resume", "r", id="y"))
    answers = [command for command in driver.post(event) if isinstance(command, Answer)]
    assert answers == [Answer("c", "x", True, "", values.encode(""))]
    assert not driver.engine.pauses.runs


# ---- flows ----------------------------------------------------------------------------------------------------------


def test_a_flow_that_is_paused() -> None:
    driver = Driver(CHAIN, max_fused=1)
    driver.submit("old")
    driver.engine.freeze()
    driver.engine.freeze()
    assert say(driver, "pause", "", flow="test", note="incident").ok
    driver.submit("new")
    driver.step()
    assert not driver.step()
    assert [pause.flow for pause in driver.engine.pauses.flows.values()] == ["test"]
    assert say(driver, "resume", "new").message == "run new is paused because its flow is: resume flow `test`"
    assert say(driver, "pause", "old").ok
    assert say(driver, "resume", "", flow="test").ok
    assert driver.drain("new").state == "success"
    assert "old" not in driver.ended
    assert say(driver, "resume", "old").ok
    record = driver.drain("old")
    assert [entry.action for entry in record.audit] == ["pause flow", "pause", "resume flow", "resume"]


def test_runs_of_one_task_wait_too() -> None:
    driver = Driver(b.flow(b.task("a"), result=1))
    driver.engine.watched = ()
    driver.submit("old")
    assert driver.engine.singles
    say(driver, "pause", "", flow="test")
    assert driver.engine.pauses.runs == {"old"}
    driver.submit("new")
    assert driver.engine.pauses.runs == {"old", "new"}
    assert [work.run for work in driver.ready] == ["old"]
    say(driver, "resume", "", flow="test")
    driver.submit("newest")
    assert [driver.drain(run).state for run in ("old", "new", "newest")] == ["success"] * 3


def test_a_run_of_a_paused_flow_that_expires() -> None:
    driver = Driver(CHAIN)
    say(driver, "pause", "", flow="test")
    driver.post(m.Submit("r", "plan", b"\x80", expires_ms=driver.now + 50))
    assert driver.drain().state == "expired"
    assert not driver.engine.pauses.runs


def test_what_is_out_behind_another_goes_on_while_its_run_is_paused() -> None:
    plan = b.flow(
        b.task("a"), b.task("c", 1, settings=1), result=2, settings=(StepSettings(), StepSettings(deadline_ms=60_000))
    )
    driver = Driver(plan)
    driver.submit()
    (work,) = driver.ready
    assert [then.node for then in work.then] == [2]
    say(driver, "pause")
    outcomes = (m.Outcome("r", 0, 1, 1, "success", b"\x01"), m.Outcome("r", 0, 2, 1, "success", b"\x02"))
    driver.post(m.Results("b", "w", outcomes))
    assert driver.engine.record("r").state == "success"


# ---- mark -----------------------------------------------------------------------------------------------------------


def typed(*nodes: Any, **more: Any) -> b.p.Plan:
    """Type 1 of a node is int, type 2 nothing, type 3 int or nothing."""
    plan = b.flow(*nodes, **more)
    return msgspec.structs.replace(plan, types=(*plan.types, INT, NULL, Optional(INT)))


MARKED = typed(b.task("a", type=1), b.task("x", 1, type=1), b.task("c", 2, type=1), result=3)


def test_a_step_that_waits_is_marked() -> None:
    driver = Driver(MARKED, {"a": lambda: 1, "c": lambda x: x + 1}, max_fused=1)
    driver.submit()
    assert say(driver, "mark", step="x", value=values.encode(41), note="done by hand").ok
    record = driver.drain()
    assert (record.state, driver.value_of(record.result)) == ("success", 42)
    assert sorted(name for name, _ in driver.calls) == ["a", "c"]
    assert {row.step: row.attempts for row in record.steps} == {"a": 1, "x": 0, "c": 1}
    assert record.audit[0] == m.AuditEntry(driver.now, "mark success", "x", "ada", "done by hand")


def test_a_step_that_runs_is_withdrawn() -> None:
    driver = Driver(MARKED, {"c": lambda x: x + 1, "x": lambda x: x}, max_fused=1)
    driver.submit()
    assert say(driver, "mark", step="a", value=values.encode(1)).ok
    assert driver.revoked == [Revoke("r", 0, 1, 1)]
    assert driver.value_of(driver.drain().result) == 2


def test_what_follows_at_the_same_worker_is_run_with_the_value() -> None:
    driver = Driver(MARKED, {"a": lambda: 1, "x": lambda x: x * 10, "c": lambda x: x + 1})
    driver.submit()
    late = driver.execute(driver.ready[0])
    assert say(driver, "mark", step="a", value=values.encode(7)).ok
    driver.post(m.Results("b", "w", tuple(late)))
    assert driver.value_of(driver.drain().result) == 71


@pytest.mark.parametrize(("state", "after"), [("skipped", "skipped"), ("failed", "upstream_failed")])
def test_other_ends(state: str, after: str) -> None:
    driver = Driver(MARKED)
    driver.submit()
    assert say(driver, "mark", step="x", state=state, note="no").ok
    record = driver.drain()
    assert {name: end for name, end in states(record).items() if name != "a"} == {"x": state, "c": after}
    if state == "failed":
        assert record.error is not None
        assert (record.error.type, record.error.message) == ("Marked", "no")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "it needs a value: step `x` gives int. `$`: expected int, got None"),
        (values.encode("1"), "the value does not fit: step `x` gives int. `$`: expected int, got str"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(value: bytes, why: str) -> None:
    driver = Driver(MARKED)
    driver.submit()
    assert say(driver, "mark", step="x", value=value) == m.Answered("i1", False, why)
    assert not driver.engine.peek("r").audit  # type: ignore[union-attr]


def test_what_gives_nothing_needs_no_value() -> None:
    driver = Driver(typed(b.task("a", type=2), b.task("x", type=3)))
    driver.submit()
    assert say(driver, "mark", step="a").ok
    assert say(driver, "mark", step="x").ok
    assert driver.drain().state == "success"


def test_a_step_that_ended_is_not_marked() -> None:
    driver = Driver(MARKED, {"a": fail})
    driver.submit()
    say(driver, "pause")
    driver.post(m.Results("b", "w", (m.Outcome("r", 0, 1, 1, "failed", error=m.Failure("Boom", "no")),)))
    driver2 = Driver(typed(b.task("a", type=1), b.task("x")), {"a": fail}, max_fused=1)
    driver2.submit()
    driver2.post(m.Results("b", "w", (m.Outcome("r", 0, 1, 1, "failed", error=m.Failure("Boom", "no")),)))
    answer = say(driver2, "mark", step="a", value=values.encode(1))
    assert answer.message == (
        "step `a` has ended (failed), and what waits for it knows: when the run has ended, `flowc rerun` runs it again"
    )
    assert say(driver2, "mark", step="y").message.startswith("run r has no step `y`")
    driver2.drain()
    assert say(driver2, "mark", step="x").message == "run r has ended"


@pytest.mark.parametrize("simple", [True, False])
def test_an_each_is_marked_with_its_list(simple: bool) -> None:
    body = b.block(b.task("item", 0), params=1, result=1)
    each = b.each(1, ["call", "range", ["lit", 9]], simple=simple, concurrency=2)
    driver = Driver(b.flow(each, b.task("n", 1), blocks=(body,), result=2), {"n": len, "item": lambda x: x}, cut=1)
    driver.submit()
    driver.step()
    assert say(driver, "mark", step="each", value=values.encode([1, 2])).ok
    assert driver.value_of(driver.drain().result) == 2


def test_a_call_of_a_flow_and_a_step_inside_of_it() -> None:
    child = b.flow(b.task("inner"), b.task("more", 1), result=2, name="child")
    call = b.p.ChildNode(name="call", flow="k", args=(), settings=0)
    driver = Driver(b.flow(call, b.task("end", 1), result=2, children={"k": child}), {"end": lambda x: x}, max_fused=1)
    driver.submit()
    assert say(driver, "mark", step="call.more", value=values.encode(5)).ok
    assert driver.value_of(driver.drain().result) == 5
    driver.submit("s")
    assert say(driver, "mark", "s", step="call", value=values.encode(6)).ok
    assert driver.value_of(driver.drain("s").result) == 6


# ---- whatever the plan ----------------------------------------------------------------------------------------------


def is_paused(driver: Driver) -> bool:
    return bool(driver.engine.pauses.runs)


@given(SEEDS, SEEDS, st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_pause_changes_nothing(plan_seed: int, seed: int, restoring: bool) -> None:
    plan, functions = random_plan(plan_seed)
    calm = Driver(plan, functions()).run()
    driver = (Restoring if restoring else Driver)(plan, functions(), seed=seed, cut=2)
    driver.submit()
    for _ in range(5_000):
        if driver.ended:
            break
        if driver.random.random() < 0.2:
            driver.post(m.Control("resume" if is_paused(driver) else "pause", "r"))
        disturb(driver)
        before, paused = {id(work) for work in driver.ready}, is_paused(driver)
        if not driver.step() and not driver.ended:
            assert is_paused(driver)
            driver.post(m.Control("resume", "r"))
        new = [work for work in driver.ready if id(work) not in before and work.first < 0]
        assert not new or not (paused and is_paused(driver))
    assert facts(plan, driver.engine.record("r")) == facts(plan, calm)
    assert not list(driver.engine.outstanding())
    assert not list(driver.engine.timers())
    assert not driver.engine.quotas.by_name
    assert not driver.engine.pauses.runs


@given(SEEDS, SEEDS)
@settings(max_examples=100, deadline=None)
def test_whatever_is_marked_the_run_ends_and_leaves_nothing_behind(plan_seed: int, seed: int) -> None:
    plan, functions = random_plan(plan_seed)
    driver = Restoring(plan, functions(), seed=seed, cut=2)
    rng = random.Random(seed)
    driver.submit()
    for _ in range(5_000):
        if driver.ended:
            break
        if rng.random() < 0.2:
            step = rng.choice([name for name, state in states_now(driver).items() if state != "success"] or ["none"])
            state = rng.choice(["success", "skipped", "failed"])
            driver.post(m.Control("mark", "r", step=step, state=state, value=values.encode([1])))  # type: ignore[arg-type]
        disturb(driver)
        driver.step()
    record = driver.engine.record("r")
    assert all(row.state not in ("waiting", "ready", "running", "retrying") for row in record.steps)
    assert not list(driver.engine.outstanding())
    assert not list(driver.engine.timers())
    assert not driver.engine.quotas.by_name


@given(SEEDS, SEEDS, st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_a_paused_run_that_is_cancelled_ends_and_leaves_nothing_behind(plan_seed: int, seed: int, steps: int) -> None:
    plan, functions = random_plan(plan_seed)
    driver = Restoring(plan, functions(), seed=seed, cut=2)
    driver.submit()
    for _ in range(steps):
        if not driver.ended:
            driver.step()
    driver.post(m.Control("pause", "r"))
    for _ in range(3):
        driver.step()
    driver.post(m.Cancel("r"))
    record = driver.drain()
    assert all(row.state not in ("waiting", "ready", "running", "retrying") for row in record.steps)
    assert not list(driver.engine.outstanding())
    assert not list(driver.engine.timers())
    assert not driver.engine.quotas.by_name
    assert not driver.engine.pauses.runs
