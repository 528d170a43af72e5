"""Values of any size in one stream, under their content hash.

A small blob is one message under the hash's subject. A larger one is cut into chunks under subjects of their own,
and the message under the hash's subject, written last, says how many there are: so whoever finds it finds all. A
subject keeps its last message: what is put again is written again, with the same content, and so is among the youngest
of the stream (see `collect`); a large blob only if that was not done lately. Whoever reads compares the content with
the hash.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib

from flowrun import names
from flowrun.errors import StoreError

from . import direct
from .connection import Connection
from .publisher import Publisher

__all__ = ["Blobs"]

#: blobs up to this size are written without a look whether they are there, in bytes
_SMALL = 64 * 1024
#: chunks that are on their way at the same time
_PARALLEL = 8
_CHUNKS = "Flow-Chunks"


class Blobs:
    def __init__(self, connection: Connection, publisher: Publisher) -> None:
        self._connection, self._publisher = connection, publisher
        self._env = connection.settings.env
        self._chunk = min(connection.settings.blob_chunk, connection.max_payload - 16 * 1024)
        self._gate = asyncio.Semaphore(_PARALLEL)

    async def put(self, digest: str, data: bytes) -> None:
        subject = names.blob_subject(self._env, digest)
        if len(data) > _SMALL and await self._is_fresh(subject):
            return
        if len(data) <= self._chunk:
            await self._publisher.publish(subject, data)
            return
        pieces = range(0, len(data), self._chunk)
        await asyncio.gather(
            *(self._put_chunk(f"{subject}.{i}", data[at : at + self._chunk]) for i, at in enumerate(pieces))
        )
        await self._publisher.publish(subject, b"", headers={_CHUNKS: str(len(pieces))})

    async def _is_fresh(self, subject: str) -> bool:
        """It was written lately."""
        head = await self._get(subject)
        if head is None:
            return False
        age = dt.datetime.now(dt.UTC) - head.time
        return abs(age.total_seconds()) < self._connection.settings.blob_renewal

    async def get(self, digest: str) -> bytes:
        """Raises StoreError if it is not there, or is not what was stored."""
        subject = names.blob_subject(self._env, digest)
        head = await self._get(subject)
        if head is None:
            raise StoreError(f"the blob store of {self._connection.url} does not have {digest}")
        chunks = int(head.header(_CHUNKS) or 0)
        data = head.data
        if chunks:
            data = b"".join(await asyncio.gather(*(self._get_chunk(f"{subject}.{i}") for i in range(chunks))))
        if hashlib.blake2b(data, digest_size=16).hexdigest() != digest:
            raise StoreError(f"the blob {digest} of {self._connection.url} is damaged: its content has another hash")
        return data

    async def _put_chunk(self, subject: str, data: bytes) -> None:
        async with self._gate:
            await self._publisher.publish(subject, data)

    async def _get_chunk(self, subject: str) -> bytes:
        async with self._gate:
            msg = await self._get(subject)
        return b"" if msg is None else msg.data

    async def _get(self, subject: str) -> direct.Stored | None:
        return await direct.get(self._connection, names.blob_stream(self._env), last_by_subj=subject)
