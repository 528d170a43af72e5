"""The work stream: bundles that are not acknowledged, who may write them, and who holds them.

A worker asks for bundles and is handed the oldest that nobody holds. Whoever holds one keeps it for `ack_wait`, and
longer for every sign of life; then it is handed out again, before all others. As with the real server, any holder's
acknowledgement removes a bundle, also that of one who lost it long ago.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from flowrun.errors import Fenced

from .journal import SERVER, Journal, Keys

__all__ = ["Pull", "Work", "WorkStream"]


@dataclass(kw_only=True, eq=False)
class Work:
    """A bundle in the work stream."""

    number: int
    lane: tuple[str, str]
    partition: str
    priority: int
    data: bytes
    key: str
    #: how often it was handed out
    deliveries: int = 0
    #: loop time at which it is handed out again; None: nobody holds it
    lease_ends: float | None = None


@dataclass(kw_only=True, eq=False)
class Pull:
    """A worker that waits for bundles."""

    #: (group, lane)
    lanes: Sequence[tuple[str, str]]
    most: int
    #: hands them to the worker
    give: Callable[[list[Work]], None] = field(repr=False)


class WorkStream:
    """Of all partitions, groups and lanes of an environment."""

    def __init__(self, clock: Callable[[], float], ack_wait: float) -> None:
        self.keys = Keys(clock)
        self.journal = Journal(clock)
        #: by number, in the order of their dispatch
        self.bundles: dict[int, Work] = {}
        #: partition -> the token of its last fence
        self.fences: dict[str, int] = {}
        #: of the last message
        self.seq = 0
        self._clock, self._ack_wait = clock, ack_wait
        self._free: dict[tuple[str, str], deque[int]] = {}
        self._leases: list[tuple[float, int]] = []
        self._pulls: dict[Pull, None] = {}
        self._alarm: asyncio.TimerHandle | None = None

    # ---- writing

    def fence(self, partition: str) -> int:
        before = self.fences.get(partition)
        self.seq += 1
        self.fences[partition] = self.seq
        self.journal.note(lambda: self._unfence(partition, before))
        return self.seq

    def _unfence(self, partition: str, before: int | None) -> None:
        self.seq -= 1
        self.fences.pop(partition, None)
        if before is not None:
            self.fences[partition] = before

    def dispatch(self, work: Work, fence: int) -> None:
        """Its number is given here. Nothing if its key is known."""
        if self.keys.find(work.key) is not None:
            return
        if self.fences.get(work.partition) != fence:
            raise Fenced(f"another coordinator leads partition {work.partition} now")
        self.seq += 1
        work.number = self.seq
        self.keys.add(work.key, work.number)
        self._put(work)
        self.journal.note(lambda: self._undispatch(work))
        self.hand_out()

    def _put(self, work: Work) -> None:
        self.bundles[work.number] = work
        self._free.setdefault(work.lane, deque()).append(work.number)

    def _undispatch(self, work: Work) -> None:
        self.seq -= 1
        self.keys.drop(work.key)
        self.bundles.pop(work.number, None)

    def remove(self, number: int) -> None:
        """It is dealt with."""
        work = self.bundles.pop(number, None)
        if work is not None:
            self.journal.note(lambda: self._put(work))

    def standing(self, partition: str) -> list[Work]:
        return [work for work in self.bundles.values() if work.partition == partition]

    def clear(self, partition: str) -> None:
        for work in self.standing(partition):
            del self.bundles[work.number]

    # ---- handing out

    def pull(self, pull: Pull) -> None:
        self._pulls[pull] = None
        self.hand_out()

    def unpull(self, pull: Pull) -> None:
        self._pulls.pop(pull, None)

    def hand_out(self) -> None:
        """Gives what nobody holds to whoever waits for it, the first first."""
        self._end_leases()
        for pull in list(self._pulls):
            taken = self._take(pull)
            if taken:
                del self._pulls[pull]
                pull.give(taken)
        self._set_alarm()

    def _take(self, pull: Pull) -> list[Work]:
        taken: list[Work] = []
        for lane in pull.lanes:
            free = self._free.get(lane)
            while free and len(taken) < pull.most:
                work = self.bundles.get(free.popleft())
                if work is not None and work.lease_ends is None:
                    work.deliveries += 1
                    self._lease(work)
                    taken.append(work)
        return taken

    def _lease(self, work: Work) -> None:
        work.lease_ends = self._clock() + self._ack_wait
        heapq.heappush(self._leases, (work.lease_ends, work.number))

    def extend(self, number: int) -> None:
        """A sign of life of whoever has it, or had it."""
        work = self.bundles.get(number)
        if work is not None and work.lease_ends is not None:
            self._lease(work)

    def give_back(self, number: int) -> None:
        """As if it had never been handed out."""
        work = self.bundles.get(number)
        if work is not None and work.lease_ends is not None:
            work.lease_ends = None
            work.deliveries -= 1
            self._free.setdefault(work.lane, deque()).appendleft(number)
            self.hand_out()

    def _end_leases(self) -> None:
        now = self._clock()
        while self._leases and self._leases[0][0] <= now:
            ends, number = heapq.heappop(self._leases)
            work = self.bundles.get(number)
            if work is not None and work.lease_ends == ends:
                work.lease_ends = None
                self._free.setdefault(work.lane, deque()).appendleft(number)

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        while self._leases:
            ends, number = self._leases[0]
            work = self.bundles.get(number)
            if work is not None and work.lease_ends == ends:
                loop = asyncio.get_running_loop()
                self._alarm = loop.call_at(ends, self.hand_out, context=SERVER)
                return
            heapq.heappop(self._leases)  # acknowledged, or extended

    # ---- a crash of the server

    def crash(self, forget: Callable[[], bool]) -> None:
        """Nobody holds anything any more. `forget` says of each bundle whether it is forgotten that it was handed
        out."""
        self._pulls.clear()
        self._leases.clear()
        self._free.clear()
        for work in self.bundles.values():
            work.lease_ends = None
            if forget():
                work.deliveries = 0
            self._free.setdefault(work.lane, deque()).append(work.number)
        self.keys.keep(self.bundles.__contains__)
        self._set_alarm()
