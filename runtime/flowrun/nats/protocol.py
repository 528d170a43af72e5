"""The hot half of NATS's protocol: messages out as bytes, messages in without a task, a queue and an object each.

nats-py connects, authenticates and finds servers. What it does per message is slow: so `publication` builds the bytes
of a message, and `Inbound` takes the place of its parser. A subscription of ours has a plain function that gets each
message at once, in the order of the wire; everything else goes on to nats-py.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from nats.errors import ProtocolError
from nats.protocol.parser import Parser

__all__ = ["Handler", "Inbound", "encode_headers", "header", "publication", "status"]

log = logging.getLogger("flow.nats")

#: gets subject, reply, headers (b"": none) and data of a message; it must be quick and must not wait
Handler = Callable[[bytes, bytes, bytes, bytes], None]

_HEADERS_LINE = b"NATS/1.0"
_MSG, _HMSG = 0x4D, 0x48  # their first letters


# ---- out ------------------------------------------------------------------------------------------------------------


def publication(subject: str, data: bytes, reply: str = "", headers: bytes = b"") -> bytes:
    """The bytes that publish a message."""
    if headers:
        return b"%b%b%b\r\n" % (
            f"HPUB {subject} {reply} {len(headers)} {len(headers) + len(data)}\r\n".encode(),
            headers,
            data,
        )
    return b"%b%b\r\n" % (f"PUB {subject} {reply} {len(data)}\r\n".encode(), data)


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """Raises ValueError for a value that would end its line."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise ValueError(f"a header holds a line break: {headers}")
    return b"NATS/1.0\r\n%b\r\n" % lines.encode()


# ---- in -------------------------------------------------------------------------------------------------------------


def status(headers: bytes) -> bytes:
    """The three digits that the server puts in the first line of a message of its own: b"404"; b"" if there is none."""
    return headers[9:12] if headers[8:9] == b" " else b""


def header(headers: bytes, name: str) -> str | None:
    """A header's value."""
    start = headers.find(b"\r\n%b:" % name.encode())
    if start < 0:
        return None
    start += len(name) + 3
    return headers[start : headers.find(b"\r\n", start)].strip().decode("utf-8", "replace")


class Inbound(Parser):
    """Takes what comes from the server."""

    def __init__(self, client: Any) -> None:
        #: by subscription id, as it is written
        self.handlers: dict[bytes, Handler] = {}
        #: grows whenever anything comes
        self.heard = 0
        self._resets = 0
        super().__init__(client)

    def reset(self) -> None:
        super().reset()
        self._chunks: list[bytes] = []
        self._have = 0
        #: bytes below which there is no whole message
        self._needed = 1
        self._resets += 1

    async def parse(self, data: bytes = b"") -> None:
        self.heard += 1
        self._chunks.append(data)
        self._have += len(data)
        if self._have < self._needed:
            return
        if len(self._chunks) > 1:
            data = b"".join(self._chunks)
        resets = self._resets
        try:
            at, needed = await self._take(data)
        except (ValueError, IndexError) as error:
            raise ProtocolError(f"nats: this is not NATS's protocol: {data[:40]!r}") from error
        if resets == self._resets:
            self._chunks = [data[at:]] if at < len(data) else []
            self._have = len(data) - at
            self._needed = needed

    async def _take(self, data: bytes) -> tuple[int, int]:
        """Hands out all whole messages. Where the rest begins, and how many bytes it must grow to."""
        at, end = 0, len(data)
        find, handlers = data.find, self.handlers
        while at < end:
            eol = find(b"\r\n", at)
            if eol < 0:
                return at, end - at + 1
            first = data[at]
            if first != _MSG and first != _HMSG:
                await self._command(data[at:eol])
                at = eol + 2
                continue
            words = data[at:eol].split()
            start = eol + 2
            stop = start + int(words[-1])
            if stop + 2 > end:
                return at, stop + 2 - at
            at = stop + 2
            body = start
            if first == _HMSG:
                body += int(words[-2])
            replied = len(words) > (5 if first == _HMSG else 4)
            handler = handlers.get(words[2])
            if handler is not None:
                try:
                    handler(words[1], words[3] if replied else b"", data[start:body], data[body:stop])
                except Exception:
                    log.exception("a message to %s could not be taken", words[1].decode())
            else:
                reply = words[3] if replied else b""
                await self.nc._process_msg(int(words[2]), words[1], reply, data[body:stop], data[start:body] or None)
        return at, 1

    async def _command(self, line: bytes) -> None:
        word = line[:4].upper()
        if word == b"PING":
            await self.nc._process_ping()
        elif word == b"PONG":
            await self.nc._process_pong()
        elif word == b"INFO":
            await self.nc._process_info(json.loads(line[4:]))
        elif word == b"-ERR":
            await self.nc._process_err(line[4:].strip().decode("utf-8", "replace").lower())
        elif not word.startswith(b"+OK"):
            raise ProtocolError(f"nats: unknown command {line[:40]!r}")
