"""The texts of `shell(…)` and `sql(…)`: what is written is text, what is interpolated is data.

The worker quotes every value for the shell and binds it as a parameter of SQL, so a value that stands inside quotes of
the text would be quoted twice, which lets its content out of the quotes again; that is an error. A constant is data
too: `["call", "string", …]` keeps it apart from the text. `_InShell` and `_InSql` walk over the text and know whether
a place is inside quotes.
"""

from __future__ import annotations

import re
from typing import Protocol

from flowc import ir, syntax
from flowc.types import ERROR, STRING, Literals, Type

from .constants import fold
from .context import Context, Value
from .report import accept
from .targets import callee_name
from .types import holds_secret, required

__all__ = ["command_text"]

#: types whose values never need quotes
_PLAIN = frozenset({"int", "float", "decimal", "bool", "date", "datetime", "duration", "size"})


def command_text(inner: Context, node: syntax.Expression, *, is_sql: bool) -> ir.Expr:
    """The template of `shell` or `sql`, over the task's parameters, which can be read in `inner`."""
    return _template(inner, node, is_sql) if isinstance(node, syntax.Template) else _constant(inner, node, is_sql)


def _constant(inner: Context, node: syntax.Expression, is_sql: bool) -> ir.Expr:
    """A text without interpolation."""
    value = inner.value(node)
    expr = fold(accept(inner, node, value, STRING, "the text"))
    if expr[0] != "lit" and value.type != ERROR:
        name = "sql" if is_sql else "shell"
        hint = f'write the text out, with values in it: `{name}("… ${{x}} …")`; they are ' + (
            "bound as parameters" if is_sql else "quoted"
        )
        found = inner.source_text(node)
        inner.report("invalid-setting", node, name=name, wanted="one text", found=found, hint=hint)
    return expr


def _template(inner: Context, node: syntax.Template, is_sql: bool) -> ir.Expr:
    """Text with values, which may be null and lists; in `sql`, `ident(…)` is a name."""
    parts: list[ir.Expr] = []
    quotes: _Quotes = _InSql() if is_sql else _InShell()
    for part in node.parts:
        if isinstance(part, str):
            quotes.read(part)
            parts.append(["lit", part])
            continue
        is_name = is_sql and isinstance(part, syntax.Call) and callee_name(part.func) == "ident"
        value = _name(inner, part) if is_name and isinstance(part, syntax.Call) else _value(inner, part, is_sql)
        if quotes.is_inside and (is_sql or not _needs_no_quotes(value.type)):
            inner.report("quoted-interpolation", part, value=inner.source_text(part), hint=_HINTS[is_sql])
        parts.append(value.expr)
    return ["str", *parts]


_HINTS = {
    False: 'leave the quotes out: every value is quoted as one word, as in `echo ${name}` or `echo "dear "${name}`',
    True: "leave the quotes out: values are bound as parameters, as in `x = ${x}` or `x like '%' || ${x} || '%'`",
}


def _name(inner: Context, node: syntax.Call) -> Value:
    """`ident(name)`."""
    if len(node.args) != 1:
        inner.report("bad-call", node, name="ident", problem="it takes one name", usage="ident(name)")
        return Value(["lit", ""], ERROR)
    name = node.args[0].value
    return Value(["ident", accept(inner, name, inner.value(name), STRING, "the identifier")], STRING)


def _value(inner: Context, node: syntax.Expression, is_sql: bool) -> Value:
    """A value, which stays one where it is a constant text."""
    value = inner.value(node)
    if holds_secret(value.type):
        what = "the parameters of a statement are logged by databases" if is_sql else "command lines are seen by all"
        inner.report("secret-leak", node, what=what)
    if value.expr[0] == "lit" and isinstance(value.expr[1], str):
        return value._replace(expr=["call", "string", value.expr])
    return value


def _needs_no_quotes(kind: Type) -> bool:
    kind = required(kind)
    if isinstance(kind, Literals):
        return all(re.fullmatch(r"[\w@%+=:,./-]+", value, re.ASCII) for value in kind.values)
    return kind == ERROR or getattr(kind, "name", "") in _PLAIN


# ---- quotes ---------------------------------------------------------------------------------------------------------


class _Quotes(Protocol):
    """Walks over the written parts of a text."""

    @property
    def is_inside(self) -> bool: ...

    def read(self, text: str) -> None: ...


class _InShell:
    """Quotes of a POSIX shell; `$(…)` and backquotes begin anew. A here-document is not followed."""

    _TOKEN = re.compile(r"""\\.|'|"|`|\$?\(|\)|<<|(?:(?<=\s)|^)\#[^\n]*""", re.DOTALL)

    def __init__(self) -> None:
        self._open: list[str] = []
        self._is_followed = True

    @property
    def is_inside(self) -> bool:
        return self._is_followed and bool(self._open) and self._open[-1] in ("'", '"')

    def read(self, text: str) -> None:
        at = 0
        while (found := self._TOKEN.search(text, at)) is not None:
            at = self._step(found)

    def _step(self, found: re.Match[str]) -> int:
        """Takes one sign; gives where to go on."""
        sign, top = found.group(), self._open[-1] if self._open else ""
        if top == "'" and sign != "'":
            return found.start() + 1  # nothing else counts in there
        if top == '"' and sign not in ('"', "`", "$(") and sign[0] != "\\":
            return found.start() + 1
        if sign == "<<":
            self._is_followed = False
        elif sign in ("(", "$("):
            self._open.append("(")
        elif sign == ")":
            if top == "(":
                self._open.pop()
        elif sign in ("'", '"', "`"):
            if sign == top:
                self._open.pop()
            else:
                self._open.append(sign)
        return found.end()


class _InSql:
    """Quotes and comments of SQL."""

    _TOKEN = re.compile(r"""'[^']*'?|"[^"]*"?|--[^\n]*|/\*.*?\*/""", re.DOTALL)

    def __init__(self) -> None:
        self._open = ""

    @property
    def is_inside(self) -> bool:
        return bool(self._open)

    def read(self, text: str) -> None:
        for found in self._TOKEN.finditer(self._open + text):
            part = found.group()
            self._open = part[0] if part[0] in "'\"" and (len(part) == 1 or part[-1] != part[0]) else ""
