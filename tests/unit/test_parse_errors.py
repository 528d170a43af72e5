"""Mistakes: each gives one finding at its place, and everything else is still read."""

from __future__ import annotations

from typing import Any

import pytest
from flowc import syntax
from flowc.catalog import Findings, entries
from flowc.parse import parse
from flowc.source import Source

SYNTAX = [entry for entry in entries() if entry.code.startswith("FL01")]


def found(text: str) -> list[tuple[str, int, int]]:
    """The findings of a text: name, line, column."""
    source, findings = Source("x.flow", text), Findings()
    parse(source, findings)
    places = [(finding.name, source.position(finding.span.start)) for finding in findings.sorted()]
    return [(name, place.line, place.column) for name, place in places]


def helps(text: str) -> list[str]:
    findings = Findings()
    parse(Source("x.flow", text), findings)
    return [finding.help for finding in findings.sorted()]


def in_flow(*lines: str) -> str:
    """A flow with these lines, of which the first is line 2."""
    return "\n".join(["flow f {", *(f"  {line}" for line in lines), "}", "task after_it() { run: x }", ""])


@pytest.mark.parametrize("entry", SYNTAX, ids=lambda entry: entry.name)
def test_examples_of_the_catalogue(entry: Any) -> None:
    assert [name for name, _, _ in found(entry.bad)] == [entry.name]
    assert found(entry.good) == []


