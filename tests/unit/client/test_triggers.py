"""What a program asks of triggers."""

from __future__ import annotations

import asyncio

import pytest
from flowc.plan import EventSource, IntervalSource, TriggerDef
from flowrun.client import Refused
from flowrun.memory import run_virtual

from tests.support.deploying import deploy, deployed_flow
from tests.support.node import Node, memory_server
from tests.support.plans import call, flow_plan, task

MINUTE = 60_000


def failing() -> object:
    raise ValueError("no")


FAILS = flow_plan((call("only", 0),), (task("only", f"{__name__}:failing"),))


def test_how_triggers_stand_and_what_they_started() -> None:
    async def main() -> None:
        connect = memory_server()
        transport = await connect()
        begin = transport.server.now_ms()  # type: ignore[attr-defined]
        often = TriggerDef(name="often", source=IntervalSource(every_ms=MINUTE))
        heard = TriggerDef(name="heard", source=EventSource(subject="orders.*", body=0))
        async with Node(connect) as node:
            await deploy(transport, deployed_flow(FAILS, often, heard), at_ms=begin)
            await asyncio.sleep(125)
            found = await node.client.triggers()
            assert [one.trigger for one in found] == ["test.heard", "test.often"]
            assert (found[1].source, found[1].started, found[1].next_ms) == ("interval(1m)", 2, begin + 3 * MINUTE)
            assert (found[0].source, found[0].next_ms, found[0].last_ms) == ('event("orders.*")', None, 0)
            shown = await node.client.trigger("test.often")
            assert [(run.at_ms - begin, run.state) for run in shown.runs] == [
                (2 * MINUTE, "failed"),
                (MINUTE, "failed"),
            ]
            again = await node.client.rerun(shown.runs[0].run)
            assert (await again.wait()).scheduled is not None
            runs = (await node.client.trigger("test.often")).runs
            assert (runs[0].number, runs[0].state) == (2, "failed")
            await node.client.emit("orders.paid", {"id": 1})
            await asyncio.sleep(1)
            heard_runs = (await node.client.trigger("test.heard")).runs
            assert [(run.state, run.number) for run in heard_runs] == [("failed", 0)]

    run_virtual(main())


def test_pausing_and_resuming() -> None:
    async def main() -> None:
        connect = memory_server()
        transport = await connect()
        begin = transport.server.now_ms()  # type: ignore[attr-defined]
        often = TriggerDef(name="often", source=IntervalSource(every_ms=MINUTE), missed="skip")
        async with Node(connect) as node:
            await deploy(transport, deployed_flow(FAILS, often), at_ms=begin)
            await asyncio.sleep(65)
            assert await node.client.pause_trigger("test.often", note="why", by="ada") == ""
            assert await node.client.pause_trigger("test.often") == "it was paused already"
            await asyncio.sleep(200)
            shown = await node.client.trigger("test.often")
            assert shown.paused is not None
            assert (shown.paused.by, shown.paused.note, shown.started, shown.next_ms) == ("ada", "why", 1, None)
            assert await node.client.resume_trigger("test.often") == ""
            await asyncio.sleep(1)
            shown = await node.client.trigger("test.often")
            assert [run.state for run in shown.runs] == ["failed", "missed", "missed", "failed"]
            with pytest.raises(Refused, match=r"no trigger `test\.other` is deployed"):
                await node.client.pause_trigger("test.other")
            with pytest.raises(Refused, match=r"no trigger `test\.other` is deployed"):
                await node.client.trigger("test.other")

    run_virtual(main())
