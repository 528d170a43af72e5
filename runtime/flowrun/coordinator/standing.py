"""What is owed to workers, and what of it stands in the work stream.

At a take-over the bundles that an earlier leader dispatched are adopted, as far as something of them is still wanted;
what is owed and in none of them is dispatched. So nothing that still runs is dispatched twice, and nothing is
forgotten. (A bundle that leaves the work stream has its results in the inbox before that. Therefore: first look at the
work stream, then at how far the inbox goes, then read it to there, and only then compare.)

The same comparison is made from time to time for bundles that are out for long: a server that lost its power, or was
restored, may have lost them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

from flowrun.dispatch import Dispatcher
from flowrun.dispatched import Attempt, HandedBack, Range
from flowrun.engine.commands import Ready
from flowrun.messages import Bundle, MessageError, Results, unpack

from .events import Complaints

__all__ = ["adopt", "bundles_of", "missing", "note_handed_back"]


def bundles_of(data: Iterable[bytes], complaints: Complaints) -> list[Bundle]:
    """The bundles of the work stream that can be read."""
    found: list[Bundle] = []
    for one in data:
        try:
            found.append(unpack(one, Bundle))
        except MessageError as error:
            complaints.say("a bundle in the work stream is left alone: %s", error)
    return found


def note_handed_back(known: dict[str, HandedBack], event: Results) -> None:
    """Of results of the past: what workers gave back, and what ended a chain, by bundle."""
    for outcome in event.outcomes:
        if outcome.state == "returned" or (outcome.state != "success" and outcome.last < 0):
            attempt = (outcome.run, outcome.scope, outcome.node, outcome.attempt)
            known.setdefault(event.bundle, {}).setdefault(attempt, []).append((outcome.first, outcome.last))


def adopt(
    dispatcher: Dispatcher,
    owed: Iterable[Ready],
    standing: Iterable[Bundle],
    now: float,
    handed_back: Mapping[str, HandedBack] = MappingProxyType({}),
) -> list[Ready]:
    """Adopts bundles; gives what is owed and stands in none of them. `now`: seconds of the dispatcher's clock;
    `handed_back`: by bundle, what stands in it and is in other hands."""
    open_: dict[Attempt, list[Ready]] = {}
    for ready in owed:
        open_.setdefault((ready.run, ready.scope, ready.node, ready.attempt), []).append(ready)

    def take(attempt: Attempt, ranges: list[Range]) -> int:
        left, all_ = open_.get(attempt, []), 0
        for range_ in ranges if left else ():
            left, count = _without(left, range_)
            all_ += count
        if all_:
            open_[attempt] = left
        return all_

    for bundle in standing:
        if bundle.items:
            dispatcher.adopt(bundle, now, take, handed_back.get(bundle.id))
    return [ready for of_attempt in open_.values() for ready in of_attempt]


def missing(dispatcher: Dispatcher, owed: Iterable[Ready]) -> list[Ready]:
    """What is owed and neither waits nor is out."""
    found: list[Ready] = []
    for ready in owed:
        left = [ready]
        for covered in dispatcher.covers(ready):
            left, _ = _without(left, covered)
        found += left
    return found


def _without(readies: list[Ready], covered: Range) -> tuple[list[Ready], int]:
    """What is left of work when a range of its items is taken away, and how many items that range had of it."""
    first, last = covered
    left: list[Ready] = []
    count = 0
    for ready in readies:
        if ready.last < 0:
            count += 1
            continue
        low, high = max(ready.first, first), min(ready.last, last)
        if low >= high:
            left.append(ready)
            continue
        count += high - low
        if ready.first < low:
            left.append(msgspec.structs.replace(ready, last=low))
        if high < ready.last:
            left.append(msgspec.structs.replace(ready, first=high))
    return left, count
