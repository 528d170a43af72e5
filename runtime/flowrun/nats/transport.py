"""The port to the message server, over NATS JetStream."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any

from flowrun import names
from flowrun.settings import Settings
from flowrun.transport import Delayed, Entry, Inbox, Record, WorkSource

from . import direct, inbox, streams
from .blobs import Blobs
from .collect import collect_blobs
from .connection import Connection
from .delayed import DelayedEvents
from .dispatching import Dispatching
from .entries import Entries
from .hearing import NatsHearing
from .keeping import Keeping
from .line import Subscription
from .protocol import publication
from .publisher import Publisher, key_headers
from .reading import Reader, read_records
from .results import Results
from .rounds import Outgoing, Rounds
from .work import WorkLanes

__all__ = ["NatsTransport"]


#: subjects that are written to again and again
_inbox_subject = functools.lru_cache(maxsize=1_000)(names.inbox_subject)


class NatsTransport:
    """One connection. Made by `NatsTransport.connect`."""

    def __init__(self, connection: Connection, publisher: Publisher) -> None:
        self._connection, self._publisher = connection, publisher
        self._settings = connection.settings
        self._env = connection.settings.env
        self._blobs = Blobs(connection, publisher)
        self._entries = Entries(connection, publisher)
        self._keeping = Keeping(connection)
        self._delayed = DelayedEvents(connection, publisher)
        self._results = Results(connection, publisher)
        self._dispatching = Dispatching(connection, publisher)
        self._rounds: Rounds | None = None
        if self._settings.durable:
            self._rounds = Rounds(connection, publisher, least=self._settings.sync_together, one_by_one=False)

    @classmethod
    async def connect(cls, url: str, settings: Settings | None = None, name: str = "flow") -> NatsTransport:
        """`url`: one or more, with commas. Raises TransportError within seconds if no server answers."""
        connection = await Connection.open(url, settings or Settings(), name)
        return cls(connection, await Publisher.open(connection))

    # ---- inboxes

    @property
    def on_reconnect(self) -> list[Callable[[], None]]:
        return self._connection.on_reconnect

    async def open_partition(self, partition: str) -> None:
        await asyncio.gather(streams.create_shared(self._connection), streams.create_inbox(self._connection, partition))

    async def drop_partition(self, partition: str) -> None:
        await streams.drop_partition(self._connection, partition)

    async def append(self, partition: str, data: bytes, key: str) -> int:
        subject, headers = _inbox_subject(self._env, partition), key_headers(key)
        if self._rounds is not None:
            return await self._rounds.put(partition, Outgoing(subject, data, headers))
        publisher = self._publisher
        if publisher.full:
            await publisher.room()
        return await publisher.post(subject, data, headers)

    async def append_at(self, partition: str, name: str, data: bytes, at_ms: int) -> None:
        await self._delayed.put(partition, name, data, at_ms)

    async def cancel_delayed(self, partition: str, name: str) -> bool:
        return await self._delayed.cancel(partition, name)

    async def delayed(self, partition: str) -> list[Delayed]:
        return await self._delayed.all(partition)

    def read(self, partition: str, after: int) -> AsyncIterator[list[Record]]:
        stream, subject = names.inbox_stream(self._env, partition), names.inbox_subject(self._env, partition)
        return read_records(Reader(self._connection, stream, subject, after))

    async def inbox(self, partition: str) -> Inbox:
        return await inbox.read_state(self._connection, partition)

    async def read_one(self, partition: str, seq: int) -> Record | None:
        return await inbox.read_one(self._connection, partition, seq)

    async def purge_inbox(self, partition: str, before: int) -> None:
        await inbox.purge_inbox(self._connection, partition, before)

    # ---- work

    async def fence(self, partition: str) -> int:
        return await self._dispatching.fence(partition)

    def dispatch(
        self, group: str, lane: str, priority: int, partition: str, data: bytes, key: str, fence: int
    ) -> Coroutine[Any, Any, None]:
        return self._dispatching.put(group, lane, priority, partition, data, key, fence)

    async def standing_work(self, partition: str) -> list[bytes]:
        stream, subjects = names.work_stream(self._env), names.work_filter(self._env, partition)
        return [stored.data for stored in await direct.all_of(self._connection, stream, subjects)]

    async def clear_work(self, partition: str) -> None:
        await streams.purge(self._connection, names.work_stream(self._env), names.work_filter(self._env, partition))

    async def work(self, group: str, lanes: tuple[str, ...]) -> WorkSource:
        return await WorkLanes.open(self._connection, self._settings, group, lanes)

    # ---- messages of other systems

    async def keep_heard(self, wanted: Mapping[str, str]) -> dict[str, str]:
        return await self._keeping.keep(wanted)

    async def hear(self, name: str, subject: str) -> NatsHearing:
        return await NatsHearing.open(self._connection, name, subject)

    # ---- entries

    async def read_entry(self, key: str) -> Entry | None:
        return await self._entries.read(key)

    async def write_entry(self, key: str, data: bytes, expected: int | None = None) -> int:
        return await self._entries.write(key, data, expected)

    async def remove_entry(self, key: str) -> None:
        await self._entries.remove(key)

    async def entries(self, prefix: str) -> list[Entry]:
        return await self._entries.all(prefix)

    async def listen_entries(self, prefix: str) -> AsyncIterator[Entry]:
        return await self._entries.listen(prefix)

    # ---- blobs and results

    async def put_blob(self, digest: str, data: bytes) -> None:
        await self._blobs.put(digest, data)

    async def get_blob(self, digest: str) -> bytes:
        return await self._blobs.get(digest)

    async def collect_blobs(self, keep_seconds: float) -> None:
        await collect_blobs(self._connection, self._env, keep_seconds)

    async def put_results(self, records: Sequence[tuple[str, bytes]], keep_seconds: float) -> None:
        await self._results.put(records, keep_seconds)

    async def get_result(self, run: str) -> bytes | None:
        stream, subject = names.result_stream(self._env), names.result_subject(self._env, run)
        found = await direct.get(self._connection, stream, last_by_subj=subject)
        return None if found is None else found.data

    async def put_log(self, run: str, data: bytes) -> None:
        if self._connection.crowded:
            await self._connection.room()
        if len(data) <= self._connection.max_payload:
            self._connection.write(publication(names.log_subject(self._env, run), data))

    def read_log(self, run: str) -> AsyncIterator[bytes]:
        return self._read_log(run)

    async def _read_log(self, run: str) -> AsyncGenerator[bytes, None]:
        reader = Reader(self._connection, names.log_stream(self._env), names.log_subject(self._env, run), 0)
        await reader.start()
        stored = reader.stored
        if not stored:
            yield b""
        batches = reader.batches()
        try:
            async for batch in batches:
                for message, _, _, pending in batch:
                    yield message.data
                    if stored > 0:
                        # fewer may come than there were: the oldest go when the stream is full
                        stored = stored - 1 if pending else 0
                        if not stored:
                            yield b""
        finally:
            await batches.aclose()

    # ---- live notes

    async def notify(self, topic: str, key: str, data: bytes) -> None:
        if self._connection.connected and len(data) <= self._connection.max_payload:
            self._connection.write(publication(names.note_subject(self._env, topic, key), data))

    async def listen(self, topic: str, key: str) -> AsyncIterator[bytes]:
        subject = names.note_subject(self._env, topic, key)
        if topic == "log":
            subject = names.log_subject(self._env, key) if key != "*" else names.subjects(self._env, "log")
        notes = _Notes(self._connection, subject)
        await self._connection.flush()
        return notes.iterate()

    async def close(self) -> None:
        await self._dispatching.close()
        if self._rounds is not None:
            await self._rounds.close()
        await self._publisher.close()
        await self._connection.close()


class _Notes:
    """Live notes of a subject, as they come."""

    def __init__(self, connection: Connection, subject: str) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._subscription: Subscription = connection.subscribe(subject, self._on_note)

    def _on_note(self, subject: bytes, reply: bytes, headers: bytes, data: bytes) -> None:
        self._queue.put_nowait(data)

    async def iterate(self) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield await self._queue.get()
        finally:
            self._subscription.unsubscribe()
