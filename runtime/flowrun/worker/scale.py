"""Autoscale: more executor processes while all are busy and the machine has time, fewer after a while of idleness."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from .pool import Pool

__all__ = ["Processors", "scale"]

#: between two looks, in seconds
LOOK = 0.25
#: a process that had nothing to do for this long ends, in seconds
IDLE = 30.0
#: processors that must be idle for one more process
SPARE = 0.5


class Processors:
    """How busy the machine is."""

    def __init__(self) -> None:
        self._before = _times()

    def idle(self) -> float:
        """Processors that had nothing to do since the last call, on average."""
        before, self._before = self._before, _times()
        if before is None or self._before is None:
            return (os.cpu_count() or 1) - os.getloadavg()[0]
        idle, total = (now - then for now, then in zip(self._before, before, strict=True))
        return (os.cpu_count() or 1) * idle / total if total else 0.0


def _times() -> tuple[int, int] | None:
    """Idle time and all time of all processors since the start; None if the system does not tell so."""
    try:
        fields = [int(field) for field in Path("/proc/stat").read_bytes().split(b"\n", 1)[0].split()[1:9]]
    except OSError:
        return None
    return fields[3] + fields[4], sum(fields)


async def scale(pool: Pool, least: int, processors: Processors) -> None:
    """Between `least` and all slots of the pool, without end."""
    pool.active = least
    busy_looks, idle_since = 0, asyncio.get_running_loop().time()
    while True:
        await asyncio.sleep(LOOK)
        now = asyncio.get_running_loop().time()
        spare = processors.idle()
        busy_looks = busy_looks + 1 if all(slot.jobs for slot in pool.slots[: pool.active]) else 0
        if busy_looks >= 2 and pool.active < len(pool.slots) and spare > SPARE:
            pool.active += 1
            busy_looks = 0
            await pool.slots[pool.active - 1].warm_up()
            pool.has_room()
        last = pool.slots[pool.active - 1]
        if last.jobs:
            idle_since = now
        elif now - idle_since > IDLE and pool.active > least:
            pool.active -= 1
            idle_since = now
            await last.rest()
