"""Reads the body of a request, within a time and a size, and finds out whether it is what the trigger takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from flowc.types import Type

from .events import BadBody, decode_json, typed_body

__all__ = ["Body", "SlowBody", "TooLarge", "check_content", "declared_length", "parse"]

#: what is read of a body that nobody wants, so that its sender gets to read the answer
_DRAIN_BYTES, _DRAIN_SECONDS = 4 * 1024 * 1024, 1.0


class SlowBody(Exception):
    """It did not come in time."""


class TooLarge(Exception):
    """It is larger than the trigger takes."""


def declared_length(headers: Mapping[str, str]) -> int | None:
    """What the request says of its body; None: nothing (it comes in chunks)."""
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def check_content(headers: Mapping[str, str]) -> str | None:
    """Why the form of a body is not taken; None: it is."""
    kind, _, parameters = headers.get("content-type", "").partition(";")
    kind = kind.strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        return f"the body is `{kind or 'of no type'}`, and `application/json` is taken"
    charset = parameters.lower().partition("charset=")[2].strip(' "')
    if charset not in ("", "utf-8", "utf8"):
        return f"the body is written in `{charset}`, and JSON is UTF-8"
    if headers.get("content-encoding", "identity").lower() != "identity":
        return "the body is compressed: send it as it is"
    return None


class Body:
    """The body of one request, as it comes. `awaited`: its sender waits to be told before it sends it."""

    def __init__(self, stream: AsyncIterator[bytes], awaited: bool) -> None:
        self._stream, self._awaited = stream, awaited
        self._begun = False
        #: all of it was read, so the connection can be used again
        self.ended = False

    async def read(self, limit: int, seconds: float) -> bytes:
        """Raises TooLarge, SlowBody."""
        self._begun = True
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(seconds):
                async for part in self._stream:
                    size += len(part)
                    if size > limit:
                        raise TooLarge
                    parts.append(part)
        except TimeoutError:
            raise SlowBody from None
        self.ended = True
        return b"".join(parts)

    async def drain(self) -> None:
        """Reads on for a moment: a connection that is closed with unread data takes the answer with it."""
        if self.ended or (self._awaited and not self._begun):
            return
        left = _DRAIN_BYTES
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                async for part in self._stream:
                    left -= len(part)
                    if left < 0:
                        return
        except TimeoutError:
            return
        self.ended = True


def parse(body: bytes, kind: Type) -> bytes:
    """The JSON of a body as msgpack of that type. Raises BadBody."""
    if not body:
        raise BadBody("the body is empty")
    return typed_body(decode_json(body), kind)
