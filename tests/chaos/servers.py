"""The NATS side of a chaos run: one server, or three of which each may die, on ports that stay the same."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import closing
from pathlib import Path

from tests.support.cluster import Cluster, Server

__all__ = ["Servers"]

_START_SECONDS = 30.0
_POLL_SECONDS = 0.02


class Servers(Cluster):
    """`size`: 1 or 3."""

    def __init__(self, folder: Path, size: int) -> None:
        if size > 1:
            super().__init__(folder, size, advertise=False)  # else a node would go round what cuts its way
        else:
            self.servers = [Server(folder / "n0", "n0", _free_port(), monitor=_free_port())]
            self.url = self.servers[0].url

    @property
    def replicas(self) -> int:
        return len(self.servers)

    async def answers(self, server: Server) -> float:
        """Waits until a server that was started speaks; when it did, in milliseconds since 1970."""
        deadline = time.monotonic() + _START_SECONDS
        while not await asyncio.to_thread(_speaks, server.port):
            assert time.monotonic() < deadline, f"{server.name} does not answer: see {server.folder / 'nats.log'}"
            await asyncio.sleep(_POLL_SECONDS)
        return time.time() * 1000


def _speaks(port: int) -> bool:
    try:
        with closing(socket.create_connection(("127.0.0.1", port), timeout=0.5)) as connection:
            return connection.recv(4) == b"INFO"
    except OSError:
        return False


def _free_port() -> int:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
