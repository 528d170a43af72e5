"""Snapshots: what was written last is read, whatever was written before, and what is behind it is purged."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from flowrun.errors import Conflict, Fenced, StoreError
from flowrun.memory import MemoryServer, MemoryTransport, run_virtual
from flowrun.snapshots import Sent, Snapshot, Snapshots, snapshot_key
from flowrun.wire import Blob, reference
from hypothesis import given
from hypothesis import strategies as st


def snapshot(seq: int, *parts: tuple[str, bytes], full: bool = False, **changes: Any) -> Snapshot:
    given: dict[str, Any] = {
        "rules": 1, "seq": seq, "digest": f"d{seq}", "created": "now", "time_ms": seq * 1_000, "parts": list(parts),
        "full": full, "living": len(parts), "engine": b"rest", "sends": (), "broken": (),
        "handed_back": {"b": {("r", 0, 1, 1): [(2, 4)]}},
    }  # fmt: skip
    return Snapshot(**{**given, **changes})


async def fresh(transport: MemoryTransport) -> Snapshots:
    found = Snapshots(transport, "0", lag=0.0)
    await found.read()
    return found


async def read(transport: MemoryTransport) -> Snapshot:
    found = await Snapshots(transport, "0", lag=0.0).read()
    assert found is not None
    return found


async def server() -> MemoryTransport:
    transport = MemoryTransport(MemoryServer())
    await transport.open_partition("0")
    for i in range(40):
        await transport.append("0", b"x", str(i))
    return transport


async def test_there_is_none_at_first() -> None:
    assert await Snapshots(await server(), "0", lag=0.0).read() is None


async def test_later_parts_win_and_empty_ones_are_gone() -> None:
    transport = await server()
    written = await fresh(transport)
    await written.write(snapshot(10, ("a", b"1"), ("b", b"1"), ("c", b"1"), full=True))
    await written.write(snapshot(20, ("a", b"2"), ("b", b"")))
    sent = (Sent("1", "id", b"event"),)
    await written.write(snapshot(30, ("d", b"1" * 500_000), sends=sent, engine=b"other"))
    found = await read(transport)
    assert dict(found.parts) == {"a": b"2", "c": b"1", "d": b"1" * 500_000}
    assert (found.seq, found.digest, found.engine, found.sends) == (30, "d30", b"other", sent)
    assert found.handed_back == {"b": {("r", 0, 1, 1): [(2, 4)]}}


@given(st.lists(st.dictionaries(st.sampled_from("abcd"), st.binary(max_size=3)), min_size=1, max_size=8))
def test_what_is_read_is_what_was_written(changes: list[dict[str, bytes]]) -> None:
    async def main() -> None:
        transport = await server()
        state: dict[str, bytes] = {}
        for seq, change in enumerate(changes, 1):
            written = await fresh(transport)  # by another leader each time
            state = {name: data for name, data in {**state, **change}.items() if data}
            await written.write(snapshot(seq, *change.items(), full=seq == 1))
        assert dict((await read(transport)).parts) == state

    run_virtual(main())


async def test_the_inbox_is_purged_behind_what_is_safe() -> None:
    transport = await server()
    written = Snapshots(transport, "0", lag=15.0)
    await written.read()
    for seq in (10, 20, 30):
        await written.write(snapshot(seq, ("a", b"1")))
    first = [(await transport.inbox("0")).first_seq]
    await written.write(snapshot(40, ("a", b"1")))
    assert [*first, (await transport.inbox("0")).first_seq] == [10, 20]


async def test_an_older_one_is_read_when_the_last_is_damaged() -> None:
    transport = await server()
    written = await fresh(transport)
    await written.write(snapshot(10, ("a", b"1"), full=True))
    before = set(transport.server.blobs)
    await written.write(snapshot(20, ("a", b"2"), engine=b"another"))
    lost = set(transport.server.blobs) - before
    for name in lost:
        del transport.server.blobs[name]
    assert (await read(transport)).seq == 10
    for name in before:
        transport.server.blobs[name] = b"damaged"
    assert await Snapshots(transport, "0", lag=0.0).read() is None


async def test_only_one_leader_writes() -> None:
    transport = await server()
    one, other = await fresh(transport), await fresh(transport)
    await one.write(snapshot(10, ("a", b"1")))
    with pytest.raises(Fenced):
        await other.write(snapshot(11, ("a", b"2")))
    assert dict((await read(transport)).parts) == {"a": b"1"}


async def test_a_write_whose_answer_is_lost_is_no_other_leader_s() -> None:
    transport = await server()
    written = await fresh(transport)
    write = transport.write_entry

    async def forgetful(key: str, data: bytes, expected: int | None = None) -> int:
        await write(key, data, expected)
        raise Conflict

    transport.write_entry = forgetful  # type: ignore[method-assign]
    await written.write(snapshot(10, ("a", b"1")))
    transport.write_entry = write  # type: ignore[method-assign]
    await written.write(snapshot(20, ("a", b"2")))
    assert (await read(transport)).seq == 20


async def test_one_of_a_newer_version_is_left_alone() -> None:
    transport = await server()
    await (await fresh(transport)).write(snapshot(10, ("a", b"1")))
    entry = await transport.read_entry(snapshot_key("0"))
    assert entry is not None
    newer = msgspec.msgpack.decode(entry.data)
    newer[0] = 99
    await transport.write_entry(snapshot_key("0"), msgspec.msgpack.encode(newer))
    with pytest.raises(StoreError, match="upgrade flowc"):
        await Snapshots(transport, "0", lag=0.0).read()


async def test_much_that_is_outdated_asks_for_a_full_one() -> None:
    written = await fresh(await server())
    assert written.wants_full(1, 0, 1e9)
    await written.write(snapshot(1, *((f"r{i}", b"1") for i in range(900)), full=True))
    assert not written.wants_full(900, 2_000, 1e9)
    assert written.wants_full(900, 200_000, 100.0)
    for seq in range(2, 5):
        await written.write(snapshot(seq, *((f"r{i}", b"") for i in range(900))))
    assert written.wants_full(0, 5_000, 1e9)


def test_what_living_runs_refer_to_is_put_again_with_a_full_one() -> None:
    async def main() -> None:
        transport = await server()
        inner, outer = "a" * 32, "b" * 32
        await transport.put_blob(inner, b"value")
        await transport.put_blob(outer, reference(Blob(inner, 5)))
        await transport.put_blob("plan", b"plan")
        await asyncio.sleep(3_600)
        state = b"packed" + reference(Blob(outer, 5)) + reference(Blob("c" * 32, 5))
        await (await fresh(transport)).write(snapshot(1, ("r", state), full=True, plans=frozenset(["plan"])))
        now = transport.server.now_ms()
        assert [now - transport.server.blob_times[name] for name in (inner, outer, "plan")] == [0, 0, 0]

    run_virtual(main())
