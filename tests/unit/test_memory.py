"""The in-memory twin keeps the port's promises, in virtual time; faults strike alike for the same seed."""

from __future__ import annotations

import asyncio
import time

import pytest
from flowrun.errors import TransportError
from flowrun.memory import Faults, MemoryServer, MemoryTransport, run_virtual
from flowrun.settings import Settings

from tests.unit.transport_conformance import CHECKS, SETTINGS, Check


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conformance(check: Check) -> None:
    async def main() -> None:
        server = MemoryServer(SETTINGS)

        async def connect() -> MemoryTransport:
            return MemoryTransport(server)

        await check(connect)

    run_virtual(main())


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
    monkeypatch.setattr("flowrun.memory._JumpingSelector.PATIENCE", 0.01)

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="would hang for ever"):
        run_virtual(main())


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


def test_a_lost_acknowledgement_brings_the_bundle_again() -> None:
    async def main() -> tuple[bool, float]:
        server = MemoryServer(Settings(ack_wait=10), Faults(lose_ack=1.0))
        transport = MemoryTransport(server)
        await transport.dispatch("q", 5, "p", b"bundle", "1")
        source = await transport.work("p", ("q",))
        [delivery] = await source.receive(1)
        await delivery.ack()
        [again] = await source.receive(1)
        return again.redelivered, asyncio.get_running_loop().time()

    assert run_virtual(main()) == (True, pytest.approx(10))


async def test_calls_may_fail_and_a_closed_connection_always_does() -> None:
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
        await transport.last_seq("p")
