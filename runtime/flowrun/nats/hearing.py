"""Reads what others publish: the consumers of one name (see `keeping`), as one source.

As in `work`, requests stand at the server, and silence or a reconnect makes new ones. What came and was not taken when
the source is closed is given back.
"""

from __future__ import annotations

import asyncio

import msgspec

from flowrun import names
from flowrun.errors import StoreError, TransportError
from flowrun.transport import Heard

from .api import ApiError
from .connection import Connection
from .keeping import streams_of
from .protocol import header, publication
from .pull import HEARTBEAT, Pull, Pulled, wait

__all__ = ["NatsHearing"]

#: messages that are on their way at the same time, and their bytes
_BATCH, _BATCH_BYTES = 1_000, 16 * 1024 * 1024
#: the streams of a subject are looked for again as often as this, in seconds
_LOOK_SECONDS = 30.0


class _Info(msgspec.Struct, frozen=True):
    #: when it was made, as the server writes that
    created: str = ""


class _Message:
    """See `transport.Heard`."""

    __slots__ = ("_connection", "_created", "_message", "data")

    def __init__(self, connection: Connection, message: Pulled, created: str) -> None:
        self._connection, self._message, self._created = connection, message, created
        self.data = message.data

    @property
    def subject(self) -> str:
        return self._message.subject.decode()

    @property
    def kind(self) -> str:
        headers = self._message.headers
        return header(headers, "Content-Type") or header(headers, "content-type") or ""

    @property
    def id(self) -> str:
        given = header(self._message.headers, "Nats-Msg-Id")
        return given or f"{self._created} {self._message.position()[1]}"

    @property
    def time_ms(self) -> int:
        return self._message.position()[3] // 1_000_000

    async def ack(self) -> None:
        self._connection.write(publication(self._message.reply.decode(), b"+ACK"))


class NatsHearing:
    """Made by `NatsHearing.open`."""

    def __init__(self, connection: Connection, name: str, subject: str) -> None:
        self._connection, self._subject = connection, subject
        self._consumer = names.heard_consumer(connection.settings.env, name, subject)
        self._arrived = asyncio.Event()
        self._pulls: dict[str, Pull] = {}
        #: stream -> its name and when it was made, the same as long as its sequences mean the same
        self._created: dict[str, str] = {}
        self._looked = 0.0
        self._loop = asyncio.get_running_loop()
        self._closed = False

    @classmethod
    async def open(cls, connection: Connection, name: str, subject: str) -> NatsHearing:
        """Raises StoreError if no stream has a consumer of this name."""
        self = cls(connection, name, subject)
        await self._look()
        return self

    async def _look(self) -> None:
        """Finds the streams, again after a while: others may have made or removed some."""
        self._looked = self._loop.time()
        found = await streams_of(self._connection, self._subject)
        for stream in found:
            if stream not in self._pulls and await self._is_there(stream):
                pull = self._pulls[stream] = Pull(self._connection, stream, self._consumer, self._arrived)
                pull.start()
        for stream in set(self._pulls) - set(found):
            self._pulls.pop(stream).stop()
        if not self._pulls:
            raise StoreError(f"no stream keeps `{self._subject}` for {self._consumer}")

    async def _is_there(self, stream: str) -> bool:
        info = await self._connection.api(f"STREAM.INFO.{stream}")
        consumer = await self._connection.api(f"CONSUMER.INFO.{stream}.{self._consumer}")
        if isinstance(info, ApiError) or isinstance(consumer, ApiError):
            return False
        self._created[stream] = f"{stream} {msgspec.json.decode(info, type=_Info).created}"
        return True

    async def receive(self, most: int) -> list[Heard]:
        while True:
            if self._closed:
                raise TransportError("this hearing is closed")
            self._arrived.clear()
            await self._revive()
            taken = self._take(most)
            if taken:
                return taken
            for pull in self._pulls.values():
                if pull.wanted < _BATCH // 2:
                    pull.ask(_BATCH - pull.wanted, _BATCH_BYTES)
            await wait(self._arrived, HEARTBEAT)

    def _take(self, most: int) -> list[Heard]:
        taken: list[Heard] = []
        for stream, pull in self._pulls.items():
            while pull.messages and len(taken) < most:
                taken.append(_Message(self._connection, pull.messages.popleft(), self._created[stream]))
        return taken

    async def _revive(self) -> None:
        stale = [stream for stream, pull in self._pulls.items() if pull.stale or pull.silent()]
        for stream in stale:  # what had come is delivered again: forgetting it spares work
            self._pulls.pop(stream).stop()
        if stale or self._loop.time() - self._looked > _LOOK_SECONDS:
            await self._look()

    async def close(self) -> None:
        """What came and was not taken goes back."""
        self._closed = True
        self._arrived.set()
        await asyncio.gather(*(pull.drain() for pull in self._pulls.values()))
        if self._connection.connected:
            for pull in self._pulls.values():
                for message in pull.messages:
                    self._connection.write(publication(message.reply.decode(), b"-NAK"))
