"""The own server of a node is started again where it was."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

from flowrun.node.own_server import keep_server
from flowrun.server import EmbeddedServer


def _answers(url: str) -> bool:
    host, _, port = url.removeprefix("nats://").partition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=0.2):
            return True
    except OSError:
        return False


async def test_a_killed_server_comes_back_on_its_port(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path) as server:
        keeping = asyncio.create_task(keep_server(server))
        url, pid = server.url, server.pid
        assert pid is not None
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(5):
            while server.pid in (pid, None) or not _answers(url):
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)  # it answers a little before its start is known to be over
        assert server.url == url
        assert not keeping.done()
        await server.stop()
        async with asyncio.timeout(5):
            await keeping
