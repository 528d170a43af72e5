"""Service levels with a whole node in this process, in virtual time: what is paused, what dies, what is reported."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from flowc.plan import HandlerDef, ParamNode, Plan, PlanBlock, SlaDef, StepSettings
from flowrun.memory import run_virtual

from tests.support import sample_tasks
from tests.support.node import Node, memory_server
from tests.support.plans import call, flow_plan, task

TASKS = "tests.support.sample_tasks"


def slow(seconds: float, handler_seconds: float = 0.0, **more: Any) -> Plan:
    """A nap, and what naps when it is late."""
    plan = flow_plan(
        (call("only", 0, (1,)),), (task("nap", f"{TASKS}:nap", "a"),), params=("x",), settings=(StepSettings(),)
    )
    tell = PlanBlock(nodes=(ParamNode(), ParamNode(), call("tell", 0, (1,))), params=2, result=2)
    handler = HandlerDef(event="sla_miss", block=len(plan.blocks), captures=(1,))
    return msgspec.structs.replace(plan, blocks=(*plan.blocks, tell), handlers=(handler,), **more)


def test_a_paused_run_tells_that_it_is_late() -> None:
    async def main() -> None:
        sample_tasks.forget_calls()
        async with Node(memory_server()) as node:
            plan = slow(1, sla=SlaDef(finish_ms=5_000))
            await node.client.pause_flow(plan.flow)
            run = (await node.client.submit(plan, {"x": 1})).id
            await asyncio.sleep(4.9)
            assert sample_tasks.calls == []
            await asyncio.sleep(2)
            assert sample_tasks.calls == ["nap 1"]  # the handler's
            listed = await node.client.list()
            [summary] = listed.runs
            assert (summary.paused, summary.begun_ms, bool(summary.slas[0].missed_ms)) == (True, 0, True)
            await node.client.resume_flow(plan.flow)
            record = await node.client.wait(run)
            assert [(step.step, step.state) for step in record.steps] == [("only", "success"), ("tell", "success")]
            assert sample_tasks.calls == ["nap 1", "nap 1"]

    run_virtual(main())


def test_what_runs_of_a_handler_when_its_run_is_paused_goes_on() -> None:
    async def main() -> None:
        sample_tasks.forget_calls()
        async with Node(memory_server(), slots=1) as node:
            run = (await node.client.submit(slow(1, sla=SlaDef(finish_ms=2_000)), {"x": 20})).id
            await asyncio.sleep(1)
            others = [(await node.client.submit(slow(1), {"x": 7})).id for _ in range(20)]
            await asyncio.sleep(2)  # the one slot is busy, and much stands before it: the handler waits here
            await node.client.pause(run)
            async with asyncio.timeout(300):
                assert (await node.client.wait(run)).state == "success"  # nothing of it was left to be started
            assert sample_tasks.calls.count("nap 20") == 2
            for other in others:
                await node.client.cancel(other)

    run_virtual(main())


def test_a_level_fires_once_although_its_coordinator_dies() -> None:
    async def main() -> None:
        sample_tasks.forget_calls()
        async with Node(memory_server()) as node:
            run = (await node.client.submit(slow(1, sla=SlaDef(finish_ms=5_000, warn=0.5)), {"x": 30})).id
            await asyncio.sleep(3)
            await node.stop_coordinator()
            await asyncio.sleep(10)
            await node.start_coordinator()
            await asyncio.sleep(5)
            await node.stop_coordinator()
            await node.start_coordinator()
            record = await node.client.wait(run)
            [mark] = record.slas
            late = mark.missed_ms - record.started_ms
            assert 13_000 <= late < 25_000  # as soon as somebody was there
            assert mark.warned_ms - record.started_ms < 3_000
            assert sample_tasks.calls.count("nap 30") == 3  # the step, the warning, the miss
            report = await node.client.service_levels()
            assert [(one.flow, one.met, one.missed, one.warned) for one in report.counts] == [(record.flow, 0, 1, 1)]
            [miss] = report.misses
            assert (miss.run, miss.done_ms) == (run, mark.done_ms)
            nothing = await node.client.service_levels("other")
            assert (nothing.counts, nothing.misses) == ((), ())

    run_virtual(main())


def test_watchers_are_told_of_levels_and_of_the_expected_end() -> None:
    async def main() -> None:
        async with Node(memory_server()) as node:
            plan = slow(1, sla=SlaDef(finish_ms=50_000))
            for _ in range(5):
                await (await node.client.submit(plan, {"x": 2})).result()
            run = (await node.client.submit(plan, {"x": 9})).id
            await asyncio.sleep(1)
            async for note in node.client.events(run):
                assert [mark.what for mark in note.slas] == ["finish"]  # type: ignore[union-attr]
                assert note.slas[0].due_ms - note.expected_ms in range(47_000, 49_000)  # type: ignore[union-attr]
                break
            await node.client.cancel(run)
            await node.client.wait(run)
            counts = (await node.client.service_levels()).counts
            assert [(one.met, one.missed, one.other) for one in counts] == [(5, 0, 1)]

    run_virtual(main())
