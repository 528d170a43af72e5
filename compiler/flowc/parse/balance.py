"""Makes the brackets of a broken declaration match, so that the rest of it can be read.

Closers that are missing are put in, closers that close nothing are left out, and each gives one problem. What is
missing where follows from the layout:

- a line that begins with `name =` or a statement's keyword is not inside `(` or `[`;
- where a declaration has more `{` than `}`, a line that is indented no deeper than the line of an open `{` shows
  that its block has ended;
- where it has more `}` than `{`, a `}` that is indented deeper than the line of its `{` is one too many.
"""

from __future__ import annotations

from typing import NamedTuple

from flowc.syntax import Node

from .problems import Problem
from .tokens import Token, Tokens

__all__ = ["balance"]

_CLOSERS = {"(": ")", "[": "]", "{": "}", "${": "UNQUOTE"}
_OPENERS = {closer: opener for opener, closer in _CLOSERS.items()}
_STATEMENT_WORDS = frozenset({"return", "trigger", "using", "expect", "mock", "on"})


class _Open(NamedTuple):
    """A bracket that is open: its sign, its node, and the indentation of its line."""

    sign: str
    node: Node
    indent: int


def balance(text: str, tokens: Tokens) -> tuple[Tokens, list[Problem]]:
    """Tokens (without $END) whose brackets match, and what was wrong with them."""
    repair = _Repair(text, tokens)
    repair.run()
    return Tokens(repair.types, repair.values), repair.problems


class _Repair:
    def __init__(self, text: str, tokens: Tokens) -> None:
        self.types: list[str] = []
        self.values: list[Node] = []
        self.problems: list[Problem] = []
        self._text = text
        self._tokens = tokens
        self._open: list[_Open] = []
        self._line_indent = 0
        #: positive: so many `}` are missing; negative: so many are too many
        self._missing = tokens.types.count("{") - tokens.types.count("}")

    def run(self) -> None:
        line_end = -1
        for index, (type_, value) in enumerate(zip(self._tokens.types, self._tokens.values, strict=True)):
            if value.start > line_end:  # the first token of its line
                self._line_indent = _indent(self._text, value.start)
                line_end = self._text.find("\n", value.start)
                line_end = len(self._text) if line_end < 0 else line_end
                if type_ != "_NL":
                    self._start_of_line(index, type_)
            if type_ in _CLOSERS:
                self._open.append(_Open(type_, value, self._line_indent))
                self._add(type_, value)
            elif type_ in _OPENERS:
                self._close(index, type_, value)
            elif type_ != "_NL" or not self._open or self._open[-1].sign == "{":
                self._add(type_, value)
        self._unclosed(0)

    # ---- lines that show what is closed -----------------------------------------------------------------------------

    def _start_of_line(self, index: int, type_: str) -> None:
        if self._starts_statement(index):
            level = len(self._open)
            while level and self._open[level - 1].sign in "([":
                level -= 1
            self._unclosed(level, separate=True)
            if self.types and self.types[-1] not in ("_NL", "{", ","):  # an operator at the end of the line before
                self._add("_NL", Token(self.values[-1].end, self.values[-1].end, "\n"))
        while self._missing > 0 and self._open and self._open[-1].sign == "{" and self._has_left(type_):
            self._missing -= 1
            self._unclosed(len(self._open) - 1, separate=type_ != "}")

    def _has_left(self, type_: str) -> bool:
        """Whether the line is outside of the innermost block, by its indentation."""
        opener = self._open[-1]
        if type_ in (")", "]", "}"):
            return self._line_indent < opener.indent
        return self._line_indent <= opener.indent and type_ not in ("else", "finally", "until")

    def _starts_statement(self, index: int) -> bool:
        types = self._tokens.types[index : index + 3]
        if len(types) < 2:
            return False
        if types[0] == "NAME" and types[1] == "=":
            return True
        return types[0] in _STATEMENT_WORDS and types[1] not in (",", ")", "]", "_NL")

    # ---- closers ----------------------------------------------------------------------------------------------------

    def _close(self, index: int, type_: str, value: Node) -> None:
        opener = _OPENERS[type_]
        if type_ == "}" and self._is_surplus(index, value):
            self._missing += 1
            self._stray(value, type_)
            return
        if self._open and self._open[-1].sign == opener:
            self._open.pop()
            self._add(type_, value)
            return
        level = next((n for n in reversed(range(len(self._open))) if self._open[n].sign == opener), None)
        if level is not None:
            self._unclosed(level + 1)
            self._open.pop()
            self._add(type_, value)
        elif self._open and self._open[-1].sign in "([" and type_ in (")", "]"):
            self._mismatch(type_, value)
        else:
            self._stray(value, type_)

    def _is_surplus(self, index: int, value: Node) -> bool:
        """Of too many `}`, one that is alone on its line and deeper than the line of its `{`."""
        if self._missing >= 0 or not self._open:
            return False
        line_start = self._text.rfind("\n", 0, value.start) + 1
        is_first = not self._text[line_start : value.start].strip()
        return is_first and self._line_indent > self._open[-1].indent

    def _stray(self, value: Node, sign: str) -> None:
        self.problems.append(Problem("stray-bracket", value.start, value.end, {"bracket": sign}))

    def _mismatch(self, type_: str, value: Node) -> None:
        opener = self._open.pop()
        right = _CLOSERS[opener.sign]
        self.problems.append(
            Problem(
                "mismatched-bracket",
                value.start,
                value.end,
                {"closer": type_, "opener": opener.sign, "right": right},
                labels=((opener.node.start, opener.node.end, "opened here"),),
            )
        )
        self._add(right, Token(value.start, value.end, right))

    # ---- openers that are never closed ------------------------------------------------------------------------------

    def _unclosed(self, level: int, *, separate: bool = False) -> None:
        """Closes everything above a level; `separate` puts a line end after it."""
        if len(self._open) == level:
            return
        if self.types and self.types[-1] == "_NL":
            self.types.pop()
            self.values.pop()
        at = self.values[-1].end if self.values else 0
        innermost = self._open[-1]
        if innermost.sign != "${":
            node, right = innermost.node, _CLOSERS[innermost.sign]
            self.problems.append(
                Problem("unclosed-bracket", node.start, node.end, {"bracket": innermost.sign, "closer": right})
            )
        while len(self._open) > level:
            closer = _CLOSERS[self._open.pop().sign]
            self._add(closer, Token(at, at, closer))
        if separate:
            self._add("_NL", Token(at, at, "\n"))

    def _add(self, type_: str, value: Node) -> None:
        self.types.append(type_)
        self.values.append(value)


def _indent(text: str, offset: int) -> int:
    """The width of the white space before the first character of a line; a tab counts as eight."""
    line_start = text.rfind("\n", 0, offset) + 1
    line = text[line_start : offset + 1].expandtabs(8)
    return len(line) - len(line.lstrip())
