"""The types of operators, against what the evaluator gives."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from flowc.check.operators import binary_type
from flowc.types import (
    BOOL,
    DATE,
    DATETIME,
    DECIMAL,
    DURATION,
    FLOAT,
    INT,
    SIZE,
    STRING,
    ListOf,
    Literals,
    MapOf,
    Optional,
    Type,
)
from flowrun.expr import Env, ExpressionError, evaluate

#: a type, an expression that has it, and the Python type of its values
SAMPLES: list[tuple[Type, list[Any]]] = [
    (INT, ["lit", 7]),
    (FLOAT, ["lit", 2.5]),
    (DECIMAL, ["decimal", "3.5"]),
    (STRING, ["str", ["lit", "ab"]]),
    (BOOL, ["lit", True]),
    (DATE, ["date", "2026-01-31"]),
    (DATETIME, ["datetime", "2026-01-31T10:00:00"]),
    (DURATION, ["duration", 90_000_000]),
    (ListOf(INT), ["list", ["lit", 1]]),
    (MapOf(INT), ["record", [["a", ["lit", 1]]]]),
]
PYTHON: dict[Type, type] = {
    INT: int, FLOAT: float, DECIMAL: Decimal, STRING: str, BOOL: bool, DATE: dt.date, DATETIME: dt.datetime,
    DURATION: dt.timedelta, ListOf(INT): list,
}  # fmt: skip
OPERATORS = ("+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!=", "in")


@pytest.mark.parametrize("op", OPERATORS)
def test_what_is_accepted_has_a_value_of_that_type(op: str) -> None:
    for left, left_expr in SAMPLES:
        for right, right_expr in SAMPLES:
            kind = binary_type(op, left, right)
            if kind is not None:
                value = evaluate(["op", op, left_expr, right_expr], Env())
                assert type(value) is PYTHON[kind], (left, op, right, value)


@pytest.mark.parametrize("op", ["+", "-", "*", "/"])
def test_what_is_refused_has_no_value(op: str) -> None:
    lenient = []
    for left, left_expr in SAMPLES:
        for right, right_expr in SAMPLES:
            if binary_type(op, left, right) is None:
                try:
                    evaluate(["op", op, left_expr, right_expr], Env())
                except ExpressionError:
                    continue
                lenient.append((left, op, right))
    assert lenient == []


def test_kinds_of_numbers() -> None:
    assert binary_type("/", INT, INT) == FLOAT
    assert binary_type("+", SIZE, SIZE) == SIZE
    assert binary_type("+", FLOAT, DECIMAL) is None
    assert binary_type("<", FLOAT, DECIMAL) == BOOL


def test_equality_needs_a_value_in_common() -> None:
    eu, us = Literals(("eu",)), Literals(("us", "uk"))
    assert binary_type("==", eu, us) is None
    assert binary_type("==", eu, STRING) == BOOL
    assert binary_type("==", Optional(INT), INT) == BOOL
    assert binary_type("==", INT, STRING) is None
