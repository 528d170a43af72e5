"""What steps, items and runs need permits for, in one partition: rates, concurrency keys, runs of a flow."""

from __future__ import annotations

from typing import Any

import pytest
from flowc.plan import ConcurrencyDef, LimitDef, PoolDef, RetryPolicy
from flowrun import messages as m
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engine import builders as b
from tests.unit.engine.driver import START, Driver, Fail, states

API = LimitDef(name="api", rate=10, per_ms=1_000, burst=2)


def timed(driver: Driver, times: list[int]) -> Any:
    def work(*args: object) -> int:
        times.append(driver.now - START)
        return 1

    return work


def nothing_is_left(driver: Driver) -> bool:
    quotas = [quota for quota in driver.engine.quotas.by_name.values() if quota.entries or not quota.definition.rate]
    return not quotas and not list(driver.engine.claims)


# ---- rates ----------------------------------------------------------------------------------------------------------


def test_starts_keep_to_a_rate() -> None:
    times: list[int] = []
    plan = b.flow(*(b.task(f"t{i}") for i in range(5)), settings=(b.settings(limit=0),), limits=(API,))
    driver = Driver(plan)
    driver.functions = {f"t{i}": timed(driver, times) for i in range(5)}
    driver.run()
    assert times == [0, 0, 100, 200, 300]
    assert nothing_is_left(driver)


@given(st.integers(0, 100), st.integers(1, 30), st.sampled_from([None, 2]), st.sampled_from([None, 0]))
def test_items_keep_to_a_rate_and_to_a_pool(seed: int, n: int, concurrency: int | None, pool: int | None) -> None:
    times: list[int] = []
    plan = b.flow(
        b.each(1, ["call", "range", ["in", 0]], 1, simple=True, concurrency=concurrency),
        params=(b.param("n"),),
        result=2,
        blocks=(b.block(b.task("item", 0), params=1, result=1),),
        settings=(b.settings(limit=0, pool=pool, slots=2),),
        pools=(PoolDef(name="db", slots=4),),
        limits=(API,),
    )
    driver = Driver(plan, seed=seed)
    driver.functions = {"item": timed(driver, times)}
    assert len(driver.value_of(driver.run(args=b.args(n=n)).result)) == n
    assert all((i - 1) * 100 <= at for i, at in enumerate(sorted(times)))
    assert nothing_is_left(driver)


def test_a_retry_keeps_to_the_rate_too_and_waits_without_its_slot() -> None:
    def work() -> None:
        times.append(driver.now - START)
        raise Fail

    times: list[int] = []
    settings = (b.settings(limit=0, pool=0, retry=RetryPolicy(max=3, first_ms=10, backoff="fixed")),)
    plan = b.flow(b.task("a"), settings=settings, pools=(PoolDef(name="db", slots=1),), limits=(API,))
    driver = Driver(plan, {"a": work})
    driver.submit()
    driver.step()
    assert driver.engine.quotas.by_name.keys() == {"rate/api"}
    assert driver.drain().state == "failed"
    assert times == [0, 10, 100, 200]


# ---- concurrency keys -----------------------------------------------------------------------------------------------


def keyed(limit: int = 1, **more: Any) -> Any:
    """A task per run, keyed by the parameter `k`."""
    return b.flow(
        b.task("work", 1),
        result=2,
        params=(b.param("k"),),
        settings=(b.settings(concurrency=ConcurrencyDef(limit=limit, key=["in", 0], **more)),),
    )


def submitted(driver: Driver, **keys: object) -> list[str]:
    """Submits runs by name with their keys; gives whose work is ready."""
    for run, key in keys.items():
        driver.submit(run, b.args(k=key))
    return [work.run for work in driver.ready]


def test_each_key_has_its_own_limit() -> None:
    driver = Driver(keyed(2))
    assert submitted(driver, a=1, b=1, c=1, d="1", e=2) == ["a", "b", "d", "e"]
    driver.post(m.Results("b", "w", tuple(driver.execute(driver.ready.pop(0)))))
    assert [work.run for work in driver.ready] == ["b", "d", "e", "c"]
    for run in "bcde":
        driver.drain(run)
    assert nothing_is_left(driver)


def test_runs_with_the_same_key_take_turns_with_other_keys_at_a_pool() -> None:
    concurrency = ConcurrencyDef(limit=9, key=["in", 0])
    plan = b.flow(
        b.task("one", 1), b.task("two", 1), params=(b.param("k"),),
        settings=(b.settings(pool=0, concurrency=concurrency),), pools=(PoolDef(name="db", slots=1),),
    )  # fmt: skip
    driver = Driver(plan)
    submitted(driver, a=1, b=1, c=1, d=2, e=2)
    order = []
    while driver.ready:
        order.append(driver.ready[0].run)
        driver.step()
    assert [("1" if run in "abc" else "2") for run in order] == [*"1121212121"]


def test_a_task_is_limited_wherever_it_is_called() -> None:
    plan = b.flow(
        b.task("one"), b.task("two"), settings=(b.settings(concurrency=ConcurrencyDef(limit=1, name="lib.load")),)
    )
    driver = Driver(plan)
    driver.submit()
    assert len(driver.ready) == 1
    assert driver.drain().state == "success"


@pytest.mark.parametrize(
    ("how", "state", "run"), [("cancel_new", "cancelled", "failed"), ("skip", "skipped", "success")]
)
def test_a_new_step_is_refused(how: str, state: str, run: str) -> None:
    driver = Driver(keyed(on_conflict=how))
    assert submitted(driver, a=1, b=1) == ["a"]
    assert driver.ended == ["b"]
    record = driver.engine.record("b")
    assert (states(record)["work"], record.state) == (state, run)
    assert driver.drain("a").state == "success"
    assert nothing_is_left(driver)


