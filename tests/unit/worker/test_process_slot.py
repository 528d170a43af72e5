"""What user code does to its process: each has one clear failure, and its neighbours go on."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import struct
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flowc import plan as plans
from flowc.types import INT, STRING
from flowrun import values
from flowrun.messages import Cancel, Outcome, Results, Revoked, WorkItem, pack
from flowrun.worker.frames import Setup
from flowrun.worker.process import ExecutorProcess
from flowrun.worker.process_slot import ProcessSlot
from flowrun.worker.spawn import spawn

from tests.unit.worker.harness import Worker, call, each_of, worker

TASKS = """
    import ctypes, os, signal, sys, time

    def die(x):
        if x == 3:
            print("last words")
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    def leave(x):
        if x == 3:
            print("last words")
            os._exit(3)
        return x

    def crash(x):
        if x == 3:
            print("last words")
            ctypes.string_at(0)
        return x

    def hang(x):
        if x == 3:
            time.sleep(60)
        return x

    def hang_deaf(x):
        if x == 3:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                pass
        return x

    def slow(x):
        time.sleep(0.4)
        return x

    def leave_child(path):
        import subprocess
        child = subprocess.Popen(["sleep", "60"])
        with open(path, "w") as file:
            file.write(str(child.pid))
        time.sleep(60)

    def pid():
        return os.getpid()
