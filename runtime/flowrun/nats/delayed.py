"""Events that wait for their time: message schedules of the server, in the stream of their inbox.

A schedule is the one message of its subject. When it is due, the server writes its content to the inbox's subject and
removes it; it does so too if it was down meanwhile.
"""

from __future__ import annotations

import datetime as dt
import itertools
from urllib.parse import quote, unquote

from flowrun import names
from flowrun.transport import Delayed

from . import streams
from .connection import Connection
from .direct import all_of
from .publisher import Publisher

__all__ = ["DelayedEvents"]

_NAME, _AT = "Flow-Name", "Flow-At"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class DelayedEvents:
    def __init__(self, connection: Connection, publisher: Publisher) -> None:
        self._connection, self._publisher = connection, publisher
        self._env = connection.settings.env
        self._writer = connection.new_inbox()
        self._numbers = itertools.count()

    async def put(self, partition: str, name: str, data: bytes, at_ms: int) -> None:
        headers = {
            "Nats-Schedule": f"@at {_rfc3339(at_ms)}",
            "Nats-Schedule-Target": names.inbox_subject(self._env, partition),
            _NAME: quote(name),
            _AT: str(at_ms),
        }
        key = f"{self._writer}-{next(self._numbers)}"
        await self._publisher.publish(names.delayed_subject(self._env, partition, name), data, key, headers)

    async def cancel(self, partition: str, name: str) -> bool:
        stream, subject = names.inbox_stream(self._env, partition), names.delayed_subject(self._env, partition, name)
        return await streams.purge(self._connection, stream, subject) > 0

    async def all(self, partition: str) -> list[Delayed]:
        stream, subjects = names.inbox_stream(self._env, partition), names.delayed_filter(self._env, partition)
        found = await all_of(self._connection, stream, subjects)
        return [
            Delayed(name=unquote(stored.header(_NAME) or ""), at_ms=int(stored.header(_AT) or 0)) for stored in found
        ]


def _rfc3339(time_ms: int) -> str:
    return (_EPOCH + dt.timedelta(milliseconds=time_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
