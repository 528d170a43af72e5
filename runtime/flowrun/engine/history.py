"""How long runs of a flow took lately, and steps whose service level asks for it. A part of the state.

Of each the last hundred successes are kept, in seconds; all that is made of them follows from events alone, so every
replay works out the same. They are those of this partition: a trigger's runs all lie in one.
"""

from __future__ import annotations

import math
import struct

import msgspec

__all__ = ["ENOUGH", "History", "history_key"]

#: fewer say nothing
ENOUGH = 5
#: durations of one flow or step, and how many flows and steps are remembered
_MOST, _MOST_KEYS = 100, 2_000
_SECONDS = struct.Struct("<f")


class _Sample(msgspec.Struct, array_like=True, gc=False):
    """The last durations: float32 little-endian, in a ring."""

    seconds: bytearray
    #: where the next one goes
    at: int = 0


_decoder = msgspec.msgpack.Decoder(dict[str, _Sample])


def history_key(flow: str, step: str = "") -> str:
    """What the durations of a flow, or of a step of it, are found by."""
    return f"{flow}/{step}" if step else flow


class History:
    """Of a partition."""

    def __init__(self) -> None:
        self._of: dict[str, _Sample] = {}
        self._packed: bytes | None = None

    def add(self, key: str, took_ms: int) -> None:
        """Another one took so long."""
        sample = self._of.get(key)
        if sample is None:
            if len(self._of) >= _MOST_KEYS:
                del self._of[next(iter(self._of))]
            sample = self._of[key] = _Sample(bytearray())
        data = _SECONDS.pack(took_ms / 1000)
        if len(sample.seconds) < _SECONDS.size * _MOST:
            sample.seconds += data
        else:
            at = _SECONDS.size * sample.at
            sample.seconds[at : at + _SECONDS.size] = data
            sample.at = (sample.at + 1) % _MOST
        self._packed = None

    def quantile_ms(self, key: str, quantile: float) -> int | None:
        """The duration that this part of them did not exceed; None if there are not enough. O(100)."""
        sample = self._of.get(key)
        if sample is None or len(sample.seconds) < _SECONDS.size * ENOUGH:
            return None
        found = sorted(memoryview(sample.seconds).cast("f"))
        place = min(max(math.ceil(quantile * len(found)) - 1, 0), len(found) - 1)
        return round(found[place] * 1000)

    def pack(self) -> bytes:
        if self._packed is None:
            self._packed = msgspec.msgpack.encode(self._of)
        return self._packed

    def restore(self, data: bytes) -> None:
        self._of, self._packed = _decoder.decode(data), None
