"""How many items the workers of a group run at the same time, per lane: what the dispatch window follows.

Workers and nodes say it every second (`Presence`); one that was not heard of for three times that long counts as gone.
Partitions share the window: each takes its part of it, by how many are led in the group.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from .messages import Presence
from .settings import Settings

__all__ = ["Capacity"]

#: a node counts as gone after so many times the interval at which it says that it lives
_SILENCES = 3
#: bundles of a lane that may always be out: a worker may be on its way
_LEAST = 2


class _Heard(msgspec.Struct, frozen=True):
    """The last word of a node."""

    presence: Presence
    #: when, by our own clock in seconds
    at: float


class Capacity:
    """Of one group. `fixed`: so many slots in every lane, whoever says what (a run that leads its own workers)."""

    def __init__(self, group: str, settings: Settings, *, fixed: int = 0, partitions: int = 1) -> None:
        self._group, self._settings, self._fixed = group, settings, fixed
        self._heard: dict[str, _Heard] = {}
        #: partitions that share the group's workers
        self._partitions = max(partitions, 1)
        self._slots: dict[str, int] = {}

    def saw(self, presence: Presence, now: float) -> None:
        """A node says that it lives. `now`: seconds of a steady clock."""
        if presence.group == self._group and not self._fixed:
            self._heard[presence.node] = _Heard(presence, now)
            self._sum()

    def forget_silent(self, now: float) -> None:
        """Drops nodes that were not heard of for too long."""
        before = now - _SILENCES * self._settings.presence
        silent = [node for node, heard in self._heard.items() if heard.at < before]
        for node in silent:
            del self._heard[node]
        if silent:
            self._sum()

    @property
    def nodes(self) -> Iterable[Presence]:
        """The last word of each node that lives."""
        return [heard.presence for heard in self._heard.values()]

    def slots(self, lane: str) -> int:
        """Items of a lane that this partition may count on to run at the same time; at least 1."""
        if self._fixed:
            return self._fixed
        return max(-(-self._slots.get(lane, 0) // self._partitions), 1)

    def window(self, lane: str) -> int:
        """Bundles of a lane that may be out at the same time."""
        return max(self.slots(lane) * self._settings.window_per_slot, _LEAST)

    def _sum(self) -> None:
        slots: dict[str, int] = {}
        for presence in self.nodes:
            if not presence.stopping:
                for lane, count in presence.capacity.items():
                    slots[lane] = slots.get(lane, 0) + count
        self._slots = slots
