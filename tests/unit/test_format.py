"""Trees print as text that parses to the same tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from flowc import syntax
from flowc.catalog import Findings
from flowc.format import print_expression, print_file, print_statement, print_type
from flowc.parse import parse, parse_expression
from flowc.source import Source
from hypothesis import HealthCheck, given, settings

from tests.unit.syntax_trees import expressions, files, shape

EXAMPLES = sorted(path for path in Path("specs/examples").rglob("*.flow") if path.is_file())


def parsed(text: str) -> syntax.File:
    findings = Findings()
    file = parse(Source("x.flow", text), findings)
    assert findings.sorted() == [], text
    return file


@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=100)
@given(expressions())
def test_printed_expressions_parse_to_the_same_tree(expression: Any) -> None:
    assert shape(parse_expression(print_expression(expression))) == shape(expression)


@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=60)
@given(files())
def test_printed_files_parse_to_the_same_tree(file: syntax.File) -> None:
    assert shape(parsed(print_file(file)).declarations) == shape(file.declarations)


@pytest.mark.parametrize("path", EXAMPLES, ids=str)
def test_examples_print_and_parse_to_the_same_tree(path: Path) -> None:
    file = parsed(path.read_text(encoding="utf-8"))
    printed = print_file(file)
    assert shape(parsed(printed)) == shape(file)
    assert print_file(parsed(printed)) == printed


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a+b*c", "a + b * c"),
        ("(a+b)*c", "(a + b) * c"),
        ("a-(b-c)", "a - (b - c)"),
        ("- x", "-x"),
        ("not (a and b)", "not (a and b)"),
        ("not a==b", "not a == b"),
        ("(a->b) catch(e) {}", "(a -> b) catch(e) { }"),
        ("a->b catch(e) {}", "a -> b catch(e) { }"),
        ("x.match?.on[0][1:]", "x.match?.on[0][1:]"),
        ('{ "two words": 1, type: 2, ...rest }', '{ "two words": 1, type: 2, ...rest }'),
        ("90m", "1h30m"),
        ("1024KiB", "1MiB"),
        ("if a then b else if c then d else e", "if a then b else if c then d else e"),
        ('"a $${b} \\${c} ${d}"', '"a $${b} $${c} ${d}"'),
    ],
)
def test_canonical_text(text: str, printed: str) -> None:
    assert print_expression(parse_expression(text)) == printed


def test_what_is_too_long_is_broken_into_lines() -> None:
    text = "flow f { " + ", ".join(f"step_{n} = call({n}) -> next with {{ timeout: {n}m }}" for n in range(3)) + " }"
    assert print_file(parsed(text)) == (
        "flow f {\n"
        "  step_0 = call(0) -> next with { timeout: 0s }\n"
        "  step_1 = call(1) -> next with { timeout: 1m }\n"
        "  step_2 = call(2) -> next with { timeout: 2m }\n"
        "}\n"
    )
    long = parse_expression(f"load({', '.join(f'argument_{n}: value_{n}' for n in range(9))})")
    assert print_expression(long).split("\n")[:2] == ["load(", "  argument_0: value_0,"]


def test_types_and_statements_print() -> None:
    file = parsed('type T = ("a" | "b")? | list<int?>\n')
    assert print_type(file.declarations[0].type) == '("a" | "b")? | list<int?>'  # type: ignore[union-attr]
    flow = parsed("flow f { done = if a { b() } else { c() } after d }").declarations[0]
    statement = flow.body.statements[0]  # type: ignore[union-attr]
    assert print_statement(statement) == "done = if a {\n  b()\n} else {\n  c()\n} after d"


def test_error_nodes_have_no_text() -> None:
    with pytest.raises(ValueError, match="ErrorNode"):
        print_file(syntax.File(0, 0, (syntax.ErrorNode(0, 0),)))


def test_shape_tells_trees_apart() -> None:
    assert shape(parse_expression("1")) != shape(parse_expression("1.0"))
    assert msgspec.structs.asdict(parse_expression(" x")) == {"start": 1, "end": 2, "id": "x"}
