"""Reads from consumers: keeps messages asked for, and notices when they stop coming.

nats-py's `fetch` stalls at times and tells an ended consumer from a quiet one badly, so this is an own loop: a
subscription with a callback, requests that overlap (a new one goes out before the last is used up), and a watchdog:
with `idle_heartbeat` the server speaks at least every few seconds, and silence means that our requests are lost.
Then, and after a reconnect, a work source asks anew; an inbox reader starts a new consumer after the last record it
gave, and does the same when the consumer's numbers have a gap. Nothing is missed or given twice.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections import deque
from collections.abc import AsyncIterator

import msgspec
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from flowrun import names
from flowrun.errors import FlowError, TransportError
from flowrun.settings import Settings
from flowrun.transport import Delivery, Record

from . import streams
from .connection import Connection

__all__ = ["Pull", "WorkQueues", "read_inbox"]

#: how long a request for messages stands at the server, and how often it says that it does, in seconds
_EXPIRES, _HEARTBEAT = 30, 5
_SILENCE = 2.5 * _HEARTBEAT
#: messages of an inbox that are on their way at the same time, and their bytes
_BATCH, _BATCH_BYTES = 1_000, 16 * 1024 * 1024
_SECOND_NS = 1_000_000_000

log = logging.getLogger("flow.nats")

_reader_numbers = itertools.count()


class Pull:
    """Messages of one consumer. `wanted` are asked for and have not come."""

    def __init__(self, connection: Connection, stream: str, consumer: str, arrived: asyncio.Event) -> None:
        self._connection = connection
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = connection.client.new_inbox()
        self._subscription: Subscription | None = None
        #: set when there is something to see: a message, an ended request, a lost connection
        self.arrived = arrived
        self.messages: deque[Msg] = deque()
        self.wanted = 0
        #: the consumer is gone, or may have lost what was asked for
        self.stale = False
        self.heard = 0.0

    async def start(self) -> None:
        self._subscription = await self._connection.subscribe(self._inbox, self._on_message)
        self._connection.on_reconnect.append(self._lost)
        self._connection.on_lost.append(self._lost)
        self.heard = asyncio.get_running_loop().time()

    async def ask(self, count: int, max_bytes: int | None = None) -> None:
        """Asks for `count` more messages; not while there is no connection, for after it all is asked anew."""
        if not self._connection.connected:
            return
        request: dict[str, int] = {
            "batch": count,
            "expires": _EXPIRES * _SECOND_NS,
            "idle_heartbeat": _HEARTBEAT * _SECOND_NS,
        }
        if max_bytes is not None:
            request["max_bytes"] = max_bytes
        if self.wanted == 0:
            self.heard = asyncio.get_running_loop().time()
        self.wanted += count
        await self._connection.send(self._next, msgspec.json.encode(request), reply=self._inbox)

    def silent(self) -> bool:
        """Messages are asked for, and not even a heartbeat comes."""
        return self.wanted > 0 and asyncio.get_running_loop().time() - self.heard > _SILENCE

    async def stop(self) -> None:
        for callbacks in (self._connection.on_reconnect, self._connection.on_lost):
            if self._lost in callbacks:
                callbacks.remove(self._lost)
        if self._subscription is not None and not self._connection.client.is_closed:
            await self._subscription.unsubscribe()

    def _lost(self, error: FlowError | None = None) -> None:
        self.stale = True
        self.wanted = 0
        self.arrived.set()

    async def _on_message(self, msg: Msg) -> None:
        self.heard = asyncio.get_running_loop().time()
        status = msg.headers.get("Status") if msg.headers and not msg.data else None
        if status is None:
            self.wanted = max(self.wanted - 1, 0)
            self.messages.append(msg)
            self.arrived.set()
        elif status != "100":
            self._ended(status, msg)

    def _ended(self, status: str, msg: Msg) -> None:
        """A request is over: it expired, is used up, or the consumer is gone."""
        headers = msg.headers or {}
        unused = headers.get("Nats-Pending-Messages")
        self.wanted = max(self.wanted - int(unused), 0) if unused else 0
        text = headers.get("Description", "").lower()
        if status == "503" or "deleted" in text or "leadership" in text or "shutdown" in text:
            self.stale = True
        self.arrived.set()


def _metadata(msg: Msg) -> tuple[int, int, int, int]:
    """Deliveries, stream sequence, consumer sequence, time stamp in nanoseconds: from the reply subject."""
    parts = msg.reply.split(".")
    # $JS.ACK.(domain.account.)stream.consumer.delivered.sseq.cseq.time.pending(.random)
    start = 4 if len(parts) == 9 else 6
    return int(parts[start]), int(parts[start + 1]), int(parts[start + 2]), int(parts[start + 3])


# ---- an inbox -------------------------------------------------------------------------------------------------------


async def read_inbox(connection: Connection, env: str, partition: str, after: int) -> AsyncIterator[list[Record]]:
    """The inbox from the message after `after`, in order, without end."""
    stream = names.inbox_stream(env, partition)
    while True:
        name = f"reader-{os.getpid()}-{id(connection):x}-{next(_reader_numbers)}"
        await streams.create_reader(connection, stream, name, after)
        pull = Pull(connection, stream, name, asyncio.Event())
        await pull.start()
        try:
            async for batch in _batches(pull):
                after = batch[-1].seq
                yield batch
        finally:
            await pull.stop()
            if connection.connected:
                await connection.send(f"$JS.API.CONSUMER.DELETE.{stream}.{name}")


async def _batches(pull: Pull) -> AsyncIterator[list[Record]]:
    """Batches as they come; ends when the reader must start anew."""
    expected = 1
    while not pull.stale and not pull.silent():
        if pull.wanted < _BATCH // 2 and len(pull.messages) < _BATCH:
            await pull.ask(_BATCH - pull.wanted, _BATCH_BYTES)
        pull.arrived.clear()
        batch: list[Record] = []
        while pull.messages:
            msg = pull.messages.popleft()
            _, seq, number, stamp = _metadata(msg)
            if number != expected:  # something in between was lost on its way
                pull.stale = True
                break
            expected += 1
            batch.append(Record(seq=seq, time_ms=stamp // 1_000_000, data=msg.data))
        if batch:
            yield batch
        else:
            await _wait(pull.arrived, _HEARTBEAT)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


# ---- work -----------------------------------------------------------------------------------------------------------


class _NatsDelivery:
    def __init__(self, connection: Connection, msg: Msg) -> None:
        self._connection = connection
        self._reply = msg.reply
        self.subject = msg.subject
        self.data = msg.data
        self.redelivered = _metadata(msg)[0] > 1

    async def ack(self) -> None:
        await self._connection.send(self._reply, b"+ACK")

    async def progress(self) -> None:
        await self._connection.send(self._reply, b"+WPI")


class WorkQueues:
    """Bundles of several queues, one consumer each."""

    def __init__(self, connection: Connection, settings: Settings, partition: str, queues: tuple[str, ...]) -> None:
        self._connection, self._settings, self._partition, self._queues = connection, settings, partition, queues
        self._arrived = asyncio.Event()
        self._pulls: dict[str, Pull] = {}
        self._lost: FlowError | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._connection.on_lost.append(self._fail)
        await asyncio.gather(*(self._open(queue) for queue in self._queues))
        self._keeper = asyncio.create_task(self._keep())

    async def receive(self, most: int) -> list[Delivery]:
        while True:
            if self._lost:
                raise self._lost
            self._arrived.clear()
            await self._revive()
            taken = self._take(most)
            if taken:
                return taken
            await asyncio.gather(*(p.ask(most - p.wanted) for p in self._pulls.values() if p.wanted < most))
            await _wait(self._arrived, _HEARTBEAT)

    def _take(self, most: int) -> list[Delivery]:
        """What has come, from each queue in turn."""
        taken: list[Delivery] = []
        while len(taken) < most and any(pull.messages for pull in self._pulls.values()):
            for pull in self._pulls.values():
                if pull.messages and len(taken) < most:
                    taken.append(_NatsDelivery(self._connection, pull.messages.popleft()))
        return taken

    async def _open(self, queue: str) -> None:
        name = await streams.create_worker(self._connection, self._settings, queue, self._partition)
        stream = names.work_stream(self._settings.env)
        pull = Pull(self._connection, stream, name, self._arrived)
        await pull.start()
        self._pulls[queue] = pull

    async def _revive(self) -> None:
        """After a reconnect, a deleted consumer or silence: makes sure of the consumer, and forgets old requests."""
        for queue, pull in self._pulls.items():
            if pull.stale or pull.silent():
                await streams.create_worker(self._connection, self._settings, queue, self._partition)
                pull.stale, pull.wanted = False, 0

    async def _keep(self) -> None:
        """Bundles that came and are not yet taken keep their lease."""
        while True:
            await asyncio.sleep(self._settings.ack_wait / 3)
            for pull in self._pulls.values():
                for msg in pull.messages:
                    await self._connection.send(msg.reply, b"+WPI")

    def _fail(self, error: FlowError) -> None:
        self._lost = error
        self._arrived.set()

    async def close(self) -> None:
        """Bundles that came and were not taken go back, as if they had never been handed out."""
        self._fail(TransportError("this source of work is closed"))
        self._connection.on_lost.remove(self._fail)
        if self._keeper is not None:
            self._keeper.cancel()
        for pull in self._pulls.values():
            await pull.stop()
        if self._connection.connected:
            await asyncio.gather(*(self._give_back(msg) for pull in self._pulls.values() for msg in pull.messages))

    async def _give_back(self, msg: Msg) -> None:
        """Puts a copy into the stream and acknowledges the original, so that nobody counts a lost worker."""
        try:
            await self._connection.request(msg.subject, msg.data)
            await self._connection.send(msg.reply, b"+ACK")
        except TransportError as error:
            log.warning("a bundle could not be given back and waits for its lease to end: %s", error)