@pytest.mark.parametrize(
    ("text", "name", "line", "column"),
    [
        # declarations
        ("taks t(day: date) { run: x }", "misspelt-keyword", 1, 1),
        ("flwo f { a() }", "misspelt-keyword", 1, 1),
        ("flow f() -> int { return 1 }", "foreign-syntax", 1, 10),
        ("flow f(): int { return 1 }", "foreign-syntax", 1, 9),
        ("def f():\n  x = 3\n", "foreign-syntax", 1, 1),
        ("import std.http\n", "foreign-syntax", 1, 1),
        ("from std.http import get\n", "foreign-syntax", 1, 1),
        ("class Row:\n  a: int\n", "foreign-syntax", 1, 1),
        ("@task(retries=3)\ntask t { run: x }", "foreign-syntax", 1, 1),
        ("task t(a, b: int) { run: x }", "missing-type", 1, 8),
        ("task t(a = 1) { run: x }", "wrong-separator", 1, 10),
        ("task t(a: list[int]) { run: x }", "foreign-syntax", 1, 15),
        ("task t(a: int b: int) { run: x }", "missing-comma", 1, 14),
        ("task t() returns { run: x }\n", "missing-block", 1, 28),
        ("type T = { a = int }", "wrong-separator", 1, 14),
        ("type T: { a: int }", "wrong-separator", 1, 7),
        ("type T = ", "missing-value", 1, 8),
        ("let x: 3", "wrong-separator", 1, 6),
        ("let if = 3", "keyword-as-name", 1, 5),
        ("var x = 3", "wrong-separator", 1, 7),
        ("pool p = { slots: 3 }", "foreign-syntax", 1, 8),
        ("pool { slots: 3 }", "missing-part", 1, 6),
        ("connection d: { x: 1 }", "missing-value", 1, 18),
        ("use std.http\nflow f { x() }", "missing-block", 1, 13),
        ("use std.http { get as g }", "foreign-syntax", 1, 20),
        ("use std.http { }", "empty-import", 1, 1),
        ('test "of ${x}" { }', "interpolation-not-possible", 1, 6),
        ("test name { expect x }", "missing-part", 1, 6),
        ("chain c(x: int) = \ngroup g(x: int) = [a(x)]", "missing-value", 1, 17),
        ("flow 3() { }", "missing-part", 1, 6),
        ("flow f\ntask t { run: x }", "missing-block", 1, 7),
        ("x = f()\ny = g()\nflow z { a() }", "misplaced-statement", 1, 1),
        ("timeout: 5m", "misplaced-statement", 1, 1),
        ("x = 1 +", "misplaced-statement", 1, 1),
        ("return 1", "misplaced-statement", 1, 1),
        ("pool a { } pool b { }", "missing-line-end", 1, 12),
        # brackets
        ("flow f(x: int {\n  a()\n}\nflow g { b() }", "unclosed-bracket", 1, 7),
        ("flow f {\n  if x {\n    a()\n  b()\n}\ntask t { run: x }", "unclosed-bracket", 2, 8),
        ("flow f {\n  a()\n\ntask t { run: x }\n", "unclosed-bracket", 1, 8),
        ("flow f {\n  if x {\n    a()\n  }\n  }\n  b()\n  c = d()\n}\ntask t { run: x }", "stray-bracket", 5, 3),
        ("flow f {\n  a()\n}\n}\ntask t { run: x }", "stray-bracket", 4, 1),
        ("flow f {\n  a = g(1,\n  b = h(2)\n}", "unclosed-bracket", 2, 8),
        ("flow f {\n  a = g(1\n  return a\n}", "unclosed-bracket", 2, 8),
        ("flow f {\n  a = g(1, [2, 3)\n}", "unclosed-bracket", 2, 12),
        ("flow f {\n  a = g(1]\n}", "mismatched-bracket", 2, 10),
        ("flow f {\n  a = [1, 2\n}", "unclosed-bracket", 2, 7),
        ("flow f { x = [1, 2, }", "unclosed-bracket", 1, 14),
        ("flow f {\n  a = { b: 1\n  c = 2\n}\ntask t { run: x }", "unclosed-bracket", 2, 7),
        ("flow f {\n  a = g(1))\n}", "stray-bracket", 2, 11),
        ("task t {\n  run: x\n  retry: { max: 3\n}\ntask u { run: x }", "unclosed-bracket", 3, 10),
        ("flow f {\n\tif x {\n\t\ta()\n\tb()\n}\n", "unclosed-bracket", 2, 7),
        # quotes
        ('task t { run: shell("true), timeout: 1m }', "unclosed-string", 1, 21),
        ('flow f {\n  g("#data, "late")\n  b = h(2)\n}', "unclosed-string", 2, 18),
        ('task t {\n  run: shell("""\n    abc\n}\ntask u { run: shell("""\n  x\n  """) }', "unclosed-string", 2, 14),
        ('task t { run: shell("""abc', "unclosed-string", 1, 21),
        ('flow f { g("${day") }', "unclosed-interpolation", 1, 13),
        ('flow f {\n  g("x ${h(1} y")\n}', "unclosed-bracket", 2, 11),
        ('flow f {\n  x = "abc ${g("\n}', "unclosed-interpolation", 2, 12),
        ('flow f { g("a\\qb") }', "unknown-escape", 1, 14),
        ('flow f { g("${}") }', "missing-value", 1, 13),
        ("flow f { g('x') }", "foreign-syntax", 1, 12),
        ("flow f { g(“x”) }", "foreign-syntax", 1, 12),
    ],
)
def test_mistakes_in_declarations_brackets_and_quotes(text: str, name: str, line: int, column: int) -> None:
    assert found(text) == [(name, line, column)]


