"""Microseconds that a coordinator spends per run of one task: 20,000 submissions, bundles, results, records, notes.

The transport is in this process and costs next to nothing: batches of the inbox are handed to the coordinator as they
are ready, and the results of each bundle are packed beforehand by a worker that does nothing. The engine's part is
measured by itself in the same run, so that the rest is the shell's.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import pstats
import statistics
import struct
import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from flowc import plan as p
from flowc.types import JSON
from flowrun import messages as m
from flowrun.capacity import Capacity
from flowrun.coordinator import Coordinator
from flowrun.engine import Engine
from flowrun.engine.commands import EndRun, Ready
from flowrun.settings import Settings
from flowrun.transport import Entry, Inbox, Record
from measure import heading

RUNS, TOGETHER = 20_000, 100
PLAN = p.Plan(
    flow="bench", file="bench.flow", params=(), returns=None, types=(JSON,), settings=(p.StepSettings(),),
    tasks=(p.TaskDef(name="t", params=(), returns=0, operator="python"),),
    blocks=(
        p.PlanBlock(nodes=(p.ParamNode(), p.TaskNode(name="t", task=0, args=(), settings=0)), params=1, result=1),
    ),
    version=p.FORMAT,
)  # fmt: skip
DATA = p.encode(PLAN)
DIGEST = p.digest(DATA)
SECONDS = struct.pack("<f", 0.00002)


class FakeTransport:
    """What a coordinator needs of a transport, and no more. Time spent here is counted apart."""

    def __init__(self) -> None:
        self.batches: asyncio.Queue[list[Record]] = asyncio.Queue()
        self.seq = 0
        self.records: list[Record] = []
        self.results = 0
        self.notes = 0
        self.outside = 0.0
        self.done = asyncio.Event()
        self.pending: list[bytes] = []
        self.bundles = 0

    def write(self, datas: Sequence[bytes]) -> None:
        records = []
        for data in datas:
            self.seq += 1
            self.records.append(Record(self.seq, 1_767_225_600_000 + self.seq, data))
            records.append(self.records[-1])
        self.batches.put_nowait(records)

    async def read(self, partition: str, after: int) -> AsyncIterator[list[Record]]:
        while True:
            yield await self.batches.get()

    async def read_one(self, partition: str, seq: int) -> Record | None:
        return self.records[seq - 1]

    async def append(self, partition: str, data: bytes, key: str) -> int:
        self.write([data])
        return self.seq

    async def dispatch(
        self, group: str, lane: str, priority: int, partition: str, data: bytes, key: str, fence: int
    ) -> None:
        start = time.process_time()
        bundle = m.unpack(data, m.Bundle)
        self.bundles += 1
        outcomes = tuple(
            m.Outcome(i.run, i.scope, i.node, i.attempt, "success", b"\x01", None, 0, SECONDS) for i in bundle.items
        )
        self.write([m.pack_events([m.Results(bundle.id, "w", outcomes)])])
        self.outside += time.process_time() - start

    async def put_results(self, records: Sequence[tuple[str, bytes]], keep_seconds: float) -> None:
        self.results += len(records)
        if self.results >= RUNS:
            self.done.set()

    async def notify(self, topic: str, key: str, data: bytes) -> None:
        self.notes += 1

    async def listen(self, topic: str, key: str) -> AsyncIterator[bytes]:
        return self._silence()

    async def _silence(self) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async def inbox(self, partition: str) -> Inbox:
        return Inbox("now", 1, self.seq)

    async def get_blob(self, digest: str) -> bytes:
        return DATA

    async def read_entry(self, key: str) -> Entry | None:
        return None

    async def write_entry(self, key: str, data: bytes, expected: int | None = None) -> int:
        return 1

    async def entries(self, prefix: str) -> list[Entry]:
        return []

    async def fence(self, partition: str) -> int:
        return 1

    async def standing_work(self, partition: str) -> list[bytes]:
        return []

    async def _nothing(self, *args: Any) -> None: ...

    open_partition = put_blob = collect_blobs = purge_inbox = _nothing


async def coordinate(settings: Settings) -> tuple[float, FakeTransport]:
    """Seconds in the coordinator until all runs have ended."""
    transport = FakeTransport()
    capacity = Capacity("g", settings, fixed=2)
    coordinator = Coordinator(transport, "0", group="g", capacity=capacity, settings=settings)  # type: ignore[arg-type]
    working = asyncio.create_task(coordinator.run())
    await coordinator.ready.wait()
    messages = [
        m.pack_events([m.Submit(f"r{i + j:015d}", DIGEST, b"\x80", client="c") for j in range(TOGETHER)])
        for i in range(0, RUNS, TOGETHER)
    ]
    gc.collect()
    start = time.process_time()
    for message in messages:
        transport.write([message])
    done = asyncio.create_task(transport.done.wait())
    await asyncio.wait([done, working], return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        working.result()
    seconds = time.process_time() - start
    working.cancel()
    await asyncio.wait([working])
    return seconds - transport.outside, transport


def decide() -> float:
    """Seconds in the engine alone, for the same events."""
    engine = Engine()
    engine.add_plan(DIGEST, PLAN)
    gc.collect()
    start = time.process_time()
    bundle: list[Ready] = []
    for i in range(RUNS):
        for command in engine.decide(m.Submit(f"r{i:015d}", DIGEST, b"\x80", client="c"), i, i):
            if isinstance(command, Ready):
                bundle.append(command)
        if len(bundle) == 500:
            outcomes = tuple(
                m.Outcome(r.run, r.scope, r.node, r.attempt, "success", b"\x01", None, 0, SECONDS) for r in bundle
            )
            bundle.clear()
            for command in engine.decide(m.Results("b", "w", outcomes), i, i):
                if isinstance(command, EndRun):
                    engine.record(command.run)
                    engine.forget(command.run)
    return time.process_time() - start


def main() -> None:
    settings = Settings(snapshot_events=10**9, snapshot_bytes=10**12, snapshot_interval=1e9)
    if "--profile" in sys.argv:
        profile = cProfile.Profile()
        profile.enable()
        asyncio.run(coordinate(settings))
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
        return
    heading(f"coordinator: µs per run of one task ({RUNS:,} runs, {TOGETHER} submissions in a message; median of 5)")
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)  # as in a node's leader
    engine = statistics.median(decide() for _ in range(5)) / RUNS * 1e6
    print(f"{'decide, record, forget alone':<40} {engine:6.1f} µs")
    for name, given in (("without snapshots", settings), ("with snapshots as they come", Settings())):
        found = [asyncio.run(coordinate(given)) for _ in range(5)]
        whole = statistics.median(seconds for seconds, _ in found) / RUNS * 1e6
        print(f"{'all of it, ' + name:<40} {whole:6.1f} µs  ({found[0][1].bundles} bundles, {1e6 / whole:,.0f} runs/s)")


if __name__ == "__main__":
    main()
