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
        self._at: dict[tuple[str, str], int] = {}
        self._handle: asyncio.TimerHandle | None = None

    def set(self, run: str, timer: str, at_ms: int) -> None:
        self._at[run, timer] = at_ms
        heapq.heappush(self._heap, (at_ms, run, timer))
        if self._heap[0] == (at_ms, run, timer):
            self._arm()

    def clear(self, run: str, timer: str) -> None:
        self._at.pop((run, timer), None)

    def clear_run(self, run: str) -> None:
        for key in [key for key in self._at if key[0] == run]:
            del self._at[key]

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _arm(self) -> None:
        """Sets the loop's timer to the first that is due."""
        self.stop()
        while self._heap and self._at.get(self._heap[0][1:]) != self._heap[0][0]:
            heapq.heappop(self._heap)  # it was cleared or set again
        if self._heap:
            wait = max(self._heap[0][0] - self._clock.now(), 0.0) / 1000
            self._handle = asyncio.get_running_loop().call_later(wait, self._due)

    def _due(self) -> None:
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            at_ms, run, timer = heapq.heappop(self._heap)
            if self._at.get((run, timer)) == at_ms:
                del self._at[run, timer]
                self._fire(run, timer)
        self._arm()
