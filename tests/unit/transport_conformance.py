"""What every transport must do. Each check takes a function that opens one more connection to the same server."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import pytest
from flowrun.errors import Conflict, Fenced, StoreError
from flowrun.memory import MemoryTransport
from flowrun.nats.protocol import encode_headers, publication
from flowrun.nats.transport import NatsTransport
from flowrun.settings import Settings
from flowrun.transport import Heard, Hearing, Record, Transport, WorkSource

Connect = Callable[[], Awaitable[Transport]]
Check = Callable[[Connect], Awaitable[None]]
T = TypeVar("T")

#: of these checks
SETTINGS = Settings(ack_wait=0.6, blob_renewal=0.1, heard_wait=0.6)
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


async def first(notes: AsyncIterator[T], count: int, seconds: float = 5.0) -> list[T]:
    """The next `count` of what comes."""
    async with asyncio.timeout(seconds):
        return [await anext(notes) for _ in range(count)]


async def nothing_comes(waiting: Awaitable[object], seconds: float) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await waiting


async def heard(note: Callable[[], Awaitable[None]], *listeners: AsyncIterator[bytes]) -> None:
    """Sends it until all listeners hear it: the servers of a cluster tell each other who listens in a moment only."""
    for listener in listeners:
        hearing = asyncio.ensure_future(anext(listener))
        while not hearing.done():
            await note()
            await asyncio.wait([hearing], timeout=0.05)
        assert hearing.result() == b"?"


async def real(listener: AsyncIterator[bytes], count: int) -> list[bytes]:
    """The next notes that are not of `heard`."""
    async with asyncio.timeout(20.0):
        found: list[bytes] = []
        while len(found) < count:
            note = await anext(listener)
            found += [note] if note != b"?" else []
        return found


async def server_ms(t: Transport) -> int:
    """The server's clock, by the stamp of a message of partition "p"."""
    seq = await t.append("p", b"what time is it", f"clock {time.perf_counter_ns()}")
    record = await t.read_one("p", seq)
    assert record is not None
    return record.time_ms


# ---- inboxes --------------------------------------------------------------------------------------------------------


async def appends_are_read_in_order(connect: Connect) -> None:
    t = await connect()
    await t.open_partition("p")
    await t.open_partition("p")
    empty = await t.inbox("p")
    assert (empty.first_seq, empty.last_seq) == (0, 0)
    seqs = [await t.append("p", f"event {i}".encode(), f"key {i}") for i in range(5)]
    inbox = await t.inbox("p")
    assert (inbox.first_seq, inbox.last_seq, inbox.created) == (seqs[0], seqs[-1], empty.created)
    assert inbox.size > 0
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
    assert [r.seq for r in records] == sorted({r.seq for r in records})


async def one_message_is_read(connect: Connect) -> None:
    t = await connect()
    await t.open_partition("p")
    await t.append_at("p", "later", b"later", await server_ms(t) + 3_600_000)
    seq = await t.append("p", b"event", "1")
    [record] = [r for r in await take(t, "p", seq - 1, 1) if r.seq == seq]
    assert await t.read_one("p", seq) == record
    assert record.data == b"event"
    assert await t.read_one("p", seq - 1) is None, "a delayed event is none of the inbox yet"
    assert await t.read_one("p", seq + 1) is None


async def a_key_is_written_once(connect: Connect) -> None:
    t = await connect()
    await t.open_partition("p")
    await t.open_partition("q")
    first_seq = await t.append("p", b"one", "same")
    assert await t.append("p", b"two", "same") == first_seq
    assert await t.append("q", b"another partition", "same") > 0
    await t.append("p", b"three", "other")
    assert [r.data for r in await take(t, "p", 0, 2)] == [b"one", b"three"]


async def partitions_are_apart(connect: Connect) -> None:
    t = await connect()
    await asyncio.gather(t.open_partition("p"), t.open_partition("q.with dots"))
    await t.append("p", b"of p", "1")
    await t.append("q.with dots", b"of q", "1")
    fence = await t.fence("q.with dots")
    await t.dispatch("g", "default", 5, "q.with dots", b"work of q", "w", fence)
    assert [r.data for r in await take(t, "q.with dots", 0, 1)] == [b"of q"]
    await t.drop_partition("p")
    await t.drop_partition("p")
    with pytest.raises(StoreError, match="partition p"):
        await t.inbox("p")
    source = await t.work("g", ("default",))
    assert [d.data for d in await source.receive(1)] == [b"work of q"]
    await source.close()


