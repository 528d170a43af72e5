"""Partitions: the same everywhere and for ever, evenly filled; their number is decided once."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from flowrun.errors import StoreError
from flowrun.memory import MemoryServer, MemoryTransport
from flowrun.partitions import Config, config, is_full, owner_of, partition_of, partitions
from flowrun.settings import Settings
from flowrun.transport import Inbox


def test_places_never_change() -> None:
    assert [partition_of(f"r{i}", 8) for i in range(6)] == ["5", "0", "2", "1", "7", "7"]
    assert [owner_of(name, 8) for name in ("gpu", "mail", "r0")] == ["1", "6", "0"]


def test_places_are_even() -> None:
    counts = Counter(partition_of(f"r{i}", 8) for i in range(8_000))
    assert set(counts) == set(partitions(8))
    assert max(counts.values()) < 1_200


async def test_the_first_node_decides_their_number() -> None:
    server = MemoryServer()
    found = await asyncio.gather(*(config(MemoryTransport(server), Settings(partitions=n)) for n in (5, 3, 9)))
    assert found == [Config(5)] * 3


async def test_a_number_that_cannot_be_read_is_told() -> None:
    transport = MemoryTransport(MemoryServer())
    await transport.write_entry("config", b"\x91\x00")
    with pytest.raises(StoreError, match="partitions"):
        await config(transport, Settings())
    await transport.write_entry("config", b"\xc1")
    with pytest.raises(StoreError, match="cannot be read"):
        await config(transport, Settings())


def test_an_inbox_that_holds_too_much_is_full() -> None:
    settings = Settings(inbox_high_water=100)
    assert not is_full(Inbox("now", 1, 5, 100), settings)
    assert is_full(Inbox("now", 1, 5, 101), settings)
