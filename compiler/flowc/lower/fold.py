"""Constant folding: what can be computed without inputs is computed once, here.

Only what certainly has the same value at run time is folded: whole numbers within 64 bits, comparisons of equal
types, conditions, text. Whatever would fail is left for the run to report.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from flowc.ir import Expr

from .expressions import LEAVES, map_parts

__all__ = ["fold"]

_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "%": operator.mod,
}  # fmt: skip
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_LOW, _HIGH = -(2**63), 2**63


def fold(expr: Expr) -> Expr:
    """The expression with its constant parts computed. The same object if nothing changed."""
    if expr[0] in LEAVES:
        return expr
    folded = map_parts(expr, fold)
    if folded == expr:
        folded = expr
    reduce = _REDUCTIONS.get(expr[0])
    reduced = reduce(folded[1:]) if reduce is not None else None
    return folded if reduced is None or reduced == expr else reduced


def _constant(expr: Expr, kind: type) -> bool:
    return expr[0] == "lit" and type(expr[1]) is kind


def _operation(parts: list[Any]) -> Expr | None:
    op, a, b = parts
    if op in _ARITHMETIC and _constant(a, int) and _constant(b, int) and (op != "%" or b[1]):
        value = _ARITHMETIC[op](a[1], b[1])
        return ["lit", value] if _LOW <= value < _HIGH else None
    if op == "+" and _constant(a, str) and _constant(b, str):
        return ["lit", a[1] + b[1]]
    if op in _COMPARISONS and any(_constant(a, kind) and _constant(b, kind) for kind in (int, str)):
        return ["lit", _COMPARISONS[op](a[1], b[1])]
    return None


def _negation(parts: list[Any]) -> Expr | None:
    value = parts[0]
    return ["lit", -value[1]] if _constant(value, int) or _constant(value, float) else None


def _not(parts: list[Any]) -> Expr | None:
    return ["lit", not parts[0][1]] if _constant(parts[0], bool) else None


def _and(parts: list[Any]) -> Expr | None:
    return _short(parts, stops=False)


def _or(parts: list[Any]) -> Expr | None:
    return _short(parts, stops=True)


def _short(parts: list[Any], *, stops: bool) -> Expr | None:
    a, b = parts
    if not _constant(a, bool):
        return None
    if a[1] is stops:
        return ["lit", stops]
    return ["lit", b[1]] if _constant(b, bool) else None


def _if(parts: list[Any]) -> Expr | None:
    condition, then, otherwise = parts
    if not _constant(condition, bool):
        return None
    chosen: Expr = then if condition[1] else otherwise
    return chosen


def _default(parts: list[Any]) -> Expr | None:
    value, otherwise = parts
    if value[0] != "lit":
        return None
    chosen: Expr = otherwise if value[1] is None else value
    return chosen


def _text(parts: list[Any]) -> Expr | None:
    """Neighbouring constant parts become one."""
    joined: list[Expr] = []
    for part in parts:
        shown = _shown(part)
        if shown is None:
            joined.append(part)
        elif joined and _constant(joined[-1], str):
            joined[-1] = ["lit", joined[-1][1] + shown]
        else:
            joined.append(["lit", shown])
    if not joined:
        return ["lit", ""]
    return joined[0] if len(joined) == 1 and _constant(joined[0], str) else ["str", *joined]


def _shown(part: Expr) -> str | None:
    if part[0] != "lit":
        return None
    value = part[1]
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    return str(value) if isinstance(value, int | str) else None


_REDUCTIONS: dict[str, Callable[[list[Any]], Expr | None]] = {
    "op": _operation,
    "neg": _negation,
    "not": _not,
    "and": _and,
    "or": _or,
    "if": _if,
    "??": _default,
    "str": _text,
}
