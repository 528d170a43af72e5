"""Worker processes on a real server: they start, work, die, and leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import msgspec
import pytest
from flowc import plan as plans
from flowrun import values
from flowrun.messages import Bundle, Lost, Results, WorkItem, pack, unpack_event
from flowrun.nats.transport import NatsTransport
from flowrun.server import EmbeddedServer
from flowrun.settings import Settings
from flowrun.worker.config import WorkerConfig
from flowrun.worker.supervisor import Supervisor, WorkerBroken

from tests.unit.worker.harness import call

_numbers = count()

TASKS = """
import os, time
def double(x): return 2 * x
def environment(): return dict(os.environ)
def hang(path):
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path_factory.mktemp("flow"))
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


class Client:
    """This side of a partition that workers serve."""

    def __init__(self, transport: NatsTransport) -> None:
        self.transport = transport
        self._seen = 0

    async def submit(self, target: str, **args: object) -> WorkItem:
        plan, item = call(target, **args)
        data = plans.encode(plan)
        digest = plans.digest(data)
        await self.transport.put_blob(digest, data)
        bundle = Bundle(f"bundle{next(_numbers)}", "p", "default", (digest,), (item,))
        await self.transport.dispatch("default", 5, "p", pack(bundle), bundle.id)
        return item

    async def event(self, seconds: float = 10.0) -> Results | Lost:
        async with asyncio.timeout(seconds):
            async for records in self.transport.read("p", self._seen):
                self._seen = records[0].seq
                event = unpack_event(records[0].data)
                assert isinstance(event, Results | Lost)
                return event
        raise AssertionError


@asynccontextmanager
async def partition(server: EmbeddedServer, root: Path) -> AsyncIterator[tuple[Client, WorkerConfig]]:
    (root / "tasks.py").write_text(TASKS)
    env = f"worker{next(_numbers)}"
    transport = await NatsTransport.connect(server.url, Settings(env=env, ack_wait=1.0))
    await transport.open_partition("p")
    try:
        yield Client(transport), WorkerConfig(url=server.url, env=env, partition="p", root=str(root), ack_wait=1.0)
    finally:
        await transport.close()


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def children(pid: int) -> set[int]:
    """Processes whose parent this is, and theirs."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(stat.parent.name)] = int(fields[1])
    found: set[int] = set()
    while new := {p for p, parent in parents.items() if parent in found | {pid}} - found:
        found |= new
    return found


def alive(pids: set[int]) -> set[int]:
    return {
        pid for pid in pids if (stat := Path("/proc", str(pid), "stat")).exists() and ") Z " not in stat.read_text()
    }


async def test_a_worker_process_works_and_ends(server: EmbeddedServer, tmp_path: Path) -> None:
    async with partition(server, tmp_path) as (client, config):
        supervisor = Supervisor(config)
        await supervisor.start()
        await client.submit("tasks:double", x=21)
        event = await client.event()
        assert isinstance(event, Results)
        assert event.outcomes[0].value == values.encode(42)
        processes = {supervisor.pid} | children(supervisor.pid)
        assert len(processes) == 2
        for pid in processes:
            assert server.url.encode() not in Path("/proc", str(pid), "cmdline").read_bytes()
        await client.submit("tasks:environment")
        event = await client.event()
        assert isinstance(event, Results)
        assert server.url.encode() not in event.outcomes[0].value
        began = time.monotonic()
        await supervisor.stop()
        assert time.monotonic() - began < 1.0
        assert alive(processes) == set()


async def test_a_stopped_worker_hands_back_what_runs(server: EmbeddedServer, tmp_path: Path) -> None:
    async with partition(server, tmp_path) as (client, config):
        supervisor = Supervisor(config)
        await supervisor.start()
        await client.submit("tasks:hang", path=str(tmp_path / "pid"))
        await until((tmp_path / "pid").exists)
        await supervisor.stop()
        event = await client.event()
        assert isinstance(event, Results)
        assert [outcome.state for outcome in event.outcomes] == ["returned"]


async def test_the_work_of_a_killed_worker_is_reported_lost(server: EmbeddedServer, tmp_path: Path) -> None:
    async with partition(server, tmp_path) as (client, config):
        supervisor = Supervisor(config)
        await supervisor.start()
        item = await client.submit("tasks:hang", path=str(tmp_path / "pid"))
        await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
        executor = int((tmp_path / "pid").read_text())
        first = supervisor.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: alive({executor}) == set())
        event = await client.event()
        assert isinstance(event, Lost)
        assert event.items == (item,)
        assert supervisor.pid != first
        await client.submit("tasks:double", x=1)
        assert isinstance(await client.event(), Results)
        await supervisor.stop()


async def test_a_lease_is_kept_while_work_runs(server: EmbeddedServer, tmp_path: Path) -> None:
    async with partition(server, tmp_path) as (client, config):
        config = msgspec.structs.replace(config, ack_wait=0.6)
        workers = [Supervisor(config), Supervisor(config)]
        for one in workers:
            await one.start()
        await client.submit("tasks:hang", path=str(tmp_path / "pid"))
        with pytest.raises(TimeoutError):
            await client.event(seconds=1.8)  # three times ack_wait
        for one in workers:
            await one.stop()


async def test_workers_end_with_their_parent(server: EmbeddedServer, tmp_path: Path) -> None:
    async with partition(server, tmp_path) as (client, config):
        code = (
            "import asyncio, sys\n"
            "from flowrun.worker.config import WorkerConfig\n"
            "from flowrun.worker.supervisor import Supervisor\n"
            "async def main():\n"
            "    await Supervisor(WorkerConfig.from_json(sys.argv[1])).start()\n"
            "    await asyncio.sleep(60)\n"
            "asyncio.run(main())\n"
        )
        parent = subprocess.Popen([sys.executable, "-c", code, config.to_json().decode()])
        await client.submit("tasks:hang", path=str(tmp_path / "pid"))
        await until((tmp_path / "pid").exists)
        processes = children(parent.pid)
        assert len(processes) == 2
        parent.kill()
        parent.wait()
        await until(lambda: alive(processes) == set())


async def test_a_worker_that_cannot_start_is_given_up(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowrun.worker.supervisor.WAIT", 0.01)
    supervisor = Supervisor(WorkerConfig(url="nats://127.0.0.1:1", partition="p", root=str(tmp_path)))
    await supervisor.start()
    with pytest.raises(WorkerBroken):
        async with asyncio.timeout(60):
            await supervisor.wait()
    await supervisor.stop()
    assert "127.0.0.1:1" in capfd.readouterr().err
