"""A worker says every second that it lives, what it can do, and what it does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections import Counter
from collections.abc import Sequence

from flowrun.errors import TransportError
from flowrun.messages import Presence, pack
from flowrun.transport import Transport

from .pool import Pool
from .slot import Slot

__all__ = ["Herald", "capacity", "load"]


def capacity(pools: Sequence[Pool]) -> dict[str, int]:
    """Items per lane that run at the same time."""
    return {lane: sum(slot.width for slot in pool.slots[: pool.active]) for pool in pools for lane in pool.lanes}


def load(pools: Sequence[Pool]) -> dict[str, int]:
    """Items per lane that run now."""
    found: Counter[str] = Counter()
    for pool in pools:
        for slot in pool.slots:
            _count(slot, found)
    return dict(found)


def _count(slot: Slot, found: Counter[str]) -> None:
    free = slot.width
    for job in slot.jobs:
        running = min(len(job.pending), free)
        found[job.bundle.lane] += running
        free -= running


class Herald:
    """Of one worker."""

    def __init__(self, transport: Transport, node: str, group: str, interval: float, pools: Sequence[Pool]) -> None:
        self._transport, self._node, self._group, self._interval = transport, node, group, interval
        self._pools = pools
        self._since = int(time.time() * 1000)
        self._stopping = False

    async def run(self) -> None:
        """Without end."""
        while True:
            await self._say()
            await asyncio.sleep(self._interval)

    async def stop(self) -> None:
        """Says that this worker takes nothing more."""
        self._stopping = True
        await self._say()

    async def _say(self) -> None:
        note = Presence(
            node=self._node,
            group=self._group,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_ms=self._since,
            capacity=capacity(self._pools),
            busy=load(self._pools),
            stopping=self._stopping,
        )
        with contextlib.suppress(TransportError):  # who listens counts on the next one
            await self._transport.notify("presence", self._node, pack(note))
