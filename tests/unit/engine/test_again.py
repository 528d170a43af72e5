"""Reruns: what is kept, what runs again, and that the end is that of a run that was whole."""

from __future__ import annotations

from typing import Any

import pytest
from flowc.plan import HandlerDef, JoinNode, RepeatNode
from flowrun import messages as m
from flowrun import values
from flowrun.compression import compressed
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engine import builders as b
from tests.unit.engine.driver import Driver, Fail, Function, states
from tests.unit.engine.random_plans import random_plan
from tests.unit.engine.test_invariants import SEEDS, facts
from tests.unit.engine.test_snapshot import Restoring


def fail(*_: object) -> None:
    raise Fail("Boom", "no")


def rerun(
    driver: Driver, *steps: str, functions: dict[str, Function] | None = None, run: str = "again", of: str = "r",
    args: bytes = b"\x80", **more: Any,
) -> m.RunRecord:  # fmt: skip
    """Runs the run `of` again, from these steps, with these functions instead of the ones that it had."""
    driver.engine.add_image("image", compressed(driver.engine.image(of)))
    driver.functions |= functions or {}
    driver.calls.clear()
    driver.post(m.Submit(run, "plan", args, again=m.Again(of, "image", steps, **more)))
    return driver.drain(run)


def called(driver: Driver) -> list[str]:
    return sorted(name for name, _ in driver.calls)


def attempts(record: m.RunRecord) -> dict[Any, int]:
    return {(row.step if row.index is None else (row.step, row.index)): row.attempts for row in record.steps}


CHAIN = b.flow(b.task("a"), b.task("x", 1), b.task("c", 2), b.task("d"), result=3)


def test_what_failed_runs_again_and_all_after_it() -> None:
    driver = Driver(CHAIN, {"a": lambda: 1, "x": fail, "c": lambda x: x + 1})
    assert states(driver.run()) == {"a": "success", "x": "failed", "c": "upstream_failed", "d": "success"}
    record = rerun(driver, functions={"x": lambda x: x * 10})
    assert called(driver) == ["c", "x"]
    assert (record.state, driver.value_of(record.result)) == ("success", 11)
    assert states(record) == dict.fromkeys("axcd", "success")
    assert attempts(record) == {"a": 0, "x": 1, "c": 1, "d": 0}
    assert [entry.action for entry in record.audit] == ["rerun"]


def test_a_step_of_a_run_that_succeeded_runs_again_and_all_after_it() -> None:
    driver = Driver(CHAIN, {"a": lambda: 1, "x": lambda x: x * 10, "c": lambda x: x + 1})
    driver.run()
    record = rerun(driver, "x", functions={"x": lambda x: x * 100})
    assert (called(driver), driver.value_of(record.result)) == (["c", "x"], 101)
    record = rerun(driver, run="whole", whole=True)
    assert called(driver) == ["a", "c", "d", "x"]


def test_a_rerun_can_be_run_again() -> None:
    driver = Driver(CHAIN, {"a": lambda: 1, "x": fail, "c": fail})
    driver.run()
    record = rerun(driver, functions={"x": lambda x: x * 10})
    assert (record.state, record.failed_step) == ("failed", "c")
    record = rerun(driver, functions={"c": lambda x: x + 1}, run="third", of="again")
    assert (called(driver), driver.value_of(record.result)) == (["c"], 11)
    assert attempts(record) == {"a": 0, "x": 0, "c": 1, "d": 0}


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ((), "nothing of run r failed: name the steps that are to run again"),
        (("y",), "flow `test` has no step or group `y`: it has a, x, c, d"),
        (("after_all",), "flow `test` has no step or group `after_all`: it belongs to a handler, and handlers run "
         "again in any case when the flow has ended"),
    ],
)  # fmt: skip
def test_what_cannot_be(steps: tuple[str, ...], why: str) -> None:
    handler = b.block(b.task("after_all"), params=1)
    plan = b.flow(b.task("a"), b.task("x", 1), b.task("c", 2), b.task("d"), result=3, blocks=(handler,),
                  handlers=(HandlerDef(event="success", block=1),))  # fmt: skip
    driver = Driver(plan)
    driver.run()
    record = rerun(driver, *steps)
    assert record.state == "failed"
    assert record.error is not None
    assert (record.error.type, record.error.message) == ("NotFound", why)