@pytest.mark.parametrize(
    ("text", "name", "column"),
    [
        # words
        ("retun x", "misspelt-keyword", 3),
        ("trigerr n = cron()", "misspelt-keyword", 3),
        ("iff x { a() }", "misspelt-keyword", 3),
        ("x = a() wiht { timeout: 1m }", "misspelt-keyword", 11),
        ("x = a() afer b", "misspelt-keyword", 11),
        ("if a { b() } esle { c() }", "misspelt-keyword", 16),
        ("x = [a form b in c]", "misspelt-keyword", 10),
        ("x = if a thne b else c", "misspelt-keyword", 12),
        ("for x in xs { a(x) }", "foreign-syntax", 3),
        ("while x { a() }", "foreign-syntax", 3),
        ("try { a() }", "foreign-syntax", 3),
        ("if a { b() } elif c { d() }", "foreign-syntax", 16),
        ("x = lambda y: y", "foreign-syntax", 7),
        ("x = await a()", "foreign-syntax", 7),
        ("x = a is null", "foreign-syntax", 9),
        ("x = a not in b", "foreign-syntax", 9),
        ("match = a()", "keyword-as-name", 3),
        ("if = a()", "keyword-as-name", 3),
        ("let x = 3", "misplaced-declaration", 3),
        ("task t() { run: x }", "misplaced-declaration", 3),
        # `=` and `:`
        ("x = a(n = 1)", "wrong-separator", 11),
        ("x = { n = 1 }", "wrong-separator", 11),
        ("trigger n: cron()", "wrong-separator", 12),
        ("if a = b { c() }", "assignment-in-expression", 8),
        ("expect a = b", "assignment-in-expression", 12),
        ("trigger x cron()", "missing-part", 13),
        # signs of other languages
        ("x = a && b", "foreign-syntax", 9),
        ("x = a || b", "foreign-syntax", 9),
        ("x = !a", "foreign-syntax", 7),
        ("x = a === b", "foreign-syntax", 9),
        ("x = a ? 1 : 2", "foreign-syntax", 9),
        ("x += 1", "foreign-syntax", 5),
        ("x := 1", "foreign-syntax", 5),
        ("x = a();", "foreign-syntax", 10),
        ("a(); b()", "foreign-syntax", 6),
        ("a() // note", "foreign-syntax", 7),
        ("a() /* note */", "foreign-syntax", 7),
        ("x = a §", "unknown-character", 9),
        ("x = größe", "unknown-character", 7),
        ("x = $name", "unknown-character", 7),
        ("x = a → b", "unknown-character", 9),
        ("if x: a()", "foreign-syntax", 7),
        ('match x { "a" => b(), else: c() }', "foreign-syntax", 17),
        # numbers
        ("timeout: 30sec", "bad-number", 12),
        ("timeout: 1h30", "bad-number", 12),
        ("x = 0x1F", "bad-number", 7),
        ("x = 1__0", "bad-number", 7),
        ("x = 99999999999999999999", "number-too-large", 7),
        ("x = 1e999", "number-too-large", 7),
        ("x = 99999999w", "number-too-large", 7),
        ("x = 2026-13-01", "invalid-date", 7),
        ("x = 2026-01-31T25:00", "invalid-date", 7),
        # something is missing
        ("x =", "missing-value", 5),
        ("x = 1 +", "missing-value", 9),
        ("x = a.", "missing-value", 8),
        ("x = a ->", "missing-value", 9),
        ("x = = 3", "missing-value", 5),
        ("x = a and and b", "missing-value", 9),
        ("return", "missing-value", 3),
        ("if { a() }", "missing-value", 3),
        ("each x of xs { a(x) }", "missing-part", 10),
        ("each x in xs a(x)", "missing-block", 15),
        ("repeat { a() }", "missing-part", 17),
        ("using a = b() { c() }", "missing-part", 24),
        ("x = a() catch { b() }", "missing-part", 17),
        ("x = if a then b", "missing-part", 18),
        ("if x", "missing-block", 7),
        ("x = a(1 2)", "missing-comma", 10),
        ("x = { a: 1 b: 2 }", "missing-comma", 13),
        ("x = a() b()", "missing-line-end", 11),
        ("x = 5 6", "missing-line-end", 9),
        # out of place
        ("else { a() }", "word-without-partner", 3),
        ("x = a(),, y = b()", "unexpected-token", 11),
        ("x = [,]", "unexpected-token", 8),
        ("x = 1 < n < 3", "chained-comparison", 13),
        ("x = a() with { b: 1 } with { c: 2 }", "duplicate-modifier", 25),
        ("if a\n  {\n    b()\n  }", "brace-on-own-line", 3),
    ],
)
def test_mistakes_in_statements(text: str, name: str, column: int) -> None:
    """Each in line 2 but for the brace, between two lines that are right."""
    line = 3 if name == "brace-on-own-line" else 2
    assert found(in_flow(text, "good = a(1)")) == [(name, line, column)]


def test_five_mistakes_give_five_findings() -> None:
    text = """\
use std.http { get }

taks load(day: date) { run: python("a:b") }

task store(rows: list<string>) {
  run: python("a:c")
  timeout: 30sec
}

flow first(day: date) {
  rows = load(day
  store(rows)
  other = store(rows) wiht { timeout: 1m }
}

flow second {
  if true {
    x = 1 +
  }
  return "fine"
}
"""
    assert found(text) == [
        ("misspelt-keyword", 3, 1),
        ("bad-number", 7, 12),
        ("unclosed-bracket", 11, 14),
        ("misspelt-keyword", 13, 23),
        ("missing-value", 18, 11),
    ]


