"""Worker processes on a real server: they start, work, die, and leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from itertools import count
from pathlib import Path

import msgspec
import pytest
from flowc import plan as plans
from flowrun import values
from flowrun.messages import Bundle, Lost, Presence, Results, WorkItem, pack, unpack, unpack_events
from flowrun.nats.transport import NatsTransport
from flowrun.server import EmbeddedServer
from flowrun.settings import Settings
from flowrun.worker.config import WorkerConfig
from flowrun.worker.launch import BAD_CONFIG, launch_worker
from flowrun.worker.supervisor import Supervisor, WorkerBroken

from tests.unit.worker.harness import call

_numbers = count()

TASKS = """
import os, time
def double(x): return 2 * x
def environment(): return dict(os.environ)
def nap(path):
    open(path, "w").close()
    time.sleep(0.5)
    return "slept"
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

    def __init__(self, transport: NatsTransport, fence: int) -> None:
        self.transport, self._fence = transport, fence
        self._seen = 0
        self._came: deque[Results | Lost] = deque()

    async def submit(self, target: str, lane: str = "default", **args: object) -> WorkItem:
        plan, item = call(target, **args)
        data = plans.encode(plan)
        digest = plans.digest(data)
        await self.transport.put_blob(digest, data)
        bundle = Bundle(f"bundle{next(_numbers)}", "p", lane, (digest,), (item,))
        await self.transport.dispatch("g", lane, 5, "p", pack(bundle), bundle.id, self._fence)
        return item

    async def event(self, seconds: float = 10.0) -> Results | Lost:
        async with asyncio.timeout(seconds):
            while not self._came:
                async with aclosing(self.transport.read("p", self._seen)) as reader:
                    records = await anext(reader)
                self._seen = records[-1].seq
                for record in records:
                    self._came.extend(event for event in unpack_events(record.data))  # type: ignore[misc]
        return self._came.popleft()


@asynccontextmanager
async def partition(server: EmbeddedServer, root: Path) -> AsyncIterator[tuple[Client, WorkerConfig]]:
    (root / "tasks.py").write_text(TASKS)
    env = f"worker{next(_numbers)}"
    transport = await NatsTransport.connect(server.url, Settings(env=env, ack_wait=1.0))
    await transport.open_partition("p")
    try:
        client = Client(transport, await transport.fence("p"))
        yield client, WorkerConfig(url=server.url, env=env, group="g", root=str(root), ack_wait=1.0)
    finally:
        await transport.close()


def launch(config: WorkerConfig) -> subprocess.Popen[bytes]:
    """A worker that this process ends with signals."""
    worker = launch_worker()
    assert worker.stdin is not None
    worker.stdin.write(config.to_json() + b"\n")
    worker.stdin.flush()
    return worker


async def gone(worker: subprocess.Popen[bytes], seconds: float = 5.0) -> int:
    """Its exit code, once it has ended."""
    code = await asyncio.to_thread(worker.wait, seconds)
    assert worker.stdin is not None
    worker.stdin.close()
    return code


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
    supervisor = Supervisor(WorkerConfig(url="nats://127.0.0.1:1", root=str(tmp_path)))
    await supervisor.start()
    with pytest.raises(WorkerBroken):
        async with asyncio.timeout(60):
            await supervisor.wait()
    await supervisor.stop()
    assert "127.0.0.1:1" in capfd.readouterr().err


async def test_a_worker_ends_warmly(server: EmbeddedServer, tmp_path: Path) -> None:
    """What runs ends; what has not begun goes back."""
    async with partition(server, tmp_path) as (client, config):
        worker = launch(config)
        await client.submit("tasks:nap", path=str(tmp_path / "pid"))
        await until((tmp_path / "pid").exists)
        await client.submit("tasks:double", x=1)
        worker.terminate()
        event = await client.event()
        assert isinstance(event, Results)
        assert [outcome.value for outcome in event.outcomes] == [values.encode("slept")], event
        assert await gone(worker, 5) == 0
        # the other one stands in the work stream, as if nobody had had it
        successor = launch(config)
        event = await client.event()
        assert isinstance(event, Results)
        assert event.outcomes[0].value == values.encode(2)
        successor.terminate()
        assert await gone(successor, 5) == 0


