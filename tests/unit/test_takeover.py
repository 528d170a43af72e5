"""A new leader goes on from the last snapshot, dispatches nothing twice, forgets nothing; the old one does no harm."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from flowc.plan import Plan, RetryPolicy, StepSettings
from flowrun.capacity import Capacity
from flowrun.client import Client
from flowrun.coordinator import Coordinator
from flowrun.errors import Fenced
from flowrun.memory import Effect, MemoryServer, MemoryTransport, run_virtual
from flowrun.messages import Bundle, Outcome, Results, RunRecord, pack_events, unpack
from flowrun.settings import Settings
from flowrun.transport import Transport

from tests.support import sample_tasks
from tests.support.node import Node
from tests.support.plans import call, each_plan, flow_plan, task

TASKS = "tests.support.sample_tasks"
SETTINGS = Settings(snapshot_events=10, snapshot_interval=5.0, sync_lag=1.0, freeze_after=0.5, audit=3.0)


def one(target: str, **settings: Any) -> Plan:
    return flow_plan(
        (call("only", 0, (1,)),), (task("t", target, "a"),), params=("x",), settings=(StepSettings(**settings),)
    )


def value(record: RunRecord) -> object:
    assert record.state == "success", record.error
    return msgspec.msgpack.decode(record.result)


class World:
    """A server, and what is dispatched there."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.settings = settings
        self.server = MemoryServer(settings)
        self.server.observe = self._observe
        self.dispatched: list[Bundle] = []

    def _observe(self, effect: Effect) -> None:
        if effect.what == "dispatch":
            self.dispatched.append(unpack(effect.data, Bundle))

    async def connect(self) -> Transport:
        return MemoryTransport(self.server)

    def node(self, slots: int = 4) -> Node:
        return Node(self.connect, settings=self.settings, slots=slots)

    def coordinator(self, name: str) -> Coordinator:
        capacity = Capacity("nodes", self.settings, fixed=4)
        transport = MemoryTransport(self.server, name)
        return Coordinator(transport, "0", group="nodes", capacity=capacity, settings=self.settings, node=name)


@pytest.fixture(autouse=True)
def _fresh_calls() -> None:
    sample_tasks.forget_calls()


def test_it_goes_on_from_a_snapshot_and_the_inbox_is_purged() -> None:
    async def main() -> None:
        world = World()
        async with world.node() as node:
            waiting = one(f"{TASKS}:fail_once", retry=RetryPolicy(max=2, backoff="fixed", first_ms=60_000))
            late = [(await node.client.submit(waiting, {"x": x})).id for x in range(5)]
            for x in range(100):
                assert value(await (await node.client.submit(one(f"{TASKS}:double"), {"x": x})).wait()) == 2 * x
                await asyncio.sleep(0.2)
            inbox = await (await world.connect()).inbox("0")
            assert inbox.last_seq > 200
            assert inbox.last_seq - inbox.first_seq < 100
            await node.stop_coordinator()
            await node.start_coordinator()
            assert [value(await node.client.wait(run)) for run in late] == list(range(5))
            assert asyncio.get_running_loop().time() < 70
        assert sample_tasks.calls.count("double 7") == 1

    run_virtual(main())


def test_nothing_that_runs_is_dispatched_twice() -> None:
    async def main() -> None:
        world = World()
        async with world.node() as node:
            runs = [(await node.client.submit(one(f"{TASKS}:nap"), {"x": x})).id for x in (8, 9, 10)]
            each = (await node.client.submit(each_plan(f"{TASKS}:nap"), {"n": 4})).id
            for _ in range(2):
                await asyncio.sleep(1)
                await node.stop_coordinator()
                await node.start_coordinator()
            assert [value(await node.client.wait(run)) for run in runs] == [8, 9, 10]
            assert value(await node.client.wait(each)) == [0, 1, 2, 3]
            await asyncio.sleep(20)
        items = [(i.run, i.node, i.attempt, n) for b in world.dispatched for i in b.items for n in _items(i)]
        assert len(items) == len(set(items)) == 7

    run_virtual(main())


def _items(item: Any) -> list[int]:
    return [-1] if item.last < 0 else list(range(item.first, item.last))


def test_what_is_cancelled_while_nobody_leads_stops() -> None:
    async def main() -> None:
        world = World()
        async with world.node() as node:
            run = await node.client.submit(one(f"{TASKS}:nap"), {"x": 600})
            while not sample_tasks.calls:
                await asyncio.sleep(0.1)
            await node.stop_coordinator()
            await run.cancel()
            await node.start_coordinator()
            assert (await run.wait()).state == "cancelled"
            async with asyncio.timeout(5):
                while await (await world.connect()).standing_work("0"):  # until its worker has let go of it
                    await asyncio.sleep(0.1)

    run_virtual(main())


def test_a_graceful_stop_lets_the_next_one_lead_at_once() -> None:
    async def main() -> None:
        world = World(replace(SETTINGS, snapshot_interval=1e9, snapshot_events=10**9))
        first, second = world.coordinator("a"), world.coordinator("b")
        leading = asyncio.create_task(first.run())
        await first.ready.wait()
        waiting = asyncio.create_task(second.run())
        await asyncio.sleep(30)
        assert not second.ready.is_set()
        await first.stop()
        await leading
        stopped = asyncio.get_running_loop().time()
        await second.ready.wait()
        assert asyncio.get_running_loop().time() - stopped < 0.5
        assert "snapshot.0" in world.server.entries
        await second.stop()
        await waiting

    run_virtual(main())