"""


def items(last: int, first: int = 0) -> WorkItem:
    return WorkItem("run", 0, "", 0, 0, 1, 1, (b"\xc0",), first, last)


COUNT = ["call", "range", ["lit", 0], ["lit", 6]]


async def six(running: Worker, target: str, **settings: Any) -> tuple[list[int], Outcome]:
    """The positions that succeeded of six, and how the fourth ended."""
    plan = each_of(target, INT, INT, COUNT, plans.StepSettings(**settings))
    outcomes = await running.run(plan, [items(6)])
    good: list[int] = []
    for outcome in outcomes:
        if outcome.state == "success":
            good += values.split(outcome.last - outcome.first, outcome.value)
            assert len(outcome.seconds) == 4 * (outcome.last - outcome.first)
    (bad,) = [outcome for outcome in outcomes if outcome.state != "success"]
    assert (bad.first, bad.last, bad.state) == (3, 4, "failed")
    return [msgspec.msgpack.decode(data) for data in good], bad


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("tasks:die", "killed by signal 9 (SIGKILL); was the machine out of memory?"),
        ("tasks:leave", "exited with code 3"),
        ("tasks:crash", "killed by signal 11 (SIGSEGV)"),
    ],
)
async def test_a_task_that_ends_its_process_fails_alone(tmp_path: Path, target: str, said: str) -> None:
    async with worker(tmp_path, TASKS) as running:
        good, bad = await six(running, target)
    assert good == [0, 1, 2, 4, 5]
    assert bad.error is not None
    assert bad.error.type == "WorkerDied"
    assert said in bad.error.message
    assert "last words" in "".join(note.text for note in running.logs)


@pytest.mark.parametrize("target", ["tasks:hang", "tasks:hang_deaf"])
async def test_a_time_limit_holds_whatever_the_task_does(tmp_path: Path, target: str) -> None:
    async with worker(tmp_path, TASKS) as running:
        good, bad = await six(running, target, timeout_ms=300)
    assert good == [0, 1, 2, 4, 5]
    assert bad.error is not None
    assert (bad.error.type, bad.error.message) == ("Timeout", "exceeded its timeout of 300ms")
    (seconds,) = struct.unpack("<f", bad.seconds)
    assert 0.3 <= seconds < 1.0


async def test_a_time_limit_ends_what_the_task_started(tmp_path: Path) -> None:
    note = tmp_path / "child"
    async with worker(tmp_path, TASKS) as running:
        plan, item = call("tasks:leave_child", None, settings=plans.StepSettings(timeout_ms=400), path=str(note))
        (outcome,) = await running.run(plan, [item])
    assert outcome.error is not None
    assert outcome.error.type == "Timeout"
    child = Path("/proc", note.read_text(), "stat")
    assert not child.exists() or child.read_text().split()[2] == "Z"


async def test_a_slow_bundle_gives_back_what_it_has_not_begun(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        plan = each_of("tasks:slow", INT, INT, COUNT)
        outcomes = await running.run(plan, [items(6)])
    executed = [outcome for outcome in outcomes if outcome.state == "success"]
    (returned,) = [outcome for outcome in outcomes if outcome.state == "returned"]
    assert [outcome.first for outcome in executed] == list(range(len(executed)))
    assert (returned.first, returned.last) == (len(executed), 6)
    assert 2 <= len(executed) <= 4


async def test_results_are_known_before_the_next_long_unit_ends(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        plan = each_of("tasks:hang", INT, INT, COUNT)  # the fourth takes a minute
        await running.submit(plan, [items(6)])
        outcomes = await running.outcomes(3)
    assert {outcome.state for outcome in outcomes} == {"success"}
    assert (outcomes[0].first, outcomes[-1].last) == (0, 3)


async def test_cancel_ends_what_runs_and_drops_the_rest(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        plan = each_of("tasks:hang", INT, INT, COUNT)
        await running.submit(plan, [items(6)])
        await running.outcomes(3)
        began = time.monotonic()
        await running.transport.notify("cancel", "run", pack(Cancel("run")))
        outcomes = await running.outcomes(3)
        assert time.monotonic() - began < 1.0
    states = {(outcome.state, outcome.first, outcome.last) for outcome in outcomes}
    assert states == {("returned", 4, 6), ("failed", 3, 4)}


async def test_a_revoked_range_ends_and_the_rest_goes_on(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        plan = each_of("tasks:hang", INT, INT, COUNT)
        await running.submit(plan, [items(6)])
        await running.outcomes(3)
        began = time.monotonic()
        for note in (Revoked("run", 0, 1, 2), Revoked("run", 0, 2), Revoked("run", 0, 1, 0, 3, 5)):
            await running.transport.notify("revoke", "run", pack(note))
        outcomes = await running.outcomes(3)
        assert time.monotonic() - began < 1.0
    states = {(outcome.state, outcome.first, outcome.last) for outcome in outcomes}
    assert states == {("returned", 4, 5), ("failed", 3, 4), ("success", 5, 6)}


async def test_what_was_revoked_before_it_came_is_not_run(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        await running.call("tasks:pid")
        await running.transport.notify("revoke", "run", b"damaged")
        await running.transport.notify("revoke", "run", pack(Revoked("run", 0, 1, 1)))
        plan, item = call("tasks:pid")
        again = msgspec.structs.replace(item, attempt=2)
        outcomes = await running.run(plan, [item, again])
    assert {(outcome.attempt, outcome.state) for outcome in outcomes} == {(1, "returned"), (2, "success")}


async def test_a_worker_that_is_stopped_hands_back_what_runs(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        plan = each_of("tasks:hang", INT, INT, COUNT)
        await running.submit(plan, [items(6)])
        await running.outcomes(3)
        running.agent.stop()
        outcomes = await running.outcomes(3)
        await asyncio.sleep(0.05)
        assert running.server.work == {}
    assert {outcome.state for outcome in outcomes} == {"returned"}


async def test_a_killed_executor_is_replaced(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        first = running.value(await running.call("tasks:pid"))
        assert running.value(await running.call("tasks:pid")) == first
        os.kill(first, signal.SIGKILL)
        await asyncio.sleep(0.05)
        assert running.value(await running.call("tasks:pid")) != first


@pytest.mark.parametrize("steps", range(8))
async def test_a_slot_that_is_closed_while_it_starts_leaves_nothing_open(tmp_path: Path, steps: int) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    slot = ProcessSlot(Setup(str(tmp_path)))
    starting = asyncio.create_task(slot.warm_up())
    for _ in range(steps + 1):
        await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait([starting])
    await slot.close()
    await asyncio.sleep(0)
    assert set(Path("/proc/self/fd").iterdir()) == before


async def test_a_large_range_passes_the_pipe_in_parts(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        plan = each_of("tasks:leave", INT, INT, ["call", "range", ["lit", 4], ["lit", 10_004]])
        outcomes = await running.run(plan, [items(10_000)])
        found = [data for o in outcomes for data in values.split(o.last - o.first, o.value)]
    assert [msgspec.msgpack.decode(data) for data in found] == list(range(4, 10_004))


async def test_items_of_a_stored_list(tmp_path: Path) -> None:
    async with worker(tmp_path, "def same(x): return x") as running:
        texts = [f"text {i} " * 20 for i in range(2_000)]
        data, stored = values.externalise(values.encode(texts))
        assert stored is not None
        await running.transport.put_blob(*stored)
        plan = each_of("tasks:same", STRING, STRING, ["in", 0])
        item = msgspec.structs.replace(items(1500, 1000), inputs=(data,))
        outcomes = await running.run(plan, [item])
        found = [data for o in outcomes for data in values.split(o.last - o.first, o.value)]
    assert [msgspec.msgpack.decode(data) for data in found] == texts[1000:1500]


async def test_large_results_are_cut_into_reports(tmp_path: Path) -> None:
    async with worker(tmp_path, "def text(x): return str(x % 10) * 30_000") as running:
        plan = each_of("tasks:text", INT, STRING, ["call", "range", ["lit", 100]])
        await running.submit(plan, [items(100)])
        sizes, found = [], 0
        async for event in running.events():
            assert isinstance(event, Results)
            sizes.append(sum(len(outcome.value) for outcome in event.outcomes))
            found += sum(outcome.last - outcome.first for outcome in event.outcomes)
            if found == 100:
                break
    assert max(sizes) < 512 * 1024
    assert sum(sizes) > 100 * 30_000


async def test_a_task_that_forks_and_has_threads(tmp_path: Path) -> None:
    source = """
        import os, threading
        def fork():
            pid = os.fork()
            if pid == 0:
                print("from the child")
                return "child"
            os.waitpid(pid, 0)
            return "parent"
        def threads():
            def talk(n):
                for i in range(50):
                    print(f"thread {n}: {'x' * 100}")
            made = [threading.Thread(target=talk, args=(n,)) for n in range(8)]
            for one in made: one.start()
            for one in made: one.join()
            return len(made)
    """
    async with worker(tmp_path, source) as running:
        assert running.value(await running.call("tasks:fork")) == "parent"
        assert running.value(await running.call("tasks:threads")) == 8
        await asyncio.sleep(0.1)
        lines = "".join(note.text for note in running.logs).splitlines()
    lines.remove("from the child")
    assert sorted(lines) == sorted(f"thread {n}: {'x' * 100}" for n in range(8) for _ in range(50))


MIXED = """
    import os, time
    def mixed(x):
        kind = x % 47
        if kind == 13: os.kill(os.getpid(), 9)
        if kind == 14: os._exit(2)
        if kind == 15: time.sleep(5)
        if kind == 16: raise ValueError("x")
        if kind == 17: time.sleep(0.01)
        if kind == 18: print("hello")
        return x
