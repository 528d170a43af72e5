"""The memory that an executor shares with its agent: which units run since when, and a ring of results.

The executor writes, the agent reads. What the executor has written is there even when it is killed in the next
instruction, so a crash loses no result and the agent knows which units were running.

    0   how often the agent asked for attention        8   token of the unit that is asked to end + 1 (SoftTimeout)
    16  end of what was written, in bytes ever         24  end of what was read
    64… a cell per unit that may run at the same time: its token + 1 (0: none) and since when (CLOCK_MONOTONIC, seconds)
    …   the ring: records of `_RECORD` and a payload, wrapped at the end

The two processes use no barrier of their own. The agent reads after a frame (the kernel orders memory), after the
executor's end, or up to where the ring stood at its last look, 20 ms ago.
"""

from __future__ import annotations

import mmap
import struct

import msgspec

from .memory_file import CAPACITY, CELLS, START

__all__ = ["EXPIRED", "FAILED", "NOT_RUN", "REPLACED", "SKIPPED", "SUCCESS", "SharedMemory", "UnitResult"]

#: NOT_RUN: the agent asked for that; REPLACED: a canvas takes its place
SUCCESS, FAILED, SKIPPED, EXPIRED, NOT_RUN, REPLACED = range(6)

_RUNNING = struct.Struct("=Qd")
#: token, state, started (seconds since 1970), how long (seconds), length of the payload
_RECORD = struct.Struct("<QBdfI")
#: the same with a payload of so many bytes
_WITH_PAYLOAD = [struct.Struct(f"<QBdfI{length}s") for length in range(65)]
#: numbers of 8 bytes that stand before the cells
_ATTENTION, _SOFT, _WRITTEN, _READ = range(4)
#: the first cell, as a number of 8 bytes
_CELL = CELLS // 8


class UnitResult(msgspec.Struct, frozen=True, gc=False):
    """How one unit ended."""

    token: int
    #: SUCCESS, FAILED, SKIPPED, EXPIRED, NOT_RUN or REPLACED
    state: int
    #: seconds since 1970
    started: float
    seconds: float
    #: the value; FAILED: a packed Failure; REPLACED: what replaces it
    payload: bytes


class SharedMemory:
    """Either side's view."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, START + CAPACITY)
        #: what stands before the ring, as numbers: each is written, and read, as a whole
        self._numbers = memoryview(self._map)[:START].cast("Q")
        self._times = memoryview(self._map)[:START].cast("d")
        self._written = 0
        self._read = 0
        self._seen = 0
        #: the executor may write up to here, as far as it knows
        self._limit = CAPACITY

    # ---- the executor's side

    def begin(self, cell: int, token: int, now: float) -> None:
        """A unit runs; `now` is time.monotonic()."""
        at = _CELL + 2 * cell
        self._times[at + 1] = now
        self._numbers[at] = token + 1

    def rest(self, cell: int) -> None:
        """Nothing runs."""
        self._numbers[_CELL + 2 * cell] = 0

    def attention(self) -> int:
        """Grows when there are frames that must be read before a unit of a chain begins."""
        return self._numbers[_ATTENTION]

    def soft(self) -> int:
        """Token of the unit that is asked to end, or -1."""
        return self._numbers[_SOFT] - 1

    def write(self, token: int, state: int, started: float, seconds: float, payload: bytes) -> bool:
        """False: there is no room until the agent has read; write it again later."""
        length = len(payload)
        size = _RECORD.size + length
        written = self._written + size
        if written > self._limit:
            self._limit = self._numbers[_READ] + CAPACITY
            if written > self._limit:
                return False
        at = START + self._written % CAPACITY
        if at + size > START + CAPACITY:
            self._write_wrapped(_RECORD.pack(token, state, started, seconds, length) + payload)
        elif length < len(_WITH_PAYLOAD):
            _WITH_PAYLOAD[length].pack_into(self._map, at, token, state, started, seconds, length, payload)
        else:
            _RECORD.pack_into(self._map, at, token, state, started, seconds, length)
            self._map[at + _RECORD.size : at + size] = payload
        self._written = self._numbers[_WRITTEN] = written
        return True

    def _write_wrapped(self, record: bytes) -> None:
        start = self._written % CAPACITY
        cut = CAPACITY - start
        self._map[START + start : START + CAPACITY] = record[:cut]
        self._map[START : START + len(record) - cut] = record[cut:]

    # ---- the agent's side

    def running(self, width: int) -> list[tuple[int, float]]:
        """Tokens of the units that run in the first `width` cells, and when each started (time.monotonic())."""
        cells = _RUNNING.iter_unpack(self._map[CELLS : CELLS + 16 * width])
        return [(token - 1, started) for token, started in cells if token]

    def ask_attention(self) -> None:
        self._numbers[_ATTENTION] += 1

    def ask_soft(self, token: int) -> None:
        self._numbers[_SOFT] = token + 1

    def look(self) -> list[UnitResult]:
        """Results that had been written when this was called the last time."""
        before, self._seen = self._seen, self._numbers[_WRITTEN]
        return self._take(before)

    def take(self) -> list[UnitResult]:
        """All results; call it after a frame or the end of the executor."""
        self._seen = self._numbers[_WRITTEN]
        return self._take(self._seen)

    def _take(self, until: int) -> list[UnitResult]:
        size = until - self._read
        if size <= 0:
            return []
        start = self._read % CAPACITY
        data = self._map[START + start : START + min(start + size, CAPACITY)]
        data += self._map[START : START + size - len(data)]
        results, at = [], 0
        unpack, head = _RECORD.unpack_from, _RECORD.size
        while at < size:
            token, state, started, seconds, length = unpack(data, at)
            end = at + head + length
            results.append(UnitResult(token, state, started, seconds, data[at + head : end]))
            at = end
        self._read = self._numbers[_READ] = until
        return results

    def close(self) -> None:
        self._numbers.release()
        self._times.release()
        self._map.close()
