"""Triggers with the real coordinator, in virtual time: what ticks, when, and that each time starts one run."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import msgspec
import pytest
from flowc import plan as plans
from flowc.plan import AtSource, CronSource, CustomSource, IntervalSource, Plan, TriggerDef
from flowrun.capacity import Capacity
from flowrun.coordinator import Coordinator
from flowrun.custom_schedule import schedule_plan
from flowrun.manifest import Deployment, decode_history, encode_history
from flowrun.memory import Faults, run_virtual
from flowrun.messages import RunRecord, unpack
from flowrun.settings import Settings
from flowrun.transport import Transport

from tests.support.deploying import deploy, deployed_flow
from tests.support.node import Node, memory_server
from tests.support.plans import call, flow_plan, task

TASKS = "tests.support.sample_tasks"


#: days go by quickly: nothing is looked at every second
CALM = Settings(
    ack_wait=7_200,
    lease=7_200,
    lease_renewal=1_800,
    presence=1_800,
    revoke_again=1_800,
    freeze_after=1_800,
    audit=1_800,
)


def one(target: str = f"{TASKS}:add", **changes: Any) -> Plan:
    """A flow of one task, over constants."""
    node = msgspec.structs.replace(call("only", 0), args=(("a", ["lit", 1]), ("b", ["lit", 2])))
    return flow_plan((node,), (task("only", target, "a", "b"),), **changes)


def now_ms(transport: Transport) -> int:
    return transport.server.now_ms()  # type: ignore[attr-defined,no-any-return]


def records(transport: Transport) -> list[RunRecord]:
    """Of all runs that ended, in the order of their times."""
    found = [unpack(data, RunRecord) for data, _ in transport.server.results.values()]  # type: ignore[attr-defined]
    return sorted(found, key=lambda record: (record.scheduled.at_ms if record.scheduled else 0, record.started_ms))


def times(transport: Transport) -> list[int]:
    return [record.scheduled.at_ms for record in records(transport) if record.scheduled is not None]


def test_an_interval_ticks_on_time_and_each_time_once() -> None:
    async def main() -> None:
        connect = memory_server()
        transport = await connect()
        async with Node(connect) as node:
            begin = now_ms(transport)
            trigger = TriggerDef(name="often", source=IntervalSource(every_ms=60_000))
            await deploy(transport, deployed_flow(one(), trigger), at_ms=begin)
            await asyncio.sleep(600)
            first = begin - begin % 60_000 + 60_000
            assert times(transport) == list(range(first, begin + 600_000, 60_000))
            late = [record.started_ms - record.scheduled.at_ms for record in records(transport) if record.scheduled]
            assert max(late) < 50
            assert {record.state for record in records(transport)} == {"success"}
            assert {record.trigger for record in records(transport)} == {"test.often"}
            del node

    run_virtual(main())


def moment(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp() * 1000)


def test_cron_over_days_with_a_change_of_the_clock() -> None:
    """Deployed before the day on which Berlin's clock is put forward: what is asked for a time that is not there comes
    at the end of the gap, and all other days at their time."""

    async def main() -> None:
        connect = memory_server()
        transport = await connect()
        begin = now_ms(transport)
        spring = dt.datetime(2026, 3, 27, tzinfo=dt.UTC)
        await asyncio.sleep((spring.timestamp() * 1000 - begin) / 1000)
        async with Node(connect, settings=CALM) as node:
            night = TriggerDef(name="night", source=CronSource(expression="30 2 * * *", tz="Europe/Berlin"))
            hours = TriggerDef(name="hours", source=CronSource(expression="0 */6 * * *"))
            await deploy(transport, deployed_flow(one(), night, hours), at_ms=now_ms(transport))
            await asyncio.sleep(4 * 86_400 + 5)
            del node
        of_night = [record for record in records(transport) if record.trigger == "test.night"]
        assert [record.scheduled.at_ms for record in of_night if record.scheduled] == [
            moment("2026-03-27T01:30Z"), moment("2026-03-28T01:30Z"), moment("2026-03-29T01:00Z"),
            moment("2026-03-30T00:30Z"),
        ]  # fmt: skip
        days = [record.scheduled.date for record in of_night if record.scheduled]
        assert days == ["2026-03-26", "2026-03-27", "2026-03-28", "2026-03-29"]
        assert len(records(transport)) - len(of_night) == 16

    run_virtual(main())


@pytest.mark.parametrize("policy", ["all", "latest", "skip"])
def test_what_went_by_while_nobody_led(policy: Any) -> None:
    async def main() -> None:
        connect = memory_server()
        transport = await connect()
        trigger = TriggerDef(name="often", source=IntervalSource(every_ms=60_000), missed=policy)
        async with Node(connect) as node:
            begin = now_ms(transport)
            first = begin - begin % 60_000 + 60_000
            await deploy(transport, deployed_flow(one(), trigger), at_ms=begin)
            await asyncio.sleep((first + 60_500 - begin) / 1000)
            await node.stop_coordinator()
            await asyncio.sleep(600)
            await node.start_coordinator()
            await asyncio.sleep(60)
        away = list(range(first + 120_000, first + 660_000, 60_000))
        kept = away if policy == "all" else []  # the one that is less than a minute late is not missed
        assert times(transport) == [first, first + 60_000, *kept, first + 660_000, first + 720_000]

    run_virtual(main())


def test_whoever_leads_each_time_starts_one_run() -> None:
    """Leaders are killed at the very moments, again and again, on a server that loses messages."""

    async def main() -> None:
        connect = memory_server(Settings(snapshot_interval=20), Faults(lose_ack=0.1, seed=7))
        transport = await connect()
        every = TriggerDef(name="often", source=IntervalSource(every_ms=10_000), missed="all")
        cron = TriggerDef(name="minute", source=CronSource(expression="* * * * *"), missed="all")
        async with Node(connect) as node:
            begin = now_ms(transport)
            await deploy(transport, deployed_flow(one(), every, cron), at_ms=begin)
            for i in range(20):
                left = 10_000 - now_ms(transport) % 10_000
                await asyncio.sleep((left + (0, 1, 3, 7000, 9999)[i % 5]) / 1000)
                await node.stop_coordinator()
                await asyncio.sleep((0.0, 0.5, 25.0)[i % 3])
                await node.start_coordinator()
            await asyncio.sleep(15)
            end = now_ms(transport)
        found = {name: [r.scheduled.at_ms for r in records(transport) if r.scheduled and r.trigger == f"test.{name}"]
                 for name in ("often", "minute")}  # fmt: skip
        assert found["often"] == list(range(begin // 10_000 * 10_000 + 10_000, end - 4_000, 10_000))
        assert found["minute"] == list(range(begin // 60_000 * 60_000 + 60_000, end, 60_000))

    run_virtual(main())


def test_catching_up_runs_every_day_since_the_start() -> None:
    async def main() -> None:
        connect = memory_server()
        transport = await connect()
        async with Node(connect) as node:
            begin = now_ms(transport)
            start = begin - 400 * 86_400_000
            daily = TriggerDef(name="daily", source=CronSource(expression="0 3 * * *"), start_ms=start)
            await deploy(transport, deployed_flow(one(), daily, catchup=True), at_ms=begin)
            await asyncio.sleep(60)
            del node
        assert len(times(transport)) == len(set(times(transport))) == 400
        assert all((time // 3_600_000) % 24 == 3 for time in times(transport))

    run_virtual(main())


def test_a_thousand_triggers_at_midnight() -> None:
    async def main() -> None:
        connect = memory_server()
        transport = await connect()
        async with Node(connect) as node:
            begin = now_ms(transport)
            triggers = [TriggerDef(name=f"t{i}", source=IntervalSource(every_ms=600_000)) for i in range(1_000)]
            await deploy(transport, deployed_flow(one(), *triggers), at_ms=begin)
            await asyncio.sleep(1_210)
            del node
        assert len(records(transport)) == 2_000
        ticks = {record.scheduled.at_ms for record in records(transport) if record.scheduled}
        assert len(ticks) == 2

    run_virtual(main())


def test_a_schedule_in_python_ticks() -> None:
    async def main() -> None:
        connect = memory_server()
        transport = await connect()
        source = CustomSource(target=f"{__name__}:every_90_seconds")
        plan = schedule_plan("test", "own", source)
        digest = plans.digest(plans.encode(plan))
        async with Node(connect) as node:
            begin = now_ms(transport)
            flow = deployed_flow(one(), TriggerDef(name="own", source=source), schedules={"own/0": digest})
            await deploy(transport, flow, at_ms=begin, others=[plan])
            await asyncio.sleep(2 * 3_600)
            del node
        assert times(transport) == [begin + 90_000 * i for i in range(1, 81)]

    run_virtual(main())


def every_90_seconds(after: dt.datetime) -> dt.datetime:
    return after + dt.timedelta(seconds=90)


def test_deployments_while_it_runs() -> None:
    async def main() -> None:
        connect = memory_server()
        transport = await connect()
        a = TriggerDef(name="a", source=IntervalSource(every_ms=60_000))
        b = TriggerDef(name="b", source=AtSource(at_ms=(now_ms(transport) + 300_000,)))
        async with Node(connect) as node:
            await deploy(transport, deployed_flow(one(), a), at_ms=now_ms(transport))
            await asyncio.sleep(130)
            await deploy(transport, deployed_flow(one(), a, b), at_ms=now_ms(transport))
            await asyncio.sleep(200)
            await deploy(transport, at_ms=now_ms(transport))
            await asyncio.sleep(200)
            del node
        found = [record.trigger for record in records(transport)]
        assert (found.count("test.a"), found.count("test.b")) == (5, 1)

    run_virtual(main())


def test_a_manifest_that_is_missing_leaves_what_was_deployed(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        connect = memory_server()
        transport = await connect()
        a = TriggerDef(name="a", source=IntervalSource(every_ms=60_000))
        async with Node(connect) as node:
            await deploy(transport, deployed_flow(one(), a), at_ms=now_ms(transport))
            await asyncio.sleep(10)
            entry = await transport.read_entry("deployment.shop")
            assert entry is not None
            history = decode_history(entry.data)
            lost = Deployment(number=2, manifest="0" * 32, at_ms=now_ms(transport))
            history = msgspec.structs.replace(history, deployments=(*history.deployments, lost))
            await transport.write_entry("deployment.shop", encode_history(history))
            await asyncio.sleep(125)
            del node
        assert len(times(transport)) == 2

    run_virtual(main())
    assert any("cannot be had" in record.message for record in caplog.records)


def test_what_flowc_run_leads_starts_nothing_that_is_deployed() -> None:
    """Its partition is the run's own, on a server where other nodes lead those of the environment."""

    async def main() -> None:
        connect = memory_server()
        transport = await connect()
        often = TriggerDef(name="often", source=IntervalSource(every_ms=10_000))
        await deploy(transport, deployed_flow(one(), often), at_ms=now_ms(transport))
        capacity = Capacity("mine", Settings(), fixed=1)
        coordinator = Coordinator(transport, "r1", group="mine", capacity=capacity, private=True)
        leading = asyncio.create_task(coordinator.run())
        await asyncio.sleep(60)
        await coordinator.stop()
        await leading
        assert coordinator._engine.triggers.own == {}

    run_virtual(main())
