"""std.time: waiting, and the time of day."""

from __future__ import annotations

import asyncio
import datetime as dt

__all__ = ["now", "sleep"]


async def sleep(duration: dt.timedelta) -> None:
    """Waits."""
    await asyncio.sleep(duration.total_seconds())


def now() -> dt.datetime:
    """The time at which the step runs, in UTC."""
    return dt.datetime.now(dt.UTC)
