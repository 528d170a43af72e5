"""The port to the message server, over NATS JetStream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from flowrun import names
from flowrun.settings import Settings
from flowrun.transport import Record, WorkSource

from . import streams
from .blobs import Blobs, direct_get
from .collect import collect_blobs
from .connection import Connection
from .publisher import Publisher
from .pull import WorkQueues, read_inbox

__all__ = ["NatsTransport"]

#: a note that a run ended may be lost: whoever waits looks for the record as often as this, in seconds
_LOOK_AGAIN = 2.0


class NatsTransport:
    """One connection. Made by `NatsTransport.connect`."""

    def __init__(self, connection: Connection, publisher: Publisher) -> None:
        self._connection, self._publisher = connection, publisher
        self._settings = connection.settings
        self._env = connection.settings.env
        self._blobs = Blobs(connection, publisher)
        self._shared: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, url: str, settings: Settings | None = None, name: str = "flow") -> NatsTransport:
        """`url`: one or more, with commas. Raises TransportError within seconds if no server answers."""
        connection = await Connection.open(url, settings or Settings(), name)
        return cls(connection, await Publisher.open(connection))

    # ---- partitions

    async def open_partition(self, partition: str) -> None:
        await asyncio.gather(self._open_shared(), streams.create_inbox(self._connection, self._env, partition))

    async def drop_partition(self, partition: str) -> None:
        await streams.drop_partition(self._connection, self._env, partition)

    async def _open_shared(self) -> None:
        await streams.create_shared(self._connection, self._env)

    async def append(self, partition: str, data: bytes, key: str) -> int:
        return await self._publisher.publish(names.inbox_subject(self._env, partition), data, key)

    def read(self, partition: str, after: int) -> AsyncIterator[list[Record]]:
        return read_inbox(self._connection, self._env, partition, after)

    async def last_seq(self, partition: str) -> int:
        return await streams.last_seq(self._connection, names.inbox_stream(self._env, partition))

    # ---- work

    async def dispatch(self, queue: str, priority: int, partition: str, data: bytes, key: str) -> None:
        await self._publisher.publish(names.work_subject(self._env, queue, priority, partition), data, key)

    async def clear_work(self, partition: str) -> None:
        await streams.purge_work(self._connection, self._env, partition)

    async def work(self, partition: str, queues: tuple[str, ...]) -> WorkSource:
        source = WorkQueues(self._connection, self._settings, partition, queues)
        await source.start()
        return source

    # ---- blobs and results

    async def put_blob(self, digest: str, data: bytes) -> None:
        await self._blobs.put(digest, data)

    async def get_blob(self, digest: str) -> bytes:
        return await self._blobs.get(digest)

    async def collect_blobs(self, keep_seconds: float) -> None:
        await collect_blobs(self._connection, self._env, keep_seconds)

    async def put_result(self, run: str, data: bytes, keep_seconds: float) -> None:
        subject = names.result_subject(self._env, run)
        await self._publisher.publish(subject, data, headers={"Nats-TTL": f"{max(round(keep_seconds), 1)}s"})
        await self.notify("result", run, data)

    async def get_result(self, run: str) -> bytes | None:
        found = await direct_get(self._connection, names.result_stream(self._env), names.result_subject(self._env, run))
        return None if found is None else found.data

    async def wait_result(self, run: str) -> bytes:
        notes = await _Notes.open(self._connection, names.note_subject(self._env, "result", run))
        try:
            while (found := await self.get_result(run)) is None:
                try:
                    async with asyncio.timeout(_LOOK_AGAIN):
                        return await notes.queue.get()
                except TimeoutError:
                    continue
            return found
        finally:
            await notes.close()

    # ---- live notes

    async def notify(self, topic: str, run: str, data: bytes) -> None:
        if self._connection.connected and len(data) <= self._connection.max_payload:
            await self._connection.send(names.note_subject(self._env, topic, run), data)

    async def listen(self, topic: str, run: str) -> AsyncIterator[bytes]:
        notes = await _Notes.open(self._connection, names.note_subject(self._env, topic, run))
        await self._connection.flush()
        return notes.iterate()

    async def close(self) -> None:
        await self._publisher.close()
        await self._connection.close()


class _Notes:
    """Live notes of a subject, as they come."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._subscription: Subscription | None = None
        self._connection: Connection | None = None

    @classmethod
    async def open(cls, connection: Connection, subject: str) -> _Notes:
        self = cls()
        self._connection = connection
        self._subscription = await connection.subscribe(subject, self._on_note)
        return self

    async def _on_note(self, msg: Msg) -> None:
        self.queue.put_nowait(msg.data)

    async def iterate(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield await self.queue.get()
        finally:
            await self.close()

    async def close(self) -> None:
        if self._subscription is not None and self._connection is not None and not self._connection.client.is_closed:
            await self._subscription.unsubscribe()