async def a_dropped_partition_starts_empty(connect: Connect) -> None:
    t = await connect()
    await t.open_partition("p")
    before = await t.inbox("p")
    await t.append("p", b"old", "1")
    await t.append_at("p", "later", b"later", await server_ms(t) + 3_600_000)
    await t.write_entry("lease.p", b"me")
    await t.write_entry("snapshot.p", b"there")
    await t.write_entry("lease.q", b"another's")
    await t.dispatch("p", "default", 5, "p", b"old work", "w1", await t.fence("p"))
    source = await t.work("p", ("default",))
    await source.close()
    await asyncio.sleep(0.01)
    await t.drop_partition("p")
    await t.open_partition("p")
    after = await t.inbox("p")
    assert (after.first_seq, after.last_seq) == (0, 0)
    assert after.created != before.created
    assert await t.delayed("p") == []
    assert await t.standing_work("p") == []
    assert [await t.read_entry(key) for key in ("lease.p", "snapshot.p")] == [None, None]
    assert await t.read_entry("lease.q") is not None
    await t.dispatch("p", "default", 5, "p", b"new work", "w2", await t.fence("p"))
    source = await t.work("p", ("default",))
    assert [d.data for d in await source.receive(5)] == [b"new work"]
    await source.close()


async def a_reader_is_told_that_its_partition_is_gone(connect: Connect) -> None:
    t, other = await connect(), await connect()
    await t.open_partition("p")
    await t.append("p", b"1", "1")
    reading = asyncio.create_task(take(t, "p", 0, 100))
    await asyncio.sleep(0.05)
    await other.drop_partition("p")
    with pytest.raises(StoreError):
        async with asyncio.timeout(20):
            await reading
    with pytest.raises(StoreError):
        await take(t, "never opened", 0, 1)


async def a_purge_takes_what_is_below(connect: Connect) -> None:
    t = await connect()
    await t.open_partition("p")
    at = await server_ms(t) + 700
    await t.append_at("p", "later", b"later", at)
    seqs = [await t.append("p", b"%d" % i, str(i)) for i in range(6)]
    await t.purge_inbox("p", seqs[3])
    inbox = await t.inbox("p")
    assert (inbox.first_seq, inbox.last_seq) == (seqs[3], seqs[5])
    assert await t.read_one("p", seqs[2]) is None
    await t.purge_inbox("p", seqs[2])
    assert (await t.inbox("p")).first_seq == seqs[3]
    assert [d.name for d in await t.delayed("p")] == ["later"], "delayed events stay"
    assert [r.data for r in await take(t, "p", 0, 4)] == [b"3", b"4", b"5", b"later"]


async def a_purge_leaves_the_last_message(connect: Connect) -> None:
    """It says how far the inbox came."""
    t = await connect()
    await t.open_partition("p")
    await t.purge_inbox("p", 100)
    assert (await t.inbox("p")).last_seq == 0
    seqs = [await t.append("p", b"%d" % i, str(i)) for i in range(3)]
    await t.append_at("p", "later", b"later", await server_ms(t) + 3_600_000)
    last = (await t.inbox("p")).last_seq
    assert last > seqs[-1]
    await t.purge_inbox("p", last + 100)
    inbox = await t.inbox("p")
    assert (inbox.first_seq, inbox.last_seq) == (last, last)
    assert await t.append("p", b"next", "next") > last


# ---- delayed events -------------------------------------------------------------------------------------------------


async def a_delayed_event_comes_in_time(connect: Connect) -> None:
    t = await connect()
    await t.open_partition("p")
    now = await server_ms(t)
    read = (await t.inbox("p")).last_seq
    names = ["run 1/é.*>", "past"]
    await t.append_at("p", names[0], b"later", now + 700)
    await t.append_at("p", names[1], b"at once", now - 60_000)
    [record] = await take(t, "p", read, 1)
    assert record.data == b"at once"
    found = await t.delayed("p")
    assert [(d.name, d.at_ms) for d in found] == [(names[0], now + 700)]
    inbox = await t.inbox("p")
    assert inbox.last_seq == record.seq, "what is delayed is no event yet"
    [late] = await take(t, "p", record.seq, 1)
    assert late.data == b"later"
    assert now + 700 <= late.time_ms <= now + 2_700
    assert await t.delayed("p") == []


