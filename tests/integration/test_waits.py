"""Runs that wait for the world, through a client, a coordinator and its successors: in memory, and over NATS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flowc.pipeline import compile_paths
from flowc.plan import Plan
from flowc.project import find_project
from flowrun.client import Client, Refused, RunFailed, UnknownRun
from flowrun.memory import run_virtual
from flowrun.nats.transport import NatsTransport
from flowrun.parameters import ArgumentError
from flowrun.server import EmbeddedServer
from flowrun.settings import Settings

from tests.support.node import Node, memory_server

FLOWS = """
use std.wait { sleep, signal, event }
use std.human { approval }

signal review: { ok: bool, note: string? }
signal go: int

task tell(x: json) returns string { run: shell("echo ${x.id}") }

flow reviewed() returns string {
  answer = signal(review)
  return answer.note ?? "no note"
}

flow twice() returns list<int> {
  a = signal(go)
  b = signal(go) after a
  return [a, b]
}

flow paid(id: string) returns json { return event("orders.paid", key: id) }

flow asked(amount: int) returns string {
  d = approval(group: "finance", title: "Pay ${amount}?", show: { amount: amount }) with { timeout: 1h }
  return d.by
}

flow either() returns json {
  r = { answer: signal(review), late: sleep(1s) } with { join: "first", cancel_rest: true }
  return [r.answer?.ok, r.late == null]
}

