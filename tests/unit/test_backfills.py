"""Backfills with the real coordinator and client, in virtual time: leaders that die, a trigger that ticks meanwhile."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from typing import Any

import pytest
from flowc.plan import CronSource, IntervalSource, TriggerDef
from flowrun.client import Refused
from flowrun.client import backfills as client_backfills
from flowrun.memory import Faults, run_virtual
from flowrun.messages import RunRecord, unpack
from flowrun.parameters import ArgumentError
from flowrun.settings import Settings
from flowrun.transport import Transport

from tests.support.deploying import deploy, deployed_flow
from tests.support.node import Node, memory_server
from tests.support.plans import call, flow_plan, task

TASKS = "tests.unit.test_backfills"
#: the memory server's clock begins on 2026-01-01
HOURLY = TriggerDef(name="hour", source=CronSource(expression="0 * * * *", tz="UTC"))
MINUTELY = TriggerDef(name="minute", source=IntervalSource(every_ms=60_000), missed="all")


async def slow(a: int) -> int:
    await asyncio.sleep(2)
    return a


async def halting(a: int) -> int:
    await asyncio.sleep(10)
    return a


def plan(target: str = "slow", **changes: Any) -> Any:
    return flow_plan((call("only", 0, (1,)),), (task("only", f"{TASKS}:{target}", "a"),), params=("n",), **changes)


def counted(transport: Transport) -> Counter[int]:
    """Runs by the time that they stand for."""
    found = [unpack(data, RunRecord) for data, _ in transport.server.results.values()]  # type: ignore[attr-defined]
    return Counter(record.scheduled.at_ms for record in found if record.scheduled is not None)


def now_ms(transport: Transport) -> int:
    return transport.server.now_ms()  # type: ignore[attr-defined,no-any-return]


def test_leaders_die_and_each_window_runs_once() -> None:
    async def main() -> None:
        connect = memory_server(Settings(snapshot_interval=5), Faults(lose_ack=0.1, seed=3))
        transport = await connect()
        async with Node(connect, slots=4) as node:
            await deploy(transport, deployed_flow(plan(), HOURLY), at_ms=now_ms(transport))
            run = await node.client.backfill("test", "2025-12-01", "2025-12-03", {"n": 1}, concurrency=4)
            for i in range(8):
                await asyncio.sleep((0.1, 2.0, 3.3, 7.0)[i % 4])
                await node.stop_coordinator()
                await asyncio.sleep((0.0, 1.0)[i % 2])
                await node.start_coordinator()
            state = await run.wait(600)
        assert (state.state, state.done, state.kept) == ("success", 72, 0)
        assert counted(transport) == Counter(
            int(dt.datetime(2025, 12, 1, tzinfo=dt.UTC).timestamp() * 1000) + 3_600_000 * hour for hour in range(1, 73)
        )

    run_virtual(main())


def test_the_trigger_ticks_while_its_past_is_run() -> None:
    async def main() -> None:
        connect = memory_server()
        transport = await connect()
        async with Node(connect, slots=4) as node:
            ticking = TriggerDef(name="minute", source=MINUTELY.source, args=(("n", ["lit", 7]),))
            await deploy(transport, deployed_flow(plan(), ticking), at_ms=now_ms(transport))
            await asyncio.sleep(601)
            begin = dt.datetime.fromtimestamp(now_ms(transport) / 1000, dt.UTC).replace(second=0, microsecond=0)
            last = begin - dt.timedelta(minutes=2)
            # ten windows have had their run at their time, twenty before them have not
            run = await node.client.backfill("test", last - dt.timedelta(minutes=29), last, concurrency=3)
            state = await run.wait(600)
            assert (state.state, state.total, state.kept + state.done) == ("success", 30, 30)
            assert state.kept >= 8
        assert set(counted(transport).values()) == {1}

    run_virtual(main())


def test_it_is_seen_attached_to_and_stopped() -> None:
    async def main() -> None:
        connect = memory_server()
        transport = await connect()
        async with Node(connect, slots=2) as node:
            client = node.client
            await deploy(transport, deployed_flow(plan("halting"), HOURLY), at_ms=now_ms(transport))
            planned = await client.preview_backfill("test.hour", "2025-12-01", "2025-12-01")
            assert Counter(one.state for one in planned) == {"left": 24}
            first = await client.backfill("test", "2025-12-01", "2025-12-01", {"n": 1}, concurrency=2)
            again = await client.backfill("test.hour", "2025-12-01", "2025-12-01", {"n": 1}, concurrency=3)
            other = await client.backfill("test", "2025-12-01", "2025-12-01", {"n": 1}, reverse=True, concurrency=1)
            assert first.name == again.name != other.name
            await asyncio.sleep(5)
            state = await first.state()
            assert state is not None
            assert (state.running, state.concurrency, state.left) == (3, 3, 21)
            assert {one.name for one in await client.backfills()} == {first.name, other.name}
            await other.stop()
            assert (await other.wait(60)).state == "stopped"
            found = await client.find_backfill(first.name)
            assert (found.trigger, found.tz) == ("test.hour", "UTC")
            state = await found.wait(600)
            assert (state.done, state.kept) == (23, 1)
            assert Counter(one.state for one in await client.preview_backfill("test", "2025-12-01", "2025-12-01")) == {
                "kept": 24
            }
            with pytest.raises(Refused, match="no backfill `bf-x`"):
                await client.find_backfill("bf-x")
        assert set(counted(transport).values()) == {1}

    run_virtual(main())


def test_windows_of_several_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_backfills, "_PART", 7)

    async def main() -> None:
        connect = memory_server()
        transport = await connect()
        async with Node(connect, slots=4) as node:
            await deploy(transport, deployed_flow(plan(), HOURLY), at_ms=now_ms(transport))
            for reverse in (False, True):
                run = await node.client.backfill(
                    "test", "2025-12-01", "2025-12-02", {"n": 1}, concurrency=50, reverse=reverse
                )
                state = await run.wait(600)
                assert (state.state, state.total) == ("success", 48)
                assert state.first_ms > state.last_ms if reverse else state.first_ms < state.last_ms
        assert len(counted(transport)) == 48

    run_virtual(main())


def test_another_version_is_deployed_meanwhile() -> None:
    """Runs that have begun go on with their plan; windows that start later are of the new one. Also after a leader that
    began with a snapshot."""

    async def main() -> None:
        connect = memory_server(Settings(snapshot_interval=1))
        transport = await connect()
        async with Node(connect, slots=2) as node:
            await deploy(transport, deployed_flow(plan(), HOURLY), at_ms=now_ms(transport))
            run = await node.client.backfill("test", "2025-12-01", "2025-12-01", {"n": 1}, concurrency=2)
            await asyncio.sleep(5)
            newer = plan(timeout_ms=3_600_000)
            await deploy(transport, deployed_flow(newer, HOURLY), at_ms=now_ms(transport))
            await asyncio.sleep(7)
            await node.stop_coordinator()
            await node.start_coordinator()
            state = await run.wait(600)
            assert (state.state, state.done) == ("success", 24)

    run_virtual(main())


def test_what_is_not_deployed_is_said_so() -> None:
    async def main() -> None:
        connect = memory_server()
        transport = await connect()
        async with Node(connect) as node:
            with pytest.raises(ArgumentError, match="nothing is deployed"):
                await node.client.backfill("test", "2025-12-01", "2025-12-02")
            await deploy(transport, deployed_flow(plan(), HOURLY, MINUTELY), at_ms=now_ms(transport))
            with pytest.raises(ArgumentError, match=r"name one, `test.hour` or `test.minute`"):
                await node.client.backfill("test", "2025-12-01", "2025-12-02")
            with pytest.raises(ArgumentError, match="no parameter `m`"):
                await node.client.backfill("test.hour", "2025-12-01", "2025-12-02", {"m": 1})

    run_virtual(main())


def test_a_deployment_that_is_on_its_way_is_waited_for() -> None:
    async def main() -> None:
        connect = memory_server()
        transport = await connect()
        async with Node(connect) as node:
            await node.stop_coordinator()
            await deploy(transport, deployed_flow(plan(), HOURLY), at_ms=now_ms(transport))
            asking = asyncio.create_task(node.client.backfill("test", "2025-12-01T00:00", "2025-12-01T02:00", {"n": 1}))
            await asyncio.sleep(3)
            await node.start_coordinator()
            state = await (await asking).wait(60)
            assert (state.state, state.done) == ("success", 3)

    run_virtual(main())
