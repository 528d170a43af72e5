"""Reruns, forks, pauses and marks: a whole node, in memory and over NATS."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flowc.pipeline import compile_paths
from flowc.plan import Plan, digest, encode
from flowc.project import find_project
from flowrun.client import Refused, UnknownRun
from flowrun.memory import MemoryServer, MemoryTransport, run_virtual
from flowrun.messages import RunRecord
from flowrun.nats.transport import NatsTransport
from flowrun.server import EmbeddedServer

from tests.support.node import Connect, Node, memory_server

TASKS = '''
"""Tasks that fail for as long as their names are in `broken`."""
import asyncio

broken: set[str] = set()
calls: list[str] = []


def _call(name: str) -> None:
    calls.append(name)
    if name in broken:
        raise ValueError(f"{name} is broken")


def extract(day: str) -> list[int]:
    _call("extract")
    return [1, 2, 3]


def large(n: int) -> str:
    _call("large")
    return "x" * n


def transform(rows: list[int]) -> list[int]:
    _call("transform")
    return [2 * row for row in rows]


def item(row: int) -> int:
    _call(f"item{row}")
    return row


def load(rows: list[int]) -> int:
    _call("load")
    return sum(rows)


async def slow(seconds: float) -> int:
    _call("slow")
    await asyncio.sleep(seconds)
    return 7


def size(text: str) -> int:
    _call("size")
    return len(text)
'''
ETL = """
use "by_hand_tasks.py" { extract, transform, item, load, slow, large, size }

flow etl(day: string = "monday") returns int {
  rows = extract(day)
  doubled = transform(rows)
  items = each row in doubled { return item(row) }
  total = load(items)
  return total
}

flow waits(seconds: float) returns int {
  x = slow(seconds)
  y = slow(0.01) after x
  return x + y
}

flow many() returns list<int> {
  return each i in range(100) { return slow(0.02) }
}

flow late() returns int {
  text = large(200000)
  n = size(text) with { delay: 3h }
  return n
}

