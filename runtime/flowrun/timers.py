"""Timers of a coordinator: a heap over the server's clock, of which only stamps on messages are known.

A timer that is due becomes an event in the inbox and acts only when it is read there, by its stamp; one that comes
early is armed again. So this clock need not be right, only near: it begins as the local one, takes the stamp of the
first live message as the present, and is corrected by every stamp from then on, in both directions.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable

__all__ = ["ServerClock", "Timers"]

#: places of the heap whose timers were cleared are swept out when they are more than those that are set, and this many
_SLACK = 1_000


class ServerClock:
    """The server's time in milliseconds since 1970, estimated from the event loop's."""

    def __init__(self) -> None:
        self._base = time.time() * 1000 - self._loop_ms()
        self._set = False

    def now(self) -> float:
        return self._base + self._loop_ms()

    def saw(self, stamp: int) -> None:
        """A live message with this stamp arrived just now: the clock shows at least as much."""
        here = stamp - self._loop_ms()
        self._base = max(self._base, here) if self._set else here
        self._set = True

    def sent(self, loop_time: float, stamp: int) -> None:
        """What was sent at this time of the loop was stamped so: then the clock showed at most as much."""
        self._base = min(self._base, stamp - loop_time * 1000)

    @staticmethod
    def _loop_ms() -> float:
        return asyncio.get_running_loop().time() * 1000


class Timers:
    """Calls `fire(run, timer)` when a timer is due, once; the last `set` of a timer counts."""

    def __init__(self, clock: ServerClock, fire: Callable[[str, str], None]) -> None:
        self._clock, self._fire = clock, fire
        self._heap: list[tuple[int, str, str]] = []
        #: run -> timer -> when
        self._at: dict[str, dict[str, int]] = {}
        #: timers that are set
        self._count = 0
        self._handle: asyncio.TimerHandle | None = None

    def set(self, run: str, timer: str, at_ms: int) -> None:
        of_run = self._at.setdefault(run, {})
        self._count += timer not in of_run
        of_run[timer] = at_ms
        if len(self._heap) > 2 * self._count + _SLACK:
            self._compact()
        heapq.heappush(self._heap, (at_ms, run, timer))
        if self._heap[0] == (at_ms, run, timer):
            self._arm()

    def clear(self, run: str, timer: str) -> None:
        of_run = self._at.get(run)
        if of_run is not None and timer in of_run:
            del of_run[timer]
            self._count -= 1
            if not of_run:
                del self._at[run]

    def clear_run(self, run: str) -> None:
        of_run = self._at.pop(run, None)
        if of_run is not None:
            self._count -= len(of_run)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _compact(self) -> None:
        """A deadline of an hour that was cleared after a moment is not kept for the hour."""
        self._heap = [place for place in self._heap if self._is_current(place)]
        heapq.heapify(self._heap)

    def _arm(self) -> None:
        """Sets the loop's timer to the first that is due."""
        self.stop()
        while self._heap and not self._is_current(self._heap[0]):
            heapq.heappop(self._heap)  # it was cleared or set again
        if self._heap:
            wait = max(self._heap[0][0] - self._clock.now(), 0.0) / 1000
            self._handle = asyncio.get_running_loop().call_later(wait, self._due)

    def _due(self) -> None:
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            at_ms, run, timer = heapq.heappop(self._heap)
            if self._is_current((at_ms, run, timer)):
                self.clear(run, timer)
                self._fire(run, timer)
        self._arm()

    def _is_current(self, place: tuple[int, str, str]) -> bool:
        at_ms, run, timer = place
        return self._at.get(run, {}).get(timer) == at_ms
