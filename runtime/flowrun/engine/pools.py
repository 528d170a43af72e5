"""Pools: how many slots are taken, and who waits for some.

Whoever waits is served in the order of priority, then of asking; a step that needs more slots than are free holds
up those behind it, so that it is not passed over for ever. A step that wants more slots than its pool has runs
alone. Entries of steps that no longer wait are dropped when they come up.
"""

from __future__ import annotations

import heapq

import msgspec

__all__ = ["Pool", "Pools", "Waiting"]


class Waiting(msgspec.Struct, order=True, array_like=True):
    """A node that asked for slots of a pool."""

    #: negative, so that the smallest comes first
    priority: int
    place: int
    run: str
    scope: int
    node: int


class Pool(msgspec.Struct, array_like=True):
    slots: int
    taken: int = 0
    waiting: list[Waiting] = msgspec.field(default_factory=list)


class _State(msgspec.Struct, array_like=True):
    """As it is packed."""

    pools: dict[str, Pool]
    asked: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_State)


class Pools:
    """All pools of a partition, by name. A name is one pool for all runs."""

    def __init__(self) -> None:
        self.by_name: dict[str, Pool] = {}
        self._asked = 0

    def define(self, name: str, slots: int) -> None:
        """The latest plan that runs says how many slots there are."""
        pool = self.by_name.get(name)
        if pool is None:
            self.by_name[name] = Pool(slots)
        else:
            pool.slots = slots

    def ask(self, name: str, priority: int, run: str, scope: int, node: int) -> None:
        self._asked += 1
        entry = Waiting(-priority, self._asked, run, scope, node)
        heapq.heappush(self.by_name[name].waiting, entry)

    def first(self, name: str) -> Waiting | None:
        """Who is served next."""
        waiting = self.by_name[name].waiting
        return waiting[0] if waiting else None

    def drop_first(self, name: str) -> None:
        heapq.heappop(self.by_name[name].waiting)

    def free(self, name: str) -> int:
        pool = self.by_name[name]
        return max(0, pool.slots - pool.taken)

    def weight(self, name: str, slots: int) -> int:
        """How many slots a step takes that wants `slots`."""
        return min(slots, self.by_name[name].slots)

    def take(self, name: str, slots: int) -> None:
        self.by_name[name].taken += slots

    def give_back(self, name: str, slots: int) -> None:
        self.by_name[name].taken -= slots

    # ---- a part of a snapshot

    def pack(self) -> bytes:
        return _encoder.encode(_State(self.by_name, self._asked))

    def restore(self, data: bytes) -> None:
        state = _decoder.decode(data)
        self.by_name, self._asked = state.pools, state.asked
