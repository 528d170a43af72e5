"""Triggers with the real coordinator, in virtual time: what ticks, when, and that each time starts one run."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import msgspec
from flowc.plan import AtSource, CronSource, IntervalSource, Plan, TriggerDef
from flowrun.memory import run_virtual
from flowrun.messages import RunRecord, unpack
from flowrun.transport import Transport

from tests.support import sample_tasks
from tests.support.deploying import deploy, deployed_flow
from tests.support.node import Connect, Node, memory_server
from tests.support.plans import call, flow_plan, task

TASKS = "tests.support.sample_tasks"
HOUR = 3_600_000


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
