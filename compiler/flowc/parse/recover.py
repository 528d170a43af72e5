"""Error recovery: one mistake gives one finding, and everything else is still read.

A file that does not parse is cut into regions, each from one declaration to the next. A region that parses is taken
as it is. In any other the brackets are made to match (`balance`), and then its units, a declaration or a statement,
are parsed one by one. Where a unit stops inside one of its blocks, the block is read statement by statement and put
back as one BLOCK token, and the unit is tried again; so the mistake is closed in by and by until a statement is
left that has no block around the mistake. That one becomes an ErrorNode, with the names it would have bound, and
gives one finding (`explain`), unless the lexer or `balance` has found something in it already.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Any

from flowc import syntax
from flowc.syntax import Block, Ident

from . import machine
from .balance import balance
from .build import Refused
from .explain import Broken, explain
from .lexer import scan
from .problems import Problem
from .tokens import Token, Tokens

__all__ = ["recover"]

_DECLARING = frozenset({"use", "type", "let", "var", "task", "flow", "chain", "group", "chord", "test"})
_KINDS = frozenset({"pool", "queue", "limit", "connection", "sla"})
_WITH_BLOCK = frozenset({"if", "else", "each", "repeat", "using", "finally", "on", "catch", "match"})


def recover(text: str) -> tuple[list[syntax.Declaration], list[Problem]]:
    """The declarations of a file that does not parse as a whole, and what is wrong in it."""
    tokens = scan(text, recovering=True).tokens
    starts = [tokens.values[index].start for index in _region_starts(text, tokens)]
    recovery = _Recovery(text)
    declarations: list[syntax.Declaration] = []
    for start, end in zip([0, *starts], [*starts, len(text)], strict=True):
        declarations += recovery.region(start, end)
    return declarations, recovery.problems


def _region_starts(text: str, tokens: Tokens) -> Iterator[int]:
    """The tokens that begin a declaration: at the top level, or no deeper than the declaration before."""
    depth, column = 0, 0
    for index, (type_, value) in enumerate(zip(tokens.types, tokens.values, strict=True)):
        if type_ in ("{", "(", "["):
            depth += 1
        elif type_ in ("}", ")", "]"):
            depth = max(0, depth - 1)
        elif isinstance(value, Ident) and _declares(tokens, index, value.text):
            line_start = text.rfind("\n", 0, value.start) + 1
            if not text[line_start : value.start].strip() and (depth == 0 or value.start - line_start <= column):
                depth, column = 0, value.start - line_start
                yield index


def _declares(tokens: Tokens, index: int, word: str) -> bool:
    following = [*tokens.types[index + 1 : index + 3], "", ""]
    if tokens.types[index] in _DECLARING:
        return following[0] not in (":", "=", "(", ".", "_NL", "$END", "}", ",")
    return word in _KINDS and following[0] == "NAME" and following[1] in ("{", ":")


class _Recovery:
    """Reads regions and gathers their problems."""

    def __init__(self, text: str) -> None:
        self.problems: list[Problem] = []
        self._text = text
        #: offsets where something has been found already, sorted
        self._marks: list[int] = []
        #: those of them where the lexer had to guess or to leave something out
        self._spoilt: list[int] = []

    def region(self, start: int, end: int) -> list[Any]:
        lexer = scan(self._text, start, end)
        if not lexer.problems and len(lexer.types) > 1:
            try:
                return list(machine.run(lexer.tokens, "file").declarations)
            except (machine.Stop, Refused):
                pass
        lexer = scan(self._text, start, end, recovering=True)
        tokens = lexer.tokens.slice(0, len(lexer.types) - 1)
        if not len(tokens):
            self._found(lexer.problems)
            return []
        too_deep = [problem for problem in lexer.problems if problem.name == "nesting-too-deep"]
        if too_deep:
            self._found(too_deep)
            return _error_nodes(tokens)
        tokens, unbalanced = balance(self._text, tokens)
        self._spoilt += sorted(problem.start for problem in lexer.problems if problem.is_spoiling)
        self._found(lexer.problems + _without_cause_before(self._text, unbalanced, lexer.problems))
        return self._top_level(tokens)

    def _found(self, problems: list[Problem]) -> None:
        self.problems += problems
        for problem in problems:
            insort(self._marks, problem.start)

    def _top_level(self, tokens: Tokens) -> list[Any]:
        declarations: list[Any] = []
        first, has_misplaced = len(self.problems), False
        for piece in _pieces(tokens, {"_NL"}):
            if not len(piece):
                continue
            before = len(self.problems)
            declarations += self._unit(piece, "decl")
            if not any(problem.name == "misplaced-statement" for problem in self.problems[before:]):
                continue
            # a statement may be at the top level only because the head of its body did not parse
            start = piece.values[0].start
            is_indented = self._text[start - 1 : start] in (" ", "\t")
            if before > first and (is_indented or has_misplaced):
                del self.problems[before:]
            has_misplaced = True
        return declarations

    def _block(self, tokens: Tokens, start: int, end: int) -> Block:
        statements: list[Any] = []
        pieces = _pieces(tokens, {"_NL", ","})
        self._superfluous_commas(tokens, pieces)
        for piece in self._joined([piece for piece in pieces if len(piece)]):
            statements += self._unit(piece, "stmt")
        return Block(start, end, tuple(statements))

    def _superfluous_commas(self, tokens: Tokens, pieces: list[Tokens]) -> None:
        """A comma that no statement stands before."""
        at = 0
        for piece in pieces[:-1]:
            at += len(piece)
            if not len(piece) and tokens.types[at] == ",":
                comma = tokens.values[at]
                where = "after `,`" if at else "at the start of a block"
                fields: dict[str, object] = {"found": "`,`", "where": where, "hint": "leave it out"}
                self._found([Problem("unexpected-token", comma.start, comma.end, fields)])
            at += 1

    def _joined(self, pieces: list[Tokens]) -> list[Tokens]:
        """Puts a brace that stands on a line of its own back to the `if …` before it, and `each x, y in` together."""
        joined: list[Tokens] = []
        for piece in pieces:
            if joined and piece.types[0] == "{" and _lacks_block(joined[-1]):
                brace = piece.values[0]
                self._found([Problem("brace-on-own-line", brace.start, brace.end)])
                joined[-1] = Tokens(joined[-1].types + piece.types, joined[-1].values + piece.values)
            elif joined and joined[-1].types[-2:] == ["each", "NAME"] and "in" in piece.types[:4]:
                end = joined[-1].values[-1].end
                types = [*joined[-1].types, ",", *piece.types]
                joined[-1] = Tokens(types, [*joined[-1].values, Token(end, end + 1, ","), *piece.values])
            else:
                joined.append(piece)
        return joined

    def _unit(self, tokens: Tokens, rule: str) -> list[Any]:
        """A declaration or statement: its node, or the error nodes that stand for it."""
        while True:
            spoilt = self._spoilt_token(tokens)
            if spoilt is not None:
                smaller = self._with_block_read(tokens, spoilt, rule)
                if smaller is None:
                    return _error_nodes(tokens)
                tokens = smaller
                continue
            end = tokens.values[-1].end
            stream = Tokens([*tokens.types, "$END"], [*tokens.values, Token(end, end, "")])
            try:
                return [machine.run(stream, rule)]
            except Refused as refused:
                at = bisect_left([value.start for value in tokens.values], refused.start)
                smaller = self._with_block_read(tokens, at, rule)
                if smaller is None:
                    self._found([Problem(refused.finding, refused.start, refused.end, refused.fields)])
                    return _error_nodes(tokens)
            except machine.Stop as stop:
                smaller = self._with_block_read(tokens, stop.index, rule)
                if smaller is None:
                    return self._broken(Broken(self._text, stream, stop.index, stop.states, rule))
            tokens = smaller

    def _spoilt_token(self, tokens: Tokens) -> int | None:
        """The first token whose meaning is only guessed: what holds it is not handed on, or it would give findings
        of its own. Blocks that have been read already do not count."""
        if not self._spoilt:
            return None
        starts = [value.start for value in tokens.values]
        for offset in _between(self._spoilt, starts[0], tokens.values[-1].end):
            index = bisect_right(starts, offset) - 1
            if tokens.types[index] != "BLOCK" or offset >= tokens.values[index].end:
                return index
        return None

    def _with_block_read(self, tokens: Tokens, at: int, rule: str) -> Tokens | None:
        """The tokens with the outermost block around a place read and replaced, if there is one."""
        for first, last in _pairs(tokens):
            if not first < at <= last:
                continue
            start, end = tokens.values[first].start, tokens.values[last].end
            replaced = Tokens(
                [*tokens.types[:first], "BLOCK", *tokens.types[last + 1 :]],
                [*tokens.values[:first], Block(start, end, ()), *tokens.values[last + 1 :]],
            )
            if _accepts(replaced, first, rule):
                replaced.values[first] = self._block(tokens.slice(first + 1, last), start, end)
                return replaced
        return None

    def _broken(self, broken: Broken) -> list[Any]:
        tokens, at = broken.tokens, broken.at
        others = [(first, last) for first, last in _outermost(_pairs(tokens)) if not first < at <= last]
        inside = [(tokens.values[first].start, tokens.values[last].end) for first, last in others]
        start, end = tokens.values[0].start, tokens.values[-1].end
        if broken.rule == "decl":  # what was left out at the start of its line is part of the mistake
            start = self._text.rfind("\n", 0, start) + 1
        marks = _between(self._marks, start, end + 1)
        if all(any(low < mark < high for low, high in inside) for mark in marks):
            self._found([explain(broken)])
        for first, last in others:
            if first > at and tokens.types[first + 1] not in ("STRING", "..."):
                self._block(tokens.slice(first + 1, last), tokens.values[first].start, tokens.values[last].end)
        return _error_nodes(tokens)


def _between(offsets: list[int], start: int, end: int) -> list[int]:
    """Those of the sorted offsets that lie in start <= offset < end."""
    return offsets[bisect_left(offsets, start) : bisect_left(offsets, end)]


def _pieces(tokens: Tokens, separators: set[str]) -> list[Tokens]:
    """The parts between separators outside of all brackets."""
    pieces, depth, first = [], 0, 0
    for index, type_ in enumerate(tokens.types):
        if type_ in ("{", "(", "[", "${"):
            depth += 1
        elif type_ in ("}", ")", "]", "UNQUOTE"):
            depth -= 1
        elif depth == 0 and type_ in separators:
            pieces.append(tokens.slice(first, index))
            first = index + 1
    pieces.append(tokens.slice(first, len(tokens)))
    return pieces


def _pairs(tokens: Tokens) -> list[tuple[int, int]]:
    """The braces that belong together, outermost first."""
    opened, pairs = [], []
    for index, type_ in enumerate(tokens.types):
        if type_ == "{":
            opened.append(index)
        elif type_ == "}" and opened:
            pairs.append((opened.pop(), index))
    return sorted(pairs)


def _outermost(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for first, last in pairs:
        if not found or first > found[-1][1]:
            found.append((first, last))
    return found


def _accepts(tokens: Tokens, index: int, rule: str) -> bool:
    """Whether the machine gets past a token."""
    try:
        machine.run(Tokens([*tokens.types[: index + 1], "$END"], [*tokens.values[: index + 1], Token(0, 0, "")]), rule)
    except machine.Stop as stop:
        return stop.index > index
    except Refused:
        return False
    return True


def _lacks_block(tokens: Tokens) -> bool:
    return tokens.types[-1] != "}" and not _WITH_BLOCK.isdisjoint(tokens.types)


def _without_cause_before(text: str, unbalanced: list[Problem], lexical: list[Problem]) -> list[Problem]:
    """Leaves out brackets whose line has a problem of its own: an unclosed string takes its brackets along."""

    def line(offset: int) -> int:
        return text.rfind("\n", 0, offset)

    lines = {line(problem.start) for problem in lexical}
    return [problem for problem in unbalanced if line(problem.start) not in lines]


def _error_nodes(tokens: Tokens) -> list[syntax.ErrorNode]:
    """What stands for a unit that did not parse: a node for it, and one for each further name that it binds."""
    start, end = tokens.values[0].start, tokens.values[-1].end
    names: list[str | None] = list(dict.fromkeys(_bound_names(tokens)))
    return [syntax.ErrorNode(start, end, name) for name in names or [None]]


def _bound_names(tokens: Tokens) -> Iterator[str]:
    types, values = tokens.types, tokens.values
    texts = [value.text if isinstance(value, Ident) else "" for value in values]
    if types[0] in _DECLARING | {"NAME", "trigger"} - {"use"} and len(types) > 1 and texts[1]:
        yield texts[1]
    if types[0] == "use":
        yield from (text for text in texts[1:] if text)
    for index in range(len(types) - 1):
        is_first = index == 0 or types[index - 1] in ("_NL", "{", ",")
        if is_first and texts[index] and types[index + 1] == "=":
            yield texts[index]
