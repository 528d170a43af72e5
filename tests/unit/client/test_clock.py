"""A client's idea of the server's time is never behind it."""

from __future__ import annotations

import asyncio

from flowrun.client.clock import Clock
from flowrun.memory import run_virtual


def test_it_is_not_behind_what_an_answer_said() -> None:
    async def main() -> None:
        clock, loop = Clock(), asyncio.get_running_loop()
        asked = loop.time()
        await asyncio.sleep(0.02)
        told_ms, told_at = 5_000_000, loop.time()
        await asyncio.sleep(0.2)
        clock.saw(told_ms, asked)
        true_ms = told_ms + (loop.time() - told_at) * 1000
        assert true_ms <= clock.now_ms() <= true_ms + 21

    run_virtual(main())


def test_an_answer_that_took_long_changes_nothing() -> None:
    async def main() -> None:
        clock, loop = Clock(), asyncio.get_running_loop()
        clock.saw(1_000, loop.time())
        asked = loop.time()
        await asyncio.sleep(3)
        clock.saw(1_500, asked)
        assert clock.now_ms() == 4_000

    run_virtual(main())


def test_the_first_answer_counts_in_any_case() -> None:
    async def main() -> None:
        clock, loop = Clock(), asyncio.get_running_loop()
        asked = loop.time()
        await asyncio.sleep(3)
        clock.saw(10_000, asked)
        assert clock.now_ms() == 13_000
        clock.saw(0, loop.time())  # a server that does not say
        assert clock.now_ms() == 13_000

    run_virtual(main())
