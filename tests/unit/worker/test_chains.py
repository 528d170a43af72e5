"""Followers of an item: run straight on with its value, each with an outcome, up to the first that does not succeed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flowc import plan as plans
from flowc.types import ANY
from flowrun import values
from flowrun.messages import Outcome, Revoked, Then, WorkItem, pack

from tests.unit.worker.harness import Worker, one_flow, worker

TASKS = """
    import asyncio, os, signal, time
    from flowrun.operator import Context, Fail, Skip, SoftTimeout

    def step(x, y):
        return [*x, y]
    def fail(x, y): raise Fail("no")
    def skip(x, y): raise Skip
    def slow(x, y):
        time.sleep(0.4)
        return [*x, y]
    def hang(x, y):
        time.sleep(60)
    def kill(x, y):
        os.kill(os.getpid(), signal.SIGKILL)
    def large(x, y):
        return ["x" * 100_000, *x]
    def facts(x, y, context: Context):
        return [context.attempt_id, context.step, context.attempt, context.index, os.getpid()]
    async def later(x, y):
        await asyncio.sleep(0.05)
        return [*x, y]
"""
kinds = pytest.mark.parametrize("kind", ["process", "async", "thread", "inline"])


def chain(targets: list[str], **settings: Any) -> tuple[plans.Plan, WorkItem]:
    """Node 1 + i calls the target i with (what the one before gave, i)."""
    tasks = tuple(
        plans.TaskDef(
            name=f"t{i}",
            params=(plans.TaskParamDef(name="x", type=0), plans.TaskParamDef(name="y", type=0)),
            returns=0,
            operator="python",
            target=f"tasks.py:{target}",
        )
        for i, target in enumerate(targets)
    )
    nodes = tuple(
        plans.TaskNode(
            name=f"s{i}",
            inputs=(plans.Input(i), plans.Input(0)),
            task=i,
            args=(("x", ["in", 0]), ("y", ["lit", i])),
            settings=0,
        )
        for i in range(len(targets))
    )
    block = plans.PlanBlock(nodes=(plans.ParamNode(name="run"), *nodes), params=1)
    plan = one_flow(tasks, (ANY,), (block,), plans.StepSettings(**settings))
    then = tuple(Then(2 + i, (i, values.encode(None))) for i in range(len(targets) - 1))
    return plan, WorkItem("run", 0, "", 0, 0, 1, 1, (values.encode([]), values.encode(None)), then=then)


def states(outcomes: list[Outcome]) -> list[tuple[int, str]]:
    return [(outcome.node, outcome.error.type if outcome.error else outcome.state) for outcome in outcomes]


def started(tmp_path: Path, kind: str) -> Any:
    if kind == "inline":
        return worker(tmp_path, TASKS, inline=True)
    return worker(tmp_path, TASKS, kind=kind, width=1 if kind == "process" else 8)


async def outcomes_of(running: Worker, plan: plans.Plan, item: WorkItem, count: int) -> list[Outcome]:
    await running.submit(plan, [item])
    return await running.outcomes(count)


@kinds
async def test_each_follower_gets_what_came_before(tmp_path: Path, kind: str) -> None:
    plan, item = chain(["step", "later", "step", "step"])
    async with started(tmp_path, kind) as running:
        outcomes = await outcomes_of(running, plan, item, 4)
        assert states(outcomes) == [(1, "success"), (2, "success"), (3, "success"), (4, "success")]
        assert [running.value(one) for one in outcomes] == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]
        assert {outcome.attempt for outcome in outcomes} == {1}


@kinds
@pytest.mark.parametrize(("target", "state"), [("fail", "Fail"), ("skip", "skipped")])
async def test_nothing_runs_behind_what_does_not_succeed(tmp_path: Path, kind: str, target: str, state: str) -> None:
    plan, item = chain(["step", target, "step", "step"])
    async with started(tmp_path, kind) as running:
        assert states(await outcomes_of(running, plan, item, 2)) == [(1, "success"), (2, state)]
        await asyncio.sleep(0.1)
        assert running.server.work == {}


async def test_a_follower_has_its_own_facts_and_blobs(tmp_path: Path) -> None:
    plan, item = chain(["large", "large", "facts"])
    item = msgspec.structs.replace(item, attempt=3, index=7)
    async with started(tmp_path, "process") as running:
        outcomes = await outcomes_of(running, plan, item, 3)
        assert running.value(outcomes[1]) == ["x" * 100_000] * 2
        assert running.value(outcomes[2])[:4] == ["run/0/3/1", "s2", 1, 7]
        assert [outcome.attempt for outcome in outcomes] == [3, 1, 1]


async def test_what_has_ended_is_told_while_a_follower_takes_its_time(tmp_path: Path) -> None:
    plan, item = chain(["step", "step", "hang"])
    async with started(tmp_path, "process") as running:
        assert states(await outcomes_of(running, plan, item, 2)) == [(1, "success"), (2, "success")]
        running.agent.stop()
        assert states(await running.outcomes(1)) == [(3, "returned")]


@pytest.mark.parametrize("kind", ["process", "async", "thread"])
async def test_a_crash_keeps_what_ended(tmp_path: Path, kind: str) -> None:
    plan, item = chain(["step", "kill", "step"])
    async with started(tmp_path, kind) as running:
        assert states(await outcomes_of(running, plan, item, 2)) == [(1, "success"), (2, "WorkerDied")]
        await asyncio.sleep(0.1)
        assert running.server.work == {}


async def test_a_follower_keeps_its_time_limit(tmp_path: Path) -> None:
    plan, item = chain(["step", "hang", "step"], timeout_ms=300)
    async with started(tmp_path, "process") as running:
        assert states(await outcomes_of(running, plan, item, 2)) == [(1, "success"), (2, "Timeout")]


@kinds
async def test_those_behind_are_handed_back_with_their_item(tmp_path: Path, kind: str) -> None:
    plan, item = chain(["later", "step", "step"])
    async with started(tmp_path, kind) as running:
        assert states(await outcomes_of(running, plan, item, 3))[0] == (1, "success")
        slow, hanging = chain(["later", "later", "later", "later", "later", "later"])
        await running.submit(slow, [hanging])
        await asyncio.sleep(0.08)
        running.agent.stop()
        outcomes = await running.outcomes(6)
    assert [node for node, _ in states(outcomes)] == [1, 2, 3, 4, 5, 6]
    assert states(outcomes)[-1] == (6, "returned")


@pytest.mark.parametrize("kind", ["process", "async", "thread"])
async def test_a_revoked_follower_is_not_begun(tmp_path: Path, kind: str) -> None:
    plan, item = chain(["slow", "step", "step"])
    async with started(tmp_path, kind) as running:
        await running.submit(plan, [item])
        await asyncio.sleep(0.25)
        await running.transport.notify("revoke", "run", pack(Revoked("run", 0, 3)))
        assert states(await running.outcomes(3)) == [(1, "success"), (2, "success"), (3, "returned")]


@kinds
async def test_what_did_not_begin_in_time_has_expired(tmp_path: Path, kind: str) -> None:
    plan, item = chain(["step", "step"])
    late = msgspec.structs.replace(item, expires_ms=int(time.time() * 1000) - 5)
    in_time = msgspec.structs.replace(item, expires_ms=int(time.time() * 1000) + 60_000)
    async with started(tmp_path, kind) as running:
        assert states(await outcomes_of(running, plan, late, 1)) == [(1, "expired")]
        assert states(await outcomes_of(running, plan, in_time, 2)) == [(1, "success"), (2, "success")]
