"""Chains and groups: `a(x) -> b -> c`, `[a(x), b(x)]`, `{ left: a(x), right: b(x) }`.

A chain has no step of its own: the value of a stage goes into the arguments of the next, as data edges. `_` belongs to
the innermost stage; a group passes it to every member. A group is its members, and the list or record of their values
where it is used.
"""

from __future__ import annotations

from collections.abc import Callable

from flowc import ir, syntax
from flowc.builtins import FUNCTIONS
from flowc.types import ERROR, JSON, ListOf, Record, Type

from .calls import call_bare, function_of
from .context import BROKEN, Context, Local, Value
from .expressions import record_of
from .modifiers import modified
from .report import report_mismatch
from .targets import symbol_of
from .types import join

__all__ = ["chain", "list_of", "record", "stage"]


def chain(cx: Context, node: syntax.Chain, bind: str | None = None) -> Value:
    """A chain as an expression."""
    return _stages(cx, node.stages, bind, Context.expr)


def _stages(cx: Context, stages: tuple[syntax.Expression, ...], bind: str | None, first: Callable[..., Value]) -> Value:
    value = first(cx, stages[0])
    before = stages[0]
    for position, node in enumerate(stages[1:], 2):
        cell = Local("_", value, cx.span(before))
        value = stage(cx.derive(pipe=cell), node, bind if position == len(stages) else None)
        if not cell.used and value.type != ERROR:
            labels = (cx.label(before, "its value goes nowhere"),)
            cx.report("value-not-passed", node, labels=labels, stage=cx.source_text(node, "this stage"))
        before = node
    return value


def stage(cx: Context, node: syntax.Expression, bind: str | None = None) -> Value:
    """A stage after the first: what it is decides how the value from the left goes in."""
    match node:
        case syntax.Modified():
            return modified(cx, node, bind, stage)
        case syntax.Chain(stages=stages):
            return _stages(cx, stages, bind, stage)
        case syntax.ListExpr():
            return list_of(cx, node, bind, stage)
        case syntax.RecordExpr():
            return record(cx, node, bind, stage)
        case syntax.Name(id=name) if name != "_" and cx.scope.find(name) is None:
            symbol = symbol_of(cx.module, node)
            if symbol is not None:
                return call_bare(cx, node, symbol, bind)
            if name in FUNCTIONS and name not in cx.module.names and cx.pipe is not None:
                cx.pipe.used = True
                return function_of(cx, node, name, [cx.need(node, cx.pipe.value)])
    return cx.expr(node, bind)


def list_of(
    cx: Context, node: syntax.ListExpr, bind: str | None = None, member: Callable[..., Value] = Context.expr
) -> Value:
    """A list, or a group."""
    exprs: list[ir.Expr] = []
    steps: list[int] = []
    kind: Type | None = None
    for item in node.items:
        value = member(cx, item)
        if value.step is not None:
            steps.append(value.step)
        exprs.append(value.expr)
        kind = value.type if kind is None else join(kind, value.type)
    return Value(["list", *exprs], ListOf(JSON if kind is None else kind), members=tuple(steps))


def record(
    cx: Context, node: syntax.RecordExpr, bind: str | None = None, member: Callable[..., Value] = Context.expr
) -> Value:
    """A record, or a group with names."""
    entries: list[tuple[str, Value] | Value] = []
    steps: list[int] = []
    seen: dict[str, syntax.Node] = {}
    for entry in node.entries:
        value = member(cx, entry.value)
        if isinstance(entry, syntax.Spread):
            value = cx.need(entry.value, value)
            if not isinstance(value.type, Record):
                if value.type != ERROR:
                    report_mismatch(cx, entry.value, value, Record(()), "the spread `...`")
                return BROKEN
            entries.append(value)
            continue
        if entry.key.text in seen:
            labels = (cx.label(seen[entry.key.text], "first here"),)
            cx.report("duplicate-name", entry.key, labels=labels, name=entry.key.text, what="a field of this record")
            continue
        seen[entry.key.text] = entry.key
        if value.step is not None:
            steps.append(value.step)
        entries.append((entry.key.text, value))
    return record_of(entries)._replace(members=tuple(steps))
