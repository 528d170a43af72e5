"""Values that stand for calls, in every kind of executor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flowc import plan as plans
from flowc.types import INT, STRING
from flowrun.messages import WorkItem

from tests.unit.worker.harness import Worker, call, each_of, worker

TASKS = """
    import itertools

    numbers = itertools.count()

    def number(x):
        return next(numbers)

    def fails(x):
        if next(numbers) == 0:
            raise ValueError(x)
        return x

    def large(x):
        return str(next(numbers)) * 100_000

    async def later(x):
        return next(numbers)
"""
KINDS = pytest.mark.parametrize("kind", ["process", "thread", "async", "inline"])
HOUR = plans.StepSettings(cache=plans.CacheDef(ttl_ms=3_600_000))


def running_in(root: Path, kind: Any) -> Any:
    return worker(root, TASKS, inline=True) if kind == "inline" else worker(root, TASKS, kind=kind)


async def value(running: Worker, target: str, settings: Any = HOUR, **args: Any) -> Any:
    plan, item = call(target, settings=settings, **args)
    (outcome,) = await running.run(plan, [item])
    return running.value(outcome) if outcome.state == "success" else outcome.error


@KINDS
async def test_a_value_stands_for_calls_with_the_same_arguments(tmp_path: Path, kind: str) -> None:
    async with running_in(tmp_path, kind) as running:
        assert await value(running, "tasks.py:number", x=1) == 0
        assert await value(running, "tasks.py:number", x=2) == 1
        assert await value(running, "tasks.py:number", x=1) == 0
        assert await value(running, "tasks.py:number", None, x=1) not in (0, 1)  # without the setting it runs


@KINDS
async def test_another_function_is_another_value(tmp_path: Path, kind: str) -> None:
    async with running_in(tmp_path, kind) as running:
        for _ in range(3):
            await value(running, "tasks.py:later", None, x=1)
        first = await value(running, "tasks.py:later", x=1)
        assert await value(running, "tasks.py:number", x=1) != first
        assert await value(running, "tasks.py:later", x=1) == first


@KINDS
async def test_failures_are_not_kept(tmp_path: Path, kind: str) -> None:
    async with running_in(tmp_path, kind) as running:
        assert (await value(running, "tasks.py:fails", x=1)).type == "ValueError"
        assert await value(running, "tasks.py:fails", x=1) == 1


@KINDS
async def test_large_values_are_put_again_when_they_are_found(tmp_path: Path, kind: str) -> None:
    async with running_in(tmp_path, kind) as running:
        first = await value(running, "tasks.py:large", x=1)
        assert await value(running, "tasks.py:large", x=1) == first == "0" * 100_000
        for name, data in list(running.server.blobs.items()):
            if b"0" * 100 in data:
                del running.server.blobs[name]
        assert await value(running, "tasks.py:large", x=1) == "1" * 100_000  # what it referred to was gone


async def test_a_key_tells_calls_apart(tmp_path: Path) -> None:
    keyed = plans.StepSettings(cache=plans.CacheDef(ttl_ms=1_000, key=["in", 0]))
    async with running_in(tmp_path, "process") as running:
        assert await value(running, "tasks.py:number", keyed, x=1) == 0
        assert await value(running, "tasks.py:number", keyed, x=1) == 0
        assert await value(running, "tasks.py:number", keyed, x=2) == 1
        assert await value(running, "tasks.py:number", HOUR, x=1) == 2


async def test_items_of_a_range_find_theirs(tmp_path: Path) -> None:
    source = ["list", ["lit", 7], ["lit", 8], ["lit", 7]]
    async with running_in(tmp_path, "process") as running:
        plan = each_of("tasks.py:number", INT, INT, source, HOUR)
        for _ in range(2):
            outcomes = await running.run(plan, [WorkItem("run", 0, "", 0, 0, 1, 1, (b"\xc0",), 0, 3)])
            assert b"".join(outcome.value for outcome in outcomes) == b"\x00\x01\x00"


async def test_another_type_is_another_value(tmp_path: Path) -> None:
    async with running_in(tmp_path, "process") as running:
        plan, item = call("tasks.py:number", INT, settings=HOUR, x=1)
        await running.run(plan, [item])
        plan, item = call("tasks.py:number", STRING, settings=HOUR, x=1)
        (outcome,) = await running.run(plan, [item])
        assert outcome.error is not None
        assert outcome.error.type == "TypeMismatch"
