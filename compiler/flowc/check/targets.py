"""What a call calls, and which expressions hold calls that would become steps."""

from __future__ import annotations

from collections.abc import Iterator

from flowc import syntax
from flowc.resolve import Module, Symbol

__all__ = ["RULES", "callee_name", "first_call", "symbol_of"]

#: the rules of `after`
RULES = (
    "ok", "failed", "done", "any_ok", "any_failed", "any_done", "none_failed", "none_failed_any_ok", "none_skipped",
    "skipped", "done_any_ok", "always", "at_least", "not_yet",
)  # fmt: skip

_CALLABLE = frozenset({"task", "flow", "composite"})


def callee_name(node: syntax.Expression) -> str | None:
    """The name that a call or a bare stage names: `a`, `std.http.get`; None for any other expression."""
    if isinstance(node, syntax.Name):
        return node.id
    if isinstance(node, syntax.Attr) and not node.optional:
        inner = callee_name(node.value)
        return None if inner is None else f"{inner}.{node.name.text}"
    return None


def symbol_of(module: Module, node: syntax.Expression) -> Symbol | None:
    """The task, flow or composite that an expression names."""
    symbol = module.names.get(node.id) if isinstance(node, syntax.Name) else None
    return symbol if symbol is not None and symbol.kind in _CALLABLE else None


def first_call(module: Module, node: syntax.Expression) -> syntax.Expression | None:
    """The first call in an expression that would become a step."""
    waiting: list[syntax.Expression] = [node]
    while waiting:
        part = waiting.pop()
        match part:
            case syntax.Call(func=func) if symbol_of(module, func) is not None:
                return part
            case syntax.Each() | syntax.Repeat() | syntax.Chain():
                return part
            case syntax.Match(arms=arms) if any(isinstance(arm.body, syntax.Block) for arm in arms):
                return part
        waiting.extend(reversed(list(_children(part))))
    return None


def _children(node: syntax.Expression) -> Iterator[syntax.Expression]:
    match node:
        case syntax.Call(func=func, args=args):
            yield func
            yield from (arg.value for arg in args)
        case syntax.Template(parts=parts):
            yield from (part for part in parts if not isinstance(part, str))
        case syntax.ListExpr(items=items):
            yield from items
        case syntax.RecordExpr(entries=entries):
            yield from (entry.value for entry in entries)
        case syntax.Unary(operand=operand):
            yield operand
        case syntax.Binary(left=left, right=right):
            yield left
            yield right
        case syntax.Attr(value=value) | syntax.Modified(value=value):
            yield value
        case syntax.Index(value=value, index=index):
            yield value
            yield index
        case syntax.Slice(value=value, first=first, last=last):
            yield from (part for part in (value, first, last) if part is not None)
        case syntax.IfExpr(condition=condition, then=then, otherwise=otherwise):
            yield condition
            yield then
            yield otherwise
        case syntax.Match(subject=subject, arms=arms):
            yield subject
            yield from (arm.body for arm in arms if not isinstance(arm.body, syntax.Block))
        case syntax.Comprehension(value=value, source=source, condition=condition):
            yield from (part for part in (source, value, condition) if part is not None)
