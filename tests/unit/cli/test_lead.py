"""What is awaited beside a run."""

from __future__ import annotations

import asyncio

import pytest
from flowcli.lead import _Helpers


async def _nothing() -> None: ...


async def _broken() -> None:
    await asyncio.sleep(0.01)
    raise OSError("the disk is full")


async def test_an_error_beside_ends_the_wait_although_another_helper_has_ended() -> None:
    async with _Helpers() as helpers:
        helpers.add(_nothing())
        helpers.add(_broken())
        with pytest.raises(OSError, match="full"):
            await helpers.first(asyncio.Event().wait())


async def test_the_result_although_helpers_have_ended() -> None:
    async with _Helpers() as helpers:
        helpers.add(_nothing())
        assert await helpers.first(asyncio.sleep(0.01, 7)) == 7
