"""Writes to streams, many messages in flight, each acknowledged by the server.

One subscription takes all acknowledgements: the last token of a message's reply subject says which message it is.
What was in the socket when a connection broke is gone, and nobody says so: so every message that waits is sent again
after a reconnect, and when its acknowledgement is late, always with the same `Nats-Msg-Id`, by which the server drops
the copy. Order is kept only between messages that were awaited one after the other.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from dataclasses import dataclass

import msgspec
from nats import errors as nats_errors
from nats.aio.msg import Msg

from flowrun.errors import FlowError, TransportError, ValueTooLarge

from .connection import ApiError, Connection, api_error

__all__ = ["Publisher"]

log = logging.getLogger("flow.nats")

#: how often late acknowledgements are looked for, in seconds
_SWEEP_SECONDS = 0.5
#: a stream may be missing for this long, in seconds
_NO_STREAM_PATIENCE = 2.0
#: room for headers in a message of the largest size, in bytes
_HEADER_ROOM = 1_024


class _Ack(msgspec.Struct, frozen=True):
    seq: int = 0
    error: ApiError | None = None


_ack_decoder = msgspec.json.Decoder(_Ack)


@dataclass(kw_only=True, slots=True)
class _Pending:
    subject: str
    data: bytes
    reply: str
    headers: dict[str, str] | None
    done: asyncio.Future[int]
    #: loop times
    first: float
    last: float


class Publisher:
    """Made by `Publisher.open`."""

    def __init__(self, connection: Connection, prefix: str) -> None:
        self._connection = connection
        self._prefix = prefix
        self._numbers = itertools.count()
        self._pending: dict[str, _Pending] = {}
        self._gate = asyncio.Semaphore(connection.settings.in_flight)
        self._sweeper: asyncio.Task[None] | None = None
        self._resend_now = asyncio.Event()
        self._lost: FlowError | None = None

    @classmethod
    async def open(cls, connection: Connection) -> Publisher:
        prefix = connection.client.new_inbox()
        self = cls(connection, f"{prefix}.")
        await connection.subscribe(f"{prefix}.*", self._on_ack)
        connection.on_reconnect.append(self._resend_now.set)
        connection.on_lost.append(self._fail_all)
        self._sweeper = asyncio.create_task(self._sweep())
        return self

    async def publish(self, subject: str, data: bytes, key: str = "", headers: dict[str, str] | None = None) -> int:
        """The message's sequence once the server has it. `key` becomes its `Nats-Msg-Id`.

        Raises TransportError, StoreError, and ValueTooLarge for a message that the server cannot take.
        """
        if len(data) > self._connection.max_payload - _HEADER_ROOM:
            raise ValueTooLarge(
                f"a message of {len(data):,} bytes is larger than the NATS server takes "
                f"({self._connection.max_payload:,}): raise its `max_payload`"
            )
        if key:
            headers = {**(headers or {}), "Nats-Msg-Id": key}
        async with self._gate:
            if self._lost:
                raise self._lost
            loop = asyncio.get_running_loop()
            token = str(next(self._numbers))
            now = loop.time()
            pending = _Pending(
                subject=subject, data=data, reply=self._prefix + token, headers=headers,
                done=loop.create_future(), first=now, last=now,
            )  # fmt: skip
            self._pending[token] = pending
            try:
                await self._send(pending)
                return await pending.done
            finally:
                del self._pending[token]

    async def close(self) -> None:
        self._fail_all(TransportError("this connection is closed"))
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])

    async def _send(self, pending: _Pending) -> None:
        """Sends, or leaves it to the sweeper if there is no connection just now."""
        client = self._connection.client
        if not client.is_connected:
            return
        try:
            await client.publish(pending.subject, pending.data, reply=pending.reply, headers=pending.headers)
        except (nats_errors.Error, OSError) as error:
            log.debug("%s is not sent yet: %s", pending.subject, error)

    async def _on_ack(self, msg: Msg) -> None:
        pending = self._pending.get(msg.subject[len(self._prefix) :])
        if pending is None or pending.done.done():
            return
        if not msg.data:
            self._unheard(pending)
            return
        ack = _ack_decoder.decode(msg.data)
        if ack.error is None:
            pending.done.set_result(ack.seq)
        elif ack.error.code != 503 or ack.error.err_code in (10023, 10047, 10077):
            pending.done.set_exception(api_error(ack.error, f"a message to {pending.subject}", self._connection.url))

    def _unheard(self, pending: _Pending) -> None:
        """No stream took it: the server is starting, and the sweeper tries again; or there is no such stream."""
        if asyncio.get_running_loop().time() - pending.first > _NO_STREAM_PATIENCE:
            text = f"no stream of {self._connection.url} takes {pending.subject}: was it deleted?"
            pending.done.set_exception(TransportError(text))
        pending.last = 0.0

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        settings = self._connection.settings
        while True:
            all_of_them = await self._tick()
            now = loop.time()
            for pending in list(self._pending.values()):
                if pending.done.done():
                    continue
                if now - pending.first > settings.patience or self._connection.denied:
                    pending.done.set_exception(self._connection.failed(TimeoutError("no acknowledgement")))
                elif all_of_them or now - pending.last > settings.answer_timeout:
                    pending.last = now
                    await self._send(pending)

    async def _tick(self) -> bool:
        """Waits for the next look; True after a reconnect."""
        try:
            async with asyncio.timeout(_SWEEP_SECONDS):
                await self._resend_now.wait()
        except TimeoutError:
            return False
        self._resend_now.clear()
        return True

    def _fail_all(self, error: FlowError) -> None:
        self._lost = error
        for pending in self._pending.values():
            if not pending.done.done():
                pending.done.set_exception(error)
