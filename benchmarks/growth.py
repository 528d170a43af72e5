"""How cost grows: `python benchmarks/growth.py [items] [slots] [waiting] [signals]`.

    items    an `each` over 1,000 to 1,000,000 no-op items with a sum at the end, and the last of them also on a server
             that syncs each write to disk; targets: 100,000 items/s (synced 50,000), no process above 400 MB
    slots    the same over 100,000 items, and 20,000 single tasks, with 1 to 8 slots
    waiting  100,000 runs that wait for a timer: what each takes in all processes together; target 4 KB
    signals  100,000 runs that wait for a signal: the same; target 2.5 KB; and how long it takes to signal 10,000

One node and one server, of their own for each figure, beside the client on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path

import uvloop
from flowc.pipeline import compile_paths
from flowc.plan import Plan
from flowc.project import find_project
from flowrun.client import Client, Run
from flowrun.node.config import NodeConfig
from flowrun.node.supervise import supervise
from flowrun.server import EmbeddedServer
from flowrun.settings import Settings
from measure import heading, process_tree

FLOW = """\
use "growth_tasks.py" { noop }
use std.wait { signal }

signal go: int

flow main(items: int) returns int {
  xs = each i in range(items) with { max: 10_000_000 } { return noop(i) }
  return sum(xs)
}

flow later(i: int) returns int {
  x = noop(i) with { delay: 1h }
  return x
}

flow told(i: int) returns int {
  n = signal(go)
  return n + i
}
"""
TASKS = "def noop(i: int) -> int:\n    return i\n"
SIZES = (1_000, 10_000, 100_000, 1_000_000)
WAITING = 100_000
SINGLES = 20_000
SIGNALLED = 10_000


class System:
    """A server, a node and a client."""

    def __init__(self, client: Client, plans: dict[str, Plan]) -> None:
        self.client, self.plans = client, plans
        self.pids: dict[str, int] = {}

    async def items(self, count: int) -> float:
        """Seconds of an `each`."""
        start = time.perf_counter()
        run = await self.client.submit(self.plans["main"], {"items": count})
        found = await run.result()
        if found != count * (count - 1) // 2:
            raise SystemExit(f"{count} items gave {found!r}")
        return time.perf_counter() - start

    async def singles(self, count: int) -> float:
        """Seconds of single tasks."""
        start = time.perf_counter()
        noop = import_module("growth_tasks").noop
        runs = [self.client.submit_task_nowait(noop, i) for i in range(count)]
        found = await asyncio.gather(*(run.result() for run in runs))
        if sum(found) != count * (count - 1) // 2:
            raise SystemExit(f"{count} tasks gave {sum(found)}")
        return time.perf_counter() - start


@asynccontextmanager
async def system(slots: int = 2, *, durable: bool = False) -> AsyncIterator[System]:
    with tempfile.TemporaryDirectory(prefix="flow-growth-") as name:
        folder = Path(name)
        (folder / "main.flow").write_text(FLOW)
        (folder / "growth_tasks.py").write_text(TASKS)
        if "growth_tasks" not in sys.modules:
            sys.path.insert(0, name)
            import_module("growth_tasks")
        found = compile_paths(find_project(folder), [folder / "main.flow"])
        async with EmbeddedServer(folder / ".flow", durable=durable) as server:
            config = NodeConfig(
                url=server.url, name="growth", slots=(slots, slots), root=name, partitions=1, durable=durable
            )
            settings = Settings(partitions=1, durable=durable)
            with _node(config) as node:
                async with Client.connect(server.url, settings=settings) as client:
                    this = System(client, {one.flow: one.plan for one in found.plans})
                    await this.items(1_000)  # all of it is up, and warm
                    assert server.pid is not None
                    this.pids = {_label(pid): pid for pid in (os.getpid(), server.pid, *process_tree(node))}
                    yield this


@contextmanager
def _node(config: NodeConfig) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, __file__, "serve", config.to_json()], stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


async def items() -> None:
    for count in SIZES:
        await _items(count, durable=False)
    await _items(SIZES[-1], durable=True)


async def _items(count: int, *, durable: bool) -> None:
    async with system(durable=durable) as this:
        seconds = sorted([await this.items(count) for _ in range(3)])
        print(
            f"{count:>9,} items{' synced' * durable:7}  {count / seconds[1]:>9,.0f}/s "
            f"({count / seconds[2]:,.0f}–{count / seconds[0]:,.0f})   peaks in MB: {_peaks(this)}",
            flush=True,
        )


async def slots() -> None:
    for count in (1, 2, 4, 8):
        async with system(count) as this:
            each = sorted([await this.items(100_000) for _ in range(3)])[1]
            single = sorted([await this.singles(SINGLES) for _ in range(3)])[1]
        print(f"{count} slots   {100_000 / each:>9,.0f} items/s   {SINGLES / single:>8,.0f} single tasks/s", flush=True)


async def waiting() -> None:
    async with system() as this:
        await _that_wait(this, "later", "for a timer")


async def signals() -> None:
    async with system() as this:
        runs = await _that_wait(this, "told", "for a signal")
        start = time.perf_counter()
        await asyncio.gather(*(run.signal("go", 1) for run in runs[:SIGNALLED]))
        told = time.perf_counter() - start
        if await asyncio.gather(*(run.result() for run in runs[:SIGNALLED])) != [i + 1 for i in range(SIGNALLED)]:
            raise SystemExit("the runs gave something else")
        print(f"{SIGNALLED:,} of them signalled in {told:.1f} s, ended after {time.perf_counter() - start:.1f} s")


async def _that_wait(this: System, flow: str, what: str) -> list[Run]:
    """Submits runs and tells what each takes."""
    before = _resident(this)
    runs = await this.client.submit_many(this.plans[flow], ({"i": i} for i in range(WAITING)))
    await asyncio.sleep(15)  # what nothing happens to is packed
    after = _resident(this)
    grown = {name: (after[name] - before[name]) / WAITING for name in after}
    told = ", ".join(f"{name} {size:,.0f}" for name, size in grown.items())
    print(f"{WAITING:,} runs that wait {what}: {sum(grown.values()):,.0f} bytes each ({told})", flush=True)
    return runs


def _label(pid: int) -> str:
    command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    known = {"flowrun.node": "leader", "flowrun.worker ": "worker", "start_executor": f"executor {pid}"}
    if pid == os.getpid():
        return "client"
    return next((label for part, label in known.items() if part in command), command.split()[0].rpartition("/")[2])


def _resident(this: System) -> dict[str, int]:
    """Bytes of each process now."""
    return {name: 4096 * int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for name, pid in this.pids.items()}


def _peaks(this: System) -> str:
    found = {}
    for name, pid in this.pids.items():
        status = Path(f"/proc/{pid}/status").read_text()
        found[name] = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) // 1024
    return ", ".join(f"{name} {size}" for name, size in found.items())


async def main(names: list[str]) -> None:
    parts = {"items": items, "slots": slots, "waiting": waiting, "signals": signals}
    heading("how cost grows")
    for name in names or list(parts):
        await parts[name]()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        sys.exit(uvloop.run(supervise(NodeConfig.from_json(sys.argv[2]))))
    uvloop.run(main(sys.argv[1:]))
