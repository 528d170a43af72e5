"""How long runs of a flow took lately, and steps whose service level asks for it. A part of the state.

Of each the last hundred successes are kept; all that is made of them follows from events alone, so every
replay works out the same. They are those of this partition: a trigger's runs all lie in one.
"""

from __future__ import annotations

import math
from collections import deque

import msgspec

__all__ = ["ENOUGH", "History", "history_key"]

#: fewer say nothing
ENOUGH = 5
#: durations of one flow or step, and how many flows and steps are remembered
_MOST, _MOST_KEYS = 100, 2_000
_decoder = msgspec.msgpack.Decoder(dict[str, list[int]])


def history_key(flow: str, step: str = "") -> str:
    """What the durations of a flow, or of a step of it, are found by."""
    return f"{flow}/{step}" if step else flow


class History:
    """Of a partition."""

    def __init__(self) -> None:
        #: in milliseconds, the oldest first
        self._of: dict[str, deque[int]] = {}
        self._packed: bytes | None = None

    def add(self, key: str, took_ms: int) -> None:
        """Another one took so long."""
        self._packed = None
        try:
            self._of[key].append(took_ms)
        except KeyError:
            if len(self._of) >= _MOST_KEYS:
                del self._of[next(iter(self._of))]
            self._of[key] = deque((took_ms,), _MOST)

    def quantile_ms(self, key: str, quantile: float) -> int | None:
        """The duration that this part of them did not exceed; None if there are not enough. O(100)."""
        found = sorted(self._of.get(key, ()))
        if len(found) < ENOUGH:
            return None
        return found[min(max(math.ceil(quantile * len(found)) - 1, 0), len(found) - 1)]

    def pack(self) -> bytes:
        if self._packed is None:
            self._packed = msgspec.msgpack.encode({key: list(sample) for key, sample in self._of.items()})
        return self._packed

    def restore(self, data: bytes) -> None:
        self._of = {key: deque(sample, _MOST) for key, sample in _decoder.decode(data).items()}
        self._packed = None