async def a_delayed_event_is_replaced_and_taken_back(connect: Connect) -> None:
    t = await connect()
    await t.open_partition("p")
    await t.open_partition("q")
    now = await server_ms(t)
    read = (await t.inbox("p")).last_seq
    await t.append_at("p", "a", b"first", now + 600)
    await t.append_at("p", "a", b"second", now + 900)
    await t.append_at("p", "b", b"never", now + 600)
    await t.append_at("q", "b", b"of q", now + 3_600_000)
    assert await t.cancel_delayed("p", "b")
    assert not await t.cancel_delayed("p", "b")
    assert not await t.cancel_delayed("p", "never there")
    assert [(d.name, d.at_ms) for d in await t.delayed("p")] == [("a", now + 900)]
    assert [d.name for d in await t.delayed("q")] == ["b"]
    [record] = await take(t, "p", read, 1)
    assert (record.data, record.time_ms >= now + 900) == (b"second", True)
    assert not await t.cancel_delayed("p", "a")


# ---- work -----------------------------------------------------------------------------------------------------------


async def work_goes_to_one_worker(connect: Connect) -> None:
    t, one, two = await connect(), await connect(), await connect()
    await t.open_partition("p")
    fence = await t.fence("p")
    sources = [await one.work("g", ("default",)), await two.work("g", ("default",))]
    got: list[bytes] = []

    async def worker(source: WorkSource) -> None:
        while True:
            for delivery in await source.receive(3):
                assert not delivery.redelivered
                assert not delivery.fresh
                got.append(delivery.data)
                await delivery.ack()

    workers = [asyncio.create_task(worker(source)) for source in sources]
    await asyncio.gather(*(t.dispatch("g", "default", 5, "p", str(i).encode(), f"b{i}", fence) for i in range(50)))
    async with asyncio.timeout(20):
        while len(got) < 50:
            await asyncio.sleep(0.01)
    await asyncio.sleep(ACK_WAIT * 1.5)
    assert sorted(map(int, got)) == list(range(50))
    for task in workers:
        task.cancel()
    await asyncio.wait(workers)
    for source in sources:
        await source.close()


async def work_is_delivered_by_group_and_lane(connect: Connect) -> None:
    t = await connect()
    await asyncio.gather(t.open_partition("p"), t.open_partition("q"))
    fences = {partition: await t.fence(partition) for partition in ("p", "q")}
    for partition, fence in fences.items():
        for lane in ("cpu", "io@async", "gpu"):
            await t.dispatch("g", lane, 5, partition, f"{lane} {partition}".encode(), f"{lane} {partition}", fence)
        await t.dispatch("h", "cpu", 5, partition, b"of h", f"h {partition}", fence)
    source = await t.work("g", ("cpu", "io@async"))
    got: set[bytes] = set()
    async with asyncio.timeout(20):
        while len(got) < 4:
            got |= {d.data for d in await source.receive(1)}
    assert got == {b"cpu p", b"cpu q", b"io@async p", b"io@async q"}
    await nothing_comes(source.receive(5), ACK_WAIT / 2)
    await source.close()
    other = await t.work("g", ("gpu",))
    assert (await other.receive(1))[0].data in (b"gpu p", b"gpu q")
    await other.close()


async def a_silent_worker_loses_its_bundle(connect: Connect) -> None:
    t, dead, alive = await connect(), await connect(), await connect()
    await t.open_partition("p")
    await t.dispatch("g", "default", 5, "p", b"bundle", "b", await t.fence("p"))
    lost = await dead.work("g", ("default",))
    [delivery] = await lost.receive(1)
    assert not delivery.redelivered
    source = await alive.work("g", ("default",))
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
    await t.dispatch("g", "default", 5, "p", b"long", "b", await t.fence("p"))
    source, idle = await t.work("g", ("default",)), await other.work("g", ("default",))
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


