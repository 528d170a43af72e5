"""Every finding the compiler can give: one `Entry` per code, with message, help, a failing and a fixed example.

One module per family, each a tuple ENTRIES. The families and their codes:

    input     FL00xx   files that cannot be read          types     FL04xx   types and signatures
    syntax    FL01xx   text that does not parse           settings  FL05xx   settings and resources
    names     FL02xx   names, imports, modules            time      FL06xx   (with triggers and SLAs)
    graph     FL03xx   steps and rules                    capacity  FL07xx   pools and fan-out
    support   FL09xx   not supported yet                  safety    FL08xx   reliability and security
    project   FL10xx   flow.toml

`Findings` collects diagnostics: `findings.add("unknown-name", span, name="foo", kind="task")` fills the entry's
templates (`{name}`) and never gives two errors at one place for one cause.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import import_module

import msgspec

from flowc.diagnostic import Diagnostic, Label, Severity
from flowc.source import Span

__all__ = ["FAMILIES", "Entry", "Findings", "by_code", "by_name", "entries"]

FAMILIES = (
    "input", "syntax", "names", "graph", "types", "settings", "time", "capacity", "safety", "support", "project",
)  # fmt: skip


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of finding."""

    code: str
    name: str
    severity: Severity = "error"
    #: template of the message: one sentence, without a full stop
    message: str
    #: template of the help: what to do
    help: str = ""
    #: why it matters, for `flowc explain`: a few sentences of Markdown
    explanation: str
    #: a whole `.flow` file that gives this finding; "" where text cannot show it (an unreadable file)
    bad: str = ""
    #: the same, mended
    good: str = ""


@cache
def by_name() -> dict[str, Entry]:
    """All entries by name."""
    found: dict[str, Entry] = {}
    for family in FAMILIES:
        for entry in import_module(f"{__name__}.{family}").ENTRIES:
            assert entry.name not in found, entry.name
            found[entry.name] = entry
    return found


@cache
def by_code() -> dict[str, Entry]:
    """All entries by code."""
    return {entry.code: entry for entry in by_name().values()}


def entries() -> list[Entry]:
    """All entries in the order of their codes."""
    return sorted(by_name().values(), key=lambda entry: entry.code)


class Findings:
    """Collects diagnostics, in the order of their places."""

    def __init__(self) -> None:
        self._found: dict[tuple[Span, str], Diagnostic] = {}

    def add(
        self,
        name: str,
        span: Span,
        /,
        *,
        help: str | None = None,
        labels: tuple[Label, ...] = (),
        **fields: object,
    ) -> None:
        """Adds the finding `name` at `span`; `help` replaces the entry's own."""
        entry = by_name()[name]
        found = Diagnostic(
            code=entry.code,
            name=entry.name,
            severity=entry.severity,
            message=entry.message.format(**fields),
            span=span,
            help=entry.help.format(**fields) if help is None else help,
            labels=labels,
        )
        self._found.setdefault((span, name), found)

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Adds what others found."""
        for found in diagnostics:
            self._found.setdefault((found.span, found.name), found)

    def remove(self, diagnostic: Diagnostic) -> None:
        """Takes a finding back."""
        self._found.pop((diagnostic.span, diagnostic.name), None)

    @property
    def has_errors(self) -> bool:
        return any(found.severity == "error" for found in self._found.values())

    def has_error_at(self, span: Span) -> bool:
        """Whether an error stands at exactly this place."""
        return any(found.span == span and found.severity == "error" for found in self._found.values())

    def sorted(self) -> list[Diagnostic]:
        return sorted(self._found.values(), key=lambda found: (found.span, found.code))
