"""What a worker costs: CPU per unit in bundles of single tasks, and the round trip of one bundle on an idle system.

    python benchmarks/worker_speed.py [--items 200] [--bundles 200] [--kind process] [--codes 2]

With `--codes`, the work is of so many deployed codes, in turn; a new one's first unit is told by itself.

A real worker process on an own nats-server. The benchmark is its coordinator: it dispatches bundles and reads results.
CPU is that of the worker process (the agent) and of its executors, from /proc. The round trip is from the dispatch to
the moment when the results are read; the floor is the same two hops without a worker in between.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from flowc import plan as plans
from flowc.types import INT
from flowrun import values
from flowrun.code.packing import Packed, pack_code
from flowrun.messages import Bundle, Results, WorkItem, pack, unpack_events
from flowrun.names import lane
from flowrun.nats.transport import NatsTransport
from flowrun.server import EmbeddedServer
from flowrun.settings import Settings
from flowrun.worker.config import WorkerConfig
from flowrun.worker.supervisor import Supervisor

TASKS = "def nothing(x): return x\nasync def nothing_async(x): return x\n"
ENV = Settings(env="bench")


def plan(target: str, code: str) -> plans.Plan:
    task = plans.TaskDef(
        name="t", params=(plans.TaskParamDef(name="x", type=0),), returns=0, operator="python", target=target
    )
    node = plans.TaskNode(name="t", inputs=(plans.Input(0),), task=0, args=(("x", ["in", 0]),), settings=0)
    block = plans.PlanBlock(nodes=(plans.ParamNode(name="x"), node), params=1)
    return plans.Plan(
        flow="f", file="f.flow", params=(), returns=None, types=(INT,), settings=(plans.StepSettings(),),
        tasks=(task,), blocks=(block,), version=plans.FORMAT, code=code,
    )  # fmt: skip


class Leader:
    """This side: dispatches, reads results."""

    def __init__(self, transport: NatsTransport, digests: list[str], fence: int, lane: str) -> None:
        self._transport, self._digests, self._fence, self._lane = transport, digests, fence, lane
        self._count = 0
        self.done = 0
        #: how long the first unit of each code took, in milliseconds
        self.first: list[float] = []
        self.changed = asyncio.Event()

    async def dispatch(self, items: int) -> None:
        self._count += 1
        work = tuple(WorkItem(f"run-{self._count}-{i}", 0, "", 0, 0, 1, 1, (values.encode(i),)) for i in range(items))
        digest = self._digests[self._count % len(self._digests)]
        bundle = Bundle(f"b{self._count}", "0", self._lane, (digest,), work)
        await self._transport.dispatch("nodes", self._lane, 5, "0", pack(bundle), bundle.id, self._fence)

    async def read(self) -> None:
        async for records in self._transport.read("0", 0):
            for record in records:
                for event in unpack_events(record.data):
                    assert isinstance(event, Results), event
                    assert all(o.state in ("success", "returned") for o in event.outcomes), event.outcomes[0]
                    self.done += len(event.outcomes)
            self.changed.set()
            self.changed = asyncio.Event()

    async def until(self, count: int) -> None:
        while self.done < count:
            await self.changed.wait()


@asynccontextmanager
async def leader(kind: str, codes: int) -> AsyncIterator[tuple[Leader, Supervisor, NatsTransport]]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "tasks.py").write_text(TASKS)
        server = EmbeddedServer(root / ".flow")
        await server.start()
        transport = await NatsTransport.connect(server.url, ENV)
        await transport.open_partition("0")
        digests = []
        for number in range(max(1, codes)):
            code = ""
            if codes:
                packed = packed_version(root / f"version{number}")
                await transport.put_blob(packed.digest, packed.data)
                code = packed.digest
            data = plans.encode(plan("tasks:nothing_async" if kind == "async" else "tasks:nothing", code))
            digests.append(plans.digest(data))
            await transport.put_blob(digests[-1], data)
        worker = Supervisor(WorkerConfig(url=server.url, env="bench", root=folder, slots=1))
        await worker.start()
        lead = Leader(transport, digests, await transport.fence("0"), lane("default", kind))
        reading = asyncio.create_task(lead.read())
        for number in range(len(digests)):
            began = time.perf_counter()
            await lead.dispatch(1)
            await lead.until(1 + number)
            lead.first.append((time.perf_counter() - began) * 1000)
        yield lead, worker, transport
        reading.cancel()
        await worker.stop()
        await transport.close()
        await server.stop()


def cpu_seconds(pid: int) -> tuple[float, float]:
    """Of a process, and of its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return own, sum(map(sum, map(cpu_seconds, children)))


def packed_version(folder: Path) -> Packed:
    """A code of its own."""
    folder.mkdir()
    (folder / "tasks.py").write_text(f"{TASKS}VERSION = {folder.name!r}\n")
    return pack_code(folder)


async def throughput(kind: str, items: int, bundles: int, codes: int) -> None:
    async with leader(kind, codes) as (lead, worker, _):
        if codes:
            print(f"{kind:8} first unit of each code: {', '.join(f'{ms:.0f} ms' for ms in lead.first)}")
        done = lead.done
        for _ in range(5):
            await lead.dispatch(items)
        await lead.until(done + 5 * items)
        before, began, done = cpu_seconds(worker.pid), time.perf_counter(), lead.done
        window = asyncio.Semaphore(4)

        async def send() -> None:
            for number in range(bundles):
                await window.acquire()
                await lead.dispatch(items)
                asyncio.get_running_loop().create_task(release(done + (number + 1) * items))

        async def release(count: int) -> None:
            await lead.until(count)
            window.release()

        await send()
        await lead.until(done + items * bundles)
        seconds, after = time.perf_counter() - began, cpu_seconds(worker.pid)
        units = items * bundles
        agent, executor = ((now - then) / units * 1e6 for then, now in zip(before, after, strict=True))
        print(f"{kind:8} {bundles} bundles of {items}: {units / seconds:,.0f} units/s, "
              f"CPU of a unit: {agent:.2f} µs in the agent, {executor:.2f} µs in the executor")  # fmt: skip


async def round_trip(kind: str, rounds: int, codes: int) -> None:
    async with leader(kind, codes) as (lead, _, transport):
        times, floors = [], []
        for _ in range(rounds):
            await asyncio.sleep(0.005)
            began, count = time.perf_counter(), lead.done + 1
            await lead.dispatch(1)
            await lead.until(count)
            times.append((time.perf_counter() - began) * 1000)
        await transport.open_partition("1")
        for number in range(rounds):
            await asyncio.sleep(0.005)
            began = time.perf_counter()
            await transport.append("1", b"x" * 100, f"a{number}")
            await transport.append("1", b"x" * 100, f"b{number}")
            floors.append((time.perf_counter() - began) * 1000)
        shown = [f"p{p} {statistics.quantiles(times, n=100)[p - 1]:.2f} ms" for p in (50, 99)]
        floor = statistics.median(floors)
        print(f"{kind:8} one unit on an idle system: {', '.join(shown)}; two acknowledged hops alone: {floor:.2f} ms")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--bundles", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--kind", choices=("process", "async", "thread"), default="process")
    parser.add_argument("--codes", type=int, default=0, help="deployed codes; 0: the worker's own project")
    given = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    await throughput(given.kind, given.items, given.bundles, given.codes)
    await round_trip(given.kind, given.rounds, given.codes)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
