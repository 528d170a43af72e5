"""Reads types back from their canonical text (`types.text`), which is how the IR holds them."""

from __future__ import annotations

import functools
import re

import msgspec

from flowc.types import (
    ERROR,
    FAILURE,
    NULL,
    PRIMITIVES,
    ListOf,
    Literals,
    MapOf,
    Optional,
    Record,
    Secret,
    Type,
    Union,
)

__all__ = ["parse"]

_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[A-Za-z_]\w*|[{}<>()|?:,])')
_NAMED: dict[str, Type] = {**PRIMITIVES, "null": NULL, "error": ERROR, "Failure": FAILURE}
_GENERIC: dict[str, type[ListOf] | type[MapOf] | type[Secret]] = {"list": ListOf, "map": MapOf, "secret": Secret}


@functools.cache
def parse(text: str) -> Type:
    """The type of a canonical text. Raises ValueError for any other text."""
    reader = _Reader(text)
    kind = reader.union()
    reader.take("")
    return kind


class _Reader:
    """Recursive descent over the tokens; "" is the end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[str] = list(_TOKEN.findall(text))
        if "".join(self._tokens) != re.sub(r'("(?:[^"\\]|\\.)*")|\s', lambda m: m[1] or "", text):
            raise ValueError(f"{text!r} is no type")
        self._at = 0

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def next(self) -> str:
        token = self.peek()
        self._at += 1
        return token

    def take(self, wanted: str) -> None:
        found = self.next()
        if found != wanted:
            raise ValueError(f"{self._text!r} is no type: {wanted or 'the end'} expected, not {found!r}")

    def union(self) -> Type:
        members: list[Type] = []
        literals: list[str] = []
        while True:
            if self.peek().startswith('"'):
                literals.append(_unquoted(self.next()))
            else:
                members.append(self.postfix())
            if self.peek() != "|":
                break
            self.next()
        if literals:
            members.insert(0, Literals(tuple(literals)))
        return members[0] if len(members) == 1 else Union(tuple(members))

    def postfix(self) -> Type:
        kind = self.atom()
        while self.peek() == "?":
            self.next()
            kind = kind if isinstance(kind, Optional) else Optional(kind)
        return kind

    def atom(self) -> Type:
        token = self.next()
        if token == "(":
            kind = self.union()
            self.take(")")
            return kind
        if token == "{":
            return self.record()
        if token in _GENERIC and self.peek() == "<":
            self.take("<")
            inner = self.union()
            self.take(">")
            return _GENERIC[token](inner)
        if token not in _NAMED:
            raise ValueError(f"{self._text!r} is no type: {token!r} is not known")
        return _NAMED[token]

    def record(self) -> Type:
        fields: list[tuple[str, Type]] = []
        while self.peek() != "}":
            name = self.next()
            self.take(":")
            fields.append((_unquoted(name) if name.startswith('"') else name, self.union()))
            if self.peek() == ",":
                self.next()
        self.take("}")
        return Record(tuple(fields))


def _unquoted(token: str) -> str:
    return msgspec.json.decode(token, type=str)
