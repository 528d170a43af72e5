"""The client, against a leader that is no more than its side of the talk."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flowc.plan import FORMAT, Plan, digest, encode, write_file_bytes
from flowrun import values
from flowrun.client import Busy, Client, RunFailed, UnknownRun, WaitTimeout
from flowrun.memory import MemoryServer, MemoryTransport, run_virtual
from flowrun.messages import Cancel, Ended, Failure, LogNote, RunRecord, StateNote, Submit, pack, unpack_events
from flowrun.parameters import ArgumentError
from flowrun.partitions import partition_of
from flowrun.settings import Settings

from .leader import FakeLeader, record_of

PLAN = Plan(
    flow="f", file="f.flow", params=(), returns=None, types=(), settings=(), tasks=(), blocks=(), version=FORMAT
)
PARTITIONS = tuple(map(str, range(8)))


def double(x: int, by: int = 2) -> int:
    return x * by


class World:
    """A server, a leader of all partitions, and clients."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.server = MemoryServer(self.settings)
        self.leader = FakeLeader(MemoryTransport(self.server), PARTITIONS)
        self.clients: list[Client] = []

    async def client(self) -> Client:
        client = await Client.over(MemoryTransport(self.server), self.settings)
        self.clients.append(client)
        return client


@asynccontextmanager
async def a_world(settings: Settings | None = None) -> AsyncIterator[World]:
    world = World(settings)
    async with world.leader:
        yield world
        for client in world.clients:
            await client.close()


