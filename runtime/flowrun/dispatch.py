"""What waits to be dispatched, and how it is cut into bundles. A pure data structure: no clock, no I/O.

Per queue a few bundles stand in the work stream (two per slot); all else waits here, in a heap by priority and then
by the order of submission, where cancellation still reaches it. Whenever a bundle is done with, the next is cut.

How much goes into one bundle follows what is known about the tasks: a moving average of the seconds that each took.
A bundle aims at some 50 ms of work, so that its two messages cost little and its end is never far. What was never
measured goes alone, for it may take an hour. When little waits, it is shared out over the slots rather than put into
one bundle. A range of an `each` is one entry, from whose front ranges are cut: a hundred thousand items cost no more
here than one.
"""

from __future__ import annotations

import heapq
from array import array
from itertools import count

from .engine.commands import Ready, Revoke
from .messages import Bundle, Outcome, WorkItem
from .settings import Settings

__all__ = ["Cut", "Dispatcher"]

#: a plan's node: (plan, flow, block, node); tasks are timed by it
_Task = tuple[str, str, int, int]
#: an attempt: (run, scope, node, attempt)
_Attempt = tuple[str, int, int, int]

#: how much the last measurement counts in the moving average
_WEIGHT = 0.3
#: a bundle of less work than this is not worth sharing out over slots, in seconds
_WORTH_SHARING = 0.002
#: bytes of an item beside its inputs
_ITEM_BYTES = 80


class _Waiting:
    """An entry of the heap: one attempt, or what is left of its range."""

    __slots__ = ("first", "guess", "last", "ready", "size", "task")

    def __init__(self, ready: Ready, guess: float | None) -> None:
        self.ready = ready
        self.task: _Task = (ready.plan, ready.flow, ready.block, ready.node)
        self.guess = guess
        self.first, self.last = ready.first, ready.last
        self.size = _ITEM_BYTES + sum(map(len, ready.inputs))

    @property
    def items(self) -> int:
        """How many are left; 0: it was revoked or is all cut."""
        return 1 if self.last < 0 and self.first < 0 else max(self.last - self.first, 0)

    def drop(self) -> None:
        self.first = self.last = 0


class _Queue:
    """The bundles that are out, and what waits."""

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, int, _Waiting]] = []
        #: of all entries, those that were revoked not counted
        self.items = 0
        self.out = 0


class Cut:
    """A bundle that is to be dispatched."""

    __slots__ = ("bundle", "priority")

    def __init__(self, bundle: Bundle, priority: int) -> None:
        self.bundle, self.priority = bundle, priority


class _Out:
    """A bundle that was dispatched: items without an outcome, by attempt."""

    __slots__ = ("left", "queue", "tasks")

    def __init__(self, queue: _Queue) -> None:
        self.queue = queue
        self.left: dict[_Attempt, int] = {}
        self.tasks: dict[_Attempt, _Task] = {}


