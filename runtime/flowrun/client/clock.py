"""The server's clock, as a client knows it: `at`, `delay` and `expires` are by that one, whatever the own one says."""

from __future__ import annotations

import asyncio
import time

__all__ = ["Clock"]


class Clock:
    """The own clock as it was at the start, until the server has told its time; then that, and the time since."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._base_ms = time.time() * 1000 - self._loop.time() * 1000

    def saw(self, server_ms: int) -> None:
        """The server said just now that it is this time (milliseconds since 1970); 0: it did not say."""
        if server_ms:
            self._base_ms = server_ms - self._loop.time() * 1000

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return round(self._base_ms + self._loop.time() * 1000)
