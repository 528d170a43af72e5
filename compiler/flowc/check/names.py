"""Findings about names: what is unknown, and what it was probably meant to be."""

from __future__ import annotations

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
        labels = (place.label(later, "bound here"),)
        place.report("used-before-bound", node, labels=labels, name=name)
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
    values = [known for known, what in place.module.names.items() if what.kind in ("let", "var")]
    candidates = [*place.scope.visible(), *values, "run"]
    hint = did_you_mean(name, candidates)
    hint = hint or "bind it first (`name = …`), or declare it as a parameter or with `let`"
    report_unknown(place, node, name, "value", hint)


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
    hint = did_you_mean(name, [*candidates, *FUNCTIONS], "declare it with `task`, or import it with `use`")
    report_unknown(place, node, name, "task, flow or function", hint)


def _not_callable(place: Context, node: syntax.Node, name: str, what: str) -> None:
    hint = "only tasks, flows, composites and functions are called"
    place.report("wrong-kind", node, name=name, what=what, wanted="a task, a flow or a function", hint=hint)


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
}
