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
        self.base = base
        self._starts: list[int] = []
        #: some tokens are followers
        self.chains = False
        end = base
        for item in bundle.items:
            self._starts.append(end)
            if item.first >= 0:
                end += max(0, item.last - item.first)
            else:
                end += 1 + len(item.then)
                self.chains = self.chains or bool(item.then)
        self.end = end
        #: a token per item
        self._plain = end - base == len(bundle.items) and not any(item.first >= 0 for item in bundle.items)

    def find(self, token: int) -> tuple[WorkItem, int]:
        """The item that a token belongs to, and its place there: of a range, the position; of a chain, 0 is the item
        and 1, 2, … are its followers."""
        if self._plain:
            return self.bundle.items[token - self.base], 0
        at = bisect.bisect_right(self._starts, token) - 1
        item = self.bundle.items[at]
        return item, token - self._starts[at] + max(0, item.first)

    def rest(self, token: int) -> range:
        """The tokens of the chain behind this one."""
        if not self.chains:
            return range(0)
        item, place = self.find(token)
        return range(0) if item.first >= 0 else range(token + 1, token + 1 + len(item.then) - place)

    def heads(self, tokens: Iterable[int]) -> Iterator[int]:
        """Those of the tokens that are no followers."""
        if not self.chains:
            return iter(tokens)
        starts = set(self._starts)
        return (t for t in tokens if t in starts or self.find(t)[0].first >= 0)


def follower(item: WorkItem, place: int, inputs: tuple[bytes, ...] = ()) -> WorkItem:
    """The item that the follower at a place (from 1) of a chain is, in its first attempt."""
    return WorkItem(
        item.run, item.plan, item.flow, item.scope, item.block, item.then[place - 1].node, 1, inputs, index=item.index
    )