flow large(order: json) returns json { return event("paid", key: string(order.id)) }
"""
SETTINGS = Settings(ack_wait=0.6, freeze_after=0.05)
_partitions = count()


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Plan]:
    folder = tmp_path_factory.mktemp("waits")
    (folder / "main.flow").write_text(FLOWS)
    found = compile_paths(find_project(folder), [folder / "main.flow"])
    assert not [one for one in found.diagnostics if one.severity == "error"], found.diagnostics
    return {flow.flow: flow.plan for flow in found.plans}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path_factory.mktemp("flow"))
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


class World:
    """A node with a client, and the plans."""

    def __init__(self, node: Node, plans: dict[str, Plan]) -> None:
        self.node, self.plans = node, plans

    @property
    def client(self) -> Client:
        return self.node.client

    async def submit(self, flow: str, **args: Any) -> Any:
        return await self.client.submit(self.plans[flow], args)

    async def restart(self) -> None:
        await self.node.stop_coordinator()
        await self.node.start_coordinator()

    async def waits(self, run: str, step: str) -> str:
        """Waits until a step waits; gives what for."""
        async with aclosing(aiter(self.client.events(run))) as notes:  # type: ignore[type-var]
            async for note in notes:
                for found in getattr(note, "steps", ()):
                    if found.step == step and found.message:
                        return str(found.message)
        raise AssertionError(f"run {run} has ended, and `{step}` did not wait")


Story = Callable[[World], Coroutine[Any, Any, None]]


@pytest.fixture(params=["memory", "nats"])
def play(request: pytest.FixtureRequest, plans: dict[str, Plan], tmp_path: Path) -> Callable[[Story], None]:
    """Runs a story on a node."""

    async def on(node: Node, story: Story) -> None:
        async with node:
            await asyncio.wait_for(story(World(node, plans)), 60)

    async def on_nats(story: Story) -> None:
        server: EmbeddedServer = request.getfixturevalue("server")

        async def connect() -> NatsTransport:
            return await NatsTransport.connect(server.url, SETTINGS)

        await on(Node(connect, partition=f"p{next(_partitions)}", root=tmp_path, settings=SETTINGS), story)

    async def in_memory(story: Story) -> None:
        await on(Node(memory_server(SETTINGS), root=tmp_path, settings=SETTINGS), story)

    if request.param == "memory":
        return lambda story: run_virtual(in_memory(story))
    request.getfixturevalue("server")
    return lambda story: asyncio.run(on_nats(story))


def test_a_signal_is_taken_and_a_wrong_one_refused(play: Callable[[Story], None]) -> None:
    async def story(world: World) -> None:
        run = await world.submit("reviewed")
        with pytest.raises(Refused, match=r"the signal `review` brings .*: `review.ok`: expected bool, got str"):
            await run.signal("review", {"ok": "yes"})
        with pytest.raises(Refused, match=r"flow `reviewed` waits for no signal `other`: it waits for `review`"):
            await run.signal("other")
        with pytest.raises(ArgumentError, match="at most 32,768 travel"):
            await run.signal("review", {"ok": True, "note": "x" * 40_000})
        await run.signal("review", {"ok": True, "note": "fine"})
        assert await run.result() == "fine"
        with pytest.raises(Refused, match=f"run {run.id} has ended"):
            await run.signal("review", {"ok": True})
        with pytest.raises(UnknownRun, match="there is no run nobody"):
            await world.client.signal("nobody", "review")

    play(story)


def test_signals_are_kept_over_a_take_over(play: Callable[[Story], None]) -> None:
    async def story(world: World) -> None:
        run = await world.submit("twice")
        await world.waits(run.id, "a")
        await world.restart()
        await run.signal("go", 1)
        await world.restart()
        await run.signal("go", 2)
        assert await run.result() == [1, 2]

    play(story)


def test_a_signal_to_a_run_that_waits_for_its_time(play: Callable[[Story], None]) -> None:
    async def story(world: World) -> None:
        await world.submit("reviewed")  # from now on the client knows the server's clock
        run = await world.client.submit(world.plans["reviewed"], {}, delay=2)
        await run.signal("review", {"ok": True, "note": "early"})
        await world.restart()
        assert await run.result() == "early"

    play(story)


def test_an_event_reaches_all_that_wait_also_packed_ones(play: Callable[[Story], None]) -> None:
    async def story(world: World) -> None:
        runs = [await world.submit("paid", id=id) for id in ("1", "1", "2")]
        for run in runs:
            assert (
                await world.waits(run.id, "event")
                == f"waits for the event `orders.paid` about `{'2' if run is runs[2] else '1'}`"
            )
        await asyncio.sleep(0.2)  # they are packed
        await world.client.emit("orders.paid", {"by": "card"}, key="1")
        assert [await run.result() for run in runs[:2]] == [{"by": "card"}] * 2
        await world.restart()
        await world.client.emit("orders.paid", None, key="2")
        assert await runs[2].result() is None
        with pytest.raises(ArgumentError, match="an event has a subject"):
            await world.client.emit("")

    play(story)


def test_approvals_are_listed_and_decided(play: Callable[[Story], None]) -> None:
    async def story(world: World) -> None:
        runs = [await world.submit("asked", amount=amount) for amount in (1, 2)]
        for run in runs:
            assert await world.waits(run.id, "d") == "waits for an approval of `finance`"
        listed = await world.client.approvals()
        assert [(one.run, one.flow, one.step, one.group, one.title, one.show) for one in listed] == [
            (run.id, "asked", "d", "finance", f"Pay {amount}?", {"amount": amount})
            for run, amount in zip(runs, (1, 2), strict=True)
        ]
        assert all(one.until_ms == one.since_ms + 3_600_000 for one in listed)
        assert await runs[0].approve(by="ada") == "d"
        assert await runs[0].result() == "ada"
        assert await runs[1].reject("d", note="too much", by="bob") == "d"
        with pytest.raises(RunFailed, match="Rejected: bob rejected it: too much"):
            await runs[1].result()
        with pytest.raises(Refused, match="has ended"):
            await runs[1].approve("d")
        assert not await world.client.approvals()

    play(story)


def test_the_first_of_several(play: Callable[[Story], None]) -> None:
    async def story(world: World) -> None:
        late, soon = await world.submit("either"), await world.submit("either")
        await soon.signal("review", {"ok": True})
        assert await soon.result() == [True, True]
        assert await late.result() == [None, False]

    play(story)


def test_a_worker_evaluates_what_large_values_tell(play: Callable[[Story], None]) -> None:
    async def story(world: World) -> None:
        run = await world.submit("large", order={"id": 7, "data": "x" * 50_000})
        assert await world.waits(run.id, "event") == "waits for the event `paid` about `7`"
        await world.client.emit("paid", True, key="7")
        assert await run.result() is True

    play(story)


def test_many_runs_are_signalled_at_once(play: Callable[[Story], None]) -> None:
    async def story(world: World) -> None:
        runs = await world.client.submit_many(world.plans["twice"], ({} for _ in range(300)))
        await asyncio.gather(*(run.signal("go", 1) for run in runs))
        await world.restart()
        await asyncio.gather(*(run.signal("go", 2) for run in runs))
        assert [await run.result() for run in runs] == [[1, 2]] * 300

    play(story)
