"""Signals for runs that have not come yet: their submission is delayed. Those that wait longest come first."""

from __future__ import annotations

import msgspec

__all__ = ["MOST_EARLY", "Early"]

#: signals of one run
MOST_EARLY = 1_000


class _Kept(msgspec.Struct, array_like=True):
    """What one run gets when it comes."""

    #: when the last one came, milliseconds since 1970
    at_ms: int
    #: (name, value)
    signals: list[tuple[str, bytes]]


class Early:
    """Run -> its signals. A part of the state."""

    def __init__(self) -> None:
        self._of: dict[str, _Kept] = {}

    def add(self, run: str, name: str, value: bytes, now: int, keep_ms: int) -> bool:
        """Keeps it for `keep_ms` at least. False: there are too many."""
        kept = self._of.pop(run, None) or _Kept(now, [])
        self._of[run] = kept
        fits = len(kept.signals) < MOST_EARLY
        if fits:
            kept.signals.append((name, value))
        kept.at_ms = now
        while (oldest := next(iter(self._of.items())))[1].at_ms + keep_ms < now:
            del self._of[oldest[0]]
        return fits

    def __bool__(self) -> bool:
        """There are any."""
        return bool(self._of)

    def take(self, run: str) -> list[tuple[str, bytes]]:
        """The run has come: its signals, once."""
        kept = self._of.pop(run, None)
        return [] if kept is None else kept.signals

    def pack(self) -> bytes:
        return msgspec.msgpack.encode(self._of)

    def restore(self, data: bytes) -> None:
        self._of = _decoder.decode(data)


_decoder = msgspec.msgpack.Decoder(dict[str, _Kept])