async def a_fence_shuts_out_who_led_before(connect: Connect) -> None:
    old, new = await connect(), await connect()
    await asyncio.gather(old.open_partition("p"), old.open_partition("q"))
    fence, of_q = await old.fence("p"), await old.fence("q")
    await old.dispatch("g", "default", 5, "p", b"1", "1", fence)
    later = await new.fence("p")
    assert later > fence
    with pytest.raises(Fenced):
        await old.dispatch("g", "default", 5, "p", b"2", "2", fence)
    with pytest.raises(Fenced):
        await old.dispatch("g", "default", 5, "p", b"2", "2", 0)
    await new.dispatch("g", "default", 5, "p", b"3", "3", later)
    await old.dispatch("g", "default", 5, "q", b"of q", "q", of_q)
    assert await new.standing_work("p") == [b"1", b"3"]


async def many_dispatches_at_once_meet_a_new_fence(connect: Connect) -> None:
    """What the old leader was told to be written is there, what it was refused is not, and nothing came after it."""
    old, new = await connect(), await connect()
    await old.open_partition("p")
    fence = await old.fence("p")
    tasks = [asyncio.create_task(old.dispatch("g", "default", 5, "p", b"%d" % i, f"{i}", fence)) for i in range(400)]
    await tasks[0]
    await new.fence("p")
    standing = await new.standing_work("p")
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    written = [b"%d" % i for i, error in enumerate(ended) if error is None]
    assert all(error is None or isinstance(error, Fenced) for error in ended)
    assert sorted(standing) == sorted(written)
    assert sorted(await new.standing_work("p")) == sorted(written)


async def standing_work_is_all_that_is_not_done(connect: Connect) -> None:
    t, worker = await connect(), await connect()
    await asyncio.gather(t.open_partition("p"), t.open_partition("q"))
    fence, of_q = await t.fence("p"), await t.fence("q")
    assert await t.standing_work("p") == []
    bundles = [b"%d" % i + bytes(1_000) for i in range(700)]
    await asyncio.gather(
        *(t.dispatch("g", f"lane{i % 3}", i % 10, "p", b, f"{i}", fence) for i, b in enumerate(bundles)),
        t.dispatch("g", "default", 5, "q", b"of q", "q", of_q),
    )
    assert sorted(await t.standing_work("p")) == sorted(bundles)
    source = await worker.work("g", ("lane0",))
    [done, held] = [d for _ in range(2) for d in await source.receive(1)]
    await done.ack()
    await asyncio.sleep(0.05)
    assert sorted(await t.standing_work("p")) == sorted(b for b in bundles if b != done.data)
    assert held.data in await t.standing_work("p")
    assert await t.standing_work("q") == [b"of q"]
    await source.close()


async def cleared_work_is_gone(connect: Connect) -> None:
    t = await connect()
    await asyncio.gather(t.open_partition("p"), t.open_partition("q"))
    fence, of_q = await t.fence("p"), await t.fence("q")
    await t.dispatch("g", "default", 5, "p", b"held", "1", fence)
    dead = await t.work("g", ("default",))
    await dead.receive(1)
    await t.dispatch("g", "other", 5, "p", b"waiting", "2", fence)
    await t.dispatch("g", "other", 5, "q", b"of q", "3", of_q)
    await t.clear_work("p")
    await t.dispatch("g", "other", 5, "p", b"new", "4", fence)
    assert await t.standing_work("p") == [b"new"]
    await dead.close()
    source = await t.work("g", ("other", "default"))
    got: set[bytes] = set()
    async with asyncio.timeout(20):
        while len(got) < 2:
            got |= {d.data for d in await source.receive(5)}
    assert got == {b"of q", b"new"}
    await nothing_comes(source.receive(1), ACK_WAIT / 3)
    await source.close()


# ---- entries --------------------------------------------------------------------------------------------------------


async def an_entry_changes_by_compare_and_set(connect: Connect) -> None:
    t, other = await connect(), await connect()
    await t.open_partition("p")
    assert await t.read_entry("lease.p") is None
    one = await t.write_entry("lease.p", b"one", 0)
    with pytest.raises(Conflict):
        await other.write_entry("lease.p", b"another", 0)
    two = await other.write_entry("lease.p", b"two", one)
    assert two > one
    with pytest.raises(Conflict):
        await t.write_entry("lease.p", b"late", one)
    found = await t.read_entry("lease.p")
    assert found is not None
    assert (found.key, found.revision, found.data) == ("lease.p", two, b"two")
    three = await t.write_entry("lease.p", b"by force")
    of_another = await t.write_entry("config", b"{}", 0)
    assert two < three < of_another


