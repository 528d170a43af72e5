"""Who holds a bundle: after a reconnect, without a connection, and when it comes twice."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from pathlib import Path

import msgspec
import pytest
import zstandard
from flowrun.messages import Holding, Lost, Outcome, Presence, pack, unpack
from flowrun.worker.presence import Herald, capacity, load

from tests.unit.worker.harness import Worker, call, worker

TASKS = """
    import time
    def same(x): return x
    def nap(x):
        time.sleep(0.6)
        return x
    def hang(x): time.sleep(60)
"""


async def outcome(running: Worker, seconds: float = 5.0) -> Outcome:
    (found,) = await running.outcomes(1, seconds)
    return found


async def test_a_fresh_bundle_that_another_worker_holds_is_left_alone(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        (connection,) = running.worker_connections
        connection.cut()
        connection.restore()
        plan, item = call("tasks:same", x=1)
        bundle = await running.submit(plan, [item])
        await asyncio.sleep(0.05)
        await running.transport.notify("holding", "other", pack(Holding("other", (bundle.id,))))
        with pytest.raises(TimeoutError):
            await running.outcomes(1, seconds=1.3)
        assert len(running.server.work) == 1


async def test_a_fresh_bundle_of_which_nobody_speaks_is_executed(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        (connection,) = running.worker_connections
        connection.cut()
        connection.restore()
        plan, item = call("tasks:same", x=1)
        began = time.monotonic()
        await running.run(plan, [item])
        assert time.monotonic() - began > 0.5


async def test_after_a_reconnect_a_worker_says_what_it_holds(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        heard = await running.transport.listen("holding", "*")
        plan, item = call("tasks:nap", x=1)
        bundle = await running.submit(plan, [item])
        await asyncio.sleep(0.3)
        (connection,) = running.worker_connections
        connection.cut()
        connection.restore()
        for _ in range(2):  # for those who come later, again
            assert await anext(heard) == pack(Holding("w", (bundle.id,)))
        assert (await outcome(running)).state == "success"


async def test_what_comes_again_to_who_has_it_runs_once(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS, ack_wait=0.9) as running:
        plan, item = call("tasks:nap", x=1)
        await running.submit(plan, [item])
        await asyncio.sleep(0.2)
        for work in running.server.work.values():  # as if the server had forgotten who has it
            work.lease_ends, work.deliveries = None, 0
            running.server.stream._free.setdefault(work.lane, deque()).append(work.number)
        running.server.stream.hand_out()
        assert (await outcome(running)).state == "success"
        await asyncio.sleep(0.1)
        assert running.server.work == {}
        with pytest.raises(TimeoutError):
            await running.outcomes(1, seconds=0.5)


async def test_what_comes_again_to_who_has_dealt_with_it_is_not_run(tmp_path: Path) -> None:
    """The server forgot the acknowledgement, and that it ever handed it out."""
    async with worker(tmp_path, TASKS) as running:
        plan, item = call("tasks:same", x=1)
        bundle = await running.submit(plan, [item])
        assert (await outcome(running)).state == "success"
        heard = await running.transport.listen("holding", "*")
        (connection,) = running.worker_connections
        connection.cut()
        connection.restore()
        assert await anext(heard) == pack(Holding("w", (bundle.id,)))
        await running.transport.dispatch("g", "default", 5, "p", pack(bundle), "again", running.fence)
        with pytest.raises(TimeoutError):
            await running.outcomes(1, seconds=1.5)
        assert running.server.work == {}


async def test_who_cannot_renew_gives_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with worker(tmp_path, TASKS, ack_wait=0.6) as running:
        plan, item = call("tasks:hang", x=1)
        bundle = await running.submit(plan, [item])
        await asyncio.sleep(0.4)
        (slot,) = running.slots
        assert slot.jobs
        (connection,) = running.worker_connections
        connection.cut()
        async with asyncio.timeout(2.0):
            while slot.jobs:
                await asyncio.sleep(0.02)
        assert "could not be renewed" in caplog.text
        connection.restore()
        async with asyncio.timeout(3.0):
            event = await anext(running.events())
        assert isinstance(event, Lost)  # it comes again, and is not run again
        await asyncio.sleep(0.05)
        # nor if the server forgets that it was acknowledged, and that it ever handed it out
        await running.transport.dispatch("g", "default", 5, "p", pack(bundle), "again", running.fence)
        await asyncio.sleep(1.3)
        assert not slot.jobs
        assert running.server.work == {}


async def test_results_of_several_bundles_travel_together(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS, kind="async", width=50) as running:
        plan, item = call("tasks:same", x=1)
        await running.run(plan, [item])
        before = running.server.inbox("p").last_seq
        for _ in range(30):
            await running.submit(plan, [item])
        await running.outcomes(30)
        assert running.server.inbox("p").last_seq - before < 20
        await asyncio.sleep(0.05)
        assert running.server.work == {}


async def test_what_a_worker_says_of_itself(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS, slots=2) as running:
        assert capacity(running.agent.pools) == {"default": 2}
        plan, item = call("tasks:nap", x=1)
        await running.submit(plan, [item])
        await asyncio.sleep(0.3)
        assert load(running.agent.pools) == {"default": 1}
        heard = await running.transport.listen("presence", "*")
        herald = Herald(running.transport, "n", "g", 60.0, running.agent.pools)
        saying = asyncio.create_task(herald.run())
        assert not unpack(await anext(heard), Presence).stopping
        await herald.stop()
        assert unpack(await anext(heard), Presence).stopping
        saying.cancel()
        await running.outcomes(1)


async def test_a_plan_of_another_version_ends_the_work_with_the_reason(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        plan, item = call("tasks:same", x=1)
        await running.submit(msgspec.structs.replace(plan, version=99), [item])
        found = await outcome(running)
    assert found.error is not None
    assert found.error.type == "Incompatible"
    assert "the plan has format 99" in found.error.message


async def test_a_bundle_that_cannot_be_read_is_left_to_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bomb = b"\x03" + zstandard.ZstdCompressor().compress(bytes(65 * 1024 * 1024))
    async with worker(tmp_path, TASKS) as running:
        for number, data in enumerate((b"\x09whatever", bomb)):
            await running.transport.dispatch("g", "default", 5, "p", data, f"bad{number}", running.fence)
        plan, item = call("tasks:same", x=1)
        assert (await running.run(plan, [item]))[0].state == "success"
        assert len(running.server.work) >= 2
    assert "which this version does not read" in caplog.text
    assert "larger than a message can be" in caplog.text
