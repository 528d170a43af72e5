"""Who waits for what happens outside of runs: events by subject and key, and people's decisions.

An index from *keys* to runs, so that an event costs no more than those that wait for it. It follows from what runs
wait for (`Run.awaits`); of a packed run its head tells. Most keys have one run, whose id alone stands for it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

__all__ = ["APPROVAL", "Listeners", "event_key", "heard_of", "outer_key"]

#: the key of all that waits for a decision; and how the keys of steps in `Run.awaits` begin
APPROVAL = "approval"
_EVENT = "event/"


def event_key(subject: str, key: str) -> str:
    """What waits for an event."""
    return f"{_EVENT}{subject}\0{key}"


def outer_key(key: str) -> str:
    """The key that something in `Run.awaits` is found by from outside of the run; "": by none."""
    if key.startswith(_EVENT):
        return key
    return APPROVAL if key.startswith(APPROVAL) else ""


class Listeners:
    """Of one partition."""

    def __init__(self) -> None:
        #: key -> the run that waits for it, if it does so once; else all runs, and how often
        self._of: dict[str, str | dict[str, int]] = {}

    def add(self, key: str, run: str, count: int = 1) -> None:
        """So many more of the run wait."""
        found = self._of.get(key)
        if found is None and count == 1:
            self._of[key] = run
            return
        runs = {} if found is None else {found: 1} if isinstance(found, str) else found
        runs[run] = runs.get(run, 0) + count
        self._of[key] = runs

    def drop(self, key: str, run: str) -> None:
        """One of the run waits no more."""
        found = self._of.get(key)
        if found == run:
            del self._of[key]
        elif isinstance(found, dict) and run in found:
            found[run] -= 1
            if not found[run]:
                del found[run]
            if not found:
                del self._of[key]

    def runs(self, key: str, after: str = "", most: int | None = None) -> list[str]:
        """The runs that wait for it, behind `after` in the order of their ids: that does not depend on when they began
        to."""
        found = self._of.get(key)
        if found is None:
            return []
        runs = [run for run in ((found,) if isinstance(found, str) else found) if run > after]
        return sorted(runs) if most is None else heapq.nsmallest(most, runs)

    def add_run(self, run: str, heard: Mapping[str, int]) -> None:
        """A run that was packed: as its head tells."""
        for key, count in heard.items():
            self.add(key, run, count)

    def drop_run(self, run: str, awaits: Iterable[str]) -> None:
        """A run that is no more, and what it waited for."""
        for key in awaits:
            if outer := outer_key(key):
                self.drop(outer, run)


def heard_of(awaits: Iterable[str]) -> dict[str, int]:
    """What the head of a run tells: keys, and how often."""
    heard: dict[str, int] = {}
    for key in awaits:
        if outer := outer_key(key):
            heard[outer] = heard.get(outer, 0) + 1
    return heard
