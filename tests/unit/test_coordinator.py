"""The coordinator with the real engine and a worker in this process, on both transports."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest
from flowc.plan import Plan, PoolDef, RetryPolicy, StepSettings, WaitNode, digest
from flowrun.capacity import Capacity
from flowrun.client import Client
from flowrun.coordinator import Coordinator, fold
from flowrun.errors import StoreError, TransportError
from flowrun.memory import Effect, Faults, MemoryServer, MemoryTransport, run_virtual
from flowrun.messages import Bundle, Results, RunRecord, StateNote, Submit, pack_events, unpack
from flowrun.settings import Settings

from tests.support import sample_tasks
from tests.support.node import Node, memory_server
from tests.support.plans import ANY, call, each_plan, flow_plan, task

TASKS = "tests.support.sample_tasks"
#: x -> double(x) -> add(double(x), x)
SUM = flow_plan(
    (call("twice", 0, (1,)), call("sum", 1, (2, 1))),
    (task("double", f"{TASKS}:double", "a"), task("add", f"{TASKS}:add", "a", "b")),
    params=("x",),
)


@pytest.fixture(autouse=True)
def _fresh_calls() -> None:
    sample_tasks.forget_calls()


def one(target: str, **settings: object) -> Plan:
    """One step that calls a task with the parameter x."""
    given = StepSettings(**settings)  # type: ignore[arg-type]
    return flow_plan((call("only", 0, (1,)),), (task("t", target, "a"),), params=("x",), settings=(given,))


async def submit(node: Node, plan: Plan, args: dict[str, object], **options: Any) -> str:
    return (await node.client.submit(plan, args, **options)).id


def value(record: RunRecord) -> object:
    assert record.state == "success", record.error
    return msgspec.msgpack.decode(record.result)


def test_a_run() -> None:
    async def main() -> None:
        async with Node(memory_server()) as node:
            run = await submit(node, SUM, {"x": 20})
            record = await node.client.wait(run)
            assert value(record) == 60
            assert [(step.step, step.state, step.attempts) for step in record.steps] == [
                ("twice", "success", 1),
                ("sum", "success", 1),
            ]
            assert sample_tasks.calls == ["double 20", "add 40 20"]

    run_virtual(main())


def test_many_runs_at_once() -> None:
    async def main() -> None:
        async with Node(memory_server()) as node:
            runs = await asyncio.gather(*(submit(node, SUM, {"x": x}) for x in range(200)))
            records = await asyncio.gather(*(node.client.wait(run) for run in runs))
            assert [value(record) for record in records] == [3 * x for x in range(200)]

    run_virtual(main())


def test_plans_without_runs_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "_MOST_PLANS", 3)

    async def main() -> None:
        async with Node(memory_server()) as node:
            for number in range(20):
                plan = one(f"{TASKS}:double", tags=(str(number),))
                assert value(await node.client.wait(await submit(node, plan, {"x": number}))) == 2 * number
                assert len(node.coordinator._engine.tables) <= 6
            assert value(await node.client.wait(await submit(node, SUM, {"x": 1}))) == 3

    run_virtual(main())


def test_an_each_in_ranges() -> None:
    async def main() -> None:
        dispatched: list[Bundle] = []

        def observe(effect: Effect) -> None:
            if effect.what == "dispatch":
                dispatched.append(unpack(effect.data, Bundle))

        server = MemoryServer()
        server.observe = observe

        async def connect() -> MemoryTransport:
            return MemoryTransport(server)

        async with Node(connect) as node:
            record = await node.client.wait(await submit(node, each_plan(f"{TASKS}:noop"), {"n": 5_000}))
            assert value(record) == list(range(5_000))
            assert len(record.steps) == 5_001
        assert 10 <= len(dispatched) <= 100

    run_virtual(main())


def test_a_retry_waits_for_its_timer() -> None:
    async def main() -> None:
        plan = one(f"{TASKS}:fail_once", retry=RetryPolicy(max=2, backoff="fixed", first_ms=90_000))
        async with Node(memory_server()) as node:
            start = asyncio.get_running_loop().time()
            record = await node.client.wait(await submit(node, plan, {"x": 7}))
            assert value(record) == 7
            assert record.steps[0].attempts == 2
            assert 90 <= asyncio.get_running_loop().time() - start < 92
            assert record.ended_ms - record.started_ms >= 90_000

    run_virtual(main())


def test_a_failed_run() -> None:
    async def main() -> None:
        async with Node(memory_server()) as node:
            record = await node.client.wait(await submit(node, one(f"{TASKS}:missing"), {"x": 1}))
            assert (record.state, record.failed_step) == ("failed", "only")
            assert record.error is not None
            assert record.error.type == "NotFound"

    run_virtual(main())


def test_cancel() -> None:
    async def main() -> None:
        async with Node(memory_server()) as node:
            run = await submit(node, one(f"{TASKS}:nap"), {"x": 3_600})
            await asyncio.sleep(5)
            await node.client.cancel(run)
            record = await node.client.wait(run)
            assert record.state == "cancelled"
            assert asyncio.get_running_loop().time() < 60
            again = await node.client.wait(await submit(node, SUM, {"x": 1}))
            assert value(again) == 3

    run_virtual(main())


def test_notes_tell_what_happens() -> None:
    async def main() -> None:
        async with Node(memory_server()) as node:
            notes = node.client.events("run1")
            await submit(node, each_plan(f"{TASKS}:nap"), {"n": 40}, run="run1")
            seen: list[StateNote] = []
            times: list[float] = []
            async for note in notes:
                if isinstance(note, StateNote):
                    seen.append(note)
                    times.append(asyncio.get_running_loop().time())
                    if note.state != "running":
                        break
            assert seen[-1].state == "success"
            steps = [step for note in seen for step in note.steps if step.step == "each"]
            assert steps[-1].state == "success"
            live = [step for step in steps if step.total]
            assert {step.total for step in live} == {40}
            assert [step.done for step in live] == sorted(step.done for step in live)
            assert live[-1].done > 20
            assert len(times) <= 10 * times[-1] + 5  # joined ones, and an answer to each time that it says it watches

    run_virtual(main())


def test_a_dead_worker_s_work_is_done_by_another() -> None:
    async def main() -> None:
        plan = one(f"{TASKS}:nap", retry=RetryPolicy(max=1, first_ms=0))
        async with Node(memory_server()) as node:
            run = await submit(node, plan, {"x": 5})
            await asyncio.sleep(1)
            await node.kill_worker()
            await node.start_worker()
            record = await node.client.wait(run)
            assert value(record) == 5
            assert sample_tasks.calls == ["nap 5", "nap 5"]
            assert (record.steps[0].attempts, record.steps[0].state) == (2, "success")
            assert 10 <= asyncio.get_running_loop().time() < 15

    run_virtual(main())


@pytest.mark.parametrize(("killed_after", "calls"), [(0.0, 3), (0.5, 4), (2.5, 4), (5.0, 4), (6.5, 3)])
def test_a_new_coordinator_goes_on(killed_after: float, calls: int) -> None:
    """Killed at any moment, with its worker: the next one repeats what had not finished, and nothing else."""

    async def main() -> None:
        nap = task("nap", f"{TASKS}:nap", "a")
        plan = flow_plan(tuple(call(f"nap {i}", 0, (i,)) for i in (1, 2, 3)), (nap,), params=("x",))
        async with Node(memory_server()) as node:
            run = await submit(node, plan, {"x": 2})
            await asyncio.sleep(killed_after)
            await node.kill_worker()
            await node.stop_coordinator()
            await asyncio.sleep(1)
            await node.start_coordinator()
            await node.start_worker()
            record = await node.client.wait(run)
            assert value(record) == 2
            assert len(sample_tasks.calls) == calls
            assert [step.state for step in record.steps] == ["success"] * 3
            assert asyncio.get_running_loop().time() < 20

    run_virtual(main())


def test_a_record_that_was_not_stored_is_stored_at_the_take_over() -> None:
    async def main() -> None:
        connect = memory_server()
        async with Node(connect) as node:
            run = await submit(node, SUM, {"x": 1})
            await node.client.wait(run)
            await node.stop_coordinator()
            server = node.coordinator._transport.server  # type: ignore[attr-defined]
            server.results.clear()
            await node.start_coordinator()
            assert value(await node.client.wait(run)) == 3

    run_virtual(main())


def test_an_expired_record_is_not_stored_again() -> None:
    async def main() -> None:
        async with Node(memory_server(), settings=Settings(keep_results=100)) as node:
            run = await submit(node, SUM, {"x": 1})
            await node.client.wait(run)
            await asyncio.sleep(200)
            assert await node.client.record(run) is None
            await node.client.wait(await submit(node, SUM, {"x": 2}))
            await node.stop_coordinator()
            await node.start_coordinator()
            await asyncio.sleep(1)
            assert await node.client.record(run) is None

    run_virtual(main())


def test_a_take_over_collects_blobs_but_not_those_of_a_record() -> None:
    """The run puts its result at its start, ends ten hours later, and its record is kept for four."""

    async def main() -> None:
        plan = flow_plan(
            (call("nap", 0, (1,)), call("text", 1, (2,))),
            (task("nap", f"{TASKS}:nap", "a"), task("text", f"{TASKS}:text", "a")),
            params=("x", "size"),
        )
        connect, settings = memory_server(), Settings(keep_results=4 * 3600)
        transport = await connect()
        async with Node(connect, settings=settings) as node:
            await transport.put_blob("old", b"")
            run = await submit(node, plan, {"x": 36_000, "size": 50_000})
            record = await node.client.wait(run)
            assert record.state == "success"
        async with Node(connect, settings=settings):
            await asyncio.sleep(1)  # its inbox is as old as the blobs
            assert await transport.get_blob("old") == b""
        await transport.drop_partition("0")
        async with Node(connect, settings=settings) as node:
            await asyncio.sleep(1)
            with pytest.raises(StoreError):
                await transport.get_blob("old")
            assert await node.client.value(record) == "x" * 50_000

    run_virtual(main())


def test_a_run_keeps_its_code_for_as_long_as_it_lives() -> None:
    """It sleeps for a week, its deployment is long gone, and blobs are kept for some minutes."""

    async def main() -> None:
        code = b"a zip"
        nap = WaitNode(name="nap", waits_for="sleep", args=(("for", ["lit", "PT168H"]),), settings=0, type=ANY)
        asleep = flow_plan((nap,), (), code=digest(code))
        settings = Settings(keep_results=900, blob_renewal=60.0)
        connect = memory_server(settings)
        transport = await connect()
        async with Node(connect, settings=settings) as node:
            await transport.put_blob(asleep.code, code)
            await transport.put_blob("stray", b"")
            await submit(node, asleep, {})
            for _ in range(12):
                await node.client.wait(await submit(node, SUM, {"x": 1}))
                await asyncio.sleep(450)
            assert await transport.get_blob(asleep.code) == code
            with pytest.raises(StoreError):
                await transport.get_blob("stray")

    run_virtual(main())


def test_timers_of_the_past_are_armed_again() -> None:
    async def main() -> None:
        plan = one(f"{TASKS}:fail_once", retry=RetryPolicy(max=2, backoff="fixed", first_ms=600_000))
        async with Node(memory_server()) as node:
            run = await submit(node, plan, {"x": 7})
            await asyncio.sleep(10)
            await node.stop_coordinator()
            await asyncio.sleep(300)
            await node.start_coordinator()
            record = await node.client.wait(run)
            assert value(record) == 7
            assert 600 <= asyncio.get_running_loop().time() < 610

    run_virtual(main())


def test_damaged_and_foreign_messages_are_skipped(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        connect = memory_server()
        transport = await connect()
        await transport.open_partition("0")
        await transport.append("0", b"not a message", "1")
        await transport.append("0", b"\x02\x92\x93\xa5other\x01\x02\x93\xa6cancel\xa1x\xa1y", "2")
        async with Node(connect) as node:
            assert value(await node.client.wait(await submit(node, SUM, {"x": 1}))) == 3
            await transport.append("0", b"\x09", "3")
            assert value(await node.client.wait(await submit(node, SUM, {"x": 2}))) == 6

    with caplog.at_level(logging.WARNING, "flow.coordinator"):
        run_virtual(main())
    assert len([r for r in caplog.records if "is skipped" in r.message]) == 3


def test_a_plan_that_is_missing_fails_only_its_runs(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        connect = memory_server()
        transport = await connect()
        async with Node(connect) as node:
            await transport.append("0", pack_events([Submit(run="r1", plan="00" * 16, args=b"\x80")]), "1")
            record = await node.client.wait("r1")
            assert record.state == "failed"
            assert record.error is not None
            assert "does not have" in record.error.message
            assert value(await node.client.wait(await submit(node, SUM, {"x": 2}))) == 6

    run_virtual(main())


def test_a_defect_of_the_engine_ends_one_run(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    from flowrun.engine import Engine

    decide = Engine.decide

    def broken(self: Engine, event: object, now_ms: int, seq: int) -> object:
        if isinstance(event, Submit) and event.run == "bad":
            self.deciding = event.run
            raise IndexError("list index out of range")
        return decide(self, event, now_ms, seq)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "decide", broken)

    async def main() -> None:
        async with Node(memory_server()) as node:
            await submit(node, SUM, {"x": 1}, run="bad")
            record = await node.client.wait("bad")
            assert (record.state, record.flow) == ("failed", "test")
            assert record.error is not None
            assert record.error.type == "InternalError"
            assert "please report it" in record.error.message
            assert value(await node.client.wait(await submit(node, SUM, {"x": 2}))) == 6
            await node.stop_coordinator()
            await node.start_coordinator()
            assert value(await node.client.wait(await submit(node, SUM, {"x": 3}))) == 9

    run_virtual(main())
    assert "IndexError" in caplog.text


def test_a_run_that_is_given_up_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its slots go to those who wait for them, and its own places in the queue are void."""
    from flowrun.engine import Engine

    decide = Engine.decide

    def broken(self: Engine, event: object, now_ms: int, seq: int) -> object:
        commands = decide(self, event, now_ms, seq)  # type: ignore[arg-type]
        if isinstance(event, Results) and event.outcomes[0].run == "bad" and self.peek("bad"):
            self.deciding = "bad"
            raise IndexError("list index out of range")
        return commands

    monkeypatch.setattr(Engine, "decide", broken)
    pools, settings = (PoolDef(name="one", slots=1),), (StepSettings(pool=0),)
    naps = task("nap", f"{TASKS}:nap", "a")
    bad = flow_plan((call("first", 0, (1,)), call("second", 0, (1,))), (naps,), params=("x",), settings=settings)
    good = flow_plan((call("only", 0, (1,)),), (naps,), params=("x",), settings=settings)

    each = each_plan(f"{TASKS}:nap", settings=settings)
    bad, good, each = (msgspec.structs.replace(plan, pools=pools) for plan in (bad, good, each))

    async def main() -> None:
        async with Node(memory_server()) as node:
            await submit(node, bad, {"x": 1}, run="bad")
            await submit(node, each, {"n": 3}, run="each")
            await submit(node, good, {"x": 2}, run="good")
            async with asyncio.timeout(60):
                assert (await node.client.wait("bad")).state == "failed"
                assert value(await node.client.wait("each")) == [0, 1, 2]
                assert value(await node.client.wait("good")) == 2

    run_virtual(main())


def test_what_fails_in_the_background_ends_it() -> None:
    async def main() -> None:
        server = MemoryServer()
        transport = MemoryTransport(server)
        capacity = Capacity("nodes", Settings(), fixed=1)
        coordinator = Coordinator(transport, "0", group="nodes", capacity=capacity)
        working = asyncio.create_task(coordinator.run())
        await coordinator.ready.wait()
        client = await Client.over(transport, partition="0")
        await client.submit(SUM, {"x": 1})
        await asyncio.sleep(0)
        server.faults = Faults(fail=1.0)
        with pytest.raises(TransportError):
            await asyncio.wait_for(working, 10)

    run_virtual(main())
