"""A service level of a run whose worker is stopped: it fires on time, once, through a handler on another worker and a
webhook. All of it in real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flowrun.client import Client
from flowrun.server import EmbeddedServer
from flowrun.settings import Settings

from tests.support.project import compiled

FLOW = """
use std.notify { webhook }

queue work {}
queue alerts {}

task slow(name: string) returns string {
  run: python("tasks:slow")
  queue: work
  timeout: 1h
}

flow main(url: string, name: string) returns string {
  sla: { finish: 2s, warn: 0.5 }
  x = slow(name) with { sla: { start: 1s, finish: 1500ms } } on sla_miss(m) {
    webhook("${url}/${m.step}/${m.what}", m) with { queue: alerts }
  }
  return x
  on sla_miss(m) { webhook(if m.warning then "${url}/warning" else "${url}/${m.what}", m) with { queue: alerts } }
}
"""
TASKS = """
from pathlib import Path
import time


def slow(name: str) -> str:
    Path(name).touch()
    time.sleep(0.6)
    return name
"""
#: what may come, in order of time
ORDER = ["/warning", "/x/start", "/x/finish", "/finish"]
#: a level fires within this time, in seconds
ON_TIME = 1.0


class Receiver:
    """Takes webhooks on 127.0.0.1: (path, body, idempotency key, time of the wall clock)."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, object], str, float]] = []

    async def __aenter__(self) -> Receiver:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        now = time.time()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.got.append((head[0].split()[1], body, headers["idempotency-key"], now))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


@contextmanager
def a_node(url: str, folder: Path, name: str, *args: str) -> Iterator[subprocess.Popen[bytes]]:
    """A node in its processes, which end by SIGKILL."""
    command = [
        sys.executable, "-c", "from flowcli.main import main; main()", "node", "--nats", url, "--name", name,
        "--partitions", "1", *args,
    ]  # fmt: skip
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        yield process
    finally:
        tell(process.pid, signal.SIGKILL)
        process.wait()


def tell(pid: int, number: signal.Signals) -> None:
    """Sends a signal to a process, and to all that come from it."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        tell(int(child), number)
    os.kill(pid, number)


async def until(path: Path) -> None:
    while not path.exists():
        await asyncio.sleep(0.02)


@pytest.mark.timeout(60)
async def test_a_level_fires_once_and_on_time_when_the_worker_of_its_run_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "flow.toml").touch()
    plan = compiled(tmp_path, FLOW, TASKS)
    async with EmbeddedServer(tmp_path / ".flow") as server, Receiver() as receiver:
        with ExitStack() as nodes:
            nodes.enter_context(a_node(server.url, tmp_path, "leader", "--roles", "leader"))
            nodes.enter_context(
                a_node(server.url, tmp_path, "alerts", "--roles", "worker", "--queues", "alerts", "--slots", "2")
            )
            stopped = nodes.enter_context(
                a_node(server.url, tmp_path, "work", "--roles", "worker", "--queues", "work", "--slots", "1")
            )
            async with Client.connect(server.url, settings=Settings(partitions=1)) as client:
                warm_up = await client.submit(plan, {"url": receiver.url, "name": str(tmp_path / "first")})
                assert (await client.wait(warm_up.id)).state == "success"
                receiver.got.clear()
                begun = await client.submit(plan, {"url": receiver.url, "name": str(tmp_path / "begun")})
                await until(tmp_path / "begun")
                await asyncio.sleep(0.3)  # it takes a moment to say so
                tell(stopped.pid, signal.SIGSTOP)
                waits = await client.submit(plan, {"url": receiver.url, "name": str(tmp_path / "waits")})
                async with asyncio.timeout(10):
                    while len(receiver.got) < 7:
                        await asyncio.sleep(0.05)
                tell(stopped.pid, signal.SIGCONT)
                records = [await client.wait(run.id) for run in (begun, waits)]
    assert [record.state for record in records] == ["success", "success"]
    assert check(receiver, begun.id) == ["/warning", "/x/finish", "/finish"]
    assert check(receiver, waits.id) == ["/warning", "/x/start", "/x/finish", "/finish"]
    assert [[(mark.step, mark.what, bool(mark.missed_ms)) for mark in record.slas] for record in records] == [
        [("x", "start", False), ("x", "finish", True), ("", "finish", True)],
        [("x", "start", True), ("x", "finish", True), ("", "finish", True)],
    ]


def check(receiver: Receiver, run: str) -> list[str]:
    """The paths of what came of a run, in order of time; each came once and on time."""
    found = [(path, body, key, came) for path, body, key, came in receiver.got if body["run"] == run]
    assert len({key for _, _, key, _ in found}) == len(found)
    for path, body, _, came in found:
        due = datetime.fromisoformat(str(body["due"]))
        late = came - (due - timedelta(seconds=path == "/warning")).timestamp()
        print(f"{path}: {1000 * late:.0f} ms after its time")
        assert 0 <= late <= ON_TIME
    return sorted((path for path, *_ in found), key=ORDER.index)