async def one_of_many_writers_wins(connect: Connect) -> None:
    connections = [await connect() for _ in range(4)]
    await connections[0].open_partition("p")
    ended = await asyncio.gather(
        *(connections[i % 4].write_entry("lease.p", b"%d" % i, 0) for i in range(40)), return_exceptions=True
    )
    won = [i for i, found in enumerate(ended) if isinstance(found, int)]
    assert len(won) == 1
    assert all(isinstance(found, int | Conflict) for found in ended)
    found = await connections[0].read_entry("lease.p")
    assert found is not None
    assert found.data == b"%d" % won[0]


async def a_removed_entry_can_be_made_again(connect: Connect) -> None:
    t, other = await connect(), await connect()
    await t.open_partition("p")
    await t.remove_entry("lease.p")
    one = await t.write_entry("lease.p", b"one", 0)
    await t.remove_entry("lease.p")
    await t.remove_entry("lease.p")
    assert await other.read_entry("lease.p") is None
    assert await other.entries("lease") == []
    with pytest.raises(Conflict):
        await other.write_entry("lease.p", b"of one", one)
    two = await other.write_entry("lease.p", b"two", 0)
    assert two > one
    with pytest.raises(Conflict):
        await t.write_entry("lease.p", b"three", 0)


async def an_entry_is_removed_by_compare_and_set(connect: Connect) -> None:
    """Writing no bytes removes it: so a leader that stops takes away only a lease that is still its own."""
    t = await connect()
    await t.open_partition("p")
    mine = await t.write_entry("lease.p", b"mine", 0)
    others = await t.write_entry("lease.p", b"another's", mine)
    with pytest.raises(Conflict):
        await t.write_entry("lease.p", b"", mine)
    await t.write_entry("lease.p", b"", others)
    assert await t.read_entry("lease.p") is None
    assert await t.write_entry("lease.p", b"next", 0) > others


async def entries_are_listed_and_told(connect: Connect) -> None:
    t, other = await connect(), await connect()
    await t.open_partition("p")
    await t.write_entry("lease.0", b"before", 0)
    changes = await other.listen_entries("lease")
    keys = ["lease.0", "lease.p with spaces", "lease.p.more", "snapshot.0", "lease"]
    for key in keys:
        await t.write_entry(key, key.encode())
    told = await first(changes, 3)
    await t.remove_entry("lease.0")
    told += await first(changes, 1)
    assert [(e.key, e.data) for e in told] == [
        ("lease.0", b"lease.0"),
        ("lease.p with spaces", b"lease.p with spaces"),
        ("lease.p.more", b"lease.p.more"),
        ("lease.0", b""),
    ]
    assert [e.revision for e in told] == sorted({e.revision for e in told})
    assert sorted((e.key, e.data) for e in await other.entries("lease")) == [
        (key, key.encode()) for key in ("lease.p with spaces", "lease.p.more")
    ]
    found = await other.read_entry("lease.p.more")
    assert found in await other.entries("lease")
    assert await other.entries("nothing") == []
    await changes.aclose()  # type: ignore[attr-defined]


# ---- blobs ----------------------------------------------------------------------------------------------------------


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


# ---- results and logs -----------------------------------------------------------------------------------------------


async def results_are_kept_for_their_time(connect: Connect) -> None:
    t, other = await connect(), await connect()
    await t.open_partition("p")
    assert await t.get_result("run 1") is None
    await t.put_results([], 60)
    await t.put_results([("run 1", b"first"), ("run 3", b"third")], 3600)
    await t.put_results([("run 2", b"short")], 1)
    await t.put_results([("run 1", b"second")], 3600)
    assert await other.get_result("run 1") == b"second"
    assert await other.get_result("run 2") == b"short"
    assert await other.get_result("run 3") == b"third"
    async with asyncio.timeout(10):
        while await other.get_result("run 2") is not None:
            await asyncio.sleep(0.05)
    assert await other.get_result("run 1") == b"second"


