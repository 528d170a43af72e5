"""Backfills: which windows each is to run, and how far it is. A part of the state.

A backfill may have tens of thousands of windows, of which only those that run now deserve an object. So a window is a
place in four columns (its time, its bounds, its day) and one byte that says what became of it; a window is found by its
time through bisection, for the times only rise, or only fall.

Of a backfill that has ended the columns go; what is told of it stays for a while.
"""

from __future__ import annotations

import datetime as dt
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import Any, Literal, cast

import msgspec

from flowrun.messages import WINDOW_STATES, BackfillState, Scheduled

__all__ = [
    "DONE", "ELSEWHERE", "FAILED", "KEPT", "LEFT", "RUNNING", "SPARED",
    "Backfills", "Job", "Windows",
]  # fmt: skip

#: as WINDOW_STATES has them
LEFT, RUNNING, DONE, FAILED, KEPT, ELSEWHERE, SPARED = range(len(WINDOW_STATES))

#: failed windows that are told, and backfills that ended and are remembered
_MOST_FAILURES, _MOST_ENDED = 100, 100


class Windows:
    """Windows in the order in which they are to be started."""

    def __init__(self, at: bytes = b"", start: bytes = b"", end: bytes = b"", day: bytes = b"") -> None:
        #: milliseconds since 1970; the day is its ordinal (1 is 0001-01-01)
        self._at, self._start, self._end, self._day = (
            array("q", at),
            array("q", start),
            array("q", end),
            array("i", day),
        )

    def __len__(self) -> int:
        return len(self._at)

    @property
    def falls(self) -> bool:
        """The latest comes first."""
        return len(self) > 1 and self._at[0] > self._at[1]

    def fits(self, times: Sequence[Scheduled]) -> bool:
        """They may be added: all times rise, or all fall, and their days are days."""
        try:
            for time in times:
                dt.date.fromisoformat(time.date)
        except ValueError:
            return False
        found = [*self._at[-2:], *(time.at_ms for time in times)]
        steps = [later - earlier for earlier, later in pairwise(found)]
        return all(step > 0 for step in steps) or all(step < 0 for step in steps)

    def add(self, times: Sequence[Scheduled]) -> None:
        """What `fits`."""
        self._day.extend([dt.date.fromisoformat(time.date).toordinal() for time in times])
        self._at.extend([time.at_ms for time in times])
        self._start.extend([time.start_ms for time in times])
        self._end.extend([time.end_ms for time in times])

    def at_ms(self, place: int) -> int:
        return self._at[place]

    def start_ms(self, place: int) -> int:
        return self._start[place]

    def day(self, place: int) -> str:
        return dt.date.fromordinal(self._day[place]).isoformat()

    def scheduled(self, place: int, trigger: str) -> Scheduled:
        return Scheduled(self._at[place], self._start[place], self._end[place], self.day(place), trigger, True)

    def find(self, at_ms: int) -> int:
        """The place of the window with this time; -1: there is none."""
        if self.falls:
            place = bisect_left(self._at, -at_ms, key=lambda time: -time)
        else:
            place = bisect_left(self._at, at_ms)
        return place if place < len(self) and self._at[place] == at_ms else -1

    def pack(self) -> tuple[bytes, bytes, bytes, bytes]:
        return self._at.tobytes(), self._start.tobytes(), self._end.tobytes(), self._day.tobytes()


