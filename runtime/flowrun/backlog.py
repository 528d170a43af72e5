"""Work that may go and waits for a place in the window, lane by lane. A pure data structure: no clock, no I/O.

Of a lane, what goes first is decided by one number per entry, the moment from which it counts as waiting:

- at first the time at which it came;
- less `Settings.aging` seconds for every level of its priority: so a higher level goes first, and whatever waits gains
  on what comes later, so that nothing waits for ever;
- a run that is served moves back by the time that its work takes (as far as known): an `each` over a million items has
  a place in the line like one of the present once its past has been served, and a small run that comes now goes
  before most of it. Two large runs of the same priority take turns.

Numbers never change while an entry waits, so a heap holds the line. Of a range, items are cut from the front; what is
left goes back into the heap. A hundred thousand items cost no more here than one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count

from .engine.commands import Ready, Revoke

__all__ = ["Backlog", "Entry", "Lane", "Task"]

#: a plan's node: (plan, flow, block, node); tasks are timed by it
Task = tuple[str, str, int, int]

#: bytes of an item beside its inputs
_ITEM_BYTES = 80


class Entry:
    """One attempt, or what is left of its range."""

    __slots__ = ("first", "guess", "lane", "last", "ready", "size", "task")

    #: where it waits
    lane: Lane

    def __init__(self, ready: Ready, guess: float | None) -> None:
        self.ready = ready
        self.task: Task = (ready.plan, ready.flow, ready.block, ready.node)
        #: seconds that an item takes if it was never measured; None: no idea
        self.guess = guess
        self.first, self.last = ready.first, ready.last
        #: bytes in a bundle
        self.size = _ITEM_BYTES
        for value in ready.inputs:
            self.size += len(value)

    @property
    def items(self) -> int:
        """How many are left; 0: it was revoked or is all cut. An item with followers is one."""
        return 1 if self.last < 0 and self.first < 0 else max(self.last - self.first, 0)

    def drop(self) -> None:
        self.first = self.last = 0


#: when it counts as waiting from, place of the run's submission, a number to tell equals apart, the entry
_Place = tuple[float, int, int, Entry]


class Lane:
    """What waits for one kind of worker, and how many bundles are out. What may kill workers waits apart."""

    __slots__ = ("_numbers", "heap", "items", "name", "out", "suspects")

    def __init__(self, name: str, suspects: bool = False) -> None:
        self.name, self.suspects = name, suspects
        self.heap: list[_Place] = []
        #: that wait
        self.items = 0
        #: bundles that hold a place in the window
        self.out = 0
        self._numbers = count()

    def push(self, since: float, entry: Entry) -> None:
        """Puts an entry into the line; its items are counted by the caller."""
        heapq.heappush(self.heap, (since, entry.ready.order, next(self._numbers), entry))

    def front(self) -> Entry | None:
        """The entry that goes first; None: nothing waits."""
        heap = self.heap
        while heap:
            entry = heap[0][3]
            if entry.items:
                return entry
            heapq.heappop(heap)
        return None


class _OfRun:
    """What waits of a run."""

    __slots__ = ("entries", "until")

    def __init__(self) -> None:
        #: (scope, node) -> entries
        self.entries: dict[tuple[int, int], list[Entry]] = {}
        #: what it was given, or waits for in front, is served by then
        self.until = 0.0


class Backlog:
    """All lanes. Times are seconds of a steady clock; `aging` is in seconds per level of priority."""

    def __init__(self, aging: float) -> None:
        self._aging = aging
        self.lanes: dict[tuple[str, bool], Lane] = {}
        self._runs: dict[str, _OfRun] = {}

    def lane(self, name: str, suspects: bool = False) -> Lane:
        found = self.lanes.get((name, suspects))
        if found is None:
            found = self.lanes[name, suspects] = Lane(name, suspects)
        return found

    def add(self, entry: Entry, now: float, seconds: float) -> None:
        """Takes work in; `seconds`: how long the lane is busy with one item of it, as far as known."""
        ready = entry.ready
        of_run = self._runs.get(ready.run)
        if of_run is None:
            of_run = self._runs[ready.run] = _OfRun()
        key = (ready.scope, ready.node)
        entries = of_run.entries.get(key)
        if entries is None:
            of_run.entries[key] = [entry]
        else:
            entries.append(entry)
        since = of_run.until if of_run.until > now else now
        if entry.last < 0:  # a range moves its run back when items of it are taken
            of_run.until = since + seconds
        lane = entry.lane = self.lane(ready.lane, ready.suspect)
        lane.items += entry.items
        lane.push(since - ready.priority * self._aging, entry)

    def take(self, lane: Lane, items: int, seconds: float) -> tuple[int, int]:
        """The first items of the entry in front, as (first, last); it leaves the line with the last."""
        since, _, _, entry = heapq.heappop(lane.heap)
        lane.items -= items
        first, last = entry.first, entry.last
        if last < 0:
            entry.drop()
            self._unlink(entry)
            return first, last
        last = entry.first = first + items
        since += items * seconds
        of_run = self._runs[entry.ready.run]
        of_run.until = max(of_run.until, since + entry.ready.priority * self._aging)
        if entry.items:
            lane.push(since, entry)
        else:
            self._unlink(entry)
        return first, last

    def holds(self, run: str) -> bool:
        """Some of the run waits."""
        return run in self._runs

    def of(self, run: str, scope: int, node: int) -> Iterator[Entry]:
        """What waits of a node."""
        of_run = self._runs.get(run)
        yield from of_run.entries.get((scope, node), ()) if of_run else ()

    def revoke(self, revoke: Revoke, now: float) -> None:
        """Drops what is no longer wanted."""
        of_run = self._runs.get(revoke.run)
        if of_run is None:
            return
        for entry in tuple(of_run.entries.get((revoke.scope, revoke.node), ())):
            if revoke.attempt in (0, entry.ready.attempt):
                self._cut_out(entry, revoke.first, revoke.last, now)

    def end_run(self, run: str) -> None:
        """Drops whatever waits of a run."""
        of_run = self._runs.pop(run, None)
        if of_run is None:
            return
        for entries in of_run.entries.values():
            for entry in entries:
                entry.lane.items -= entry.items
                entry.drop()

    def _cut_out(self, entry: Entry, first: int, last: int, now: float) -> None:
        """Drops an entry, or items first..last-1 of its range; what stands around them becomes entries again."""
        entry.lane.items -= entry.items
        old_first, old_last = entry.first, entry.last
        entry.drop()
        self._unlink(entry)
        if last < 0 or old_last < 0:
            return
        for low, high in ((old_first, min(first, old_last)), (max(last, old_first), old_last)):
            if low < high:
                part = Entry(entry.ready, entry.guess)
                part.first, part.last = low, high
                self.add(part, now, 0.0)

    def _unlink(self, entry: Entry) -> None:
        ready = entry.ready
        of_run = self._runs.get(ready.run)
        if of_run is None:
            return
        key = (ready.scope, ready.node)
        entries = of_run.entries.get(key)
        if entries is None:
            return
        if len(entries) > 1:
            entries.remove(entry)
            return
        del of_run.entries[key]
        if not of_run.entries:
            del self._runs[ready.run]
