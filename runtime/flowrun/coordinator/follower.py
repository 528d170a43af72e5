"""Follows entries of the environment: looks at them when a partition is taken over, when one changes, and from time to
time, for whoever is told of changes may miss some."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from flowrun.background import Background
from flowrun.transport import Transport

__all__ = ["Follower"]


class Follower(ABC):
    """Of the entries with a prefix. It looks every `wait` seconds at least; after a change it waits for `settle` first,
    as others may change, too."""

    def __init__(self, transport: Transport, prefix: str, wait: float, settle: float = 0.0) -> None:
        self._transport, self._prefix, self._wait, self._settle = transport, prefix, wait, settle
        self._changed = asyncio.Event()

    def start(self, background: Background) -> None:
        """From now on, until the background is stopped."""
        background.start(self._listen())
        background.start(self._run())

    @abstractmethod
    async def look(self) -> None:
        """Puts what is new into the inbox."""

    async def _listen(self) -> None:
        async for _ in await self._transport.listen_entries(self._prefix):
            self._changed.set()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            await self.look()
            try:
                async with asyncio.timeout(self._wait):
                    await self._changed.wait()
                    await asyncio.sleep(self._settle)
            except TimeoutError:
                continue
