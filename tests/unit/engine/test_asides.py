"""Handlers of calls, tasks and flows: retries and cancellations."""

from __future__ import annotations

from typing import Any

import pytest
from flowrun import messages as m

from tests.unit.engine.driver import Driver, Fail, Skip, states
from tests.unit.engine.test_snapshot import Freezing, Restoring
from tests.unit.engine.written import plan_of

TASKS = """
task load(x: json) returns json { run: shell("echo ${x}") }
task note(text: json) { run: shell("echo ${text}") }
task watched(who: string, n: int) returns int {
  run: shell("echo ${who} ${n}")
  on failure(e) { note("failed ${who} ${e.message}") }
  on retry(e) { note("again ${who} ${e.attempts}") }
  on cancel(c) { note("cancelled ${who ?? "?"} ${c.reason}") }
  on skip(s) { note("skipped") }
  on success(r) { note("${who} gave ${r + n}") }
}
"""


def driver_of(text: str, kind: type[Driver] = Driver, **functions: Any) -> Driver:
    return kind(plan_of(TASKS + text), functions)


def notes(driver: Driver) -> list[Any]:
    return [args[0] for name, args in driver.calls if name.startswith("note")]


class Flaky:
    """Fails so often."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, *_: object) -> object:
        self.left -= 1
        if self.left >= 0:
            raise Fail("Busy", f"{self.left} to go")
        return 1


@pytest.mark.parametrize("kind", [Driver, Restoring, Freezing])
def test_on_retry_runs_per_failed_attempt_that_is_tried_again(kind: type[Driver]) -> None:
    text = """
    flow main(who: string = "me") returns json {
      x = load(1) with { retry: { max: 2, backoff: fixed(5s) } } on retry(e) {
        note("${who} ${e.step} ${e.attempts}: ${e.message}")
      }
      return x
    }
    """
    driver = driver_of(text, kind, x=Flaky(2))
    record = driver.run()
    assert record.state == "success"
    assert notes(driver) == ["me x 1: 1 to go", "me x 2: 0 to go"]
    assert states(record) == {"x": "success", "note": "success"}
    driver = driver_of(text, kind, x=Flaky(3))  # the last failure is no retry
    assert driver.run().state == "failed"
    assert len(notes(driver)) == 2


def test_on_retry_delays_nothing_and_the_run_waits_for_it() -> None:
    text = "flow main() {\n  load(1) with { retry: { max: 1, backoff: fixed(1s) } } on retry(e) { note(e.message) }\n}"
    driver = driver_of(text, load=Flaky(1))
    driver.submit()
    driver.post(m.Results("b", "w", tuple(driver.execute(driver.ready.pop()))))
    assert len(driver.ready) == 1  # the note
    driver.fire()
    driver.post(m.Results("b", "w", tuple(driver.execute(driver.ready.pop()))))
    assert driver.calls[-1] == ("load", (1,))
    assert not driver.ended
    assert driver.drain().state == "success"
    assert notes(driver) == ["0 to go"]


def test_a_handler_that_fails_is_shown_and_changes_nothing() -> None:
    def fails(*_: object) -> None:
        raise Fail("Bad", "handler")

    text = """
    flow main() returns json {
      x = load(1) with { retry: { max: 1, backoff: fixed(1s) } } on retry(e) { note(e.message) }
      return x
      on success(r) { note(r) }
    }
    """
    driver = driver_of(text, x=Flaky(1), note=fails, **{"note#2": fails})
    record = driver.run()
    assert (record.state, record.error) == ("success", None)
    assert states(record) == {"x": "success", "note": "failed", "note#2": "failed"}


def test_what_has_not_ended_is_null_in_on_retry() -> None:
    text = """
    flow main() {
      slow = load(1)
      load(2) with { retry: { max: 1, backoff: fixed(1s) } } on retry(e) { note(slow ?? "not yet") }
    }
    """
    driver = driver_of(text, load=Flaky(1), slow=lambda _: "there")
    driver.submit()
    fails = next(work for work in driver.ready if driver._node(work).name == "load")
    driver.ready.remove(fails)
    driver.post(m.Results("b", "w", tuple(driver.execute(fails))))
    assert driver.drain().state == "success"
    assert notes(driver) == ["not yet"]


@pytest.mark.parametrize("kind", [Driver, Restoring])
def test_handlers_of_a_task_hold_for_every_call(kind: type[Driver]) -> None:
    text = """
    flow main() {
      a = watched("a", 1)
      b = watched("b", 2) with { retry: { max: 1, backoff: fixed(1s) } } catch(e) { return 0 }
      c = each i in range(2) { return watched("c", i) }
      d = watched("d", 5)
    }
    """

    def fails(*_: object) -> None:
        raise Fail("Busy", "no")

    def skips(*_: object) -> None:
        raise Skip

    more: dict[str, Any] = {"watched": fails, "watched#2": lambda who, n: n}
    driver = driver_of(text, kind, a=lambda who, n: 10 + n, d=skips, **more)
    assert not any(getattr(node, "simple", False) for node in driver.plan.blocks[0].nodes)
    record = driver.run()
    assert record.state == "success"
    assert sorted(notes(driver)) == [
        "a gave 12", "again b 1", "c gave 0", "c gave 2", "failed b no", "skipped",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [Driver, Restoring])
def test_a_cancelled_run_starts_only_tear_downs_and_on_cancel(kind: type[Driver]) -> None:
    text = """
    flow part() {
      watched("p", 1)
      on cancel(c) { note("part ${c.reason}") }
    }
    flow main() {
      x = watched("x", 1)
      y = load(x) on cancel(c) { note("y ${c.reason}") } on failure(e) { note("never") }
      each i in range(2) { watched("i", i) }
      part()
      on cancel(c) {
        note("flow ${c.reason}")
        note(x ?? "none")
      }
      on failure(e) { note("never") }
      on success { note("never") }
    }
    """
    driver = driver_of(text, kind)
    driver.submit()
    driver.post(m.Cancel("r", "enough"))
    driver.post(m.Cancel("r", "once more"))
    record = driver.drain()
    assert record.state == "cancelled"
    assert sorted(notes(driver)) == [
        "cancelled i enough", "cancelled i enough", "cancelled p enough", "cancelled x enough", "flow enough", "none",
        "part enough", "y enough",
    ]  # fmt: skip


def test_on_cancel_of_a_member_that_a_join_removes() -> None:
    text = """
    flow main() returns json {
      return [load(1), load(2) on cancel(c) { note(c.reason) }] with { join: "first", cancel_rest: true }
    }
    """
    driver = driver_of(text)
    driver.submit()
    driver.post(m.Results("b", "w", tuple(driver.execute(driver.ready.pop(0)))))
    record = driver.drain()
    assert record.state == "success"
    assert notes(driver) == ["the others of its group have ended it"]


def test_a_step_that_is_cancelled_by_name_says_so() -> None:
    driver = driver_of("flow main() {\n  x = load(1) on cancel(c) { note(c.reason) }\n  load(2)\n}")
    driver.submit()
    driver.post(m.Cancel("r", step="x"))
    record = driver.drain()
    assert record.state == "failed"
    assert notes(driver) == ["cancelled"]


def test_a_cancellation_ends_what_retries_made() -> None:
    text = "flow main() {\n  load(1) with { retry: { max: 3, backoff: fixed(1h) } } on retry(e) { note(e.message) }\n}"
    driver = driver_of(text, load=Flaky(9))
    driver.submit()
    driver.post(m.Results("b", "w", tuple(driver.execute(driver.ready.pop()))))
    driver.post(m.Cancel("r"))
    assert driver.ended == ["r"]
    assert states(driver.engine.record("r")) == {"load": "cancelled", "note": "cancelled"}


@pytest.mark.parametrize("late", [False, True])
def test_what_has_ended_stays_when_only_a_handler_is_left(late: bool) -> None:
    text = """
    flow main() returns json {
      timeout: 10s
      x = load(1) with { retry: { max: 1, backoff: fixed(1s) } } on retry(e) { note(e.message) }
      return x
    }
    """
    driver = driver_of(text, x=Flaky(1))
    driver.submit()
    driver.post(m.Results("b", "w", tuple(driver.execute(driver.ready.pop()))))
    driver.now += 1_000
    driver.post(m.TimerFired("r", next(timer for _, timer in driver.timers if timer.startswith("retry"))))
    again = next(work for work in driver.ready if driver._node(work).name == "x")
    driver.ready.remove(again)
    driver.post(m.Results("b", "w", tuple(driver.execute(again))))
    assert not driver.ended
    if late:
        driver.now += 10_000
        driver.post(m.TimerFired("r", "flow/0/0"))
    else:
        driver.post(m.Cancel("r"))
    record = driver.drain()
    assert (record.state, states(record)) == ("success", {"x": "success", "note": "cancelled"})


def test_a_child_that_is_retried_runs_the_handlers_of_its_call() -> None:
    text = """
    flow part() { load(1) }
    flow main() {
      part() with { retry: { max: 1, backoff: fixed(1s) } } on retry(e) { note("${e.step}: ${e.message}") }
    }
    """
    driver = driver_of(text, load=Flaky(1))
    assert driver.run().state == "success"
    assert notes(driver) == ["part: load: 0 to go"]
