"""Stands between a client and a server, and does what networks and servers do.

async with Proxy(server.port) as proxy:
    transport = await NatsTransport.connect(proxy.url)
    await proxy.cut()
"""

from __future__ import annotations

import asyncio
import contextlib

__all__ = ["Proxy"]


class Proxy:
    def __init__(self, port: int) -> None:
        self._to = port
        self.url = ""
        #: connections are closed as soon as they are made
        self.refuse = False
        #: bytes stay where they are, in both directions
        self.stalled = False
        #: connections that were made
        self.accepted = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        #: those to clients
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        await self.cut()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def cut(self) -> None:
        """Ends all connections, without a word."""
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def say(self, line: bytes) -> None:
        """The server seems to say this to every client, and then ends the connection."""
        for writer in list(self._clients):
            writer.write(line)
            with contextlib.suppress(OSError):
                await writer.drain()
        await asyncio.sleep(0.01)
        for writer in list(self._clients):
            writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.refuse:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        self._clients.add(writer)
        for source, sink in ((reader, back), (there, writer)):
            self._writers.add(sink)
            task = asyncio.create_task(self._pass_on(source, sink, back if sink is writer else writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, other: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await source.read(65536):
                while self.stalled:
                    await asyncio.sleep(0.01)
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            for writer in (sink, other):
                self._writers.discard(writer)
                self._clients.discard(writer)
                writer.close()
