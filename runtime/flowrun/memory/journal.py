"""What a server has not yet brought to its disk, and so loses with its power.

Whoever changes a store notes how that is undone. A store that loses what it wrote last goes back step by step.
"""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable

__all__ = ["SERVER", "Journal", "Keys"]

#: the server's own callbacks run in this context, whoever caused them
SERVER = contextvars.Context()
#: a key is remembered for this long, in seconds
DEDUPE_SECONDS = 120.0
#: JetStream writes to the disk this often, in seconds
SYNC_SECONDS = 120.0


class Journal:
    """The changes of one store, each with its time and how to undo it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changes: deque[tuple[float, Callable[[], object]]] = deque()

    def note(self, undo: Callable[[], object]) -> None:
        now, changes = self._clock(), self._changes
        changes.append((now, undo))
        while changes[0][0] < now - SYNC_SECONDS:
            changes.popleft()

    def go_back(self, to: float) -> int:
        """Undoes what was done after this loop time; how many changes that were."""
        count = 0
        while self._changes and self._changes[-1][0] > to:
            self._changes.pop()[1]()
            count += 1
        return count


class Keys:
    """The keys of messages that were written in the last two minutes, each with its sequence."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, int]] = {}

    def find(self, key: str) -> int | None:
        known = self._known.get(key)
        return known[1] if known is not None and self._clock() - known[0] < DEDUPE_SECONDS else None

    def add(self, key: str, seq: int) -> None:
        self._known[key] = (self._clock(), seq)

    def drop(self, key: str) -> None:
        self._known.pop(key, None)

    def keep(self, is_there: Callable[[int], bool]) -> None:
        """After a crash, only the keys of messages that are still there are known."""
        self._known = {key: entry for key, entry in self._known.items() if is_there(entry[1])}
