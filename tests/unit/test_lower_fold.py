"""Constant folding gives what the run would give."""

from __future__ import annotations

from typing import Any

import pytest
from flowc.lower.fold import fold
from flowrun.expr import Env, ExpressionError, compile_expr
from hypothesis import given
from hypothesis import strategies as st

Expr = list[Any]
X: Expr = ["ref", 1]


def lit(value: object) -> Expr:
    return ["lit", value]


@pytest.mark.parametrize(
    ("expr", "folded"),
    [
        (["op", "+", lit(1), ["op", "*", lit(2), lit(3)]], lit(7)),
        (["op", "+", X, ["op", "*", lit(2), lit(3)]], ["op", "+", X, lit(6)]),
        (["op", "/", lit(1), lit(2)], ["op", "/", lit(1), lit(2)]),
        (["op", "%", lit(1), lit(0)], ["op", "%", lit(1), lit(0)]),
        (["op", "*", lit(2**62), lit(4)], ["op", "*", lit(2**62), lit(4)]),
        (["op", "==", lit(1), lit(True)], ["op", "==", lit(1), lit(True)]),
        (["op", "<", lit("a"), lit("b")], lit(True)),
        (["if", lit(True), X, lit(1)], X),
        (["and", lit(False), X], lit(False)),
        (["and", lit(True), X], ["and", lit(True), X]),
        (["??", lit(None), X], X),
        (["str", lit("a"), lit(1), X, lit("b"), lit("c")], ["str", lit("a1"), X, lit("bc")]),
        (["str", lit("a"), lit(True), lit(None)], lit("atruenull")),
        (["str", lit(0.5), lit("x")], ["str", lit(0.5), lit("x")]),
        (["str"], lit("")),
        (["neg", lit(3)], lit(-3)),
        (["record", [["ref", ["neg", lit(3)]]]], ["record", [["ref", lit(-3)]]]),
        (["for", ["neg"], X, ["var", "neg"], ["not", lit(True)]], ["for", ["neg"], X, ["var", "neg"], lit(False)]),
    ],
)
def test_folding(expr: Expr, folded: Expr) -> None:
    assert repr(fold(expr)) == repr(folded)


def test_what_does_not_change_is_the_same_object() -> None:
    expr = ["list", X, ["op", "+", X, lit(1)]]
    assert fold(expr) is expr


leaves = st.sampled_from([lit(v) for v in (0, 1, -3, 2**62, 0.5, True, False, None, "a", "")] + [["in", 0]])


def _grow(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    ops = st.sampled_from(["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "in"])
    return (
        st.builds(lambda op, a, b: ["op", op, a, b], ops, inner, inner)
        | st.builds(lambda op, a: [op, a], st.sampled_from(["neg", "not"]), inner)
        | st.builds(lambda op, a, b: [op, a, b], st.sampled_from(["and", "or", "??"]), inner, inner)
        | st.builds(lambda c, a, b: ["if", c, a, b], inner, inner, inner)
        | st.builds(lambda parts: ["str", *parts], st.lists(inner, max_size=3))
        | st.builds(lambda parts: ["list", *parts], st.lists(inner, max_size=3))
    )


def outcome(expr: Expr) -> str:
    try:
        return repr(compile_expr(expr)(Env([7])))
    except ExpressionError as error:
        return f"error: {error}"


@given(st.recursive(leaves, _grow, max_leaves=12))
def test_a_folded_expression_means_the_same(expr: Expr) -> None:
    assert outcome(fold(expr)) == outcome(expr)