"""
ENDS = {13: "WorkerDied", 14: "WorkerDied", 15: "Timeout", 16: "ValueError"}


async def test_every_unit_ends_once_whatever_its_neighbours_do(tmp_path: Path) -> None:
    dice = random.Random(4)
    source = ["call", "range", ["lit", 1_000_000]]
    plan = each_of("tasks:mixed", INT, INT, source, plans.StepSettings(timeout_ms=200))
    wanted, got = {}, {}
    async with worker(tmp_path, MIXED, slots=2) as running:
        for number in range(15):
            first, count = dice.randrange(10_000), dice.choice([1, 2, 5, 30])
            item = WorkItem(f"run{number}", 0, "", 0, 0, 1, 1, (b"\xc0",), first, first + count)
            await running.submit(plan, [item])
            wanted |= {(item.run, at): ENDS.get(at % 47) for at in range(first, first + count)}
        while len(got) < len(wanted):
            for outcome in await running.outcomes(1, seconds=60):
                if outcome.state == "returned":  # it waited behind something slow
                    item = WorkItem(outcome.run, 0, "", 0, 0, 1, 1, (b"\xc0",), outcome.first, outcome.last)
                    await running.submit(plan, [item])
                    continue
                for at in range(outcome.first, outcome.last):
                    assert (outcome.run, at) not in got
                    got[outcome.run, at] = outcome.error.type if outcome.error else None
    assert got == wanted


async def test_a_process_may_be_closed_by_two_at_once(tmp_path: Path) -> None:
    """The numbers of its files may be those of others by the time of the second."""
    process = ExecutorProcess(spawn(), Setup(str(tmp_path)), *[lambda *told: None] * 3)
    await process.attach()
    await asyncio.gather(process.close(), process.close())
    assert process.code is not None
