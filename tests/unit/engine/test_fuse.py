"""Fused chains: what goes together, and that it is seen by nobody but the worker."""

from __future__ import annotations

from typing import Any

import pytest
from flowc import plan as p
from flowrun import messages as m
from flowrun.engine import Engine, Ready, Revoke

from tests.unit.engine import builders as b
from tests.unit.engine.driver import Driver, Fail, states
from tests.unit.engine.test_snapshot import restored

CHAIN = b.flow(b.task("a"), b.task("c", 1), b.task("d", 2), result=3)


def submitted(plan: p.Plan, *functions: Any, **more: Any) -> tuple[Driver, list[Ready]]:
    driver = Driver(plan, *functions, **more)
    driver.submit()
    return driver, driver.ready


def ok(node: int, value: bytes = b"\x01", attempt: int = 1) -> m.Outcome:
    return m.Outcome("r", 0, node, attempt, "success", value)


def post(driver: Driver, *outcomes: m.Outcome) -> list[Any]:
    return driver.post(m.Results("b", "w", outcomes))


def thens(ready: list[Ready]) -> list[tuple[int, list[int]]]:
    return [(work.node, [then.node for then in work.then]) for work in ready]


# ---- what goes together


def test_a_chain_is_dispatched_as_one() -> None:
    driver, ready = submitted(CHAIN)
    assert thens(ready) == [(1, [2, 3])]
    assert ready[0].then == (m.Then(2, (0,)), m.Then(3, (1,)))
    assert ready[0].item(0).then == ready[0].then
    record = driver.drain()
    assert [row.attempts for row in record.steps] == [1, 1, 1]
    assert driver.value_of(record.result) == "d"


def test_no_more_than_so_many() -> None:
    plan = b.flow(b.task("t0"), *(b.task(f"t{i}", i) for i in range(1, 7)))
    driver, ready = submitted(plan, max_fused=3)
    assert thens(ready) == [(1, [2, 3])]
    post(driver, ok(1), ok(2), ok(3))
    assert thens(ready) == [(1, [2, 3]), (4, [5, 6])]
    assert thens(submitted(plan, max_fused=1)[1]) == [(1, [])]


def test_values_of_earlier_parts_and_of_what_has_ended_go_along() -> None:
    plan = b.flow(b.task("z"), b.task("a", after=(b.after("ok", 1),)), b.task("c", 2, 1), b.task("d", 3, 2))
    driver, ready = submitted(plan)
    assert thens(ready) == [(1, [])]
    post(driver, ok(1, b"\x07"))
    assert ready[-1].then == (m.Then(3, (0, b"\x07")), m.Then(4, (1, 0)))


OTHERS: dict[str, tuple[Any, ...]] = {
    "another consumer": (b.task("a"), b.task("c", 1), b.task("d", 1)),
    "two open inputs": (b.task("a"), b.task("b"), b.task("c", 1, 2)),
    "another queue": (b.task("a"), b.task("c", 1, settings=1)),
    "another environment": (b.task("a"), b.task("c", 1, settings=2)),
    "a pool": (b.task("a"), b.task("c", 1, settings=3)),
    "a delay": (b.task("a"), b.task("c", 1, settings=4)),
    "a rule that looks at it at once": (b.task("a"), b.task("c", 1), b.task("d", after=(b.after("any_ok", 1, 2),))),
    "an open rule": (b.task("a"), b.task("z"), b.task("c", 1, after=(b.after("done", 2),))),
    "a rule over it": (b.task("a"), b.task("c", 1, after=(b.after("ok", 1),))),
    "a guard": (b.task("z"), b.branch(["in", 0], 1), b.task("a"), b.task("c", 3, guard=(2, 0))),
    "an expression": (b.task("a"), b.value(["list", ["in", 0]], 1), b.task("c", 2)),
    "a member of a join": (b.task("a", handler=3), b.task("c", 1), p.JoinNode(name="j", members=(1,), n=1)),
}  # fmt: skip


