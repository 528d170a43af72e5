"""Pools that wait for each other: `pool-deadlock`.

The call of a flow with a `pool` holds its slots until the child run has ended, while the steps inside wait for theirs.
So a pool that is held waits for every pool that is used inside, at any depth. Where these waits make a circle (a pool
that waits for itself is the shortest), runs can hold what each other needs, however many slots there are: enough calls
at once take them all. The waits of the whole program count, since a pool is one thing in the cluster. The bound that a
task sets on its own calls (`concurrency`) counts like a pool: a call takes it first, and then waits for its slots.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from flowc import ir
from flowc.diagnostic import Label
from flowc.source import Span

from .context import Shared

__all__ = ["calls_in", "report_deadlocks"]

#: held pool -> needed pool -> the first call that makes it wait
_Waits = dict[str, dict[str, Span]]


def report_deadlocks(shared: Shared, flows: Mapping[str, ir.Flow]) -> None:
    """Reports every call that closes a circle of waits; the calls before it are its labels."""
    if not shared.pooled_calls:
        return
    uses: dict[str, _Uses] = {}
    waits: _Waits = {}
    for task, pool, span in shared.keyed_calls:  # a key is taken before the slots
        waits.setdefault(_calls_of(task), {}).setdefault(pool, span)
    for pool, callee, span in dict.fromkeys(shared.pooled_calls):  # a composite is read once more where it is called
        for needed in _needs(callee.key, flows, uses):
            path = _path(needed, pool, waits)
            if path is None:
                waits.setdefault(pool, {}).setdefault(needed, span)
                continue
            labels = tuple(
                Label(span=waits[held][then], text=f"holds `{held}` while it waits for `{then}`")
                for held, then in itertools.pairwise(path)
            )
            way = " → ".join(f"`{name}`" for name in (pool, *path))
            shared.findings.add("pool-deadlock", span, labels=labels, flow=callee.name, pool=pool, way=way)
            break


def _calls_of(task: str) -> str:
    """How the bound of a task's calls is named among the pools."""
    return f"concurrency of {task.rpartition(':')[2]}"


def _path(start: str, end: str, waits: _Waits) -> tuple[str, ...] | None:
    """A way along the waits; None if there is none."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen = {start}
    while ways:
        way = ways.pop()
        if way[-1] == end:
            return way
        following = [name for name in waits.get(way[-1], {}) if name not in seen]
        seen.update(following)
        ways += [(*way, name) for name in following]
    return None


class _Uses(NamedTuple):
    """What a flow uses by itself, in written order."""

    #: pools, and bounds of tasks
    pools: dict[str, None]
    #: the flows that it calls, and waits for
    calls: dict[str, None]


def _needs(key: str, flows: Mapping[str, ir.Flow], known: dict[str, _Uses]) -> dict[str, None]:
    """The pools (and bounds of tasks) that a flow uses, with the flows that it calls, which may be itself."""
    found: dict[str, None] = {}
    reached = {key: None}
    waiting = [key]
    while waiting:
        flow = waiting.pop()
        if flow not in known:
            known[flow] = _uses_of(flows.get(flow))
        found.update(known[flow].pools)
        waiting += [called for called in known[flow].calls if called not in reached]
        reached.update(known[flow].calls)
    return found


def _uses_of(flow: ir.Flow | None) -> _Uses:
    found = _Uses({}, {})
    if flow is None:
        return found
    for step in calls_in((flow.body, *(handler.body for handler in flow.handlers))):
        if step.settings.pool is not None:
            found.pools[step.settings.pool] = None
        if step.settings.concurrency is not None and step.settings.concurrency.task:
            found.pools[_calls_of(step.settings.concurrency.task)] = None
        if isinstance(step, ir.ChildStep) and not step.detached:
            found.calls[step.flow] = None
    return found


def calls_in(blocks: Iterable[ir.Block], *, handlers: bool = True) -> Iterator[ir.CallStep | ir.ChildStep]:
    """The calls in these blocks, at every depth; `handlers`: also those behind `on …`."""
    for block in blocks:
        for step in block.steps:
            match step:
                case ir.CallStep() | ir.ChildStep():
                    yield step
                case ir.BranchStep(arms=arms):
                    yield from calls_in(arms, handlers=handlers)
                case ir.EachStep(body=body) | ir.RepeatStep(body=body):
                    yield from calls_in((body,), handlers=handlers)
                case ir.WatchStep(body=body) if handlers:
                    yield from calls_in((body,))
                case ir.CatchStep(body=body, handler=handler):
                    yield from calls_in((body, handler), handlers=handlers)
                case ir.UsingStep(setup=setup, body=body, cleanup=cleanup):
                    yield from calls_in((setup, body, cleanup), handlers=handlers)
