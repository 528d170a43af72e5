"""Schedules that only Python can say."""

from __future__ import annotations

from datetime import datetime, timedelta


class Quarters:
    """The first day of each quarter."""

    def next(self, after: datetime) -> datetime | None:
        month = (after.month - 1) // 3 * 3 + 4
        return after.replace(year=after.year + month // 13, month=(month - 1) % 12 + 1, day=1)


def hourly(after: datetime) -> datetime | None:
    """An hour later."""
    return after + timedelta(hours=1)
