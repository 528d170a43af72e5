"""Suppression comments: `# flow: ignore[name] reason`.

At the end of a line the comment silences warnings of that line; on a line of its own, those of the next line that holds
code. It names findings by name or code, several with commas. Errors are never silenced. A comment that silences nothing
is a finding itself, but only where there are no errors: they can keep a warning from being found.

Warnings about installed operator packages are silenced too: who uses a package cannot mend it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from . import syntax
from .catalog import Findings, by_code, by_name
from .resolve import Module
from .source import Source, Span
from .suggest import did_you_mean
from .walk import walk

__all__ = ["suppress"]

_COMMENT = re.compile(r"#[ \t]*flow:[ \t]*ignore\b(?:\[([^\]\n]*)\])?")
_NAME = re.compile(r"[^\s,]+")


class _Suppression(msgspec.Struct, frozen=True):
    #: the line whose warnings it silences
    line: int
    #: the finding's name as written; "" where none is
    written: str
    span: Span

    @property
    def name(self) -> str:
        entry = by_code().get(self.written.upper())
        return self.written if entry is None else entry.name


def suppress(modules: Sequence[Module], findings: Findings) -> None:
    """Removes the warnings that comments silence, and reports comments that silence none."""
    installed = {module.path for module in modules if module.is_installed}
    for found in findings.sorted():
        if found.severity != "error" and found.span.file in installed:
            findings.remove(found)
    for module in modules:
        if not module.is_installed and "flow:" in module.source.text:
            _suppress_in(module, findings)


def _suppress_in(module: Module, findings: Findings) -> None:
    wanted = list(_suppressions(module))
    used = set()
    for found in findings.sorted() if wanted else ():
        if found.span.file != module.path or found.severity == "error":
            continue
        line = module.source.position(found.span.start).line
        matching = [one for one in wanted if one.line == line and one.name == found.name]
        if matching:
            used.update(matching)
            findings.remove(found)
    if not findings.has_errors:
        for one in wanted:
            if one not in used:
                _report(one, findings)


def _report(one: _Suppression, findings: Findings) -> None:
    entry = by_name().get(one.name)
    if entry is None:
        why = "there is no such finding" if one.written else "the comment names no finding"
        hint = did_you_mean(one.written, by_name(), "write `# flow: ignore[name] reason`")
    elif entry.severity == "error":
        why, hint = "it is an error, and errors cannot be silenced", "mend the cause, and remove the comment"
    else:
        why, hint = "nothing is silenced", "remove the comment"
    findings.add("unused-suppression", one.span, name=one.written or "flow: ignore", why=why, hint=hint)


def _suppressions(module: Module) -> Iterator[_Suppression]:
    source = module.source
    comments = list(_COMMENT.finditer(source.text))
    strings = _strings(module.file) if comments else []
    for comment in comments:
        if any(start <= comment.start() < end for start, end in strings):
            continue
        line = _covered_line(source, comment.start())
        names = list(_NAME.finditer(source.text, *comment.span(1))) if comment[1] is not None else []
        for name in names:
            yield _Suppression(line, name[0], source.span(*name.span()))
        if not names:
            yield _Suppression(line, "", source.span(*comment.span()))


def _covered_line(source: Source, offset: int) -> int:
    """The line of a comment, or where it stands alone, the next line with code."""
    place = source.position(offset)
    if source.line(place.line)[: place.column - 1].strip():
        return place.line
    last = source.position(len(source.text)).line
    for number in range(place.line + 1, last + 1):
        text = source.line(number).strip()
        if text and not text.startswith("#"):
            return number
    return place.line


def _strings(file: syntax.File) -> list[tuple[int, int]]:
    """Where quoted text stands."""
    quoted = (syntax.Template, syntax.Literal, syntax.LiteralType)
    return [(node.start, node.end) for node in walk(file.declarations) if isinstance(node, quoted)]
