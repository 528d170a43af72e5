"""Writes to streams, many messages in flight, each acknowledged by the server.

A message's bytes are built once and handed to the connection, which sends all that is written in one turn of the loop
together; there is no task per message. One subscription takes all acknowledgements: the last token of a message's
reply subject says which message it is. What was in the socket when a connection broke is gone, and nobody says so: so
every message that waits is sent again after a reconnect, and when its acknowledgement is late, always with the same
`Nats-Msg-Id`, by which the server drops the copy. Order is kept only between messages that were awaited one after the
other.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque

import msgspec

from flowrun.errors import FlowError, TransportError, ValueTooLarge

from .api import ApiError, api_error
from .connection import Connection
from .protocol import encode_headers

__all__ = ["WRONG_SEQUENCE", "Publisher", "WrongSequence", "key_headers"]

#: how often late acknowledgements are looked for, in seconds
_SWEEP_SECONDS = 0.5
#: room for headers in a message of the largest size, in bytes
_HEADER_ROOM = 1_024
#: JetStream's error codes: the last sequence of a subject is another one; … is about to become another one
WRONG_SEQUENCE, _IN_PROGRESS = 10071, 10164


class WrongSequence(FlowError):
    """The last sequence of a subject was not the expected one."""

    def __init__(self, last: int | None) -> None:
        super().__init__()
        #: what it is; None: it is about to change, and the same message may be taken in a moment
        self.last = last


class _Ack(msgspec.Struct, frozen=True):
    seq: int = 0
    error: ApiError | None = None


_ack_decoder = msgspec.json.Decoder(_Ack)


class _Pending(msgspec.Struct, gc=False):
    """A message that the server has not acknowledged. Times are the loop's."""

    chunk: bytes
    done: asyncio.Future[int]
    first: float
    last: float

    @property
    def subject(self) -> str:
        return self.chunk.split(b" ", 2)[1].decode()


