"""Answers requests to webhooks: an ASGI application.

    200  it came before, or its filter does not let it through: nothing new starts
    202  taken; `run` is what it started, null if no node leads the trigger's partition at the moment
    401  not signed, wrongly signed, too old      404  no trigger has this path        405  it is no POST
    408  the body came too slowly                 413  the body is too large           415  it is no JSON
    422  it is not what the trigger takes         500  the secret of the trigger cannot be used
    503  not taken: the inbox is full, the server or the secret cannot be reached, the trigger is paused, or there are
         too many requests; `Retry-After` says when to try again

The route and what can be told from the headers come first, then the body, then its signature, and only then is the body
looked into. Every answer but that of `/healthz` is JSON: { run, status } or { error }.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from flowc.plan import WebhookSource
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from flowrun.client.errors import Busy
from flowrun.errors import FlowError
from flowrun.messages import Answered, Arrived

from .bodies import Body, SlowBody, TooLarge, check_content, declared_length, parse
from .desk import Desk
from .events import BadBody, arrival_id, event_value, outgoing
from .routes import Route
from .signatures import BadSecret, delivery_id, precheck, verify

__all__ = ["Limits", "Secrets", "Webhooks"]

log = logging.getLogger("flow.ingress")

#: one that does not match may have been changed: it is read again, but not more often than this, in seconds
_FORGET_SECONDS = 5.0


class Secrets(Protocol):
    """Values by key; `secrets.Resolver` is one."""

    async def get(self, key: str) -> str:
        """Raises FlowError, with what is wrong for people."""

    def forget(self) -> None:
        """What was read before does not count any more."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What senders may take of a node. Times in seconds."""

    #: requests that are worked on at the same time
    requests: int = 256
    #: connections that are open
    connections: int = 1_000
    #: until all headers of a request are there
    headers_seconds: float = 10.0
    #: until all of its body is there
    body_seconds: float = 10.0
    #: so long the answer of a leader is waited for
    answer_seconds: float = 5.0
    #: how long those that are being answered may take when the node ends
    grace: float = 10.0


