"""Delays, times and expiry of steps; the cancellation of a part of a run."""

from __future__ import annotations

from typing import Any

import pytest
from flowc import plan as p
from flowrun import messages as m
from flowrun.engine import Revoke

from tests.unit.engine import builders as b
from tests.unit.engine.driver import START, Driver, Fail, states


def with_settings(*nodes: Any, **more: Any) -> p.Plan:
    """A flow whose settings 1 are these."""
    return b.flow(*nodes, settings=(b.settings(), b.settings(**more)))


# ---- delays


@pytest.mark.parametrize(
    "more", [{"delay_ms": 2_000}, {"at_ms": START + 2_000}, {"delay_ms": 5, "at_ms": START + 2_000}]
)
def test_a_step_waits_for_its_time(more: dict[str, Any]) -> None:
    driver = Driver(with_settings(b.task("a", settings=1), **more))
    driver.submit()
    assert not driver.ready
    assert driver.timers == {("r", "delay/0/1"): START + 2_000}
    driver.fire()
    assert [work.node for work in driver.ready] == [1]
    assert driver.drain().state == "success"


def test_a_time_that_is_over_is_no_wait() -> None:
    driver = Driver(with_settings(b.task("a", settings=1), at_ms=START - 1))
    driver.submit()
    assert driver.ready
    assert not driver.timers


def test_the_items_of_an_each_wait_together() -> None:
    body = b.block(b.task("t", 0, settings=1), params=1, result=1)
    each = b.each(1, ["call", "range", ["lit", 3]], simple=True)
    driver = Driver(b.flow(each, blocks=(body,), settings=(b.settings(), b.settings(delay_ms=500))))
    driver.submit()
    assert not driver.ready
    driver.fire()
    assert [(work.first, work.last) for work in driver.ready] == [(0, 3)]


def test_a_step_that_waits_for_its_time_can_be_cancelled() -> None:
    driver = Driver(with_settings(b.task("a", settings=1), delay_ms=2_000))
    driver.submit()
    driver.post(m.Cancel("r"))
    assert driver.engine.record("r").state == "cancelled"
    assert not driver.timers


# ---- expiry


def test_a_worker_is_told_when_a_step_expires_and_says_that_it_did() -> None:
    driver = Driver(
        with_settings(
            b.task("a", settings=1), b.task("c", 1), b.task("d", after=(b.after("failed", 1),)), expires_ms=700
        )
    )
    driver.submit()
    (work,) = driver.ready
    assert work.expires_ms == work.item(0).expires_ms == START + 700
    driver.post(m.Results("b", "w", (m.Outcome("r", 0, 1, 1, "expired"),)))
    record = driver.drain()
    assert states(record) == {"a": "expired", "c": "upstream_failed", "d": "success"}
    assert (record.state, record.failed_step) == ("failed", "a")
    assert record.error is not None
    assert record.error.type == "Expired"


def test_another_attempt_does_not_expire() -> None:
    plan = with_settings(b.task("a", settings=1), expires_ms=700, retry=p.RetryPolicy(max=1, first_ms=0))
    driver = Driver(plan, {"a": lambda: (_ for _ in ()).throw(Fail())})
    driver.submit()
    driver.step()
    (work,) = driver.ready
    assert (work.attempt, work.expires_ms) == (2, 0)


def test_an_attempt_whose_worker_died_still_expires() -> None:
    driver = Driver(with_settings(b.task("a", settings=1), expires_ms=700))
    driver.submit()
    driver.post(m.Lost("b", (driver.ready[0].item(0),)))
    assert driver.ready[-1].expires_ms == START + 700


