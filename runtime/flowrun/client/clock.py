"""The server's clock, as a client knows it: `at`, `delay` and `expires` are by that one, whatever the own one says.

What the server says is some moments old when it arrives. The clock takes it for the time at which it was asked: so it
is never behind the server's, and a delay never ends early.
"""

from __future__ import annotations

import asyncio
import time

__all__ = ["Clock"]

#: seconds
_LONG = 0.25


class Clock:
    """The own clock as it was at the start, until the server has told its time; then that, and the time since."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._base_ms = time.time() * 1000 - self._loop.time() * 1000
        self._set = False

    def saw(self, server_ms: int, asked: float) -> None:
        """The server says that it is this time (milliseconds since 1970; 0: it did not say), asked at this time of the
        loop. An answer that took long says too little."""
        if server_ms and not (self._set and self._loop.time() - asked > _LONG):
            self._base_ms, self._set = server_ms - asked * 1000, True

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return round(self._base_ms + self._loop.time() * 1000)