def test_an_image_that_is_gone_or_damaged() -> None:
    driver = Driver(CHAIN, {"x": fail})
    driver.run()
    driver.post(m.Submit("s", "plan", b"\x80", again=m.Again("r", "image")))
    driver.engine.add_image("image", b"\x01nonsense")
    driver.post(m.Submit("t", "plan", b"\x80", again=m.Again("r", "image")))
    messages = [str(driver.engine.record(run).error) for run in "st"]
    assert "cannot be had any more" in messages[0]
    assert "cannot be used: it is damaged" in messages[1]


def test_a_handled_failure_is_kept() -> None:
    nodes = (
        b.task("a", handler=2), b.outcome(1), b.task("h", 2, guard=(2, 1)), b.merge(2, 1, 3, name="y"),
        b.task("z", 4),
    )  # fmt: skip
    driver = Driver(b.flow(*nodes, result=5), {"a": fail, "h": lambda e: e["attempts"], "z": fail})
    assert driver.run().failed_step == "z"
    record = rerun(driver, functions={"z": lambda x: x + 1})
    assert (called(driver), driver.value_of(record.result)) == (["z"], 2)
    assert states(record)["a"] == "failed"
    record = rerun(driver, "a", run="third", functions={"a": lambda: 7})
    assert (called(driver), driver.value_of(record.result)) == (["a", "z"], 8)
    assert states(record)["h"] == "skipped"


def test_a_branch_that_runs_again_may_take_the_other_arm() -> None:
    nodes = (
        b.task("c"), b.branch(["in", 0], 1), b.task("no", guard=(2, 0)), b.task("yes", guard=(2, 1)),
        b.merge(2, 3, 4, name="y"),
    )  # fmt: skip
    driver = Driver(b.flow(*nodes, result=5), {"c": lambda: 1})
    assert driver.value_of(driver.run().result) == "yes"
    record = rerun(driver, "c", functions={"c": lambda: 0})
    assert (called(driver), driver.value_of(record.result)) == (["c", "no"], "no")
    record = rerun(driver, "no", run="third", of="again", functions={"no": lambda: 5})
    assert (called(driver), driver.value_of(record.result)) == (["no"], 5)


USING = b.flow(
    b.task("open"),
    b.task("work", 1),
    b.task("more", 1),
    b.task("close", 1, handler=-2, after=(b.after("teardown", 1, 2, 3, setups=(1,)),)),
    b.task("other"),
)


def test_a_set_up_that_was_torn_down_is_set_up_again() -> None:
    driver = Driver(USING, {"work": fail})
    driver.run()
    record = rerun(driver, functions={"work": lambda c: 1})
    assert called(driver) == ["close", "more", "open", "work"]
    assert attempts(record)["other"] == 0
    driver = Driver(USING, {"other": fail})
    driver.run()
    rerun(driver, functions={"other": lambda: 1})
    assert called(driver) == ["other"]


def test_a_join_has_its_cancelled_members_run_again() -> None:
    tasks = [b.task(f"m{i}", handler=3) for i in range(2)]
    join = JoinNode(name="join", members=(1, 2), n=1, first=True, cancel_rest=True)
    driver = Driver(b.flow(*tasks, join, b.task("after", 3), result=4), {"m0": lambda: 5, "after": fail})
    driver.submit()
    driver.post(m.Results("b", "w", (m.Outcome("r", 0, 1, 1, "success", b"\x05"),)))
    driver.drain()
    record = rerun(driver, functions={"after": lambda x: x})
    assert (called(driver), driver.value_of(record.result)) == (["after"], 5)
    record = rerun(driver, "m0", run="third", functions={"m0": fail, "m1": lambda: 6})
    assert driver.value_of(record.result) == 6
    assert states(record)["m0"] in ("failed", "cancelled")  # whoever was faster


def test_winners_that_are_kept_keep_their_order() -> None:
    tasks = [b.task(f"m{i}", handler=4) for i in range(3)]
    join = JoinNode(name="join", members=(1, 2, 3), n=2)
    driver = Driver(b.flow(*tasks, join, result=4), {})
    driver.submit()
    for node in (3, 1, 2):
        driver.post(m.Results("b", "w", (m.Outcome("r", 0, node, 1, "success", bytes((node,))),)))
    record = rerun(driver, "m1")
    assert driver.value_of(record.result) == [3, 1]


# ---- each -----------------------------------------------------------------------------------------------------------


SIMPLE = b.block(b.task("item", 0), params=1, result=1)
GENERAL = b.block(b.task("item", 0), b.task("last", 1), params=1, result=2)


