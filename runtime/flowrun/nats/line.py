"""A line to a NATS server: a client that comes back by itself, for ever, and writes and reads without a detour.

nats-py reconnects by itself in most cases. In the others (the server ends the connection with an error, says nothing
any more, or an error ended nats-py's own loops) the client is dropped and a new one takes its place underneath, with
the same subscriptions; whoever uses the line sees a reconnect in either case.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription as ClientSubscription
from nats.aio.transport import TcpTransport

from flowrun.settings import Settings

from .protocol import Handler, Inbound, publication

__all__ = ["FAILURES", "Line", "Subscription"]

log = logging.getLogger("flow.nats")

#: how often the line is looked after, in seconds
_WATCH_SECONDS = 1.0
#: looks in a row at which the server had not said a word, although it was asked to, before it counts as dead
_SILENT_LOOKS = 5
#: writers wait while more than this is on its way, in bytes
_BUFFER_BYTES = 8 * 1024 * 1024
#: what is written goes out at the end of the loop's turn, or when it is more than this, in bytes
_WRITE_BYTES = 32 * 1024
#: an ended subscription waits so long for what is on its way, in seconds
_DRAIN_SECONDS = 1.0
#: what connecting may end with
FAILURES = (TimeoutError, OSError, ValueError, RuntimeError, nats_errors.Error)


class Subscription:
    """Made by `Line.subscribe`."""

    def __init__(self, line: Line, subject: str, handler: Handler) -> None:
        self._line, self.subject, self.handler = line, subject, handler

    def unsubscribe(self) -> None:
        self._line._unsubscribe(self)

    async def drain(self) -> None:
        """Ends it, and returns when all that was on its way has come."""
        await self._line._drain_subscription(self)


class Line:
    def __init__(self, servers: list[str], url: str, settings: Settings, name: str) -> None:
        #: without user and password, for messages
        self.url = url
        self.settings = settings
        #: called after each reconnect: what the server had in hand for us is gone
        self.on_reconnect: list[Callable[[], None]] = []
        #: loop time of the last reconnect; None: there was none
        self.reconnected_at: float | None = None
        #: what the server last said that this user may not do
        self.denied: str | None = None
        self._servers, self._name = servers, name
        self._loop = asyncio.get_running_loop()
        self._client = Client()
        self._inbound = Inbound(self._client)
        self._subscriptions: dict[Subscription, int] = {}
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._connected = asyncio.Event()
        self._last_error: Exception | None = None
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._replacing: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """The first time, within `connect_timeout`. Raises one of FAILURES, and is closed then."""
        try:
            await self._connect()
        except FAILURES:
            self._closing = True
            await _shut(self._client)
            raise
        self._connected.set()
        self._spawn(self._watch())

    async def _connect(self) -> None:
        client = self._client
        client._ps = self._inbound
        async with asyncio.timeout(self.settings.connect_timeout):
            await client.connect(
                self._servers,
                name=self._name,
                connect_timeout=1,
                reconnect_time_wait=0.05,  # type: ignore[arg-type]
                max_reconnect_attempts=1,
                ping_interval=3600,  # `_watch` does it
                error_cb=self._error,
                disconnected_cb=self._disconnected,
                reconnected_cb=self._reconnected,
                closed_cb=self._closed,
            )
        # from now on it never gives up
        client.options["max_reconnect_attempts"] = -1
        client.options["reconnect_time_wait"] = self.settings.reconnect_wait

    @property
    def server_info(self) -> dict[str, Any]:
        """What the server said of itself."""
        info: dict[str, Any] = self._client._server_info
        return info

    @property
    def max_payload(self) -> int:
        """The largest message the server takes, in bytes."""
        return self._client.max_payload

    @property
    def connected(self) -> bool:
        return self._client.is_connected

    # ---- out

    def write(self, chunk: bytes) -> None:
        """Sends what `publication` made, with all else that is written in this turn of the loop. It is lost if there
        is no connection."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(chunk)
        self._out_bytes += len(chunk)
        if self._out_bytes > _WRITE_BYTES:  # the server may begin
            self._flush()

    def send(self, subject: str, data: bytes = b"", reply: str = "") -> None:
        """Sends and forgets."""
        self.write(publication(subject, data, reply))

    def _flush(self) -> None:
        out, client = self._out, self._client
        self._out, self._out_bytes = [], 0
        transport = client._transport
        if not out or not client.is_connected or transport is None:
            return
        try:
            if isinstance(transport, TcpTransport):
                transport.write(b"".join(out))  # type: ignore[no-untyped-call]
                stream = transport._io_writer
                if stream is not None and stream.transport.get_write_buffer_size() > _BUFFER_BYTES:
                    self._make_room(transport)
            else:
                client._pending += out
                client._pending_data_size += sum(map(len, out))
                self._spawn(_flushed(client))
        except (OSError, RuntimeError) as error:
            log.debug("%s is not there: %s", self.url, error)

    def _make_room(self, transport: TcpTransport) -> None:
        if self._room.is_set():
            self._room.clear()
            self._spawn(self._drain(transport))

    async def _drain(self, transport: TcpTransport) -> None:
        try:
            await transport.drain()  # type: ignore[no-untyped-call]
        except (OSError, RuntimeError) as error:
            log.debug("%s is gone: %s", self.url, error)
        finally:
            self._room.set()

    @property
    def crowded(self) -> bool:
        """Too much is on its way: whoever has much to write awaits `room` first."""
        return not self._room.is_set()

    async def room(self) -> None:
        await self._room.wait()

    async def flush(self) -> None:
        """Returns when the server has taken in what was sent, subscriptions among it. Raises nats-py's errors."""
        if self._out:
            self._flush()
        # nats-py's read loop ends when the answer to a flush comes that was cancelled: so it goes on without us
        flushed = asyncio.ensure_future(self._client.flush())
        flushed.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        await asyncio.shield(flushed)

    # ---- in

    def new_inbox(self) -> str:
        """A subject of our own."""
        return self._client.new_inbox()

    def subscribe(self, subject: str, handler: Handler) -> Subscription:
        """`handler` gets every message, over reconnects too. Nothing is dropped for want of room: who asks for
        messages limits how many are on their way."""
        subscription = Subscription(self, subject, handler)
        self._resubscribe(subscription)
        return subscription

    def _resubscribe(self, subscription: Subscription) -> None:
        client = self._client
        client._sid += 1
        sid = self._subscriptions[subscription] = client._sid
        self._inbound.handlers[b"%d" % sid] = subscription.handler
        # nats-py makes it again after a reconnect
        client._subs[sid] = ClientSubscription(client, sid, subscription.subject)
        self.write(f"SUB {subscription.subject}  {sid}\r\n".encode())

    def _unsubscribe(self, subscription: Subscription) -> None:
        sid = self._subscriptions.pop(subscription, None)
        if sid is not None:
            self._inbound.handlers.pop(b"%d" % sid, None)
            self._client._subs.pop(sid, None)
            self.write(f"UNSUB {sid}\r\n".encode())

    async def _drain_subscription(self, subscription: Subscription) -> None:
        inbound, key = self._inbound, b"%d" % self._subscriptions.get(subscription, 0)
        self._unsubscribe(subscription)
        inbound.handlers[key] = subscription.handler
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                await Line.flush(self)
        except FAILURES as error:
            log.debug("what was on its way did not come: %s", error)
        finally:
            inbound.handlers.pop(key, None)

    # ---- life

    async def close(self) -> None:
        if self.connected and not self._closing:
            try:
                async with asyncio.timeout(1.0):
                    await Line.flush(self)
            except FAILURES as error:
                log.debug("closing without a last flush: %s", error)
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await _shut(self._client)

    def _spawn(self, coro: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(coro)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _watch(self) -> None:
        """Notices a server that says nothing any more, and a client that cannot go on."""
        heard, silent, down = -1, 0, 0
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            client = self._client
            if self._replacing is not None:
                heard, silent, down = -1, 0, 0
            elif not self.connected:
                task = client._reconnection_task
                down = down + 1 if task is None or task.done() else 0
                if down > 1:
                    self._replace("its client gave up")
            elif self._inbound.heard != heard:
                heard, silent, down = self._inbound.heard, 0, 0
            else:
                silent += 1
                if silent > _SILENT_LOOKS:
                    self._replace("it does not answer")
                else:
                    await _ping(client)

    def _replace(self, why: str) -> None:
        """Goes on with a new client, as after a reconnect."""
        if self._replacing is None and not self._closing:
            log.warning("the connection to %s is lost (%s), trying again", self.url, why)
            self._connected.clear()
            self._room.set()  # what is written now is lost, so there is room
            self._replacing = self._spawn(self._renew())

    async def _renew(self) -> None:
        try:
            self._spawn(_shut(self._client))
            while True:
                self._client = Client()
                self._inbound = Inbound(self._client)
                try:
                    await self._connect()
                    break
                except FAILURES as error:
                    log.debug("nats: %s", error or type(error).__name__)
                    await _shut(self._client)
                    await asyncio.sleep(self.settings.reconnect_wait)
            for subscription in list(self._subscriptions):
                self._resubscribe(subscription)
        finally:
            self._replacing = None
        await self._reconnected()

    # ---- what the client tells

    async def _error(self, error: Exception) -> None:
        self._last_error = error
        if self._client.is_connecting and self._client._transport is not None:
            # a server was there and did not take us: nats-py goes on to the next one and leaves this socket open
            self._client._transport.close()  # type: ignore[no-untyped-call]
        if "permissions violation" in str(error).lower():
            self.denied = str(error).removeprefix("nats: ")
        log.debug("nats: %s", error or type(error).__name__)

    async def _disconnected(self) -> None:
        if not self._closing and self._replacing is None and not self._client.is_closed:
            self._connected.clear()
            self._room.set()
            log.warning("the connection to %s is lost, trying again", self.url)

    async def _reconnected(self) -> None:
        log.info("connected to %s again", self.url)
        self.reconnected_at = self._loop.time()
        self._connected.set()
        self._room.set()
        for callback in list(self.on_reconnect):
            callback()

    async def _closed(self) -> None:
        if self._client.is_closed:
            self._replace(str(self._client.last_error or "the server closed it").removeprefix("nats: "))


async def _shut(client: Client) -> None:
    """Ends a client, and does not wait for a server that does not read."""
    transport = client._transport
    if isinstance(transport, TcpTransport) and transport._io_writer is not None:
        stream = transport._io_writer.transport
        if stream.get_write_buffer_size():
            stream.abort()
    try:
        async with asyncio.timeout(1.0):
            await client.close()
    except (TimeoutError, OSError, RuntimeError, nats_errors.Error):  # uvloop says RuntimeError
        # it tried to send what was left over a broken connection, and left the socket open
        if client._transport is not None:
            client._transport.close()  # type: ignore[no-untyped-call]


async def _ping(client: Client) -> None:
    try:
        await client._send_ping()
    except (OSError, RuntimeError, nats_errors.Error) as error:
        log.debug("nats: %s", error)


async def _flushed(client: Client) -> None:
    await client._flush_pending()
