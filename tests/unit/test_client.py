"""The client: a submission is one event, the record comes back whatever its size, notes arrive as they are sent."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from flowc.plan import FORMAT, Plan, digest, encode
from flowrun import values
from flowrun.client import Client, new_run_id
from flowrun.memory import MemoryServer, MemoryTransport, run_virtual
from flowrun.messages import Cancel, LogNote, RunRecord, StateNote, StepRecord, Submit, pack, unpack_event
from flowrun.parameters import ArgumentError
from flowrun.records import write_record

PLAN = Plan(
    flow="f", file="f.flow", params=(), returns=None, types=(), settings=(), tasks=(), blocks=(), version=FORMAT
)


def record(run: str, steps: int) -> RunRecord:
    return RunRecord(
        run=run, flow="f", state="success", result=b"\x01", error=None, failed_step=None, started_ms=1, ended_ms=2,
        steps=tuple(StepRecord(step=f"s{i * 7919}", index=i, state="success", attempts=1, seconds=i / 7)
                    for i in range(steps)),
    )  # fmt: skip


async def test_a_submission_is_one_event_and_its_plan_a_blob() -> None:
    transport = MemoryTransport(MemoryServer())
    client = Client(transport, "p")
    run = await client.submit(PLAN)
    await client.submit(PLAN, run=run)
    [stored] = transport.server.inboxes["p"]
    assert unpack_event(stored.data) == Submit(run=run, plan=digest(encode(PLAN)), args=b"\x80")
    assert transport.server.blobs[digest(encode(PLAN))] == encode(PLAN)


def test_a_plan_is_put_again_before_it_is_collected() -> None:
    async def main() -> None:
        transport = MemoryTransport(MemoryServer())
        client = Client(transport, "p")
        await client.submit(PLAN)
        await asyncio.sleep(30 * 24 * 3600)
        await transport.drop_partition("p")
        await transport.open_partition("p")
        await client.submit(PLAN)
        await transport.collect_blobs(0)
        assert digest(encode(PLAN)) in transport.server.blobs

    run_virtual(main())


async def test_wrong_arguments_submit_nothing() -> None:
    transport = MemoryTransport(MemoryServer())
    with pytest.raises(ArgumentError, match="takes no parameters"):
        await Client(transport, "p").submit(PLAN, {"x": 1})
    assert transport.server.inboxes == {}


async def test_a_cancellation_is_an_event() -> None:
    transport = MemoryTransport(MemoryServer())
    await transport.open_partition("p")
    await Client(transport, "p").cancel("r1", "enough")
    [stored] = transport.server.inboxes["p"]
    assert unpack_event(stored.data) == Cancel(run="r1", reason="enough")


@pytest.mark.parametrize("steps", [1, 50_000])
async def test_a_record_of_any_size(steps: int) -> None:
    transport = MemoryTransport(MemoryServer())
    client = Client(transport, "p")
    assert await client.result("r") is None
    written = record("r", steps)
    await write_record(transport, written, keep_seconds=60, inline=1_000)
    assert (len(transport.server.blobs) == 1) == (steps > 1)
    assert await client.wait("r") == written
    assert await client.result("r") == written


async def test_the_value_of_a_record() -> None:
    """Large values lie in the blob store, and may hold others that do."""
    transport = MemoryTransport(MemoryServer())
    client = Client(transport, "p")
    assert await client.value(record("r", 0)) == 1
    stored = values.encode(list(range(50_000)))
    outer, blob = values.externalise(stored)
    assert blob is not None
    await transport.put_blob(*blob)
    pair, blob = values.externalise(values.make_list([outer, values.encode("x" * 40_000)]))
    assert blob is not None
    await transport.put_blob(*blob)
    assert await client.value(msgspec.structs.replace(record("r", 0), result=pair)) == [
        list(range(50_000)),
        "x" * 40_000,
    ]


async def test_notes_of_one_run() -> None:
    transport = MemoryTransport(MemoryServer())
    notes = await Client(transport, "p").watch("r")
    state = StateNote(run="r", state="running", steps=())
    line = LogNote(run="r", step="s", index=None, attempt=1, stream="out", text="hello")
    await transport.notify("state", "other", pack(state))
    await transport.notify("state", "r", b"damaged")
    await transport.notify("state", "r", pack(state))
    assert await anext(notes) == state
    await transport.notify("log", "r", pack(line))
    assert await anext(notes) == line
    await notes.aclose()  # type: ignore[attr-defined]


def test_run_ids_sort_by_time_and_differ() -> None:
    ids = [new_run_id(time_ms) for time_ms in (1_700_000_000_000, 1_700_000_000_001, 1_800_000_000_000)]
    assert ids == sorted(ids)
    assert len({new_run_id(5) for _ in range(1000)}) == 1000
    assert all(len(new_run_id()) == 15 for _ in range(10))
    assert new_run_id(0).startswith("r000000000")
