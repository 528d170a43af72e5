"""Bundles that are out: dispatched, or found in the work stream at a take-over, and not yet done with.

A bundle is done with when each of its items has an outcome, was lost or is no longer wanted. Of a chain that one worker
runs through, every part has an outcome up to the first that does not succeed; with that one, those behind it are done
with as well. A bundle whose items are all done with, but some of them because they were revoked, no longer holds a
place in the window, yet may still be worked on: it stays known until a worker reports or the bundle is gone from the
work stream, so that workers can be told again.

All bookkeeping is O(items of a bundle); what is out of a run is found by the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import inf

import msgspec

from .backlog import Lane
from .engine.commands import Revoke
from .messages import Bundle, Outcome, WorkItem

__all__ = ["Attempt", "Dispatched", "HandedBack", "Range", "attempts_of"]

#: (run, scope, node, attempt)
Attempt = tuple[str, int, int, int]
#: items first..last-1; (-1, -1) of what is no range
Range = tuple[int, int]
#: what workers gave back of a bundle, and the attempts that did not succeed: what follows them in a chain is not in it
HandedBack = dict[Attempt, list[Range]]


def attempts_of(item: WorkItem) -> Iterator[tuple[Attempt, int]]:
    """The attempts of an item and of those that follow it, with how many outcomes each has."""
    yield (item.run, item.scope, item.node, item.attempt), 1 if item.last < 0 else item.last - item.first
    for then in item.then:
        yield (item.run, item.scope, then.node, 1), 1


class _Out:
    """One bundle."""

    __slots__ = ("bundle", "chains", "handed_back", "lane", "left", "since", "unwanted")

    def __init__(self, bundle: Bundle, lane: Lane) -> None:
        self.bundle = bundle
        #: whose window it has a place in; None: it has none any more
        self.lane: Lane | None = lane
        #: attempt -> outcomes that are still to come
        self.left: dict[Attempt, int] = {}
        #: of an attempt that has followers: those behind it
        self.chains: dict[Attempt, list[Attempt]] | None = None
        #: what was revoked and may still be worked on: attempt -> how it was said; None: its whole run
        self.unwanted: dict[Attempt, Revoke | None] | None = None
        #: its items go out again in other bundles, before it is done with; and those that end a chain
        self.handed_back: HandedBack | None = None
        #: since when it certainly stood in the work stream, in seconds
        self.since = inf

    def hand_back(self, attempt: Attempt, range_: Range) -> None:
        if self.handed_back is None:
            self.handed_back = {}
        self.handed_back.setdefault(attempt, []).append(range_)

    def held(self, attempt: Attempt, item: WorkItem) -> list[Range]:
        """What was not handed back of an attempt: of the item itself, or of one that follows it."""
        handed_back = self.handed_back.get(attempt, ()) if self.handed_back else ()
        if item.last < 0 or item.node != attempt[2]:
            return [] if handed_back else [(-1, -1)]
        ranges = [(item.first, item.last)]
        for first, last in handed_back:
            ranges = [
                (low, high)
                for start, end in ranges
                for low, high in ((start, min(end, first)), (max(start, last), end))
                if low < high
            ]
        return ranges


class Dispatched:
    """All bundles of a partition that are out."""

    def __init__(self) -> None:
        self._out: dict[str, _Out] = {}
        #: those that are done with, of which workers handed something back: until it is known that they do not stand
        #: any more, for to a successor they look as if that were in them
        self._leftovers: dict[str, _Out] = {}
        #: run -> the bundles that hold work of it: few, for few are out at a time
        self.of_run: dict[str, tuple[str, ...]] = {}

    def __len__(self) -> int:
        """Bundles that hold a place in the window."""
        return sum(out.lane is not None for out in self._out.values())

    # ---- what goes out

    def add(self, bundle: Bundle, lane: Lane) -> None:
        """A bundle goes out, and every outcome of it is still to come."""
        out = _Out(bundle, lane)
        left, of_run, name = out.left, self.of_run, bundle.id
        this = (name,)
        for item in bundle.items:
            run = item.run
            attempt = (run, item.scope, item.node, item.attempt)
            left[attempt] = left.get(attempt, 0) + (1 if item.last < 0 else item.last - item.first)
            if item.then:
                self._expect_followers(out, item)
            bundles = of_run.setdefault(run, this)
            if bundles[-1] is not name:
                of_run[run] = bundles + this
        self._out[name] = out
        lane.out += 1

    def adopt(
        self,
        bundle: Bundle,
        lane: Lane,
        now: float,
        open_: Callable[[Attempt, list[Range]], int],
        handed_back: HandedBack | None = None,
    ) -> bool:
        """A bundle that an earlier leader dispatched; `open_` tells how many outcomes of an attempt are still wanted
        of it, of those ranges. False if none are."""
        self.add(bundle, lane)
        self.stands(bundle.id, now)
        out = self._out[bundle.id]
        out.handed_back = handed_back
        out.left.clear()
        for item in bundle.items:
            behind = ended = False
            for attempt, _ in attempts_of(item):
                ended = ended or (item.last < 0 and attempt in (handed_back or ()))
                if ended:
                    continue
                count = 1 if behind else open_(attempt, out.held(attempt, item))
                if count:
                    out.left[attempt] = out.left.get(attempt, 0) + count
                    behind = True
        if out.left:
            return True
        self._done(bundle.id, out)
        return False

    def stands(self, bundle: str, now: float) -> None:
        """The work stream has it."""
        out = self._out.get(bundle) or self._leftovers.get(bundle)
        if out is not None:
            out.since = now

    def _expect_followers(self, out: _Out, item: WorkItem) -> None:
        chain = [attempt for attempt, _ in attempts_of(item)]
        if out.chains is None:
            out.chains = {}
        for attempt in chain[:-1]:
            out.chains[attempt] = chain
        out.left.update(dict.fromkeys(chain[1:], 1))

    # ---- what comes back

    def bundle(self, bundle: str) -> Bundle | None:
        """What went out under this id, while it is known."""
        out = self._out.get(bundle)
        return out.bundle if out else None

    def outcomes(self, bundle: str, outcomes: Iterable[Outcome]) -> None:
        """Results of it came."""
        out = self._out.get(bundle)
        if out is None:
            return
        left, unwanted = out.left, out.unwanted
        for outcome in outcomes:
            attempt = (outcome.run, outcome.scope, outcome.node, outcome.attempt)
            if unwanted is not None:
                unwanted.pop(attempt, None)
            count = left.get(attempt)
            if count is None:
                continue
            count -= 1 if outcome.last < 0 else outcome.last - outcome.first
            ends_chain = out.chains is not None and outcome.state != "success"
            if ends_chain or outcome.state == "returned":
                out.hand_back(attempt, (outcome.first, outcome.last))
            if count > 0:
                left[attempt] = count
                continue
            del left[attempt]
            if ends_chain:
                self._end_chain(out, attempt)
        if not left:
            self._settled(bundle, out)

    def _end_chain(self, out: _Out, attempt: Attempt) -> None:
        """Those behind an attempt that did not succeed have no outcome."""
        assert out.chains is not None
        chain = out.chains.get(attempt)
        if chain is not None:
            for behind in chain[chain.index(attempt) + 1 :]:
                out.left.pop(behind, None)

    def gone(self, bundle: str) -> Bundle | None:
        """It was lost, or is not in the work stream any more. Gives what it was, if it was not done with."""
        self._leftovers.pop(bundle, None)
        out = self._out.pop(bundle, None)
        if out is None:
            return None
        self._leave_window(out)
        of_run = self.of_run
        for item in out.bundle.items:
            bundles = of_run.get(item.run, ())
            if bundles == (bundle,):
                del of_run[item.run]
            elif bundle in bundles:
                of_run[item.run] = tuple(other for other in bundles if other != bundle)
        return out.bundle

    # ---- what is no longer wanted

    def revoke(self, revoke: Revoke) -> bool:
        """Part of a run is no longer wanted. True if some of it is out."""
        some = False
        for bundle in self.of_run.get(revoke.run, ()):
            out = self._out[bundle]
            for attempt in self._matching(out, revoke):
                some = True
                whole = revoke.last < 0
                left = 0 if whole else out.left[attempt] - self._overlap(out, attempt, revoke)
                self._unwant(bundle, out, attempt, left, revoke)
        return some

    def end_run(self, run: str) -> bool:
        """Nothing of a run is wanted any more. True if some of it is out."""
        some = False
        for bundle in self.of_run.get(run, ()):
            out = self._out[bundle]
            for attempt in [attempt for attempt in out.left if attempt[0] == run]:
                some = True
                self._unwant(bundle, out, attempt, 0, None)
        return some

    @staticmethod
    def _matching(out: _Out, revoke: Revoke) -> list[Attempt]:
        node = (revoke.run, revoke.scope, revoke.node)
        if revoke.attempt:
            attempt = (*node, revoke.attempt)
            return [attempt] if attempt in out.left else []
        return [attempt for attempt in out.left if attempt[:3] == node]

    @staticmethod
    def _overlap(out: _Out, attempt: Attempt, revoke: Revoke) -> int:
        """Items of the revoked range that this bundle holds."""
        count = 0
        for item in out.bundle.items:
            if (item.run, item.scope, item.node, item.attempt) == attempt:
                count += max(min(item.last, revoke.last) - max(item.first, revoke.first), 0)
        return count

    def _unwant(self, bundle: str, out: _Out, attempt: Attempt, left: int, revoke: Revoke | None) -> None:
        if out.unwanted is None:
            out.unwanted = {}
        out.unwanted[attempt] = revoke
        if left > 0:
            out.left[attempt] = left
            return
        del out.left[attempt]
        if not out.left:
            self._settled(bundle, out)

    def unwanted(self) -> set[Revoke | str]:
        """What workers may still be working on although nobody wants it: parts of runs, and whole runs."""
        found: set[Revoke | str] = set()
        for out in self._out.values():
            for attempt, revoke in (out.unwanted or {}).items():
                found.add(attempt[0] if revoke is None else revoke)
        return found

    def handed_back(self) -> dict[str, HandedBack]:
        """Of bundles that may stand: what workers handed back. Nobody else changes what this gives."""
        return {
            bundle: {attempt: ranges[:] for attempt, ranges in out.handed_back.items()}
            for bundle, out in (*self._out.items(), *self._leftovers.items())
            if out.handed_back
        }

    # ---- what stands

    def older_than(self, since: float) -> set[str]:
        """Bundles that stood in the work stream before that time."""
        return {bundle for every in (self._out, self._leftovers) for bundle, out in every.items() if out.since < since}

    def covers(self, run: str, scope: int, node: int, attempt: int) -> list[Range]:
        """The ranges of items of an attempt that are out and were not handed back, as (first, last); (-1, -1) of what
        is no range."""
        found: list[Range] = []
        key = (run, scope, node, attempt)
        for bundle in self.of_run.get(run, ()):
            out = self._out[bundle]
            if key not in out.left:
                continue
            for item in out.bundle.items:
                if item.run != run or item.scope != scope:
                    continue
                if item.node == node and item.attempt == attempt:
                    found += out.held(key, item)
                elif any(then.node == node for then in item.then):
                    found.append((-1, -1))
        return found

    # ---- the window

    def _settled(self, bundle: str, out: _Out) -> None:
        """No outcome of it is waited for."""
        self._leave_window(out)
        if not out.unwanted:
            self._done(bundle, out)

    def _done(self, bundle: str, out: _Out) -> None:
        """Nobody works on it. That its worker said so to the server is not known."""
        self.gone(bundle)
        if out.handed_back:
            out.bundle = msgspec.structs.replace(out.bundle, items=())  # which are not needed any more
            self._leftovers[bundle] = out

    @staticmethod
    def _leave_window(out: _Out) -> None:
        if out.lane is not None:
            out.lane.out -= 1
            out.lane = None
