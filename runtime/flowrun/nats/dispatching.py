"""Puts bundles into the work stream, and lets only a partition's leader do so.

A leader's fence is the last message of the partition's fence subject. Each bundle says which sequence it expects that
to have, so the server refuses the bundles of whoever led before. One server checks bundle after bundle, and many may be
on their way. Several that replicate refuse a check of a subject while another is under way: there a partition's bundles
go in rounds, and so they do where each write is synced.
"""

from __future__ import annotations

import functools

from flowrun import names
from flowrun.errors import Fenced

from . import streams
from .connection import Connection
from .protocol import encode_headers
from .publisher import Publisher, WrongSequence, key_headers
from .rounds import Outgoing, Rounds, post_checked

__all__ = ["Dispatching"]

#: subjects that are written to again and again
_work_subject = functools.lru_cache(maxsize=10_000)(names.work_subject)


@functools.lru_cache(maxsize=1_000)
def _fence_headers(env: str, partition: str, fence: int) -> bytes:
    """The headers of a dispatch, up to its key."""
    headers = {
        "Nats-Expected-Last-Subject-Sequence": str(fence),
        "Nats-Expected-Last-Subject-Sequence-Subject": names.fence_subject(env, partition),
    }
    return encode_headers(headers).removesuffix(b"\r\n")


class Dispatching:
    def __init__(self, connection: Connection, publisher: Publisher) -> None:
        self._connection, self._publisher = connection, publisher
        settings = connection.settings
        self._env = settings.env
        self._rounds: Rounds | None = None
        if settings.replicas > 1:
            self._rounds = Rounds(connection, publisher, least=2, one_by_one=True)
        elif settings.durable:
            self._rounds = Rounds(connection, publisher, least=settings.sync_together, one_by_one=False)
        self._writer = connection.new_inbox()
        self._number = 0

    async def fence(self, partition: str) -> int:
        """Makes a new one; the older ones of the partition are removed."""
        self._number += 1
        subject = names.fence_subject(self._env, partition)
        token = await self._publisher.publish(subject, b"", f"{self._writer}-{self._number}")
        await streams.purge(self._connection, names.work_stream(self._env), subject, keep=1)
        return token

    async def put(
        self, group: str, lane: str, priority: int, partition: str, data: bytes, key: str, fence: int
    ) -> None:
        """Returns when the server has it. Raises Fenced."""
        fenced = _fence_headers(self._env, partition, fence)
        subject = _work_subject(self._env, group, lane, priority, partition)
        bundle = Outgoing(subject, data, key_headers(key, fenced), fenced)
        try:
            if self._rounds is not None:
                await self._rounds.put(partition, bundle)
            else:
                await post_checked(self._publisher, bundle)
        except WrongSequence:
            raise Fenced() from None

    async def close(self) -> None:
        if self._rounds is not None:
            await self._rounds.close()
