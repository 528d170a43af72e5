"""One connection to a MemoryServer, as the port has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from flowrun.errors import StoreError, TransportError
from flowrun.transport import Delayed, Delivery, Entry, Inbox, Record

from .connection import Connection
from .hearing import MemoryHearing
from .inbox import MemoryInbox
from .notes import Listener
from .server import Effect, MemoryServer
from .work import Pull, Work

__all__ = ["MemoryTransport"]

T = TypeVar("T")

#: messages of an inbox that are read at once
_BATCH = 500


class _MemoryDelivery:
    def __init__(self, connection: Connection, work: Work) -> None:
        self._connection, self.number = connection, work.number
        self.data = work.data
        self.redelivered = work.deliveries > 1
        self.fresh = connection.fresh

    async def ack(self) -> None:
        server = self._connection.server
        lost = server.faults.strikes(server.faults.lose_ack)
        await self._connection.request((lambda: None) if lost else self._ack)

    def _ack(self) -> None:
        server = self._connection.server
        work = server.work.get(self.number)
        if work is not None:
            server.stream.remove(self.number)
            server.did(Effect(self._connection.name, "ack", work.partition, work.data, self.number))

    async def progress(self) -> None:
        await self._connection.request(lambda: self._connection.server.stream.extend(self.number))


class _MemoryWork:
    """A source of work. What came for a `receive` that was cancelled is kept for the next."""

    def __init__(self, connection: Connection, group: str, lanes: tuple[str, ...]) -> None:
        self._connection = connection
        self._lanes = [(group, lane) for lane in lanes]
        self._came: list[_MemoryDelivery] = []
        self._arrived: asyncio.Future[None] | None = None
        self._pull: Pull | None = None
        self._closed = False
        connection.on_reconnect.append(self._ask_again)
        connection.on_death.append(self._take_back)

    async def receive(self, most: int) -> list[Delivery]:
        while not self._came:
            if self._closed or self._connection.closed:
                raise TransportError("this source of work is closed")
            self._arrived = asyncio.get_running_loop().create_future()
            await self._connection.request(lambda: self._ask(most))
            if not self._came:
                try:
                    await self._arrived
                finally:
                    self._take_back()
        taken, self._came = self._came[:most], self._came[most:]
        return [*taken]

    def _ask(self, most: int) -> None:
        """At the server: one request for work at a time."""
        self._take_back()
        self._pull = Pull(lanes=self._lanes, most=most, give=self._given)
        self._connection.server.stream.pull(self._pull)

    def _given(self, works: list[Work]) -> None:
        server = self._connection.server
        for work in works:
            server.did(Effect(self._connection.name, "hand_out", work.partition, work.data, work.number))
        self._connection.deliver(lambda: self._arrive(works))

    def _arrive(self, works: list[Work]) -> None:
        if self._closed:
            return
        self._came += [_MemoryDelivery(self._connection, work) for work in works]
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def _ask_again(self) -> None:
        """The server forgot the request, or never got it."""
        self._take_back()
        self._wake()

    def _take_back(self) -> None:
        if self._pull is not None:
            self._connection.server.stream.unpull(self._pull)
            self._pull = None

    async def close(self) -> None:
        """Bundles that came and were not taken go back, as if they had never been handed out."""
        if self._connection.dead:
            return
        self._closed = True
        self._take_back()
        self._wake()
        self._connection.on_reconnect.remove(self._ask_again)
        self._connection.on_death.remove(self._take_back)
        for delivery in self._came:
            self._connection.server.stream.give_back(delivery.number)


class MemoryTransport:
    """One connection to a MemoryServer."""

    def __init__(self, server: MemoryServer, name: str = "") -> None:
        self.server, self.name = server, name
        self.connection = Connection(server, name)
        #: what others publish and this connection wanted last
        self._wanted: dict[str, str] = {}

    def _did(self, what: str, where: str, data: bytes = b"", number: int = 0) -> None:
        self.server.did(Effect(self.name, what, where, data, number))

    @property
    def on_reconnect(self) -> list[Callable[[], None]]:
        return self.connection.on_reconnect

    # ---- inboxes

    async def open_partition(self, partition: str) -> None:
        await self.connection.request(lambda: self.server.open_partition(partition))

    async def drop_partition(self, partition: str) -> None:
        await self.connection.request(lambda: self.server.drop_partition(partition))

    async def append(self, partition: str, data: bytes, key: str) -> int:
        return await self.connection.request(lambda: self._append(partition, data, key))

    def _append(self, partition: str, data: bytes, key: str) -> int:
        inbox = self.server.inbox(partition)
        self.server.store()
        last = inbox.last_seq
        seq = inbox.append(data, key)
        if seq > last:
            self._did("append", partition, data, seq)
        faults = self.server.faults
        if faults.strikes(faults.duplicate):
            self.connection.later(faults.wait(faults.duplicate_after), lambda: self._again(inbox, partition, data))
        return seq

    def _again(self, inbox: MemoryInbox, partition: str, data: bytes) -> None:
        """A repetition that comes so late that its key is no longer known."""
        if inbox.open and self.server.up:
            self._did("append", partition, data, inbox.append(data, None))

    async def append_at(self, partition: str, name: str, data: bytes, at_ms: int) -> None:
        await self.connection.request(lambda: self._append_at(partition, name, data, at_ms))

    def _append_at(self, partition: str, name: str, data: bytes, at_ms: int) -> None:
        faults = self.server.faults
        self.server.store()
        self.server.inbox(partition).append_at(name, data, at_ms, faults.wait(faults.lateness))
        self._did("append_at", partition, data, at_ms)

    async def cancel_delayed(self, partition: str, name: str) -> bool:
        return await self.connection.request(lambda: self.server.inbox(partition).cancel_delayed(name))

    async def delayed(self, partition: str) -> list[Delayed]:
        return await self.connection.request(lambda: self.server.inbox(partition).delayed())

    async def read(self, partition: str, after: int) -> AsyncIterator[list[Record]]:
        inbox = await self.connection.request(lambda: self._readable(partition))
        while True:
            batch = await self.connection.request(partial(self._read, partition, inbox, after))
            if isinstance(batch, list):
                after = batch[-1].seq
                yield batch
            else:
                await batch

    def _read(self, partition: str, inbox: MemoryInbox, after: int) -> list[Record] | asyncio.Future[None]:
        """What is there, or what is done when there may be more."""
        if self._readable(partition) is not inbox:
            raise StoreError(f"the inbox of partition {partition} was made anew: what it held is lost")
        if after > inbox.last_seq:
            raise StoreError(
                f"the inbox of partition {partition} has lost messages: it ends at {inbox.last_seq}, "
                f"and message {after} was read"
            )
        return inbox.after(after, _BATCH) or inbox.changed.waiter()

    async def inbox(self, partition: str) -> Inbox:
        return await self.connection.request(lambda: self._inbox(partition))

    def _inbox(self, partition: str) -> Inbox:
        return self._readable(partition).state()

    def _readable(self, partition: str) -> MemoryInbox:
        if partition not in self.server.inboxes:
            raise StoreError(f"partition {partition} is not there")
        return self.server.inboxes[partition]

    async def read_one(self, partition: str, seq: int) -> Record | None:
        return await self.connection.request(lambda: self.server.inbox(partition).find(seq))

    async def purge_inbox(self, partition: str, before: int) -> None:
        await self.connection.request(lambda: self._purge(partition, before))

    def _purge(self, partition: str, before: int) -> None:
        self.server.inbox(partition).purge(before)
        self._did("purge", partition, number=before)

    # ---- work

    async def fence(self, partition: str) -> int:
        return await self.connection.request(lambda: self._fence(partition))

    def _fence(self, partition: str) -> int:
        token = self.server.stream.fence(partition)
        self._did("fence", partition, number=token)
        return token

    async def dispatch(
        self, group: str, lane: str, priority: int, partition: str, data: bytes, key: str, fence: int
    ) -> None:
        work = Work(number=0, lane=(group, lane), partition=partition, priority=priority, data=data, key=key)
        await self.connection.request(lambda: self._dispatch(work, fence))

    def _dispatch(self, work: Work, fence: int) -> None:
        self.server.store()
        self.server.stream.dispatch(work, fence)
        if work.number:
            self._did("dispatch", work.partition, work.data, fence)

    async def standing_work(self, partition: str) -> list[bytes]:
        return await self.connection.request(lambda: [w.data for w in self.server.stream.standing(partition)])

    async def clear_work(self, partition: str) -> None:
        await self.connection.request(lambda: self.server.stream.clear(partition))

    async def work(self, group: str, lanes: tuple[str, ...]) -> _MemoryWork:
        await self.connection.request(lambda: None)
        return _MemoryWork(self.connection, group, lanes)

    # ---- messages of other systems

    async def keep_heard(self, wanted: Mapping[str, str]) -> dict[str, str]:
        before, self._wanted = self._wanted, dict(wanted)
        await self.connection.request(lambda: self.server.outside.keep(wanted, before))
        return {}

    async def hear(self, name: str, subject: str) -> MemoryHearing:
        if await self.connection.request(lambda: self.server.outside.wanted.get(name)) != subject:
            raise StoreError(f"nothing keeps `{subject}` for {name}")
        return MemoryHearing(self.connection, name)

    # ---- entries

    async def read_entry(self, key: str) -> Entry | None:
        return await self.connection.request(lambda: self.server.entries.get(key))

    async def write_entry(self, key: str, data: bytes, expected: int | None = None) -> int:
        return await self.connection.request(lambda: self._write_entry(key, data, expected))

    def _write_entry(self, key: str, data: bytes, expected: int | None) -> int:
        self.server.store()
        revision = self.server.write_entry(key, data, expected)
        self._did("write_entry", key, data, revision)
        return revision

    async def remove_entry(self, key: str) -> None:
        await self.connection.request(lambda: self._remove_entry(key))

    def _remove_entry(self, key: str) -> None:
        self.server.remove_entry(key)
        self._did("remove_entry", key)

    async def entries(self, prefix: str) -> list[Entry]:
        return await self.connection.request(
            lambda: [entry for key, entry in self.server.entries.items() if key.startswith(f"{prefix}.")]
        )

    async def listen_entries(self, prefix: str) -> AsyncIterator[Entry]:
        topic = prefix.partition(".")[0]
        listener = await self.connection.request(lambda: Listener(self.server.changed_entries, (topic, "*")))
        return self._entries(prefix, listener)

    async def _entries(self, prefix: str, listener: Listener[Entry]) -> AsyncIterator[Entry]:
        try:
            while True:
                entry = await listener.queue.get()
                if entry.key.startswith(f"{prefix}.") and not self._loses_note():
                    yield entry
        finally:
            listener.close()

    # ---- blobs, results, logs

    async def put_blob(self, digest: str, data: bytes) -> None:
        await self._blob_request(lambda: self._put_blob(digest, data))

    def _put_blob(self, digest: str, data: bytes) -> None:
        self.server.store()
        self.server.put_blob(digest, data)

    async def get_blob(self, digest: str) -> bytes:
        return await self._blob_request(lambda: self.server.get_blob(digest))

    async def collect_blobs(self, keep_seconds: float) -> None:
        await self._blob_request(lambda: self.server.collect_blobs(keep_seconds))

    async def _blob_request(self, effect: Callable[[], T]) -> T:
        return await self.connection.request(effect, self.server.faults.fail_blob)

    async def put_results(self, records: Sequence[tuple[str, bytes]], keep_seconds: float) -> None:
        await asyncio.gather(*(self._put_result(run, data, keep_seconds) for run, data in records))

    async def _put_result(self, run: str, data: bytes, keep_seconds: float) -> None:
        await self.connection.request(lambda: self._store_result(run, data, keep_seconds))

    def _store_result(self, run: str, data: bytes, keep_seconds: float) -> None:
        self.server.store()
        self.server.put_result(run, data, keep_seconds)
        self._did("put_result", run, data)

    async def get_result(self, run: str) -> bytes | None:
        return await self.connection.request(lambda: self.server.result(run))

    async def put_log(self, run: str, data: bytes) -> None:
        if self.connection.reaches and not self._loses_note():
            self.server.logs.setdefault(run, []).append(data)
            self.server.notify("log", run, data)

    async def read_log(self, run: str) -> AsyncIterator[bytes]:
        listener, stored = await self.connection.request(
            lambda: (Listener(self.server.notes, ("log", run)), list(self.server.logs.get(run, ())))
        )
        for data in (*stored, b""):
            yield data
        async for data in self._notes(listener):
            yield data

    # ---- live notes

    async def notify(self, topic: str, key: str, data: bytes) -> None:
        if self.connection.closed:
            raise TransportError("this connection is closed")
        if self.connection.reaches and not self._loses_note():
            self._show(topic, key, data)

    def _loses_note(self) -> bool:
        faults = self.server.faults
        return not self.connection.reaches or faults.strikes(faults.lose_note)

    def _show(self, topic: str, key: str, data: bytes) -> None:
        faults = self.server.faults
        if faults.delay:
            self.connection.later(faults.wait(faults.delay), lambda: self.server.notify(topic, key, data))
        else:
            self.server.notify(topic, key, data)

    async def listen(self, topic: str, key: str) -> AsyncIterator[bytes]:
        listener = await self.connection.request(lambda: Listener(self.server.notes, (topic, key)))
        return self._notes(listener)

    async def _notes(self, listener: Listener[bytes]) -> AsyncIterator[bytes]:
        try:
            while True:
                data = await listener.queue.get()
                if self.connection.reaches:
                    yield data
        finally:
            listener.close()

    async def close(self) -> None:
        self.connection.closed = True
