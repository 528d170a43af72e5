"""Joins, repeat, child flows, cancellation, time limits."""

from __future__ import annotations

from typing import Any

import pytest
from flowc.plan import ChildNode, HandlerDef, JoinNode, RepeatNode, RetryPolicy
from flowrun import messages as m
from flowrun.engine import Revoke
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engine import builders as b
from tests.unit.engine.driver import START, Driver, Fail, Skip, states


def fail(*_: object) -> None:
    raise Fail("Boom", "no")


def skip(*_: object) -> None:
    raise Skip


# ---- join -----------------------------------------------------------------------------------------------------------


def joined(n: int, members: int = 3, **more: Any) -> Any:
    tasks = [b.task(f"m{i}", handler=members + 1) for i in range(members)]
    join = JoinNode(name="join", members=tuple(range(1, members + 1)), n=n, **more)
    return b.flow(*tasks, join, b.task("after", members + 1), result=members + 2)


@given(st.integers(0, 1_000), st.text("SFK", min_size=3, max_size=3), st.integers(1, 3))
def test_a_join_needs_n_successes(seed: int, ends: str, n: int) -> None:
    functions = {f"m{i}": {"S": lambda i=i: i, "F": fail, "K": skip}[end] for i, end in enumerate(ends)}
    driver = Driver(joined(n), functions | {"after": lambda xs: xs}, seed=seed)
    record = driver.run()
    if ends.count("S") >= n:
        assert record.state == "success"
        order = [int(name[1:]) for name, _ in driver.calls if name != "after" and ends[int(name[1:])] == "S"]
        assert driver.value_of(record.result) == order[:n]
    elif ends == "KKK":
        assert (record.state, states(record)["join"]) == ("success", "skipped")
    else:
        # what the join did not handle is told first: the first member that failed
        first = f"m{ends.index('F')}" if "F" in ends else "join"
        assert (record.state, record.failed_step, states(record)["join"]) == ("failed", first, "failed")


def test_the_first_gives_its_value_and_the_rest_can_be_cancelled() -> None:
    plan = joined(1, first=True, cancel_rest=True)
    driver = Driver(plan, {"after": lambda x: x})
    driver.submit()
    driver.post(m.Results("b", "w", (m.Outcome("r", 0, 2, 1, "success", b"\x05"),)))
    assert driver.revoked == [Revoke("r", 0, 1, 1), Revoke("r", 0, 3, 1)]
    record = driver.drain()
    assert (record.state, driver.value_of(record.result)) == ("success", 5)
    assert states(record) == {
        "m0": "cancelled", "m1": "success", "m2": "cancelled", "join": "success", "after": "success"
    }  # fmt: skip


def test_what_a_join_cancelled_is_left_out_by_rules() -> None:
    join = JoinNode(name="join", members=(1, 2), n=1, first=True, cancel_rest=True)
    plan = b.flow(
        b.task("m0", handler=3), b.task("m1", handler=3), join, b.task("all_ok", after=(b.after("ok", 1, 2, 3),))
    )
    driver = Driver(plan)
    driver.submit()
    driver.post(m.Results("b", "w", (m.Outcome("r", 0, 1, 1, "success", b"\x05"),)))
    assert states(driver.drain())["all_ok"] == "success"


def test_a_join_cancels_the_steps_inside_its_members_too() -> None:
    join = JoinNode(name="join", members=(2, 3), n=1, first=True, cancel_rest=True)
    plan = b.flow(
        b.task("inner", handler=4),
        b.task("outer", 1, handler=4),
        b.task("other", handler=4),
        join,
        result=4,
    )
    driver = Driver(plan)
    driver.submit()
    driver.post(m.Results("b", "w", (m.Outcome("r", 0, 3, 1, "success", b"\x05"),)))
    record = driver.engine.record("r")
    assert states(record) == {"inner": "cancelled", "outer": "cancelled", "other": "success", "join": "success"}


def test_a_join_that_cannot_be_fails_although_its_member_was_only_upstream_failed() -> None:
    join = JoinNode(name="join", members=(2,), n=1, first=True)
    plan = b.flow(b.task("inner", handler=3), b.task("outer", 1, handler=3), join)
    record = Driver(plan, {"inner": fail}).run()
    assert (record.state, record.failed_step, states(record)["join"]) == ("failed", "inner", "failed")


