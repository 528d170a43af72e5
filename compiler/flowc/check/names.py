"""Findings about names: what is unknown, and what it was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterator

from flowc import syntax
from flowc.builtins import FUNCTIONS
from flowc.suggest import did_you_mean

from .context import Context

__all__ = ["is_broken", "report_unknown", "unknown_callable", "unknown_value"]


def report_unknown(place: Context, node: syntax.Node, name: str, kind: str, hint: str) -> None:
    """Reports an unknown name once; nothing where its declaration was reported already."""
    if is_broken(place, name):
        return
    place.report("unknown-name", node, name=name, kind=kind, hint=hint)


def is_broken(place: Context, name: str) -> bool:
    """Whether the declaration, import or binding of the name is reported already."""
    return name in place.module.broken


def unknown_value(place: Context, node: syntax.Name) -> None:
    """Reports a name that stands for no value here."""
    name = node.id
    later = place.scope.find_later(name)
    if later is not None:
        _too_early(place, node, later)
        return
    symbol = place.module.names.get(name)
    if symbol is not None:
        what = f"a {symbol.kind}"
        place.report("wrong-kind", node, name=name, what=what, wanted="a value", hint=_HOW.get(symbol.kind, ""))
        return
    if name in FUNCTIONS:
        hint = f"call it: `{FUNCTIONS[name].usage}`"
        place.report("wrong-kind", node, name=name, what="a function", wanted="a value", hint=hint)
        return
    if name == "run":
        hint = "it is there in flows only: pass what is needed as an argument"
        report_unknown(place, node, name, "value", hint)
        return
    values = [known for known, what in place.module.names.items() if what.kind in ("let", "var")]
    candidates = [*place.scope.visible(), *values, "run"]
    if name.isupper() and place.flow is None and not place.is_constant:
        hint = f"a variable of the shell is written `${name}` or `$${{{name}}}`"
        report_unknown(place, node, name, "value", hint)
        return
    hint = _CONSTANTS.get(name) or did_you_mean(name, candidates)
    hint = hint or "bind it first (`name = …`), or declare it as a parameter or with `let`"
    report_unknown(place, node, name, "value", hint)


def _too_early(place: Context, node: syntax.Name, later: syntax.Node) -> None:
    """Reports a use before the binding; where that binding needs this one, a cycle."""
    bindings = place.scope.bindings()
    owner = next((name for name, known in bindings.items() if known.start <= node.start < known.end), None)
    path = _path(node.id, owner, bindings) if owner is not None else None
    if owner is None or path is None:
        place.report("used-before-bound", node, labels=(place.label(later, "bound here"),), name=node.id)
        return
    way = " → ".join(f"`{name}`" for name in (owner, *path))
    labels = tuple(place.label(bindings[name], f"`{name}` is bound here") for name in path if name != owner)
    place.report("cycle", node, labels=labels, what=f"`{owner}`", path=way)


def _path(start: str, end: str, bindings: dict[str, syntax.Node]) -> list[str] | None:
    """The way from one binding to another over the names that they use."""
    ways = {start: [start]}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name == end:
            return ways[name]
        for used in names_in(bindings[name]):
            if used in bindings and used not in ways:
                ways[used] = [*ways[name], used]
                waiting.append(used)
    return None


def names_in(node: syntax.Node) -> Iterator[str]:
    """Every name that a part of the tree uses as a value."""
    waiting: list[object] = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, syntax.Name):
            yield part.id
        elif isinstance(part, syntax.Call):
            waiting += [arg.value for arg in part.args]
        elif isinstance(part, syntax.Node):
            waiting += [getattr(part, field) for field in part.__struct_fields__]
        elif isinstance(part, tuple):
            waiting += part


def unknown_callable(place: Context, node: syntax.Node, name: str) -> None:
    """Reports a name that cannot be called."""
    local = place.scope.find(name)
    if local is not None:
        local.used = True
        _not_callable(place, node, name, "a value")
        return
    symbol = place.module.names.get(name)
    if symbol is not None:
        _not_callable(place, node, name, f"a {symbol.kind}")
        return
    candidates = [known for known, what in place.module.names.items() if what.kind in ("task", "flow", "composite")]
    value, _, method = name.rpartition(".")
    if value and method in FUNCTIONS:
        hint = f"values have no methods: write `{method}({value})`"
        report_unknown(place, node, name, "task, flow or function", hint)
        return
    hint = _CALLS.get(name) or did_you_mean(
        name, [*candidates, *FUNCTIONS], "declare it with `task`, or import it with `use`"
    )
    report_unknown(place, node, name, "task, flow or function", hint)


def _not_callable(place: Context, node: syntax.Node, name: str, what: str) -> None:
    hint = "only tasks, flows, composites and functions are called"
    place.report("wrong-kind", node, name=name, what=what, wanted="a task, a flow or a function", hint=hint)


#: values of other languages
_CONSTANTS = {
    "None": "write `null`", "nil": "write `null`", "undefined": "write `null`", "NULL": "write `null`",
    "True": "write `true`", "False": "write `false`",
    "event": "it is there in a trigger only: pass what is needed with `args: { parameter: event.body }`",
}  # fmt: skip
#: functions of other languages
_CALLS = {
    "group": "a group is `[a(x), b(x)]`",
    "chord": "a chord is `[a(x), b(x)] -> body`",
    "chain": "a chain is `a(x) -> b`",
    "map": "write `each x in xs { return f(x) }`",
    "enumerate": "write `zip(range(len(xs)), xs)`",
    "filter": "write `[x for x in xs if …]`",
    "str": "write `string(…)`",
    "list": "write `[…]`",
    "dict": "write `{ … }`",
    "print": "import a task that does it: `use std.notify { log }`",
    "today": "the day of the run is `run.date`",
    "now": "the time of the run is `run.triggered_at`; a task that reads the clock is `use std.time { now }`",
    "cron": "write `trigger name = cron(…)` at the head of the flow",
    "interval": "write `trigger name = interval(…)` at the head of the flow",
    "webhook": "write `trigger name = webhook(…)` at the head of the flow",
    "after_flow": "write `trigger name = after_flow(…)` at the head of the flow",
    "dataset": "write `updates: dataset(…)` in the settings of a step, or `trigger name = dataset(…)`",
    "env": 'expressions read no environment: use a parameter, or `secret("key")`',
    "getenv": 'expressions read no environment: use a parameter, or `secret("key")`',
    "size": "write `len(…)`",
    "length": "write `len(…)`",
}

_HOW = {
    "task": "call it: `name(…)`",
    "flow": "call it: `name(…)`",
    "composite": "call it: `name(…)`",
    "type": "a type stands after `:` only",
    "connection": "connections are named in a task's `uses: [name]`",
    "pool": "pools are named in settings: `with { pool: name }`",
    "queue": "queues are named in settings: `with { queue: name }`",
    "limit": "limits are named in settings",
    "sla": "service levels are named in settings",
    "signal": "signals are waited for: `use std.wait { signal }`, then `signal(name)`",
}
