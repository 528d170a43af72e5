"""std.http: requests. `within` limits connecting and each wait for data; the step's timeout limits the whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypedDict

import httpx
from flowrun.operator import Context, Fail, Retry

__all__ = [
    "Busy",
    "ClientError",
    "Download",
    "Response",
    "ServerError",
    "download",
    "get",
    "get_json",
    "post",
    "request",
]

#: of an answer's body in a failure, in characters
_SHOWN = 300


class Response(TypedDict):
    """What a server answered."""

    status: int
    url: str
    headers: dict[str, str]
    body: str


class Download(TypedDict):
    """A file that was downloaded."""

    path: str
    #: in bytes
    size: int
    sha256: str


class ClientError(Fail):
    """A status of 4xx: the request is wrong, and another attempt would be too."""


class ServerError(Exception):
    """A status of 5xx, or 408."""


class Busy(Retry):
    """A status of 425, 429 or 503: to be asked again, after the time that the server names."""


def get(url: str, headers: dict[str, str], token: str | None, within: timedelta) -> Response:
    """Reads a URL."""
    with _answer("GET", url, headers, token, within) as answer:
        answer.read()
        return _response(answer)


def get_json(url: str, headers: dict[str, str], token: str | None, within: timedelta) -> Any:
    """Reads a URL whose answer is JSON."""
    with _answer("GET", url, headers, token, within) as answer:
        answer.read()
        try:
            return answer.json()
        except ValueError as error:
            raise Fail(f"the answer of {answer.url} is no JSON ({error}): {answer.text[:_SHOWN]}") from None


def post(
    url: str, value: Any, headers: dict[str, str], token: str | None, within: timedelta, context: Context
) -> Response:
    """Sends a value as JSON."""
    headers = {"Idempotency-Key": context.idempotency_key, **headers}
    with _answer("POST", url, headers, token, within, json=value) as answer:
        answer.read()
        return _response(answer)


def request(
    method: str, url: str, body: str | None, headers: dict[str, str], token: str | None, within: timedelta
) -> Response:
    """Any request."""
    with _answer(method.upper(), url, headers, token, within, content=body) as answer:
        answer.read()
        return _response(answer)


def download(url: str, path: str, headers: dict[str, str], token: str | None, within: timedelta) -> Download:
    """Writes what a URL gives to a file."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + ".part")
    digest, size = hashlib.sha256(), 0
    with _answer("GET", url, headers, token, within) as answer, unfinished.open("wb") as file:
        for chunk in answer.iter_bytes():
            digest.update(chunk)
            size += file.write(chunk)
    unfinished.replace(target)
    return Download(path=path, size=size, sha256=digest.hexdigest())


@contextmanager
def _answer(
    method: str, url: str, headers: dict[str, str], token: str | None, within: timedelta, **content: Any
) -> Iterator[httpx.Response]:
    """The answer, its body not read yet; a status of 400 or more raises."""
    if token is not None:
        headers = {**headers, "Authorization": f"Bearer {token}"}
    with (
        _named(method, url),
        httpx.Client(timeout=within.total_seconds(), follow_redirects=True) as client,
        client.stream(method, url, headers=headers, **content) as answer,
    ):
        if answer.status_code >= 400:
            answer.read()
            raise _status_error(method, answer)
        yield answer


@contextmanager
def _named(method: str, url: str) -> Iterator[None]:
    """Errors on the way say which request they belong to; a URL that is none fails for good."""
    try:
        yield
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise Fail(f"`{url}` is no URL: write one like https://host/path ({error})") from None
    except httpx.TransportError as error:
        raise type(error)(f"{method} {_without_password(url)}: {error}") from error


def _without_password(url: str) -> str:
    parsed = httpx.URL(url)
    return str(parsed.copy_with(userinfo=b"***")) if parsed.userinfo else url


def _status_error(method: str, answer: httpx.Response) -> Exception:
    status = answer.status_code
    text = answer.text.strip()[:_SHOWN]
    message = f"{method} {answer.url} answered {status} {answer.reason_phrase}" + (f": {text}" if text else "")
    if status in (425, 429, 503):
        wait = answer.headers.get("Retry-After", "")
        return Busy(message, after=float(wait) if wait.isdigit() else None)
    return ServerError(message) if status >= 500 or status == 408 else ClientError(message)


def _response(answer: httpx.Response) -> Response:
    return Response(status=answer.status_code, url=str(answer.url), headers=dict(answer.headers), body=answer.text)
