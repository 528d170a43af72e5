"""How the runtime's streams and consumers are set up, and the requests that make and remove them.

A stream that is there with other settings is taken as it is, for whoever runs the server may have given it replicas or
limits; only subjects and abilities that the runtime needs are added to it. Requests go straight to JetStream's API, in
its JSON, because nats-py knows only part of it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import msgspec

from flowrun import names
from flowrun.errors import StoreError
from flowrun.settings import Settings

from .api import NO_STREAM, api_error
from .connection import Connection

__all__ = [
    "Purged",
    "StreamInfo",
    "consumers_of",
    "create_inbox",
    "create_reader",
    "create_shared",
    "create_worker",
    "drop_partition",
    "purge",
    "stream_info",
]

#: JetStream's codes: the stream is there with other settings; consumer not found
_NAME_IN_USE, _NO_CONSUMER = 10058, 10014
_NOT_FOUND = {NO_STREAM, _NO_CONSUMER}
_SECOND_NS = 1_000_000_000
#: a reader that asks for nothing is forgotten after this time, in seconds
_READER_IDLE = 60
#: room for logs without which there is no point, in bytes
_LEAST_LOGS = 64 * 1024


class _Page(msgspec.Struct, frozen=True):
    total: int = 0
    consumers: list[str] | None = None


class StreamState(msgspec.Struct, frozen=True):
    #: of all subjects
    first_seq: int
    last_seq: int
    bytes: int
    messages: int
    first_ts: dt.datetime


class StreamInfo(msgspec.Struct, frozen=True):
    #: when it was made, as the server writes that
    created: str
    state: StreamState
    #: the server's time
    ts: dt.datetime


class Purged(msgspec.Struct, frozen=True):
    purged: int = 0


class _Created(msgspec.Struct, frozen=True):
    """A consumer that was made, or was there."""

    #: the server's time
    ts: dt.datetime


class _Consumer(msgspec.Struct, frozen=True):
    #: messages that it has not handed out yet
    num_pending: int = 0


async def _api(connection: Connection, subject: str, body: Any, what: str, ignore: set[int]) -> bytes | None:
    """The answer; None for an error that does not matter. Raises TransportError, StoreError for others."""
    answer = await connection.api(subject, body)
    if isinstance(answer, bytes):
        return answer
    if answer.err_code in ignore:
        return None
    raise api_error(answer, what, connection.url)


# ---- streams --------------------------------------------------------------------------------------------------------


async def _create_stream(connection: Connection, stream: str, subjects: list[str], **settings: Any) -> None:
    config = {
        "name": stream,
        "subjects": subjects,
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "num_replicas": connection.settings.replicas,
        "duplicate_window": 120 * _SECOND_NS,
        "allow_direct": True,
        **settings,
    }
    what = f"the stream {stream}"
    if await _api(connection, f"STREAM.CREATE.{stream}", config, what, {_NAME_IN_USE}) is None:
        await _complete_stream(connection, stream, config)


async def _complete_stream(connection: Connection, stream: str, wanted: dict[str, Any]) -> None:
    """Adds what a stream that is there lacks of what the runtime cannot do without: an older version made it."""
    what = f"the stream {stream}"
    answer = await _api(connection, f"STREAM.INFO.{stream}", None, what, {NO_STREAM})
    found = {} if answer is None else msgspec.json.decode(answer)["config"]
    subjects = [subject for subject in wanted["subjects"] if subject not in found.get("subjects", ())]
    features = {name: True for name in wanted if name.startswith("allow_") and not found.get(name)}
    if found and (subjects or features):
        config = {**found, **features, "subjects": found["subjects"] + subjects}
        await _api(connection, f"STREAM.UPDATE.{stream}", config, what, set())


async def create_shared(connection: Connection) -> None:
    """The streams of an environment: work, results, blobs, entries, logs."""
    settings = connection.settings
    env = settings.env
    await asyncio.gather(
        _create_stream(
            connection,
            names.work_stream(env),
            [names.subjects(env, "work"), names.subjects(env, "fence")],
            retention="workqueue",
            allow_atomic=True,
        ),
        _create_stream(
            connection,
            names.result_stream(env),
            [names.subjects(env, "result")],
            max_msgs_per_subject=1,
            allow_msg_ttl=True,
            allow_batched=True,
            allow_atomic=True,
        ),
        _create_stream(connection, names.blob_stream(env), [names.subjects(env, "blob")], max_msgs_per_subject=1),
        _create_stream(
            connection,
            names.meta_stream(env),
            [names.subjects(env, "meta")],
            max_msgs_per_subject=1,
            allow_msg_ttl=True,
        ),
        _create_logs(connection),
    )


async def _create_logs(connection: Connection) -> None:
    """The server sets the room for them aside: where it has not so much, less must do."""
    settings = connection.settings
    size = settings.log_bytes
    while True:
        try:
            return await _create_stream(
                connection,
                names.log_stream(settings.env),
                [names.subjects(settings.env, "log")],
                max_age=int(settings.keep_logs * _SECOND_NS),
                max_bytes=size,
            )
        except StoreError:
            size //= 4
            if size < _LEAST_LOGS:
                raise


async def create_inbox(connection: Connection, partition: str) -> None:
    """The only log of a partition: no limit of age, size or count. Delayed events wait in it under other subjects."""
    env = connection.settings.env
    await _create_stream(
        connection,
        names.inbox_stream(env, partition),
        [names.inbox_subject(env, partition), names.delayed_filter(env, partition)],
        allow_msg_schedules=True,
        allow_atomic=True,
    )


async def stream_info(connection: Connection, stream: str) -> StreamInfo | None:
    """None if there is no such stream."""
    answer = await _api(connection, f"STREAM.INFO.{stream}", None, f"the state of {stream}", {NO_STREAM})
    return None if answer is None else msgspec.json.decode(answer, type=StreamInfo)


async def purge(connection: Connection, stream: str, subjects: str, **limit: int) -> int:
    """Removes a stream's messages of some subjects: how many. `seq=`: only those below; `keep=`: all but so many."""
    body = {"filter": subjects, **limit}
    answer = await _api(connection, f"STREAM.PURGE.{stream}", body, f"to purge {subjects}", {NO_STREAM})
    return 0 if answer is None else msgspec.json.decode(answer, type=Purged).purged


