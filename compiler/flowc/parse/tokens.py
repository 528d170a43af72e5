"""The words and signs of the language, and the stream of tokens between the lexer and the LALR machine."""

from __future__ import annotations

from flowc.syntax import Node

__all__ = ["HARD", "KEYWORDS", "SOFT", "TRAILING", "Token", "Tokens"]

#: keywords that are ordinary names wherever the keyword cannot stand
SOFT = frozenset({
    "use", "type", "let", "var", "task", "flow", "chain", "group", "chord", "test", "returns", "trigger",
    "mock", "expect", "on", "using",
})  # fmt: skip
#: keywords that are never names; as keys, before `:` and after `.`, they are welcome
HARD = frozenset({
    "if", "else", "then", "match", "each", "repeat", "until", "finally", "for", "in", "and", "or", "not",
    "true", "false", "null", "with", "after", "catch", "return",
})  # fmt: skip
KEYWORDS = SOFT | HARD

#: after these a line goes on, whatever the next line starts with
TRAILING = frozenset({
    "{", "(", "[", ",", "=", ":", "->", "??", "...", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/",
    "%", "|", "and", "or", "not", "in", "then", "else", "_NL",
})  # fmt: skip


class Token(Node, frozen=True, gc=False):
    """A sign, a keyword or a piece of quoted text."""

    text: str


class Tokens:
    """A stream as two lists of one length: `types` (terminals of the grammar) and `values` (nodes with spans:
    `Token`, `Ident` for a NAME or WORD, `Literal` for a STRING, NUMBER or DATE)."""

    __slots__ = ("types", "values")

    def __init__(self, types: list[str], values: list[Node]) -> None:
        self.types = types
        self.values = values

    def __len__(self) -> int:
        return len(self.types)

    def slice(self, first: int, last: int) -> Tokens:
        return Tokens(self.types[first:last], self.values[first:last])
