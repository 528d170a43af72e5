"""Work that was cancelled while nobody led the partition.

Its cancellation was read at the take-over, so no worker was told, and its bundle is not among those that this leader
sent. Whatever stood in the work stream at the take-over, still stands a moment later and is not wanted is told to
workers, again and again until the bundle is done with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from flowrun.dispatched import attempts_of
from flowrun.engine import Engine
from flowrun.engine.commands import Revoke
from flowrun.messages import Bundle, WorkItem
from flowrun.transport import Transport

from .events import Complaints
from .standing import bundles_of

__all__ = ["stop_leftovers"]

#: the time between two looks grows to so many times the first
_SLOWEST = 8


async def stop_leftovers(
    transport: Transport,
    partition: str,
    standing: Sequence[Bundle],
    engine: Engine,
    complaints: Complaints,
    tell: Callable[[Revoke | str], None],
    wait: float,
) -> None:
    """Returns when none is left. `standing`: at the take-over; `wait`: before the first look, in seconds."""
    left = {bundle.id for bundle in standing}
    slowest = _SLOWEST * wait
    while left:
        await asyncio.sleep(wait)
        found = [one for one in bundles_of(await transport.standing_work(partition), complaints) if one.id in left]
        unwanted = {bundle.id: list(_unwanted(bundle, engine)) for bundle in found}
        for what in {what for told in unwanted.values() for what in told}:
            tell(what)
        left = {bundle for bundle, told in unwanted.items() if told}
        wait = min(2 * wait, slowest)


def _unwanted(bundle: Bundle, engine: Engine) -> Iterator[Revoke | str]:
    """Runs that have ended, and what others do not want any more."""
    for item in bundle.items:
        if not engine.is_live(item.run) or _has_ended(engine, item.run):
            yield item.run
        elif not engine.wants(item):
            yield from _attempts(item)


def _has_ended(engine: Engine, run: str) -> bool:
    known = engine.peek(run)
    return known is not None and known.ended


def _attempts(item: WorkItem) -> Iterator[Revoke]:
    """The item and those that follow it."""
    for (run, scope, node, attempt), _ in attempts_of(item):
        first, last = (item.first, item.last) if node == item.node else (-1, -1)
        yield Revoke(run, scope, node, attempt, first, last)
