"""What is out for long is looked for in the work stream.

A server that lost its power may have lost a bundle that it acknowledged, and a worker may have handed one back to a
leader that died. Such work would be waited for for ever. So bundles that are out for long are compared with what
stands; what is in none, and whose results are not in the inbox either, is dispatched anew. When the server was away
longer than a lease lasts, that is done at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from flowrun.dispatch import Dispatcher
from flowrun.messages import pack_events
from flowrun.settings import Settings
from flowrun.transport import Transport

from .events import Complaints
from .standing import bundles_of

__all__ = ["Audit"]


#: the time between two looks grows to this many times the first
_SLOWEST = 32


class Audit:
    """`lost` is called with the bundles that are nowhere, once the inbox was read as far as it went after they were
    found missing: a message without events marks that place."""

    def __init__(
        self,
        transport: Transport,
        partition: str,
        prefix: str,
        dispatcher: Dispatcher,
        complaints: Complaints,
        settings: Settings,
        lost: Callable[[list[str]], None],
    ) -> None:
        self._transport, self._partition, self._prefix, self._dispatcher = transport, partition, prefix, dispatcher
        self._complaints, self._interval, self._lost = complaints, settings.audit, lost
        self._now = asyncio.Event()
        #: the inbox is read up to here
        self.position = 0
        self._marks = 0
        #: (mark, bundles)
        self._waits: list[tuple[int, list[str]]] = []

    def soon(self) -> None:
        """The server was away, and may have forgotten something."""
        self._now.set()

    async def run(self) -> None:
        """For ever."""
        wait = self._interval
        while True:
            try:
                async with asyncio.timeout(wait):
                    await self._now.wait()
                since = asyncio.get_running_loop().time()
                wait = self._interval
            except TimeoutError:
                since = asyncio.get_running_loop().time() - self._interval
            self._now.clear()
            old = self._dispatcher.older_than(since)
            if not old:
                wait = self._interval
                continue
            await self._look_for(old)
            wait = min(2 * wait, self._interval * _SLOWEST)

    async def _look_for(self, bundles: set[str]) -> None:
        found = await self._transport.standing_work(self._partition)
        gone = bundles - {bundle.id for bundle in bundles_of(found, self._complaints)}
        if gone:
            self._marks += 1
            key = f"audit/{self._prefix}/{self._marks}"
            mark = await self._transport.append(self._partition, pack_events([]), key)
            self._waits.append((mark, sorted(gone)))
            self.read(self.position)

    def read(self, position: int) -> None:
        """The inbox is read up to this message, and all of it is done."""
        self.position = position
        while self._waits and self._waits[0][0] <= position:
            _, bundles = self._waits.pop(0)
            self._lost(bundles)