TWICE = [(signal.SIGQUIT,), (signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT)]


@pytest.mark.parametrize("numbers", TWICE)
async def test_a_worker_ends_coldly(server: EmbeddedServer, tmp_path: Path, numbers: tuple[int, ...]) -> None:
    async with partition(server, tmp_path) as (client, config):
        worker = launch(config)
        await client.submit("tasks:hang", path=str(tmp_path / "pid"))
        await until((tmp_path / "pid").exists)
        began = time.monotonic()
        for number in numbers:
            worker.send_signal(number)
            await asyncio.sleep(0.1)
        event = await client.event()
        assert isinstance(event, Results)
        assert [outcome.state for outcome in event.outcomes] == ["returned"]
        assert await gone(worker, 5) == 0
        assert time.monotonic() - began < 2.0


async def test_the_grace_period_ends(server: EmbeddedServer, tmp_path: Path) -> None:
    async with partition(server, tmp_path) as (client, config):
        worker = launch(msgspec.structs.replace(config, grace=0.3))
        await client.submit("tasks:hang", path=str(tmp_path / "pid"))
        await until((tmp_path / "pid").exists)
        worker.terminate()
        event = await client.event(2.0)
        assert isinstance(event, Results)
        assert [outcome.state for outcome in event.outcomes] == ["returned"]
        assert await gone(worker, 5) == 0


async def test_a_worker_says_that_it_lives(server: EmbeddedServer, tmp_path: Path) -> None:
    async with partition(server, tmp_path) as (client, config):
        notes = await client.transport.listen("presence", "*")
        worker = launch(msgspec.structs.replace(config, name="w", node="n1", queues=("default", "media"), slots=2))
        first = unpack(await anext(notes), Presence)
        assert (first.node, first.group, first.pid) == ("n1", "g", worker.pid)
        lanes = {lane: count for queue in ("default", "media") for lane, count in
                 ((queue, 2), (f"{queue}@async", 100), (f"{queue}@thread", 16))}  # fmt: skip
        assert first.capacity == lanes
        await client.submit("tasks:hang", path=str(tmp_path / "pid"))
        await until((tmp_path / "pid").exists)
        assert unpack(await anext(notes), Presence).busy == {"default": 1}
        worker.terminate()
        while not unpack(await anext(notes), Presence).stopping:
            pass
        worker.send_signal(signal.SIGQUIT)
        assert await gone(worker, 5) == 0


async def test_every_kind_of_executor_has_its_lane(server: EmbeddedServer, tmp_path: Path) -> None:
    async with partition(server, tmp_path) as (client, config):
        supervisor = Supervisor(config)
        await supervisor.start()
        for lane in ("default@async", "default@thread", "default"):
            await client.submit("tasks:double", lane, x=4)
            event = await client.event()
            assert isinstance(event, Results)
            assert event.outcomes[0].value == values.encode(8)
        assert len(children(supervisor.pid)) == 3
        await supervisor.stop(grace=5.0)


async def test_a_worker_that_was_paused_gives_up_what_others_may_have(server: EmbeddedServer, tmp_path: Path) -> None:
    async with partition(server, tmp_path) as (client, config):
        worker = launch(config)
        item = await client.submit("tasks:hang", path=str(tmp_path / "pid"))
        await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
        executor = int((tmp_path / "pid").read_text())
        worker.send_signal(signal.SIGSTOP)
        other = launch(config)
        event = await client.event()
        assert isinstance(event, Lost)
        assert event.items == (item,)
        assert alive({executor})
        worker.send_signal(signal.SIGCONT)
        await until(lambda: not alive({executor}), 2.0)
        with pytest.raises(TimeoutError):
            await client.event(seconds=0.5)
        for one in (worker, other):
            one.send_signal(signal.SIGQUIT)
            assert await gone(one, 5) == 0


async def test_a_configuration_that_cannot_be_read(tmp_path: Path) -> None:
    worker = launch_worker()
    assert worker.stdin is not None
    worker.stdin.write(b'{"urls": 5}\n')
    worker.stdin.flush()
    assert await gone(worker, 10) == BAD_CONFIG
