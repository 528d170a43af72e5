"""Attempts: retries, backoff, deadlines, crashes, pools, stale results."""

from __future__ import annotations

from typing import Any

import pytest
from flowc.plan import PoolDef, RetryPolicy
from flowrun import messages as m
from flowrun.engine import Revoke
from flowrun.engine.retry import wait_ms
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engine import builders as b
from tests.unit.engine.driver import START, Driver, Fail

FAILURE = m.Failure("app.errors.Busy", "later")


@pytest.mark.parametrize(
    ("policy", "waits"),
    [
        (RetryPolicy(max=3, backoff="fixed", first_ms=50), [50, 50, 50, None]),
        (RetryPolicy(max=3, backoff="linear", first_ms=50), [50, 100, 150, None]),
        (RetryPolicy(max=3, backoff="exponential", first_ms=50, factor=3), [50, 150, 450, None]),
        (RetryPolicy(max=3, backoff="exponential", first_ms=50, cap_ms=120), [50, 100, 120, None]),
        (RetryPolicy(max=0), [None]),
        (None, [None]),
    ],
)
def test_backoff(policy: RetryPolicy | None, waits: list[int | None]) -> None:
    assert [wait_ms(policy, n, f"r/0/1/{n}", FAILURE) for n in range(1, len(waits) + 1)] == waits


@given(st.text(), st.floats(0, 1))
def test_jitter_spreads_below_the_wait_and_is_the_same_for_the_same_attempt(key: str, jitter: float) -> None:
    policy = RetryPolicy(max=1, first_ms=1_000, jitter=jitter)
    wait = wait_ms(policy, 1, key, FAILURE)
    assert wait is not None
    assert 1_000 * (1 - jitter) - 1 <= wait <= 1_000
    assert wait == wait_ms(policy, 1, key, FAILURE)


def test_jitter_differs_between_attempts() -> None:
    policy = RetryPolicy(max=1, first_ms=100_000, jitter=1.0)
    assert len({wait_ms(policy, 1, f"r/0/1/{n}", FAILURE) for n in range(20)}) > 15


@pytest.mark.parametrize(
    ("only", "never", "again"),
    [
        ((), (), True),
        (("Busy",), (), True),
        (("app.errors.Busy",), (), True),
        (("lib.Busy",), (), False),
        (("Other",), (), False),
        ((), ("Busy",), False),
        (("Busy",), ("app.errors.Busy",), False),
    ],
)
def test_only_and_never_name_errors_with_or_without_their_module(
    only: tuple[str, ...], never: tuple[str, ...], again: bool
) -> None:
    policy = RetryPolicy(max=1, only=only, never=never)
    assert (wait_ms(policy, 1, "k", FAILURE) is not None) == again


def test_a_task_can_ask_for_its_wait_or_for_none() -> None:
    policy = RetryPolicy(max=1, first_ms=1)
    assert wait_ms(policy, 1, "k", m.Failure("Retry", "", retry_after_ms=7_000)) == 7_000
    assert wait_ms(policy, 1, "k", m.Failure("Fail", "", retryable=False)) is None


def one_task(**settings: Any) -> Any:
    return b.flow(b.task("work"), result=1, settings=(b.settings(**settings),))


def test_a_retry_waits_and_then_succeeds() -> None:
    times: list[int] = []

    def work() -> int:
        times.append(driver.now - START)
        if len(times) < 3:
            raise Fail
        return len(times)

    driver = Driver(one_task(retry=RetryPolicy(max=5, first_ms=1_000)), {"work": work})
    record = driver.run()
    assert times == [0, 1_000, 3_000]
    assert (record.state, record.steps[0].attempts) == ("success", 3)


def test_a_timer_that_comes_early_is_set_again() -> None:
    driver = Driver(one_task(retry=RetryPolicy(max=1, first_ms=1_000)), {"work": lambda: (_ for _ in ()).throw(Fail())})
    driver.submit()
    driver.step()
    assert driver.ready == []
    (run, timer), at = driver.timers.popitem()
    driver.now = at - 1
    driver.post(m.TimerFired(run, timer))
    assert driver.timers == {(run, timer): at}
    assert driver.ready == []


def test_the_first_result_of_an_attempt_counts() -> None:
    driver = Driver(one_task(retry=RetryPolicy(max=1, first_ms=0)))
    driver.submit()
    first = m.Outcome("r", 0, 1, 1, "failed", error=FAILURE)
    late = m.Outcome("r", 0, 1, 1, "success", b"\x01")
    driver.post(m.Results("b", "w", (first, late)))
    assert driver.engine.ignored_count == 1
    driver.post(m.Results("b", "w", (late,)))
    assert driver.engine.ignored_count == 2
    driver.post(m.Results("b", "w", (m.Outcome("r", 0, 1, 2, "success", b"\x02"),)))
    assert driver.engine.record("r").result == b"\x02"


def test_returned_work_is_dispatched_again_as_the_same_attempt() -> None:
    driver = Driver(one_task())
    driver.submit()
    driver.ready.clear()
    back = m.Outcome("r", 0, 1, 1, "returned")
    driver.post(m.Results("b", "w", (back,)))
    driver.post(m.Results("b", "w", (back,)))
    assert [work.attempt for work in driver.ready] == [1]
    driver.post(m.Results("b2", "w", (back,)))
    assert len(driver.ready) == 2


