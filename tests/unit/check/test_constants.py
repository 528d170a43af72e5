"""Folding of constants."""

from __future__ import annotations

from typing import Any

import pytest
from flowc.check.constants import fold, plain
from flowrun.expr import Env, ExpressionError, evaluate
from hypothesis import given
from hypothesis import strategies as st

from .program import checked, names

LITERALS = st.one_of(
    st.integers(-100, 100).map(lambda n: ["lit", n]),
    st.booleans().map(lambda b: ["lit", b]),
    st.sampled_from(["", "a", "ab"]).map(lambda s: ["lit", s]),
    st.integers(0, 10**9).map(lambda n: ["duration", n]),
    st.floats(-10, 10).map(lambda x: ["lit", x]),
)


def _nested(inner: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[list[Any]]:
    operators = st.sampled_from(["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">="])
    return st.one_of(
        st.tuples(operators, inner, inner).map(lambda t: ["op", *t]),
        inner.map(lambda e: ["neg", e]),
        st.lists(inner, max_size=3).map(lambda items: ["list", *items]),
        st.tuples(st.lists(inner, min_size=1, max_size=3), st.integers(-4, 4)).map(
            lambda t: ["index", ["list", *t[0]], ["lit", t[1]]]
        ),
        st.tuples(inner, inner).map(lambda t: ["attr", ["record", [["a", t[0]], ["b", t[1]]]], "b"]),
        st.lists(inner, max_size=3).map(lambda parts: ["str", *parts]),
        st.tuples(st.booleans(), inner, inner).map(lambda t: ["if", ["lit", t[0]], t[1], t[2]]),
    )


EXPRESSIONS = st.recursive(LITERALS, _nested, max_leaves=8)


def _value(expr: list[Any]) -> object:
    try:
        return evaluate(expr, Env())
    except ExpressionError:
        return ExpressionError


@given(EXPRESSIONS)
def test_folding_keeps_the_value(expr: list[Any]) -> None:
    expected, found = _value(expr), _value(fold(expr))
    if expected is not ExpressionError:
        assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("1 + 2 * 3", 7),
        ("-(4)", -4),
        ('"a${"b"}c"', "abc"),
        ("{ a: 1, ...{ b: 2 } }", {"a": 1, "b": 2}),
        ("[1, 2][1]", 2),
        ("if 1 < 2 then 1m else 2m", 60_000_000),
        ("not true or false", False),
    ],
)
def test_let(source: str, value: object) -> None:
    text = f'let x = {source}\ntask t(a: json = x) {{ run: shell("echo ${{a}}") }}\nflow main {{ t() }}\n'
    program, _ = checked(text)
    (step,) = program.flows["main.flow:main"].body.steps
    assert plain(step.args["a"]) == value


def test_what_is_not_constant_is_no_plain_value() -> None:
    with pytest.raises(ValueError, match="ref"):
        plain(["list", ["ref", 1]])


def test_a_variable_is_read_by_its_id() -> None:
    text = 'var n: int = 3\nvar m: int\ntask t(a: int) { run: shell("echo ${a}") }\nflow main { t(n)\nt(m + n) }\n'
    program, findings = checked(text)
    assert findings.sorted() == []
    flow = program.flows["main.flow:main"]
    assert [(known.name, known.type, known.default) for known in flow.variables] == [
        ("n", "int", ["lit", 3]),
        ("m", "int", None),
    ]
    n, m = (known.id for known in flow.variables)
    first, second = flow.body.steps
    assert first.args == {"a": ["ref", n]}
    assert second.args == {"a": ["op", "+", ["ref", m], ["ref", n]]}


def test_the_text_of_a_task_reads_variables_by_arguments() -> None:
    text = 'var host: string = "a"\ntask t(a: int) { run: shell("echo ${a} ${host}") }\nflow main { t(1) }\n'
    program, _ = checked(text)
    (variable,) = program.flows["main.flow:main"].variables
    assert [param.name for param in program.tasks["main.flow:t"].params] == ["a", "host"]
    (step,) = program.flows["main.flow:main"].body.steps
    assert step.args == {"a": ["lit", 1], "host": ["ref", variable.id]}


@pytest.mark.parametrize(
    "text",
    [
        "var n: int = 3\nlet m = n\n",
        "var n: int = 3\nflow main(m: int = n) returns int { return m }\n",
        'var n: int = 3\ntask t(a: int = n) { run: shell("echo ${a}") }\n',
        "var n: int = 3\nflow main { max_active_runs: n }\n",
        'var n: string = "a"\nflow main { idempotency_key: n }\n',
        'var n: string = "a"\nconnection c: sqlite { path: n }\n',
        'var n: string = "a"\nflow main { trigger e = event("a.b", key: n) }\n',
    ],
)
def test_variables_are_not_known_before_a_run_begins(text: str) -> None:
    assert "not-constant" in names(text)


def test_defaults_of_variables_are_checked() -> None:
    assert names('var n: int = "a"\n') == ["type-mismatch"]
    assert names('var n: secret<string> = "a"\n') == ["secret-leak"]