def test_what_is_right_around_a_mistake_is_kept() -> None:
    text = (
        "let a = 1\nflow f(x: int) {\n  one = a()\n  two = = b()\n  if one {\n    three = c() d()\n  }\n"
        "  return one\n}\ntsak t() { run: x }\npool p { }\n"
    )
    file = parse(Source("x.flow", text), Findings())
    assert [type(node).__name__ for node in file.declarations] == ["Let", "FlowDecl", "ErrorNode", "Resource"]
    flow = file.declarations[1]
    assert isinstance(flow, syntax.FlowDecl)
    first, second, branch, last = flow.body.statements
    assert isinstance(first, syntax.Bind)
    assert second == syntax.ErrorNode(text.index("two"), text.index("two") + len("two = = b()"), "two")
    assert isinstance(branch, syntax.If)
    assert [node.name for node in branch.then.statements if isinstance(node, syntax.ErrorNode)] == ["three"]
    assert isinstance(last, syntax.Return)
    assert file.declarations[2] == syntax.ErrorNode(text.index("tsak"), text.index("\npool"), "t")


def test_mistakes_in_a_head_and_in_its_block_are_both_found() -> None:
    assert found("flow f(x) {\n  a = = 1\n  b = c()\n}\n") == [("missing-type", 1, 8), ("missing-value", 2, 5)]
    assert found(in_flow("if a b {", "  c = = 1", "}")) == [("unexpected-token", 2, 8), ("missing-value", 3, 7)]


def test_names_that_a_broken_part_binds_are_kept() -> None:
    text = "use std.http { get, post as p }\nflow f {\n  if a q {\n    x = b()\n  } else {\n    y = c()\n  }\n}\n"
    file = parse(Source("x.flow", text), Findings())
    names = [node.name for node in file.declarations if isinstance(node, syntax.ErrorNode)]
    assert {"get", "post"} <= set(names)
    flow = file.declarations[-1]
    assert isinstance(flow, syntax.FlowDecl)
    bound = [getattr(node, "name", None) for node in flow.body.statements]
    assert bound == ["x", "y"]


def test_a_value_that_is_guessed_is_not_handed_on() -> None:
    text = 'flow f {\n  a = 1\n  if a {\n    b = c(30sec)\n    d = e("x)\n  }\n  g()\n}\nlet h = 2026-02-30\n'
    file = parse(Source("x.flow", text), Findings())
    flow, constant = file.declarations
    assert isinstance(flow, syntax.FlowDecl)
    first, branch, last = flow.body.statements
    assert isinstance(first, syntax.Bind)
    assert isinstance(branch, syntax.If)
    assert [getattr(node, "name", None) for node in branch.then.statements] == ["b", "d"]
    assert {type(node) for node in branch.then.statements} == {syntax.ErrorNode}
    assert isinstance(last, syntax.ExprStmt)
    assert isinstance(constant, syntax.ErrorNode)
    assert constant.name == "h"


def test_docs_survive_a_mistake_elsewhere() -> None:
    file = parse(Source("x.flow", "## Of a.\nlet a = 1\n## Of b.\nlet b = = 2\n## Of c.\nlet c = 3\n"), Findings())
    assert [getattr(node, "doc", "-") for node in file.declarations] == ["Of a.", "-", "Of c."]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("task t { run: x, timeout: 5min }", "`5m`"),
        ("task t { memory: 512mb }", "`512MB`"),
        ("def f(): pass", "task name"),
        ("flow f { x = a(); }", "semicolon"),
        ("flow f { x = a(n = 1) }", "`:`"),
        ("flow f { x = (1, }", "`)`"),
        ("flow f { retrun x }", "`return`"),
        ("flow f {\n  x = 1\n  + 2\n}", "operator"),
    ],
)
def test_helps_say_what_to_do(text: str, part: str) -> None:
    assert any(part in help for help in helps(text))


def test_a_mistake_in_a_large_file_does_not_make_it_slow() -> None:
    text = "\n".join(f"task t{n}(a: int) {{ run: x, timeout: {n}m }}" for n in range(500)) + "\nflow f { x = = 1 }\n"
    assert found(text) == [("missing-value", 501, 12)]
