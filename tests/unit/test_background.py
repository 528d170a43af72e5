"""Background tasks: the first failure ends what is watched; what is stopped is cancelled."""

from __future__ import annotations

import asyncio

import pytest
from flowrun.background import Background


async def test_a_failure_ends_what_is_watched() -> None:
    background = Background()

    async def fail() -> None:
        raise ValueError("broken")

    async def main() -> None:
        background.start(asyncio.sleep(0))
        background.start(fail())
        await asyncio.Event().wait()

    with pytest.raises(ValueError, match="broken"):
        await background.watch(main())


async def test_the_end_of_what_is_watched_is_its_result() -> None:
    background = Background()

    async def main() -> None:
        raise KeyError("own")

    with pytest.raises(KeyError, match="own"):
        await background.watch(main())
    await background.watch(asyncio.sleep(0))
    await background.stop()


async def test_a_stop_cancels_what_runs() -> None:
    background = Background()
    ended: list[bool] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    background.start(wait())
    await asyncio.sleep(0)
    await background.stop()
    assert ended == [True]
