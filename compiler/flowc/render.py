"""Diagnostics as text for people, as one line each, and as JSON objects.

A block shows the finding, its place, and the lines of source that take part, with carets under the place itself and
dashes under what contributes:

    error[FL0202] duplicate-name: `api` is already declared on line 1
     --> jobs.flow:2:7
      |
    1 | pool api { slots: 2 }
      |      --- first here
    2 | queue api { priority: 3 }
      |       ^^^
    help: give one of them another name

A line is cut to a window around its mark, tabs become spaces, and characters that steer a terminal are made visible.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from unicodedata import category, east_asian_width

import msgspec

from .diagnostic import Diagnostic, Severity
from .source import Source, Span

__all__ = [
    "CompileReport",
    "Finding",
    "PlanFile",
    "render_block",
    "render_line",
    "render_text",
    "summary",
    "to_finding",
]

#: characters of a source line that are shown
_WINDOW = 100
#: characters kept to the left of a mark in a long line
_BEFORE = 30
_TAB = "    "
#: Unicode categories of controls, formats (bidirectional overrides), surrogates, and line and paragraph separators
_STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

_RED, _YELLOW, _BLUE, _BOLD, _RESET = "\033[1;31m", "\033[1;33m", "\033[1;34m", "\033[1m", "\033[0m"
_COLOURS: dict[Severity, str] = {"error": _RED, "warning": _YELLOW, "info": _BLUE}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A diagnostic as `--json` prints it."""

    #: stable code, as FL0301
    code: str
    #: stable kebab-case name, as join-never-runs
    name: str
    severity: Severity
    #: as the user named it, or relative to the project's root
    file: str
    #: from 1
    line: int
    #: from 1, in characters
    column: int
    #: what is wrong
    message: str
    #: what to do, or ""
    help: str


class PlanFile(msgspec.Struct, frozen=True, kw_only=True):
    """A plan that was made, as `--json` prints it."""

    flow: str
    #: the file that declares the flow, as in the diagnostics
    file: str
    #: content address of the plan
    hash: str
    #: the file that the plan was written to
    plan: str
    #: what starts it once it is deployed: the names of its triggers, and what they wait for
    triggers: dict[str, str] = {}


class CompileReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `flowc compile --json` prints."""

    #: in the order of their places
    diagnostics: tuple[Finding, ...]
    #: empty after errors
    plans: tuple[PlanFile, ...]


def to_finding(diagnostic: Diagnostic, sources: Mapping[str, Source]) -> Finding:
    """A diagnostic with its place as line and column (1 and 1 in a file that could not be read)."""
    source = sources.get(diagnostic.span.file)
    line, column = (1, 1) if source is None else msgspec.structs.astuple(source.position(diagnostic.span.start))
    return Finding(
        code=diagnostic.code,
        name=diagnostic.name,
        severity=diagnostic.severity,
        file=diagnostic.span.file,
        line=line,
        column=column,
        message=diagnostic.message,
        help=diagnostic.help,
    )


def render_line(diagnostic: Diagnostic, sources: Mapping[str, Source]) -> str:
    """One line: `jobs.flow:2:7: error[FL0202] duplicate-name: …`."""
    found = to_finding(diagnostic, sources)
    head = f"{found.severity}[{found.code}] {found.name}"
    return _visible(f"{found.file}:{found.line}:{found.column}: {head}: {found.message}".replace("\n", " "))


def render_text(diagnostics: Iterable[Diagnostic], sources: Mapping[str, Source], *, colour: bool = False) -> str:
    """A block per diagnostic, with an empty line between them."""
    return "\n\n".join(render_block(diagnostic, sources, colour=colour) for diagnostic in diagnostics)


def summary(diagnostics: Iterable[Diagnostic]) -> str:
    """ "2 errors and 1 warning", or "" where there is neither."""
    counts = dict.fromkeys(("error", "warning"), 0)
    for diagnostic in diagnostics:
        if diagnostic.severity in counts:
            counts[diagnostic.severity] += 1
    return " and ".join(f"{count} {word}{'s' * (count != 1)}" for word, count in counts.items() if count)


def render_block(diagnostic: Diagnostic, sources: Mapping[str, Source], *, colour: bool = False) -> str:
    """One diagnostic with its source."""
    paint = _Paint(colour)
    strong = _COLOURS[diagnostic.severity]
    head = paint(strong, f"{diagnostic.severity}[{diagnostic.code}]")
    lines = [f"{head} {paint(_BOLD, f'{diagnostic.name}: {_visible(diagnostic.message)}')}"]
    marks = _marks(diagnostic, sources)
    margin = len(str(max((mark.line for mark in marks), default=1)))
    found = to_finding(diagnostic, sources)
    lines.append(" " * margin + paint(_BLUE, "--> ") + _visible(f"{found.file}:{found.line}:{found.column}"))
    if marks:
        lines.append(_gutter("", margin, paint))
    file, shown = diagnostic.span.file, 0
    for mark in marks:
        if mark.source.path != file:
            file, shown = mark.source.path, 0
            place = mark.source.position(mark.span.start)
            lines.append(" " * margin + paint(_BLUE, "::: ") + _visible(f"{file}:{place.line}:{place.column}"))
        elif shown and mark.line > shown + 1:
            lines.append(paint(_BLUE, "…"))
        lines += mark.lines(margin, paint, strong, with_source=mark.line != shown)
        shown = mark.line
    if diagnostic.help:
        lines.append(paint(_BLUE, "help") + ": " + _visible(diagnostic.help))
    return "\n".join(lines)


class _Paint:
    def __init__(self, is_on: bool) -> None:
        self._is_on = is_on

    def __call__(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._is_on and text else text


class _Mark(msgspec.Struct, frozen=True):
    """A place in one source that takes part."""

    source: Source
    span: Span
    line: int
    text: str
    is_main: bool

    def lines(self, margin: int, paint: _Paint, strong: str, *, with_source: bool) -> list[str]:
        """The line of source (unless it stands there already) and the line with the mark under it."""
        text = self.source.line(self.line)
        start = self.source.position(self.span.start).column - 1
        end = min(start + max(self.span.end - self.span.start, 1), max(len(text), start + 1))
        first, last = _window(len(text), start, end)
        cut = text[first:last]
        shown = ("…" if first else "") + _visible(cut) + ("…" if last < len(text) else "")
        before = _width(_visible(text[first:start])) + (first > 0)
        length = max(_width(_visible(text[start : min(end, last)])), 1)
        mark = ("^" if self.is_main else "-") * length
        label = f" {_visible(self.text)}" if self.text else ""
        under = " " * before + paint(strong if self.is_main else _BLUE, mark + label)
        found = [_gutter(str(self.line), margin, paint, shown)] if with_source else []
        return [*found, _gutter("", margin, paint, under)]


def _marks(diagnostic: Diagnostic, sources: Mapping[str, Source]) -> list[_Mark]:
    """The places in the order they are shown: the main file first, then by line, the main one first on its line."""
    places = [(diagnostic.span, "", True), *((label.span, label.text, False) for label in diagnostic.labels)]
    marks = [
        _Mark(sources[span.file], span, sources[span.file].position(span.start).line, text, is_main)
        for span, text, is_main in places
        if span.file in sources and sources[span.file].text
    ]
    main = diagnostic.span.file
    return sorted(marks, key=lambda mark: (mark.span.file != main, mark.span.file, mark.line, not mark.is_main))


def _gutter(number: str, margin: int, paint: _Paint, text: str = "") -> str:
    return (paint(_BLUE, f"{number:>{margin}} |") + (f" {text}" if text else "")).rstrip()


def _window(length: int, start: int, end: int) -> tuple[int, int]:
    """The part of a line that is shown: all of a short one, else a window around the mark."""
    if length <= _WINDOW:
        return 0, length
    first = max(0, min(start - _BEFORE, length - _WINDOW)) if end > _WINDOW else 0
    return first, min(length, first + _WINDOW)


def _visible(text: str) -> str:
    """The text without tabs and characters that steer a terminal."""
    if text.isprintable():
        return text
    return "".join(_TAB if c == "\t" else "�" if c != "\n" and category(c) in _STEERING else c for c in text)


def _width(text: str) -> int:
    """Columns of a terminal that the text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if category(c) == "Mn" else 2 if east_asian_width(c) in "WF" else 1 for c in text)
