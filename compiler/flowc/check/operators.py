"""The types of operators.

    + - * /    of numbers: int, unless one side is float or decimal; float and decimal do not mix; int / int is float
    %          of whole numbers
    +          of strings, of lists; date + duration, datetime + duration, duration + duration
    -          date - date and datetime - datetime are durations; date - duration, duration - duration
    * /        duration * number, duration / number; duration / duration is float
    < <= > >=  of numbers, strings, dates, datetimes, durations, each with its like
    == !=      of types of which one fits into the other
    in         an item in a list, a key in a map, a text in a string

With `json` on one side the worker decides: the result is `json`, or bool for a comparison.
"""

from __future__ import annotations

from flowc.types import (
    BOOL,
    DATE,
    DATETIME,
    DECIMAL,
    DURATION,
    ERROR,
    FLOAT,
    INT,
    JSON,
    NULL,
    SIZE,
    STRING,
    ListOf,
    MapOf,
    Type,
    Union,
)

from .types import assignable, is_text, join, required

__all__ = ["COMPARISONS", "binary_type"]

COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_WHOLE = (INT, SIZE)
_NUMBERS = (INT, SIZE, FLOAT, DECIMAL)
_MOMENTS = (DATE, DATETIME)


def binary_type(op: str, left: Type, right: Type) -> Type | None:
    """The type of `left op right`; None if the two do not go together."""
    if op == "in":
        return BOOL if _can_hold(right, left) else None
    if op in COMPARISONS:
        compares = _alike(left, right) if op in ("==", "!=") else _ordered(left, right)
        return BOOL if compares else None
    if ERROR in (left, right):
        return ERROR
    if JSON in (left, right):
        return JSON
    if left in _NUMBERS and right in _NUMBERS:
        return _arithmetic(op, left, right)
    if op == "+" and is_text(left) and is_text(right):
        return STRING
    if op == "+" and isinstance(left, ListOf) and isinstance(right, ListOf):
        return join(left, right)
    return _temporal(op, left, right)


def _arithmetic(op: str, left: Type, right: Type) -> Type | None:
    if {left, right} == {FLOAT, DECIMAL}:
        return None
    if op == "%":
        return INT if left in _WHOLE and right in _WHOLE else None
    if left in _WHOLE and right in _WHOLE:
        return FLOAT if op == "/" else SIZE if left == right == SIZE and op in "+-" else INT
    return DECIMAL if DECIMAL in (left, right) else FLOAT


def _temporal(op: str, left: Type, right: Type) -> Type | None:
    match op:
        case "+":
            if right == DURATION and left in (*_MOMENTS, DURATION):
                return left
            return right if left == DURATION and right in _MOMENTS else None
        case "-":
            if right == DURATION and left in (*_MOMENTS, DURATION):
                return left
            return DURATION if left == right and left in _MOMENTS else None
        case "*":
            numbers = (INT, FLOAT)
            return (
                DURATION if (left == DURATION and right in numbers) or (left in numbers and right == DURATION) else None
            )
        case "/":
            if left != DURATION:
                return None
            return FLOAT if right == DURATION else DURATION if right in (INT, FLOAT) else None
    return None


def _alike(left: Type, right: Type) -> bool:
    """Whether the two can ever be equal."""
    if NULL in (left, right) or ERROR in (left, right):
        return True
    left, right = required(left), required(right)
    if {left, right} == {FLOAT, DECIMAL}:
        return True
    if isinstance(left, Union) or isinstance(right, Union):
        sides = [side.members if isinstance(side, Union) else (side,) for side in (left, right)]
        return any(_alike(a, b) for a in sides[0] for b in sides[1])
    return assignable(left, right) or assignable(right, left) or _share_literal(left, right)


def _share_literal(left: Type, right: Type) -> bool:
    values = getattr(left, "values", ()), getattr(right, "values", ())
    return bool(set(values[0]) & set(values[1]))


def _ordered(left: Type, right: Type) -> bool:
    if ERROR in (left, right):
        return True
    if JSON in (left, right):
        return all(kind in (*_NUMBERS, *_MOMENTS, DURATION, JSON) or is_text(kind) for kind in (left, right))
    if left in _NUMBERS and right in _NUMBERS:
        return True
    return (is_text(left) and is_text(right)) or (left == right and left in (*_MOMENTS, DURATION))


def _can_hold(whole: Type, part: Type) -> bool:
    if ERROR in (whole, part) or whole == JSON:
        return True
    if isinstance(whole, ListOf):
        return _alike(whole.item, part)
    return (isinstance(whole, MapOf) or is_text(whole)) and (is_text(part) or part == JSON)
