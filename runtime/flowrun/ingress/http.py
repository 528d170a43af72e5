"""The HTTP server around the application: uvicorn with h11, HTTP/1.1 only, behind limits of its own.

uvicorn waits for the headers of a request as long as a sender likes; `_Patient` does not. It has no TLS: a reverse
proxy has, and tells nothing that is used here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from flowrun.errors import FlowError

from .webhooks import Limits

__all__ = ["BadAddress", "HttpServer", "listen"]

#: headers of one request, in bytes
_MOST_HEADERS = 32 * 1024
#: a connection without a request is kept, in seconds
_KEEP_ALIVE = 30
_BACKLOG = 512


class BadAddress(FlowError):
    """This cannot be listened on."""


def listen(address: str) -> socket.socket:
    """A socket on "127.0.0.1:8080" or "[::1]:8080"; port 0: a free one. Raises BadAddress."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise BadAddress(f"`{address}` is no address to listen on: write it as 127.0.0.1:8080")
    host = host.removeprefix("[").removesuffix("]")
    try:
        family, kind, proto, _, place = socket.getaddrinfo(
            host, int(port), type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
        # of this protocol by name: asyncio sends answers at once (TCP_NODELAY) for such only
        listener = socket.socket(family, kind, proto)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener
    except OSError as error:
        raise BadAddress(f"{address} cannot be listened on: {(error.strerror or str(error)).lower()}") from error


class HttpServer:
    """Serves an application on a socket until `stop`."""

    def __init__(self, app: ASGIApp, listener: socket.socket, limits: Limits) -> None:
        class Protocol(_Patient):
            seconds = limits.headers_seconds

        config = uvicorn.Config(
            app, http=Protocol, ws="none", lifespan="off", loop="none", log_config=None, log_level="warning",
            access_log=False, proxy_headers=False, server_header=False, limit_concurrency=limits.connections,
            timeout_keep_alive=_KEEP_ALIVE, timeout_graceful_shutdown=max(int(limits.grace), 1),
            h11_max_incomplete_event_size=_MOST_HEADERS, backlog=_BACKLOG,
        )  # fmt: skip
        self._listener = listener
        self._server = _Server(config)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    async def run(self) -> None:
        """Returns after `stop`, once those that are being answered were, or their grace is over."""
        await self._server.serve([self._listener])

    def stop(self) -> None:
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """Signals are the process's business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Patient(H11Protocol):
    """Closes a connection whose next request does not have all its headers after some time from its first byte (a new
    connection: from its beginning)."""

    seconds: float
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._late = self.loop.call_later(self.seconds, self._give_up)

    def data_received(self, data: bytes) -> None:
        requests = self.cycle
        super().data_received(data)
        if self.cycle is not requests or (self.cycle is not None and not self.cycle.response_complete):
            self._forgive()
        elif self._late is None and not self.transport.is_closing():
            self._late = self.loop.call_later(self.seconds, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forgive()
        super().connection_lost(exc)

    def _forgive(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            self.transport.close()