flow big() returns int {
  text = large(200000)
  return size(text)
}
"""
Scenario = Callable[[Node, dict[str, Plan], Any], Awaitable[None]]
_partitions = count()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("project")
    (folder / "by_hand_tasks.py").write_text(TASKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path_factory.mktemp("flow"))
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


def compiled(root: Path, text: str) -> dict[str, Plan]:
    path = root / "flows.flow"
    path.write_text(text)
    found = compile_paths(find_project(root), [path])
    assert not [diagnostic for diagnostic in found.diagnostics if diagnostic.severity == "error"], found.diagnostics
    return {plan.flow: plan.plan for plan in found.plans}


@pytest.fixture(params=["memory", "nats"])
def play(request: pytest.FixtureRequest, root: Path) -> Callable[[Scenario], None]:
    """Plays a scenario on a node of this transport."""
    plans, tasks = compiled(root, ETL), importlib.import_module("by_hand_tasks")
    tasks.broken.clear()
    tasks.calls.clear()

    async def on(connect: Connect, scenario: Scenario) -> None:
        async with Node(connect, partition=f"p{next(_partitions)}", root=root) as node:
            async with asyncio.timeout(30):
                await scenario(node, plans, tasks)

    async def over_nats(scenario: Scenario) -> None:
        server: EmbeddedServer = request.getfixturevalue("server")

        async def connect() -> NatsTransport:
            return await NatsTransport.connect(server.url)

        await on(connect, scenario)

    async def in_memory(scenario: Scenario) -> None:
        await on(memory_server(), scenario)

    if request.param == "memory":
        return lambda scenario: run_virtual(in_memory(scenario))
    request.getfixturevalue("server")
    return lambda scenario: asyncio.run(over_nats(scenario))


def attempts(record: RunRecord) -> dict[str, int]:
    return {row.step: row.attempts for row in record.steps if row.index is None}


def test_a_rerun_of_what_failed(play: Callable[[Scenario], None]) -> None:
    async def scenario(node: Node, plans: dict[str, Plan], tasks: Any) -> None:
        client = node.client
        tasks.broken |= {"item4"}
        first = await client.submit(plans["etl"])
        assert (await first.wait()).failed_step == "items"
        with pytest.raises(Refused, match="has no step or group `totl`: did you mean `total`"):
            await client.rerun(first, ["totl"])
        tasks.calls.clear()
        tasks.broken.clear()
        preview = await client.preview_rerun(first)
        assert (preview.kept, preview.items, preview.runs) == (("rows", "doubled"), ("items",), ("total",))
        again = await client.rerun(first, by="ada", note="mended")
        record = await again.wait()
        assert (record.state, await client.value(record)) == ("success", 12)
        assert record.trigger == f"rerun:{first.id}"
        assert [(entry.action, entry.by, entry.note) for entry in record.audit] == [("rerun", "ada", "mended")]
        assert attempts(record) == {"rows": 0, "doubled": 0, "items": 1, "total": 1}
        assert "item2" not in tasks.calls
        assert tasks.calls[-1] == "load"
        tasks.calls.clear()
        third = await client.rerun(again, ["doubled"])
        assert await third.result() == 12
        assert sorted(tasks.calls) == ["item2", "item4", "item6", "load", "transform"]
        with pytest.raises(Refused, match=r"nothing of run .* failed: name the steps"):
            await client.rerun(third)

    play(scenario)


def test_other_arguments_and_all_of_it(play: Callable[[Scenario], None]) -> None:
    async def scenario(node: Node, plans: dict[str, Plan], tasks: Any) -> None:
        client = node.client
        first = await client.submit(plans["etl"])
        await first.wait()
        tasks.calls.clear()
        same = await client.preview_rerun(first, ["total"], {"day": "monday"})
        assert same.kept == ("rows", "doubled", "items")
        again = await client.rerun(first, args={"day": "tuesday"}, key="once")
        twice = await client.rerun(first, args={"day": "tuesday"}, key="once")
        assert (await again.result(), again.id) == (12, twice.id)
        assert tasks.calls.count("extract") == 1
        whole = await client.rerun(first, whole=True)
        await whole.wait()
        assert tasks.calls.count("extract") == 2

    play(scenario)


def test_what_cannot_be_run_again(play: Callable[[Scenario], None]) -> None:
    async def scenario(node: Node, plans: dict[str, Plan], tasks: Any) -> None:
        client = node.client
        with pytest.raises(UnknownRun):
            await client.rerun("nobody")
        living = await client.submit(plans["waits"], {"seconds": 5.0})
        with pytest.raises(Refused, match="has not ended"):
            await client.rerun(living)
        await client.cancel(living)
        await living.wait()
        single = await client.submit_task("by_hand_tasks:size", "abc")
        await single.wait()
        with pytest.raises(Refused, match="it never began, it is a single task that succeeded"):
            await client.rerun(single)
        again = await client.rerun(living, args={"seconds": 0.01})
        assert await again.result() == 14

    play(scenario)


def test_values_that_are_blobs(play: Callable[[Scenario], None]) -> None:
    async def scenario(node: Node, plans: dict[str, Plan], tasks: Any) -> None:
        tasks.broken |= {"size"}
        first = await node.client.submit(plans["big"])
        await first.wait()
        tasks.broken.clear()
        again = await node.client.rerun(first)
        assert await again.result() == 200_000
        assert tasks.calls == ["large", "size", "size"]

    play(scenario)


def test_a_fork_with_another_plan(play: Callable[[Scenario], None], root: Path) -> None:
    text = ETL.replace("return total\n", "extra = load(doubled)\n  return total + extra\n")

    async def scenario(node: Node, plans: dict[str, Plan], tasks: Any) -> None:
        client, new = node.client, compiled(root, text)
        first = await client.submit(plans["etl"])
        await first.wait()
        tasks.calls.clear()
        preview = await client.preview_rerun(first, plan=new["etl"])
        assert (preview.kept, preview.runs) == (("rows", "doubled", "items", "total"), ("extra",))
        assert preview.changed == {"extra": "it is new"}
        fork = await client.rerun(first, plan=new["etl"])
        assert (await fork.result(), tasks.calls) == (24, ["load"])
        with pytest.raises(Refused, match="it was a run of flow `etl`, and the plan is of flow `big`"):
            await client.rerun(first, plan=new["big"])

    play(scenario)


def test_pause_and_resume(play: Callable[[Scenario], None]) -> None:
    async def scenario(node: Node, plans: dict[str, Plan], tasks: Any) -> None:
        client = node.client
        run = await client.submit(plans["waits"], {"seconds": 0.3})
        while not tasks.calls:
            await asyncio.sleep(0.01)
        await client.pause(run, note="wait a moment", by="ada")
        listed = (await client.list()).runs
        assert [(row.run, row.paused) for row in listed] == [(run.id, True)]
        await asyncio.sleep(0.6)
        assert tasks.calls == ["slow"]
        await node.stop_coordinator()
        await node.start_coordinator()
        await asyncio.sleep(0.3)
        assert tasks.calls == ["slow"]
        assert (await client.status(run)).summary.paused  # type: ignore[union-attr]
        assert await client.resume(run, by="bob") == ""
        record = await run.wait()
        assert (record.state, len(tasks.calls)) == ("success", 2)
        assert [(entry.action, entry.by) for entry in record.audit] == [("pause", "ada"), ("resume", "bob")]
        with pytest.raises(Refused, match="has ended"):
            await client.pause(run)
        with pytest.raises(UnknownRun):
            await client.pause("nobody")

    play(scenario)


def test_a_flow_that_is_paused(play: Callable[[Scenario], None]) -> None:
    async def scenario(node: Node, plans: dict[str, Plan], tasks: Any) -> None:
        client = node.client
        await client.pause_flow("etl", note="incident", by="ada")
        runs = [await client.submit(plans["etl"]) for _ in range(3)]
        other = await client.submit(plans["big"])
        assert await other.result() == 200_000
        await node.stop_coordinator()
        await node.start_coordinator()
        while not (listed := await client.list()).runs:  # a coordinator that has just begun may miss a question
            pass
        assert [(pause.flow, pause.by, pause.note) for pause in listed.paused] == [("etl", "ada", "incident")]
        assert [row.flow for row in listed.runs] == ["etl"] * 3
        assert "extract" not in tasks.calls
        await client.resume_flow("etl")
        assert [await run.result() for run in runs] == [12] * 3
        assert not (await client.list()).paused

    play(scenario)


def test_work_that_waits_for_a_slot_waits_for_the_resume(play: Callable[[Scenario], None]) -> None:
    async def scenario(node: Node, plans: dict[str, Plan], tasks: Any) -> None:
        client = node.client
        first = [await client.submit(plans["waits"], {"seconds": 0.4}) for _ in range(20)]
        while len(tasks.calls) < 2:
            await asyncio.sleep(0.01)
        last = first[-1]
        await client.pause(last)
        await asyncio.gather(*(run.wait() for run in first[:-1]))
        assert (await client.status(last)).state == "running"
        await client.resume(last)
        assert await last.result() == 14

    play(scenario)


def test_the_items_of_an_each_wait_for_the_resume(play: Callable[[Scenario], None]) -> None:
    async def scenario(node: Node, plans: dict[str, Plan], tasks: Any) -> None:
        client = node.client
        run = await client.submit(plans["many"])
        while len(tasks.calls) < 6:
            await asyncio.sleep(0.01)
        await client.pause(run)
        await asyncio.sleep(1)
        done = len(tasks.calls)
        assert done < 50
        await asyncio.sleep(1)
        assert len(tasks.calls) == done
        await node.stop_coordinator()
        await node.start_coordinator()
        await asyncio.sleep(0.5)
        assert len(tasks.calls) == done
        await client.resume(run)
        assert await run.result() == [7] * 100
        assert len(tasks.calls) == 100

    play(scenario)


def test_a_step_is_marked(play: Callable[[Scenario], None]) -> None:
    async def scenario(node: Node, plans: dict[str, Plan], tasks: Any) -> None:
        client = node.client
        run = await client.submit(plans["waits"], {"seconds": 20.0})
        while not tasks.calls:
            await asyncio.sleep(0.01)
        with pytest.raises(Refused, match="step `x` gives int"):
            await client.mark(run, "x", value="seven")
        with pytest.raises(Refused, match="has no step `z`"):
            await client.mark(run, "z")
        await client.mark(run, "x", value=1, note="seen in the log", by="ada")
        record = await run.wait()
        assert (record.state, await client.value(record)) == ("success", 8)
        assert [(entry.action, entry.step, entry.by) for entry in record.audit] == [("mark success", "x", "ada")]
        with pytest.raises(Refused, match="has ended"):
            await client.mark(run, "y", "skipped")

    play(scenario)


def test_what_a_long_run_leaves_is_put_again_at_its_end_and_by_a_rerun(root: Path) -> None:
    async def main() -> None:
        tasks = importlib.import_module("by_hand_tasks")
        tasks.calls.clear()
        tasks.broken = {"size"}
        server, plan = MemoryServer(), compiled(root, ETL)["late"]

        async def connect() -> MemoryTransport:
            return MemoryTransport(server)

        def is_fresh() -> bool:
            """The text and the plan were put lately."""
            large = [name for name, data in server.blobs.items() if len(data) > 200_000]
            needed = [*large, digest(encode(plan))]
            return len(needed) == 2 and all(server.now_ms() - server.blob_times[name] < 60_000 for name in needed)

        async with Node(connect, root=root) as node:
            first = await node.client.submit(plan)
            assert (await first.wait()).state == "failed"
            await asyncio.sleep(1)
            assert is_fresh()
            await asyncio.sleep(2 * 3600)
            assert not is_fresh()
            tasks.broken.clear()
            again = await node.client.rerun(first)
            assert is_fresh()
            assert await again.result() == 200_000
            assert tasks.calls == ["large", "size", "size"]

    run_virtual(main())
