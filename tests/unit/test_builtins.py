"""What the checker knows of the functions, held against what they do."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from flowc import builtins
from flowc.builtins import FUNCTIONS, attribute_type, part_types, result_type
from flowc.types import (
    BOOL,
    DATE,
    DATETIME,
    DECIMAL,
    DURATION,
    ERROR,
    FILE,
    FLOAT,
    INT,
    JSON,
    NULL,
    SIZE,
    STRING,
    ListOf,
    Literals,
    MapOf,
    Optional,
    Record,
    Secret,
    Type,
    Union,
)
from flowrun import functions, values

INTS, TEXTS = ListOf(INT), ListOf(STRING)
DAY, NOON = dt.date(2026, 1, 31), dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)


def test_checker_and_runtime_know_the_same_functions() -> None:
    assert set(FUNCTIONS) == set(functions.FUNCTIONS)
    assert set(FUNCTIONS) >= builtins.SYMBOLIC


def test_checker_and_runtime_know_the_same_attributes() -> None:
    names = {dt.date: "date", dt.datetime: "datetime", dt.timedelta: "duration", str: "file"}
    found = {names[kind]: set(attributes) for kind, attributes in functions.ATTRIBUTES.items()}
    assert found == {kind: set(attributes) for kind, attributes in builtins.ATTRIBUTES.items()}


SAMPLES: list[tuple[str, list[tuple[Type, Any]], Type]] = [
    ("len", [(MapOf(INT), {"a": 1})], INT),
    ("sum", [(INTS, [1, 2])], INT),
    ("sum", [(ListOf(DECIMAL), [])], DECIMAL),
    ("min", [(INTS, [1, 2])], INT),
    ("max", [(INT, 1), (FLOAT, 0.5)], FLOAT),
    ("max", [(INT, 1), (DECIMAL, Decimal("0.5"))], DECIMAL),
    ("min", [(Literals(("a", "b")), "a"), (STRING, "z")], STRING),
    ("abs", [(DURATION, dt.timedelta(-1))], DURATION),
    ("round", [(FLOAT, 1.5)], INT),
    ("round", [(DECIMAL, Decimal("1.55")), (INT, 1)], DECIMAL),
    ("floor", [(FLOAT, 1.5)], INT),
    ("ceil", [(DECIMAL, Decimal("1.5"))], INT),
    ("range", [(INT, 1), (INT, 5), (INT, 2)], INTS),
    ("chunk", [(TEXTS, ["a", "b", "c"]), (INT, 2)], ListOf(TEXTS)),
    ("zip", [(INTS, [1]), (TEXTS, ["a"])], ListOf(ListOf(Union((INT, STRING))))),
    ("zip", [(INTS, [1]), (INTS, [2])], ListOf(INTS)),
    ("cross", [(INTS, [1]), (ListOf(Optional(INT)), [None])], ListOf(ListOf(JSON))),
    ("keys", [(Record((("a", INT),)), {"a": 1})], TEXTS),
    ("values", [(MapOf(DATE), {"a": DAY})], ListOf(DATE)),
    ("entries", [(MapOf(INT), {"a": 1})], ListOf(Record((("key", STRING), ("value", INT))))),
    ("sorted", [(ListOf(DATE), [DAY])], ListOf(DATE)),
    ("reversed", [(STRING, "ab")], STRING),
    ("unique", [(INTS, [1, 1])], INTS),
    ("flatten", [(ListOf(INTS), [[1], [2]])], INTS),
    ("contains", [(INTS, [1]), (FLOAT, 1.0)], BOOL),
    ("contains", [(MapOf(INT), {"a": 1}), (STRING, "a")], BOOL),
    ("join", [(INTS, [1, 2]), (STRING, ",")], STRING),
    ("split", [(STRING, "a b"), (STRING, " ")], TEXTS),
    ("trim", [(STRING, " a")], STRING),
    ("upper", [(Literals(("a",)), "a")], STRING),
    ("lower", [(STRING, "A")], STRING),
    ("replace", [(STRING, "a"), (STRING, "a"), (STRING, "b")], STRING),
    ("starts_with", [(STRING, "a"), (STRING, "a")], BOOL),
    ("ends_with", [(FILE, "x.csv"), (STRING, ".csv")], BOOL),
    ("string", [(INTS, [1])], STRING),
    ("int", [(STRING, "1")], INT),
    ("float", [(BOOL, True)], FLOAT),
    ("decimal", [(SIZE, 1024)], DECIMAL),
    ("date", [(DATETIME, NOON)], DATE),
    ("datetime", [(DATE, DAY)], DATETIME),
    ("format", [(DATETIME, NOON), (STRING, "%H")], STRING),
    ("days", [(INT, 1)], DURATION),
    ("hours", [(FLOAT, 1.5)], DURATION),
    ("minutes", [(INT, 1)], DURATION),
    ("seconds", [(INT, 1)], DURATION),
    ("total_seconds", [(DURATION, dt.timedelta(1))], FLOAT),
    ("file", [(STRING, "a")], FILE),
]


@pytest.mark.parametrize(("name", "args", "expected"), SAMPLES)
def test_the_value_has_the_type_that_the_checker_gives(name: str, args: list[tuple[Type, Any]], expected: Type) -> None:
    assert result_type(name, tuple(kind for kind, _ in args)) == expected
    value = functions.FUNCTIONS[name](functions.Budget(), *(value for _, value in args))
    values.check(value, expected)


def test_every_function_has_a_sample() -> None:
    assert {name for name, _, _ in SAMPLES} == set(FUNCTIONS)


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("len", (), "it takes 1 argument, and 0 are given"),
        ("range", (INT,) * 4, "it takes 1 to 3 arguments, and 4 are given"),
        ("join", (), "it takes 1 or 2 arguments, and 0 are given"),
        ("zip", (INTS,), "it takes at least 2 arguments, and 1 is given"),
        ("chunk", (INTS, STRING), "`n` must be int, but it is string"),
        ("chunk", (INT, INT), "`xs` must be a list, but it is int"),
        ("sum", (TEXTS,), "`xs` must be a list of numbers, but it is list<string>"),
        ("max", (FLOAT, DECIMAL), "values of types float, decimal do not compare"),
        ("max", (BOOL, INT), "values of types bool, int do not compare"),
        ("sorted", (ListOf(MapOf(INT)),), "values of type map<int> have no order"),
        ("len", (Optional(STRING),), "a value of type string? may be null: give a default with `??`"),
        ("len", (NULL,), "a value of type null may be null: give a default with `??`"),
        ("upper", (Secret(STRING),), "a secret cannot be passed to a function: pass it to a task as it is"),
        ("contains", (INTS, STRING), "a list<int> never holds a value of type string"),
        ("upper", (INT,), "`s` must be string, but it is int"),
        ("format", (BOOL, STRING), "`x` must be date or datetime or int or float or decimal or size, but it is bool"),
        ("range", (FLOAT,), "every argument must be int, but it is float"),
    ],
)
def test_what_does_not_fit_is_told(name: str, args: tuple[Type, ...], message: str) -> None:
    assert result_type(name, args) == message


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_json_fits_everywhere_and_a_reported_error_stays_one(name: str) -> None:
    count = FUNCTIONS[name].required
    assert not isinstance(result_type(name, (JSON,) * count), str)
    assert result_type(name, (ERROR,) * count) == ERROR


def test_patterns_over_tuples() -> None:
    assert part_types("zip", (INTS, TEXTS)) == (INT, STRING)
    assert part_types("cross", (INTS, JSON)) == (INT, JSON)
    assert part_types("range", (INT,)) is None


def test_attributes_of_primitives() -> None:
    assert attribute_type(DATE, "year") == INT
    assert attribute_type(DATETIME, "date") == DATE
    assert attribute_type(STRING, "name") is None
    assert attribute_type(ListOf(INT), "name") is None


def test_usage_shows_what_may_be_left_out() -> None:
    assert FUNCTIONS["range"].usage == "range(first, last?, step?)"
    assert FUNCTIONS["zip"].usage == "zip(xs, ys, …)"
