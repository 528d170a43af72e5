"""The ids of runs that ended, remembered for a while, so that a submission that is sent again starts nothing.

Millions of ids stay here for minutes, and those of idempotency keys for days: of each id ten bytes of a digest are
kept (two different ids meet once in 10^24). They lie in *pieces*, in the order of their ends, of which the newest
grows and the oldest is dropped as a whole when its time is over; and beside that in buckets, by the digest's first
two bytes, for looking up. Pieces are packed one by one, as runs are, so that a snapshot writes only those that
changed. All of it follows from events and their time stamps alone.
"""

from __future__ import annotations

import hashlib
from collections import deque

import msgspec

__all__ = ["KEEP_MS", "REMEMBER_MS", "Past", "digest_of"]

#: as `Settings.remember` and `Settings.keep_results` have it; a leader says in its TakeOver what holds from then on
REMEMBER_MS, KEEP_MS = 150_000, 7 * 24 * 3600 * 1000
#: ids of a piece, and parts of the time of its kind that it covers
_PIECE_IDS, _PIECE_SHARE = 8_192, 8
_SIZE, _PREFIX = 10, 2
#: no run has such an id
_NAME = "\0past/"


class _Piece(msgspec.Struct, array_like=True):
    """Ids of runs that ended one after another."""

    #: of runs whose id was made of an idempotency key
    keyed: bool
    #: when the first and the last of them ended, milliseconds since 1970
    first_ms: int
    last_ms: int
    #: digests
    ids: bytearray


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Piece)


class Past:
    """`run in past`, for a while after `past.add(digest_of(run), …)`."""

    def __init__(self) -> None:
        self.remember_ms, self.keep_ms = REMEMBER_MS, KEEP_MS
        self._pieces: dict[int, _Piece] = {}
        #: numbers of pieces, oldest first: of plain ids, of keyed ones
        self._order: tuple[deque[int], deque[int]] = (deque(), deque())
        self._next = 0
        #: first bytes of a digest -> the rest of those that begin so
        self._buckets: dict[bytes, bytearray] = {}
        self._changed: set[int] = set()

    def __contains__(self, run: str) -> bool:
        return self.has(digest_of(run))

    def has(self, digest: bytes) -> bool:
        """The run with this digest is known."""
        bucket = self._buckets.get(digest[:_PREFIX])
        return bucket is not None and _find(bucket, digest[_PREFIX:]) >= 0

    def __len__(self) -> int:
        return sum(len(piece.ids) for piece in self._pieces.values()) // _SIZE

    def add(self, digest: bytes, now: int, keyed: bool) -> None:
        """The run with this digest ended now (milliseconds since 1970)."""
        order = self._order[keyed]
        piece = self._pieces[order[-1]] if order else None
        lifetime = self.keep_ms if keyed else self.remember_ms
        if piece is None or len(piece.ids) >= _SIZE * _PIECE_IDS or now > piece.first_ms + lifetime // _PIECE_SHARE:
            self.prune(now)
            piece = self._pieces[self._next] = _Piece(keyed, now, now, bytearray())
            order.append(self._next)
            self._next += 1
        piece.ids += digest
        piece.last_ms = now
        self._changed.add(order[-1])
        self._look_up(digest)

    def prune(self, now: int) -> None:
        """Forgets whose time is over: looked at when a piece is begun, so every eighth of the time or oftener."""
        for order, lifetime in zip(self._order, (self.remember_ms, self.keep_ms), strict=True):
            while order and self._pieces[order[0]].last_ms + lifetime < now:
                number = order.popleft()
                self._changed.add(number)
                for digest in _cut(self._pieces.pop(number).ids):
                    self._drop(digest)

    # ---- packed pieces

    def take_changed(self) -> list[str]:
        """The names of pieces that changed, came or went since the last call."""
        changed, self._changed = self._changed, set()
        return [f"{_NAME}{number}" for number in sorted(changed)]

    @staticmethod
    def owns(name: str) -> bool:
        """It is the name of a piece."""
        return name.startswith(_NAME)

    def pack_piece(self, name: str) -> bytes:
        """b"" for one that is no more."""
        piece = self._pieces.get(int(name.removeprefix(_NAME)))
        return _encoder.encode(piece) if piece is not None else b""

    def pack(self) -> bytes:
        """What is no piece's."""
        return _encoder.encode((self.remember_ms, self.keep_ms, self._next))

    def restore(self, data: bytes) -> None:
        self.remember_ms, self.keep_ms, self._next = msgspec.msgpack.decode(data, type=tuple[int, int, int])

    def restore_pieces(self, pieces: dict[str, bytes]) -> None:
        """All pieces by their names, once."""
        for number, data in sorted((int(name.removeprefix(_NAME)), data) for name, data in pieces.items()):
            piece = self._pieces[number] = _decoder.decode(data)
            self._order[piece.keyed].append(number)
            for digest in _cut(piece.ids):
                self._look_up(digest)

    # ---- looking up

    def _look_up(self, digest: bytes) -> None:
        bucket = self._buckets.get(digest[:_PREFIX])
        if bucket is None:
            self._buckets[digest[:_PREFIX]] = bytearray(digest[_PREFIX:])
        else:
            bucket += digest[_PREFIX:]

    def _drop(self, digest: bytes) -> None:
        bucket = self._buckets[digest[:_PREFIX]]
        at = _find(bucket, digest[_PREFIX:])
        del bucket[at : at + _SIZE - _PREFIX]
        if not bucket:
            del self._buckets[digest[:_PREFIX]]


def digest_of(run: str) -> bytes:
    """What is kept of a run's id."""
    return hashlib.blake2b(run.encode(), digest_size=_SIZE).digest()


def _cut(ids: bytearray) -> list[bytes]:
    return [bytes(ids[at : at + _SIZE]) for at in range(0, len(ids), _SIZE)]


def _find(bucket: bytearray, rest: bytes) -> int:
    """Where it stands; -1: nowhere. What is found across two entries does not count."""
    at = bucket.find(rest)
    while at >= 0 and at % len(rest):
        at = bucket.find(rest, at + 1)
    return at
