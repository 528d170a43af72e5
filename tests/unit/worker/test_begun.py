"""A worker says that it executes a step whose service level asks for its start, once and before the result."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from flowc import plan as plans
from flowrun.messages import Begun, Results
from flowrun.worker.frames import ExecutorKind

from tests.unit.worker.harness import call, worker

TASKS = """
    import asyncio, time

    def slow(x):
        time.sleep(0.3)
        return x

    async def slow_async(x):
        await asyncio.sleep(0.3)
        return x
"""


@pytest.mark.parametrize(
    ("kind", "inline"), [("process", False), ("async", False), ("thread", False), ("process", True)]
)
@pytest.mark.parametrize("asks", [True, False])
async def test_the_begin_of_a_step_is_told(kind: ExecutorKind, inline: bool, asks: bool, tmp_path: Path) -> None:
    level = plans.SlaDef(start_ms=1_000) if asks else plans.SlaDef(finish_ms=1_000)
    settings = plans.StepSettings(executor=kind, sla=level)
    target = "tasks:slow_async" if kind == "async" or inline else "tasks:slow"
    plan, item = call(target, settings=settings, x=1)
    async with worker(tmp_path, TASKS, kind=kind, inline=inline, width=1 if kind == "process" else 2) as running:
        await running.submit(plan, [item])
        found: list[object] = []
        async with asyncio.timeout(20):
            async for event in running.events():
                found.append(event)
                if isinstance(event, Results):
                    break
    begun = Begun(item.run, item.scope, item.node, item.attempt)
    assert found[:-1] == ([begun] if asks else [])