def test_the_oldest_step_gives_way() -> None:
    driver = Driver(keyed(on_conflict="cancel_running"))
    assert submitted(driver, a=1, b=1) == ["a", "b"]
    assert driver.ended == ["a"]
    assert [revoke.run for revoke in driver.revoked] == ["a"]
    record = driver.engine.record("a")
    assert states(record)["work"] == "cancelled"
    assert record.steps[0].error is not None
    assert "same concurrency key" in record.steps[0].error.message
    assert driver.drain("b").state == "success"


def test_a_key_that_has_no_value_fails_the_step() -> None:
    concurrency = ConcurrencyDef(limit=1, key=["attr", ["in", 0], "tenant"])
    plan = b.flow(b.task("a", 1), params=(b.param("k"),), settings=(b.settings(concurrency=concurrency),))
    driver = Driver(plan)
    record = driver.run(args=b.args(k={}))
    assert record.error is not None
    assert record.error.type == "ExpressionError"
    assert record.error.message.startswith("the key of `concurrency`: ")


def test_a_key_above_the_size_of_a_message_is_told() -> None:
    concurrency = ConcurrencyDef(limit=1, key=["in", 1])
    plan = b.flow(
        b.task("big"), b.task("a", 1, 2, settings=1), params=(b.param("k"),),
        settings=(b.settings(), b.settings(concurrency=concurrency)),
    )  # fmt: skip
    driver = Driver(plan, {"big": lambda: "x" * 100_000})
    record = driver.run(args=b.args(k=1))
    assert record.error is not None
    assert "above 32 KiB" in record.error.message


# ---- runs of a flow -------------------------------------------------------------------------------------------------


def bounded(runs: int = 1, **more: Any) -> Any:
    return b.flow(b.task("work"), params=(b.param("k", required=False),), result=2, max_active_runs=runs, **more)


def begun(driver: Driver) -> list[str]:
    return [run.id for run in driver.engine.runs.values() if run.body and not run.ended]


def test_runs_wait_in_the_order_of_their_submission_by_priority() -> None:
    driver = Driver(bounded())
    for run, priority in (("a", None), ("b", None), ("c", 9), ("d", None)):
        driver.post(m.Submit(run, "plan", b"\x80", priority=priority))
        driver.now += 10
    order = []
    while begun(driver):
        order += begun(driver)
        assert driver.step()
    assert order == ["a", "c", "b", "d"]
    assert nothing_is_left(driver)


def test_a_run_that_waits_can_be_cancelled() -> None:
    driver = Driver(bounded())
    for run in "abc":
        driver.submit(run)
    driver.post(m.Cancel("b"))
    assert driver.engine.record("b").state == "cancelled"
    driver.drain("a")
    assert begun(driver) == ["c"]


def test_a_run_that_waits_for_too_long_expires() -> None:
    driver = Driver(bounded())
    driver.submit("a")
    driver.post(m.Submit("b", "plan", b"\x80", expires_ms=driver.now + 500))
    driver.ready.clear()
    driver.fire()
    assert driver.engine.record("b").state == "expired"
    assert driver.now - START == 500
    assert len(list(driver.engine.claims)) == 1


def test_a_run_with_wrong_arguments_does_not_wait_to_be_told() -> None:
    driver = Driver(bounded())
    driver.submit("a")
    driver.submit("b", b.args(unknown=1))
    assert driver.engine.record("b").state == "failed"


def test_a_run_that_the_engine_gives_up_makes_room() -> None:
    driver = Driver(bounded())
    driver.submit("a")
    driver.submit("b")
    for command in driver.engine.abandon("a"):
        driver._do(command)
    assert begun(driver) == ["b"]


@pytest.mark.parametrize("how", ["cancel_new", "skip"])
def test_a_new_run_is_refused(how: str) -> None:
    concurrency = ConcurrencyDef(limit=1, key=["in", 1], on_conflict=how)  # type: ignore[arg-type]
    driver = Driver(b.flow(b.task("work"), params=(b.param("k"),), concurrency=concurrency))
    for run, key in (("a", "x"), ("b", "x"), ("c", "y")):
        driver.submit(run, b.args(k=key))
    record = driver.engine.record("b")
    assert record.state == "cancelled"
    assert record.error is not None
    assert record.error.type == "Conflict"
    assert begun(driver) == ["a", "c"]


def test_the_oldest_run_gives_way_and_the_new_one_begins_when_it_has_ended() -> None:
    concurrency = ConcurrencyDef(limit=1, on_conflict="cancel_running")
    driver = Driver(b.flow(b.task("work"), concurrency=concurrency))
    driver.submit("a")
    driver.submit("b")
    assert driver.engine.record("a").state == "cancelled"
    assert begun(driver) == ["b"]
    assert driver.drain("b").state == "success"
    assert nothing_is_left(driver)


def test_the_parameters_of_a_run_that_waits_outlast_a_snapshot() -> None:
    plan = b.flow(b.task("work", 1), params=(b.param("k"),), result=2, max_active_runs=1)
    driver = Driver(plan, {"work": lambda k: k})
    driver.submit("a", b.args(k=1))
    driver.submit("b", b.args(k=2))
    rest, runs = driver.engine.pack_rest(), [(run, driver.engine.pack_run(run)) for run in "ab"]
    driver.engine = type(driver.engine)()
    driver.engine.add_plan("plan", driver.plan)
    driver.engine.restore(rest, runs)
    assert driver.value_of(driver.drain("a").result) == 1
    assert driver.value_of(driver.drain("b").result) == 2