@pytest.mark.parametrize("why", OTHERS)
def test_what_does_not_go_together(why: str) -> None:
    settings = (
        b.settings(),
        b.settings(queue="media"),
        b.settings(env=(("A", "1"),)),
        b.settings(pool=0),
        b.settings(delay_ms=5),
    )
    plan = b.flow(*OTHERS[why], settings=settings, pools=(p.PoolDef(name="db", slots=2),))
    assert not any(then for _, then in thens(submitted(plan)[1]))


def test_who_waits_for_all_of_a_chain_does_not_part_it() -> None:
    gather = b.value(["list", ["in", 0], ["in", 1]], 1, 2)
    plan = b.flow(
        b.task("a", handler=3), b.task("c", 1, handler=3), b.outcome(1, 2), b.task("e", 3, guard=(3, 1)), gather
    )
    assert thens(submitted(plan)[1]) == [(1, [2])]


def test_guarded_chains_are_fused_once_their_guard_is_open() -> None:
    plan = b.flow(b.branch(["lit", 0]), b.task("a", guard=(1, 0)), b.task("c", 2, guard=(1, 0)))
    assert thens(submitted(plan)[1]) == [(2, [3])]


# ---- how it ends


def test_results_may_come_one_by_one() -> None:
    driver, ready = submitted(CHAIN)
    for node in (1, 2):
        assert not [command for command in post(driver, ok(node)) if isinstance(command, Ready)]
        assert driver.engine.wants(ready[0])
    assert driver.engine.wants(ok(3))
    post(driver, ok(3))
    assert not driver.engine.wants(ready[0])
    assert driver.engine.record("r").state == "success"


def test_a_follower_that_fails_is_tried_again_alone() -> None:
    calls = iter((True, False))

    def fail_once(value: object) -> str:
        if next(calls):
            raise Fail
        return "c"

    retry = (b.settings(), b.settings(retry=p.RetryPolicy(max=1, first_ms=10)))
    plan = b.flow(b.task("a"), b.task("c", 1, settings=1), b.task("d", 2), settings=retry, result=3)
    driver, _ = submitted(plan, {"c": fail_once})
    driver.step()
    driver.fire()
    assert thens(driver.ready) == [(2, [3])]
    assert (driver.ready[0].attempt, driver.ready[0].then) == (2, (m.Then(3, (0,)),))
    record = driver.drain()
    assert [row.attempts for row in record.steps] == [1, 2, 1]


def test_a_first_one_that_is_skipped_skips_the_rest() -> None:
    driver, _ = submitted(CHAIN)
    post(driver, m.Outcome("r", 0, 1, 1, "skipped"))
    assert set(states(driver.drain()).values()) == {"skipped"}


def test_an_optional_input_of_what_was_skipped_is_null_and_goes_alone() -> None:
    plan = b.flow(b.task("a"), b.task("c", p.Input(1, True)))
    driver, ready = submitted(plan)
    assert thens(ready) == [(1, [2])]
    post(driver, m.Outcome("r", 0, 1, 1, "skipped"))
    assert ready[-1].node == 2
    assert ready[-1].inputs == (b"\xc0",)


def test_a_damaged_value_ends_the_ride() -> None:
    settings = (b.settings(), b.settings(retry=p.RetryPolicy(max=1, first_ms=0)))
    driver, ready = submitted(b.flow(b.task("a", settings=1), b.task("c", 1), settings=settings, result=2))
    commands = post(driver, ok(1, b"\x92\x01"), ok(2))
    assert thens([c for c in commands if isinstance(c, Ready)]) == [(1, [])]
    post(driver, ok(1, attempt=2))
    assert (ready[-1].node, ready[-1].attempt) == (2, 2)  # what the first attempt gives comes to nothing


def test_the_first_that_has_not_ended_is_the_suspect() -> None:
    driver, ready = submitted(CHAIN)
    item = ready[0].item(0)
    post(driver, ok(1))
    driver.post(m.Lost("b", (item,)))
    assert thens(ready[1:]) == [(2, [])]
    assert (ready[1].attempt, ready[1].alone) == (2, True)
    driver.post(m.Lost("b", (item,)))
    assert len(ready) == 2
    post(driver, ok(2, attempt=1), ok(3))  # its worker lived after all, too late
    post(driver, ok(2, attempt=2))
    assert (ready[-1].node, ready[-1].attempt) == (3, 2)
    post(driver, ok(3), ok(3, attempt=2))
    assert [row.attempts for row in driver.engine.record("r").steps] == [1, 2, 2]


