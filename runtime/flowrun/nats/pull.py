"""Keeps messages of a consumer asked for, and notices when they stop coming.

nats-py's `fetch` stalls at times and tells an ended consumer from a quiet one badly, so this is an own loop: requests
that overlap (a new one goes out before the last is used up), and a watchdog: with `idle_heartbeat` the server speaks at
least every few seconds, and silence means that our requests are lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

import msgspec

from .connection import Connection
from .line import Subscription
from .protocol import header, status

__all__ = ["HEARTBEAT", "Pull", "Pulled", "wait"]

#: how long a request for messages stands at the server, and how often it says that it does, in seconds
EXPIRES, HEARTBEAT = 30.0, 1.5
_SECOND_NS = 1_000_000_000


class Pulled(NamedTuple):
    """A message of a consumer."""

    subject: bytes
    #: where it is acknowledged; tells where the message stands
    reply: bytes
    headers: bytes
    data: bytes
    #: loop time
    arrived: float

    def position(self) -> tuple[int, int, int, int, int]:
        """Deliveries, stream sequence, consumer sequence, time stamp in nanoseconds, messages still to come."""
        # $JS.ACK.(domain.account.)stream.consumer.delivered.sseq.cseq.time.pending(.random)
        parts = self.reply.split(b".")
        start = 4 if len(parts) == 9 else 6
        return (
            int(parts[start]),
            int(parts[start + 1]),
            int(parts[start + 2]),
            int(parts[start + 3]),
            int(parts[start + 4]),
        )


class Pull:
    """Messages of one consumer. `wanted` are asked for and have not come."""

    def __init__(
        self,
        connection: Connection,
        stream: str,
        consumer: str,
        arrived: asyncio.Event,
        expires: float = EXPIRES,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._expires, self._heartbeat = expires, heartbeat
        self._inbox = connection.new_inbox()
        self._subscription: Subscription | None = None
        #: set when there is something to see: a message, an ended request, a lost connection
        self.arrived = arrived
        self.messages: deque[Pulled] = deque()
        self.wanted = 0
        #: the consumer is gone, or may have lost what was asked for
        self.stale = False
        self._heard = self._loop.time()

    def start(self) -> None:
        self._subscription = self._connection.subscribe(self._inbox, self._on_message)
        self._connection.on_reconnect.append(self._lost)

    def ask(self, count: int, max_bytes: int | None = None) -> None:
        """Asks for `count` more messages; not while there is no connection, for after it all is asked anew."""
        if not self._connection.connected:
            return
        request: dict[str, int] = {
            "batch": count,
            "expires": int(self._expires * _SECOND_NS),
            "idle_heartbeat": int(self._heartbeat * _SECOND_NS),
        }
        if max_bytes is not None:
            request["max_bytes"] = max_bytes
        if self.wanted == 0:
            self._heard = self._loop.time()
        self.wanted += count
        self._connection.send(self._next, msgspec.json.encode(request), reply=self._inbox)

    def silent(self) -> bool:
        """Messages are asked for, and not even a heartbeat comes."""
        return self.wanted > 0 and self._loop.time() - self._heard > 2.5 * self._heartbeat

    def stop(self) -> None:
        if self._lost in self._connection.on_reconnect:
            self._connection.on_reconnect.remove(self._lost)
        if self._subscription is not None:
            self._subscription.unsubscribe()

    async def drain(self) -> None:
        """Stops when all that was on its way has come."""
        if self._subscription is not None and self._connection.connected:
            await self._subscription.drain()
        self.stop()

    def forget(self, before: float) -> None:
        """Drops what came before that loop time."""
        while self.messages and self.messages[0].arrived < before:
            self.messages.popleft()

    def _lost(self) -> None:
        self.stale = True
        self.wanted = 0
        self.arrived.set()

    def _on_message(self, subject: bytes, reply: bytes, headers: bytes, data: bytes) -> None:
        self._heard = self._loop.time()
        code = status(headers) if not data else b""
        if not code:
            self.wanted = max(self.wanted - 1, 0)
            self.messages.append(Pulled(subject, reply, headers, data, self._heard))
            self.arrived.set()
        elif code != b"100":
            self._ended(code, headers)

    def _ended(self, code: bytes, headers: bytes) -> None:
        """A request is over: it expired, is used up, or the consumer is gone."""
        unused = header(headers, "Nats-Pending-Messages")
        self.wanted = max(self.wanted - int(unused), 0) if unused else 0
        text = headers[: headers.find(b"\r\n")].lower()
        if code == b"503" or b"deleted" in text or b"leadership" in text or b"shutdown" in text:
            self.stale = True
        self.arrived.set()


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Until it is set, or the time is over."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
