"""Old blobs go, on behalf of all partitions. Nothing of a partition depends on it.

What is deployed, and was lately, is put again before. Whatever living runs refer to is put again with every full
snapshot, and those are written at least four times in the time for which results are kept. A partition that nobody
leads for long renews nothing: so blobs are kept back to the oldest renewal of any partition, unless that partition
seems to be abandoned.
"""

from __future__ import annotations

import asyncio
import logging

from flowrun.deployments.keeping import keep_deployments
from flowrun.errors import FlowError
from flowrun.settings import Settings
from flowrun.snapshots import renewals
from flowrun.timers import ServerClock
from flowrun.transport import Transport

__all__ = ["collect"]

log = logging.getLogger("flow.coordinator")

#: a partition whose last renewal is so many times the time for which results are kept ago is abandoned
_ABANDONED = 4
#: between two collections, at least, in seconds; and at least this part of the time for which results are kept
_LEAST_WAIT, _PART = 3600.0, 8


async def collect(transport: Transport, settings: Settings) -> None:
    """Now, and from time to time, for ever."""
    keep = settings.keep_results
    clock = ServerClock()
    while True:
        try:
            await keep_deployments(transport)
            now = clock.now()
            ages = [(now - renewed_ms) / 1000 for renewed_ms in await renewals(transport)]
            oldest = max((age for age in ages if age < _ABANDONED * keep), default=0.0)
            await transport.collect_blobs(max(keep, oldest))
        except FlowError as error:
            log.warning("blobs are not collected: %s", error)
        await asyncio.sleep(max(_LEAST_WAIT, keep / _PART))