def test_a_leader_that_was_replaced_ends_and_dispatches_nothing() -> None:
    async def main() -> None:
        world = World()
        first = world.coordinator("a")
        leading = asyncio.create_task(first.run())
        await first.ready.wait()
        await (await world.connect()).fence("0")  # another one took over
        client = await Client.over(await world.connect(), world.settings, "0")
        await client.submit(one(f"{TASKS}:double"), {"x": 1})
        with pytest.raises(Fenced):
            await asyncio.wait_for(leading, 10)
        assert world.dispatched == []

    run_virtual(main())


def test_work_that_the_server_lost_is_dispatched_anew() -> None:
    async def main() -> None:
        world = World()
        async with world.node() as node:
            await node.kill_worker()
            run = (await node.client.submit(one(f"{TASKS}:double"), {"x": 4})).id
            await asyncio.sleep(1)
            assert len(world.server.work) == 1
            world.server.stream.clear("0")
            await node.start_worker()
            async with asyncio.timeout(30):
                assert value(await node.client.wait(run)) == 8
        assert len(world.dispatched) == 2

    run_virtual(main())


def test_work_that_is_to_run_at_most_once_has_failed_when_the_server_lost_it() -> None:
    async def main() -> None:
        world = World()
        async with world.node() as node:
            await node.kill_worker()
            run = (await node.client.submit(one(f"{TASKS}:double", at_most_once=True), {"x": 4})).id
            await asyncio.sleep(1)
            assert len(world.server.work) == 1
            world.server.stream.clear("0")
            await node.start_worker()
            async with asyncio.timeout(30):
                record = await node.client.wait(run)
            assert record.error is not None
            assert (record.state, record.error.type) == ("failed", "WorkerDied")
        assert len(world.dispatched) == 1

    run_virtual(main())


def test_an_inbox_that_was_lost_begins_a_new_incarnation(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World(replace(SETTINGS, snapshot_events=1, snapshot_interval=0.1))
        async with world.node() as node:
            plan = one(f"{TASKS}:fail_once", retry=RetryPolicy(max=2, backoff="fixed", first_ms=60_000))
            kept = (await node.client.submit(plan, {"x": 7})).id
            await asyncio.sleep(3)
            await node.stop_coordinator()
            world.server.inboxes.clear()
            await node.start_coordinator()
            assert value(await node.client.wait(kept)) == 7
            assert value(await (await node.client.submit(one(f"{TASKS}:double"), {"x": 4})).wait()) == 8

    with caplog.at_level(logging.ERROR, "flow.coordinator"):
        run_virtual(main())
    assert "was lost and made anew" in caplog.text


def test_results_of_nobody_change_nothing_and_are_told_a_few_times(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = World()
        async with world.node() as node:
            transport = await world.connect()
            run = (await node.client.submit(one(f"{TASKS}:nap"), {"x": 5})).id
            await asyncio.sleep(1)
            for i in range(100):
                forged = [
                    Outcome("nobody", 0, 2, 1, "success", b"\x01"),
                    Outcome(run, 0, 2, 9, "success", b"\x01"),
                    Outcome(run, 77, 2, 1, "success", b"\x01"),
                    Outcome(run, 0, -5, 1, "success", b"\x01"),
                    Outcome(run, 0, 2, 1, "success", b"\x01", first=0, last=10**9),
                ]
                await transport.append("0", pack_events([Results("forged", "w", tuple(forged))]), f"f{i}")
            assert value(await node.client.wait(run)) == 5

    with caplog.at_level(logging.WARNING, "flow.coordinator"):
        run_virtual(main())
    assert 1 <= len(caplog.records) <= 25
    assert "it is ignored" in caplog.text


def test_many_waiting_runs_survive_packed() -> None:
    async def main() -> None:
        world = World(replace(SETTINGS, snapshot_events=500))
        async with world.node() as node:
            plan = one(f"{TASKS}:fail_once", retry=RetryPolicy(max=2, backoff="fixed", first_ms=30_000))
            runs = await node.client.submit_many(plan, [{"x": x} for x in range(300)])
            await asyncio.sleep(10)
            engine = node.coordinator._engine
            assert len(engine.frozen) == 300
            await node.stop_coordinator()
            await node.start_coordinator()
            assert [value(await run.wait()) for run in runs] == list(range(300))

    run_virtual(main())


def test_a_late_copy_of_a_report_that_work_was_handed_back_dispatches_nothing() -> None:
    async def main() -> None:
        world = World()
        async with world.node(slots=1) as node:
            await node.kill_worker()
            transport = await world.connect()
            run = (await node.client.submit(one(f"{TASKS}:double"), {"x": 4})).id

            async def hand_back(number: int, key: str) -> None:
                bundle = world.dispatched[number]
                [item] = bundle.items
                back = Outcome(run, item.scope, item.node, item.attempt, "returned")
                await transport.append("0", pack_events([Results(bundle.id, "w", (back,))]), key)
                await asyncio.sleep(0.5)

            await asyncio.sleep(0.5)
            await hand_back(0, "a")
            await hand_back(1, "b")
            assert len(world.dispatched) == 3
            await hand_back(0, "a again")
            assert len(world.dispatched) == 3
            world.server.stream.clear("0")
            await node.start_worker()
            assert value(await node.client.wait(run)) == 8

    run_virtual(main())
