"""Walking expressions (their forms are listed in `flowc.ir`): which parts of one are expressions themselves."""

from __future__ import annotations

from collections.abc import Callable

from flowc.ir import Expr

__all__ = ["LEAVES", "map_parts", "parts"]

#: forms without expressions in them
LEAVES = frozenset(
    {"lit", "date", "datetime", "duration", "decimal", "bytes", "ref", "opt", "in", "arg", "var", "secret"}
)


def parts(expr: Expr) -> list[Expr]:
    """The expressions that it is made of, in order."""
    op = expr[0]
    if op in LEAVES:
        return []
    if op == "record":
        return [value for _, value in expr[1]]
    if op == "for":  # its second operand is a list of names
        return [part for part in expr[2:] if part is not None]
    return [part for part in expr[1:] if isinstance(part, list)]


def map_parts(expr: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """The expression with each of its parts replaced by what `change` gives for it."""
    op = expr[0]
    if op in LEAVES:
        return expr
    if op == "record":
        return ["record", [[name, change(value)] for name, value in expr[1]]]
    kept = 2 if op == "for" else 1
    return expr[:kept] + [change(part) if isinstance(part, list) else part for part in expr[kept:]]