def in_a_world(test: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Runs a test in virtual time."""

    async def main() -> None:
        async with a_world() as world:
            await test(world)

    def run() -> None:
        run_virtual(main())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


# ---- submissions ----------------------------------------------------------------------------------------------------


@in_a_world
async def test_a_task_in_one_line(world: World) -> None:
    world.leader.value = lambda submit: values.encode(msgspec.msgpack.decode(submit.args)["x"] * 2)
    client = await world.client()
    run = await client.submit_task(double, 21)
    assert await run.result() == 42
    [seen] = world.leader.seen
    assert seen.run == run.id
    assert seen.plan in world.server.blobs


@in_a_world
async def test_what_is_submitted_in_one_moment_is_one_message_per_partition(world: World) -> None:
    client = await world.client()
    before = world.leader.messages
    runs = await asyncio.gather(*(client.submit_task(double, i) for i in range(500)))
    assert world.leader.messages - before <= len(PARTITIONS)
    assert await asyncio.gather(*(run.result() for run in runs)) == [1] * 500
    assert len({run.id for run in runs}) == 500
    assert all(partition_of(run.id, 8) == client.partition_of(run.id) for run in runs)


@in_a_world
async def test_while_a_message_is_on_its_way_the_next_is_filled(world: World) -> None:
    client = await world.client()
    world.server.faults.delay = 0.1
    before = world.leader.messages

    async def one_after_the_other(i: int) -> None:
        await asyncio.sleep(i / 1000)
        await (await client.submit_task(double, i)).result()

    async with asyncio.TaskGroup() as group:
        for i in range(400):
            group.create_task(one_after_the_other(i))
    assert world.leader.messages - before < 100


@in_a_world
async def test_handles_at_once(world: World) -> None:
    client = await world.client()
    runs = [client.submit_task_nowait(double, i) for i in range(3000)]
    assert [await run.result() for run in runs] == [1] * 3000


@in_a_world
async def test_submit_many(world: World) -> None:
    client = await world.client()
    runs = await client.submit_many(double, [1, (2, 3), {"x": 4}])
    assert [await run.result() for run in runs] == [1, 1, 1]
    assert [msgspec.msgpack.decode(submit.args) for submit in sorted(world.leader.seen, key=lambda s: s.run)] == [
        {"x": 1}, {"x": 2, "by": 3}, {"x": 4},
    ]  # fmt: skip
    assert len(await client.submit_many(PLAN, [{}] * 11_000)) == 11_000


@in_a_world
async def test_a_flow_by_plan_and_by_file(world: World) -> None:
    client = await world.client()
    run = await client.submit(PLAN)
    assert await run.result() == 1
    assert world.server.blobs[digest(encode(PLAN))] == encode(PLAN)
    with pytest.raises(ArgumentError, match="takes no parameters"):
        client.submit(PLAN, {"x": 1})
    with pytest.raises(ArgumentError, match="cannot be read: no such file"):
        client.submit("gone.flowplan")
    with pytest.raises(ArgumentError, match="no flow `nightly` is deployed"):
        await client.submit("nightly")


async def test_a_plan_file(tmp_path: Path) -> None:
    (tmp_path / "f.flowplan").write_bytes(write_file_bytes(PLAN))
    (tmp_path / "bad.flowplan").write_bytes(b"nothing")
    async with a_world() as world:
        client = await world.client()
        assert await (await client.submit(tmp_path / "f.flowplan")).result() == 1
        with pytest.raises(ArgumentError, match=r"bad\.flowplan: this is not a plan"):
            client.submit(str(tmp_path / "bad.flowplan"))


@in_a_world
async def test_large_arguments_are_stored_before_their_submission(world: World) -> None:
    client = await world.client()
    await (await client.submit_task("m:f", "x" * 100_000)).result()
    [seen] = world.leader.seen
    [blob] = values.references([seen.args])
    assert len(world.server.blobs[blob.digest]) > 100_000


@in_a_world
async def test_a_plan_is_put_again_before_it_may_be_collected(world: World) -> None:
    client = await world.client()
    await client.submit(PLAN)
    put = world.server.blob_times[digest(encode(PLAN))]
    await asyncio.sleep(60)
    await client.submit(PLAN)
    assert world.server.blob_times[digest(encode(PLAN))] == put
    await asyncio.sleep(30 * 60)
    await client.submit(PLAN)
    assert world.server.blob_times[digest(encode(PLAN))] > put


@in_a_world
async def test_a_plan_is_put_again_after_a_reconnect(world: World) -> None:
    client = await world.client()
    await client.submit(PLAN)
    del world.server.blobs[digest(encode(PLAN))]
    run = client._submit_flow(PLAN, {}, None)
    for reconnected in client._transport.on_reconnect:
        reconnected()
    await run.accepted()
    assert digest(encode(PLAN)) in world.server.blobs


@in_a_world
async def test_a_full_inbox_refuses_and_takes_again_later(world: World) -> None:
    client = await world.client()
    client._outbox._settings = Settings(inbox_high_water=10)
    await asyncio.sleep(2)
    await asyncio.gather(*(client.submit_task(double, i) for i in range(100)))
    await asyncio.sleep(2)
    await asyncio.gather(*(client.submit_task(double, i) for i in range(100)))  # these find out
    await asyncio.sleep(0.1)
    with pytest.raises(Busy, match="is full"):
        await asyncio.gather(*(client.submit_task(double, i) for i in range(100)))
    client._outbox._settings = Settings()
    await asyncio.sleep(2)
    with pytest.raises(Busy):
        await asyncio.gather(*(client.submit_task(double, i) for i in range(100)))
    await asyncio.sleep(0.1)
    assert await (await client.submit_task(double, 1)).result() == 1


@in_a_world
async def test_a_server_that_refuses_is_told_to_all_who_wait(world: World) -> None:
    client = await world.client()
    world.server.faults.fail = 1.0
    runs = [client.submit_task_nowait(double, i) for i in range(3)]
    for run in runs:
        with pytest.raises(Exception, match="does not answer"):
            await run.result()
    for told in (runs[0].result, runs[0].accepted, runs[0].wait):
        with pytest.raises(Exception, match="does not answer"):
            await told()


# ---- when, and under which id ---------------------------------------------------------------------------------------


@in_a_world
async def test_the_same_key_is_the_same_run(world: World) -> None:
    one, other = await world.client(), await world.client()
    runs = await asyncio.gather(*(client.task(double, key="order 7")(7) for client in (one, other, one)))
    assert len({run.id for run in runs}) == 1
    assert runs[0].id.startswith("k")
    assert await asyncio.gather(*(run.result() for run in runs)) == [1, 1, 1]
    assert len(world.leader.seen) == 1
    later = await (await world.client()).task(double, key="order 7")(7)
    assert await later.result() == 1
    assert (await one.task(double, key="order 8")(7)).id != later.id
    assert (await one.submit(PLAN, key="order 7")).id != later.id


@in_a_world
async def test_a_delayed_run_begins_at_its_time(world: World) -> None:
    client = await world.client()
    run = await client.task(double, delay="1h")(1)
    assert (await run.status()).state == "delayed"
    await asyncio.sleep(3590)
    assert world.leader.seen == []
    await asyncio.sleep(20)
    assert await run.result() == 1
    soon = client._clock.now_ms() // 1000 + 100
    at = dt.datetime.fromtimestamp(soon, dt.UTC)
    assert (await (await client.submit(PLAN, at=at)).status()).at_ms == soon * 1000
    past = await client.submit(PLAN, at=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    assert await past.result() == 1


@in_a_world
async def test_a_delayed_run_that_is_cancelled_never_begins(world: World) -> None:
    client, other = await world.client(), await world.client()
    run = await client.task(double, delay=60)(1)
    await other.cancel(run.id)
    with pytest.raises(RunFailed, match="was cancelled"):
        await run.result()
    assert (await other.status(run.id)).state == "cancelled"
    await asyncio.sleep(100)
    assert world.leader.seen == []


@in_a_world
async def test_options(world: World) -> None:
    client = await world.client()
    now = client._clock.now_ms()
    await client.task(double, expires=30, priority=9)(1)
    await client.submit(PLAN, run="mine", delay=10, expires=30)
    await asyncio.sleep(11)
    [first, second] = world.leader.seen
    assert first.expires_ms - now == pytest.approx(30_000, abs=1000)
    assert (first.priority, second.run) == (9, "mine")
    assert second.expires_ms - now == pytest.approx(40_000, abs=1000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": dt.datetime(2030, 1, 1)}, "needs a time zone"),
        ({"at": 5}, "takes a datetime"),
        ({"at": dt.datetime(2030, 1, 1, tzinfo=dt.UTC), "delay": 5}, "not both"),
        ({"delay": "soon"}, "takes a duration"),
        ({"delay": -1}, "takes a duration"),
        ({"expires": True}, "takes a duration"),
        ({"priority": 10}, "0 to 9"),
        ({"key": ""}, "not empty"),
        ({"key": "a", "run": "b"}, "not both"),
    ],
)
async def test_wrong_options(options: dict[str, Any], message: str) -> None:
    async with a_world() as world:
        client = await world.client()
        with pytest.raises(ArgumentError, match=message):
            client.submit(PLAN, **options)
        with pytest.raises(ArgumentError, match="no option `countdown`"):
            client.submit(PLAN, countdown=1)


# ---- ends -----------------------------------------------------------------------------------------------------------


@in_a_world
async def test_a_failed_run_raises_with_its_failure(world: World) -> None:
    world.leader.hold = True
    client = await world.client()
    run = await client.submit(PLAN)
    await asyncio.sleep(0.1)
    failure = Failure(type="ValueError", message="boom", detail="Traceback …")
    record = msgspec.structs.replace(record_of(world.leader.open[run.id], b"\xc0", "failed"), error=failure)
    client.waits.end(record)
    with pytest.raises(RunFailed, match="of `f` failed: ValueError: boom") as caught:
        await run.result()
    assert caught.value.failure == failure
    assert caught.value.__notes__ == ["Traceback …"]


@in_a_world
async def test_all_who_wait_for_a_run_are_told_and_each_has_a_value_of_its_own(world: World) -> None:
    world.leader.hold = True
    world.leader.value = lambda submit: values.encode([1, 2])
    client = await world.client()
    run = await client.submit_task(double, 1)
    record, given_up, first, second = asyncio.create_task(run.wait()), run.result(), run.result(), run.result()
    await asyncio.sleep(0.1)
    given_up.cancel()
    third = run.result()
    await world.leader.end([run.id])
    lists = [await first, await second, await third, await run.result()]
    assert lists == [[1, 2]] * 4
    assert len({id(found) for found in lists}) == 4
    assert (await record).run == run.id
    assert given_up.cancelled()


@in_a_world
async def test_asking_again_and_again_leaves_nothing_behind(world: World) -> None:
    world.leader.hold = True
    client = await world.client()
    run = await client.submit_task(double, 1)
    for _ in range(10):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run.result(), 0.01)
    assert run.waiters is None
    await world.leader.end([run.id])
    assert await run.result() == 1


@in_a_world
async def test_an_end_that_comes_before_anybody_waits_is_kept(world: World) -> None:
    client = await world.client()
    runs = await client.submit_many(double, range(100))
    await asyncio.sleep(1)
    assert [run.result().done() for run in runs] == [True] * 100
    assert not client.waits._waiting


@in_a_world
async def test_a_lost_note_hangs_nobody(world: World) -> None:
    world.leader.mute = True
    client = await world.client()
    runs = [client.submit_task_nowait(double, i) for i in range(3000)]
    async with asyncio.timeout(60):
        assert [await run.result() for run in runs] == [1] * 3000


@in_a_world
async def test_many_waiting_handles_are_a_bounded_effort(world: World) -> None:
    world.leader.hold = True
    client = await world.client()
    runs = await client.submit_many(double, range(20_000))
    results = asyncio.gather(*(run.result() for run in runs))
    looks = 0
    transport = client._transport
    get_result = transport.get_result

    async def counted(run: str) -> bytes | None:
        nonlocal looks
        looks += 1
        return await get_result(run)

    transport.get_result = counted  # type: ignore[method-assign]
    await asyncio.sleep(10)
    assert 0 < looks <= 600
    await world.leader.end([run.id for run in runs])
    assert await results == [1] * 20_000


@in_a_world
async def test_runs_of_others(world: World) -> None:
    world.leader.hold = True
    one, other = await world.client(), await world.client()
    run = await one.submit(PLAN)
    waiting = asyncio.create_task(other.result(run.id))
    await asyncio.sleep(5)
    assert {watch.run for watch in world.leader.watched} == {run.id}
    await world.leader.end([run.id])
    async with asyncio.timeout(3):
        assert await waiting == 1
    assert await other.result(run.id) == 1  # again, from the store
    assert (await other.status(run.id)).state == "success"


@in_a_world
async def test_an_unknown_run(world: World) -> None:
    client = await world.client()
    with pytest.raises(UnknownRun, match="no run `r0`"):
        await client.result("r0")
    with pytest.raises(UnknownRun):
        await client.wait("r0")
    world.leader.deaf = True
    assert (await client.status("r0")).state == "unseen"


@in_a_world
async def test_time_outs(world: World) -> None:
    world.leader.hold = True
    client = await world.client()
    run = await client.submit(PLAN)
    with pytest.raises(WaitTimeout, match="after 5 s"):
        await run.result(timeout=5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await run.result()
    await world.leader.end([run.id])
    assert await run.result(timeout=5) == 1


@in_a_world
async def test_a_closed_client_tells_who_waits(world: World) -> None:
    world.leader.hold = True
    client = await Client.over(MemoryTransport(world.server))
    result = (await client.submit(PLAN)).result()
    await client.close()
    with pytest.raises(Exception, match="the client was closed"):
        await result


@in_a_world
async def test_closing_waits_for_submissions_that_nobody_waits_for(world: World) -> None:
    client = await Client.over(MemoryTransport(world.server))
    client.submit_task(double, 1)
    client.submit_task_nowait(double, 2)
    await client.close()
    await asyncio.sleep(0.1)
    assert len(world.leader.seen) == 2


async def test_the_value_of_a_record() -> None:
    """Large values lie in the blob store, and may hold others that do."""
    async with a_world() as world:
        client = await world.client()
        stored, blob = values.externalise(values.encode(list(range(50_000))))
        assert blob is not None
        await client._transport.put_blob(*blob)
        pair, blob = values.externalise(values.make_list([stored, values.encode("x" * 40_000)]))
        assert blob is not None
        await client._transport.put_blob(*blob)
        world.leader.value = lambda submit: pair
        assert await (await client.submit(PLAN)).result() == [list(range(50_000)), "x" * 40_000]


# ---- cancel, watch, list --------------------------------------------------------------------------------------------


@in_a_world
async def test_a_cancellation_is_an_event(world: World) -> None:
    world.leader.hold = True
    client = await world.client()
    run = await client.submit(PLAN)
    await run.cancel("step")
    await client.cancel(run.id, reason="enough")
    await asyncio.sleep(0.1)
    assert world.leader.cancelled == [Cancel(run.id, "cancelled", "step"), Cancel(run.id, "enough")]


@in_a_world
async def test_events_of_a_run_from_before_its_submission(world: World) -> None:
    world.leader.hold = True
    client = await world.client()
    seen: list[StateNote | LogNote] = []

    async def watch() -> None:
        async for note in client.events("mine"):
            seen.append(note)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.1)
    await client.submit(PLAN, run="mine")
    line = LogNote(run="mine", step="s", index=None, attempt=1, stream="out", text="hello")
    await client._transport.put_log("mine", pack(line))
    await asyncio.sleep(3)
    await world.leader.end(["mine"])
    await watching
    assert line in seen
    assert any(isinstance(note, StateNote) and note.steps for note in seen[:-1])
    assert isinstance(seen[-1], StateNote)
    assert seen[-1].state == "success"


@in_a_world
async def test_what_runs(world: World) -> None:
    world.leader.hold = True
    client = await world.client()
    runs = [await client.submit(PLAN) for _ in range(3)]
    listed = await client.list(limit=2)
    assert {run.run for run in listed.runs} < {run.id for run in runs}
    assert (listed.total, listed.silent) == (3, ())
    world.leader.deaf = True
    assert (await client.list()).silent == PARTITIONS


async def test_a_client_of_one_partition() -> None:
    transport = MemoryTransport(MemoryServer())
    client = await Client.over(transport, partition="local-r1")
    await client.submit(PLAN, run="r1")
    [message] = transport.server.inboxes["local-r1"]
    [event] = unpack_events(message.data)
    assert isinstance(event, Submit)
    assert event.run == "r1"
    await client.close()


def test_a_record_that_is_too_large_for_a_note_is_read() -> None:
    async def main() -> None:
        async with a_world() as world:
            client = await world.client()
            world.leader.hold = True
            run = await client.submit(PLAN)
            waiting = run.result()
            await asyncio.sleep(0.1)
            record: RunRecord = record_of(world.leader.open[run.id], b"\x07")
            await client._transport.put_results([(run.id, pack(record))], 60)
            client.waits.ended(Ended(records=(), runs=(run.id,)))
            async with asyncio.timeout(1):
                assert await waiting == 7

    run_virtual(main())