@pytest.mark.parametrize("body", [SIMPLE, GENERAL])
@pytest.mark.parametrize("seed", range(5))
def test_of_an_each_that_failed_only_failed_items_run_again(body: Any, seed: int) -> None:
    broken = {5, 9}

    def item(x: int) -> int:
        if x in broken:
            fail()
        return x * 2

    each = b.each(1, ["in", 0], 1, simple=body is SIMPLE)
    plan = b.flow(b.task("xs"), each, b.task("sum", 2), blocks=(body,), result=3)
    driver = Driver(plan, {"xs": lambda: list(range(20)), "item": item, "last": lambda x: x, "sum": sum}, seed=seed)
    first = driver.run()
    assert first.state == "failed"
    kept = {key[1] for key, state in states(first).items() if key[0] == "item" and state == "success"}
    kept = {index for index in kept if body is SIMPLE or states(first).get(("last", index)) == "success"}
    broken.clear()
    record = rerun(driver)
    ran = [given[0] for name, given in driver.calls if name == "item"]
    assert sorted(ran) == sorted(set(range(20)) - kept)
    assert (record.state, driver.value_of(record.result)) == ("success", 380)
    numbers = attempts(record)
    assert all(numbers["item", index] == int(index not in kept) for index in range(20))
    rerun(driver, "each", run="third")
    assert called(driver).count("item") == 20


@pytest.mark.parametrize("on_error", ["collect", "skip"])
@pytest.mark.parametrize("body", [SIMPLE, GENERAL])
def test_items_whose_failure_was_handled_are_kept(body: Any, on_error: str) -> None:
    each = b.each(1, ["in", 0], 1, simple=body is SIMPLE, on_error=on_error)
    plan = b.flow(b.task("xs"), each, b.task("n", 2), blocks=(body,), result=3)
    functions = {"xs": lambda: [1, 2, 3], "item": lambda x: fail() if x == 2 else x, "last": lambda x: x, "n": fail}
    driver = Driver(plan, functions)
    driver.run()
    record = rerun(driver, functions={"n": len})
    assert (called(driver), driver.value_of(record.result)) == (["n"], 3 if on_error == "collect" else 2)


@pytest.mark.parametrize("body", [SIMPLE, GENERAL])
def test_a_cancelled_run_goes_on(body: Any) -> None:
    each = b.each(1, ["in", 0], 1, simple=body is SIMPLE, on_error="collect", concurrency=4)
    plan = b.flow(b.task("xs"), each, blocks=(body,), result=2)
    functions = {"xs": lambda: list(range(9)), "item": lambda x: fail() if x == 2 else x, "last": lambda x: x}
    driver = Driver(plan, functions, cut=1)
    driver.submit()
    for _ in range(6):
        driver.step()
    driver.post(m.Cancel("r"))
    assert driver.drain().state == "cancelled"
    done = {index for (_, index), state in list(states(driver.engine.record("r")).items())[2:] if state == "failed"}
    record = rerun(driver)
    value = driver.value_of(record.result)
    assert [index if index == 2 else item for index, item in enumerate(value)] == list(range(9))
    assert value[2]["type"] == "Boom"
    assert called(driver).count("item") < 9
    assert 2 not in done or (2,) not in [given for name, given in driver.calls if name == "item"]


def test_rules_that_look_at_items_see_those_that_are_kept() -> None:
    each = b.each(1, ["in", 0], 1, simple=True, on_error="skip")
    late = b.task("late", after=(b.after("at_least", 2, n=2),))
    plan = b.flow(b.task("xs"), each, late, b.task("end", 3), blocks=(SIMPLE,))
    driver = Driver(plan, {"xs": lambda: [1, 2, 3], "item": lambda x: fail() if x == 2 else x, "end": fail})
    driver.run()
    record = rerun(driver, "late", functions={"end": lambda x: x})
    assert (record.state, called(driver)) == ("success", ["end", "late"])


def test_a_repeat_runs_again_from_its_first_round() -> None:
    body = b.block(b.task("round", 0), params=1, result=1)
    until = b.block(b.value(["op", ">", ["in", 0], ["lit", 2]], 0), params=1, result=1)
    repeat = RepeatNode(name="repeat", body=1, until=2, every_ms=10, max=9)
    plan = b.flow(repeat, b.task("end", 1), blocks=(body, until), result=2)
    functions = {"round": lambda last: (last or 0) + 1, "end": fail}
    driver = Driver(plan, functions)
    driver.run()
    record = rerun(driver, functions={"end": lambda x: x})
    assert (called(driver), driver.value_of(record.result)) == (["end"], 3)
    rerun(driver, "round", run="third")
    assert called(driver) == ["end", "round", "round", "round"]


