"""Flows that call themselves, and calls that start runs of their own."""

from __future__ import annotations

from typing import Any

import pytest
from flowc.plan import decode, digest, encode
from flowrun import messages as m
from flowrun import values
from flowrun.engine import PutBlob, Send
from flowrun.engine.detached import standalone

from tests.unit.engine.driver import Driver, Fail, states
from tests.unit.engine.test_snapshot import Freezing, Restoring
from tests.unit.engine.written import plan_of

TREE = """
task leaf(n: int) returns int { run: shell("echo ${n}") }
task note(text: json) { run: shell("echo ${text}") }
flow tree(n: int) returns int {
  max_depth: 4
  below = if n > 0 then tree(n - 1) else leaf(7)
  return below + 1
}
flow main(n: int) returns int { return tree(n) }
flow even(n: int) returns bool {
  if n == 0 { return true } else { return odd(n - 1) }
}
flow odd(n: int) returns bool {
  max_depth: 50
  if n == 0 { return false } else { return even(n - 1) }
}
"""


def run(flow: str, n: int, kind: type[Driver] = Driver) -> tuple[Driver, m.RunRecord]:
    driver = kind(plan_of(TREE, flow), {"leaf": lambda n: n})
    return driver, driver.run(args=values.encode({"n": n}))


@pytest.mark.parametrize("kind", [Driver, Restoring, Freezing])
@pytest.mark.parametrize("flow", ["main", "tree"])
def test_a_flow_calls_itself_as_deep_as_it_may(flow: str, kind: type[Driver]) -> None:
    driver, record = run(flow, 3, kind)
    assert record.state == "success"
    assert driver.value_of(record.result) == 11
    name = ".".join((["tree"] if flow == "main" else []) + ["below"] * 0 + ["tree"] * 3 + ["leaf"])
    assert name in states(record)


@pytest.mark.parametrize("flow", ["main", "tree"])
def test_deeper_it_fails(flow: str) -> None:
    _, record = run(flow, 4)
    assert record.error is not None
    assert record.state == "failed"
    assert record.error.type == "TooDeep"
    assert "`tree` has called itself 4 deep, and its `max_depth` allows no more" in record.error.message


def test_two_that_call_each_other_are_bounded_by_one() -> None:
    driver, record = run("even", 20)
    assert driver.value_of(record.result) is True
    driver, record = run("odd", 20)
    assert driver.value_of(record.result) is False
    _, record = run("even", 200)
    assert record.error is not None
    assert record.error.type == "TooDeep"


def test_each_child_is_in_the_plan_once() -> None:
    plan = plan_of(TREE, "tree")
    assert list(plan.children) == ["main.flow:tree"]
    assert not plan.children["main.flow:tree"].children
    assert list(plan_of(TREE, "even").children) == ["main.flow:even", "main.flow:odd"]


def test_four_hundred_deep() -> None:
    text = (
        "flow deep(n: int) returns int {\n  max_depth: 1000\n  x = if n > 0 then deep(n - 1) else 0\n  return x + 1\n}"
    )
    driver = Driver(plan_of(text, "deep"))
    record = driver.run(args=values.encode({"n": 399}))
    assert driver.value_of(record.result) == 400


# ---- detached -------------------------------------------------------------------------------------------------------

DETACHED = """
task leaf(n: int) returns int { run: shell("echo ${n}") }
flow inner(n: int) returns int { return leaf(n) }
flow report(n: int) returns int { return inner(n + 1) }
flow main() returns list<string> {
  a = leaf(1)
  report(a) with { detached: true, priority: 8 }
  rest = each i in range(2) { return report(i) with { detached: true } }
  return rest
}
"""


class Sending(Driver):
    """Keeps what is sent."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.sent: list[Send] = []

    def _do(self, command: Any) -> None:
        if isinstance(command, Send):
            assert isinstance(command.event, m.Submit)
            assert command.event.plan in self.blobs
            self.sent.append(command)
        super()._do(command)


def test_a_detached_call_submits_a_run_and_gives_its_id() -> None:
    driver = Sending(plan_of(DETACHED), {"a": lambda n: 40})
    record = driver.run()
    assert record.state == "success"
    events = [send.event for send in driver.sent if isinstance(send.event, m.Submit)]
    by_argument = {driver.value_of(event.args)["n"]: event for event in events}
    assert sorted(by_argument) == [0, 1, 40]
    assert driver.value_of(record.result) == [by_argument[0].run, by_argument[1].run]
    assert len({event.run for event in events}) == len({send.id for send in driver.sent}) == 3
    assert {event.trigger for event in events} == {"run r"}
    first = by_argument[40]
    assert (first.priority, first.key) == (8, "detached/r/0/2/1")
    plan = decode(driver.blobs[first.plan])
    assert (plan.flow, list(plan.children)) == ("report", ["main.flow:inner"])


def test_it_is_the_same_run_after_a_replay() -> None:
    driver = Sending(plan_of(DETACHED))
    driver.run()
    again = Sending(driver.plan)
    for event, now, seq in driver.log:
        for command in again.engine.decide(event, now, seq):
            again._do(command)
    assert again.sent == driver.sent


def test_its_plan_runs_by_itself_and_is_the_same_from_wherever_it_is_called() -> None:
    plan = plan_of(DETACHED)
    alone = standalone(plan, "main.flow:report")
    assert digest(encode(alone)) == digest(encode(plan_of(DETACHED, "report")))
    driver = Driver(alone, {"leaf": lambda n: n})
    record = driver.run(args=values.encode({"n": 4}))
    assert driver.value_of(record.result) == 5


def test_what_becomes_of_the_caller_does_not_matter() -> None:
    text = DETACHED + "\nflow parent() {\n  id = report(1) with { detached: true }\n  leaf(2) after id\n}"
    driver = Sending(plan_of(text, "parent"))
    driver.submit()
    assert len(driver.sent) == 1
    driver.post(m.Cancel("r"))
    assert driver.ended == ["r"]
    assert len(driver.sent) == 1
    assert states(driver.engine.record("r"))["id"] == "success"


def test_a_flow_that_starts_itself_anew_is_bounded() -> None:
    text = "flow again(n: int) {\n  max_depth: 3\n  again(n + 1) with { detached: true }\n}"
    plan = plan_of(text, "again")
    depth, ends = 0, []
    for _ in range(5):
        driver = Sending(plan)
        driver.post(m.Submit("r", "plan", values.encode({"n": 1}), depth=depth))
        ends.append(driver.drain().state)
        if not driver.sent:
            break
        assert isinstance(driver.sent[0].event, m.Submit)
        depth = driver.sent[0].event.depth
    assert ends == ["success", "success", "failed"]


def test_arguments_that_do_not_fit_fail_the_detached_run() -> None:
    def fails(*_: object) -> None:
        raise Fail

    text = DETACHED.partition("flow main")[0] + "flow main(n: int) { report(1 % n) with { detached: true } }"
    driver = Sending(plan_of(text), {"leaf": fails})
    record = driver.run(args=values.encode({"n": 0}))
    assert record.error is not None
    assert (record.state, record.error.type, driver.sent) == ("failed", "ExpressionError", [])


def test_blobs_come_before_what_refers_to_them() -> None:
    driver = Sending(plan_of(DETACHED))
    commands = driver.post(m.Submit("r", "plan", b"\x80"))
    kinds = [type(command) for command in commands]
    assert kinds.index(PutBlob) < kinds.index(Send)