class Problem(Exception):
    """The answer to a request that is not taken."""

    def __init__(self, status: int, message: str, *, field: str = "", retry: int = 0, allow: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.field, self.retry, self.allow = status, message, field, retry, allow


class Webhooks:
    """`routes` and `problem` are set from outside."""

    def __init__(self, desk: Desk, secrets: Secrets, limits: Limits) -> None:
        self._desk, self._secrets, self._limits = desk, secrets, limits
        self._busy = 0
        #: when secrets were forgotten last, in loop time
        self._forgot = -math.inf
        self.routes: Mapping[str, Route] = {}
        #: what is wrong with this process; "": nothing
        self.problem: Callable[[], str] = lambda: ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = Body(request.stream(), request.headers.get("expect", "").lower() == "100-continue")
        try:
            try:
                response = await self._answer(request, body)
            except Problem as problem:
                if problem.status != 408:
                    await body.drain()
                response = _refusal(problem, close=not body.ended)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request, body: Body) -> Response:
        if request.url.path == "/healthz":
            return self._health(request)
        if self._busy >= self._limits.requests:
            raise Problem(503, "too many requests are being worked on", retry=1)
        self._busy += 1
        try:
            return await self._take(self._route(request), dict(request.headers), body)
        finally:
            self._busy -= 1

    def _health(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise Problem(405, "/healthz takes GET", allow="GET, HEAD")
        problem = self.problem()
        return JSONResponse({"status": problem or "ok"}, 503 if problem else 200)

    def _route(self, request: Request) -> Route:
        route = self.routes.get(request.url.path)
        if route is None:
            raise Problem(404, "no deployed trigger has this path")
        if request.method != "POST":
            raise Problem(405, "a webhook takes POST", allow="POST")
        return route

    # ---- one request

    async def _take(self, route: Route, headers: dict[str, str], incoming: Body) -> Response:
        source = route.source
        assert isinstance(source, WebhookSource), "others have no path"
        body = await self._read(source, headers, incoming)
        await self._believe(source, headers, body)
        try:
            value = parse(body, route.body)
        except BadBody as error:
            raise Problem(422, str(error), field=error.field) from None
        given = delivery_id(source, headers, body)
        sent, blobs = outgoing(value)
        event = event_value(source.path, "", given, self._desk.clock.now_ms(), sent)
        arrived = Arrived(route.trigger, arrival_id("webhook", route.trigger, route.place, given), event, route.place)
        try:
            answer = await self._desk.ask(arrived, blobs, self._limits.answer_seconds)
        except Busy:
            raise Problem(503, "the inbox of the trigger is full", retry=10) from None
        except FlowError as error:
            log.warning("a request to %s is not taken: %s", source.path, error)
            raise Problem(503, "the message server cannot take it at the moment", retry=5) from None
        return _outcome(answer)

    async def _read(self, source: WebhookSource, headers: dict[str, str], body: Body) -> bytes:
        """The body, after what the headers tell was looked at."""
        refused = precheck(source, headers)
        if refused is not None:
            raise Problem(401, refused.message)
        wrong = check_content(headers)
        if wrong is not None:
            raise Problem(415, wrong)
        try:
            if (declared_length(headers) or 0) > source.max_bytes:
                raise TooLarge
            return await body.read(source.max_bytes, self._limits.body_seconds)
        except TooLarge:
            raise Problem(413, f"the body is larger than {source.max_bytes:,} bytes") from None
        except SlowBody:
            raise Problem(408, f"the body was not there after {self._limits.body_seconds:g} s") from None

    async def _believe(self, source: WebhookSource, headers: dict[str, str], body: bytes) -> None:
        """Raises Problem if it is not from whom it should be."""
        if source.auth == "none":
            return
        try:
            refused = verify(source, await self._secrets.get(source.secret), headers, body, time.time())
            if refused is not None and self._may_forget():
                self._secrets.forget()
                refused = verify(source, await self._secrets.get(source.secret), headers, body, time.time())
        except BadSecret as error:
            log.error("the secret `%s` of the webhook %s cannot be used: %s", source.secret, source.path, error)
            raise Problem(500, "the secret of this webhook cannot be used: its owner must mend it") from None
        except FlowError as error:
            log.error("the secret `%s` of the webhook %s cannot be had: %s", source.secret, source.path, error)
            raise Problem(503, "the secret of this webhook cannot be had at the moment", retry=30) from None
        if refused is not None:
            raise Problem(401, refused.message)

    def _may_forget(self) -> bool:
        """Not often, whoever knocks."""
        now = asyncio.get_running_loop().time()
        if now - self._forgot < _FORGET_SECONDS:
            return False
        self._forgot = now
        return True


def _outcome(answer: Answered | None) -> Response:
    """What a leader made of it, as an answer to the sender."""
    if answer is None:
        return JSONResponse({"run": None, "status": "accepted"}, 202)
    value: Any = msgspec.msgpack.decode(answer.value)
    if answer.ok:
        what = value["what"]
        return JSONResponse({"run": value["run"], "status": what}, 202 if what in ("started", "waiting") else 200)
    if value == "error":
        raise Problem(422, answer.message)
    raise Problem(
        503, answer.message or "the trigger takes nothing at the moment", retry=60 if value == "paused" else 2
    )


def _refusal(problem: Problem, close: bool) -> Response:
    """`close`: there is more of the body, which nobody waits for."""
    retry = str(problem.retry or "")
    headers = {name: text for name, text in (("Allow", problem.allow), ("Retry-After", retry)) if text}
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if close:
        headers["Connection"] = "close"
    content = {"error": problem.message} | ({"field": problem.field} if problem.field else {})
    return JSONResponse(content, problem.status, headers)
