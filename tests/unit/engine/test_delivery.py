"""Work that is to run at most once; results that nobody wants."""

from __future__ import annotations

from typing import Any

import pytest
from flowrun import messages as m

from tests.unit.engine.driver import Driver, Fail, states
from tests.unit.engine.test_snapshot import Restoring
from tests.unit.engine.written import plan_of

TASKS = """
task pay(x: json) returns json {
  run: shell("echo ${x}")
  delivery: "at_most_once"
  retry: { max: 3, backoff: fixed(1s) }
}
task load(x: json) returns json { run: shell("echo ${x}") }
task quiet(x: json) returns json { run: shell("echo ${x}"), result: "ignore" }
"""


def driver_of(text: str, kind: type[Driver] = Driver, **functions: Any) -> Driver:
    return kind(plan_of(TASKS + text), functions)


@pytest.mark.parametrize("kind", [Driver, Restoring])
def test_a_dead_worker_is_the_end_of_what_runs_at_most_once(kind: type[Driver]) -> None:
    driver = driver_of("flow main() returns json { return pay(1) }", kind)
    driver.submit()
    driver.post(m.Lost("b", (driver.ready.pop().item(0),)))
    record = driver.drain()
    assert record.error is not None
    assert (record.state, record.error.type) == ("failed", "WorkerDied")
    assert driver.calls == []


def test_of_items_only_the_lost_ones_end() -> None:
    text = 'flow main() { each x in range(4) with { on_error: "skip" } { pay(x) } }'
    driver = driver_of(text)
    driver.submit()
    work = driver.ready.pop()
    driver.post(m.Lost("b", (work.item(0, 1, 3),)))
    driver.ready += list(driver.engine.outstanding())
    record = driver.drain()
    assert [row.state for row in record.steps if row.index is not None] == ["success", "failed", "failed", "success"]
    assert sorted(args[0] for _, args in driver.calls) == [0, 3]


@pytest.mark.parametrize(
    ("kind", "attempts"), [("ValueError", 4), ("Timeout", 1), ("MemoryLimit", 1), ("WorkerDied", 1)]
)
def test_only_what_the_task_said_itself_is_tried_again(kind: str, attempts: int) -> None:
    def fails(_: object) -> None:
        raise Fail(kind)

    driver = driver_of("flow main() returns json { return pay(1) }", pay=fails)
    assert driver.run().state == "failed"
    assert len(driver.calls) == attempts
    each = driver_of("flow main() { each x in range(1) { pay(x) } }", pay=fails)
    assert each.run().state == "failed"
    assert len(each.calls) == attempts


def test_it_is_never_fused() -> None:
    driver = driver_of("flow main() returns json { return load(1) -> pay -> load }")
    driver.submit()
    assert driver.ready[0].then == ()
    assert driver.drain().state == "success"


def test_work_that_was_handed_back_is_dispatched_again() -> None:
    driver = driver_of("flow main() returns json { return pay(1) }")
    driver.submit()
    work = driver.ready.pop()
    driver.post(m.Results("b", "w", (m.Outcome(work.run, work.scope, work.node, work.attempt, "returned"),)))
    assert driver.drain().state == "success"


def test_an_ignored_result_is_dropped_by_the_worker() -> None:
    plan = plan_of(TASKS + 'flow main() {\n  quiet(1)\n  load(1) with { result: "ignore" }\n  load(2)\n}')
    named = {node.name: plan.tasks[node.task] for node in plan.blocks[0].nodes if hasattr(node, "task")}
    assert named["quiet"].returns is None
    assert named["load"].returns is None
    assert named["load#2"].returns is not None


@pytest.mark.parametrize(
    ("setting", "keep_ms", "value"), [("", 0, 1), ('result: "keep"', 0, 1), ("result: 2h", 7_200_000, 1),
                                      ('result: "ignore"', 60_000, None)]
)  # fmt: skip
def test_a_flow_says_how_long_its_record_is_kept(setting: str, keep_ms: int, value: object) -> None:
    driver = driver_of(f"flow main() returns json {{\n  {setting}\n  return load(1)\n}}", load=lambda x: x)
    record = driver.run()
    assert (record.keep_ms, driver.value_of(record.result)) == (keep_ms, value)
    assert states(record) == {"load": "success"}
