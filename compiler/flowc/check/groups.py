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
from .names import is_broken, unknown_callable
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
        value = _fed(cx, node, value, before, bind if position == len(stages) else None)
        before = node
    return value


def _fed(cx: Context, node: syntax.Expression, value: Value, before: syntax.Expression, bind: str | None) -> Value:
    """A stage, with the value of the one before; it must use it."""
    cell = Local("_", value, cx.span(before))
    found = stage(cx.derive(pipe=cell), node, bind)
    if not cell.used and found.type != ERROR:
        cx.report("value-not-passed", node, stage=cx.source_text(node, "this stage"))
    return found


def _member(cx: Context, node: syntax.Expression) -> Value:
    """A member of a group that is a stage: it receives the value too."""
    assert cx.pipe is not None
    cx.pipe.used = True
    return _fed(cx, node, cx.pipe.value, node, None)


def stage(cx: Context, node: syntax.Expression, bind: str | None = None) -> Value:
    """A stage after the first: what it is decides how the value from the left goes in."""
    match node:
        case syntax.Modified():
            return modified(cx, node, bind, stage)
        case syntax.Chain(stages=stages):
            return _stages(cx, stages, bind, stage)
        case syntax.ListExpr(items=items) if items:
            return list_of(cx, node, bind, _member)
        case syntax.RecordExpr(entries=entries) if entries:
            return record(cx, node, bind, _member)
        case syntax.Name(id=name) if name != "_" and cx.scope.find(name) is None:
            return _bare(cx, node, bind)
    return cx.expr(node, bind)


def _bare(cx: Context, node: syntax.Name, bind: str | None) -> Value:
    """A bare name as a stage: a task, a flow, a composite or a function."""
    assert cx.pipe is not None
    symbol = symbol_of(cx.module, node)
    if symbol is not None:
        return call_bare(cx, node, symbol, bind)
    declared = cx.module.names.get(node.id)
    if declared is not None and declared.kind in ("let", "var"):
        return cx.expr(node, bind)
    cx.pipe.used = True
    if node.id in FUNCTIONS and declared is None:
        return function_of(cx, node, node.id, [cx.need(node, cx.pipe.value)])
    if not is_broken(cx, node.id):
        unknown_callable(cx, node, node.id)
    return BROKEN


def list_of(
    cx: Context, node: syntax.ListExpr, bind: str | None = None, member: Callable[..., Value] = Context.expr
) -> Value:
    """A list, or a group."""
    exprs: list[ir.Expr] = []
    steps: list[int] = []
    made: list[tuple[int, ...]] = []
    kind: Type | None = None
    for item in node.items:
        before = len(cx.out or ())
        value = member(cx, item)
        made.append(_made(cx, before))
        if value.step is not None:
            steps.append(value.step)
        exprs.append(value.expr)
        kind = value.type if kind is None else join(kind, value.type)
    return Value(["list", *exprs], ListOf(JSON if kind is None else kind), members=tuple(steps), made=tuple(made))


def _made(cx: Context, before: int) -> tuple[int, ...]:
    return tuple(step.id for step in (cx.out or ())[before:])


def record(
    cx: Context, node: syntax.RecordExpr, bind: str | None = None, member: Callable[..., Value] = Context.expr
) -> Value:
    """A record, or a group with names."""
    entries: list[tuple[str, Value] | Value] = []
    steps: list[int] = []
    made: list[tuple[int, ...]] = []
    seen: dict[str, syntax.Node] = {}
    for entry in node.entries:
        before = len(cx.out or ())
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
        made.append(_made(cx, before))
        if value.step is not None:
            steps.append(value.step)
        entries.append((entry.key.text, value))
    return record_of(entries)._replace(members=tuple(steps), made=tuple(made))