# ---- repeat ---------------------------------------------------------------------------------------------------------


def repeating(**more: Any) -> Any:
    node = RepeatNode(name="poll", body=1, until=2, inputs=b.ref(1), captures=(0,), **more)
    return b.flow(
        node,
        params=(b.param("goal"),),
        result=2,
        blocks=(
            b.block(b.task("look", 0, 1), params=2, result=2),
            b.block(b.value(["op", ">=", ["in", 0], ["in", 1]], 0, 1), params=2, result=2),
        ),
    )


def test_repeat_goes_on_until_its_condition_holds() -> None:
    driver = Driver(repeating(every_ms=1_000, max=10), {"look": lambda last, goal: (last or 0) + 1})
    record = driver.run(args=b.args(goal=3))
    assert driver.value_of(record.result) == 3
    assert driver.calls == [("look", (None, 3)), ("look", (1, 3)), ("look", (2, 3))]
    assert driver.now - START == 2_000
    assert [(row.step, row.attempts, row.seconds) for row in record.steps] == [("poll", 3, 2.0), ("look", 1, 0.5)]


def test_repeat_fails_at_its_limit() -> None:
    record = Driver(repeating(every_ms=0, max=2), {"look": lambda *_: 0}).run(args=b.args(goal=3))
    assert record.error is not None
    assert (record.failed_step, record.error.type) == ("poll", "TooManyRounds")
    assert record.error.message == "`until` was not true after 2 rounds, and `max` allows no more"


def test_a_failing_round_fails_the_repeat() -> None:
    record = Driver(repeating(every_ms=0, max=2), {"look": fail}).run(args=b.args(goal=3))
    assert (record.failed_step, states(record)) == ("poll", {"poll": "failed", "look": "failed"})


def test_a_repeat_can_be_cancelled_between_rounds() -> None:
    driver = Driver(repeating(every_ms=1_000, max=10), {"look": lambda *_: 0})
    driver.submit(args=b.args(goal=3))
    driver.step()
    assert driver.timers
    driver.post(m.Cancel("r"))
    assert driver.engine.record("r").state == "cancelled"
    assert not driver.timers


# ---- child flows ----------------------------------------------------------------------------------------------------


def parent(child: Any, settings: Any = None, **more: Any) -> Any:
    node = ChildNode(name="sub", flow="child", args=(("x", ["in", 0]),), settings=0, inputs=b.ref(1), **more)
    return b.flow(
        b.task("before"), node, b.task("after", 2), result=3,
        children={"child": child}, settings=(settings or b.settings(), b.settings()),
    )  # fmt: skip


def child_flow(**more: Any) -> Any:
    more = {"params": (b.param("x"), b.param("y", required=False, default=["lit", 7])), "result": 4} | more
    return b.flow(b.task("inside", 1, 2), b.value(["in", 0], 3), name="child", **more)


def test_a_child_flow_has_its_own_parameters_and_gives_its_result() -> None:
    driver = Driver(parent(child_flow()), {"before": lambda: 1, "inside": lambda x, y: [x, y], "after": lambda v: v})
    record = driver.run()
    assert driver.value_of(record.result) == [1, 7]
    assert [row.step for row in record.steps] == ["before", "sub", "sub.inside", "after"]


def test_a_failed_child_fails_its_step_and_names_what_failed() -> None:
    record = Driver(parent(child_flow()), {"inside": fail}).run()
    assert record.error is not None
    assert (record.failed_step, record.error.type, record.error.message) == ("sub", "Boom", "inside: no")
    assert states(record)["after"] == "upstream_failed"


def test_a_child_is_tried_again_as_a_whole() -> None:
    tries: list[int] = []

    def inside(*_: object) -> int:
        tries.append(1)
        return 5 if len(tries) == 2 else fail()  # type: ignore[func-returns-value]

    plan = parent(child_flow(), b.settings(retry=RetryPolicy(max=1, first_ms=100)))
    driver = Driver(plan, {"inside": inside, "after": lambda v: v})
    record = driver.run()
    assert (driver.value_of(record.result), record.steps[1].attempts) == (5, 2)


