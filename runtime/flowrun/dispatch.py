"""What waits to be dispatched is cut into bundles. Pure: no clock, no I/O.

Per lane a few bundles stand in the work stream (two per slot, by what the workers say they have); all else waits in
the `backlog`, where priority, fairness and cancellation still reach it. Whenever a bundle is done with, the next is
cut.

How much goes into one bundle follows what is known about the tasks: a moving average of the seconds that each took. A
bundle aims at some 50 ms of work, so that its two messages cost little and its end is never far. When little waits,
it is shared out over the slots rather than put into one bundle. What was never measured goes alone when little waits,
for it may take an hour; when much of it waits, the bundles of it grow from one to a few until the first is measured.
Of what workers died of more than once, one item is out at a time: so it is found which one it was.

Calls of a function with `batch` stand in a line of their own: they wait for each other, up to a time, and go as one
bundle, for the worker executes them together. The work of each deployed code has a line of its own, too: a process
sees one code only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from math import inf

from flowc.plan import BatchDef

from .backlog import Backlog, Entry, Lane, Task
from .capacity import Capacity
from .dispatched import Attempt, Dispatched, HandedBack, Range
from .durations import Durations
from .engine.commands import Ready, Revoke
from .messages import Bundle, Outcome, WorkItem
from .settings import Settings

__all__ = ["Cut", "Dispatcher", "Wanted"]

#: how many outcomes of an attempt, of these ranges of its items, are still wanted
Wanted = Callable[[Attempt, list[Range]], int]

#: a bundle of less work than this is not worth sharing out over slots, in seconds
_WORTH_SHARING = 0.002
#: most items of a bundle whose task was never measured
_MOST_UNKNOWN = 16
#: plans of one bundle: executors keep some hundred
_MOST_PLANS = 16
#: what is taken for the time of such an item where fairness asks, in seconds
_UNKNOWN_SECONDS = 0.001
#: no item takes less, in seconds: its messages take that
_LEAST_SECONDS = 1e-6


class Cut:
    """A bundle that is to be dispatched."""

    __slots__ = ("bundle", "priority")

    def __init__(self, bundle: Bundle, priority: int) -> None:
        self.bundle, self.priority = bundle, priority


class Dispatcher:
    """Work of one partition. `prefix` makes the ids of its bundles unlike those of any other coordinator; `function_of`
    as `Durations` has it; `code_of` gives the code of a plan, by its digest. Times are seconds of a steady clock."""

    def __init__(
        self,
        partition: str,
        prefix: str,
        capacity: Capacity,
        settings: Settings,
        function_of: Callable[[Task], str] = lambda task: "",
        batch_of: Callable[[Task], BatchDef | None] = lambda task: None,
        code_of: Callable[[str], str] = lambda plan: "",
    ) -> None:
        self._partition, self._prefix, self._capacity, self._settings = partition, prefix, capacity, settings
        self._backlog = Backlog(settings.aging)
        self._batch_of, self._code_of = batch_of, code_of
        self._dispatched = Dispatched()
        #: how long work takes, learned from results
        self.durations = Durations(function_of)
        #: function, or task, that was never measured -> bundles of it that were cut
        self._probes: dict[Task | str, int] = {}
        self._numbers = count(1)

    @property
    def waiting(self) -> int:
        """Items that are not dispatched."""
        return sum(lane.items for lane in self._backlog.lanes.values())

    @property
    def outstanding(self) -> int:
        """Bundles that are dispatched and not done with."""
        return len(self._dispatched)

    # ---- what comes

    def add(self, ready: Ready, now: float) -> None:
        """Takes work in."""
        entry = Entry.of(ready)
        seconds = self.durations.seconds(entry.task) or _UNKNOWN_SECONDS
        batch = self._batch_of(entry.task)
        if batch is not None:
            self._backlog.batch_lane(entry, self.durations.function_of(entry.task), batch)
        elif code := self._code_of(ready.plan):
            self._backlog.code_lane(entry, code)
        self._backlog.add(entry, now, seconds / self._capacity.slots(ready.lane))

    def revoke(self, revoke: Revoke, now: float) -> bool:
        """Forgets work that is no longer wanted; what is out no longer holds a place in the window. True if some of it
        is out: its workers are to be told."""
        self._backlog.revoke(revoke, now)
        return self._dispatched.revoke(revoke)

    def withdraw(self, run: str) -> None:
        """Forgets what waits of a run; what is out of it stays out."""
        self._backlog.end_run(run)

    def end_run(self, run: str) -> bool:
        """Forgets whatever there is of a run. True if some of it is out."""
        self._backlog.end_run(run)
        return self._dispatched.end_run(run)

    def unwanted(self) -> set[Revoke | str]:
        """What workers are to be told again: parts of runs, and whole runs, that are out and no longer wanted."""
        return self._dispatched.unwanted()

    def outcomes(self, bundle: str, outcomes: tuple[Outcome, ...]) -> None:
        """Results came: learns how long tasks take, and frees the bundle's place when all of it is done."""
        known = self._dispatched.bundle(bundle)
        if known is not None:
            self.durations.learn(known, outcomes)
            self._dispatched.outcomes(bundle, outcomes)

    def handed_back(self) -> dict[str, HandedBack]:
        """Of bundles that may stand in the work stream: what workers handed back."""
        return self._dispatched.handed_back()

    def gone(self, bundle: str) -> Bundle | None:
        """A bundle's worker died, or it is lost: what is wanted of it is added again by whoever decides that. Gives
        what it was, if it was known."""
        return self._dispatched.gone(bundle)

    # ---- what stands in the work stream

    def adopt(self, bundle: Bundle, now: float, wanted: Wanted, handed_back: HandedBack | None = None) -> bool:
        """Takes a bundle of an earlier leader for one of its own; False if nothing of it is wanted."""
        return self._dispatched.adopt(bundle, self._backlog.lane(bundle.lane), now, wanted, handed_back)

    def stands(self, bundle: str, now: float) -> None:
        """The work stream has a bundle that was cut."""
        self._dispatched.stands(bundle, now)

    def older_than(self, since: float) -> set[str]:
        """Bundles that stood in the work stream before that time and are not done with."""
        return self._dispatched.older_than(since)

    def holds(self, run: str) -> bool:
        """Some of the run waits here or is out."""
        return run in self._backlog.runs or run in self._dispatched.of_run

    def covers(self, ready: Ready) -> list[Range]:
        """Ranges of items of this attempt that wait here or are out, as (first, last)."""
        waiting = [
            (entry.first, entry.last)
            for entry in self._backlog.of(ready.run, ready.scope, ready.node)
            if entry.ready.attempt == ready.attempt
        ]
        return waiting + self._dispatched.covers(ready.run, ready.scope, ready.node, ready.attempt)

    # ---- what goes

    def cut(self, now: float = inf) -> Iterator[Cut]:
        """The bundles that may go now."""
        for lane in self._backlog.lanes.values():
            if lane.items <= 0:
                continue
            window = self._window(lane)
            while lane.out < window and lane.items > 0:
                if lane.batch is None:
                    yield self._cut_one(lane)
                elif _is_due(lane, lane.batch, now):
                    yield self._cut_batch(lane, lane.batch, now)
                else:
                    break

    def due(self) -> float:
        """When calls that wait for others may go without them; infinite: none do, or there is no place for them."""
        found = inf
        for lane in self._backlog.lanes.values():
            if lane.batch is not None and lane.items > 0 and lane.out < self._window(lane):
                found = min(found, _due(lane, lane.batch))
        return found

    def _window(self, lane: Lane) -> int:
        return 1 if lane.suspects else self._capacity.window(lane.name)

    def _cut_batch(self, lane: Lane, batch: BatchDef, now: float) -> Cut:
        """Calls that are executed together: as many as wait, and may."""
        plans: dict[str, int] = {}
        work: list[WorkItem] = []
        items, size, priority = 0, 0, 0
        seconds = _UNKNOWN_SECONDS / self._capacity.slots(lane.name)
        while items < batch.max and (entry := lane.front()) is not None:
            size += entry.size
            if work and (entry.ready.alone or size > self._settings.bundle_bytes or _is_full(plans, entry.ready)):
                break
            ready, taken = entry.ready, min(batch.max - items, entry.items)
            first, last = self._backlog.take(lane, taken, seconds)
            work.append(ready.item(plans.setdefault(ready.plan, len(plans)), first, last))
            items, priority = items + taken, max(priority, ready.priority)
            if ready.alone:
                break
        lane.since = now if lane.items else lane.since
        return Cut(self._bundle(lane, plans, work, batch=True), priority)

    def _cut_one(self, lane: Lane) -> Cut:
        """Takes entries from the front while they fit. There is at least one that is wanted."""
        settings = self._settings
        slots = self._capacity.slots(lane.name)
        share = -(-lane.items // slots)
        seconds, size, items, priority = 0.0, 0, 0, 0
        most, most_bytes, take = settings.bundle_items, settings.bundle_bytes, self._backlog.take
        plans: dict[str, int] = {}
        work: list[WorkItem] = []
        #: so many more fit of items that take so long
        room, room_of = 0, -1.0
        while items < most and (entry := lane.front()) is not None:
            ready = entry.ready
            each = self._seconds(entry)
            if work and (ready.alone or each is None or size + entry.size > most_bytes or _is_full(plans, ready)):
                break
            if ready.alone:
                room = 1
            elif each is None:
                work += self._take_unknown(lane, entry, share, plans)
                priority = ready.priority
                break
            elif each != room_of:
                room, room_of = max(share - items, _fit(_WORTH_SHARING - seconds, each)), each
                room = min(room, _fit(settings.bundle_seconds - seconds, each), most - items)
            if work and room < 1:
                break
            taken = entry.items if entry.items <= room else max(room, 1)
            first, last = take(lane, taken, (each or _UNKNOWN_SECONDS) / slots)
            work.append(ready.item(plans.setdefault(ready.plan, len(plans)), first, last))
            if ready.priority > priority:
                priority = ready.priority
            if ready.alone:
                break
            room, items, size, seconds = room - taken, items + taken, size + entry.size, seconds + taken * (each or 0.0)
        return Cut(self._bundle(lane, plans, work), priority)

    def _take_unknown(self, lane: Lane, entry: Entry, share: int, plans: dict[str, int]) -> list[WorkItem]:
        """Items of what was never measured: one, and twice as many with each further bundle, if so many wait."""
        kind = self._kind(entry)
        if len(self._probes) > 1_000:
            self._probes.clear()
        probes = self._probes[kind] = self._probes.get(kind, 0) + 1
        most = min(1 << min(probes - 1, 8), share, _MOST_UNKNOWN)
        work: list[WorkItem] = []
        items, size = 0, 0
        found: Entry | None = entry
        while found is not None and self._kind(found) == kind and items < most and not (work and found.ready.alone):
            size += found.size
            if work and (size > self._settings.bundle_bytes or _is_full(plans, found.ready)):
                break
            ready, taken = found.ready, min(most - items, found.items)
            seconds = _UNKNOWN_SECONDS / self._capacity.slots(lane.name)
            first, last = self._backlog.take(lane, taken, seconds)
            work.append(ready.item(plans.setdefault(ready.plan, len(plans)), first, last))
            items += taken
            found = lane.front()
        return work

    def _kind(self, entry: Entry) -> Task | str:
        """What is measured together."""
        return self.durations.function_of(entry.task) or entry.task

    def _seconds(self, entry: Entry) -> float | None:
        """How long an item takes, those that follow it included; None: nobody knows."""
        known = self.durations.seconds
        seconds = known(entry.task)
        if entry.ready.then:
            plan, flow, block, _ = entry.task
            for then in entry.ready.then:
                more = known((plan, flow, block, then.node))
                seconds = None if more is None or seconds is None else seconds + more
        return seconds

    def _bundle(self, lane: Lane, plans: dict[str, int], work: list[WorkItem], *, batch: bool = False) -> Bundle:
        bundle = Bundle(
            id=f"{self._prefix}-{next(self._numbers)}",
            partition=self._partition,
            lane=lane.name,
            plans=tuple(plans),
            items=tuple(work),
            batch=batch,
        )
        self._dispatched.add(bundle, lane)
        return bundle


def _is_full(plans: Mapping[str, int], ready: Ready) -> bool:
    """A bundle of these plans takes none of another one."""
    return len(plans) >= _MOST_PLANS and ready.plan not in plans


def _is_due(lane: Lane, batch: BatchDef, now: float) -> bool:
    """Enough wait, or long enough; or what is in front waits for nobody."""
    if lane.items >= batch.max or now >= _due(lane, batch):
        return True
    front = lane.front()
    return front is not None and front.ready.alone


def _due(lane: Lane, batch: BatchDef) -> float:
    return lane.since + batch.within_ms / 1000


def _fit(seconds: float, each: float) -> int:
    """How many items of `each` seconds go into the time that is left."""
    return max(int(seconds / max(each, _LEAST_SECONDS)), 0)