class Publisher:
    """Made by `Publisher.open`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        prefix = f"{connection.new_inbox()}."
        self._prefix, self._prefix_size = prefix.encode(), len(prefix)
        self._number = 0
        self._pending: dict[int, _Pending] = {}
        self._free = connection.settings.in_flight
        self._largest = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sweeper: asyncio.Task[None] | None = None
        self._resend_now = asyncio.Event()
        self._closed: FlowError | None = None

    @classmethod
    async def open(cls, connection: Connection) -> Publisher:
        self = cls(connection)
        connection.subscribe(f"{self._prefix.decode()}*", self._on_ack)
        connection.on_reconnect.append(self._on_reconnect)
        self._largest = connection.max_payload - _HEADER_ROOM
        self._sweeper = asyncio.create_task(self._sweep())
        return self

    async def publish(self, subject: str, data: bytes, key: str = "", headers: dict[str, str] | None = None) -> int:
        """The message's sequence once the server has it. `key` becomes its `Nats-Msg-Id`.

        Raises TransportError, StoreError, ValueTooLarge for a message that the server cannot take, and WrongSequence
        if a header demands one.
        """
        if self.full:
            await self.room()
        if key:
            headers = {**(headers or {}), "Nats-Msg-Id": key}
        return await self.post(subject, data, encode_headers(headers) if headers else b"")

    def post(self, subject: str, data: bytes, headers: bytes = b"") -> asyncio.Future[int]:
        """The same, for whoever sends many: with headers that are encoded, and after a look whether it is `full`."""
        if self._closed:
            raise self._closed
        if len(data) > self._largest:
            self.check(data)
        self._number = number = self._number + 1
        size = len(headers)
        if size:
            chunk = b"HPUB %b %b%d %d %d\r\n%b%b\r\n" % (
                subject.encode(), self._prefix, number, size, size + len(data), headers, data,
            )  # fmt: skip
        else:
            chunk = b"PUB %b %b%d %d\r\n%b\r\n" % (subject.encode(), self._prefix, number, len(data), data)
        done: asyncio.Future[int] = self._loop.create_future()
        now = self._loop.time()
        self._pending[number] = _Pending(chunk, done, now, now)
        self._free -= 1
        self._connection.write(chunk)
        return done

    def check(self, data: bytes) -> None:
        """Raises ValueTooLarge for what the server would not take."""
        if len(data) > self._largest:
            raise ValueTooLarge(
                f"a message of {len(data):,} bytes is larger than the NATS server takes "
                f"({self._connection.max_payload:,}): raise its `max_payload`"
            )

    @property
    def full(self) -> bool:
        """Whoever is about to send awaits `room` first."""
        return self._free <= 0 or self._connection.crowded

    async def room(self) -> None:
        """Waits until a message may be sent."""
        while self._free <= 0 and not self._closed:
            waiting: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append(waiting)
            try:
                await waiting
            except asyncio.CancelledError:
                if waiting.done() and not waiting.cancelled():
                    self._wake()
                raise
        await self._connection.room()

    def _forget(self, number: int) -> None:
        del self._pending[number]
        self._free += 1
        if self._waiting:
            self._wake()

    def _wake(self) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return

    async def close(self) -> None:
        self._closed = TransportError("this connection is closed")
        if self._on_reconnect in self._connection.on_reconnect:
            self._connection.on_reconnect.remove(self._on_reconnect)
        for pending in self._pending.values():
            if not pending.done.done():
                pending.done.set_exception(self._closed)
        while self._waiting:
            self._wake()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])

    # ---- acknowledgements

    def _on_ack(self, subject: bytes, reply: bytes, headers: bytes, data: bytes) -> None:
        number = int(subject[self._prefix_size :])
        pending = self._pending.get(number)
        if pending is None:
            return
        done = pending.done
        if not done.done():
            ack = _ack_decoder.decode(data) if data else None
            if ack is None:
                self._unheard(pending)
            elif ack.error is None:
                done.set_result(ack.seq)
            else:
                self._refuse(pending, ack.error)
            if not done.done():
                return
        self._forget(number)

    def _refuse(self, pending: _Pending, error: ApiError) -> None:
        """What is worth another try is left to the sweeper."""
        if error.err_code == WRONG_SEQUENCE:
            last = re.search(r"\d+$", error.description)
            pending.done.set_exception(WrongSequence(int(last[0]) if last else None))
        elif error.err_code == _IN_PROGRESS:
            pending.done.set_exception(WrongSequence(None))
        elif not error.passing:
            pending.done.set_exception(api_error(error, f"a message to {pending.subject}", self._connection.url))

    def _unheard(self, pending: _Pending) -> None:
        """No stream took it: the server is starting, and the sweeper tries again; or there is no such stream."""
        if self._loop.time() - pending.first > self._connection.no_responders_patience:
            text = f"no stream of {self._connection.url} takes {pending.subject}: was it deleted?"
            pending.done.set_exception(TransportError(text))
        pending.last = 0.0

    async def _sweep(self) -> None:
        settings = self._connection.settings
        while True:
            all_of_them = await self._tick()
            now = self._loop.time()
            for number, pending in list(self._pending.items()):
                if number not in self._pending:
                    continue
                if pending.done.done():  # nobody waits any more
                    self._forget(number)
                elif now - pending.first > settings.patience or self._connection.denied:
                    pending.done.set_exception(self._connection.failed(TimeoutError("no acknowledgement")))
                    self._forget(number)
                elif all_of_them or now - pending.last > settings.answer_timeout:
                    pending.last = now
                    await self._connection.room()
                    self._connection.write(pending.chunk)

    def _on_reconnect(self) -> None:
        self._largest = self._connection.max_payload - _HEADER_ROOM
        self._resend_now.set()

    async def _tick(self) -> bool:
        """Waits for the next look; True after a reconnect."""
        try:
            async with asyncio.timeout(_SWEEP_SECONDS):
                await self._resend_now.wait()
        except TimeoutError:
            return False
        self._resend_now.clear()
        return True


def key_headers(key: str, others: bytes = b"NATS/1.0\r\n") -> bytes:
    """The headers of a message with a key, after `others`; a key that would break its line is written otherwise."""
    return b"%bNats-Msg-Id: %b\r\n\r\n" % (others, (key if key.isprintable() else repr(key)).encode())
