"""One connection to a NATS server: the first try fails fast, a lost connection comes back by itself, for ever.

Errors become ours here: TransportError says what cannot be reached and what to do, StoreError says that the server's
disk does not take more. A request is repeated until the server's answer comes or `Settings.patience` is over, so it
must be one that may be made twice.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from flowrun.errors import FlowError, StoreError, TransportError
from flowrun.settings import MINIMUM_SERVER, Settings

__all__ = ["ApiError", "Connection", "api_error"]

log = logging.getLogger("flow.nats")

#: JetStream's error codes that mean a full or broken disk
_STORE_CODES = {10023, 10047, 10077, 10028}
#: … that JetStream is not enabled, on the server or for the account
_DISABLED_CODES = {10039, 10076, 10035}
#: a server that just started answers "no responders" for a moment, in seconds
_NO_RESPONDERS_PATIENCE = 2.0


class ApiError(msgspec.Struct, frozen=True):
    """What JetStream answers instead of a result."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct, frozen=True):
    error: ApiError | None = None


def api_error(error: ApiError, what: str, url: str) -> FlowError:
    """The error of ours for one of JetStream's."""
    if error.err_code in _DISABLED_CODES:
        return TransportError(f"JetStream is not enabled on {url}: start the server with `nats-server -js`")
    if error.err_code in _STORE_CODES or "no space" in error.description:
        return StoreError(
            f"the store of the NATS server {url} does not take more ({error.description}): "
            "free disk space, or raise JetStream's storage limit"
        )
    return TransportError(f"{url} refuses {what}: {error.description} (JetStream error {error.err_code})")


