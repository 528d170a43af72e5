"""Findings as text, as one line, and as JSON objects."""

from __future__ import annotations

from unicodedata import category

import msgspec
import pytest
from flowc.diagnostic import Diagnostic, Label, Severity
from flowc.render import render_block, render_line, render_text, summary, to_finding
from flowc.source import Source, Span
from hypothesis import given
from hypothesis import strategies as st

TEXT = "pool api { slots: 2 }\nqueue api { priority: 3 }\n"


def diagnostic(start: int, end: int, *labels: Label, help: str = "", severity: Severity = "error") -> Diagnostic:
    return Diagnostic(
        code="FL0202",
        name="duplicate-name",
        severity=severity,
        message="`api` is already declared",
        span=Span("jobs.flow", start, end),
        help=help,
        labels=labels,
    )


def block(text: str, start: int, end: int, *labels: Label, help: str = "") -> list[str]:
    sources = {"jobs.flow": Source("jobs.flow", text), "lib.flow": Source("lib.flow", "let x = 1\n")}
    return render_block(diagnostic(start, end, *labels, help=help), sources).splitlines()


def test_block() -> None:
    first = Label(span=Span("jobs.flow", 5, 8), text="first here")
    assert block(TEXT, 28, 31, first, help="rename one") == [
        "error[FL0202] duplicate-name: `api` is already declared",
        " --> jobs.flow:2:7",
        "  |",
        "1 | pool api { slots: 2 }",
        "  |      --- first here",
        "2 | queue api { priority: 3 }",
        "  |       ^^^",
        "help: rename one",
    ]


def test_label_on_the_same_line_shares_it() -> None:
    found = block(TEXT, 0, 4, Label(span=Span("jobs.flow", 5, 8), text="here"))
    assert found[3:] == ["1 | pool api { slots: 2 }", "  | ^^^^", "  |      --- here"]


def test_lines_between_are_left_out() -> None:
    found = block("a\nb\nc\n", 0, 1, Label(span=Span("jobs.flow", 4, 5), text="here"))
    assert found[3:] == ["1 | a", "  | ^", "…", "3 | c", "  | - here"]


def test_label_in_another_file_names_it() -> None:
    found = block(TEXT, 0, 4, Label(span=Span("lib.flow", 4, 5), text="also here"))
    assert found[5:] == [" ::: lib.flow:1:5", "1 | let x = 1", "  |     - also here"]


@pytest.mark.parametrize(
    ("text", "start", "end", "shown", "mark"),
    [
        ("\tx = 1", 1, 2, "1 |     x = 1", "  |     ^"),
        ("a\tbad", 2, 5, "1 | a    bad", "  |      ^^^"),
        ("名前 = bad", 5, 8, "1 | 名前 = bad", "  |        ^^^"),
        ("x = 1", 5, 5, "1 | x = 1", "  |      ^"),
        ("a {\n b\n}", 2, 8, "1 | a {", "  |   ^"),
        ("\x1b[2Jx", 4, 5, "1 | �[2Jx", "  |     ^"),
        ("e\u0301 x", 3, 4, "1 | e\u0301 x", "  |   ^"),
    ],
)
def test_marks_stand_under_their_place(text: str, start: int, end: int, shown: str, mark: str) -> None:
    assert block(text, start, end)[3:5] == [shown, mark]


def test_long_lines_are_cut_around_the_mark() -> None:
    found = block("a" * 500 + "BAD" + "b" * 500, 500, 503)
    assert found[3] == "1 | …" + "a" * 30 + "BAD" + "b" * 67 + "…"
    assert found[4] == "  | " + " " * 31 + "^^^"


def test_a_mark_longer_than_the_window_ends_with_it() -> None:
    found = block("x" * 1000, 0, 1000)
    assert found[4] == "  | " + "^" * 100


@given(st.text(max_size=300), st.integers(0, 300), st.integers(0, 300))
def test_any_text_gives_printable_lines_of_bounded_width(text: str, start: int, length: int) -> None:
    start = min(start, len(text))
    for line in block(text, start, min(start + length, len(text))):
        assert not {category(c) for c in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
        assert len(line) < 520


def test_unread_file_has_no_source() -> None:
    assert render_block(diagnostic(0, 0), {}).splitlines()[1:] == [" --> jobs.flow:1:1"]


def test_one_line() -> None:
    found = render_line(diagnostic(28, 31), {"jobs.flow": Source("jobs.flow", TEXT)})
    assert found == "jobs.flow:2:7: error[FL0202] duplicate-name: `api` is already declared"


def test_json_object() -> None:
    found = msgspec.to_builtins(to_finding(diagnostic(28, 31, help="h"), {"jobs.flow": Source("jobs.flow", TEXT)}))
    assert found == {
        "code": "FL0202",
        "name": "duplicate-name",
        "severity": "error",
        "file": "jobs.flow",
        "line": 2,
        "column": 7,
        "message": "`api` is already declared",
        "help": "h",
    }


def test_colour_only_when_asked() -> None:
    sources = {"jobs.flow": Source("jobs.flow", TEXT)}
    plain = render_text([diagnostic(28, 31)], sources)
    coloured = render_text([diagnostic(28, 31)], sources, colour=True)
    assert "\033" not in plain
    assert coloured.startswith("\033[1;31merror[FL0202]\033[0m")


def test_text_has_an_empty_line_between_blocks() -> None:
    sources = {"jobs.flow": Source("jobs.flow", TEXT)}
    assert render_text([diagnostic(0, 1), diagnostic(2, 3)], sources).count("\n\n") == 1


@pytest.mark.parametrize(
    ("severities", "wanted"),
    [
        ([], ""),
        (["error"], "1 error"),
        (["error", "warning", "error"], "2 errors and 1 warning"),
        (["warning", "info"], "1 warning"),
    ],
)
def test_summary(severities: list[Severity], wanted: str) -> None:
    assert summary(diagnostic(0, 1, severity=severity) for severity in severities) == wanted
