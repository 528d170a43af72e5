"""How the runtime's streams and consumers are set up, and the requests that make and remove them.

A stream that is there with other settings is taken as it is: whoever runs the server may have given it replicas or
limits. Requests go straight to JetStream's API, in its JSON, because nats-py knows only part of it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from flowrun import names
from flowrun.settings import Settings

from .connection import Connection, api_error

__all__ = [
    "create_inbox",
    "create_reader",
    "create_shared",
    "create_worker",
    "drop_partition",
    "last_seq",
    "purge_work",
]

#: JetStream's codes: the stream is there with other settings; stream, consumer not found
_NAME_IN_USE = 10058
_NOT_FOUND = {10059, 10014}
_SECOND_NS = 1_000_000_000
#: a reader that asks for nothing is forgotten after this time, in seconds
_READER_IDLE = 60


class _Page(msgspec.Struct, frozen=True):
    total: int = 0
    consumers: list[str] | None = None


class _State(msgspec.Struct, frozen=True):
    last_seq: int


class _Info(msgspec.Struct, frozen=True):
    state: _State


async def _api(connection: Connection, subject: str, body: Any, what: str, ignore: set[int]) -> bytes | None:
    """The answer; None for an error that does not matter. Raises TransportError, StoreError for others."""
    answer = await connection.api(subject, body)
    if isinstance(answer, bytes):
        return answer
    if answer.err_code in ignore:
        return None
    raise api_error(answer, what, connection.url)


async def _create_stream(connection: Connection, stream: str, subject: str, **settings: Any) -> None:
    config = {
        "name": stream,
        "subjects": [subject],
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "num_replicas": 1,
        "duplicate_window": 120 * _SECOND_NS,
        **settings,
    }
    await _api(connection, f"STREAM.CREATE.{stream}", config, f"the stream {stream}", {_NAME_IN_USE})


async def create_shared(connection: Connection, env: str) -> None:
    """The streams of an environment: work, results, blobs."""
    await asyncio.gather(
        _create_stream(
            connection, names.work_stream(env), names.subjects(env, "work"), retention="workqueue", allow_direct=True
        ),
        _create_stream(
            connection,
            names.result_stream(env),
            names.subjects(env, "result"),
            max_msgs_per_subject=1,
            allow_msg_ttl=True,
            allow_direct=True,
        ),
        _create_stream(
            connection, names.blob_stream(env), names.subjects(env, "blob"), max_msgs_per_subject=1, allow_direct=True
        ),
    )


async def create_inbox(connection: Connection, env: str, partition: str) -> None:
    """The only log of a partition: no limit of age, size or count."""
    stream, subject = names.inbox_stream(env, partition), names.inbox_subject(env, partition)
    await _create_stream(connection, stream, subject, allow_direct=True)


async def create_worker(connection: Connection, settings: Settings, queue: str, partition: str) -> str:
    """The durable consumer of a queue's work in a partition, shared by all workers; its name."""
    stream, name = names.work_stream(settings.env), names.work_consumer(queue, partition)
    subject = names.work_subject(settings.env, queue, "*", partition)
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
    await _api(connection, f"CONSUMER.CREATE.{stream}.{name}.{subject}", body, f"the consumer {name}", set())
    return name


async def create_reader(connection: Connection, stream: str, name: str, after: int) -> None:
    """A short-lived consumer that reads a stream from the message after `after`, without acknowledgements."""
    config = {
        "name": name,
        "ack_policy": "none",
        "max_deliver": 1,
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": after + 1,
        "replay_policy": "instant",
        "inactive_threshold": _READER_IDLE * _SECOND_NS,
        "mem_storage": True,
        "num_replicas": 1,
    }
    body = {"stream_name": stream, "config": config}
    await _api(connection, f"CONSUMER.CREATE.{stream}.{name}", body, f"a reader of {stream}", set())


async def last_seq(connection: Connection, stream: str) -> int:
    """The sequence of a stream's last message, 0 if it is empty or not there."""
    answer = await _api(connection, f"STREAM.INFO.{stream}", None, f"the state of {stream}", _NOT_FOUND)
    return 0 if answer is None else msgspec.json.decode(answer, type=_Info).state.last_seq


async def purge_work(connection: Connection, env: str, partition: str) -> None:
    """Removes a partition's work, also what workers hold."""
    subject = f"STREAM.PURGE.{names.work_stream(env)}"
    body = {"filter": names.work_filter(env, partition)}
    await _api(connection, subject, body, f"to clear the work of {partition}", _NOT_FOUND)


async def drop_partition(connection: Connection, env: str, partition: str) -> None:
    """Removes a partition's inbox, its consumers and its work."""
    inbox, work = names.inbox_stream(env, partition), names.work_stream(env)
    await _api(connection, f"STREAM.DELETE.{inbox}", None, f"to delete {inbox}", _NOT_FOUND)
    ours = names.work_consumer("", partition)
    for consumer in await _consumers(connection, work):
        if consumer.endswith(ours):
            await _api(connection, f"CONSUMER.DELETE.{work}.{consumer}", None, f"to delete {consumer}", _NOT_FOUND)
    await purge_work(connection, env, partition)


async def _consumers(connection: Connection, stream: str) -> list[str]:
    found: list[str] = []
    while True:
        subject, body = f"CONSUMER.NAMES.{stream}", {"offset": len(found)}
        answer = await _api(connection, subject, body, f"the consumers of {stream}", _NOT_FOUND)
        page = _Page() if answer is None else msgspec.json.decode(answer, type=_Page)
        found.extend(page.consumers or ())
        if not page.consumers or len(found) >= page.total:
            return found
