"""The state of an inbox: where its events begin and end.

Delayed events stand in the same stream under other subjects, so the stream's own first and last sequence may be theirs;
here only events count. The last event is never purged: it says how far the inbox came.
"""

from __future__ import annotations

import asyncio
import datetime as dt

from flowrun import names
from flowrun.errors import StoreError
from flowrun.transport import Inbox, Record

from . import direct, streams
from .connection import Connection

__all__ = ["purge_inbox", "read_one", "read_state"]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


async def read_state(connection: Connection, partition: str) -> Inbox:
    """Raises StoreError if there is no such partition."""
    env = connection.settings.env
    stream, subject = names.inbox_stream(env, partition), names.inbox_subject(env, partition)
    info = await streams.stream_info(connection, stream)
    if info is None:
        raise StoreError(f"{connection.url} has no partition {partition}: was it deleted?")
    first, last = await asyncio.gather(
        direct.get_latest(connection, stream, seq=1, next_by_subj=subject),
        direct.get_latest(connection, stream, last_by_subj=subject),
    )
    return Inbox(
        created=info.created,
        first_seq=first.seq if first else 0,
        last_seq=last.seq if last else 0,
        size=info.state.bytes,
        now_ms=(info.ts - _EPOCH) // dt.timedelta(milliseconds=1),
    )


async def read_one(connection: Connection, partition: str, seq: int) -> Record | None:
    """An event by its sequence."""
    env = connection.settings.env
    found = await direct.get(connection, names.inbox_stream(env, partition), seq=seq)
    if found is None or found.subject != names.inbox_subject(env, partition):
        return None
    return Record(seq=found.seq, time_ms=found.time_ms, data=found.data)


async def purge_inbox(connection: Connection, partition: str, before: int) -> None:
    """Removes events below that sequence, but never the last one."""
    env = connection.settings.env
    stream, subject = names.inbox_stream(env, partition), names.inbox_subject(env, partition)
    last = await direct.get_latest(connection, stream, last_by_subj=subject)
    if last is not None:
        await streams.purge(connection, stream, subject, seq=min(before, last.seq))
