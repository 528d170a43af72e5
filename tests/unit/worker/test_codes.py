"""Work of deployed codes: each runs in processes that see that code only, and codes take turns on few slots."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from flowc import plan as plans
from flowrun.messages import Results
from flowrun.worker import code_slot
from flowrun.worker.code_slot import CodeSlot
from flowrun.worker.frames import ExecutorKind

from tests.unit.worker.code_harness import code_worker, project

#: a module, one that it imports, and a file that it reads beside it
TASKS = """
    import os, sys, time
    import helper

    def which():
        return [helper.NAME, open("name.txt").read(), os.getpid()]

    def slow(seconds):
        time.sleep(seconds)
        return helper.NAME

    def seen():
        return {"path": sys.path, "cwd": os.getcwd()}

    def die():
        os.kill(os.getpid(), 9)

    async def soon(seconds):
        import asyncio
        await asyncio.sleep(seconds)
        return [helper.NAME, os.getpid()]
"""


def version(root: Path, name: str, *, source: str = TASKS) -> Path:
    folder = project(root / name, tasks=source, helper=f"NAME = {name!r}")
    (folder / "name.txt").write_text(name)
    return folder


@pytest.mark.parametrize("slots", [1, 2])
async def test_codes_never_mix(tmp_path: Path, slots: int) -> None:
    draw = random.Random(slots)
    async with code_worker(tmp_path, slots=slots) as running:
        digests = {name: await running.store(version(tmp_path, name)) for name in ("one", "two", "three")}
        pids: dict[str, set[int]] = {name: set() for name in digests}

        async def ask(name: str) -> None:
            plan, item = running.of_code(digests[name], draw.choice(["tasks:which", "tasks.py:which"]))
            await running.submit(plan, [item], f"{name}/{draw.random()}")

        names = [draw.choice([*digests]) for _ in range(60)]
        for name in names:
            await ask(name)
        left = len(names)
        async for event in running.events():
            assert isinstance(event, Results)
            name = event.bundle.split("/")[0]
            for outcome in event.outcomes:
                if outcome.state == "returned":  # it waited long for another code: it goes out again
                    await ask(name)
                    continue
                imported, read, pid = running.value(outcome)
                assert imported == read == name
                pids[name].add(pid)
                left -= 1
            if not left:
                break
        assert not set.intersection(*map(set, pids.values()))
        assert sum(map(len, pids.values())) <= 3 * slots  # processes stay warm


async def test_a_process_sees_its_code_and_nothing_of_the_node(tmp_path: Path) -> None:
    async with code_worker(tmp_path) as running:
        digest = await running.store(version(tmp_path, "one"))
        (tmp_path / "node" / "helper.py").write_text("NAME = 'the node'")
        seen = await running.result(digest, "tasks:seen")
        unpacked = str(tmp_path / "node" / ".flow" / "cache" / "code" / digest)
        assert seen["cwd"] == unpacked
        assert seen["path"][0] == unpacked
        assert str(tmp_path / "node") not in seen["path"]
        (tmp_path / "node" / "own.py").write_text("import helper\ndef which(): return helper.NAME")
        assert await running.result("", "own:which") == "the node"
        assert (await running.result(digest, "tasks:which"))[0] == "one"


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_loops_and_threads_of_codes_do_not_mix(tmp_path: Path, kind: ExecutorKind) -> None:
    async with code_worker(tmp_path, kind=kind, width=8) as running:
        digests = {name: await running.store(version(tmp_path, name)) for name in ("one", "two")}
        for name, digest in digests.items():  # codes are there, so that all runs at the same time
            assert (await running.result(digest, "tasks:which"))[0] == name
        began = asyncio.get_running_loop().time()
        for n in range(6):
            name = ("one", "two")[n % 2]
            plan, item = running.of_code(digests[name], "tasks:soon", seconds=0.3)
            await running.submit(plan, [item], f"{name}/{n}")
        pids: dict[str, set[int]] = {"one": set(), "two": set()}
        for _ in range(6):
            event = await anext(running.events())
            assert isinstance(event, Results)
            name, pid = running.value(event.outcomes[0])
            assert event.bundle.startswith(name)
            pids[name].add(pid)
        assert asyncio.get_running_loop().time() - began < 1.5
        assert {name: len(found) for name, found in pids.items()} == {"one": 1, "two": 1}
        assert pids["one"] != pids["two"]


async def test_work_that_waits_long_for_another_code_is_handed_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_slot, "PATIENCE", 0.1)
    async with code_worker(tmp_path) as running:
        one, two = [await running.store(version(tmp_path, name)) for name in ("one", "two")]
        for digest in (one, two):
            await running.result(digest, "tasks:slow", seconds=0.0)
        (slot,) = running.slots
        assert isinstance(slot, CodeSlot)
        plan, item = running.of_code(one, "tasks:slow", seconds=0.6)
        await running.submit(plan, [item], "first")
        while not slot.jobs:
            await asyncio.sleep(0.01)
        monkeypatch.setattr(CodeSlot, "room", lambda self: 1)  # it takes one more, as behind a short job
        running.agent.pools[0].has_room()
        plan, item = running.of_code(two, "tasks:slow", seconds=0.0)
        await running.submit(plan, [item], "second")
        found = [event async for event in _some(running.events(), 2)]
        assert [(e.bundle, e.outcomes[0].state) for e in found] == [("second", "returned"), ("first", "success")]


async def _some(events, count):
    for _ in range(count):
        yield await anext(events)


async def test_idle_processes_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_slot, "IDLE", 0.8)
    async with code_worker(tmp_path) as running:
        digests = [await running.store(version(tmp_path, name)) for name in ("one", "two")]
        for digest in digests:
            await running.result(digest, "tasks:which")
        (slot,) = running.slots
        assert slot.knows(digests[0])
        await asyncio.sleep(1.7)
        assert [slot.knows(digest) for digest in digests] == [False, True]
        assert (await running.result(digests[0], "tasks:which"))[0] == "one"


async def test_who_kills_its_process_fails_and_others_go_on(tmp_path: Path) -> None:
    async with code_worker(tmp_path) as running:
        one, two = [await running.store(version(tmp_path, name)) for name in ("one", "two")]
        plan, item = running.of_code(one, "tasks:die")
        (outcome,) = await running.run(plan, [item])
        assert outcome.error is not None
        assert "killed by signal 9" in outcome.error.message
        assert (await running.result(two, "tasks:which"))[0] == "two"
        assert (await running.result(one, "tasks:which"))[0] == "one"


async def test_settings_hold_for_processes_of_codes(tmp_path: Path) -> None:
    async with code_worker(tmp_path) as running:
        digest = await running.store(version(tmp_path, "one"))
        plan, item = running.of_code(digest, "tasks:slow", plans.StepSettings(timeout_ms=200), seconds=20)
        (outcome,) = await running.run(plan, [item])
        assert outcome.error is not None
        assert outcome.error.type == "Timeout"
        once = plans.StepSettings(max_tasks_per_process=1)
        found = set()
        for _ in range(3):
            plan, item = running.of_code(digest, "tasks:which", once)
            (outcome,) = await running.run(plan, [item])
            found.add(running.value(outcome)[2])
        assert len(found) == 3
