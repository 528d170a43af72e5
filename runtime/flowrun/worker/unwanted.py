"""What a worker was told to stop: runs that ended, and steps or items that are no longer wanted.

It is remembered for a while, for a bundle may still stand in the work stream when the note comes.
"""

from __future__ import annotations

from collections import OrderedDict

from flowrun.messages import Revoked, WorkItem

__all__ = ["Unwanted"]

#: runs, and steps, that are remembered
ROOM = 10_000


class Unwanted:
    """Asked before and while a unit runs."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, None] = OrderedDict()
        #: by run, scope and node
        self._steps: OrderedDict[tuple[str, int, int], list[Revoked]] = OrderedDict()

    def end_run(self, run: str) -> None:
        """Nothing of this run is wanted any more."""
        self._runs[run] = None
        if len(self._runs) > ROOM:
            self._runs.popitem(last=False)

    def revoke(self, note: Revoked) -> None:
        self._steps.setdefault((note.run, note.scope, note.node), []).append(note)
        if len(self._steps) > ROOM:
            self._steps.popitem(last=False)

    @property
    def empty(self) -> bool:
        """Nothing is unwanted, as far as this worker was told."""
        return not self._runs and not self._steps

    def concerns(self, item: WorkItem) -> bool:
        """Some of its units may be unwanted."""
        if item.run in self._runs:
            return True
        nodes = (item.node, *(then.node for then in item.then))
        return any((item.run, item.scope, node) in self._steps for node in nodes)

    def holds(self, item: WorkItem, index: int) -> bool:
        """This unit is unwanted: a position of the item's range, or -1."""
        if item.run in self._runs:
            return True
        notes = self._steps.get((item.run, item.scope, item.node), ())
        return any(
            note.attempt in (0, item.attempt) and (note.last < 0 or note.first <= index < note.last) for note in notes
        )
