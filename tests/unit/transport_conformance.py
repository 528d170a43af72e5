"""What every transport must do. Each check takes a function that opens one more connection to the same server."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

import pytest
from flowrun.errors import StoreError
from flowrun.settings import Settings
from flowrun.transport import Record, Transport

Connect = Callable[[], Awaitable[Transport]]
Check = Callable[[Connect], Awaitable[None]]

#: of these checks
SETTINGS = Settings(ack_wait=0.6, blob_renewal=0.1)
ACK_WAIT = SETTINGS.ack_wait


def digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


async def take(transport: Transport, partition: str, after: int, count: int) -> list[Record]:
    records: list[Record] = []
    reading = transport.read(partition, after)
    async for batch in reading:
        records += batch
        if len(records) >= count:
            break
    await reading.aclose()  # type: ignore[attr-defined]
    return records


async def appends_are_read_in_order(connect: Connect) -> None:
    t = await connect()
    await t.open_partition("p")
    await t.open_partition("p")
    assert await t.last_seq("p") == 0
    seqs = [await t.append("p", f"event {i}".encode(), f"key {i}") for i in range(5)]
    assert await t.last_seq("p") == seqs[-1]
    records = await take(t, "p", 0, 5)
    assert [r.data for r in records] == [f"event {i}".encode() for i in range(5)]
    assert [r.seq for r in records] == seqs == sorted(set(seqs))
    assert [r.time_ms for r in records] == sorted(r.time_ms for r in records)
    assert records[0].time_ms > 1_600_000_000_000
    assert [r.seq for r in await take(t, "p", seqs[2], 2)] == seqs[3:]


async def a_reader_sees_what_comes_later(connect: Connect) -> None:
    t, other = await connect(), await connect()
    await t.open_partition("p")
    reading = asyncio.create_task(take(t, "p", 0, 3_000))
    await asyncio.sleep(0.05)
    await asyncio.gather(*(other.append("p", str(i).encode(), f"k{i}") for i in range(3_000)))
    records = await reading
    assert sorted(int(r.data) for r in records) == list(range(3_000))
    assert [r.seq for r in records] == list(range(1, 3_001))


async def a_key_is_written_once(connect: Connect) -> None:
    t = await connect()
    await t.open_partition("p")
    await t.open_partition("q")
    first = await t.append("p", b"one", "same")
    assert await t.append("p", b"two", "same") == first
    assert await t.append("q", b"another partition", "same") > 0
    await t.append("p", b"three", "other")
    assert [r.data for r in await take(t, "p", 0, 2)] == [b"one", b"three"]


async def partitions_are_apart(connect: Connect) -> None:
    t = await connect()
    await asyncio.gather(t.open_partition("p"), t.open_partition("q.with dots"))
    await t.append("p", b"of p", "1")
    await t.append("q.with dots", b"of q", "1")
    await t.dispatch("default", 5, "q.with dots", b"work of q", "w")
    assert [r.data for r in await take(t, "q.with dots", 0, 1)] == [b"of q"]
    await t.drop_partition("p")
    await t.drop_partition("p")
    assert await t.last_seq("p") == 0
    source = await t.work("q.with dots", ("default",))
    assert [d.data for d in await source.receive(1)] == [b"work of q"]
    await source.close()


async def a_dropped_partition_starts_empty(connect: Connect) -> None:
    t = await connect()
    await t.open_partition("p")
    await t.append("p", b"old", "1")
    await t.dispatch("default", 5, "p", b"old work", "w1")
    source = await t.work("p", ("default",))
    await source.close()
    await t.drop_partition("p")
    await t.open_partition("p")
    assert await t.last_seq("p") == 0
    await t.dispatch("default", 5, "p", b"new work", "w2")
    source = await t.work("p", ("default",))
    assert [d.data for d in await source.receive(5)] == [b"new work"]
    await source.close()


async def work_goes_to_one_worker(connect: Connect) -> None:
    t, one, two = await connect(), await connect(), await connect()
    await t.open_partition("p")
    sources = [await one.work("p", ("default",)), await two.work("p", ("default",))]
    got: list[bytes] = []

    async def worker(source: object) -> None:
        while True:
            for delivery in await source.receive(3):  # type: ignore[attr-defined]
                assert not delivery.redelivered
                got.append(delivery.data)
                await delivery.ack()

    workers = [asyncio.create_task(worker(source)) for source in sources]
    await asyncio.gather(*(t.dispatch("default", 5, "p", str(i).encode(), f"b{i}") for i in range(50)))
    async with asyncio.timeout(5):
        while len(got) < 50:
            await asyncio.sleep(0.01)
    await asyncio.sleep(ACK_WAIT * 1.5)
    assert sorted(map(int, got)) == list(range(50))
    for task in workers:
        task.cancel()
    await asyncio.wait(workers)
    for source in sources:
        await source.close()


async def work_is_delivered_by_queue(connect: Connect) -> None:
    t = await connect()
    await t.open_partition("p")
    for queue in ("cpu", "io", "gpu"):
        await t.dispatch(queue, 5, "p", queue.encode(), queue)
    source = await t.work("p", ("cpu", "io"))
    got = {d.data for d in await source.receive(1)}
    got |= {d.data for d in await source.receive(5)}
    assert got == {b"cpu", b"io"}
    await source.close()
    other = await t.work("p", ("gpu",))
    assert [d.data for d in await other.receive(1)] == [b"gpu"]
    await other.close()


async def a_silent_worker_loses_its_bundle(connect: Connect) -> None:
    t, dead, alive = await connect(), await connect(), await connect()
    await t.open_partition("p")
    await t.dispatch("default", 5, "p", b"bundle", "b")
    lost = await dead.work("p", ("default",))
    [first] = await lost.receive(1)
    assert not first.redelivered
    source = await alive.work("p", ("default",))
    loop = asyncio.get_running_loop()
    start = loop.time()
    [again] = await source.receive(1)
    assert 0.8 * ACK_WAIT <= loop.time() - start <= 3 * ACK_WAIT
    assert (again.data, again.redelivered) == (b"bundle", True)
    await again.ack()
    await lost.close()
    await source.close()


async def progress_keeps_a_bundle(connect: Connect) -> None:
    t, other = await connect(), await connect()
    await t.open_partition("p")
    await t.dispatch("default", 5, "p", b"long", "b")
    source, idle = await t.work("p", ("default",)), await other.work("p", ("default",))
    [delivery] = await source.receive(1)
    waiting = asyncio.create_task(idle.receive(1))
    for _ in range(5):
        await asyncio.sleep(ACK_WAIT / 3)
        await delivery.progress()
    await delivery.ack()
    await asyncio.sleep(ACK_WAIT * 1.2)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait([waiting])
    await source.close()
    await idle.close()


async def cleared_work_is_gone(connect: Connect) -> None:
    t = await connect()
    await asyncio.gather(t.open_partition("p"), t.open_partition("q"))
    await t.dispatch("default", 5, "p", b"held", "1")
    dead = await t.work("p", ("default",))
    await dead.receive(1)
    await t.dispatch("default", 5, "p", b"waiting", "2")
    await t.dispatch("default", 5, "q", b"of q", "3")
    await t.clear_work("p")
    await t.dispatch("default", 5, "p", b"new", "4")
    await dead.close()
    source = await t.work("p", ("default",))
    assert [d.data for d in await source.receive(5)] == [b"new"]
    of_q = await t.work("q", ("default",))
    assert [d.data for d in await of_q.receive(5)] == [b"of q"]
    await source.close()
    await of_q.close()


async def blobs_of_any_size(connect: Connect) -> None:
    t, other = await connect(), await connect()
    await t.open_partition("p")
    for size in (0, 10, 100_000, 3_000_000):
        data = bytes(i % 251 for i in range(size))
        await t.put_blob(digest(data), data)
        await other.put_blob(digest(data), data)
        assert await other.get_blob(digest(data)) == data
    with pytest.raises(StoreError, match="does not have"):
        await t.get_blob(digest(b"never stored"))


async def blobs_are_collected_when_nothing_can_need_them(connect: Connect) -> None:
    t, other = await connect(), await connect()
    await t.open_partition("p")
    small, large, again = b"small", bytes(3_000_000), bytes(2_000_000)
    for data in (small, large, again):
        await t.put_blob(digest(data), data)
    await t.append("p", b"refers to them", "1")
    await asyncio.sleep(2 * SETTINGS.blob_margin)
    await t.collect_blobs(0)
    for data in (small, large, again):
        assert await other.get_blob(digest(data)) == data
    await t.drop_partition("p")
    await t.collect_blobs(60)
    assert await other.get_blob(digest(small)) == small
    await t.put_blob(digest(again), again)
    await t.collect_blobs(0)
    assert await other.get_blob(digest(again)) == again
    for data in (small, large):
        with pytest.raises(StoreError, match="does not have"):
            await other.get_blob(digest(data))
    await asyncio.sleep(2 * SETTINGS.blob_margin)
    await t.collect_blobs(0)
    await t.collect_blobs(0)
    with pytest.raises(StoreError, match="does not have"):
        await other.get_blob(digest(again))


async def results_are_kept_for_their_time(connect: Connect) -> None:
    t, other = await connect(), await connect()
    await t.open_partition("p")
    assert await t.get_result("run 1") is None
    await t.put_result("run 1", b"first", 3600)
    await t.put_result("run 2", b"short", 1)
    await t.put_result("run 1", b"second", 3600)
    assert await other.get_result("run 1") == b"second"
    assert await other.get_result("run 2") == b"short"
    async with asyncio.timeout(10):
        while await other.get_result("run 2") is not None:
            await asyncio.sleep(0.05)
    assert await other.get_result("run 1") == b"second"


async def who_waits_for_a_result_gets_it(connect: Connect) -> None:
    t, other = await connect(), await connect()
    await t.open_partition("p")
    early = asyncio.create_task(other.wait_result("r"))
    await asyncio.sleep(0.05)
    assert not early.done()
    await t.put_result("r", b"done", 60)
    async with asyncio.timeout(1):
        assert await early == b"done"
    assert await other.wait_result("r") == b"done"


async def notes_reach_who_listens(connect: Connect) -> None:
    t, other = await connect(), await connect()
    await t.open_partition("p")
    await t.notify("state", "r1", b"nobody hears")
    await asyncio.sleep(0.05)
    one, everything = await other.listen("state", "r1"), await other.listen("state", "*")
    await t.notify("state", "r1", b"a")
    await t.notify("state", "r2", b"b")
    await t.notify("log", "r1", b"c")
    await t.notify("state", "r1", b"d")
    async with asyncio.timeout(2):
        assert [await anext(one), await anext(one)] == [b"a", b"d"]
        assert [await anext(everything) for _ in range(3)] == [b"a", b"b", b"d"]
    for notes in (one, everything):
        await notes.aclose()  # type: ignore[attr-defined]


CHECKS: list[Check] = [
    appends_are_read_in_order,
    a_reader_sees_what_comes_later,
    a_key_is_written_once,
    partitions_are_apart,
    a_dropped_partition_starts_empty,
    work_goes_to_one_worker,
    work_is_delivered_by_queue,
    a_silent_worker_loses_its_bundle,
    progress_keeps_a_bundle,
    cleared_work_is_gone,
    blobs_of_any_size,
    blobs_are_collected_when_nothing_can_need_them,
    results_are_kept_for_their_time,
    who_waits_for_a_result_gets_it,
    notes_reach_who_listens,
]
