"""Executors that run several units at the same time: coroutines and threads."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest
from flowc import plan as plans
from flowc.types import INT, STRING
from flowrun import values
from flowrun.messages import Cancel, Outcome, WorkItem, pack

from tests.unit.worker.harness import call, each_of, worker

TASKS = """
    import asyncio, ctypes, os, signal, threading, time
    from flowrun.operator import Context, Fail, Skip

    async def later(x):
        await asyncio.sleep(0.3)
        return x

    def sleepy(x):
        time.sleep(0.3)
        return x

    async def talk(x):
        print("first", x)
        await asyncio.sleep(0.05)
        print("second", x)
        return x

    def talk_in_thread(x):
        print("first", x)
        time.sleep(0.05)
        print("second", x)
        return x

    async def some_hang(x):
        await asyncio.sleep(60 if x == 3 else 0.3)
        return x

    async def some_are_deaf(x):
        until = time.monotonic() + (60 if x == 3 else 0.1)
        while time.monotonic() < until:
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                pass
        await asyncio.sleep(3 if x == 4 else 0)
        return x

    async def some_kill(x):
        await asyncio.sleep(0.05)
        if x == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(0.05)
        return x

    def thread_kills(x):
        time.sleep(0.05)
        if x == 5:
            os._exit(3)
        time.sleep(0.05)
        return x

    async def facts(x, context: Context):
        await asyncio.sleep(0)
        return [context.attempt_id, x]

    async def large(x):
        return "x" * 100_000

    def pid(x):
        return os.getpid()

    async def wrong(x):
        raise Fail(str(x))
"""
both = pytest.mark.parametrize("kind", ["async", "thread"])


def item(first: int, last: int) -> WorkItem:
    return WorkItem("run", 0, "", 0, 0, 1, 1, (b"\xc0",), first, last)


RANGE = ["call", "range", ["lit", 0], ["lit", 100]]


def by_index(outcomes: list[Outcome]) -> dict[int, str]:
    found: dict[int, str] = {}
    for outcome in outcomes:
        for at in range(outcome.first, outcome.last):
            assert at not in found
            found[at] = outcome.error.type if outcome.error else outcome.state
    return found


@pytest.mark.parametrize(
    ("kind", "target"),
    [("async", "tasks:later"), ("async", "tasks:sleepy"), ("thread", "tasks:sleepy"), ("thread", "tasks:later")],
)
async def test_units_run_at_the_same_time(tmp_path: Path, kind: str, target: str) -> None:
    async with worker(tmp_path, TASKS, kind=kind, width=20) as running:
        await running.run(each_of(target, INT, INT, RANGE), [item(0, 1)])
        began = time.monotonic()
        outcomes = await running.run(each_of(target, INT, INT, RANGE), [item(0, 30)])
        seconds = time.monotonic() - began
    found = [(o.first + i, data) for o in outcomes for i, data in enumerate(values.split(o.last - o.first, o.value))]
    assert sorted((at, msgspec.msgpack.decode(data)) for at, data in found) == [(i, i) for i in range(30)]
    assert 0.6 <= seconds < 1.5  # two rounds, for 20 fit


@pytest.mark.parametrize(("kind", "target"), [("async", "tasks:talk"), ("thread", "tasks:talk_in_thread")])
async def test_output_is_attributed_to_the_unit(tmp_path: Path, kind: str, target: str) -> None:
    async with worker(tmp_path, TASKS, kind=kind, width=8) as running:
        await running.run(each_of(target, INT, INT, RANGE), [item(0, 8)])
        await asyncio.sleep(0.1)
        lines = {(note.index, line) for note in running.logs for line in note.text.splitlines()}
    assert lines == {(i, f"{word} {i}") for i in range(8) for word in ("first", "second")}


async def test_a_time_limit_cancels_a_coroutine_alone(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS, kind="async", width=10) as running:
        (before,) = await running.run(each_of("tasks:pid", INT, INT, RANGE), [item(0, 1)])
        plan = each_of("tasks:some_hang", INT, INT, RANGE, plans.StepSettings(timeout_ms=500))
        outcomes = await running.run(plan, [item(0, 6)])
        (after,) = await running.run(each_of("tasks:pid", INT, INT, RANGE), [item(0, 1)])
    assert by_index(outcomes) == {0: "success", 1: "success", 2: "success", 3: "Timeout", 4: "success", 5: "success"}
    assert before.value == after.value


async def test_a_coroutine_that_does_not_end_is_killed_and_its_neighbours_are_handed_back(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS, kind="async", width=10) as running:
        plan = each_of("tasks:some_are_deaf", INT, INT, RANGE, plans.StepSettings(timeout_ms=400))
        patient = each_of("tasks:some_are_deaf", INT, INT, RANGE)
        await running.submit(plan, [item(3, 4)])
        await running.submit(patient, [item(4, 6)])
        outcomes = await running.outcomes(3)
    assert by_index(outcomes) == {3: "Timeout", 4: "returned", 5: "success"}


@pytest.mark.parametrize(("kind", "target"), [("async", "tasks:some_kill"), ("thread", "tasks:thread_kills")])
async def test_the_one_that_kills_the_process_is_found(tmp_path: Path, kind: str, target: str) -> None:
    async with worker(tmp_path, TASKS, kind=kind, width=12) as running:
        outcomes = await running.run(each_of(target, INT, INT, RANGE), [item(0, 12)])
    assert by_index(outcomes) == {i: "WorkerDied" if i == 5 else "success" for i in range(12)}


@both
async def test_what_is_cancelled_is_given_up(tmp_path: Path, kind: str) -> None:
    async with worker(tmp_path, TASKS, kind=kind, width=4) as running:
        await running.submit(each_of("tasks:some_hang", INT, INT, RANGE), [item(0, 4)])
        await running.outcomes(3)
        began = time.monotonic()
        await running.transport.notify("cancel", "run", pack(Cancel("run")))
        (outcome,) = await running.outcomes(1)
        assert time.monotonic() - began < 1.0
    assert (outcome.first, outcome.state) == (3, "failed")


@both
async def test_values_and_failures(tmp_path: Path, kind: str) -> None:
    async with worker(tmp_path, TASKS, kind=kind, width=4) as running:
        assert running.value(await running.call("tasks:facts", x=1)) == ["run/0/2/1", 1]
        assert running.value(await running.call("tasks:large", STRING, x=1)) == "x" * 100_000
        data, stored = values.externalise(values.encode("y" * 100_000))
        assert stored is not None
        await running.transport.put_blob(*stored)
        plan, one = call("tasks:facts", x=1)
        (outcome,) = await running.run(plan, [msgspec.structs.replace(one, inputs=(data,))])
        assert running.value(outcome)[1] == "y" * 100_000
        outcome = await running.call("tasks:wrong", x="no")
        assert outcome.error is not None
        assert (outcome.error.type, outcome.error.message) == ("Fail", "no")


async def test_what_is_to_run_at_most_once_does_not_begin_anew_after_a_neighbour_ended_its_process(
    tmp_path: Path,
) -> None:
    once = plans.StepSettings(at_most_once=True)
    async with worker(tmp_path, TASKS, kind="async", width=10) as running:
        outcomes = await running.run(each_of("tasks:some_kill", INT, INT, RANGE, once), [item(3, 7)])
    assert by_index(outcomes) == dict.fromkeys(range(3, 7), "WorkerDied")