def test_a_chain_whose_worker_died_before_its_first_result_goes_alone() -> None:
    driver, ready = submitted(CHAIN)
    driver.post(m.Lost("b", (ready[0].item(0),)))
    assert thens(ready[1:]) == [(1, [])]
    assert ready[1].attempt == 2
    post(driver, ok(1, attempt=2))
    assert ready[-1].node == 2
    assert ready[-1].attempt == 2


def test_crashes_are_counted_for_the_suspect_only() -> None:
    driver, ready = submitted(b.flow(b.task("a"), b.task("c", 1)))
    post(driver, ok(1))
    for _ in range(3):
        driver.post(m.Lost("b", (ready[-1].item(0),)))
    record = driver.engine.record("r")
    assert states(record) == {"a": "success", "c": "failed"}
    assert record.error is not None
    assert record.error.type == "WorkerDied"


def test_a_chain_that_is_handed_back_goes_out_as_it_was() -> None:
    driver, ready = submitted(CHAIN)
    post(driver, m.Outcome("r", 0, 1, 1, "returned"))
    assert ready[1] == ready[0]
    post(driver, ok(1), m.Outcome("r", 0, 2, 1, "returned"))
    assert thens(ready[2:]) == [(2, [3])]
    assert ready[2].attempt == 1


def test_a_follower_whose_result_comes_too_early_runs_again() -> None:
    driver, ready = submitted(CHAIN)
    post(driver, ok(2))
    post(driver, ok(1))
    assert thens(ready[1:]) == [(2, [])]
    assert ready[1].attempt == 2
    post(driver, ok(2, attempt=2))
    assert driver.drain().state == "success"


# ---- before its end


def test_a_follower_is_cancelled_at_its_worker() -> None:
    driver, _ = submitted(CHAIN)
    driver.post(m.Cancel("r", step="c"))
    assert driver.revoked == [Revoke("r", 0, 2, 1)]
    post(driver, ok(1), ok(2), ok(3))
    assert states(driver.engine.record("r")) == {"a": "success", "c": "cancelled", "d": "upstream_failed"}


def test_a_cancelled_chain() -> None:
    driver, ready = submitted(CHAIN)
    post(driver, ok(1))
    driver.post(m.Cancel("r"))
    assert Revoke("r", 0, 2, 1) in driver.revoked
    assert not driver.engine.wants(ready[0])
    assert driver.engine.record("r").state == "cancelled"


def test_a_first_one_that_takes_too_long_ends_the_ride() -> None:
    settings = (b.settings(), b.settings(deadline_ms=1_000))
    driver, ready = submitted(b.flow(b.task("a", settings=1), b.task("c", 1), settings=settings))
    assert thens(ready) == [(1, [2])]
    driver.fire()
    assert Revoke("r", 0, 1, 1) in driver.revoked
    assert states(driver.drain()) == {"a": "failed", "c": "upstream_failed"}


# ---- another coordinator


def test_a_new_coordinator_finds_a_chain_as_it_is() -> None:
    driver, ready = submitted(CHAIN)
    assert list(driver.replayed().outstanding()) == ready
    assert list(restored(driver).outstanding()) == ready
    post(driver, ok(1))
    for engine in (driver.replayed(), restored_again(driver)):
        (work,) = engine.outstanding()
        assert (work.node, work.then) == (2, (m.Then(3, (0,)),))
        assert engine.wants(ready[0])
        assert not [c for c in decided(engine, driver, ok(2)) if isinstance(c, Ready)]


def restored_again(driver: Driver) -> Engine:
    driver.engine.touch("r")
    return restored(driver)


def decided(engine: Engine, driver: Driver, outcome: m.Outcome) -> list[Any]:
    return engine.decide(m.Results("b", "w", (outcome,)), driver.now, 99)
