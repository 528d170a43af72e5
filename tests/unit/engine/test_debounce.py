"""Runs that wait to be replaced by newer ones."""

from __future__ import annotations

from typing import Any

import pytest
from flowrun import messages as m
from flowrun import values
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engine.cluster import Cluster
from tests.unit.engine.driver import START, Driver
from tests.unit.engine.test_snapshot import Freezing, Restoring
from tests.unit.engine.written import plan_of

TEXT = """
task load(x: json) returns json { run: shell("echo ${x}") }
flow main(who: string = "a") returns json {
  debounce: { key: who, wait: 30s }
  SETTINGS
  return load(who)
}
"""


def driver_of(kind: type[Driver] = Driver, more: str = "") -> Driver:
    return kind(plan_of(TEXT.replace("SETTINGS", more)))


def submit(driver: Driver, run: str, who: str = "a") -> None:
    driver.submit(run, values.encode({"who": who}))


def ended(driver: Driver) -> dict[str, Any]:
    return {run: driver.engine.record(run) for run in driver.ended}


@pytest.mark.parametrize("kind", [Driver, Restoring, Freezing])
def test_the_newest_begins_when_its_wait_is_over(kind: type[Driver]) -> None:
    driver = driver_of(kind)
    submit(driver, "one")
    driver.now += 20_000
    submit(driver, "two")
    assert driver.ended == ["one"]
    first = driver.engine.record("one")
    assert first.error is not None
    assert (first.state, first.error.type, first.error.message) == ("cancelled", "Replaced", "replaced by run two")
    assert not driver.ready
    while len(driver.ended) < 2:
        assert driver.step()
    assert driver.engine.record("two").state == "success"
    assert driver.now == START + 50_000
    assert not driver.engine.quotas.by_name


def test_one_that_has_begun_is_not_replaced() -> None:
    driver = driver_of()
    submit(driver, "one")
    driver.fire()
    assert len(driver.ready) == 1
    submit(driver, "two")
    driver.fire()
    while len(driver.ended) < 2:
        assert driver.step()
    assert {record.state for record in ended(driver).values()} == {"success"}


def test_those_of_another_key_are_left_alone() -> None:
    driver = driver_of()
    submit(driver, "one", "a")
    submit(driver, "two", "b")
    while len(driver.ended) < 2:
        assert driver.step()
    assert {record.state for record in ended(driver).values()} == {"success"}


def test_without_a_key_all_runs_of_the_flow_are_alike() -> None:
    driver = Driver(plan_of(TEXT.replace("{ key: who, wait: 30s }", "30s").replace("SETTINGS", "")))
    submit(driver, "one", "a")
    submit(driver, "two", "b")
    assert driver.ended == ["one"]


def test_one_that_waits_can_be_cancelled_and_expires() -> None:
    driver = driver_of()
    submit(driver, "one")
    driver.post(m.Cancel("one"))
    assert driver.engine.record("one").state == "cancelled"
    driver.post(m.Submit("two", "plan", values.encode({}), expires_ms=driver.now + 1_000))
    driver.fire()
    assert driver.engine.record("two").state == "expired"
    assert not driver.timers
    assert not driver.engine.quotas.by_name


def test_afterwards_other_limits_hold() -> None:
    driver = driver_of(more="max_active_runs: 1")
    for name in ("one", "two"):
        submit(driver, name, name)
    driver.fire()
    driver.fire()
    assert len(driver.ready) == 1
    while len(driver.ended) < 2:
        assert driver.step()


def test_a_key_that_has_no_value_fails_the_run() -> None:
    text = TEXT.replace("key: who", "key: who[9:10] + who").replace("SETTINGS", "")
    driver = Driver(plan_of(text.replace("who[9:10] + who", '"${1 % len(who)}"')))
    submit(driver, "one", "")
    record = driver.engine.record("one")
    assert record.error is not None
    assert record.error.message.startswith("the key of `debounce`: ")


@given(st.integers(0, 1_000_000))
@settings(max_examples=30, deadline=None)
def test_across_partitions_one_of_many_is_left(seed: int) -> None:
    begun: list[str] = []

    def outcome(step: str) -> str:
        begun.append(step)
        return "success"

    cluster = Cluster(plan_of(TEXT.replace("SETTINGS", "")), 3, seed, outcome)
    runs = [f"run{i}" for i in range(6)]
    for run in runs:
        cluster.submit(run, values.encode({"who": "a"}))
        for _ in range(cluster.random.randrange(4)):
            cluster.step()
        if cluster.random.random() < 0.3:
            cluster.crash()
        cluster.now += 10
    cluster.drain()
    assert set(cluster.ended) == set(runs)
    assert begun
    assert not any(partition.engine.quotas.by_name for partition in cluster.partitions.values())
