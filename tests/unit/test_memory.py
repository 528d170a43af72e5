"""The in-memory twin keeps the port's promises, in virtual time; faults strike alike for the same seed."""

from __future__ import annotations

import asyncio
import time

import pytest
from flowrun.errors import Conflict, StoreError, TransportError
from flowrun.memory import Effect, Faults, MemoryServer, MemoryTransport, run_virtual
from flowrun.settings import Settings
from flowrun.transport import Record

from tests.unit.transport_conformance import CHECKS, SETTINGS, Check

SHORT = Settings(ack_wait=10, answer_timeout=3, patience=30)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(check: Check) -> None:
    async def main() -> None:
        server = MemoryServer(SETTINGS)

        async def connect() -> MemoryTransport:
            return MemoryTransport(server)

        await check(connect)

    run_virtual(main())


# ---- virtual time


def test_virtual_time_costs_nothing() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        start = loop.time()
        await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(7200))
        return loop.time() - start

    start = time.perf_counter()
    assert run_virtual(main()) == pytest.approx(7200)
    assert time.perf_counter() - start < 1


def test_virtual_time_keeps_the_order_of_timers() -> None:
    async def main() -> list[int]:
        order: list[int] = []

        async def at(seconds: int) -> None:
            await asyncio.sleep(seconds)
            order.append(seconds)

        await asyncio.gather(*(at(s) for s in (5, 1, 3, 2, 4)))
        return order

    assert run_virtual(main()) == [1, 2, 3, 4, 5]


def test_a_program_that_would_hang_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowrun.memory.virtual._JumpingSelector.PATIENCE", 0.01)

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="would hang for ever"):
        run_virtual(main())


# ---- requests and their answers


def _faulty_order(seed: int) -> list[bytes]:
    async def main() -> list[bytes]:
        server = MemoryServer(faults=Faults(seed=seed, delay=1.0))
        transport = MemoryTransport(server)
        await transport.open_partition("p")
        await asyncio.gather(*(transport.append("p", bytes([i]), str(i)) for i in range(20)))
        return [record.data for record in server.inboxes["p"]]

    return run_virtual(main())


def test_faults_are_drawn_from_the_seed() -> None:
    assert _faulty_order(1) == _faulty_order(1)
    assert _faulty_order(1) != _faulty_order(2)
    assert sorted(_faulty_order(1)) == [bytes([i]) for i in range(20)]


async def test_requests_may_fail_and_a_closed_connection_always_does() -> None:
    server = MemoryServer(faults=Faults(fail=1.0))
    transport = MemoryTransport(server)
    with pytest.raises(TransportError, match="does not answer"):
        await transport.open_partition("p")
    server.faults = Faults()
    await transport.open_partition("p")
    with pytest.raises(TransportError, match="not open"):
        await transport.append("other", b"", "1")
    await transport.close()
    with pytest.raises(TransportError, match="closed"):
        await transport.inbox("p")


async def test_only_requests_about_blobs_may_fail() -> None:
    transport = MemoryTransport(MemoryServer(faults=Faults(fail_blob=1.0)))
    await transport.open_partition("p")
    with pytest.raises(TransportError):
        await transport.put_blob("a", b"")


def test_a_lost_answer_comes_to_the_repetition_or_never() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = MemoryServer(SHORT, Faults(lose_answer=1.0, give_up=0.0))
        transport = MemoryTransport(server)
        server.open_partition("p")
        assert await transport.append("p", b"x", "1") == 1
        assert loop.time() == pytest.approx(3)
        assert await transport.write_entry("lease.1", b"mine", 0) == 1
        server.faults.give_up = 1.0
        with pytest.raises(TransportError):
            await transport.append("p", b"y", "2")
        assert loop.time() == pytest.approx(36)
        assert [record.data for record in server.inboxes["p"]] == [b"x", b"y"]

    run_virtual(main())


def test_a_message_may_be_stored_twice() -> None:
    async def main() -> None:
        server = MemoryServer(SHORT, Faults(duplicate=1.0, duplicate_after=10))
        transport = MemoryTransport(server)
        await transport.open_partition("p")
        await transport.append("p", b"x", "1")
        await asyncio.sleep(10)
        assert [record.data for record in server.inboxes["p"]] == [b"x", b"x"]

    run_virtual(main())


def test_what_a_dead_process_sent_arrives() -> None:
    async def main() -> None:
        server = MemoryServer(SHORT, Faults(delay=1.0))
        server.open_partition("p")
        transport = MemoryTransport(server)
        sending = asyncio.create_task(transport.append("p", b"x", "1"))
        await asyncio.sleep(0)
        sending.cancel()
        transport.connection.dead = True
        await asyncio.sleep(2)
        assert [record.data for record in server.inboxes["p"]] == [b"x"]

    run_virtual(main())


def test_a_cut_connection_waits_and_then_gives_up() -> None:
    async def main() -> None:
        server = MemoryServer(SHORT)
        transport = MemoryTransport(server)
        await transport.open_partition("p")
        transport.connection.cut()
        waiting = asyncio.create_task(transport.append("p", b"x", "1"))
        await asyncio.sleep(5)
        assert not waiting.done()
        await transport.notify("watch", "r", b"lost")
        transport.connection.restore()
        assert await waiting == 1
        transport.connection.cut()
        with pytest.raises(TransportError):
            await transport.append("p", b"y", "2")
        transport.connection.restore()
        await asyncio.sleep(5)
        assert len(server.inboxes["p"]) == 1

    run_virtual(main())


# ---- work


