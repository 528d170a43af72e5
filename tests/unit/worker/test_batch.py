"""Calls that are executed together, in every kind of executor."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flowc import plan as plans
from flowc.types import INT
from flowrun import values
from flowrun.messages import Bundle, Cancel, Outcome, WorkItem, pack

from tests.unit.worker.harness import Worker, call, each_of, worker

TASKS = """
    import asyncio
    import os
    import time
    from flowrun.operator import Context, Fail, Skip

    def together(x):
        return [[one, len(x)] for one in x]

    async def later(x):
        await asyncio.sleep(0.01)
        return [[one, len(x)] for one in x]

    def mixed(x):
        return [{1: ValueError("one"), 2: Skip(), 3: Fail("three")}.get(one, one) for one in x]

    def all_fail(x):
        raise KeyError("none")

    def wrong(x):
        return x[0]

    def typed(x):
        return ["text" if one == 1 else one for one in x]

    def dies(x):
        time.sleep(0.1)
        os._exit(3)

    def slow(x):
        time.sleep(30)

    async def slow_too(x):
        await asyncio.sleep(30)

    def facts(x, context: Context):
        return [context.attempt_id] * len(x)
"""
KINDS = pytest.mark.parametrize("kind", ["process", "thread", "async", "inline"])
_numbers = count()
RANGE = ["call", "range", ["lit", 0], ["lit", 100]]


def batch(**more: Any) -> plans.StepSettings:
    return plans.StepSettings(batch=plans.BatchDef(max=10, within_ms=100), **more)


def running_in(root: Path, kind: Any) -> Any:
    return worker(root, TASKS, inline=True) if kind == "inline" else worker(root, TASKS, kind=kind, width=4)


async def ended(running: Worker, target: str, calls: int, **more: Any) -> list[Outcome]:
    """The outcomes of so many calls with 0, 1, …, each of a run of its own, in one bundle."""
    plan, _ = call(f"tasks.py:{target}", settings=batch(**more), x=0)
    data = plans.encode(plan)
    digest = plans.digest(data)
    await running.transport.put_blob(digest, data)
    items = tuple(WorkItem(f"run{x}", 0, "", 0, 0, 2, 1, (values.encode(x),)) for x in range(calls))
    bundle = Bundle(f"bundle{next(_numbers)}", "p", running.lane, (digest,), items, batch=True)
    await running.transport.dispatch("g", bundle.lane, 5, "p", pack(bundle), bundle.id, running.fence)
    return sorted(await running.outcomes(calls), key=lambda outcome: outcome.run)


@KINDS
async def test_the_function_is_called_once(tmp_path: Path, kind: str) -> None:
    async with running_in(tmp_path, kind) as running:
        for target in ("together", "later"):
            found = [running.value(outcome) for outcome in await ended(running, target, 5)]
            assert found == [[x, 5] for x in range(5)]


@KINDS
async def test_each_call_has_its_own_end(tmp_path: Path, kind: str) -> None:
    async with running_in(tmp_path, kind) as running:
        outcomes = await ended(running, "mixed", 5)
    assert [outcome.state for outcome in outcomes] == ["success", "failed", "skipped", "failed", "success"]
    assert [outcome.error.retryable for outcome in outcomes if outcome.error] == [True, False]


@KINDS
async def test_what_the_function_raises_ends_all(tmp_path: Path, kind: str) -> None:
    async with running_in(tmp_path, kind) as running:
        outcomes = await ended(running, "all_fail", 3)
        assert [outcome.error.type for outcome in outcomes if outcome.error] == ["KeyError"] * 3
        outcomes = await ended(running, "wrong", 3)
        assert [outcome.error.type for outcome in outcomes if outcome.error] == ["TypeMismatch"] * 3


async def test_items_of_a_range_and_values_of_the_wrong_type(tmp_path: Path) -> None:
    async with running_in(tmp_path, "process") as running:
        plan = each_of("tasks.py:typed", INT, INT, RANGE, batch())
        digest = plans.digest(plans.encode(plan))
        await running.transport.put_blob(digest, plans.encode(plan))
        item = WorkItem("run", 0, "", 0, 0, 1, 1, (b"\xc0",), 0, 4)
        bundle = Bundle("bundle", "p", running.lane, (digest,), (item,), batch=True)
        await running.transport.dispatch("g", bundle.lane, 5, "p", pack(bundle), bundle.id, running.fence)
        outcomes = await running.outcomes(4)
    found = {outcome.first + i: outcome.state for outcome in outcomes for i in range(outcome.last - outcome.first)}
    assert found == {0: "success", 1: "failed", 2: "success", 3: "success"}


@pytest.mark.parametrize("kind", ["process", "async"])
async def test_a_process_that_ends_fails_all(tmp_path: Path, kind: str) -> None:
    async with running_in(tmp_path, kind) as running:
        outcomes = await ended(running, "dies", 3)
    assert [outcome.error.type for outcome in outcomes if outcome.error] == ["WorkerDied"] * 3


@pytest.mark.parametrize(("kind", "target"), [("process", "slow"), ("async", "slow_too"), ("inline", "slow_too")])
async def test_a_time_limit_ends_all(tmp_path: Path, kind: str, target: str) -> None:
    async with running_in(tmp_path, kind) as running:
        outcomes = await ended(running, target, 3, timeout_ms=200)
    assert [outcome.error.type for outcome in outcomes if outcome.error] == ["Timeout"] * 3


async def test_one_that_is_cancelled_does_not_end_the_others(tmp_path: Path) -> None:
    async with running_in(tmp_path, "process") as running:
        task = asyncio.create_task(ended(running, "together", 4))
        await running.transport.notify("cancel", "run0", pack(Cancel("run0")))
        outcomes = await task
    assert [outcome.state for outcome in outcomes if outcome.run != "run0"] == ["success"] * 3


async def test_values_are_kept_one_by_one(tmp_path: Path) -> None:
    cache = plans.CacheDef(ttl_ms=60_000)
    async with running_in(tmp_path, "process") as running:
        first = [running.value(outcome) for outcome in await ended(running, "together", 2, cache=cache)]
        second = [running.value(outcome) for outcome in await ended(running, "together", 4, cache=cache)]
    assert first == [[0, 2], [1, 2]]
    assert second == [[0, 2], [1, 2], [2, 2], [3, 2]]


async def test_the_facts_are_those_of_the_first(tmp_path: Path) -> None:
    async with running_in(tmp_path, "process") as running:
        outcomes = await ended(running, "facts", 2)
    assert [msgspec.msgpack.decode(outcome.value) for outcome in outcomes] == ["run0/0/2/1"] * 2
