"""Source files, spans, and the way from an offset to a line and a column.

Offsets count characters of the decoded text from 0. Lines and columns count from 1, columns in characters
(`utf16_column` for editors, whose protocol counts UTF-16 units).
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property

import msgspec

__all__ = ["Position", "Source", "Span"]


class Position(msgspec.Struct, frozen=True):
    """A place in a file: line and column, both from 1."""

    line: int
    column: int


class Span(msgspec.Struct, frozen=True, order=True):
    """A half-open range of characters in one file."""

    #: path as shown to the user (relative to the project root where possible)
    file: str
    start: int
    end: int


class Source:
    """One decoded source file."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text

    @cached_property
    def _line_starts(self) -> list[int]:
        starts = [0]
        find = self.text.find
        at = find("\n")
        while at >= 0:
            starts.append(at + 1)
            at = find("\n", at + 1)
        return starts

    def position(self, offset: int) -> Position:
        """The line and column of an offset (past the end: the last place)."""
        offset = min(max(offset, 0), len(self.text))
        line = bisect_right(self._line_starts, offset)
        return Position(line, offset - self._line_starts[line - 1] + 1)

    def utf16_column(self, offset: int) -> int:
        """The column of an offset in UTF-16 units from 0, as editors count."""
        start = self._line_starts[self.position(offset).line - 1]
        return len(self.text[start:offset].encode("utf-16-le")) // 2

    def line(self, number: int) -> str:
        """The text of a line (from 1), without its newline."""
        start = self._line_starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start : end if end >= 0 else len(self.text)].rstrip("\r")

    def span(self, start: int, end: int) -> Span:
        return Span(self.path, start, end)
