"""Submissions: the same one twice, keys, expiry, cancellations that come first, priorities."""

from __future__ import annotations

from flowrun import messages as m
from flowrun.engine import EndRun

from tests.unit.engine import builders as b
from tests.unit.engine.driver import START, Driver

ONE = b.flow(b.task("a"), result=1)


def test_an_id_is_known_from_its_submission_until_its_time_is_over() -> None:
    driver = Driver(ONE)
    driver.post(m.TakeOver(1, "n", 1, remember_ms=1_000, keep_ms=10_000))
    driver.run()
    driver.engine.forget("r")
    assert driver.post(m.Submit("r", "plan", b"\x80")) == []
    driver.now += 500
    assert driver.post(m.Submit("r", "plan", b"\x80")) == []
    driver.now += 1_000
    driver.post(m.Submit("other", "plan", b"\x80"))
    driver.drain("other")
    assert driver.post(m.Submit("r", "plan", b"\x80"))


def test_a_key_is_kept_as_long_as_results() -> None:
    driver = Driver(ONE)
    driver.post(m.TakeOver(1, "n", 1, remember_ms=1_000, keep_ms=10_000))
    driver.post(m.Submit("k", "plan", b"\x80", key="order 7"))
    driver.drain("k")
    driver.engine.forget("k")
    driver.now += 9_000
    driver.run("other")
    assert driver.post(m.Submit("k", "plan", b"\x80", key="order 7")) == []


def test_a_key_with_other_arguments_is_told() -> None:
    driver = Driver(ONE)
    driver.post(m.Submit("k", "plan", b"\x80", key="order 7"))
    assert driver.post(m.Submit("k", "plan", b"\x80", key="order 7")) == []
    assert "other arguments" not in driver.engine.ignored[-1]
    assert driver.post(m.Submit("k", "plan", b"\x81\xa1a\x01", key="order 7")) == []
    assert "other arguments" in driver.engine.ignored[-1]


def test_who_submitted_is_told_of_the_end() -> None:
    driver = Driver(ONE)
    driver.post(m.Submit("r", "plan", b"\x80", client="c7"))
    (work,) = driver.ready
    commands = driver.post(m.Results("b", "w", tuple(driver.execute(work))))
    assert EndRun("r", "c7") in commands


def test_a_submission_that_comes_too_late_expires() -> None:
    driver = Driver(ONE)
    assert driver.post(m.Submit("r", "plan", b"\x80", expires_ms=START - 1)) == [EndRun("r")]
    record = driver.engine.record("r")
    assert record.state == "expired"
    assert record.error is not None
    assert record.error.type == "Expired"
    driver.post(m.Submit("s", "plan", b"\x80", expires_ms=START))
    assert driver.drain("s").state == "success"


def test_a_cancellation_that_comes_first_counts() -> None:
    driver = Driver(ONE)
    assert driver.post(m.Cancel("r")) == []
    assert driver.post(m.Submit("r", "plan", b"\x80")) == [EndRun("r")]
    record = driver.engine.record("r")
    assert (record.state, record.flow, record.steps) == ("cancelled", "test", ())


def test_a_cancellation_is_kept_as_long_as_results() -> None:
    driver = Driver(ONE)
    driver.post(m.TakeOver(1, "n", 1, keep_ms=10_000))
    driver.post(m.Cancel("r"))
    driver.now += 10_001
    driver.post(m.Cancel("other"))
    assert driver.run().state == "success"


def test_a_run_says_the_priority_of_steps_that_have_none() -> None:
    plan = b.flow(b.task("a"), b.task("b", settings=1), settings=(b.settings(), b.settings(priority=2)))
    driver = Driver(plan)
    driver.post(m.Submit("r", "plan", b"\x80", priority=9))
    assert [work.priority for work in driver.ready] == [9, 2]
