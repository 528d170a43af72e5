"""Is there room in the inbox of a partition? What can wait outside of it does until there is."""

from __future__ import annotations

import asyncio
import logging

from flowrun.partitions import is_full
from flowrun.settings import Settings
from flowrun.transport import Transport

__all__ = ["Room"]

log = logging.getLogger("flow.ingress")

#: it is looked at as often as this, in seconds
_LOOK_SECONDS = 1.0


class Room:
    """Of one partition, for all that read for it."""

    def __init__(self, transport: Transport, partition: str, settings: Settings) -> None:
        self._transport, self._partition, self._settings = transport, partition, settings
        self._looked = -_LOOK_SECONDS

    async def wait(self) -> None:
        """Returns when there is room. Raises TransportError, StoreError."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._looked < _LOOK_SECONDS:
            return
        is_first = True
        while is_full(await self._transport.inbox(self._partition), self._settings):
            if is_first:
                log.warning("the inbox of partition %s is full: what comes from outside waits", self._partition)
            is_first = False
            await asyncio.sleep(_LOOK_SECONDS)
        self._looked = loop.time()