class Job:
    """A backfill that has not ended."""

    def __init__(
        self, name: str, trigger: str, total: int, concurrency: int, only: str, args: bytes, by: str, began_ms: int
    ) -> None:
        self.name, self.trigger, self.by, self.began_ms = name, trigger, by, began_ms
        #: windows that it will have; runs of it at the same time
        self.total, self.concurrency = total, concurrency
        self.only, self.args = only, args
        self.windows = Windows()
        #: a byte per window
        self.states = bytearray()
        #: how many windows are in each state
        self.counts = [0] * (SPARED + 1)
        #: none before this one waits
        self.cursor = 0
        self.stopped = False

    def add(self, times: Sequence[Scheduled], states: bytes) -> None:
        """More windows, which fit, and how they stand."""
        self.windows.add(times)
        self.states += states
        for state in range(SPARED + 1):
            self.counts[state] += states.count(state)

    @property
    def is_whole(self) -> bool:
        """All its windows are here."""
        return len(self.windows) == self.total

    def next_left(self) -> int:
        """The next window that waits; -1: none does."""
        self.cursor = found if (found := self.states.find(LEFT, self.cursor)) >= 0 else len(self.states)
        return found

    def put(self, place: int, state: int) -> None:
        """What became of a window."""
        self.counts[self.states[place]] -= 1
        self.counts[state] += 1
        self.states[place] = state

    def failures(self) -> Iterator[int]:
        """Where the windows begin that failed, milliseconds since 1970."""
        place = self.states.find(FAILED)
        while place >= 0:
            yield self.windows.start_ms(place)
            place = self.states.find(FAILED, place + 1)

    def told(self, state: str, why: str = "", ended_ms: int = 0) -> BackfillState:
        """How it stands."""
        counts = self.counts
        return BackfillState(
            name=self.name, trigger=self.trigger, state=cast(_State, state), total=self.total, done=counts[DONE],
            kept=counts[KEPT], failed=counts[FAILED], running=counts[RUNNING] + counts[ELSEWHERE],
            left=counts[LEFT] + self.total - len(self.windows), spared=counts[SPARED], began_ms=self.began_ms,
            ended_ms=ended_ms, concurrency=self.concurrency, by=self.by, why=why,
            failures=tuple(islice(self.failures(), _MOST_FAILURES)) if counts[FAILED] else (),
            first_ms=self.windows.start_ms(0) if self.states else 0,
            last_ms=self.windows.start_ms(-1) if self.states else 0,
        )  # fmt: skip

    def pack(self) -> list[Any]:
        return [
            self.name, self.trigger, self.total, self.concurrency, self.only, self.args, self.by, self.began_ms,
            self.windows.pack(), bytes(self.states), self.counts, self.cursor, self.stopped,
        ]  # fmt: skip

    @classmethod
    def unpack(cls, data: Sequence[Any]) -> Job:
        job = cls(*data[:8])
        job.windows = Windows(*data[8])
        job.states, job.counts, job.cursor, job.stopped = bytearray(data[9]), list(data[10]), data[11], data[12]
        return job


_State = Literal["running", "success", "failed", "stopped", "blocked"]


class Backfills:
    """Of a partition."""

    def __init__(self) -> None:
        #: by name: those that have not ended, and what is told of those that have, the oldest first
        self.live: dict[str, Job] = {}
        self.ended: dict[str, BackfillState] = {}
        #: triggers whose backfills may start something more; empty between two events
        self.due: dict[str, None] = {}

    def of(self, trigger: str) -> list[Job]:
        """Those of a trigger that have not ended, the oldest first."""
        return [job for job in self.live.values() if job.trigger == trigger]

    def is_of(self, flow: str) -> bool:
        """One of this flow has not ended."""
        return any(job.trigger.partition(".")[0] == flow for job in self.live.values())

    def window_ended(self, trigger: str, at_ms: int, succeeded: bool) -> None:
        """The last run of a window has ended, whoever started it."""
        if not self.live:
            return
        for job in self.of(trigger):
            self.due[trigger] = None
            place = job.windows.find(at_ms)
            if place >= 0 and job.states[place] in (RUNNING, ELSEWHERE):
                job.put(place, DONE if succeeded else FAILED)

    def end(self, job: Job, state: str, now: int, why: str = "") -> None:
        """Nothing of it runs, and nothing more of it is started."""
        del self.live[job.name]
        self.ended.pop(job.name, None)
        self.ended[job.name] = job.told(state, why, now)
        while len(self.ended) > _MOST_ENDED:
            del self.ended[next(iter(self.ended))]

    def told(self, name: str = "", limit: int = 100) -> list[BackfillState]:
        """How all stand, or the one of this name; those that began last come first."""
        found = [job.told("running") for job in self.live.values() if name in ("", job.name)]
        if not (name and found):
            found += [told for told in self.ended.values() if name in ("", told.name)]
        return sorted(found, key=lambda told: told.began_ms, reverse=True)[:limit]

    def pack(self) -> bytes:
        return _encoder.encode((list(self.ended.values()), [job.pack() for job in self.live.values()]))

    def restore(self, data: bytes) -> None:
        ended, live = _decoder.decode(data)
        self.ended = {told.name: told for told in ended}
        self.live = {job.name: job for job in map(Job.unpack, live)}


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[list[BackfillState], list[list[Any]]])