async def many_results_are_all_there(connect: Connect) -> None:
    t, other = await connect(), await connect()
    await t.open_partition("p")
    batches = [[(f"run {b}.{i}", b"%d %d" % (b, i)) for i in range(700)] for b in range(4)]
    await asyncio.gather(*((t if b % 2 else other).put_results(batch, 3600) for b, batch in enumerate(batches)))
    for batch in batches:
        for run, data in [batch[0], batch[1], batch[350], batch[-1]]:
            assert await other.get_result(run) == data
    same = [("one", b"%d" % i) for i in range(10)]
    await t.put_results(same, 3600)
    assert await t.get_result("one") == b"9", "the last of a run counts"


async def a_log_is_read_and_followed(connect: Connect) -> None:
    t, other = await connect(), await connect()
    await t.open_partition("p")
    empty = other.read_log("r 2")
    assert await first(empty, 1) == [b""]
    for line in (b"a", b"b"):
        await t.put_log("r 1", line)
    await t.put_log("r 3", b"of another")
    while await first(t.read_log("r 1"), 3) != [b"a", b"b", b""]:  # nobody says when they are stored
        await asyncio.sleep(0.01)
    following = t.read_log("r 1")
    assert await first(following, 3) == [b"a", b"b", b""]
    live = await other.listen("log", "r 1")
    await heard(lambda: t.put_log("r 1", b"?"), live)
    for line in (b"c", b"d"):
        await t.put_log("r 1", line)
    assert await real(following, 2) == [b"c", b"d"]
    assert await real(live, 2) == [b"c", b"d"]
    await t.put_log("r 2", b"at last")
    assert await first(empty, 1) == [b"at last"]
    for notes in (empty, following, live):
        await notes.aclose()  # type: ignore[attr-defined]


# ---- live notes -----------------------------------------------------------------------------------------------------


async def notes_reach_who_listens(connect: Connect) -> None:
    t, other = await connect(), await connect()
    await t.open_partition("p")
    await t.notify("to", "r1", b"nobody hears")
    await asyncio.sleep(0.05)
    one, everything = await other.listen("to", "r1"), await other.listen("to", "*")
    await heard(lambda: t.notify("to", "r1", b"?"), one)
    await heard(lambda: t.notify("to", "r2", b"?"), everything)  # which may hear of r1 because of the other
    await t.notify("to", "r1", b"a")
    await t.notify("to", "r2", b"b")
    await t.notify("watch", "r1", b"c")
    await t.notify("to", "r1", b"d")
    assert await real(one, 2) == [b"a", b"d"]
    assert await real(everything, 3) == [b"a", b"b", b"d"]
    for notes in (one, everything):
        await notes.aclose()  # type: ignore[attr-defined]


# ---- messages of other systems ---------------------------------------------------------------------------------------


async def publish(t: Transport, subject: str, data: bytes, id: str = "", kind: str = "") -> None:
    """What any client of the server may do."""
    if isinstance(t, MemoryTransport):
        t.server.outside.publish(subject, data, id, kind)
        return
    assert isinstance(t, NatsTransport)
    given = {name: text for name, text in (("Nats-Msg-Id", id), ("Content-Type", kind)) if text}
    t._connection.write(publication(subject, data, headers=encode_headers(given) if given else b""))
    await t._connection.flush()


async def hear(source: Hearing, count: int) -> list[Heard]:
    """The next so many messages."""
    found: list[Heard] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await source.receive(count - len(found))
    return found


async def what_others_publish_is_heard(connect: Connect) -> None:
    t, other = await connect(), await connect()
    root = f"h{secrets.token_hex(4)}"
    for _ in range(2):
        assert await t.keep_heard({"a": f"{root}.placed", "b": f"{root}.>"}) == {}
    await publish(other, f"{root}.placed", b"1", "one", "application/json")
    await publish(other, f"{root}.paid.late", b"2")
    a, b = await t.hear("a", f"{root}.placed"), await other.hear("b", f"{root}.>")
    [message] = await hear(a, 1)
    assert (message.subject, message.data, message.id) == (f"{root}.placed", b"1", "one")
    assert (message.kind, message.time_ms > 1_600_000_000_000) == ("application/json", True)
    both = await hear(b, 2)
    assert [(m.subject, m.data, m.kind) for m in both] == [
        (f"{root}.placed", b"1", "application/json"),
        (f"{root}.paid.late", b"2", ""),
    ]
    for done in (message, *both):
        await done.ack()
    await publish(other, f"{root}.placed", b"3")
    assert [m.data for m in await hear(a, 1)] == [b"3"]
    assert [m.data for m in await hear(b, 1)] == [b"3"]
    await a.close()
    await b.close()