def test_items_expire() -> None:
    body = b.block(b.task("t", 0, settings=1), params=1, result=1)
    each = b.each(1, ["call", "range", ["lit", 5]], simple=True, concurrency=2, on_error="collect")
    driver = Driver(b.flow(each, blocks=(body,), result=1, settings=(b.settings(), b.settings(expires_ms=700))))
    driver.submit()
    (work,) = driver.ready
    assert (work.first, work.last, work.expires_ms) == (0, 2, START + 700)
    driver.post(m.Results("b", "w", (m.Outcome("r", 0, 1, 1, "expired", first=0, last=1),)))
    assert (driver.ready[-1].first, driver.ready[-1].last) == (2, 3)
    driver.fire()
    record = driver.drain()
    assert record.state == "success"
    found = states(record)
    assert [found["t", index] for index in range(5)] == ["expired", "success", "success", "expired", "expired"]


def test_an_item_that_expired_fails_the_each() -> None:
    body = b.block(b.task("t", 0, settings=1), params=1, result=1)
    each = b.each(1, ["call", "range", ["lit", 3]], simple=True)
    driver = Driver(b.flow(each, blocks=(body,), result=1, settings=(b.settings(), b.settings(expires_ms=700))))
    driver.submit()
    driver.post(m.Results("b", "w", (m.Outcome("r", 0, 1, 1, "expired", first=1, last=3),)))
    record = driver.drain()
    assert record.state == "failed"
    assert record.error is not None
    assert record.error.message.startswith("item 1: ")


# ---- a part of a run is cancelled


def test_a_step_is_cancelled_and_others_move_on() -> None:
    plan = b.flow(b.task("a"), b.task("c", 1), b.task("d", after=(b.after("done", 1),)), b.task("e"))
    driver = Driver(plan)
    driver.submit()
    driver.post(m.Cancel("r", step="a"))
    assert driver.revoked == [Revoke("r", 0, 1, 1)]
    record = driver.drain()
    assert states(record) == {"a": "cancelled", "c": "upstream_failed", "d": "success", "e": "success"}
    assert (record.state, record.failed_step) == ("failed", "a")


def test_a_join_goes_on_without_a_cancelled_member() -> None:
    plan = b.flow(
        b.task("a", handler=3), b.task("c", handler=3), p.JoinNode(name="j", members=(1, 2), n=1), b.task("d", 3)
    )
    driver = Driver(plan)
    driver.submit()
    driver.post(m.Cancel("r", step="a"))
    record = driver.drain()
    assert record.state == "success"
    assert states(record) == {"a": "cancelled", "c": "success", "j": "success", "d": "success"}


def test_a_box_is_cancelled() -> None:
    plan = b.flow(b.task("a", box=("g",)), b.task("c", 1, box=("g",)), b.task("d"))
    driver = Driver(plan)
    driver.submit()
    driver.post(m.Cancel("r", step="g"))
    assert states(driver.drain()) == {"a": "cancelled", "c": "cancelled", "d": "success"}


def test_an_each_is_cancelled() -> None:
    body = b.block(b.task("t", 0), params=1, result=1)
    driver = Driver(b.flow(b.each(1, ["call", "range", ["lit", 3]], simple=True), b.task("d"), blocks=(body,)))
    driver.submit()
    driver.post(m.Cancel("r", step="each"))
    record = driver.drain()
    assert states(record)["each"] == "cancelled"
    assert states(record)["d"] == "success"


def test_a_step_of_a_child_run_is_cancelled() -> None:
    child = b.flow(b.task("a"), b.task("c"), name="inner")
    plan = b.flow(p.ChildNode(name="call", flow="inner", args=(), settings=0), children={"inner": child})
    driver = Driver(plan)
    driver.submit()
    driver.post(m.Cancel("r", step="call.a"))
    record = driver.drain()
    assert states(record) == {"call": "failed", "call.a": "cancelled", "call.c": "success"}


def test_what_is_not_there_or_has_ended_is_told() -> None:
    driver = Driver(b.flow(b.task("a"), b.task("c")))
    driver.submit()
    assert driver.post(m.Cancel("r", step="nobody")) == []
    assert "no step or box" in driver.engine.ignored[-1]
    driver.post(m.Results("b", "w", (m.Outcome("r", 0, 1, 1, "success"),)))
    assert driver.post(m.Cancel("r", step="a")) == []
    assert "has ended" in driver.engine.ignored[-1]
