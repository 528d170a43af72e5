"""The meaning of expressions."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import pytest
from flowrun.expr import MAX_ITEMS, Env, ExpressionError, compile_expr, evaluate, show
from hypothesis import given
from hypothesis import strategies as st

Expr = list[Any]


def lit(value: object) -> Expr:
    return ["lit", value]


def given_inputs(expr: Expr, *inputs: object) -> Any:
    return compile_expr(expr)(Env(inputs))


def op(name: str, a: object, b: object) -> Any:
    return given_inputs(["op", name, ["in", 0], ["in", 1]], a, b)


def call(name: str, *args: object) -> Any:
    return given_inputs(["call", name, *(["in", i] for i in range(len(args)))], *args)


DAY = dt.date(2026, 1, 31)
NOON = dt.datetime(2026, 1, 31, 12)
HOUR = dt.timedelta(hours=1)


@pytest.mark.parametrize(
    ("a", "name", "b", "result"),
    [
        (2, "+", 3, 5),
        (2, "+", 0.5, 2.5),
        ("a", "+", "b", "ab"),
        ([1], "+", [2], [1, 2]),
        (Decimal("0.1"), "+", 2, Decimal("2.1")),
        (DAY, "+", dt.timedelta(days=1), dt.date(2026, 2, 1)),
        (HOUR, "+", NOON, dt.datetime(2026, 1, 31, 13)),
        (HOUR, "+", HOUR, dt.timedelta(hours=2)),
        (DAY, "-", dt.date(2026, 1, 1), dt.timedelta(days=30)),
        (DAY, "-", dt.timedelta(days=31), dt.date(2025, 12, 31)),
        (2, "-", 5, -3),
        (Decimal("0.3"), "-", Decimal("0.1"), Decimal("0.2")),
        (3, "*", 4, 12),
        (3, "*", HOUR, dt.timedelta(hours=3)),
        (1, "/", 2, 0.5),
        (4, "/", 2, 2.0),
        (Decimal(1), "/", 4, Decimal("0.25")),
        (HOUR, "/", dt.timedelta(minutes=30), 2.0),
        (HOUR, "/", 2, dt.timedelta(minutes=30)),
        (7, "%", 3, 1),
        (-7, "%", 3, 2),
        (Decimal(-7), "%", 3, Decimal(2)),
        (-7.5, "%", 2, 0.5),
        (1, "==", 1.0, True),
        (1, "==", Decimal(1), True),
        (True, "==", 1, False),
        ("a", "!=", "b", True),
        (None, "==", None, True),
        ([1, {"a": 2}], "==", [1, {"a": 2}], True),
        (1, "<", 1.5, True),
        (Decimal("1.5"), "<=", 1, False),
        (DAY, ">", dt.date(2025, 1, 1), True),
        ("a", ">=", "b", False),
        (2, "in", [1, 2], True),
        (True, "in", [1], False),
        ("ell", "in", "hello", True),
        ("k", "in", {"k": 1}, True),
    ],
)
def test_operators(a: object, name: str, b: object, result: object) -> None:
    found = op(name, a, b)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("a", "name", "b", "message"),
    [
        (1, "/", 0, r"division by zero: 1 / 0"),
        (1.0, "%", 0, r"division by zero: 1\.0 % 0"),
        (Decimal(1), "/", 0, "division by zero"),
        ("a", "+", 1, r"string \+ int is not defined"),
        (1.5, "+", Decimal(1), r"float \+ decimal is not defined"),
        (True, "+", 1, r"bool \+ int is not defined"),
        ("a", "*", 3, r"string \* int is not defined"),
        (1, "<", "a", "int < string is not defined"),
        (True, "<", 2, "bool < int is not defined"),
        (NOON, "<", DAY, "datetime < date is not defined"),
        (NOON, "<", NOON.replace(tzinfo=dt.UTC), "with an offset"),
        ([1], "<", [2], "list < list is not defined"),
        (2**63, "*", 4, "does not fit into 64 bits"),
        (3, "in", 4, "a list, a map or a string is needed, not int"),
        (3, "in", "a3", "a string never holds a value of type int"),
        (DAY, "+", dt.timedelta(days=4_000_000), "the expression has no value: date value out of range"),
        (Decimal("9e9999"), "*", Decimal(100), "the expression has no value"),
    ],
)
def test_what_is_not_defined(a: object, name: str, b: object, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        op(name, a, b)


@pytest.mark.parametrize(
    ("expr", "result"),
    [
        (["date", "2026-01-31"], DAY),
        (["datetime", "2026-01-31T12:00:00Z"], NOON.replace(tzinfo=dt.UTC)),
        (["duration", 90_000_000], dt.timedelta(seconds=90)),
        (["decimal", "1.10"], Decimal("1.10")),
        (["bytes", "AAE="], b"\x00\x01"),
        (["list", lit(1), lit("a")], [1, "a"]),
        (["record", [["type", lit(1)], ["on", lit(None)]]], {"type": 1, "on": None}),
        (["merge", ["record", [["a", lit(1)], ["b", lit(2)]]], ["record", [["b", lit(3)]]]], {"a": 1, "b": 3}),
        (["neg", lit(3)], -3),
        (["not", lit(False)], True),
        (["and", lit(False), ["op", "/", lit(1), lit(0)]], False),
        (["or", lit(True), ["op", "/", lit(1), lit(0)]], True),
        (["if", lit(True), lit(1), ["op", "/", lit(1), lit(0)]], 1),
        (["??", lit(None), lit(2)], 2),
        (["??", lit(0), ["op", "/", lit(1), lit(0)]], 0),
        (["attr?", lit(None), "x"], None),
        (["attr?", ["record", [["a", lit(1)]]], "x"], None),
        (["str", lit("a"), lit(1), lit("b"), lit(True)], "a1btrue"),
        (["for", ["x"], ["call", "range", lit(5)], ["op", "*", ["var", "x"], lit(2)], None], [0, 2, 4, 6, 8]),
        (
            ["for", ["x"], ["call", "range", lit(5)], ["var", "x"], ["op", ">", ["var", "x"], lit(2)]],
            [3, 4],
        ),
    ],
)
def test_forms(expr: Expr, result: object) -> None:
    assert given_inputs(expr) == result


def test_attributes_and_items() -> None:
    row = {"a": 1, "d": DAY, "xs": [10, 20, 30], "m": {"k": "v"}}
    assert given_inputs(["attr", ["in", 0], "a"], row) == 1
    assert given_inputs(["attr", ["attr", ["in", 0], "d"], "year"], row) == 2026
    assert given_inputs(["index", ["attr", ["in", 0], "xs"], lit(-1)], row) == 30
    assert given_inputs(["index", ["attr", ["in", 0], "m"], lit("k")], row) == "v"
    assert given_inputs(["slice", ["attr", ["in", 0], "xs"], lit(1), lit(None)], row) == [20, 30]
    assert given_inputs(["slice", lit("hello"), lit(None), lit(-1)]) == "hell"


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        (["attr", ["in", 0], "z"], "there is no `z`: there are `a`, `xs`"),
        (["attr", lit(None), "z"], r"null has no `z`: use `\?\.z`"),
        (["attr", lit(3), "z"], "a value of type int has no `z`"),
        (["index", ["attr", ["in", 0], "xs"], lit(3)], "index 3 is out of range: there are 3 items"),
        (["index", ["attr", ["in", 0], "xs"], lit("a")], "an index must be an int, not string"),
        (["index", ["in", 0], lit("q")], "there is no 'q'"),
        (["slice", lit(3), lit(0), lit(1)], "cannot be sliced"),
        (["if", lit(1), lit(1), lit(2)], "`if` needs true or false, not int"),
        (["and", lit(True), lit("x")], "`and` needs true or false, not string"),
        (["neg", lit("x")], "-string is not defined"),
        (["secret", "k"], "the secret `k` can be read on a worker only"),
        (["for", ["a", "b"], ["list", ["list", lit(1)]], ["var", "a"], None], "1 parts, and the pattern 2 names"),
        (["for", ["a"], lit(3), ["var", "a"], None], "a list or a map is needed, not int"),
    ],
)
def test_what_has_no_value_is_told(expr: Expr, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        given_inputs(expr, {"a": 1, "xs": [1, 2, 3]})


def test_comprehensions_nest_shadow_and_take_apart() -> None:
    inner = ["for", ["x"], ["var", "x"], ["op", "+", ["var", "x"], lit(1)], None]
    assert given_inputs(["for", ["x"], ["in", 0], ["list", inner, ["var", "x"]], None], [[1], [2, 3]]) == [
        [[2], [1]],
        [[3, 4], [2, 3]],
    ]
    pairs = ["for", ["k", "v"], ["in", 0], ["str", ["var", "k"], lit("="), ["var", "v"]], None]
    assert given_inputs(pairs, {"a": 1, "b": 2}) == ["a=1", "b=2"]


def test_arguments_and_secrets_come_from_the_environment() -> None:
    env = Env(args={"day": DAY}, secret=lambda key: f"<{key}>")
    assert compile_expr(["str", lit("on "), ["arg", "day"]])(env) == "on 2026-01-31"
    assert compile_expr(["record", [["k", ["secret", "s"]]]])(env) == {"k": "<s>"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (0.1, "0.1"),
        (3.0, "3.0"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1.10"), "1.10"),
        (DAY, "2026-01-31"),
        (NOON.replace(tzinfo=dt.UTC), "2026-01-31T12:00:00Z"),
        (dt.timedelta(seconds=90), "1m30s"),
        (dt.timedelta(days=1, milliseconds=1500), "1d1s500ms"),
        (dt.timedelta(microseconds=1250), "1.250ms"),
        (-HOUR, "-1h"),
        (dt.timedelta(), "0s"),
        (b"\x00", "AA=="),
        ([1, "a", DAY], '[1,"a","2026-01-31"]'),
        ({"a": Decimal("1.0")}, '{"a":"1.0"}'),
        (math.inf, "inf"),
    ],
)
def test_text_forms(value: object, text: str) -> None:
    assert show(value) == text
    assert call("string", value) == text


@pytest.mark.parametrize(
    ("name", "args", "result"),
    [
        ("len", ["héé"], 3),
        ("len", [{"a": 1}], 1),
        ("sum", [[1, 2.5]], 3.5),
        ("sum", [[Decimal("0.1"), Decimal("0.2")]], Decimal("0.3")),
        ("sum", [[]], 0),
        ("min", [[3, 1]], 1),
        ("max", [3, 5, 4], 5),
        ("abs", [-HOUR], HOUR),
        ("round", [2.5], 2),
        ("round", [Decimal("2.675"), 2], Decimal("2.68")),
        ("round", [1234.5678, 2], 1234.57),
        ("floor", [-1.5], -2),
        ("ceil", [Decimal("1.2")], 2),
        ("range", [3], [0, 1, 2]),
        ("range", [1, 10, 4], [1, 5, 9]),
        ("range", [3, 0, -1], [3, 2, 1]),
        ("range", [5, 1], []),
        ("chunk", [[1, 2, 3], 2], [[1, 2], [3]]),
        ("zip", [[1, 2, 3], ["a", "b"]], [[1, "a"], [2, "b"]]),
        ("cross", [[1, 2], ["a", "b"]], [[1, "a"], [1, "b"], [2, "a"], [2, "b"]]),
        ("keys", [{"b": 1, "a": 2}], ["b", "a"]),
        ("values", [{"b": 1, "a": 2}], [1, 2]),
        ("entries", [{"b": 1}], [{"key": "b", "value": 1}]),
        ("sorted", [["b", "a"]], ["a", "b"]),
        ("reversed", [[1, 2]], [2, 1]),
        ("reversed", ["abc"], "cba"),
        ("unique", [[1, True, 1.0, [1], [1], {"a": 1, "b": 2}, {"b": 2, "a": 1}]], [1, True, [1], {"a": 1, "b": 2}]),
        ("flatten", [[[1], [], [2, 3]]], [1, 2, 3]),
        ("contains", [[1, 2], 2], True),
        ("join", [[1, True, DAY], ", "], "1, true, 2026-01-31"),
        ("split", ["a,b,", ","], ["a", "b", ""]),
        ("trim", ["  a "], "a"),
        ("upper", ["straße"], "STRASSE"),
        ("lower", ["ÄB"], "äb"),
        ("replace", ["aXbX", "X", "--"], "a--b--"),
        ("starts_with", ["abc", "ab"], True),
        ("ends_with", ["abc", "bc"], True),
        ("int", [" -12 "], -12),
        ("int", [-2.9], -2),
        ("int", [True], 1),
        ("float", ["1e3"], 1000.0),
        ("decimal", [0.1], Decimal("0.1")),
        ("decimal", ["1.10"], Decimal("1.10")),
        ("date", ["2026-01-31"], DAY),
        ("date", [NOON], DAY),
        ("datetime", ["2026-01-31T12:00:00"], NOON),
        ("datetime", [DAY], dt.datetime(2026, 1, 31)),
        ("format", [DAY, "%d.%m.%Y"], "31.01.2026"),
        ("format", [1234.5, ",.2f"], "1,234.50"),
        ("days", [2], dt.timedelta(days=2)),
        ("minutes", [0.5], dt.timedelta(seconds=30)),
        ("total_seconds", [HOUR], 3600.0),
        ("file", ["a/b.csv"], "a/b.csv"),
    ],
)
def test_functions(name: str, args: list[Any], result: object) -> None:
    found = call(name, *args)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("min", [[]], "`min` of an empty list has no value"),
        ("max", [3], "`max` of one value needs a list, not int"),
        ("max", [[1, "a"]], "values of types int and string have no order"),
        ("sorted", [[1, None]], "values of types int and null have no order"),
        ("range", [0, 5, 0], "the step of `range` is 0"),
        ("range", [1.5], "`range` needs whole numbers"),
        ("chunk", [[1], 0], "a size of at least 1, and it is 0"),
        ("int", ["12x"], "'12x' is no int"),
        ("int", [math.nan], "nan is no whole number"),
        ("int", [Decimal("1e9000")], "is no whole number of 64 bits"),
        ("float", ["1_000"], "'1_000' is no float"),
        ("date", ["2026-02-30"], "'2026-02-30' is no date in the form"),
        ("date", ["20260131"], "is no date in the form"),
        ("datetime", ["noon"], "'noon' is no datetime"),
        ("format", [3, "5000d"], "a width of more than 999"),
        ("format", [DAY, "%Q"], "has `%Q`, which is no part of a date"),
        ("format", [DAY, "%99Y"], "has `%9`, which is no part of a date"),
        ("format", [3, "%d"], "does not fit a number"),
        ("split", ["a", ""], "a separator that is not empty"),
        ("days", [1e12], "more than a duration can hold"),
        ("sum", [["a"]], "a number is needed, not string"),
        ("len", [3], "a value of type int has no length"),
    ],
)
def test_functions_tell_what_is_wrong(name: str, args: list[Any], message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        call(name, *args)


NUMBERS = ["call", "range", lit(MAX_ITEMS // 10 + 1)]


@pytest.mark.parametrize(
    "expr",
    [
        ["call", "range", lit(10**18)],
        ["call", "cross", ["in", 0], ["in", 0], ["in", 0]],
        ["call", "replace", ["in", 1], lit(""), ["in", 1]],
        ["call", "join", ["in", 0], ["in", 1]],
        ["for", ["x"], ["in", 0], ["for", ["y"], ["in", 0], lit(1), None], None],
        ["for", ["x"], ["in", 0], ["slice", ["in", 0], lit(0), lit(None)], None],
        ["for", ["x"], ["in", 0], ["str", ["in", 1], ["in", 1]], None],
    ],
)
def test_an_expression_cannot_fill_the_memory(expr: Expr) -> None:
    with pytest.raises(ExpressionError, match="builds more than"):
        given_inputs(expr, [0] * 5_000, "x" * 20_000)


def test_a_long_sum_is_no_deep_one() -> None:
    expr: Expr = lit(0)
    for _ in range(5_000):
        expr = ["op", "+", expr, lit(1)]
    assert given_inputs(expr) == 5_000


def test_a_compiled_expression_is_kept() -> None:
    expr = ["op", "+", ["in", 0], lit(1)]
    assert evaluate(expr, Env([1])) == 2
    assert evaluate(expr, Env([2])) == 3


def test_parts_of_durations_and_files() -> None:
    def part(value: object, name: str) -> Any:
        return given_inputs(["attr", ["in", 0], name], value)

    span = dt.timedelta(days=1, hours=2, minutes=3, seconds=4, milliseconds=5)
    assert [part(span, name) for name in ("days", "hours", "minutes", "seconds")] == [1, 2, 3, 4]
    assert part(-span, "hours") == -2
    assert part("in/x.tar.gz", "stem") == "x.tar"
    assert part(DAY, "weekday") == 6
    assert part(DAY, "quarter") == 1


numbers = st.integers(-(2**31), 2**31) | st.decimals(-1000, 1000, places=3)


@given(numbers, numbers.filter(bool))
def test_division_and_remainder_belong_together(a: Any, b: Any) -> None:
    rest = op("%", a, b)
    assert 0 <= rest < b if b > 0 else b < rest <= 0


@given(st.lists(st.integers()), st.integers(1, 10))
def test_chunks_flatten_to_the_list(xs: list[int], n: int) -> None:
    chunks = call("chunk", xs, n)
    assert call("flatten", chunks) == xs
    assert all(len(chunk) == n for chunk in chunks[:-1])
