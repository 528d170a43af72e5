"""Leases: who may take one and when, by its own clock; of two candidates one; who was replaced learns it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from flowrun.errors import Fenced
from flowrun.lease import Holder, Lease, LeaseWatch, lease_key
from flowrun.memory import MemoryServer, MemoryTransport, run_virtual
from flowrun.settings import Settings
from flowrun.transport import Entry
from hypothesis import given
from hypothesis import strategies as st

ME = Holder(node="me", host="here", boot="b1", pid=1, token="t")


def held(by: Holder, revision: int) -> Entry:
    return Entry("lease.0", revision, msgspec.msgpack.encode(by))


def watch(lives: bool = True) -> LeaseWatch:
    return LeaseWatch(ME, 2.0, lambda pid: lives)


def test_nobody_s_lease_is_free_once_it_was_looked_at() -> None:
    w = watch()
    assert not w.is_free(100.0)
    w.saw(None, 100.0)
    assert w.is_free(100.0)
    assert (w.revision, w.epoch) == (0, 0)


def test_another_s_lease_is_free_when_it_does_not_change_for_its_time() -> None:
    w, other = watch(), Holder(node="other", host="there", pid=7, epoch=4)
    w.saw(held(other, 10), 100.0)
    w.saw(held(other, 10), 101.0)
    assert not w.is_free(101.9)
    assert w.is_free(102.0)
    w.saw(held(other, 11), 102.0)
    assert not w.is_free(103.9)
    assert (w.revision, w.epoch) == (11, 4)


def test_a_released_lease_is_free_at_once() -> None:
    w = watch()
    w.saw(held(Holder(node="other", host="there"), 10), 100.0)
    w.saw(held(Holder(node="", epoch=9), 11), 100.1)
    assert w.is_free(100.1)
    assert w.epoch == 9


@pytest.mark.parametrize(
    ("holder", "lives", "free"),
    [
        (Holder(node="o", host="here", boot="b1", pid=5), False, True),
        (Holder(node="o", host="here", boot="b1", pid=5), True, False),
        (Holder(node="o", host="here", boot="b0", pid=5), False, False),
        (Holder(node="o", host="there", boot="b1", pid=5), False, False),
        (Holder(node="o", host="here", boot="", pid=5), False, False),
    ],
)
def test_the_lease_of_a_dead_process_of_this_host(holder: Holder, lives: bool, free: bool) -> None:
    w = watch(lives)
    w.saw(held(holder, 1), 50.0)
    assert w.is_free(50.0) == free


def test_a_lease_that_cannot_be_read_is_held() -> None:
    w = watch()
    w.saw(Entry("lease.0", 3, b"\xc1"), 10.0)
    assert not w.is_free(11.0)
    assert w.is_free(12.0)


@given(st.lists(st.floats(0, 3), min_size=1, max_size=30))
def test_it_is_never_taken_from_who_renews_in_time(gaps: list[float]) -> None:
    w, now = watch(), 0.0
    for revision, gap in enumerate(gaps, 1):
        w.saw(held(Holder(node="o"), revision), now)
        assert w.is_free(now + gap) == (gap >= 2.0)
        now += gap


def test_one_of_many_candidates_gets_it_and_the_next_when_it_is_released() -> None:
    async def main() -> None:
        server, settings = MemoryServer(), Settings()
        loop = asyncio.get_running_loop()
        got: list[tuple[str, int, float]] = []

        async def candidate(name: str) -> None:
            transport = MemoryTransport(server)
            lease = await Lease.acquire(transport, "0", Holder(node=name, host=name, token=name), settings)
            got.append((name, lease.holder.epoch, loop.time()))
            keeping = asyncio.create_task(lease.keep(lambda: None))
            await asyncio.sleep(10)
            keeping.cancel()
            await lease.release()

        await asyncio.gather(*(candidate(name) for name in "abc"))
        assert sorted(name for name, _, _ in got) == ["a", "b", "c"]
        assert [epoch for _, epoch, _ in got] == [1, 2, 3]
        assert [round(at, 1) for _, _, at in got] == [0, pytest.approx(10, abs=0.3), pytest.approx(20, abs=0.6)]

    run_virtual(main())


def test_a_holder_that_stops_renewing_is_replaced_within_three_seconds_and_learns_it() -> None:
    async def main() -> None:
        server, settings = MemoryServer(), Settings()
        loop = asyncio.get_running_loop()
        transport = MemoryTransport(server)
        first = await Lease.acquire(transport, "0", Holder(node="a", host="a", token="1"), settings)
        keeping = asyncio.create_task(first.keep(lambda: None))
        await asyncio.sleep(5)
        keeping.cancel()
        since = loop.time()
        await Lease.acquire(transport, "0", Holder(node="b", host="b", token="2"), settings)
        assert loop.time() - since < 3
        with pytest.raises(Fenced, match="another node leads partition 0"):
            await first.renew()
        await first.release()
        entry = await transport.read_entry(lease_key("0"))
        assert entry is not None
        assert msgspec.msgpack.decode(entry.data, type=Holder).node == "b"

    run_virtual(main())


def test_a_renewal_whose_answer_was_lost_is_none_of_another() -> None:
    async def main() -> None:
        transport = MemoryTransport(MemoryServer())
        lease = await Lease.acquire(transport, "0", ME, Settings())
        await transport.write_entry(lease_key("0"), msgspec.msgpack.encode(lease.holder))
        await lease.renew()
        await lease.renew()
        entry = await transport.read_entry(lease_key("0"))
        assert entry is not None
        assert msgspec.msgpack.decode(entry.data, type=Holder) == lease.holder

    run_virtual(main())


def test_who_could_not_renew_for_its_time_is_told_to_doubt() -> None:
    async def main() -> None:
        server = MemoryServer(Settings(patience=60.0))
        transport = MemoryTransport(server)
        doubts: list[float] = []
        lease = await Lease.acquire(transport, "0", ME, Settings())
        loop = asyncio.get_running_loop()
        keeping = asyncio.create_task(lease.keep(lambda: doubts.append(loop.time())))
        await asyncio.sleep(4)
        assert doubts == []
        transport.connection.cut()
        await asyncio.sleep(5)
        transport.connection.restore()
        await asyncio.sleep(2)
        assert len(doubts) <= 1
        assert lease.age < 1
        keeping.cancel()

    run_virtual(main())


def test_a_lease_that_may_be_another_s_is_confirmed_before_it_is_relied_upon() -> None:
    async def main() -> None:
        server = MemoryServer()
        transport = MemoryTransport(server)
        lease = await Lease.acquire(transport, "0", ME, Settings())
        before = server.revision
        await asyncio.sleep(1.9)
        await lease.confirm()
        assert server.revision == before, "nobody can have taken it yet"
        await asyncio.sleep(0.2)
        await lease.confirm()
        assert server.revision == before + 1
        await transport.write_entry(lease_key("0"), msgspec.msgpack.encode(Holder(node="b")))
        await asyncio.sleep(2.1)
        with pytest.raises(Fenced, match="another node leads partition 0"):
            await lease.confirm()

    run_virtual(main())
