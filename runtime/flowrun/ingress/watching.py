"""Which files of a look are new? Pure.

A file counts once for its path, size and time of change. It counts when two looks in a row find it the same, or at once
if it is whole for sure. What was there before `since` never counts; that is settled by the first look of all.

What has counted is remembered as eight bytes, also when it is gone: a folder that cannot be seen for an hour must not
bring everything anew. The oldest of very many are forgotten, if they are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from .globbing import MOST, Found

__all__ = ["SHARDS", "Watching", "mark_of"]

#: what is remembered is kept in so many parts, by its first bits
SHARDS = 16
_BYTES = 8


def mark_of(found: Found) -> bytes:
    """What is remembered of a file."""
    return blake2b(f"{found.path}\0{found.size}\0{found.modified_ns}".encode(), digest_size=_BYTES).digest()


class Watching:
    """`known`: parts as `packed` gives them; None: there was no look before."""

    def __init__(self, known: Iterable[bytes] | None, since_ns: int) -> None:
        self._since_ns = since_ns
        self._is_first = known is None
        #: in the order in which they were seen last
        self._known: dict[bytes, None] = {}
        for part in known or ():
            self._known.update((part[at : at + _BYTES], None) for at in range(1, len(part), _BYTES))
        #: those that may still be written
        self._growing: dict[str, Found] = {}
        self._changed: set[int] = set(range(SHARDS)) if self._is_first else set()

    def look(self, listing: Sequence[Found]) -> list[Found]:
        """Those that count now; once they are dealt with, `done`."""
        fresh: list[Found] = []
        growing: dict[str, Found] = {}
        for found in listing:
            mark = mark_of(found)
            if self._is_first and found.since_ns < self._since_ns:
                self._remember(mark)
            elif mark in self._known:
                self._known[mark] = self._known.pop(mark)
            elif found.whole or self._growing.get(found.path) == found:
                fresh.append(found)
            else:
                growing[found.path] = found
        self._growing, self._is_first = growing, False
        return fresh

    def done(self, found: Iterable[Found]) -> None:
        """These have counted."""
        for one in found:
            self._remember(mark_of(one))
        while len(self._known) > 2 * MOST:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._changed.add(_shard(oldest))

    def _remember(self, mark: bytes) -> None:
        self._known[mark] = None
        self._changed.add(_shard(mark))

    def changed(self) -> dict[int, bytes]:
        """The parts that changed since the last call, by their numbers."""
        changed, self._changed = sorted(self._changed), set()
        parts: dict[int, list[bytes]] = {number: [] for number in changed}
        if parts:
            for mark in self._known:
                if (number := _shard(mark)) in parts:
                    parts[number].append(mark)
        return {number: b"\x01" + b"".join(marks) for number, marks in parts.items()}


def _shard(mark: bytes) -> int:
    return mark[0] * SHARDS >> 8
