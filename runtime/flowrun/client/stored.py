"""Blobs that this client stored lately: a plan that a thousand submissions refer to is sent once, and again after a
reconnect, for the server may have lost it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence

from flowrun.transport import Transport

__all__ = ["Blobs", "Stored"]

#: what a submission refers to: digests, and the bytes
Blobs = Sequence[tuple[str, bytes]]

#: a blob is put again after this time, in seconds: not later than blobs are renewed
_RENEWAL = 1800.0
#: digests that are remembered
_MOST = 10_000


class Stored:
    """What the blob store has of this client."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        #: digest -> when it was stored, in loop time
        self._since: dict[str, float] = {}
        #: digest -> what stores it now
        self._putting: dict[str, asyncio.Task[None]] = {}
        transport.on_reconnect.append(self._forget)

    def close(self) -> None:
        """It is no longer told of reconnects."""
        self._transport.on_reconnect.remove(self._forget)

    def _forget(self) -> None:
        self._since.clear()

    def has(self, digest: str) -> bool:
        """It was stored not long ago."""
        return self._loop.time() - self._since.get(digest, -math.inf) < _RENEWAL

    async def ensure(self, blobs: Mapping[str, bytes]) -> None:
        """Stores what was not stored lately. Raises TransportError, StoreError."""
        missing = [(digest, data) for digest, data in blobs.items() if not self.has(digest)]
        if missing:
            await asyncio.gather(*(self._put_once(digest, data) for digest, data in missing))

    async def _put_once(self, digest: str, data: bytes) -> None:
        """Those who need it meanwhile wait for the same."""
        putting = self._putting.get(digest)
        if putting is None:
            putting = self._putting[digest] = self._loop.create_task(self._put(digest, data))
            putting.add_done_callback(lambda _: self._putting.pop(digest))
        await asyncio.shield(putting)

    async def _put(self, digest: str, data: bytes) -> None:
        await self._transport.put_blob(digest, data)
        self._since.pop(digest, None)
        self._since[digest] = self._loop.time()
        if len(self._since) > _MOST:
            del self._since[next(iter(self._since))]