class Connection:
    """Made by `Connection.open`."""

    def __init__(self, client: Client, url: str, settings: Settings) -> None:
        self.client = client
        #: without user and password, for messages
        self.url = url
        self.settings = settings
        #: called after each reconnect: what the server had in hand for us is gone
        self.on_reconnect: list[Callable[[], None]] = []
        #: called once when the connection is gone for good
        self.on_lost: list[Callable[[FlowError], None]] = []
        self._last_error: Exception | None = None
        #: what the server last said that this user may not do
        self.denied: str | None = None
        self._closing = False

    @classmethod
    async def open(cls, url: str, settings: Settings, name: str) -> Connection:
        """Connects within `connect_timeout`, or raises TransportError naming the URL."""
        client = Client()
        self = cls(client, _checked(url), settings)
        try:
            async with asyncio.timeout(settings.connect_timeout):
                await client.connect(
                    url.split(","),
                    name=name,
                    connect_timeout=1,
                    reconnect_time_wait=0.05,  # type: ignore[arg-type]
                    max_reconnect_attempts=1,
                    ping_interval=20,
                    pending_size=4 * 1024 * 1024,
                    error_cb=self._error,
                    disconnected_cb=self._disconnected,
                    reconnected_cb=self._reconnected,
                    closed_cb=self._closed,
                )
        except (TimeoutError, OSError, ValueError, nats_errors.Error) as error:
            await self._shut()
            raise self._unreachable(self._last_error or error) from error
        if self._version() < MINIMUM_SERVER:
            await self._shut()
            raise TransportError(
                f"{self.url} runs nats-server {client._server_info['version']}, and "
                f"{MINIMUM_SERVER[0]}.{MINIMUM_SERVER[1]} or later is needed: upgrade the server"
            )
        # from now on it never gives up
        client.options["max_reconnect_attempts"] = -1
        client.options["reconnect_time_wait"] = settings.reconnect_wait
        return self

    def _version(self) -> tuple[int, int]:
        found = re.match(r"(\d+)\.(\d+)", self.client._server_info.get("version", ""))
        return (int(found[1]), int(found[2])) if found else MINIMUM_SERVER

    @property
    def max_payload(self) -> int:
        """The largest message the server takes, in bytes."""
        return self.client.max_payload

    @property
    def connected(self) -> bool:
        return self.client.is_connected

    async def subscribe(self, subject: str, handler: Callable[[Msg], Awaitable[None]]) -> Subscription:
        """Nothing is dropped for want of room: who asks for messages limits how many are on their way."""
        with _translated(self):
            return await self.client.subscribe(subject, cb=handler, pending_msgs_limit=0, pending_bytes_limit=0)

    async def send(self, subject: str, data: bytes = b"", reply: str = "") -> None:
        """Sends and forgets."""
        with _translated(self):
            await self.client.publish(subject, data, reply=reply)

    async def flush(self) -> None:
        """Returns when the server has taken in what was sent, subscriptions among it."""
        # nats-py's read loop ends when the answer to a flush comes that was cancelled: so it goes on without us
        flushed = asyncio.ensure_future(self.client.flush())
        flushed.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        with _translated(self):
            await asyncio.shield(flushed)

    async def request(self, subject: str, data: bytes = b"") -> Msg:
        """The answer to a request that may be repeated."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        while True:
            problem: Exception
            try:
                return await self.client.request(subject, data, timeout=self.settings.answer_timeout)
            except nats_errors.NoRespondersError as error:
                problem, patience = error, _NO_RESPONDERS_PATIENCE
            except (nats_errors.Error, OSError) as error:
                problem, patience = error, self.settings.patience
            if self.client.is_closed or self.denied or loop.time() - start >= patience:
                raise self._failed(subject, problem) from problem
            await asyncio.sleep(0.1)

    async def api(self, subject: str, body: Any = None) -> bytes | ApiError:
        """A request to JetStream's API, `subject` without its prefix: the answer's JSON, or the error it names."""
        data = b"" if body is None else msgspec.json.encode(body)
        answer = (await self.request(f"$JS.API.{subject}", data)).data
        return msgspec.json.decode(answer, type=_Answer).error or answer

    async def close(self) -> None:
        if self.client.is_connected:
            try:
                async with asyncio.timeout(1.0):
                    await self.client.flush()
            except (TimeoutError, OSError, nats_errors.Error):
                log.debug("closing without a last flush")
        await self._shut()

    async def _shut(self) -> None:
        self._closing = True
        try:
            await self.client.close()
        except (OSError, RuntimeError):  # uvloop says RuntimeError
            # it tried to send what was left over a broken connection, and left the socket open
            if self.client._transport is not None:
                self.client._transport.close()  # type: ignore[no-untyped-call]

    # ---- what the client tells

    async def _error(self, error: Exception) -> None:
        self._last_error = error
        if "permissions violation" in str(error).lower():
            self.denied = str(error).removeprefix("nats: ")
        log.debug("nats: %s", error or type(error).__name__)

    async def _disconnected(self) -> None:
        if not self._closing:
            log.warning("the connection to %s is lost, trying again", self.url)

    async def _reconnected(self) -> None:
        log.info("connected to %s again", self.url)
        for callback in list(self.on_reconnect):
            callback()

    async def _closed(self) -> None:
        if not self._closing:
            error = self._failed("the connection", self.client.last_error or self._last_error)
            for callback in list(self.on_lost):
                callback(error)

    # ---- errors

    def _unreachable(self, problem: Exception) -> TransportError:
        text = str(problem)
        asked = self.client._server_info.get("auth_required", False)
        if "authorization" in text.lower() or (asked and isinstance(problem, ConnectionError)):
            return TransportError(f"{self.url} does not accept this user: check the user and password of the URL")
        if isinstance(problem, TimeoutError | asyncio.TimeoutError) or not text:
            text = "no answer"
        return TransportError(
            f"no NATS server answers at {self.url} ({text.removeprefix('nats: ')}): "
            "check the URL and that the server runs"
        )

    def _failed(self, what: str, problem: Exception | None) -> TransportError:
        if self.denied:
            return TransportError(f"{self.url} denies this user what the runtime needs: {self.denied}")
        if isinstance(problem, nats_errors.NoRespondersError):
            if what.startswith("$JS.API.DIRECT"):
                return TransportError(f"a stream of the runtime is missing on {self.url}: was it deleted?")
            return TransportError(f"JetStream is not enabled on {self.url}: start the server with `nats-server -js`")
        return TransportError(f"the NATS server {self.url} does not answer: {problem or type(problem).__name__}")

    def failed(self, problem: Exception) -> TransportError:
        """The error of ours for one of the client's."""
        return self._failed("", problem)


class _translated:
    """Turns the client's errors into TransportError."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, nats_errors.Error | OSError):
            raise self._connection.failed(error) from error


def _checked(urls: str) -> str:
    """The URLs without user and password. Raises TransportError for one that is none."""
    shown = []
    for url in urls.split(","):
        split = urlsplit(url if "://" in url else f"nats://{url}")
        address = split.netloc.rpartition("@")[2]
        try:
            usable = split.scheme in ("nats", "tls", "ws", "wss") and split.hostname and split.port != 0
        except ValueError:  # the port is no number
            usable = False
        if not usable:
            raise TransportError(
                f"`{split.scheme}://{address}` is no URL of a NATS server: check the URL, as in nats://127.0.0.1:4222"
            )
        shown.append(f"{split.scheme}://{address}")
    return ",".join(shown)
