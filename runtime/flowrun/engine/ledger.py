"""What became of the windows of a trigger: per time of its grid the state of its last run, and how many it had.

A trigger that ticks every minute has half a million of them a year, and there are thousands of triggers: so a window is
thirteen bytes and no object. They lie in *pieces*, in order of time, each so small that changing it costs nothing;
pieces are packed one by one, as those of the past are, so that a snapshot writes only what changed. Of more than
`MOST` windows the oldest piece goes.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator

__all__ = ["FAILED", "LIVE", "MISSED", "MOST", "NEVER", "SUCCESS", "Ledger"]

#: no run of it ever was; its last run has not ended; succeeded; ended otherwise; its time went by, and none was started
NEVER, LIVE, SUCCESS, FAILED, MISSED = range(5)
#: windows of a trigger
MOST = 200_000
#: windows of a piece
_PIECE = 256
#: time, number of runs, state
_WINDOW = struct.Struct("=qIB")
_TIME = struct.Struct("=q")
_SIZE = _WINDOW.size


class Ledger:
    """Of one trigger. Times are in milliseconds since 1970."""

    __slots__ = ("_next", "_numbers", "_pieces", "_starts")

    def __init__(self) -> None:
        #: in order of time: the first time of each piece, its number, its windows
        self._starts: list[int] = []
        self._numbers: list[int] = []
        self._pieces: list[bytearray] = []
        self._next = 0

    def __len__(self) -> int:
        return sum(map(len, self._pieces)) // _SIZE

    def state(self, at_ms: int) -> int:
        return self._find(at_ms)[1]

    def number(self, at_ms: int) -> int:
        """Of the last run of the window; 0: it never had one."""
        return self._find(at_ms)[0]

    def _find(self, at_ms: int) -> tuple[int, int]:
        """Number and state."""
        place = bisect_right(self._starts, at_ms) - 1
        if place >= 0:
            piece = self._pieces[place]
            offset = _seek(piece, at_ms)
            if offset < len(piece):
                time, number, state = _WINDOW.unpack_from(piece, offset)
                if time == at_ms:
                    return number, state
        return 0, NEVER

    def before(self, at_ms: int) -> tuple[int, int] | None:
        """Time and state of the last window before this time that had a run; None if there is none."""
        for time, number, state in self.backwards(at_ms):
            if number:
                return time, state
        return None

    def backwards(self, at_ms: int) -> Iterator[tuple[int, int, int]]:
        """The windows before this time, the last one first: (time, number, state)."""
        for place in range(bisect_right(self._starts, at_ms) - 1, -1, -1):
            piece = self._pieces[place]
            for offset in range(min(_seek(piece, at_ms), len(piece)) - _SIZE, -1, -_SIZE):
                yield _WINDOW.unpack_from(piece, offset)

    def put(self, at_ms: int, number: int, state: int) -> tuple[int, ...]:
        """Writes what is known of a window; gives the numbers of the pieces that changed, or went."""
        place = max(bisect_right(self._starts, at_ms) - 1, 0)
        if not self._pieces:
            self._add(0, at_ms, bytearray())
        piece = self._pieces[place]
        offset = _seek(piece, at_ms)
        entry = _WINDOW.pack(at_ms, number, state)
        if offset < len(piece) and _TIME.unpack_from(piece, offset)[0] == at_ms:
            piece[offset : offset + _SIZE] = entry
            return (self._numbers[place],)
        piece[offset:offset] = entry
        self._starts[place] = min(self._starts[place], at_ms)
        changed = self._numbers[place]
        return (changed, *self._split(place, offset)) if len(piece) > _SIZE * _PIECE else (changed,)

    def _split(self, place: int, offset: int) -> tuple[int, ...]:
        """A piece is too large: what was added last at its end begins the next one; else its second half does."""
        piece = self._pieces[place]
        cut = offset if offset == len(piece) - _SIZE else _SIZE * (_PIECE // 2)
        rest = piece[cut:]
        del piece[cut:]
        self._add(place + 1, _TIME.unpack_from(rest)[0], rest)
        added = self._numbers[place + 1]
        if len(self) <= MOST:
            return (added,)
        del self._starts[0], self._pieces[0]
        return (added, self._numbers.pop(0))

    def _add(self, place: int, start: int, piece: bytearray) -> None:
        self._starts.insert(place, start)
        self._numbers.insert(place, self._next)
        self._pieces.insert(place, piece)
        self._next += 1

    # ---- packed pieces

    def numbers(self) -> list[int]:
        """Of all pieces."""
        return list(self._numbers)

    def pack_piece(self, number: int) -> bytes:
        """b"" for one that is no more."""
        return bytes(self._pieces[self._numbers.index(number)]) if number in self._numbers else b""

    def restore_piece(self, number: int, data: bytes) -> None:
        """Of an empty ledger all pieces, in any order."""
        start: int = _TIME.unpack_from(data)[0]
        place = bisect_right(self._starts, start)
        self._add(place, start, bytearray(data))
        self._numbers[place] = number
        self._next = max(self._numbers) + 1


def _seek(piece: bytearray, at_ms: int) -> int:
    """Where the window of this time stands in a piece, or would."""
    low, high = 0, len(piece) // _SIZE
    if high and _TIME.unpack_from(piece, (high - 1) * _SIZE)[0] < at_ms:
        return len(piece)
    while low < high:
        middle = (low + high) // 2
        if _TIME.unpack_from(piece, middle * _SIZE)[0] < at_ms:
            low = middle + 1
        else:
            high = middle
    return low * _SIZE