def test_a_deadline_ends_a_running_task() -> None:
    driver = Driver(one_task(deadline_ms=2_500))
    driver.submit()
    driver.fire()
    record = driver.engine.record("r")
    assert record.error is not None
    assert (record.error.type, record.error.message) == (
        "Timeout",
        "it was not done within its `deadline` of 2.5 s, all attempts together",
    )
    assert driver.revoked == [Revoke("r", 0, 1, 1)]


def test_a_deadline_ends_a_waiting_retry() -> None:
    def work() -> None:
        raise Fail

    driver = Driver(one_task(deadline_ms=2_500, retry=RetryPolicy(max=9, first_ms=1_000)), {"work": work})
    record = driver.run()
    assert record.error is not None
    assert (record.error.type, driver.now - START) == ("Timeout", 2_500)
    assert not driver.timers


def test_work_of_a_dead_worker_goes_on_alone_and_fails_when_workers_die_of_it() -> None:
    driver = Driver(one_task())
    driver.submit()
    for attempt in (1, 2, 3):
        work = driver.ready.pop()
        assert (work.attempt, work.alone) == (attempt, attempt > 1)
        driver.post(m.Lost(f"b{attempt}", (work.item(0),)))
        driver.post(m.Lost(f"b{attempt}", (work.item(0),)))
    record = driver.engine.record("r")
    assert record.error is not None
    assert (record.error.type, record.steps[0].attempts) == ("WorkerDied", 3)


def test_a_crash_uses_up_no_retry() -> None:
    times: list[int] = []

    def work() -> int:
        times.append(1)
        if len(times) < 2:
            raise Fail
        return 5

    driver = Driver(one_task(retry=RetryPolicy(max=1, first_ms=0)), {"work": work})
    driver.submit()
    driver.post(m.Lost("b", (driver.ready.pop().item(0),)))
    record = driver.drain()
    assert (record.state, record.steps[0].attempts) == ("success", 3)


def test_a_run_that_is_abandoned_gives_its_slots_back() -> None:
    plan = b.flow(b.task("a"), settings=(b.settings(pool=0),), pools=(PoolDef(name="db", slots=1),))
    driver = Driver(plan)
    driver.submit("r")
    driver.engine.abandon("r")
    driver.submit("r2")
    assert driver.drain("r2").state == "success"
    assert not driver.engine.wants(m.Outcome("r", 0, 1, 1, "success"))


@given(st.integers(0, 1_000), st.integers(1, 3))
def test_slots_are_never_exceeded_and_always_returned(seed: int, slots: int) -> None:
    failing = {"t1", "t4"}

    def work(name: str) -> Any:
        def call() -> str:
            if name in failing and driver.random.random() < 0.5:
                raise Fail
            return name

        return call

    settings = (
        b.settings(pool=0, retry=RetryPolicy(max=2, first_ms=5)),
        b.settings(pool=0, slots=2, deadline_ms=50_000),
    )
    tasks = [b.task(f"t{i}", settings=i % 2) for i in range(6)]
    plan = b.flow(*tasks, settings=settings, pools=(PoolDef(name="db", slots=slots),))
    driver = Driver(plan, {f"t{i}": work(f"t{i}") for i in range(6)}, seed=seed)
    driver.submit("r")
    driver.submit("r2")
    while len(driver.ended) < 2:
        assert driver.engine.quotas.taken("pool/db") <= slots
        assert driver.step()
    assert not driver.engine.quotas.by_name


def test_slots_go_by_priority_then_by_order() -> None:
    settings = (b.settings(pool=0), b.settings(pool=0, priority=9))
    plan = b.flow(
        b.task("first"), b.task("later"), b.task("urgent", settings=1),
        settings=settings, pools=(PoolDef(name="db", slots=1),),
    )  # fmt: skip
    driver = Driver(plan)
    driver.run()
    assert [name for name, _ in driver.calls] == ["urgent", "first", "later"]


def test_a_cancelled_task_gives_its_slots_back() -> None:
    plan = b.flow(b.task("a"), settings=(b.settings(pool=0),), pools=(PoolDef(name="db", slots=1),))
    driver = Driver(plan)
    driver.submit("r")
    driver.submit("r2")
    assert [work.run for work in driver.ready] == ["r"]
    driver.post(m.Cancel("r"))
    assert [work.run for work in driver.ready] == ["r", "r2"]
    assert driver.drain("r2").state == "success"
    assert not driver.engine.quotas.by_name


def test_work_carries_what_the_dispatcher_needs() -> None:
    driver = Driver(one_task(queue="media", executor="async", priority=7))
    driver.submit()
    (work,) = driver.ready
    assert (work.lane, work.priority, work.order, work.plan, work.flow, work.block) == (
        "media@async",
        7,
        1,
        "plan",
        "",
        0,
    )
    item = work.item(3)
    assert (item.plan, item.id) == (3, "r/0/1/1")
    assert driver.engine.wants(item)
