"""Reads what other systems publish, as the port has it."""

from __future__ import annotations

import asyncio

from flowrun.errors import TransportError
from flowrun.transport import Heard

from .connection import Connection
from .notes import Listener
from .outside import Kept

__all__ = ["MemoryHearing"]

#: between two looks for what is handed out again, in seconds
_LOOK_SECONDS = 0.1


class _Message:
    def __init__(self, connection: Connection, kept: Kept) -> None:
        self._connection, self._kept = connection, kept
        self.subject, self.data, self.kind = kept.subject, kept.data, kept.kind
        self.id, self.time_ms = kept.id, kept.time_ms

    async def ack(self) -> None:
        server = self._connection.server
        lost = server.faults.strikes(server.faults.lose_ack)
        await self._connection.request((lambda: None) if lost else (lambda: server.outside.ack(self._kept)))


class MemoryHearing:
    def __init__(self, connection: Connection, name: str) -> None:
        self._connection, self._name = connection, name
        self._news: Listener[None] = Listener(connection.server.outside.news, ("heard", name))
        self._closed = False

    async def receive(self, most: int) -> list[Heard]:
        while not self._closed:
            taken = await self._connection.request(lambda: self._connection.server.outside.take(self._name, most))
            if taken:
                return [_Message(self._connection, kept) for kept in taken]
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._news.queue.get()
            except TimeoutError:
                continue
        raise TransportError("this hearing is closed")

    async def close(self) -> None:
        self._closed = True
        self._news.close()
        if self._connection.reaches:
            self._connection.server.outside.give_back(self._name)
