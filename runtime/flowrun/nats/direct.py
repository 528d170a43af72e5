"""Reads single messages of a stream, and all of some subjects, without a consumer.

Direct gets are answered by any copy of the stream, the nearest or the least busy one. On a cluster a copy may be behind
by a moment: so what a copy does not have is asked of the stream's leader before it counts as absent.
"""

from __future__ import annotations

import base64
import datetime as dt
from typing import Any

import msgspec

from flowrun.errors import StoreError

from .api import NO_MESSAGE, NO_STREAM, ApiError, api_error
from .connection import Connection, Message
from .protocol import header, status

__all__ = ["Stored", "all_of", "get", "get_from_leader", "get_latest"]

#: messages and bytes of one answer when all of some subjects are read
_BATCH, _BATCH_BYTES = 1_000, 4 * 1024 * 1024
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Stored(msgspec.Struct, frozen=True):
    """A message of a stream."""

    subject: str
    seq: int
    #: when the server stored it
    time: dt.datetime
    #: as they stand in the message
    headers: bytes
    data: bytes

    @property
    def time_ms(self) -> int:
        """Milliseconds since 1970."""
        return (self.time - _EPOCH) // dt.timedelta(milliseconds=1)

    def header(self, name: str) -> str | None:
        return header(self.headers, name)


async def get(connection: Connection, stream: str, **what: Any) -> Stored | None:
    """A message: `seq=`, or `last_by_subj=`, or `next_by_subj=` from `seq=` on; None: it is not there.

    Raises TransportError, and StoreError if there is no such stream.
    """
    answer = await connection.request(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(what))
    if status(answer.headers) != b"404":
        return _stored(answer)
    return await get_from_leader(connection, stream, **what) if connection.settings.replicas > 1 else None


async def get_from_leader(connection: Connection, stream: str, **what: Any) -> Stored | None:
    """The same, and never an older state than the last one that anybody was told of."""
    answer = await connection.api(f"STREAM.MSG.GET.{stream}", what)
    if isinstance(answer, ApiError):
        if answer.err_code == NO_MESSAGE:
            return None
        raise _missing(connection, stream, answer)
    found = msgspec.json.decode(answer, type=_Found).message
    return Stored(found.subject, found.seq, found.time, base64.b64decode(found.hdrs), base64.b64decode(found.data))


async def get_latest(connection: Connection, stream: str, **what: Any) -> Stored | None:
    """The same, by the quickest way."""
    read = get_from_leader if connection.settings.replicas > 1 else get
    return await read(connection, stream, **what)


async def all_of(connection: Connection, stream: str, subjects: str) -> list[Stored]:
    """All messages of some subjects, in order. On a cluster each is read from the leader, one after the other."""
    found: list[Stored] = []
    after = 0
    while True:
        what = {"seq": after + 1, "next_by_subj": subjects}
        if connection.settings.replicas > 1:
            one = await get_from_leader(connection, stream, **what)
            page, more = ([one] if one else []), one is not None
        else:
            page, more = await _page(connection, stream, what)
        found += page
        if not more or not page:
            return found
        after = page[-1].seq


async def _page(connection: Connection, stream: str, what: dict[str, Any]) -> tuple[list[Stored], bool]:
    """Some of them, and whether there are more."""
    body = msgspec.json.encode({**what, "batch": _BATCH, "max_bytes": _BATCH_BYTES})
    answers = await connection.request_many(f"$JS.API.DIRECT.GET.{stream}", body, _ends_batch)
    last = answers.pop()
    return [_stored(answer) for answer in answers], int(header(last.headers, "Nats-Num-Pending") or 0) > 0


def _ends_batch(answer: Message) -> bool:
    return status(answer.headers) != b""


def _stored(answer: Message) -> Stored:
    headers = answer.headers
    return Stored(
        subject=header(headers, "Nats-Subject") or "",
        seq=int(header(headers, "Nats-Sequence") or 0),
        time=msgspec.convert(header(headers, "Nats-Time-Stamp"), dt.datetime),
        headers=headers,
        data=answer.data,
    )


class _Content(msgspec.Struct, frozen=True):
    subject: str
    seq: int
    time: dt.datetime
    hdrs: str = ""
    data: str = ""


class _Found(msgspec.Struct, frozen=True):
    message: _Content


def _missing(connection: Connection, stream: str, error: ApiError) -> Exception:
    if error.err_code == NO_STREAM:
        return StoreError(f"the stream {stream} is missing on {connection.url}: was it deleted?")
    return api_error(error, f"a message of {stream}", connection.url)
