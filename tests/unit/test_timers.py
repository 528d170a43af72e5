"""Timers: in order, once, the last setting counts; and a clock that stamps on messages put right."""

from __future__ import annotations

import asyncio

import pytest
from flowrun.memory import EPOCH_MS, run_virtual
from flowrun.timers import ServerClock, Timers


def now_ms() -> int:
    """What the server of these tests would stamp."""
    return EPOCH_MS + int(asyncio.get_running_loop().time() * 1000)


def test_the_clock_follows_the_stamps() -> None:
    async def main() -> None:
        clock = ServerClock()
        clock.saw(now_ms())
        assert clock.now() == now_ms()
        await asyncio.sleep(10)
        assert clock.now() == now_ms()
        clock.saw(now_ms() - 5_000)  # it was long on its way
        assert clock.now() == now_ms()
        clock.saw(now_ms() + 700)  # the server is ahead
        assert clock.now() == now_ms() + 700
        sent = asyncio.get_running_loop().time()
        await asyncio.sleep(1)
        clock.sent(sent, now_ms() - 900)
        assert clock.now() == pytest.approx(now_ms() + 100)

    run_virtual(main())


def test_timers_fire_in_order_and_once() -> None:
    async def main() -> None:
        fired: list[tuple[str, float]] = []
        clock = ServerClock()
        clock.saw(now_ms())
        loop = asyncio.get_running_loop()
        timers = Timers(clock, lambda run, timer: fired.append((f"{run}/{timer}", loop.time())))
        start = now_ms()
        timers.set("a", "late", start + 9_000)
        timers.set("a", "early", start + 1_000)
        timers.set("b", "past", start - 1_000)
        timers.set("b", "moved", start + 2_000)
        timers.set("b", "moved", start + 5_000)
        timers.set("c", "cleared", start + 3_000)
        timers.clear("c", "cleared")
        timers.clear("c", "never set")
        timers.set("d", "1", start + 4_000)
        timers.set("d", "2", start + 4_000)
        timers.clear_run("d")
        await asyncio.sleep(100)
        assert [name for name, _ in fired] == ["b/past", "a/early", "b/moved", "a/late"]
        assert [round(at, 3) for _, at in fired] == [0, 1, 5, 9]

    run_virtual(main())


def test_a_stopped_heap_fires_nothing() -> None:
    async def main() -> None:
        fired: list[str] = []
        clock = ServerClock()
        clock.saw(now_ms())
        timers = Timers(clock, lambda run, timer: fired.append(timer))
        timers.set("a", "x", now_ms() + 1_000)
        timers.stop()
        await asyncio.sleep(10)
        assert fired == []

    run_virtual(main())
