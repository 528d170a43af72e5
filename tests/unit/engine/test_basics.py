"""The main path: chains, branches, merges, handlers, the end of a run."""

from __future__ import annotations

import pytest
from flowc.plan import HandlerDef
from flowrun import messages as m
from flowrun import values

from tests.unit.engine import builders as b
from tests.unit.engine.driver import START, Driver, Fail, Skip, states


def test_a_chain_passes_values_on_and_gives_the_last_one() -> None:
    plan = b.flow(b.task("one"), b.task("two", 1), b.task("three", 2), result=3)
    driver = Driver(plan, {"one": lambda: 1, "two": lambda x: x + 1, "three": lambda x: x * 10})
    record = driver.run()
    assert (record.state, driver.value_of(record.result)) == ("success", 20)
    assert [(row.step, row.state, row.attempts, row.seconds) for row in record.steps] == [
        ("one", "success", 1, 0.5),
        ("two", "success", 1, 0.5),
        ("three", "success", 1, 0.5),
    ]


def test_a_failed_step_fails_the_run_and_what_needs_it_is_upstream_failed() -> None:
    plan = b.flow(b.task("bad"), b.task("next", 1), b.task("other"), result=2)

    def bad() -> None:
        raise Fail("KeyError", "day")

    record = Driver(plan, {"bad": bad}).run()
    assert (record.state, record.failed_step, record.error) == ("failed", "bad", m.Failure("KeyError", "day"))
    assert states(record) == {
        "bad": "failed",
        "next": "upstream_failed",
        "other": "success",
    }


def test_a_skipped_step_skips_its_users_but_not_those_that_take_null() -> None:
    plan = b.flow(b.task("gone"), b.task("needs", 1), b.task("takes", b.ref(1, optional=True)[0]), result=3)

    def gone() -> None:
        raise Skip

    driver = Driver(plan, {"gone": gone, "takes": lambda x: x is None})
    record = driver.run()
    assert states(record) == {"gone": "skipped", "needs": "skipped", "takes": "success"}
    assert driver.value_of(record.result) is True


@pytest.mark.parametrize(("x", "taken", "result"), [(3, "big", "big"), (1, "small", "small")])
def test_a_branch_runs_one_arm_and_skips_the_other(x: int, taken: str, result: str) -> None:
    plan = b.flow(
        b.branch(["if", ["op", ">", ["in", 0], ["lit", 2]], ["lit", 0], ["lit", 1]], 1),
        b.task("big", guard=(2, 0)),
        b.task("small", guard=(2, 1)),
        b.merge(2, 3, 4),
        params=(b.param("x"),),
        result=5,
    )
    driver = Driver(plan)
    record = driver.run(args=b.args(x=x))
    other = {"big": "small", "small": "big"}[taken]
    assert (states(record)[taken], states(record)[other]) == ("success", "skipped")
    assert driver.value_of(record.result) == result


def test_a_branch_that_takes_no_arm_skips_all_and_merges_to_null() -> None:
    plan = b.flow(b.branch(["lit", 7]), b.task("a", guard=(1, 0)), b.merge(1, 2), result=3)
    record = Driver(plan).run()
    assert (record.state, record.result) == ("success", values.NULL)


def test_an_expression_without_a_value_fails_the_step() -> None:
    plan = b.flow(b.value(["op", "/", ["lit", 1], ["lit", 0]], name="ratio"), result=1)
    record = Driver(plan).run()
    assert (record.state, record.failed_step) == ("failed", "ratio")
    assert record.error is not None
    assert (record.error.type, record.error.message) == ("ExpressionError", "division by zero: 1 / 0")


def test_catch_gives_the_value_of_its_handler_and_the_run_succeeds() -> None:
    plan = b.flow(
        b.task("risky", handler=2),
        b.outcome(1),
        b.task("rescue", 2, guard=(2, 1)),
        b.merge(2, 1, 3),
        result=4,
    )

    def risky() -> None:
        raise Fail("OSError", "disk")

    driver = Driver(plan, {"risky": risky, "rescue": lambda e: [e["step"], e["type"], e["message"], e["attempts"]]})
    record = driver.run()
    assert record.state == "success"
    assert driver.value_of(record.result) == ["risky", "OSError", "disk", 1]
    well = Driver(plan, {"risky": lambda: "fine"})
    assert well.value_of(well.run().result) == "fine"
    assert states(well.engine.record("r"))["rescue"] == "skipped"


def test_a_failing_rescue_fails_the_run() -> None:
    plan = b.flow(
        b.task("risky", handler=2), b.outcome(1), b.task("rescue", 2, guard=(2, 1)), b.merge(2, 1, 3), result=4
    )

    def fail(*_: object) -> None:
        raise Fail

    record = Driver(plan, {"risky": fail, "rescue": fail}).run()
    assert (record.state, record.failed_step) == ("failed", "rescue")


def test_large_values_are_put_together_without_being_read() -> None:
    plan = b.flow(b.task("a"), b.task("b"), b.value(["list", ["in", 0], ["in", 1]], 1, 2), result=3)
    driver = Driver(plan, {"a": lambda: "x" * 40_000, "b": lambda: "y"})
    record = driver.run()
    assert len(record.result) < 200
    assert driver.value_of(record.result) == ["x" * 40_000, "y"]


