"""How many service levels were kept and missed, flow by flow and day by day, and the last misses. A part of the state.

Days are those of UTC: a report since some time begins with the day of it.
"""

from __future__ import annotations

from collections import deque

import msgspec

from flowrun.messages import SlaCount, SlaMiss

from .levels import Level, What

__all__ = ["SlaCounts"]

_DAY_MS = 24 * 3600 * 1000
#: days that are counted; levels of flows and steps that are; misses that are remembered
_KEEP_DAYS, _MOST_LEVELS, _MOST_MISSES = 92, 5_000, 500
#: places of the numbers of a day
_MET, _MISSED, _WARNED, _OTHER = range(4)


class _Tally(msgspec.Struct, array_like=True, gc=False):
    """Of one level."""

    flow: str
    step: str
    what: What
    name: str
    #: day since 1970 -> met, missed, warned, ended in another way
    days: dict[int, list[int]]


_decoder = msgspec.msgpack.Decoder(tuple[list[_Tally], list[SlaMiss]])


class SlaCounts:
    """Of a partition."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str, What], _Tally] = {}
        self._misses: deque[SlaMiss] = deque(maxlen=_MOST_MISSES)
        self._packed: bytes | None = None

    # ---- what happens

    def warned(self, level: Level, now: int) -> None:
        self._count(level, now, _WARNED)

    def missed(self, level: Level, run: str, now: int) -> None:
        self._count(level, now, _MISSED)
        self._misses.append(SlaMiss(level.flow, run, level.step, level.what, level.due_ms, now, 0, level.name))

    def met(self, level: Level, now: int) -> None:
        self._count(level, now, _MET)

    def came_late(self, level: Level, run: str, now: int) -> None:
        """What was missed has come now."""
        self._packed = None
        for place, miss in enumerate(self._misses):
            if (miss.run, miss.step, miss.what, miss.due_ms) == (run, level.step, level.what, level.due_ms):
                self._misses[place] = msgspec.structs.replace(miss, done_ms=now)

    def void(self, level: Level, now: int) -> None:
        """What it was of failed or was cancelled before its time: the level was neither met nor missed."""
        self._count(level, now, _OTHER)

    def _count(self, level: Level, now: int, place: int) -> None:
        self._packed = None
        key = (level.flow, level.own_step, level.what)
        tally = self._of.get(key)
        if tally is None:
            if len(self._of) >= _MOST_LEVELS:
                del self._of[next(iter(self._of))]
            tally = self._of[key] = _Tally(*key, level.name, {})
        today, tally.name = now // _DAY_MS, level.name
        numbers = tally.days.get(today)
        if numbers is None:
            tally.days = {day: kept for day, kept in tally.days.items() if day > today - _KEEP_DAYS}
            numbers = tally.days[today] = [0, 0, 0, 0]
        numbers[place] += 1

    # ---- what is asked

    def counts(self, flow: str = "", since_ms: int = 0) -> list[SlaCount]:
        """The numbers of each level (of a flow) since the day of this time. O(levels and days)."""
        first, found = since_ms // _DAY_MS, []
        for tally in self._of.values():
            if not flow or tally.flow == flow:
                days = [numbers for day, numbers in tally.days.items() if day >= first]
                sums = [sum(numbers[place] for numbers in days) for place in range(4)]
                if any(sums):
                    found.append(SlaCount(tally.flow, tally.step, tally.what, tally.name, *sums))
        return found

    def misses(self, flow: str = "", since_ms: int = 0, limit: int = 100) -> list[SlaMiss]:
        """The last misses, the newest first."""
        found = (miss for miss in reversed(self._misses) if miss.missed_ms >= since_ms)
        return [miss for miss in found if not flow or miss.flow == flow][:limit]

    # ---- snapshots

    def pack(self) -> bytes:
        if self._packed is None:
            self._packed = msgspec.msgpack.encode((list(self._of.values()), list(self._misses)))
        return self._packed

    def restore(self, data: bytes) -> None:
        tallies, misses = _decoder.decode(data)
        self._of = {(tally.flow, tally.step, tally.what): tally for tally in tallies}
        self._misses = deque(misses, maxlen=_MOST_MISSES)
        self._packed = None
