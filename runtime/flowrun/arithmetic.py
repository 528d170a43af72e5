"""The operators of the language: arithmetic, comparisons, `in`.

`/` of two ints is a float; decimals calculate with decimals and ints, never with floats; `%` has the sign of the
divisor; an int has 64 bits; a bool is no number; a date and a datetime do not compare. Mistakes raise ExpressionError.
"""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable, Mapping
from typing import Any

from .functions import ARITHMETIC, Budget, ExpressionError, holds, same
from .text import kind_name, show

__all__ = ["OPERATORS", "Binary", "negated"]

#: what may be built, and the operands
Binary = Callable[[Budget, Any, Any], Any]
_INT_LOW, _INT_HIGH = -(2**63), 2**64
_NUMBERS = frozenset({int, float})
_DATES = frozenset({dt.date, dt.datetime})


def _undefined(op: str, a: object, b: object) -> ExpressionError:
    return ExpressionError(f"{kind_name(a)} {op} {kind_name(b)} is not defined")


def _fits(value: Any) -> Any:
    if type(value) is int and not _INT_LOW <= value < _INT_HIGH:
        raise ExpressionError("the result does not fit into 64 bits")
    return value


def _are_decimals(a: object, b: object) -> bool:
    """At least one decimal, and nothing that a decimal does not calculate with."""
    kinds = {type(a), type(b)}
    return decimal.Decimal in kinds and kinds <= {decimal.Decimal, int}


def _add(budget: Budget, a: Any, b: Any) -> Any:
    left, right = type(a), type(b)
    if left in _NUMBERS and right in _NUMBERS:
        return _fits(a + b)
    if left is str and right is str:
        budget.text(len(a) + len(b))
        return a + b
    if left is list and right is list:
        budget.items(len(a) + len(b))
        return a + b
    if _are_decimals(a, b):
        return ARITHMETIC.add(a, b)
    if dt.timedelta in (left, right) and {left, right} <= {dt.timedelta, *_DATES}:
        return a + b
    raise _undefined("+", a, b)


def _subtract(_: Budget, a: Any, b: Any) -> Any:
    left, right = type(a), type(b)
    if left in _NUMBERS and right in _NUMBERS:
        return _fits(a - b)
    if _are_decimals(a, b):
        return ARITHMETIC.subtract(a, b)
    if (left in _DATES and right in (left, dt.timedelta)) or (left is dt.timedelta and right is dt.timedelta):
        return a - b
    raise _undefined("-", a, b)


def _multiply(_: Budget, a: Any, b: Any) -> Any:
    left, right = type(a), type(b)
    if left in _NUMBERS and right in _NUMBERS:
        return _fits(a * b)
    if _are_decimals(a, b):
        return ARITHMETIC.multiply(a, b)
    if (left is dt.timedelta and right in _NUMBERS) or (right is dt.timedelta and left in _NUMBERS):
        return a * b
    raise _undefined("*", a, b)


def _divide(_: Budget, a: Any, b: Any) -> Any:
    left, right = type(a), type(b)
    if not b and right in (int, float, decimal.Decimal, dt.timedelta):
        raise ExpressionError(f"division by zero: {show(a)} / {show(b)}")
    if left in _NUMBERS and right in _NUMBERS:
        return a / b
    if _are_decimals(a, b):
        return ARITHMETIC.divide(a, b)
    if left is dt.timedelta and (right in _NUMBERS or right is dt.timedelta):
        return a / b
    raise _undefined("/", a, b)


def _modulo(_: Budget, a: Any, b: Any) -> Any:
    left, right = type(a), type(b)
    if not b and right in (int, float, decimal.Decimal, dt.timedelta):
        raise ExpressionError(f"division by zero: {show(a)} % {show(b)}")
    if (left in _NUMBERS and right in _NUMBERS) or (left is dt.timedelta and right is dt.timedelta):
        return a % b
    if _are_decimals(a, b):
        rest = ARITHMETIC.remainder(a, b)
        return ARITHMETIC.add(rest, b) if rest and (rest < 0) != (b < 0) else rest
    raise _undefined("%", a, b)


def _comparison(op: str, compare: Callable[[Any, Any], bool]) -> Binary:
    def function(_: Budget, a: Any, b: Any) -> bool:
        if type(a) is not type(b) and (isinstance(a, bool) or isinstance(b, bool)):
            raise _undefined(op, a, b)
        if isinstance(a, dict | list) or {type(a), type(b)} == _DATES:
            raise _undefined(op, a, b)
        try:
            return compare(a, b)
        except TypeError:
            if type(a) is dt.datetime and type(b) is dt.datetime:
                raise ExpressionError("a datetime with an offset and one without do not compare") from None
            raise _undefined(op, a, b) from None

    return function


OPERATORS: Mapping[str, Binary] = {
    "+": _add,
    "-": _subtract,
    "*": _multiply,
    "/": _divide,
    "%": _modulo,
    "==": lambda _, a, b: same(a, b),
    "!=": lambda _, a, b: not same(a, b),
    "<": _comparison("<", lambda a, b: a < b),
    "<=": _comparison("<=", lambda a, b: a <= b),
    ">": _comparison(">", lambda a, b: a > b),
    ">=": _comparison(">=", lambda a, b: a >= b),
    "in": lambda _, a, b: holds(b, a),
}


def negated(value: Any) -> Any:
    """`-value`."""
    if type(value) not in (int, float, decimal.Decimal, dt.timedelta):
        raise ExpressionError(f"-{kind_name(value)} is not defined")
    return _fits(-value)