async def what_is_not_acknowledged_is_heard_again(connect: Connect) -> None:
    t, other = await connect(), await connect()
    subject = f"h{secrets.token_hex(4)}.x"
    await t.keep_heard({"a": subject})
    for i in range(3):
        await publish(other, subject, str(i).encode())
    one = await t.hear("a", subject)
    messages = await hear(one, 3)
    await messages[0].ack()
    again = await hear(one, 2)
    assert sorted((m.data, m.id) for m in again) == sorted((m.data, m.id) for m in messages[1:])
    for message in again:
        await message.ack()
    await nothing_comes(one.receive(1), 2 * SETTINGS.heard_wait)
    await one.close()


async def what_was_not_taken_is_heard_by_others(connect: Connect) -> None:
    t, other = await connect(), await connect()
    subject = f"h{secrets.token_hex(4)}.x"
    await t.keep_heard({"a": subject})
    for i in range(20):
        await publish(other, subject, str(i).encode())
    one = await t.hear("a", subject)
    for message in await hear(one, 5):
        await message.ack()
    await one.close()
    two = await other.hear("a", subject)
    start = time.monotonic()
    assert {m.data for m in await hear(two, 15)} == {str(i).encode() for i in range(5, 20)}
    assert time.monotonic() - start < SETTINGS.heard_wait, "at once"
    await two.close()


async def what_nobody_wants_is_not_kept(connect: Connect) -> None:
    t, other = await connect(), await connect()
    subject = f"h{secrets.token_hex(4)}.x"
    with pytest.raises(StoreError):
        await t.hear("a", subject)
    await publish(other, subject, b"too early")
    await t.keep_heard({"a": subject})
    await publish(other, subject, b"in time")
    source = await t.hear("a", subject)
    [message] = await hear(source, 1)
    assert message.data == b"in time"
    await message.ack()
    await source.close()
    await t.keep_heard({"b": subject})
    await publish(other, subject, b"too late")
    with pytest.raises(StoreError):
        await t.hear("a", subject)
    await t.keep_heard({"a": subject})
    await publish(other, subject, b"again")
    source = await t.hear("a", subject)
    assert [m.data for m in await hear(source, 1)] == [b"again"]
    await source.close()


CHECKS: list[Check] = [
    appends_are_read_in_order,
    a_reader_sees_what_comes_later,
    one_message_is_read,
    a_key_is_written_once,
    partitions_are_apart,
    a_dropped_partition_starts_empty,
    a_reader_is_told_that_its_partition_is_gone,
    a_purge_takes_what_is_below,
    a_purge_leaves_the_last_message,
    a_delayed_event_comes_in_time,
    a_delayed_event_is_replaced_and_taken_back,
    work_goes_to_one_worker,
    work_is_delivered_by_group_and_lane,
    a_silent_worker_loses_its_bundle,
    progress_keeps_a_bundle,
    a_fence_shuts_out_who_led_before,
    many_dispatches_at_once_meet_a_new_fence,
    standing_work_is_all_that_is_not_done,
    cleared_work_is_gone,
    an_entry_changes_by_compare_and_set,
    one_of_many_writers_wins,
    a_removed_entry_can_be_made_again,
    an_entry_is_removed_by_compare_and_set,
    entries_are_listed_and_told,
    blobs_of_any_size,
    blobs_are_collected_when_nothing_can_need_them,
    results_are_kept_for_their_time,
    many_results_are_all_there,
    a_log_is_read_and_followed,
    notes_reach_who_listens,
    what_others_publish_is_heard,
    what_is_not_acknowledged_is_heard_again,
    what_was_not_taken_is_heard_by_others,
    what_nobody_wants_is_not_kept,
]
