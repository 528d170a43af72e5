"""Compensation: what was done is undone, last first, whatever dies meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from flowc.plan import EachNode, Plan
from flowrun import messages as m
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engine.driver import Driver, Fail, states
from tests.unit.engine.test_invariants import disturb
from tests.unit.engine.test_snapshot import Freezing, Restoring
from tests.unit.engine.written import plan_of

TASKS = """
task refund(id: json, who: string = "") {
  run: shell("echo ${id} ${who}")
  retry: { max: 2, backoff: fixed(1s) }
}
task charge(who: string, n: int = 0) returns json {
  run: shell("echo ${who} ${n}")
  undo: refund(result, who)
}
task fail(x: json = null) returns json { run: shell("echo ${x}") }
task note(text: json) { run: shell("echo ${text}") }
"""


def charge(who: str, n: int = 0) -> str:
    return f"{who}{n}"


def fail(*_: object) -> None:
    raise Fail("Boom", "no")


def driver_of(text: str, kind: type[Driver] = Driver, functions: dict[str, Any] | None = None) -> Driver:
    """Steps of tasks are run by name: `charge` as above, `fail` fails."""
    plan = plan_of(TASKS + text)
    found: dict[str, Any] = {}
    for flow in (plan, *plan.children.values()):
        for block in flow.blocks:
            for node in block.nodes:
                if hasattr(node, "task"):
                    found[node.name] = {"charge": charge, "fail": fail}.get(flow.tasks[node.task].name, lambda *_: None)
    return kind(plan, found | (functions or {}))


def undone(driver: Driver) -> list[Any]:
    """What was undone, in order."""
    return [args[0] for name, args in driver.calls if name.startswith("undo ")]


def test_what_succeeded_is_undone_in_reverse_order() -> None:
    driver = driver_of("""
    flow main() {
      on_failure: "compensate"
      a = charge("a")
      b = charge("b", 1) after a
      c = charge("c") after b
      fail() after c
      on failure(e) { note(e.message) }
    }
    """)
    record = driver.run()
    assert (record.state, record.failed_step) == ("failed", "fail")
    assert undone(driver) == ["c0", "b1", "a0"]
    assert driver.calls[-4:] == [("undo c", ("c0", "c")), ("undo b", ("b1", "b")), ("undo a", ("a0", "a")),
                                 ("note", ("no",))]  # fmt: skip
    assert states(record) == {
        "a": "success", "b": "success", "c": "success", "fail": "failed",
        "undo a": "success", "undo b": "success", "undo c": "success", "note": "success",
    }  # fmt: skip
    assert [row.step for row in record.steps] == ["a", "b", "c", "fail", "undo c", "undo b", "undo a", "note"]


def test_a_flow_that_succeeds_or_does_not_say_so_undoes_nothing() -> None:
    driver = driver_of(
        'flow main() {\n  on_failure: "compensate"\n  charge("a")\n  fail() catch(e) { note(e.message) }\n}'
    )
    assert driver.run().state == "success"
    assert undone(driver) == []
    driver = driver_of('flow main() {\n  a = charge("a")\n  fail(a)\n}')
    assert driver.run().state == "failed"
    assert undone(driver) == []
    body = driver.engine.peek("r")
    assert body is not None
    assert body.undoable == 0


INSIDE = """
flow part(n: int) {
  charge("p", n)
  charge("q", n)
}
flow fails(n: int) {
  c = charge("f", n)
  fail(c)
}
flow own(n: int) {
  on_failure: "compensate"
  charge("o", n)
}
flow alone(n: int) {
  on_failure: "compensate"
  c = charge("z", n)
  fail(c)
}
flow main(n: int = 1) {
  on_failure: "compensate"
  each i in range(3) { charge("i", i) }
  r = repeat with { max: 3 } {
    x = charge("r", 7)
    return x
  } until _ == null
  if n > 0 { charge("yes") } else { charge("no") }
  part(1)
  each i in range(2) { own(i) }
  fails(2) catch(e) { note(e.message) }
  alone(3) catch(e) { note(e.message) }
  group = [charge("g"), charge("h") on success(v) { charge("w") }]
  on failure(e) { charge("never undone") }
}
"""


#: whom is charged there
MADE = ("i", "r", "yes", "no", "p", "q", "o", "f", "z", "g", "h", "w")


@pytest.mark.parametrize("kind", [Driver, Restoring, Freezing])
@pytest.mark.parametrize("seed", range(4))
def test_items_rounds_branches_and_child_flows_are_undone(kind: type[Driver], seed: int) -> None:
    driver = driver_of(INSIDE, kind)
    driver.random.seed(seed)
    record = driver.run()
    assert record.state == "failed"  # the rounds are used up
    made = [charge(*args) for name, args in driver.calls if args and str(args[0]) in MADE]
    assert sorted(undone(driver)) == sorted(made)
    assert made.count("r7") == 3
    rows = [(row.step, row.index) for row in record.steps if "undo " in row.step]
    assert sorted(str(row) for row in rows) == sorted(
        map(str, [
            *[("undo charge", i) for i in range(3)], *[("undo x", None)] * 3, ("undo charge#2", None),
            ("part.undo charge", None), ("part.undo charge#2", None),
            ("own.undo charge", 0), ("own.undo charge", 1), ("fails.undo c", None), ("alone.undo c", None),
            *((f"undo charge#{n}", None) for n in (4, 5, 6)),
        ])
    )  # fmt: skip


def test_the_order_is_that_of_the_ends_also_across_child_runs() -> None:
    driver = driver_of("""
    flow own(n: int) {
      on_failure: "compensate"
      a = charge("o", n)
      done = note(1) after a
      charge("p", n) after done
    }
    flow main() {
      on_failure: "compensate"
      c = own(1)
      b = charge("b")
      fail() after [c, b]
    }
    """)
    driver.submit()

    def end(name: str) -> None:
        work = next(work for work in driver.ready if driver._node(work).name == name)
        driver.ready.remove(work)
        driver.post(m.Results("b", "w", tuple(driver.execute(work))))

    for name in ("a", "b", "done", "charge"):
        end(name)
    record = driver.drain()
    assert record.state == "failed"
    assert undone(driver) == ["p1", "b0", "o1"]


@pytest.mark.parametrize("kind", [Driver, Restoring])
def test_an_undo_that_fails_is_retried_and_reported_and_the_rest_is_undone(kind: type[Driver]) -> None:
    tried: list[str] = []

    def refund(id: str, who: str) -> None:
        tried.append(id)
        if who == "b":
            raise Fail("Gone", "no such id")

    text = """
    flow main() {
      on_failure: "compensate"
      a = charge("a")
      b = charge("b") after a
      c = charge("c") after b
      fail() after c
      on failure(e) { note(e.message) }
    }
    """
    driver = driver_of(text, kind, {f"undo {name}": refund for name in "abc"})
    record = driver.run()
    assert tried == ["c0", "b0", "b0", "b0", "a0"]
    assert record.error is not None
    message = "no; and 1 of 3 steps could not be undone (`undo b`: Gone: no such id)"
    assert (record.state, record.error.type, record.error.message) == ("failed", "Boom", message)
    assert driver.calls[-1] == ("note", (message,))
    rows = {row.step: row for row in record.steps}
    assert (rows["undo b"].state, rows["undo b"].attempts) == ("failed", 3)
    assert rows["undo a"].state == rows["undo c"].state == "success"


def test_a_cancelled_run_and_one_out_of_time_are_undone_too() -> None:
    text = """
    flow main() {
      on_failure: "compensate"
      timeout: 10s
      a = charge("a")
      b = note(a)
      on cancel(c) { note(c.reason) }
      on failure(e) { note(e.type) }
    }
    """
    for late in (False, True):
        driver = driver_of(text)
        driver.submit()
        driver.post(m.Results("b", "w", tuple(driver.execute(driver.ready.pop())[:1])))
        if late:
            driver.fire()
        else:
            driver.post(m.Cancel("r", "not wanted"))
            driver.post(m.Cancel("r", "again"))  # what undoes is not cancelled
        record = driver.drain()
        assert record.state == ("failed" if late else "cancelled")
        assert undone(driver) == ["a0"]
        assert driver.calls[-1][1] == ("Timeout" if late else "not wanted",)
        driver.post(m.Cancel("r"))


def test_a_cancelled_run_says_what_could_not_be_undone() -> None:
    driver = driver_of(
        'flow main() {\n  on_failure: "compensate"\n  a = charge("a")\n  note(a)\n}', functions={"undo a": fail}
    )
    driver.submit()
    driver.post(m.Results("b", "w", tuple(driver.execute(driver.ready.pop())[:1])))
    driver.post(m.Cancel("r"))
    record = driver.drain()
    assert record.error is not None
    assert (record.state, record.error.type) == ("cancelled", "CompensationFailed")
    assert "`undo a`: Boom: no" in record.error.message


def test_only_what_an_undo_reads_is_remembered() -> None:
    driver = driver_of(
        'flow main(big: string) {\n  on_failure: "compensate"\n  a = charge(big)\n  fail(a)\n}'.replace(
            "(result, who)", "(result)"
        )
    )
    assert driver.plan.blocks[1].params == 2
    plan = plan_of(
        TASKS.replace("(result, who)", "(result)")
        + 'flow main(big: string) {\n  on_failure: "compensate"\n  a = charge(big)\n}'
    )
    assert plan.blocks[1].params == 1


def each_of(plan: Plan) -> EachNode:
    found = plan.blocks[0].nodes[-1]
    assert isinstance(found, EachNode)
    return found


def test_without_a_flow_that_compensates_plans_have_no_undo_and_eaches_stay_ranges() -> None:
    each = 'each i in range(3) { charge("i", i) }'
    assert each_of(plan_of(f"{TASKS}flow main() {{ {each} }}")).simple
    assert not each_of(plan_of(f'{TASKS}flow main() {{\n  on_failure: "compensate"\n  {each}\n}}')).simple
    within = f'{TASKS}flow part() {{ {each} }}\nflow main() {{\n  on_failure: "compensate"\n  part()\n}}'
    assert not each_of(plan_of(within).children["main.flow:part"]).simple
    assert each_of(plan_of(within, "part")).simple


@given(st.integers(0, 1_000_000))
@settings(max_examples=40, deadline=None)
def test_deaths_and_messages_that_come_twice_change_nothing(seed: int) -> None:
    driver = driver_of(INSIDE)
    driver.random.seed(seed)
    driver.submit()
    for _ in range(5_000):
        if driver.ended:
            break
        disturb(driver)
        assert driver.step()
    record = driver.engine.record("r")
    quiet = driver_of(INSIDE).run()
    facts = [sorted((row.step, repr(row.index), row.state) for row in one.steps) for one in (record, quiet)]
    assert facts[0] == facts[1]
    assert (record.state, record.error, record.failed_step) == (quiet.state, quiet.error, quiet.failed_step)
    replayed = driver.replayed()
    assert replayed.record("r") == record