def test_an_expression_over_a_large_value_goes_to_a_worker() -> None:
    plan = b.flow(b.task("a"), b.value(["call", "len", ["in", 0]], 1, name="n"), result=2)
    driver = Driver(plan, {"a": lambda: "x" * 40_000})
    assert driver.value_of(driver.run().result) == 40_000


def test_a_branch_over_a_large_value_goes_to_a_worker() -> None:
    plan = b.flow(b.task("a"), b.branch(["call", "len", ["in", 0]], 1), b.task("arm", guard=(2, 40_000)), result=3)
    record = Driver(plan, {"a": lambda: "x" * 40_000}).run()
    assert states(record)["arm"] == "success"


def test_the_run_record_is_an_input_like_any_other() -> None:
    plan = b.flow(b.value(["attr", ["attr", ["in", 0], "window"], "start"], 0), result=1)
    driver = Driver(plan)
    assert driver.value_of(driver.run().result) == "2023-11-14T00:00:00Z"
    record = driver.engine.record("r")
    assert (record.started_ms, record.ended_ms) == (START, START)


def test_defaults_see_the_parameters_before_them() -> None:
    plan = b.flow(
        b.value(["in", 0], 2),
        params=(b.param("x"), b.param("y", required=False, default=["op", "*", ["in", 1], ["lit", 2]])),
        result=3,
    )
    driver = Driver(plan)
    assert driver.value_of(driver.run(args=b.args(x=21)).result) == 42
    assert driver.value_of(driver.run("other", args=b.args(x=1, y=5)).result) == 5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"y": 1}, "flow `test` has no parameter `y`: it has x"),
        ({}, "flow `test` needs a value for its parameter `x`"),
    ],
)
def test_arguments_that_do_not_fit_end_the_run(given: dict[str, int], message: str) -> None:
    plan = b.flow(b.task("a"), params=(b.param("x"),))
    record = Driver(plan).run(args=b.args(**given))
    assert record.state == "failed"
    assert record.error is not None
    assert record.error.message == message


def test_a_run_whose_plan_cannot_be_had_fails_with_the_reason() -> None:
    driver = Driver(b.flow(b.task("a")))
    event = m.Submit("lost", "unknown", b"\x80")
    assert driver.engine.needs(event) == "unknown"
    driver.engine.add_plan_failure("unknown", "it is not in the store")
    driver.post(event)
    record = driver.engine.record("lost")
    assert record.error is not None
    assert "it is not in the store" in record.error.message
    assert driver.engine.needs(event) is None
    assert driver.engine.needs(m.Submit("another", "unknown", b"\x80")) == "unknown", "whoever submits it put it"


def test_a_run_is_started_once_also_after_it_was_forgotten() -> None:
    driver = Driver(b.flow(b.task("a")))
    driver.run()
    assert driver.post(m.Submit("r", "plan", b"\x80")) == []
    driver.engine.forget("r")
    assert driver.post(m.Submit("r", "plan", b"\x80")) == []
    assert driver.engine.is_known("r")
    assert driver.engine.ignored_count == 2


def test_handlers_run_when_all_steps_have_ended_and_change_nothing() -> None:
    plan = b.flow(
        b.task("bad"),
        b.task("good"),
        blocks=(
            b.block(b.task("alert", 0, 1, handler=-2), params=2),
            b.block(b.task("cheer", 0, handler=-2), params=1),
        ),
        handlers=(HandlerDef(event="failure", block=1, captures=(2,)), HandlerDef(event="success", block=2)),
    )

    def fail(*_: object) -> None:
        raise Fail("Boom", "bad")

    driver = Driver(plan, {"bad": fail, "good": lambda: 5, "alert": fail})
    record = driver.run()
    assert (record.state, record.failed_step) == ("failed", "bad")
    assert states(record)["alert"] == "failed"
    name, (event, captured) = driver.calls[-1]
    assert (name, event["step"], event["type"], captured) == ("alert", "bad", "Boom", 5)


def test_what_nobody_knows_is_ignored_and_counted() -> None:
    driver = Driver(b.flow(b.task("a")))
    driver.submit()
    for outcome in (
        m.Outcome("nobody", 0, 1, 1, "success"),
        m.Outcome("r", 9, 1, 1, "success"),
        m.Outcome("r", 0, 99, 1, "success"),
        m.Outcome("r", 0, -1, 1, "success"),
        m.Outcome("r", 0, 1, 2, "success"),
        m.Outcome("r", 0, 0, 1, "success"),
        m.Outcome("r", 0, 1, 1, "success", first=0, last=5),
    ):
        assert driver.post(m.Results("b", "w", (outcome,))) == []
    assert driver.post(m.TimerFired("r", "retry/0/1")) == []
    assert driver.post(m.Cancel("nobody", step="a")) == []
    assert driver.engine.ignored_count == 9
    assert driver.drain().state == "success"


def test_a_damaged_value_fails_the_attempt() -> None:
    driver = Driver(b.flow(b.task("a")))
    driver.submit()
    driver.post(m.Results("b", "w", (m.Outcome("r", 0, 1, 1, "success", b"\x91"),)))
    record = driver.engine.record("r")
    assert record.error is not None
    assert record.error.type == "NotSerialisable"


def test_a_long_chain_of_expressions_needs_no_stack() -> None:
    nodes = [b.value(["lit", 0])] + [b.value(["op", "+", ["in", 0], ["lit", 1]], i) for i in range(1, 3_000)]
    driver = Driver(b.flow(*nodes, result=3_000))
    assert driver.value_of(driver.run().result) == 2_999
