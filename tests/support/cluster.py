"""A NATS cluster on loopback: three servers with JetStream, each of which may be killed, stopped and started again.

async with Cluster(folder) as cluster:
    transport = await NatsTransport.connect(cluster.url, Settings(replicas=3))
    cluster[0].kill(signal.SIGKILL)
    cluster[0].start()
    await cluster.healthy()
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from flowrun.server import find_nats_server

__all__ = ["Cluster", "Server"]

_START_SECONDS = 30.0


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


class Server:
    """One nats-server on a fixed port, with a store of its own."""

    def __init__(self, folder: Path, name: str, port: int, *, more: str = "", monitor: int = 0) -> None:
        self.folder, self.name, self.port, self.monitor = folder, name, port, monitor
        self.url = f"nats://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        http = f"http: 127.0.0.1:{monitor}\n" if monitor else ""
        (folder / "nats.conf").write_text(
            f'server_name: {name}\nlisten: 127.0.0.1:{port}\n{http}max_payload: 8MB\n'
            f'log_file: "{folder / "nats.log"}"\n'
            f'jetstream {{ store_dir: "{folder / "store"}" }}\n{more}'
        )  # fmt: skip

    def start(self) -> None:
        """Starts it; it may not answer yet."""
        self.process = subprocess.Popen(
            [str(find_nats_server()), "-c", str(self.folder / "nats.conf")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def kill(self, sign: int = signal.SIGKILL) -> None:
        """Ends it, and waits until it has ended."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(sign)
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        """It lives, holds its connections and says nothing."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)

    def get(self, path: str) -> dict[str, object] | None:
        """What its monitoring says; None while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}{path}", timeout=1) as answer:
                found: dict[str, object] = json.load(answer)
                return found
        except (OSError, urllib.error.URLError, ValueError):
            return None


class Cluster:
    def __init__(self, folder: Path, size: int = 3, *, advertise: bool = True) -> None:
        """`advertise`: clients are told of the other servers; else they know only those of their URL."""
        ports = _free_ports(3 * size)
        clients, routes, monitors = ports[:size], ports[size : 2 * size], ports[2 * size :]
        quiet = "" if advertise else ", no_advertise: true"
        peers = ", ".join(f"nats://127.0.0.1:{port}" for port in routes)
        self.servers = [
            Server(
                folder / f"n{i}",
                f"n{i}",
                clients[i],
                more=f"cluster {{ name: flow, listen: 127.0.0.1:{routes[i]}, routes: [{peers}]{quiet} }}\n",
                monitor=monitors[i],
            )
            for i in range(size)
        ]
        #: of all servers
        self.url = ",".join(server.url for server in self.servers)

    def __getitem__(self, index: int) -> Server:
        return self.servers[index]

    async def __aenter__(self) -> Cluster:
        for server in self.servers:
            server.start()
        try:
            await self.healthy()
        except BaseException:
            self.stop()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        for server in self.servers:
            server.kill()

    async def healthy(self) -> None:
        """Waits until every server that was started answers, and all streams have their leaders and copies."""
        deadline = time.monotonic() + _START_SECONDS
        for server in self.servers:
            if server.process is None:
                continue
            while (await asyncio.to_thread(server.get, "/healthz") or {}).get("status") != "ok":
                assert time.monotonic() < deadline, f"{server.name} is not ready: see {server.folder / 'nats.log'}"
                await asyncio.sleep(0.05)

    async def leader_of(self, stream: str) -> Server:
        """The server that leads a stream."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            for server in self.servers:
                if server.process is None:
                    continue
                found = await asyncio.to_thread(server.get, "/jsz?streams=true&accounts=true")
                name = _leader(found, stream)
                if name:
                    return next(server for server in self.servers if server.name == name)
            await asyncio.sleep(0.05)
        raise AssertionError(f"{stream} has no leader")


def _leader(found: object, stream: str) -> str | None:
    if not isinstance(found, dict):
        return None
    for account in found.get("account_details") or ():
        for detail in account.get("stream_detail") or ():
            if detail.get("name") == stream:
                leader: str | None = (detail.get("cluster") or {}).get("leader")
                return leader
    return None