async def drop_partition(connection: Connection, partition: str) -> None:
    """Removes a partition's inbox, its work and fence, its entries, and the consumers of the group of its name."""
    env = connection.settings.env
    inbox, work, meta = names.inbox_stream(env, partition), names.work_stream(env), names.meta_stream(env)
    await _api(connection, f"STREAM.DELETE.{inbox}", None, f"to delete {inbox}", _NOT_FOUND)
    ours = names.work_consumer(partition, "")
    for consumer in await consumers_of(connection, work):
        if consumer.startswith(ours):
            await _api(connection, f"CONSUMER.DELETE.{work}.{consumer}", None, f"to delete {consumer}", _NOT_FOUND)
    await asyncio.gather(
        purge(connection, work, names.work_filter(env, partition)),
        purge(connection, work, names.fence_subject(env, partition)),
        purge(connection, meta, names.entry_subject(env, f"lease.{names.token(partition)}")),
        purge(connection, meta, names.entry_subject(env, f"snapshot.{names.token(partition)}")),
    )


# ---- consumers ------------------------------------------------------------------------------------------------------


async def create_worker(connection: Connection, settings: Settings, group: str, lane: str) -> tuple[str, dt.datetime]:
    """The durable consumer of a lane's work for a group, shared by all its workers; its name, and the server's time."""
    stream, name = names.work_stream(settings.env), names.work_consumer(group, lane)
    subject = names.work_subject(settings.env, group, lane, "*", "*")
    config = {
        "durable_name": name,
        "name": name,
        "filter_subject": subject,
        "ack_policy": "explicit",
        "ack_wait": int(settings.ack_wait * _SECOND_NS),
        "max_deliver": -1,
        "max_ack_pending": settings.max_ack_pending,
        "deliver_policy": "all",
        "replay_policy": "instant",
    }
    body = {"stream_name": stream, "config": config}
    create = f"CONSUMER.CREATE.{stream}.{name}.{subject}"
    answer = await _api(connection, create, body, f"the consumer {name}", {NO_STREAM})
    if answer is None:
        await create_shared(connection)  # the server lost its store
        answer = await _api(connection, create, body, f"the consumer {name}", set())
    assert answer is not None, "nothing was to be ignored"
    return name, msgspec.json.decode(answer, type=_Created).ts


async def create_reader(connection: Connection, stream: str, name: str, subjects: str, after: int | None) -> int:
    """A short-lived consumer that reads some subjects of a stream from the message after `after` (None: what comes from
    now on), without acknowledgements. How many messages there are to read already.

    Raises StoreError if there is no such stream.
    """
    config: dict[str, Any] = {
        "name": name,
        "filter_subject": subjects,
        "ack_policy": "none",
        "max_deliver": 1,
        "deliver_policy": "new" if after is None else "by_start_sequence",
        "replay_policy": "instant",
        "inactive_threshold": _READER_IDLE * _SECOND_NS,
        "mem_storage": True,
        "num_replicas": 1,
    }
    if after is not None:
        config["opt_start_seq"] = after + 1
    body = {"stream_name": stream, "config": config}
    create = f"CONSUMER.CREATE.{stream}.{name}.{subjects}"
    answer = await _api(connection, create, body, f"a reader of {stream}", {NO_STREAM})
    if answer is None:
        raise StoreError(f"the stream {stream} is missing on {connection.url}: was it deleted?")
    return msgspec.json.decode(answer, type=_Consumer).num_pending


async def consumers_of(connection: Connection, stream: str) -> list[str]:
    """The names of a stream's consumers; none if there is no such stream."""
    found: list[str] = []
    while True:
        subject, body = f"CONSUMER.NAMES.{stream}", {"offset": len(found)}
        answer = await _api(connection, subject, body, f"the consumers of {stream}", _NOT_FOUND)
        page = _Page() if answer is None else msgspec.json.decode(answer, type=_Page)
        found.extend(page.consumers or ())
        if not page.consumers or len(found) >= page.total:
            return found