class Dispatcher:
    """Work of one partition. `prefix` makes the ids of its bundles unlike those of any other coordinator."""

    def __init__(self, partition: str, prefix: str, slots: int, settings: Settings) -> None:
        self._partition, self._prefix, self._slots, self._settings = partition, prefix, max(slots, 1), settings
        self._window = self._slots * settings.window_per_slot
        self._queues: dict[str, _Queue] = {}
        self._out: dict[str, _Out] = {}
        self._seconds: dict[_Task, float] = {}
        #: run -> (scope, node) -> entries
        self._waiting: dict[str, dict[tuple[int, int], list[_Waiting]]] = {}
        self._numbers = count(1)
        self._order = count()

    @property
    def waiting(self) -> int:
        """Items that are not dispatched."""
        return sum(queue.items for queue in self._queues.values())

    @property
    def outstanding(self) -> int:
        """Bundles that are dispatched and not done with."""
        return len(self._out)

    # ---- what comes

    def add(self, ready: Ready, guess: float | None = None) -> None:
        """Takes work in. `guess`: how long an item takes if it was never measured, in seconds; None: no idea."""
        entry = _Waiting(ready, guess)
        queue = self._queues.setdefault(ready.queue, _Queue())
        heapq.heappush(queue.heap, (-ready.priority, ready.order, next(self._order), entry))
        queue.items += entry.items
        self._waiting.setdefault(ready.run, {}).setdefault((ready.scope, ready.node), []).append(entry)

    def revoke(self, revoke: Revoke) -> None:
        """Forgets work that is no longer wanted; what is out no longer holds a place in the window."""
        for entry in list(self._waiting.get(revoke.run, {}).get((revoke.scope, revoke.node), ())):
            if revoke.attempt in (0, entry.ready.attempt):
                self._forget(entry, revoke.first, revoke.last)
        for bundle, out in list(self._out.items()):
            for attempt in list(out.left):
                if attempt[:3] == (revoke.run, revoke.scope, revoke.node) and revoke.attempt in (0, attempt[3]):
                    self._settle(bundle, attempt, out.left[attempt] if revoke.last < 0 else revoke.last - revoke.first)

    def end_run(self, run: str) -> bool:
        """Forgets whatever there is of a run. True if some of it is out."""
        for entries in list(self._waiting.pop(run, {}).values()):
            for entry in entries:
                self._queues[entry.ready.queue].items -= entry.items
                entry.drop()
        some = False
        for bundle, out in list(self._out.items()):
            for attempt in [a for a in out.left if a[0] == run]:
                self._settle(bundle, attempt, out.left[attempt])
                some = True
        return some

    def outcomes(self, bundle: str, outcomes: tuple[Outcome, ...]) -> None:
        """Results came: learns how long tasks take, and frees the bundle's place when all of it is done."""
        out = self._out.get(bundle)
        if out is None:
            return
        for outcome in outcomes:
            attempt = (outcome.run, outcome.scope, outcome.node, outcome.attempt)
            task = out.tasks.get(attempt)
            if task is not None and outcome.state != "returned":
                self._learn(task, outcome.seconds)
            self._settle(bundle, attempt, 1 if outcome.last < 0 else outcome.last - outcome.first)

    def lost(self, bundle: str) -> None:
        """A bundle's worker died: what is wanted of it is added again by whoever decides that."""
        out = self._out.pop(bundle, None)
        if out is not None:
            out.queue.out -= 1

    # ---- what goes

    def cut(self) -> list[Cut]:
        """The bundles that may go now."""
        cuts: list[Cut] = []
        for name, queue in self._queues.items():
            while queue.out < self._window and queue.items > 0:
                cuts.append(self._cut_one(name, queue))
        return cuts

    def _cut_one(self, name: str, queue: _Queue) -> Cut:
        """Takes entries off the heap while they fit. There is at least one that is wanted."""
        settings = self._settings
        share = -(-queue.items // self._slots)
        seconds, size, items, priority, alone = 0.0, 0, 0, 0, False
        parts: list[tuple[_Waiting, int, int]] = []
        while queue.heap and items < settings.bundle_items and not alone:
            entry = queue.heap[0][3]
            if not entry.items:
                heapq.heappop(queue.heap)
                continue
            if parts and size + entry.size > settings.bundle_bytes:
                break
            each = self._seconds.get(entry.task, entry.guess)
            alone = each is None or entry.ready.alone
            fits = 1 if each is None or alone else _fit(settings.bundle_seconds - seconds, each)
            if each is not None and share > 0:
                fits = min(fits, max(share - items, _fit(_WORTH_SHARING - seconds, each)))
            if parts and (alone or fits < 1):
                break
            taken = min(max(fits, 1), entry.items, settings.bundle_items - items)
            parts.append((entry, *self._take(queue, entry, taken)))
            priority = max(priority, entry.ready.priority)
            items, size, seconds = items + taken, size + entry.size, seconds + taken * (each or 0.0)
        return Cut(self._bundle(name, queue, parts), priority)

    def _take(self, queue: _Queue, entry: _Waiting, count: int) -> tuple[int, int]:
        """The first items of an entry; it leaves the heap with the last."""
        queue.items -= count
        first, last = entry.first, entry.last
        if last >= 0:
            last = first + count
            entry.first = last
        else:
            entry.drop()
        if not entry.items:
            heapq.heappop(queue.heap)
            self._unlink(entry)
        return first, last

    def _bundle(self, name: str, queue: _Queue, parts: list[tuple[_Waiting, int, int]]) -> Bundle:
        plans: dict[str, int] = {}
        out = _Out(queue)
        work: list[WorkItem] = []
        for entry, first, last in parts:
            ready = entry.ready
            work.append(ready.item(plans.setdefault(ready.plan, len(plans)), first, last))
            attempt = (ready.run, ready.scope, ready.node, ready.attempt)
            out.left[attempt] = out.left.get(attempt, 0) + (1 if last < 0 else last - first)
            out.tasks[attempt] = entry.task
        bundle = Bundle(
            id=f"{self._prefix}-{next(self._numbers)}",
            partition=self._partition,
            queue=name,
            plans=tuple(plans),
            items=tuple(work),
        )
        self._out[bundle.id] = out
        queue.out += 1
        return bundle

    # ---- bookkeeping

    def _settle(self, bundle: str, attempt: _Attempt, count: int) -> None:
        """Items of a bundle need no more waiting for."""
        out = self._out.get(bundle)
        if out is None or attempt not in out.left:
            return
        out.left[attempt] -= count
        if out.left[attempt] <= 0:
            del out.left[attempt]
        if not out.left:
            self.lost(bundle)

    def _learn(self, task: _Task, seconds: bytes) -> None:
        measured = array("f", seconds)
        if not measured:
            return
        mean = sum(measured) / len(measured)
        known = self._seconds.get(task, mean)
        self._seconds[task] = known + (mean - known) * _WEIGHT

    def _forget(self, entry: _Waiting, first: int, last: int) -> None:
        """Drops an entry, or items first..last-1 of its range; what stands behind them becomes an entry again."""
        queue = self._queues[entry.ready.queue]
        queue.items -= entry.items
        old_first, old_last = entry.first, entry.last
        entry.drop()
        self._unlink(entry)
        if last < 0 or old_last < 0:
            return
        for low, high in ((old_first, min(first, old_last)), (max(last, old_first), old_last)):
            if low < high:
                self._add_part(entry, low, high)

    def _add_part(self, entry: _Waiting, first: int, last: int) -> None:
        self.add(entry.ready, entry.guess)
        part = self._waiting[entry.ready.run][entry.ready.scope, entry.ready.node][-1]
        self._queues[entry.ready.queue].items -= part.items - (last - first)
        part.first, part.last = first, last

    def _unlink(self, entry: _Waiting) -> None:
        ready = entry.ready
        of_run = self._waiting.get(ready.run, {})
        entries = of_run.get((ready.scope, ready.node), [])
        if entry in entries:
            entries.remove(entry)
        if not entries:
            of_run.pop((ready.scope, ready.node), None)
        if not of_run:
            self._waiting.pop(ready.run, None)


def _fit(seconds: float, each: float) -> int:
    """How many items of `each` seconds go into the time that is left."""
    return max(int(seconds / max(each, 1e-6)), 0)
