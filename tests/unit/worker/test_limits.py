"""Soft time limits, memory, tasks per process."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from flowc import plan as plans
from flowc.types import INT
from flowrun import values
from flowrun.messages import Outcome, WorkItem

from tests.unit.worker.harness import call, each_of, template, worker

TASKS = """
    import asyncio, os, time
    from flowrun.operator import SoftTimeout

    def tidy(x):
        try:
            time.sleep(30)
        except SoftTimeout:
            return "tidied"

    def untidy(x):
        time.sleep(30)

    async def tidy_async(x):
        try:
            await asyncio.sleep(30)
        except SoftTimeout:
            await asyncio.sleep(0.01)
            return "tidied"

    async def tidy_as_cancelled(x):
        try:
            async with asyncio.TaskGroup() as group:
                inner = group.create_task(asyncio.sleep(30))
        except asyncio.CancelledError:
            return inner.cancelled()

    async def untidy_async(x):
        await asyncio.sleep(30)

    def ignores(x):
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                time.sleep(0.01)
            except SoftTimeout:
                pass

    def quick(x):
        return x

    def grow(x):
        if x != 2:
            return x
        held = []
        while True:
            held.append(b"x" * (8 << 20))
            time.sleep(0.002)

    KEPT = []
    def leak(x):
        KEPT.append(b"x" * (60 << 20))
        time.sleep(0.1)
        return os.getpid()

    def pid(x):
        time.sleep(0.01)
        return os.getpid()
"""
RANGE = ["call", "range", ["lit", 0], ["lit", 1000]]


def item(first: int, last: int) -> WorkItem:
    return WorkItem("run", 0, "", 0, 0, 1, 1, (b"\xc0",), first, last)


def error(outcome: Outcome) -> str | None:
    return outcome.error.type if outcome.error else None


@pytest.mark.parametrize(
    ("kind", "target"),
    [("process", "tidy"), ("process", "tidy_async"), ("async", "tidy_async")],
)
async def test_a_task_may_tidy_up(tmp_path: Path, kind: str, target: str) -> None:
    settings = plans.StepSettings(soft_timeout_ms=200, timeout_ms=5000)
    async with worker(tmp_path, TASKS, kind=kind, width=1 if kind == "process" else 4) as running:
        plan, one = call(f"tasks:{target}", settings=settings, x=1)
        for _ in range(2):
            began = time.monotonic()
            (outcome,) = await running.run(plan, [one])
            assert running.value(outcome) == "tidied"
            assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("kind", ["process", "async"])
async def test_a_soft_limit_is_a_cancellation_too(tmp_path: Path, kind: str) -> None:
    settings = plans.StepSettings(soft_timeout_ms=200)
    async with worker(tmp_path, TASKS, kind=kind, width=1 if kind == "process" else 4) as running:
        plan, one = call("tasks:tidy_as_cancelled", settings=settings, x=1)
        (outcome,) = await running.run(plan, [one])
        assert running.value(outcome) is True


@pytest.mark.parametrize(("kind", "target"), [("process", "untidy"), ("async", "untidy_async")])
async def test_a_task_that_does_not_care_fails(tmp_path: Path, kind: str, target: str) -> None:
    settings = plans.StepSettings(soft_timeout_ms=200)
    async with worker(tmp_path, TASKS, kind=kind, width=1 if kind == "process" else 4) as running:
        plan, one = call(f"tasks:{target}", settings=settings, x=1)
        (outcome,) = await running.run(plan, [one])
        assert (error(outcome), outcome.error and outcome.error.retryable) == ("SoftTimeout", True)


async def test_the_hard_limit_holds_for_who_ignores_the_soft_one(tmp_path: Path) -> None:
    settings = plans.StepSettings(soft_timeout_ms=100, timeout_ms=400)
    async with worker(tmp_path, TASKS) as running:
        plan, one = call("tasks:ignores", settings=settings, x=1)
        (outcome,) = await running.run(plan, [one])
        assert error(outcome) == "Timeout"


async def test_a_command_is_ended_by_a_soft_limit(tmp_path: Path) -> None:
    settings = plans.StepSettings(soft_timeout_ms=200)
    async with worker(tmp_path, TASKS) as running:
        plan, one = template("shell", ["lit", "sleep 30"], None, settings=settings)
        (outcome,) = await running.run(plan, [one])
        assert error(outcome) == "SoftTimeout"


async def test_a_limit_strikes_only_its_own_unit(tmp_path: Path) -> None:
    plan = each_of("tasks:quick", INT, INT, RANGE, plans.StepSettings(soft_timeout_ms=1, timeout_ms=5000))
    async with worker(tmp_path, TASKS) as running:
        outcomes = await running.run(plan, [item(0, 1000)])
        assert {outcome.state for outcome in outcomes} == {"success"}


async def test_an_attempt_that_needs_too_much_memory_ends_alone(tmp_path: Path) -> None:
    plan = each_of("tasks:grow", INT, INT, RANGE, plans.StepSettings(memory=200 << 20))
    async with worker(tmp_path, TASKS) as running:
        outcomes = await running.run(plan, [item(0, 5)])
    found = {at: error(outcome) for outcome in outcomes for at in range(outcome.first, outcome.last)}
    assert found == {0: None, 1: None, 2: "MemoryLimit", 3: None, 4: None}
    message = next(outcome.error.message for outcome in outcomes if outcome.error)
    assert message.endswith("MiB, and its `memory` is 200 MiB")


async def test_nobody_pays_for_what_others_left(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        plan, one = call("tasks:leak", settings=plans.StepSettings(memory=200 << 20), x=1)
        outcomes = [(await running.run(plan, [one]))[0] for _ in range(6)]
    assert {outcome.state for outcome in outcomes} == {"success"}
    assert len({outcome.value for outcome in outcomes}) > 1


async def test_a_process_is_replaced_after_its_tasks(tmp_path: Path) -> None:
    plan = each_of("tasks:pid", INT, INT, RANGE, plans.StepSettings(max_tasks_per_process=5))
    async with worker(tmp_path, TASKS) as running:
        outcomes = await running.run(plan, [item(0, 12)])
        done = [outcome for outcome in outcomes if outcome.state == "success"]  # a slow machine hands some back
        pids = [data for o in done for data in values.split(o.last - o.first, o.value)]
        assert [pids.count(pid) for pid in dict.fromkeys(pids)][:-1] in ([5], [5, 5])
        one = each_of("tasks:pid", INT, INT, RANGE, plans.StepSettings(max_tasks_per_process=1))
        again = [(await running.run(one, [item(0, 1)]))[0].value for _ in range(4)]
        assert len(set(again)) == 4
    await asyncio.sleep(0)
    assert not any(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())