def test_a_lost_acknowledgement_brings_the_bundle_again() -> None:
    async def main() -> tuple[bool, float]:
        server = MemoryServer(SHORT, Faults(lose_ack=1.0))
        transport = MemoryTransport(server)
        await transport.dispatch("nodes", "q", 5, "p", b"bundle", "1", await transport.fence("p"))
        source = await transport.work("nodes", ("q",))
        [delivery] = await source.receive(1)
        await delivery.ack()
        [again] = await source.receive(1)
        await source.close()
        return again.redelivered, asyncio.get_running_loop().time()

    redelivered, when = run_virtual(main())
    assert redelivered
    assert when == pytest.approx(10)


def test_who_lost_a_bundle_may_still_acknowledge_it() -> None:
    async def main() -> None:
        server = MemoryServer(SHORT)
        transport = MemoryTransport(server)
        await transport.dispatch("nodes", "q", 5, "p", b"bundle", "1", await transport.fence("p"))
        source = await transport.work("nodes", ("q",))
        [first], [again] = [await source.receive(1), await source.receive(1)]
        assert (first.redelivered, again.redelivered, again.fresh) == (False, True, False)
        await first.ack()
        assert server.work == {}
        await source.close()

    run_virtual(main())


# ---- crashes of the server


def test_after_a_crash_nobody_holds_anything() -> None:
    async def main() -> None:
        server = MemoryServer(SHORT)
        transport = MemoryTransport(server)
        fence = await transport.fence("p")
        for number in range(20):
            await transport.dispatch("nodes", "q", 5, "p", b"bundle", str(number), fence)
        source = await transport.work("nodes", ("q",))
        assert len(await source.receive(20)) == 20
        waiting = asyncio.create_task(source.receive(20))
        await asyncio.sleep(1)
        server.crash()
        asking = asyncio.create_task(transport.inbox("p"))
        await asyncio.sleep(1)
        assert not asking.done()
        server.restart()
        came = await waiting
        assert len(came) == 20
        assert {delivery.redelivered for delivery in came} == {True, False}
        assert all(delivery.fresh for delivery in came)
        with pytest.raises(StoreError, match="not there"):
            await asking
        await asyncio.sleep(10)
        assert not any(delivery.fresh for delivery in await source.receive(20))
        await source.close()

    run_virtual(main())


def test_with_the_power_goes_what_was_written_last() -> None:
    async def main() -> None:
        server = MemoryServer(SHORT, Faults(seed=3))
        transport = MemoryTransport(server)
        await transport.open_partition("p")
        await transport.append("p", b"old", "old")
        old = await transport.write_entry("lease.p", b"old")
        fence = await transport.fence("p")
        await asyncio.sleep(200)
        seen = [record async for record in _first(transport, "p")]
        reading = asyncio.create_task(_rest(transport, "p", 2))
        for second in range(100):
            await transport.append("p", b"new", str(second))
            await transport.write_entry("lease.p", b"new", old + second)
            await transport.put_results([(str(second), b"record")], 3600)
            await transport.dispatch("nodes", "q", 5, "p", b"bundle", str(second), fence)
            await asyncio.sleep(1)
        await reading
        reading = asyncio.create_task(_rest(transport, "p", 101))
        server.crash(lost_seconds=100)
        server.restart()
        inbox = await transport.inbox("p")
        assert 1 < inbox.last_seq < 101
        entry = await transport.read_entry("lease.p")
        assert entry is not None
        assert old < entry.revision < old + 100
        assert 0 < len(server.work) < 100
        assert 0 < len(server.results) < 100
        with pytest.raises(StoreError, match="has lost messages"):
            await reading
        assert await transport.append("p", b"another", "99") == inbox.last_seq + 1
        assert seen[0].data == b"old"

    run_virtual(main())


def test_a_store_that_is_lost_is_another_one() -> None:
    async def main() -> None:
        server = MemoryServer(SHORT)
        transport = MemoryTransport(server)
        await transport.open_partition("p")
        await transport.append("p", b"x", "1")
        created = (await transport.inbox("p")).created
        reading = asyncio.create_task(_rest(transport, "p", 1))
        await asyncio.sleep(1)
        server.crash()
        server.lose_store()
        server.restart()
        with pytest.raises(StoreError, match="is not there"):
            await reading
        with pytest.raises(StoreError):
            await transport.inbox("p")
        await transport.open_partition("p")
        inbox = await transport.inbox("p")
        assert (inbox.created != created, inbox.last_seq) == (True, 0)

    run_virtual(main())


async def _first(transport: MemoryTransport, partition: str):  # type: ignore[no-untyped-def]
    reading = transport.read(partition, 0)
    yield (await anext(reading))[0]
    await reading.aclose()  # type: ignore[attr-defined]


async def _rest(transport: MemoryTransport, partition: str, after: int) -> list[Record]:
    reading = transport.read(partition, after - 1)
    await anext(reading)
    return await anext(reading)


# ---- what simulation needs


async def test_it_tells_what_it_does() -> None:
    server = MemoryServer()
    seen: list[Effect] = []
    server.observe = seen.append
    transport = MemoryTransport(server, "leader")
    await transport.open_partition("p")
    await transport.append("p", b"x", "1")
    await transport.append("p", b"x", "1")
    await transport.write_entry("lease.p", b"me", 0)
    with pytest.raises(Conflict):
        await transport.write_entry("lease.p", b"me", 0)
    assert seen == [Effect("leader", "append", "p", b"x", 1), Effect("leader", "write_entry", "lease.p", b"me", 1)]


async def test_a_delayed_event_survives_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    server = MemoryServer()
    transport = MemoryTransport(server)
    await transport.open_partition("p")
    await transport.append_at("p", "later", b"x", server.now_ms() + 20)
    server.crash()
    await asyncio.sleep(0.05)
    assert list(server.inboxes["p"]) == []
    server.restart()
    assert [record.data for record in server.inboxes["p"]] == [b"x"]
