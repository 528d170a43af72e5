"""Constants: `let`, defaults and settings are worked out by the compiler.

An expression is elaborated in a place without names of a flow, then folded: an operation over literals becomes its
value. What cannot be folded (a function of `builtins`, a division by zero) stays an expression, and is evaluated when
the plan runs; where a literal is needed, as in a setting, that is reported.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from flowc import ir, syntax
from flowc.resolve import Symbol
from flowc.types import ERROR

from .context import BROKEN, Context, Scope, Shared, Value
from .report import accept
from .types import holds_secret

__all__ = ["Lets", "constant", "fold", "plain"]


def constant(place: Context, node: syntax.Expression, what: str) -> Value:
    """The folded value of an expression that must be constant; `what` names the place in findings."""
    if isinstance(node, syntax.Literal):
        return place.expr(node)
    here = place.derive(
        scope=Scope(), outer=place.scope, out=None, flow=None, pipe=None, is_constant=what, variables=None
    )
    found = here.value(node)
    return found._replace(expr=fold(found.expr))


class Lets:
    """The values of `let` declarations and the defaults of `var` declarations, each worked out once."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._known: dict[Symbol, Value] = {}
        self._open: list[Symbol] = []

    def of(self, symbol: Symbol) -> Value:
        found = self._known.get(symbol)
        if found is None:
            found = self._known[symbol] = self._work_out(symbol)
        return found

    def _work_out(self, symbol: Symbol) -> Value:
        node = symbol.node
        place = Context(self._shared, symbol.module, symbol)
        if isinstance(node, syntax.Var):
            return self._variable(place, node)
        if not isinstance(node, syntax.Let):
            return BROKEN
        if symbol in self._open:
            names = [known.name for known in self._open[self._open.index(symbol) :]]
            way = " → ".join(f"`{name}`" for name in (*names, symbol.name))
            place.report("cycle", node.name, what=f"the constant `{symbol.name}`", path=way)
            return BROKEN
        self._open.append(symbol)
        found = constant(place, node.value, f"the constant `{symbol.name}`")
        self._open.pop()
        return found

    def _variable(self, place: Context, node: syntax.Var) -> Value:
        """Its type, and its default; an empty expression if it has none."""
        kind = self._shared.signatures.types.of(place.module, node.type)
        if holds_secret(kind):
            place.report("secret-leak", node.type, what="variables are stored with the run")
            return BROKEN
        if node.value is None:
            return Value([], kind)
        found = constant(place, node.value, f"the variable `{node.name.text}`")
        if found.type == ERROR:
            return BROKEN
        return Value(accept(place, node.value, found, kind, f"the variable `{node.name.text}`"), kind)


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "%": operator.mod,
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
#: longest text or list that folding makes
_LARGEST = 100_000


def fold(expr: ir.Expr) -> ir.Expr:
    """The expression with operations over literals worked out."""
    op = expr[0]
    if op in ("lit", "date", "datetime", "duration", "decimal", "bytes", "ref", "opt", "var", "arg", "secret"):
        return expr
    if op == "record":
        return ["record", [[name, fold(value)] for name, value in expr[1]]]
    if op == "for":
        return expr
    args = [fold(arg) if isinstance(arg, list) else arg for arg in expr[1:]]
    folded = _FOLDS[op](args) if op in _FOLDS else None
    return [op, *args] if folded is None else folded


def _fold_op(args: list[Any]) -> ir.Expr | None:
    name, left, right = args
    if left[0] == right[0] == "duration" and name in ("+", "-", *_COMPARISONS):
        result = _OPERATORS[name](left[1], right[1])
        return ["lit", result] if name in _COMPARISONS else ["duration", result]
    if left[0] == "duration" and right[0] == "lit" and name == "*":
        return ["duration", round(left[1] * right[1])] if _is_number(right) else None
    if left[0] != "lit" or right[0] != "lit" or name not in _OPERATORS:
        return None
    a, b = left[1], right[1]
    if isinstance(a, str) and isinstance(b, str) and len(a) + len(b) > _LARGEST:
        return None
    try:
        return ["lit", _OPERATORS[name](a, b)]
    except (TypeError, ArithmeticError, ValueError):
        return None  # the run says what is wrong, or the types did


_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")


def _is_number(expr: ir.Expr) -> bool:
    return isinstance(expr[1], int | float) and not isinstance(expr[1], bool)


def _fold_negation(args: list[Any]) -> ir.Expr | None:
    (operand,) = args
    if operand[0] == "duration" or (operand[0] == "lit" and _is_number(operand)):
        return [operand[0], -operand[1]]
    return None


def _fold_text(args: list[Any]) -> ir.Expr | None:
    parts = [part if isinstance(part, str) else part[1] if part[0] == "lit" else None for part in args]
    if any(not isinstance(part, str) for part in parts):
        return None
    return ["lit", "".join(str(part) for part in parts)]


def _fold_bool(keep: bool) -> Callable[[list[Any]], ir.Expr | None]:
    def folded(args: list[Any]) -> ir.Expr | None:
        if args[0] == ["lit", not keep]:
            return args[0]  # type: ignore[no-any-return]
        return args[1] if args[0] == ["lit", keep] else None

    return folded


def _fold_field(args: list[Any]) -> ir.Expr | None:
    whole, name = args
    if whole[0] != "record":
        return None
    return next((value for key, value in reversed(whole[1]) if key == name), None)


def _fold_index(args: list[Any]) -> ir.Expr | None:
    whole, at = args
    if at[0] != "lit":
        return None
    if whole[0] == "record":
        return _fold_field([whole, at[1]])
    if whole[0] == "list" and isinstance(at[1], int) and -len(whole) < at[1] < len(whole) - 1:
        return whole[1:][at[1]]  # type: ignore[no-any-return]
    return None


def _fold_choice(args: list[Any]) -> ir.Expr | None:
    return {True: args[1], False: args[2]}[args[0][1]] if args[0] in (["lit", True], ["lit", False]) else None


_FOLDS: dict[str, Callable[[list[Any]], ir.Expr | None]] = {
    "op": _fold_op,
    "neg": _fold_negation,
    "not": lambda args: ["lit", not args[0][1]] if args[0] in (["lit", True], ["lit", False]) else None,
    "and": _fold_bool(True),
    "or": _fold_bool(False),
    "str": _fold_text,
    "attr": _fold_field,
    "attr?": _fold_field,
    "index": _fold_index,
    "if": _fold_choice,
    "merge": lambda args: (
        ["record", [[*entry] for entry in {**dict(args[0][1]), **dict(args[1][1])}.items()]]
        if args[0][0] == args[1][0] == "record"
        else None
    ),
}


def plain(expr: ir.Expr) -> Any:
    """A folded expression as a Python value: records as dicts, dates and decimals as text, durations in microseconds.

    Raises ValueError where it is not constant."""
    match expr:
        case ["lit" | "date" | "datetime" | "duration" | "decimal" | "bytes", value]:
            return value
        case ["list", *items]:
            return [plain(item) for item in items]
        case ["record", entries]:
            return {name: plain(value) for name, value in entries}
    raise ValueError(expr[0])
