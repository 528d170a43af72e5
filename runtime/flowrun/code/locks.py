"""Locks between processes, by a file: held by many who use a thing, or by one who makes or removes it.

The system releases them when a process ends, however it ends. `filelock` has no lock that is shared.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from pathlib import Path

__all__ = ["FileLock"]

#: between two tries, in seconds: nothing tells when a lock is released
_AGAIN = 0.05


class FileLock:
    """One holder's lock. The file's time is that of its last use, its content the size of what it stands for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    async def share(self) -> None:
        """Waits until nobody holds it alone."""
        while not self.try_share():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(_AGAIN)

    async def alone(self) -> None:
        """Waits until nobody else holds it."""
        while not self.try_alone():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(_AGAIN)

    def fileno(self) -> int:
        """Its descriptor. A process that inherits it holds the lock, too."""
        return self._fd

    def try_share(self) -> bool:
        return self._try(fcntl.LOCK_SH)

    def try_alone(self) -> bool:
        return self._try(fcntl.LOCK_EX)

    def _try(self, kind: int) -> bool:
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            return False
        if not self._is_current():  # it was removed between the two steps
            self.release()
            return False
        return True

    def _is_current(self) -> bool:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return False
        return found.st_ino == os.fstat(self._fd).st_ino

    def used(self) -> None:
        """Now is the time of its last use."""
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def write_size(self, size: int) -> None:
        """Held alone: how large is what it stands for, in bytes."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, str(size).encode(), 0)

    def remove(self) -> None:
        """Held alone: what it stands for is gone."""
        self.path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