@pytest.mark.parametrize("which", ["timeout_ms", "deadline_ms"])
def test_a_child_that_takes_too_long_is_cancelled_and_fails(which: str) -> None:
    driver = Driver(parent(child_flow(), b.settings(**{which: 3_000}, retry=RetryPolicy(max=0))))
    driver.submit()
    driver.step()
    driver.fire()
    record = driver.engine.record("r")
    assert record.error is not None
    assert (record.failed_step, record.error.type) == ("sub", "Timeout")
    assert states(record)["sub.inside"] == "cancelled"
    assert [revoked.scope for revoked in driver.revoked] == [1]
    assert not driver.timers


def test_a_childs_own_time_limit_and_handlers() -> None:
    child = child_flow(
        timeout_ms=1_000,
        blocks=(b.block(b.task("note", 0, handler=-2), params=1),),
        handlers=(HandlerDef(event="failure", block=1),),
    )
    driver = Driver(parent(child))
    driver.submit()
    driver.step()
    driver.fire()
    assert driver.ended == []
    record = driver.drain()
    assert record.error is not None
    assert (record.error.type, states(record)["sub.note"]) == ("Timeout", "success")


def test_arguments_of_a_child_over_a_stored_value_go_to_a_worker() -> None:
    node = ChildNode(name="sub", flow="child", args=(("x", ["call", "len", ["in", 0]]),), settings=0, inputs=b.ref(1))
    plan = b.flow(b.task("before"), node, result=2, children={"child": child_flow()})
    driver = Driver(plan, {"before": lambda: "x" * 40_000, "inside": lambda x, y: x})
    assert driver.value_of(driver.run().result) == 40_000


def test_a_cancelled_run_cancels_its_children() -> None:
    driver = Driver(parent(child_flow()))
    driver.submit()
    driver.step()
    driver.post(m.Cancel("r"))
    record = driver.engine.record("r")
    assert (record.state, states(record)) == (
        "cancelled",
        {"before": "success", "sub": "cancelled", "sub.inside": "cancelled", "after": "cancelled"},
    )


# ---- cancellation and time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("simple", [True, False])
def test_cancelling_an_each_cancels_its_items(simple: bool) -> None:
    plan = b.flow(
        b.each(1, ["call", "range", ["lit", 3]], simple=simple),
        blocks=(b.block(b.task("item", 0), params=1, result=1),),
    )
    driver = Driver(plan, cut=1)
    driver.submit()
    driver.step()
    driver.post(m.Cancel("r"))
    record = driver.engine.record("r")
    found = states(record)
    assert (record.state, found["each"]) == ("cancelled", "cancelled")
    assert sorted(found["item", i] for i in range(3)) == ["cancelled", "cancelled", "success"]
    assert not list(driver.engine.outstanding())


def test_tear_downs_of_items_run_before_a_cancelled_run_ends() -> None:
    body = b.block(
        b.task("up", 0),
        b.task("work", 1),
        b.task("down", 1, after=(b.after("teardown", 1, 2, setups=(1,)),), handler=-2),
        params=1,
        result=2,
    )
    plan = b.flow(b.each(1, ["list", ["lit", 0]]), blocks=(body,))
    driver = Driver(plan)
    driver.submit()
    driver.step()
    driver.post(m.Cancel("r"))
    assert driver.ended == []
    record = driver.drain()
    assert states(record) == {
        "each": "cancelled", ("up", 0): "success", ("work", 0): "cancelled", ("down", 0): "success"
    }  # fmt: skip


def test_a_run_that_takes_too_long_fails_and_its_handler_runs() -> None:
    plan = b.flow(
        b.task("slow"),
        timeout_ms=9_000,
        blocks=(b.block(b.task("alert", 0, handler=-2), params=1),),
        handlers=(HandlerDef(event="failure", block=1),),
    )
    driver = Driver(plan)
    driver.submit()
    driver.fire()
    record = driver.drain()
    assert record.error is not None
    assert (record.state, record.error.message) == ("failed", "the run was not done within the flow's `timeout` of 9 s")
    assert states(record) == {"slow": "cancelled", "alert": "success"}


def test_cancelling_while_handlers_run_keeps_the_state() -> None:
    plan = b.flow(
        b.task("bad"),
        blocks=(b.block(b.task("alert", 0, handler=-2), params=1),),
        handlers=(HandlerDef(event="failure", block=1),),
    )
    driver = Driver(plan, {"bad": fail})
    driver.submit()
    driver.step()
    driver.post(m.Cancel("r"))
    record = driver.engine.record("r")
    assert (record.state, states(record)["alert"]) == ("failed", "cancelled")
