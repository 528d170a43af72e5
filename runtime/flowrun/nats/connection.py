"""One connection to a NATS server: its requests, and its errors as ours.

The first try to connect fails fast; from then on a lost connection comes back by itself (see `line`). TransportError
says what cannot be reached and what to do, StoreError that the server's disk does not take more. A request is repeated
until the server's answer comes or `Settings.patience` is over, so it must be one that may be made twice.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from nats import errors as nats_errors

from flowrun.errors import TransportError
from flowrun.settings import MINIMUM_SERVER, Settings

from .api import ApiError, checked_url
from .line import FAILURES, Line
from .protocol import publication, status

__all__ = ["Connection", "Message"]

#: a server that just started answers "no responders" for a moment, in seconds
_NO_RESPONDERS_PATIENCE = 2.0
#: … and a cluster until it has chosen its leaders
_ELECTION_PATIENCE = 15.0


class Message(NamedTuple):
    headers: bytes
    data: bytes


class _Answer(msgspec.Struct, frozen=True):
    error: ApiError | None = None


_answer_decoder = msgspec.json.Decoder(_Answer)


class _AskAgain(Exception):
    """The connection was made anew: the answer that was waited for does not come."""


class Connection(Line):
    """Made by `Connection.open`."""

    def __init__(self, url: str, settings: Settings, name: str) -> None:
        super().__init__(url.split(","), checked_url(url), settings, name)
        self._numbers = itertools.count()
        self._inbox = f"{self.new_inbox()}."
        self._answers: dict[bytes, Callable[[bytes, bytes], None]] = {}
        self._asking: set[asyncio.Future[None]] = set()

    @classmethod
    async def open(cls, url: str, settings: Settings, name: str) -> Connection:
        """Connects within `connect_timeout`, or raises TransportError naming the URL."""
        self = cls(url, settings, name)
        try:
            await self.connect()
        except FAILURES as error:
            raise self._unreachable(self._last_error or error) from error
        if self._version() < MINIMUM_SERVER:
            await self.close()
            raise TransportError(
                f"{self.url} runs nats-server {self.server_info['version']}, and "
                f"{MINIMUM_SERVER[0]}.{MINIMUM_SERVER[1]} or later is needed: upgrade the server"
            )
        self.subscribe(f"{self._inbox}*", self._on_answer)
        self.on_reconnect.append(self._ask_again)
        return self

    def _version(self) -> tuple[int, int]:
        found = re.match(r"(\d+)\.(\d+)", self.server_info.get("version", ""))
        return (int(found[1]), int(found[2])) if found else MINIMUM_SERVER

    async def flush(self) -> None:
        """Returns when the server has taken in what was sent, subscriptions among it. Raises TransportError."""
        try:
            await super().flush()
        except FAILURES as error:
            raise self.failed(error) from error

    async def close(self) -> None:
        await super().close()
        for asking in self._asking:
            if not asking.done():
                asking.set_exception(TimeoutError("this connection is closed"))

    # ---- requests

    async def request(self, subject: str, data: bytes = b"", headers: bytes = b"") -> Message:
        """The answer to a request that may be repeated. Raises TransportError."""
        answers = await self.request_many(subject, data, lambda _: True, headers)
        return answers[0]  # while a cluster chooses a leader, two servers may answer

    async def request_once(self, subject: str, data: bytes, headers: bytes) -> Message | None:
        """The answer to a request that must not be made twice; None if there is none in time."""
        try:
            answers = await self._ask(subject, data, lambda _: True, headers)
        except (TimeoutError, _AskAgain, nats_errors.NoRespondersError):
            return None
        return answers[0]

    async def request_many(
        self, subject: str, data: bytes, is_last: Callable[[Message], bool], headers: bytes = b""
    ) -> list[Message]:
        """All answers to a request that may be repeated, up to and with the last. Raises TransportError."""
        start = self._loop.time()
        while True:
            problem: Exception
            patience = self.settings.patience
            try:
                return await self._ask(subject, data, is_last, headers)
            except nats_errors.NoRespondersError as error:
                problem, patience = error, self.no_responders_patience
            except (TimeoutError, _AskAgain) as error:
                problem = error
            if self._closing or self.denied or self._loop.time() - start >= patience:
                raise self.failed(problem, subject) from problem
            await asyncio.sleep(0.1 if self.connected else 0.02)

    async def _ask(
        self, subject: str, data: bytes, is_last: Callable[[Message], bool], headers: bytes
    ) -> list[Message]:
        async with asyncio.timeout(self.settings.answer_timeout):
            if not self.connected:
                await self._connected.wait()
            answers: list[Message] = []
            done: asyncio.Future[None] = self._loop.create_future()

            def on_answer(headers: bytes, data: bytes) -> None:
                answers.append(Message(headers, data))
                if not done.done() and is_last(answers[-1]):
                    done.set_result(None)

            token = str(next(self._numbers))
            key = token.encode()
            self._answers[key] = on_answer
            self._asking.add(done)
            try:
                self.write(publication(subject, data, self._inbox + token, headers))
                await done
            finally:
                del self._answers[key]
                self._asking.discard(done)
        if status(answers[0].headers) == b"503" and not answers[0].data:
            raise nats_errors.NoRespondersError
        return answers

    def _on_answer(self, subject: bytes, reply: bytes, headers: bytes, data: bytes) -> None:
        on_answer = self._answers.get(subject[len(self._inbox) :])
        if on_answer is not None:
            on_answer(headers, data)

    @property
    def no_responders_patience(self) -> float:
        """What nobody takes may be taken after this time, in seconds, or never is."""
        is_cluster = self.settings.replicas > 1 or bool(self.server_info.get("cluster"))
        return _ELECTION_PATIENCE if is_cluster else _NO_RESPONDERS_PATIENCE

    async def api(self, subject: str, body: Any = None) -> bytes | ApiError:
        """A request to JetStream's API, `subject` without its prefix: the answer's JSON, or the error it names."""
        data = b"" if body is None else msgspec.json.encode(body)
        start = self._loop.time()
        while True:
            answer = (await self.request(f"$JS.API.{subject}", data)).data
            error = _answer_decoder.decode(answer).error
            if error is None:
                return answer
            if not error.passing or self._loop.time() - start > self.settings.patience:
                return error
            await asyncio.sleep(0.1)

    def _ask_again(self) -> None:
        for asking in self._asking:
            if not asking.done():
                asking.set_exception(_AskAgain("the connection was lost"))

    # ---- errors

    def _unreachable(self, problem: Exception) -> TransportError:
        text = str(problem)
        asked = self.server_info.get("auth_required", False)
        if "authorization" in text.lower() or (asked and isinstance(problem, ConnectionError)):
            return TransportError(f"{self.url} does not accept this user: check the user and password of the URL")
        if isinstance(problem, TimeoutError | asyncio.TimeoutError) or not text:
            text = "no answer"
        return TransportError(
            f"no NATS server answers at {self.url} ({text.removeprefix('nats: ')}): "
            "check the URL and that the server runs"
        )

    def failed(self, problem: Exception, what: str = "") -> TransportError:
        """The error of ours for one of the client's."""
        if self.denied:
            return TransportError(f"{self.url} denies this user what the runtime needs: {self.denied}")
        if isinstance(problem, nats_errors.NoRespondersError):
            if what.startswith("$JS.API.DIRECT"):
                return TransportError(f"a stream of the runtime is missing on {self.url}: was it deleted?")
            return TransportError(f"JetStream is not enabled on {self.url}: start the server with `nats-server -js`")
        return TransportError(f"the NATS server {self.url} does not answer: {str(problem) or 'no answer in time'}")
