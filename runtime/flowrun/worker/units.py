"""What a bundle's tokens stand for: consecutive numbers, one per unit, in the order of the items.

A unit is a work item, one position of an item that is a range, or a follower of an item (`WorkItem.then`): item and
followers are a *chain*, of which only the first token is handed out.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator

from flowrun.messages import Bundle, WorkItem

__all__ = ["Units", "follower"]


class Units:
    """The tokens base..end-1 of a bundle."""

    def __init__(self, bundle: Bundle, base: int) -> None:
        self.bundle = bundle
        #: its units are executed together: only the first that is left is handed out
        self.batch = bundle.batch
        self.base, self.end = base, base + len(bundle.items)
        self.items = bundle.items
        #: the first token of each item, if there is not just one per item
        self._starts: list[int] = []
        #: some tokens are followers
        self.chains = False
        #: a token per item, in their order
        self.plain = True
        for item in bundle.items:
            if item.first >= 0 or item.then:
                self._count()
                break

    def _count(self) -> None:
        self.plain, self.end = False, self.base
        for item in self.items:
            self._starts.append(self.end)
            if item.first >= 0:
                self.end += max(0, item.last - item.first)
            else:
                self.end += 1 + len(item.then)
                self.chains = self.chains or bool(item.then)

    def find(self, token: int) -> tuple[WorkItem, int]:
        """The item that a token belongs to, and its place there: of a range, the position; of a chain, 0 is the item
        and 1, 2, … are its followers."""
        if self.plain:
            return self.items[token - self.base], 0
        at = bisect.bisect_right(self._starts, token) - 1
        item = self.items[at]
        return item, token - self._starts[at] + max(0, item.first)

    def rest(self, token: int) -> range:
        """The tokens of the chain behind this one."""
        if not self.chains:
            return range(0)
        item, place = self.find(token)
        return range(0) if item.first >= 0 else range(token + 1, token + 1 + len(item.then) - place)

    def heads(self, tokens: Iterable[int]) -> Iterator[int]:
        """Those of the tokens that are no followers; of a batch the first."""
        if self.batch:
            return iter(list(tokens)[:1])
        if not self.chains:
            return iter(tokens)
        starts = set(self._starts)
        return (t for t in tokens if t in starts or self.find(t)[0].first >= 0)


def follower(item: WorkItem, place: int, inputs: tuple[bytes, ...] = ()) -> WorkItem:
    """The item that the follower at a place (from 1) of a chain is, in its first attempt."""
    return WorkItem(
        item.run, item.plan, item.flow, item.scope, item.block, item.then[place - 1].node, 1, inputs, index=item.index
    )
