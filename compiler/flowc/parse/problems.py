"""What the lexer and the machine find wrong, before it is decided whether it is reported."""

from __future__ import annotations

from typing import NamedTuple

from flowc.catalog import Findings
from flowc.diagnostic import Label
from flowc.source import Source

__all__ = ["Problem", "report"]

#: findings of the lexer after which the value of a token is a guess, or a part of the text is left out
_SPOILING = frozenset(
    {"bad-number", "number-too-large", "invalid-date", "unclosed-string", "unclosed-interpolation", "unknown-character"}
)
#: signs that bind a name anew elsewhere
_ASSIGNMENTS = frozenset({"+=", "-=", "*=", "/=", "%="})


class Problem(NamedTuple):
    """A finding to be: the catalogue's name, its place, and what fills the templates."""

    name: str
    start: int
    end: int
    fields: dict[str, object] = {}  # noqa: RUF012 - never written to
    help: str | None = None
    #: secondary places: start, end, text
    labels: tuple[tuple[int, int, str], ...] = ()

    @property
    def is_spoiling(self) -> bool:
        """Whether what was read there is a guess."""
        return self.name in _SPOILING or self.fields.get("found") in _ASSIGNMENTS


def report(problem: Problem, source: Source, findings: Findings) -> None:
    labels = tuple(Label(span=source.span(start, end), text=text) for start, end, text in problem.labels)
    span = source.span(problem.start, problem.end)
    findings.add(problem.name, span, help=problem.help, labels=labels, **problem.fields)
