"""Work of deployed codes: each runs in processes that see that code only, and codes take turns on few slots."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import msgspec
import pytest
from flowc import plan as plans
from flowc.types import STRING
from flowrun.messages import Bundle, Replacement, Results, pack
from flowrun.worker import code_slot, codes
from flowrun.worker.code_slot import CodeSlot
from flowrun.worker.frames import ExecutorKind

from tests.unit.worker.code_harness import code_worker, project, wheel
from tests.unit.worker.harness import template

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


async def test_a_canvas_that_replaces_a_task_has_the_code_of_the_task(tmp_path: Path) -> None:
    source = """
        from flowrun import Replace
        from flowrun.canvas import signature

        def inner(x):
            return x

        def outer():
            return Replace(signature(inner, (3,)))
    """
    async with code_worker(tmp_path) as running:
        digest = await running.store(project(tmp_path / "project", tasks=source))
        plan, item = running.of_code(digest, "tasks:outer")
        (outcome,) = await running.run(plan, [item])
        assert outcome.state == "replaced", outcome
        replacement = msgspec.msgpack.decode(outcome.value, type=Replacement)
        assert plans.decode(running.server.blobs[replacement.plan]).code == digest


async def test_plans_that_a_task_makes_have_its_code(tmp_path: Path) -> None:
    source = """
        from flowc import plan as plans
        from flowrun.client.tasks import spec_of

        def made():
            shape, _ = spec_of("tasks:made", {}).call((), {})
            return plans.decode(shape.data).code
    """
    async with code_worker(tmp_path) as running:
        digest = await running.store(project(tmp_path / "project", tasks=source))
        assert await running.result(digest, "tasks:made") == digest


# ---- codes that must be prepared, and those that cannot


def needing(root: Path, name: str, line: str) -> Path:
    """A project that needs the wheel beside it."""
    folder = project(root / name, tasks="import greeting\ndef hello(): return greeting.hello()")
    wheel(folder / "wheels", "greeting", "1.0", "def hello(): return 'hello 1'")
    (folder / "requirements.txt").write_text(f"--no-index\n--find-links wheels\n{line}\n")
    return folder


async def test_dependencies_are_there(tmp_path: Path) -> None:
    async with code_worker(tmp_path) as running:
        digest = await running.store(needing(tmp_path, "one", "greeting"))
        assert await running.result(digest, "tasks:hello") == "hello 1"
        plan, item = template("shell", ["str", ["lit", "python -c 'import greeting; print(greeting.hello())'"]], STRING)
        (outcome,) = await running.run(msgspec.structs.replace(plan, code=digest), [item])
        assert running.value(outcome) == "hello 1"
        plain = await running.store(project(tmp_path / "two", tasks="import greeting"))
        plan, item = running.of_code(plain, "tasks:hello")
        (outcome,) = await running.run(plan, [item])
        assert outcome.error is not None
        assert "No module named 'greeting'" in outcome.error.message + outcome.error.detail


async def test_other_work_goes_on_while_a_code_is_prepared(tmp_path: Path) -> None:
    async with code_worker(tmp_path, slots=2) as running:
        ready = await running.store(version(tmp_path, "ready"))
        await running.result(ready, "tasks:which")
        digest = await running.store(needing(tmp_path, "one", "greeting"))
        plan, item = running.of_code(digest, "tasks:hello")
        for n in range(3):
            await running.submit(plan, [item], f"new/{n}")
        plan, item = running.of_code(ready, "tasks:which")
        for n in range(4):
            await running.submit(plan, [item], f"ready/{n}")
        found = [event.bundle.split("/")[0] async for event in _some(running.events(), 7)]
        assert found == ["ready"] * 4 + ["new"] * 3


async def test_dependencies_that_cannot_be_had_fail_the_work_and_not_the_worker(tmp_path: Path) -> None:
    async with code_worker(tmp_path) as running:
        digest = await running.store(needing(tmp_path, "one", "greeting==2.0"))
        plan, item = running.of_code(digest, "tasks:hello")
        (outcome,) = await running.run(plan, [item])
        assert outcome.state == "failed"
        assert outcome.error is not None
        assert outcome.error.type == "CodeUnusable"
        assert outcome.error.retryable
        assert "the dependencies cannot be installed" in outcome.error.message
        assert "greeting==2.0" in outcome.error.message
        began = asyncio.get_running_loop().time()
        (outcome,) = await running.run(plan, [item])  # not installed again at once
        assert asyncio.get_running_loop().time() - began < 0.2
        assert outcome.state == "failed"
        other = await running.store(version(tmp_path, "other"))
        assert (await running.result(other, "tasks:which"))[0] == "other"


async def test_what_failed_is_tried_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "TRY_AGAIN", 0.3)
    async with code_worker(tmp_path) as running:
        folder = version(tmp_path, "one")
        digest = await running.store(folder)
        data = running.server.blobs.pop(digest)
        plan, item = running.of_code(digest, "tasks:which")
        (outcome,) = await running.run(plan, [item])
        assert outcome.error is not None
        assert outcome.error.type == "CodeUnusable"
        running.server.blobs[digest] = data
        await asyncio.sleep(0.35)
        assert (await running.result(digest, "tasks:which"))[0] == "one"


async def test_code_that_was_tampered_with_is_not_run(tmp_path: Path) -> None:
    async with code_worker(tmp_path) as running:
        digest = await running.store(version(tmp_path, "one"))
        running.server.blobs[digest] = running.server.blobs[digest].replace(b"NAME = 'one'", b"NAME = 'two'")
        plan, item = running.of_code(digest, "tasks:which")
        (outcome,) = await running.run(plan, [item])
        assert outcome.error is not None
        assert "is not what was deployed: its content has another hash" in outcome.error.message


@pytest.mark.parametrize("kind", ["process", "async"])
async def test_processes_that_do_not_start_fail_the_work_and_not_the_worker(tmp_path: Path, kind: ExecutorKind) -> None:
    """A dependency takes the place of a module that the executor itself needs."""
    async with code_worker(tmp_path) as running:
        folder = needing(tmp_path, "one", "greeting")
        shadow = wheel(folder / "wheels", "flowrun", "1.0", "raise RuntimeError('not the one that you want')")
        (folder / "requirements.txt").write_text(f"--no-index\n./wheels/{shadow.name}\n")
        digest = await running.store(folder)
        plan, item = running.of_code(digest, "tasks:hello")
        for _ in range(2):
            (outcome,) = await running.run(plan, [item])
            assert outcome.error is not None
            assert "executor processes end before they are ready" in outcome.error.message
            assert "not the one that you want" in outcome.error.message
        other = await running.store(version(tmp_path, "other"))
        assert (await running.result(other, "tasks:which"))[0] == "other"


async def test_a_worker_that_ends_hands_back_what_waits_for_its_code(tmp_path: Path) -> None:
    async with code_worker(tmp_path) as running:
        digest = await running.store(needing(tmp_path, "one", "greeting"))
        plan, item = running.of_code(digest, "tasks:hello")
        await running.submit(plan, [item])
        while not running.agent.pools[0].waiting:
            await asyncio.sleep(0.01)
        running.agent.finish()
        (outcome,) = await running.outcomes(1)
        assert outcome.state == "returned"


async def test_a_bundle_of_two_codes_is_run_in_part(tmp_path: Path) -> None:
    async with code_worker(tmp_path) as running:
        digests = [await running.store(version(tmp_path, name)) for name in ("one", "two")]
        names, items = [], []
        for place, digest in enumerate(digests):
            plan, item = running.of_code(digest, "tasks:which")
            data = plans.encode(plan)
            names.append(plans.digest(data))
            await running.transport.put_blob(names[-1], data)
            items += [msgspec.structs.replace(item, run=f"r{place}{n}", plan=place) for n in range(2)]
        bundle = Bundle("both", "p", running.lane, tuple(names), tuple(items))
        await running.transport.dispatch("g", bundle.lane, 5, "p", pack(bundle), bundle.id, running.fence)
        outcomes = {outcome.run: outcome for outcome in await running.outcomes(4)}
        assert {run: outcome.state for run, outcome in outcomes.items()} == {
            "r00": "success", "r01": "success", "r10": "returned", "r11": "returned",
        }  # fmt: skip
        assert running.value(outcomes["r00"])[0] == "one"
