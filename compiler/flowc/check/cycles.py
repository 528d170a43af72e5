"""Calls in a circle: a flow that starts itself, a composite that is put into itself, a task that its handler calls.

Depth first over the calls that the elaboration noted, in written order, without recursion; every circle is told once,
at the call that closes it, with labels at the others.
"""

from __future__ import annotations

from collections.abc import Container

from flowc.catalog import Findings
from flowc.diagnostic import Label
from flowc.resolve import Symbol
from flowc.source import Span

__all__ = ["report_circles"]

Edge = tuple[Symbol, Span]


def report_circles(calls: list[tuple[Symbol, Symbol, Span]], bounded: Container[Symbol], findings: Findings) -> None:
    """Reports every circle among the calls of flows, composites and handlers of tasks. One through a flow that bounds
    how deep it goes (`max_depth`) is none."""
    edges: dict[Symbol, dict[Symbol, Span]] = {}
    for caller, callee, span in calls:
        if caller not in bounded and callee not in bounded:
            edges.setdefault(caller, {}).setdefault(callee, span)
    done: set[Symbol] = set()
    for start in edges:
        if start not in done:
            _search(start, edges, done, findings)


def _search(start: Symbol, edges: dict[Symbol, dict[Symbol, Span]], done: set[Symbol], findings: Findings) -> None:
    path: list[Symbol] = [start]
    open_ = {start}
    waiting = [iter(edges.get(start, {}).items())]
    while path:
        step = next(waiting[-1], None)
        if step is None:
            waiting.pop()
            last = path.pop()
            open_.discard(last)
            done.add(last)
            continue
        callee, _ = step
        if callee in open_:
            _report(path[path.index(callee) :], edges, findings)
        elif callee not in done:
            path.append(callee)
            open_.add(callee)
            waiting.append(iter(edges.get(callee, {}).items()))


def _report(circle: list[Symbol], edges: dict[Symbol, dict[Symbol, Span]], findings: Findings) -> None:
    following = [*circle[1:], circle[0]]
    spans = [edges[caller][callee] for caller, callee in zip(circle, following, strict=True)]
    way = " → ".join(f"`{symbol.name}`" for symbol in (*circle, circle[0]))
    labels = tuple(
        Label(span=span, text=f"`{caller.name}` calls `{callee.name}`")
        for caller, callee, span in zip(circle[:-1], following[:-1], spans[:-1], strict=True)
    )
    if any(symbol.kind == "flow" for symbol in circle):
        findings.add("recursive-flow", spans[-1], labels=labels, path=way)
    else:
        findings.add("cycle", spans[-1], labels=labels, what=f"`{circle[0].name}`", path=way)
