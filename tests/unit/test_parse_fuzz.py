"""Whatever the text, the parser gives a file and findings inside of it, and never an exception."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flowc import syntax
from flowc.catalog import Findings
from flowc.parse import decode_source, machine, parse
from flowc.parse.build import Refused
from flowc.parse.lexer import scan
from flowc.parse.tokens import KEYWORDS
from flowc.source import Source
from hypothesis import given, settings
from hypothesis import strategies as st

EXAMPLES = [
    path.read_text(encoding="utf-8") for path in sorted(Path("specs/examples").rglob("*.flow")) if path.is_file()
]
PIECES = [
    *sorted(KEYWORDS), *"{}()[],:=.|;#'\"\\ \t\n", "==", "->", "??", "?.", "...", "${",
    '"""', '\\"', "##", "\n  ", "\r\n",
    "a", "b", "x1", "_", "1", "2h", "3KB", "1.5", "2026-01-31", '"text"', '"${a}"', "task t() {", "flow f {",
    "x = f(1)\n", "é", "\u00a0", "\x00", "\ufeff",
]  # fmt: skip


def check(text: str) -> syntax.File:
    source, findings = Source("x.flow", text), Findings()
    file = parse(source, findings)
    for finding in findings.sorted():
        assert 0 <= finding.span.start <= finding.span.end <= len(text)
        assert finding.message
    broken = any(isinstance(node, syntax.ErrorNode) for node in walk(file))
    assert findings.has_errors == (broken or not parses_as_a_whole(text))
    assert [node.start for node in file.declarations] == sorted(node.start for node in file.declarations)
    return file


def parses_as_a_whole(text: str) -> bool:
    lexer = scan(text)
    if lexer.problems or lexer.types == ["$END"]:
        return not lexer.problems
    try:
        machine.run(lexer.tokens, "file")
    except (machine.Stop, Refused):
        return False
    return True


def walk(node: Any) -> Any:
    yield node
    for name in node.__struct_fields__:
        value = getattr(node, name)
        for child in value if isinstance(value, tuple) else (value,):
            if isinstance(child, syntax.Node):
                yield from walk(child)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_pieces_in_any_order(text: str) -> None:
    check(text)


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    check(text)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_damaged_examples(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(EXAMPLES))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        text = text[:start] + data.draw(st.sampled_from(["", *PIECES])) + text[end:]
    check(text)


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    findings = Findings()
    source = decode_source("x.flow", data, findings)
    assert (source is None) == findings.has_errors
    if source is not None:
        check(source.text)


def test_each_prefix_of_an_example_is_read() -> None:
    text = EXAMPLES[0]
    for end in range(0, len(text), 7):
        check(text[:end])
