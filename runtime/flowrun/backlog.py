"""Work that may go and waits for a place in the window, lane by lane. A pure data structure: no clock, no I/O.

Of a lane, what goes first is decided by one number per entry, the moment from which it counts as waiting:

- at first the time at which it came;
- less `Settings.aging` seconds for every level of its priority: so a higher level goes first, and whatever waits gains
  on what comes later, so that nothing waits for ever;
- a run that is served moves back by the time that its work takes (as far as known): an `each` over a million items has
  a place in the line like one of the present once its past has been served, and a small run that comes now goes
  before most of it. Two large runs of the same priority take turns.

Numbers never change while an entry waits. What comes in their order, as nearly all does, stands in a line; the rest in
a heap beside it. Of a range, items are cut from the front; what is left is put in again. A hundred thousand items cost
no more here than one.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from itertools import count

import msgspec
from flowc.plan import BatchDef

from .engine.commands import Ready, Revoke

__all__ = ["Backlog", "Entry", "Lane", "Task"]

#: a plan's node: (plan, flow, block, node); tasks are timed by it
Task = tuple[str, str, int, int]

#: between the name of a lane and what tells a part of it from others: a batch, or the work of a code
_PART = "\0"
#: with so many lanes, those of which nothing waits and nothing is out are forgotten
_MOST_LANES = 64
#: bytes of an item beside its inputs
_ITEM_BYTES = 80


class Entry(msgspec.Struct, eq=False, gc=False):
    """One attempt, or what is left of its range."""

    ready: Ready
    task: Task
    #: bytes in a bundle
    size: int
    first: int
    last: int
    #: how many are left; 0: it was revoked or is all cut. An item with followers is one
    items: int
    #: where it waits: its lane, or that of a batch or of a code
    lane: str

    @classmethod
    def of(cls, ready: Ready) -> Entry:
        task = (ready.plan, ready.flow, ready.block, ready.node)
        first, last = ready.first, ready.last
        size = _ITEM_BYTES + sum(map(len, ready.inputs))
        return cls(ready, task, size, first, last, 1 if last < 0 else last - first, ready.lane)


#: when it counts as waiting from, place of the run's submission, a number to tell equals apart, the entry
_Place = tuple[float, int, int, Entry]


class Lane:
    """What waits for one kind of worker, and how many bundles are out. What may kill workers waits apart, and so do the
    calls of each function that are executed together, and the work of each deployed code."""

    __slots__ = ("_heap", "_line", "_numbers", "batch", "items", "name", "out", "since", "suspects")

    def __init__(self, name: str, suspects: bool = False) -> None:
        self.name, self.suspects = name, suspects
        #: of calls that are executed together; None: each goes by itself
        self.batch: BatchDef | None = None
        #: when the first of those that wait came
        self.since = 0.0
        #: what came in order, and what did not
        self._line: deque[_Place] = deque()
        self._heap: list[_Place] = []
        #: that wait
        self.items = 0
        #: bundles that hold a place in the window
        self.out = 0
        self._numbers = count()

    def push(self, since: float, entry: Entry) -> None:
        """Puts an entry into the line; its items are counted by the caller."""
        place = (since, entry.ready.order, next(self._numbers), entry)
        line = self._line
        if not line or place > line[-1]:
            line.append(place)
        else:
            heapq.heappush(self._heap, place)

    def front(self) -> Entry | None:
        """The entry that goes first; None: nothing waits."""
        line, heap = self._line, self._heap
        while line and not line[0][3].items:
            line.popleft()
        while heap and not heap[0][3].items:
            heapq.heappop(heap)
        if heap and (not line or heap[0] < line[0]):
            return heap[0][3]
        return line[0][3] if line else None

    def pop(self) -> _Place:
        """Takes out what `front` gave."""
        line, heap = self._line, self._heap
        return heapq.heappop(heap) if heap and (not line or heap[0] < line[0]) else line.popleft()


class _OfRun(msgspec.Struct, eq=False, gc=False):
    """What waits of a run."""

    #: (scope, node) -> entries
    entries: dict[tuple[int, int], list[Entry]]
    #: what it was given, or waits for in front, is served by then
    until: float


class Backlog:
    """All lanes. Times are seconds of a steady clock; `aging` is in seconds per level of priority."""

    def __init__(self, aging: float) -> None:
        self._aging = aging
        self.lanes: dict[tuple[str, bool], Lane] = {}
        #: what waits of each run
        self.runs: dict[str, _OfRun] = {}

    def lane(self, name: str, suspects: bool = False) -> Lane:
        found = self.lanes.get((name, suspects))
        if found is None:
            found = self.lanes[name, suspects] = Lane(name.partition(_PART)[0], suspects)
        return found

    def code_lane(self, entry: Entry, code: str) -> None:
        """Where the work of a code waits, so that no bundle has work of two: a process sees one only. Each has a window
        of its own: what a node must prepare first does not hold up the others."""
        entry.lane = f"{entry.ready.lane}{_PART}{code}"
        if len(self.lanes) > _MOST_LANES and (entry.lane, entry.ready.suspect) not in self.lanes:
            self.lanes = {key: lane for key, lane in self.lanes.items() if lane.items or lane.out}

    def batch_lane(self, entry: Entry, function: str, batch: BatchDef) -> Lane:
        """Where calls of a function wait for others; the entry is to be added there."""
        entry.lane = f"{entry.ready.lane}{_PART}{function} {batch.max} {batch.within_ms}"
        lane = self.lane(entry.lane, entry.ready.suspect)
        lane.batch = batch
        return lane

    def add(self, entry: Entry, now: float, seconds: float) -> None:
        """Takes work in; `seconds`: how long the lane is busy with one item of it, as far as known."""
        ready = entry.ready
        key, since = (ready.scope, ready.node), now
        of_run = self.runs.get(ready.run)
        if of_run is None:
            of_run = self.runs[ready.run] = _OfRun({key: [entry]}, 0.0)
        else:
            of_run.entries.setdefault(key, []).append(entry)
            since = max(of_run.until, now)
        if entry.last < 0:  # a range moves its run back when items of it are taken
            of_run.until = since + seconds
        lane = self.lanes.get((entry.lane, ready.suspect)) or self.lane(entry.lane, ready.suspect)
        if not lane.items:
            lane.since = now
        lane.items += entry.items
        lane.push(since - ready.priority * self._aging, entry)

    def take(self, lane: Lane, items: int, seconds: float) -> tuple[int, int]:
        """The first items of the entry in front, as (first, last); it leaves the line with the last."""
        since, _, _, entry = lane.pop()
        lane.items -= items
        entry.items -= items
        first, last = entry.first, entry.last
        if last < 0:
            self._unlink(entry)
            return first, last
        last = entry.first = first + items
        since += items * seconds
        of_run = self.runs[entry.ready.run]
        of_run.until = max(of_run.until, since + entry.ready.priority * self._aging)
        if entry.items:
            lane.push(since, entry)
        else:
            self._unlink(entry)
        return first, last

    def of(self, run: str, scope: int, node: int) -> Iterator[Entry]:
        """What waits of a node."""
        of_run = self.runs.get(run)
        yield from of_run.entries.get((scope, node), ()) if of_run else ()

    def revoke(self, revoke: Revoke, now: float) -> None:
        """Drops what is no longer wanted."""
        of_run = self.runs.get(revoke.run)
        if of_run is None:
            return
        for entry in tuple(of_run.entries.get((revoke.scope, revoke.node), ())):
            if revoke.attempt in (0, entry.ready.attempt):
                self._cut_out(entry, revoke.first, revoke.last, now)

    def end_run(self, run: str) -> None:
        """Drops whatever waits of a run."""
        of_run = self.runs.pop(run, None)
        if of_run is None:
            return
        for entries in of_run.entries.values():
            for entry in entries:
                self._drop(entry)

    def _cut_out(self, entry: Entry, first: int, last: int, now: float) -> None:
        """Drops an entry, or items first..last-1 of its range; what stands around them becomes entries again."""
        old_first, old_last = entry.first, entry.last
        self._drop(entry)
        self._unlink(entry)
        if last < 0 or old_last < 0:
            return
        for low, high in ((old_first, min(first, old_last)), (max(last, old_first), old_last)):
            if low < high:
                part = Entry.of(entry.ready)
                part.first, part.last, part.items, part.lane = low, high, high - low, entry.lane
                self.add(part, now, 0.0)

    def _drop(self, entry: Entry) -> None:
        """It is left where it stands, as nothing."""
        self.lane(entry.lane, entry.ready.suspect).items -= entry.items
        entry.items = 0

    def _unlink(self, entry: Entry) -> None:
        """Forgets that it is one of its run's."""
        ready = entry.ready
        entries, key = self.runs[ready.run].entries, (ready.scope, ready.node)
        if len(entries[key]) > 1:
            entries[key].remove(entry)
        elif len(entries) > 1:
            del entries[key]
        else:
            del self.runs[ready.run]
