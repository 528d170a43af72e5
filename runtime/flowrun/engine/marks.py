"""Cancellations of runs that have not come yet: their submission may be delayed, or on its way."""

from __future__ import annotations

import msgspec

__all__ = ["Marks"]


class Marks:
    """Run -> when it was cancelled, milliseconds since 1970; the oldest first."""

    def __init__(self) -> None:
        self._at: dict[str, int] = {}

    def add(self, run: str, now: int, keep_ms: int) -> None:
        """The run is cancelled if it comes within `keep_ms`."""
        self._at.pop(run, None)
        self._at[run] = now
        while (oldest := next(iter(self._at.items())))[1] + keep_ms < now:
            del self._at[oldest[0]]

    def __bool__(self) -> bool:
        """There are any."""
        return bool(self._at)

    def take(self, run: str) -> bool:
        """The run has come: was it cancelled?"""
        return bool(self._at) and self._at.pop(run, None) is not None

    def pack(self) -> bytes:
        return msgspec.msgpack.encode(self._at)

    def restore(self, data: bytes) -> None:
        self._at = msgspec.msgpack.decode(data, type=dict[str, int])
