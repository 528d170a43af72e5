"""Bundles of single items, each of another run: what is promised about a unit holds for each of them."""

from __future__ import annotations

import asyncio
import struct
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flowc import plan as plans
from flowc.types import INT
from flowrun import values
from flowrun.messages import Outcome, WorkItem
from flowrun.worker.frames import ExecutorKind

from tests.unit.worker.harness import Worker, call, worker

TASKS = """
    import os, sys, time
    from flowrun.operator import SoftTimeout

    def same(x: int) -> int:
        return x

    def says(x):
        if x % 3 == 0:
            print("run", x, end="")
            print("err", x, file=sys.stderr)
        return x

    def trouble(x):
        if x == 3:
            os._exit(3)
        if x == 5:
            raise ValueError(x)
        if x == 7:
            time.sleep(60)
        return x

    def tidy(x):
        try:
            time.sleep(60 if x == 2 else 0)
        except SoftTimeout:
            return -x
        return x

    def lasts(x):
        time.sleep(0.03 if x == 1 else 0)
        return x
"""
SECONDS = struct.Struct("<f")
#: more than the pipe takes, and one behind another
BUNDLES = (range(700), range(700, 1000), range(1000, 1100), range(1100, 1101))


def singles(target: str, numbers: range, **settings: Any) -> tuple[plans.Plan, list[WorkItem]]:
    plan, item = call(target, INT, {"x": INT}, plans.StepSettings(**settings), x=0)
    return plan, [msgspec.structs.replace(item, run=f"run{n}", inputs=(values.encode(n),)) for n in numbers]


async def outcomes_of(running: Worker, target: str, count: int, **settings: Any) -> dict[str, Outcome]:
    plan, items = singles(target, range(count), **settings)
    found = await running.run(plan, items)
    assert len({outcome.run for outcome in found}) == len(found)
    return {outcome.run: outcome for outcome in found}


@pytest.mark.parametrize("kind", ["process", "thread", "async"])
async def test_each_has_its_own_result(tmp_path: Path, kind: ExecutorKind) -> None:
    async with worker(tmp_path, TASKS, kind=kind, width=1 if kind == "process" else 4) as running:
        for numbers in BUNDLES:
            await running.submit(*singles("tasks:same", numbers))
        found = await running.outcomes(1101)
    assert {outcome.run: running.value(outcome) for outcome in found} == {f"run{n}": n for n in range(1101)}
    if kind == "process":
        runs = [int(outcome.run.removeprefix("run")) for outcome in found]
        for numbers in BUNDLES:
            assert [n for n in runs if n in numbers] == list(numbers)


async def test_output_is_of_the_run_that_wrote_it(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        await outcomes_of(running, "tasks:says", 10)
        await asyncio.sleep(0.1)
        notes = {(note.run, note.stream): note.text for note in running.logs}
    expected = {(f"run{n}", "out"): f"run {n}" for n in range(0, 10, 3)}
    assert notes == expected | {(f"run{n}", "err"): f"err {n}\n" for n in range(0, 10, 3)}


async def test_who_fails_fails_alone(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        found = await outcomes_of(running, "tasks:trouble", 10, timeout_ms=300)
    errors = {run: outcome.error.type for run, outcome in found.items() if outcome.error is not None}
    assert errors == {"run3": "WorkerDied", "run5": "ValueError", "run7": "Timeout"}
    good = [outcome for outcome in found.values() if outcome.state == "success"]
    assert sorted(running.value(outcome) for outcome in good) == [0, 1, 2, 4, 6, 8, 9]


async def test_a_soft_limit_reaches_the_one_that_runs(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        found = await outcomes_of(running, "tasks:tidy", 5, soft_timeout_ms=200, timeout_ms=5000)
    assert [running.value(found[f"run{n}"]) for n in range(5)] == [0, 1, -2, 3, 4]


async def test_what_has_expired_is_not_run(tmp_path: Path) -> None:
    plan, items = singles("tasks:same", range(4))
    past, later = 1, int(time.time() * 1000) + 60_000
    items = [msgspec.structs.replace(item, expires_ms=past if n % 2 else later) for n, item in enumerate(items)]
    async with worker(tmp_path, TASKS) as running:
        found = await running.run(plan, items)
    assert [outcome.state for outcome in found] == ["success", "expired", "success", "expired"]


async def test_each_has_its_own_times(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        await running.call("tasks:same", x=1)
        before = time.time() * 1000
        found = await outcomes_of(running, "tasks:lasts", 4)
    seconds = [SECONDS.unpack(found[f"run{n}"].seconds)[0] for n in range(4)]
    assert seconds[1] >= 0.03
    assert max(seconds[0], seconds[2], seconds[3]) < 0.02
    started = [found[f"run{n}"].started_ms - before for n in range(4)]
    assert started == sorted(started)
    assert started[0] >= -1
    assert started[2] - started[1] >= 29


async def test_different_steps_in_one_bundle(tmp_path: Path) -> None:
    """Neighbours of different steps do not run each other's task."""
    plan, (item, *_) = singles("tasks:same", range(1))
    (block,) = plan.blocks
    doubled = msgspec.structs.replace(plan.tasks[0], name="says", target="tasks:says", returns=None)
    other = msgspec.structs.replace(block.nodes[-1], name="other", task=1)
    plan = msgspec.structs.replace(
        plan,
        tasks=(*plan.tasks, doubled),
        blocks=(msgspec.structs.replace(block, nodes=(*block.nodes, other)),),
    )
    items = [
        msgspec.structs.replace(item, run=f"run{n}", node=item.node + n // 2 % 2, inputs=(values.encode(n),))
        for n in range(12)
    ]
    async with worker(tmp_path, TASKS) as running:
        found = await running.run(plan, items)
    assert [running.value(outcome) for outcome in found] == [None if n // 2 % 2 else n for n in range(12)]
    assert [outcome.node for outcome in found] == [item.node for item in items]
