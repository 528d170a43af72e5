"""Collection of blobs: what was put last before everything that can still refer to it is removed.

Whoever is about to refer to a blob puts it, and a put writes it anew, at the end of its stream, unless it was written
lately. So the stream is in the order of last use, but for that time, and one purge up to a sequence removes what nobody
needs: blobs from before the oldest event of any inbox, for an inbox is the whole memory of its runs, and from before
the oldest record of an ended run that is still kept. (What the result of a run refers to is put again at its end.)
"""

from __future__ import annotations

import datetime as dt

import msgspec

from flowrun import names

from .api import NO_MESSAGE, NO_STREAM, ApiError, api_error
from .connection import Connection

__all__ = ["collect_blobs"]


class _State(msgspec.Struct, frozen=True):
    messages: int
    first_ts: dt.datetime
    last_seq: int


class _Info(msgspec.Struct, frozen=True):
    state: _State
    #: the server's time
    ts: dt.datetime


class _Page(msgspec.Struct, frozen=True):
    total: int = 0
    streams: list[_Info] | None = None


class _Message(msgspec.Struct, frozen=True):
    seq: int


class _Found(msgspec.Struct, frozen=True):
    message: _Message


async def collect_blobs(connection: Connection, env: str, keep_seconds: float) -> None:
    """Removes blobs that neither a record of the last `keep_seconds` nor an inbox refers to."""
    stream = names.blob_stream(env)
    answer = await _api(connection, f"STREAM.INFO.{stream}", None, ignore=NO_STREAM)
    if answer is None:
        return
    blobs = msgspec.json.decode(answer, type=_Info)
    margin = dt.timedelta(seconds=connection.settings.blob_margin)
    before = blobs.ts - dt.timedelta(seconds=keep_seconds) - margin
    if not blobs.state.messages or blobs.state.first_ts >= before:
        return
    for inbox in await _inboxes(connection, env):
        if inbox.state.messages:
            before = min(before, inbox.state.first_ts - margin)
    kept = await _first_since(connection, stream, before) or blobs.state.last_seq + 1
    await _api(connection, f"STREAM.PURGE.{stream}", {"seq": kept})


async def _inboxes(connection: Connection, env: str) -> list[_Info]:
    found: list[_Info] = []
    while True:
        answer = await _api(
            connection, "STREAM.LIST", {"subject": names.subjects(env, "inbox"), "offset": len(found)}
        )  # fmt: skip
        page = msgspec.json.decode(answer or b"{}", type=_Page)
        found += page.streams or ()
        if not page.streams or len(found) >= page.total:
            return found


async def _first_since(connection: Connection, stream: str, time: dt.datetime) -> int | None:
    """The sequence of the first message that was written then or later."""
    body = {"start_time": time, "next_by_subj": ">"}
    answer = await _api(connection, f"STREAM.MSG.GET.{stream}", body, ignore=NO_MESSAGE)
    return None if answer is None else msgspec.json.decode(answer, type=_Found).message.seq


async def _api(connection: Connection, subject: str, body: object, ignore: int = 0) -> bytes | None:
    answer = await connection.api(subject, body)
    if isinstance(answer, ApiError):
        if answer.err_code == ignore:
            return None
        raise api_error(answer, "to collect blobs", connection.url)
    return answer
