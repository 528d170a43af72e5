"""Packed and restored, frozen and thawed, an engine goes on as if nothing had been."""

from __future__ import annotations

from typing import Any

import msgspec
from flowrun import messages as m
from flowrun.engine import Engine, SetTimer
from flowrun.engine.snapshot import pack_run
from hypothesis import given, settings

from tests.unit.engine import builders as b
from tests.unit.engine.driver import Driver, Fail
from tests.unit.engine.random_plans import random_plan
from tests.unit.engine.test_invariants import SEEDS, disturb, snapshot


def restored(driver: Driver, packed: dict[str, bytes] | None = None) -> Engine:
    """A new engine of what the driver's packs; `packed` holds what was packed before, and is brought up to date."""
    engine = driver.engine
    packed = {} if packed is None else packed
    names = engine.take_touched()
    packed.update((name, engine.pack_run(name)) for name in names)
    found = Engine()
    plans = found.restore(engine.pack_rest(), packed.items())
    assert plans <= driver.plans.keys()
    for digest, plan in driver.plans.items():
        found.add_plan(digest, plan)
    return found


class Restoring(Driver):
    """Goes on with another engine after every event, made of the bytes of the one before; those of runs that nothing
    happened to are older."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.told: list[Any] = []
        self.packed: dict[str, bytes] = {}

    def post(self, event: m.Event) -> list[Any]:
        commands = super().post(event)
        self.told.append(commands)
        before = snapshot(self.engine)
        rest = self.engine.pack_rest()
        self.engine = restored(self, self.packed)
        assert self.engine.pack_rest() == rest
        assert {name: self.engine.pack_run(name) for name in self.packed} == self.packed
        assert snapshot(self.engine)[:3] == before[:3]
        for name in self.engine.frozen:
            run = self.engine.peek(name)
            assert run is not None
            assert pack_run(run) == self.packed[name]
        return commands


class Freezing(Driver):
    """Freezes every run after every event."""

    def post(self, event: m.Event) -> list[Any]:
        commands = super().post(event)
        before = snapshot(self.engine)
        self.engine.freeze()
        self.engine.freeze()
        assert not self.engine.runs
        assert [list(a) for a in snapshot(self.engine)[:2]] == [list(a) for a in before[:2]]
        return commands


class Listening(Driver):
    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.told: list[Any] = []

    def post(self, event: m.Event) -> list[Any]:
        self.told.append(super().post(event))
        return self.told[-1]


def work(driver: Driver, steps: int = 3_000) -> m.RunRecord:
    driver.submit()
    for _ in range(steps):
        if driver.ended:
            return driver.engine.record("r")
        disturb(driver)
        driver.step()
    raise AssertionError("the run does not end")


@given(SEEDS, SEEDS)
@settings(max_examples=100, deadline=None)
def test_a_restored_engine_goes_on_alike(plan_seed: int, seed: int) -> None:
    plan, functions = random_plan(plan_seed)
    plain = Listening(plan, functions(), seed=seed, cut=3)
    other = Restoring(plan, functions(), seed=seed, cut=3)
    assert work(other) == work(plain)
    assert other.told == plain.told


@given(SEEDS, SEEDS)
@settings(max_examples=100, deadline=None)
def test_freezing_is_not_seen(plan_seed: int, seed: int) -> None:
    plan, functions = random_plan(plan_seed)
    plain = Driver(plan, functions(), seed=seed, cut=3)
    other = Freezing(plan, functions(), seed=seed, cut=3)
    assert work(other) == work(plain)
    assert other.log == plain.log


def retrying(runs: int) -> Driver:
    """So many runs that wait for their second attempt."""

    def fail() -> None:
        raise Fail

    plan = b.flow(b.task("a", settings=1), settings=(b.settings(), b.settings(retry=b.p.RetryPolicy(max=1))))
    driver = Driver(plan, {"a": fail})
    for number in range(runs):
        driver.submit(f"r{number}")
    while driver.ready:
        driver.step()
    return driver


def test_several_runs_and_only_those_that_changed() -> None:
    driver = retrying(3)
    engine = driver.engine
    packed = {name: engine.pack_run(name) for name in engine.take_touched()}
    assert sorted(packed) == ["r0", "r1", "r2"]
    driver.post(m.Cancel("r1"))
    changed = engine.take_touched()
    assert changed == ["r1", "\0past/0"]
    packed.update((name, engine.pack_run(name)) for name in changed)
    engine.forget("r1")
    assert engine.take_touched() == ["r1"]
    found = Engine()
    entries = [*packed.items(), ("r1", engine.pack_run("r1"))]
    assert found.restore(engine.pack_rest(), entries) == {"plan"}
    assert [timer.run for timer in found.timers()] == ["r0", "r2"]
    assert not list(found.ended())
    assert found.is_known("r1")


def test_a_run_whose_record_is_not_stored_keeps_it() -> None:
    driver = Driver(b.flow(b.task("a"), result=1))
    record = driver.run()
    found = restored(driver)
    assert list(found.ended()) == ["r"]
    assert found.record("r") == record
    assert found.is_known("r")


def test_the_record_of_an_ended_run_does_not_need_its_plan() -> None:
    driver = Driver(b.flow(b.task("a"), result=1))
    record = driver.run()
    found = Engine()
    found.restore(driver.engine.pack_rest(), [("r", driver.engine.pack_run("r"))])
    assert msgspec.structs.replace(record, steps=()) == found.record("r")


def test_only_runs_that_nothing_happened_to_are_frozen() -> None:
    driver = retrying(2)
    engine = driver.engine
    engine.freeze()
    assert len(engine.runs) == 2
    driver.post(m.TimerFired("r0", next(timer.timer for timer in engine.timers() if timer.run == "r0")))
    engine.freeze()
    assert list(engine.runs) == ["r0"]
    assert list(engine.frozen) == ["r1"]
    assert sorted(timer.run for timer in engine.timers()) == ["r0", "r1"]
    assert all(isinstance(timer, SetTimer) for timer in engine.timers())


def test_what_is_asked_thaws_nothing() -> None:
    driver = Driver(b.flow(b.task("a"), result=1))
    driver.submit()
    engine = driver.engine
    engine.freeze()
    engine.freeze()
    assert engine.wants(driver.ready[0])
    assert list(engine.outstanding()) == driver.ready
    assert engine.is_known("r")
    assert not engine.runs


def test_a_frozen_run_whose_plan_cannot_be_had_is_left_alone() -> None:
    driver = Driver(b.flow(b.task("a"), result=1))
    driver.submit()
    found = Engine()
    found.restore(driver.engine.pack_rest(), [("r", driver.engine.pack_run("r"))])
    found.add_plan_failure("plan", "it is not there")
    assert found.decide(m.Cancel("r"), driver.now, 9) == []
    assert found.ignored
