"""Flows that start each other for ever: `trigger-loop`.

A flow starts those that a trigger `after_flow` starts after it, and those that a trigger `dataset` starts when one of
its steps updates it, at any depth. A circle of these never ends, since each run starts the next one. `all_of` needs all
its parts, so it counts only what brings about each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from flowc import ir, syntax
from flowc.diagnostic import Label
from flowc.resolve import Symbol
from flowc.source import Span

from .context import Context, Shared
from .pools import calls_in

__all__ = ["report_loops"]

#: flow -> the flows that it starts, each with the place of the trigger
_Starts = dict[str, dict[str, Span]]


def report_loops(shared: Shared, flows: Mapping[Symbol, ir.Flow]) -> None:
    """Reports every circle once, at the trigger that closes it, with labels at the others."""
    if not any(flow.triggers for flow in flows.values()):
        return
    starts = _starts(shared, flows)
    told: set[str] = set()
    for name in starts:
        path = [] if name in told else _circle(name, starts)
        if path and told.isdisjoint(path):
            told.update(path)
            _report(shared, path, starts)


def _starts(shared: Shared, flows: Mapping[Symbol, ir.Flow]) -> _Starts:
    by_key = {symbol.key: flow for symbol, flow in flows.items()}
    updaters: dict[str, list[str]] = {}
    for symbol, flow in flows.items():
        for dataset in dict.fromkeys(_updates(flow, by_key)):
            updaters.setdefault(dataset, []).append(symbol.name)
    starts: _Starts = {symbol.name: {} for symbol in flows}
    for symbol, flow in flows.items():
        places = _places(shared, symbol)
        for trigger in flow.triggers:
            for other in _feeders(trigger.source, updaters):
                if other in starts:
                    starts[other].setdefault(symbol.name, places[trigger.name])
    return starts


def _feeders(source: ir.TriggerSource, updaters: Mapping[str, list[str]]) -> dict[str, None]:
    """The flows that bring it about."""
    match source:
        case ir.FlowEnd(flow=flow):
            return {flow: None}
        case ir.Dataset(name=name):
            return dict.fromkeys(updaters.get(name, ()))
        case ir.AnyOf(sources=parts):
            return {flow: None for part in parts for flow in _feeders(part, updaters)}
        case ir.AllOf(sources=parts):
            first, *rest = [_feeders(part, updaters) for part in parts]
            return {flow: None for flow in first if all(flow in other for other in rest)}
    return {}


def _places(shared: Shared, symbol: Symbol) -> dict[str, Span]:
    place = Context(shared, symbol.module)
    assert isinstance(symbol.node, syntax.FlowDecl)
    found: dict[str, Span] = {}
    for statement in symbol.node.body.statements:
        if isinstance(statement, syntax.TriggerStmt):
            found.setdefault(statement.name.text, place.span(statement.value))
    return found


def _updates(flow: ir.Flow, by_key: Mapping[str, ir.Flow]) -> Iterator[str]:
    """The datasets that a flow updates, in child runs, too."""
    waiting, seen = [flow], {flow.name}
    while waiting:
        found = waiting.pop()
        for step in calls_in(_blocks(found)):
            yield from step.settings.updates
            child = by_key.get(step.flow) if isinstance(step, ir.ChildStep) else None
            if child is not None and child.name not in seen:
                seen.add(child.name)
                waiting.append(child)


def _blocks(flow: ir.Flow) -> Iterable[ir.Block]:
    return (flow.body, *(handler.body for handler in flow.handlers))


def _circle(start: str, starts: _Starts) -> list[str]:
    """The shortest way from a flow back to itself; empty if there is none."""
    ways = [[start]]
    seen: set[str] = set()
    for way in ways:  # grows on the way
        for name in starts[way[-1]]:
            if name == start:
                return way
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []


def _report(shared: Shared, path: list[str], starts: _Starts) -> None:
    steps = list(zip(path, [*path[1:], path[0]], strict=True))
    labels = tuple(Label(span=starts[one][other], text=f"`{other}` is started by `{one}`") for one, other in steps[:-1])
    last, first = steps[-1]
    way = " → ".join(f"`{name}`" for name in (*path, path[0]))
    shared.findings.add("trigger-loop", starts[last][first], labels=labels, way=way)