# ---- parameters -----------------------------------------------------------------------------------------------------


def test_what_depends_on_another_value_of_a_parameter_runs_again() -> None:
    params = (b.param("p", required=False, default=["lit", 1]), b.param("q"))
    plan = b.flow(b.task("a", 1), b.task("c", 2), b.task("sum", 3, 4), params=params, result=5)
    functions = {"a": lambda x: x, "c": lambda x: x, "sum": fail}
    driver = Driver(plan, functions)
    driver.run(args=b.args(q=2))
    record = rerun(driver, functions={"sum": lambda x, y: [x, y]})
    assert (called(driver), driver.value_of(record.result)) == (["sum"], [1, 2])
    record = rerun(driver, run="third", args=b.args(q=5))
    assert (called(driver), driver.value_of(record.result)) == (["c", "sum"], [1, 5])


def test_a_run_that_never_began_has_no_image() -> None:
    driver = Driver(b.flow(b.task("a", 1), params=(b.param("p"),)))
    driver.run()
    assert driver.engine.image("r") == b""


def test_handlers_run_again_at_the_end() -> None:
    handler = b.block(b.task("told", 0), params=1)
    handlers = tuple(HandlerDef(event=event, block=1) for event in ("failure", "success"))
    driver = Driver(b.flow(b.task("a"), b.task("x", 1), blocks=(handler,), handlers=handlers, result=2), {"x": fail})
    driver.run()
    rerun(driver, functions={"x": lambda a: 9})
    assert [given for name, given in driver.calls if name == "told"] == [(9,)]


def test_values_above_the_limit_are_kept_as_references() -> None:
    large = "x" * 100_000
    driver = Driver(b.flow(b.task("a"), b.task("x", 1), result=2), {"a": lambda: large, "x": fail})
    driver.run()
    record = rerun(driver, functions={"x": len})
    assert driver.value_of(record.result) == len(large)
    assert len(driver.engine.image("r")) < 1_000
    assert values.references([driver.engine.image("r")]) == []


# ---- whatever the plan ----------------------------------------------------------------------------------------------


@given(SEEDS, SEEDS, st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_repaired_rerun_ends_as_a_repaired_run(plan_seed: int, seed: int, named: bool) -> None:
    plan, functions = random_plan(plan_seed)
    first = Restoring(plan, functions(), seed=seed, cut=2)
    first.run()
    names = [node.name for node in plan.blocks[0].nodes[1:] if node.name]
    steps = (first.random.choice(names),) if named else ()
    mended = {name: function.repaired for name, function in functions().items()}  # type: ignore[attr-defined]
    again = rerun(first, *steps, functions=mended)
    if again.error is not None and again.error.type == "NotFound":
        assert "nothing of run r failed" in again.error.message
        return
    touched = {name for name, _ in first.calls}
    whole = functions() | {name: function for name, function in mended.items() if name in touched}
    assert facts(plan, again) == facts(plan, Driver(plan, whole, seed=seed).run())
    assert not list(first.engine.outstanding())
    assert not list(first.engine.timers())
    assert not first.engine.quotas.by_name


@given(SEEDS, SEEDS, st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_a_rerun_of_a_cancelled_run_ends_as_one_that_was_not(plan_seed: int, seed: int, steps: int) -> None:
    plan, functions = random_plan(plan_seed)
    mended = {name: function.repaired for name, function in functions().items()}  # type: ignore[attr-defined]
    first = Restoring(plan, mended, seed=seed, cut=2)
    first.submit()
    for _ in range(steps):
        if not first.ended:
            first.step()
    first.post(m.Cancel("r"))
    if first.drain().state != "cancelled":
        return
    again, whole = rerun(first), Driver(plan, mended, seed=seed).run()
    # a child run that had ended is kept, although its handlers were cancelled, and what a satisfied join had handled
    left_out = {row.step for row in (*again.steps, *whole.steps) if row.state == "cancelled" or "." in row.step}
    (*one, steps), (*other, others) = facts(plan, again), facts(plan, whole)
    assert one == other
    assert [row for row in steps if row[0] not in left_out] == [row for row in others if row[0] not in left_out]
    assert not list(first.engine.outstanding())
    assert not first.engine.quotas.by_name
