"""Syntax nodes -> canonical text.

Each node is written on one line if it fits into WIDTH columns, else its parts stand on lines of their own, two columns
deeper. Parentheses stand where the grammar needs them. Only what the tree holds is written: `##` comments, but no
others, and numbers in their canonical spelling. So this prints trees that programs made; a formatter for users also
has to take comments, blank lines and spellings from the source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from flowc import syntax
from flowc.syntax import Block, Expression, Ident, Node, TypeExpr

__all__ = ["WIDTH", "print_expression", "print_file", "print_statement", "print_type"]

WIDTH = 100
_STEP = "  "

# levels of the grammar, from the loosest to the tightest
_EXPR, _PIPE, _STAGE, _OR, _AND, _NOT, _COMPARE, _COALESCE, _SUM, _PRODUCT, _PREFIX, _POSTFIX = range(12)
_LEVELS = {
    "or": _OR, "and": _AND, "??": _COALESCE, "+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "%": _PRODUCT,
    "==": _COMPARE, "!=": _COMPARE, "<": _COMPARE, "<=": _COMPARE, ">": _COMPARE, ">=": _COMPARE, "in": _COMPARE,
}  # fmt: skip
#: microseconds
_DURATIONS = {
    "w": 604_800_000_000, "d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000,
}  # fmt: skip
#: bytes
_SIZES = {"TiB": 2**40, "GiB": 2**30, "MiB": 2**20, "KiB": 2**10, "TB": 10**12, "GB": 10**9, "MB": 10**6, "KB": 10**3}
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPES = str.maketrans({'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"})


def print_file(file: syntax.File) -> str:
    """The text of a file without ErrorNodes."""
    return "\n".join(_Printer().declaration(node) + "\n" for node in file.declarations)


def print_statement(statement: syntax.Statement) -> str:
    return _Printer().statement(statement, "")


def print_expression(expression: Expression) -> str:
    return _Printer().expr(expression, "")


def print_type(type_: TypeExpr) -> str:
    return _Printer().type(type_)


class _TooLong(Exception):
    """A node that cannot stand on one line."""


class _Printer:
    """Writes nodes. `indent` is the white space at the start of the current line; `used` the columns before a node;
    `flat` refuses line ends (raises _TooLong)."""

    def __init__(self) -> None:
        #: whether this is inside quotes, where all of it has to stand on one line
        self._in_text = False

    # ---- layout -----------------------------------------------------------------------------------------------------

    def _fit(self, show: Callable[[bool], str], used: int, flat: bool) -> str:
        """The form on one line, or else the one on several."""
        try:
            text = show(True)
            if flat or used + len(text) <= WIDTH:
                return text
        except _TooLong:
            if flat:
                raise
        return show(False)

    def _listed(self, brackets: str, parts: Sequence[Any], show: Callable[..., str], indent: str, flat: bool) -> str:
        """Parts between brackets, side by side or one below the other."""
        opener, closer = brackets[0], brackets[1]
        space = " " if opener == "{" else ""
        if not parts:
            return f"{opener}{space}{closer}"
        if flat:
            return f"{opener}{space}{', '.join(show(part, indent, True) for part in parts)}{space}{closer}"
        inner = indent + _STEP
        comma = "" if opener == "{" else ","
        lines = [f"{inner}{show(part, inner, False)}{comma}" for part in parts]
        return "\n".join([opener, *lines, indent + closer])

    def block(self, block: Block, indent: str, flat: bool = False) -> str:
        small = len(block.statements) <= 1 or all(isinstance(node, syntax.Setting) for node in block.statements)
        if flat and not small and not self._in_text:
            raise _TooLong
        return self._listed("{}", block.statements, self.statement, indent, flat)

    # ---- declarations -----------------------------------------------------------------------------------------------

    def declaration(self, node: syntax.Declaration) -> str:
        doc = getattr(node, "doc", None)
        comment = "".join(f"## {line}".rstrip() + "\n" for line in doc.split("\n")) if doc is not None else ""
        return comment + self._fit(lambda flat: self._declaration(node, flat), 0, flat=False)

    def _declaration(self, node: syntax.Declaration, flat: bool) -> str:
        match node:
            case syntax.Use(target=target, names=names):
                path = target.text if isinstance(target, syntax.Path) else self.expr(target, "")
                return f"use {path} {self._listed('{}', names, _show_ident, '', flat)}"
            case syntax.TypeDecl(name=name, type=type_):
                return f"type {name.text} = {self.type(type_)}"
            case syntax.Let(name=name, value=value):
                return f"let {name.text} = {self.expr(value, '', flat=flat)}"
            case syntax.Var(name=name, type=type_, value=default):
                tail = "" if default is None else f" = {self.expr(default, '', flat=flat)}"
                return f"var {name.text}: {self.type(type_)}{tail}"
            case syntax.Resource(kind=kind, name=name, type=type_, body=body):
                tail = "" if type_ is None else f": {self.type(type_)}"
                fields = "" if body is None else f" {self.expr(body, '', flat=flat)}"
                return f"{kind.text} {name.text}{tail}{fields}"
            case syntax.TaskDecl(signature=signature, body=body):
                return f"task {self._signature(signature)} {self.block(body, '', flat)}"
            case syntax.FlowDecl(signature=signature, body=body):
                return f"flow {self._signature(signature)} {self.block(body, '', flat)}"
            case syntax.Composite(kind=kind, signature=signature, value=value):
                return f"{kind} {self._signature(signature)} = {self.expr(value, '', flat=flat)}"
            case syntax.TestDecl(title=title, body=body):
                return f"test {_quoted(title)} {self.block(body, '', flat)}"
            case _:
                raise ValueError("an ErrorNode has no text")

    def _signature(self, node: syntax.Signature) -> str:
        head = node.name.text
        if node.params:
            head += self._fit(lambda flat: self._listed("()", node.params, self._param, "", flat), len(head), False)
        return head + (f" returns {self.type(node.returns)}" if node.returns is not None else "")

    def _param(self, node: syntax.Param, indent: str, flat: bool) -> str:
        default = "" if node.default is None else f" = {self.expr(node.default, indent, flat=flat)}"
        return f"{node.name.text}: {self.type(node.type)}{default}"

    # ---- types ------------------------------------------------------------------------------------------------------

    def type(self, node: TypeExpr, tight: bool = False) -> str:
        """A type; `tight` where a union or an optional needs parentheses."""
        match node:
            case syntax.NamedType(path=path, args=args):
                return path.text + (f"<{', '.join(self.type(arg) for arg in args)}>" if args else "")
            case syntax.LiteralType(value=value):
                return _quoted(value)
            case syntax.RecordType(fields=fields):
                inner = ", ".join(f"{_key(field.name)}: {self.type(field.type)}" for field in fields)
                return f"{{ {inner} }}" if fields else "{ }"
            case syntax.OptionalType(inner=inner_type):
                text = f"{self.type(inner_type, tight=True)}?"
                return f"({text})" if tight else text
            case syntax.UnionType(members=members):
                text = " | ".join(
                    f"({self.type(member)})" if isinstance(member, syntax.UnionType) else self.type(member)
                    for member in members
                )
                return f"({text})" if tight else text

    # ---- statements -------------------------------------------------------------------------------------------------

    def statement(self, node: Any, indent: str, flat: bool = False) -> str:
        return self._fit(lambda flat: self._statement(node, indent, flat), len(indent), flat)

    def _statement(self, node: Any, indent: str, flat: bool) -> str:
        def value(expression: Expression, level: int = _EXPR) -> str:
            return self.expr(expression, indent, level, flat=flat)

        match node:
            case syntax.Setting(name=name, value=given):
                return f"{name.text}: {value(given)}"
            case syntax.Bind(name=name, value=given):
                return f"{name.text} = {value(given)}"
            case syntax.TriggerStmt(name=name, value=given):
                return f"trigger {name.text} = {value(given)}"
            case syntax.Handler(event=event, name=caught, body=body):
                return f"on {event.text}{_caught(caught)} {self.block(body, indent, flat)}"
            case syntax.Return(value=given):
                return f"return {value(given)}"
            case syntax.Mock(path=path, value=given):
                return f"mock {path.text} = {value(given)}"
            case syntax.Expect(value=given):
                return f"expect {value(given)}"
            case syntax.ExprStmt(value=given):
                return value(given)
            case syntax.If():
                return _label(node.label) + self._if(node, indent, flat) + self._afters(node.modifiers, indent, flat)
            case syntax.Using(name=name, value=given, body=body, cleanup=cleanup):
                head = f"{_label(node.label)}using {name.text} = {value(given)} {self.block(body, indent, flat)}"
                tail = f" finally {self.block(cleanup, indent, flat)}"
                return head + tail + self._afters(node.modifiers, indent, flat)
            case _:
                raise ValueError("an ErrorNode has no text")

    def _if(self, node: syntax.If, indent: str, flat: bool) -> str:
        text = f"if {self.expr(node.condition, indent, _OR, flat=flat)} {self.block(node.then, indent, flat)}"
        if isinstance(node.otherwise, syntax.If):
            return f"{text} else {self._if(node.otherwise, indent, flat)}"
        if node.otherwise is not None:
            if flat and not self._in_text:
                raise _TooLong
            return f"{text} else {self.block(node.otherwise, indent, flat)}"
        return text

    def _afters(self, modifiers: Sequence[syntax.After], indent: str, flat: bool) -> str:
        return "".join(f" {self._modifier(modifier, indent, flat)}" for modifier in modifiers)

    # ---- expressions ------------------------------------------------------------------------------------------------

    def expr(self, node: Any, indent: str, level: int = _EXPR, *, flat: bool = False) -> str:
        """An expression, in parentheses if it binds looser than `level` wants."""
        if _level(node) < level:
            return f"({self.expr(node, indent, flat=flat)})"
        return self._fit(lambda flat: self._expr(node, indent, flat), len(indent), flat)

    def _expr(self, node: Any, indent: str, flat: bool) -> str:
        def inner(expression: Expression, level: int = _EXPR) -> str:
            return self.expr(expression, indent, level, flat=flat)

        match node:
            case syntax.Name(id=name):
                return name
            case syntax.Literal():
                return _literal(node)
            case syntax.Template(parts=parts):
                return self._template(parts)
            case syntax.ListExpr(items=items):
                return self._listed("[]", items, self._item, indent, flat)
            case syntax.RecordExpr(entries=entries):
                return self._listed("{}", entries, self._entry, indent, flat)
            case syntax.Unary(op="not", operand=operand):
                return f"not {inner(operand, _NOT)}"
            case syntax.Unary(operand=operand):
                return f"-{inner(operand, _PREFIX)}"
            case syntax.Binary(op=op, left=left, right=right):
                own = _LEVELS[op]
                return f"{inner(left, own + (own == _COMPARE))} {op} {inner(right, own + 1)}"
            case syntax.Attr(value=value, name=name, optional=optional):
                return f"{inner(value, _POSTFIX)}{'?.' if optional else '.'}{name.text}"
            case syntax.Index(value=value, index=index):
                return f"{inner(value, _POSTFIX)}[{inner(index)}]"
            case syntax.Slice(value=value, first=first, last=last):
                ends = [inner(end) if end is not None else "" for end in (first, last)]
                return f"{inner(value, _POSTFIX)}[{ends[0]}:{ends[1]}]"
            case syntax.Call(func=func, args=args):
                return inner(func, _POSTFIX) + self._arguments(args, indent, flat)
            case _:
                return self._construct(node, indent, flat)

    def _construct(self, node: Any, indent: str, flat: bool) -> str:
        """The expressions that are made of words and blocks."""

        def inner(expression: Expression, level: int = _EXPR) -> str:
            return self.expr(expression, indent, level, flat=flat)

        match node:
            case syntax.IfExpr(condition=condition, then=then, otherwise=otherwise):
                return f"if {inner(condition, _OR)} then {inner(then, _PIPE)} else {inner(otherwise)}"
            case syntax.Match(subject=subject, arms=arms):
                return f"match {inner(subject, _OR)} {self._listed('{}', arms, self._arm, indent, flat)}"
            case syntax.Comprehension(value=value, pattern=pattern, source=source, condition=condition):
                tail = "" if condition is None else f" if {inner(condition, _OR)}"
                return f"[{inner(value)} for {_pattern(pattern)} in {inner(source, _OR)}{tail}]"
            case syntax.Each(pattern=pattern, source=source, settings=settings, body=body):
                head = f"each {_pattern(pattern)} in {inner(source, _OR)}{self._settings(settings, indent, flat)}"
                return f"{head} {self.block(body, indent, flat)}"
            case syntax.Repeat(settings=settings, body=body, until=until):
                head = f"repeat{self._settings(settings, indent, flat)} {self.block(body, indent, flat)}"
                return f"{head} until {inner(until, _OR)}"
            case syntax.Chain(stages=stages):
                deeper = indent if flat else indent + _STEP
                arrow = " -> " if flat else f"\n{deeper}-> "
                return arrow.join(self.expr(stage, deeper, _STAGE, flat=flat) for stage in stages)
            case syntax.Modified(value=value, modifiers=modifiers):
                head = inner(value, _STAGE if isinstance(value, syntax.Repeat) else _OR)
                return " ".join([head, *(self._modifier(modifier, indent, flat) for modifier in modifiers)])
            case _:
                raise ValueError(f"no expression: {type(node).__name__}")

    def _item(self, node: Expression, indent: str, flat: bool) -> str:
        return self.expr(node, indent, flat=flat)

    def _entry(self, node: syntax.Entry | syntax.Spread, indent: str, flat: bool) -> str:
        value = self.expr(node.value, indent, flat=flat)
        return f"{_key(node.key)}: {value}" if isinstance(node, syntax.Entry) else f"...{value}"

    def _arguments(self, args: Sequence[syntax.Arg], indent: str, flat: bool) -> str:
        if len(args) == 1 and not flat:  # one argument keeps the brackets
            return f"({self._arg(args[0], indent, flat)})"
        return self._listed("()", args, self._arg, indent, flat)

    def _arg(self, node: syntax.Arg, indent: str, flat: bool) -> str:
        value = self.expr(node.value, indent, flat=flat)
        return value if node.name is None else f"{node.name.text}: {value}"

    def _arm(self, node: syntax.Arm, indent: str, flat: bool) -> str:
        values = " | ".join(_literal(value) for value in node.values) or "else"
        if isinstance(node.body, Block):
            return f"{values}: {self.block(node.body, indent, flat)}"
        if isinstance(node.body, syntax.RecordExpr) and not node.body.entries:
            raise ValueError("an empty record cannot be the value of an arm")
        return f"{values}: {self.expr(node.body, indent, flat=flat)}"

    def _settings(self, settings: syntax.RecordExpr | None, indent: str, flat: bool) -> str:
        return "" if settings is None else f" with {self.expr(settings, indent, flat=flat)}"

    def _modifier(self, node: syntax.Modifier, indent: str, flat: bool) -> str:
        match node:
            case syntax.With(settings=settings):
                return f"with {self.expr(settings, indent, flat=flat)}"
            case syntax.After(rule=rule):
                return f"after {self.expr(rule, indent, _OR, flat=flat)}"
            case syntax.Catch(name=name, body=body):
                return f"catch({name.text}) {self.block(body, indent, flat)}"
            case syntax.On(event=event, name=caught, body=body):
                return f"on {event.text}{_caught(caught)} {self.block(body, indent, flat)}"

    def _template(self, parts: Sequence[str | Expression]) -> str:
        texts = []
        was_in_text, self._in_text = self._in_text, True
        for index, part in enumerate(parts):
            if isinstance(part, str):
                text = _escaped(part)
                if text.endswith("$") and index + 1 < len(parts):  # `$` and `${` side by side would be a literal
                    text = text[:-1] + "\\$"
                texts.append(text)
            else:
                texts.append(f"${{{self.expr(part, '', flat=True)}}}")
        self._in_text = was_in_text
        return f'"{"".join(texts)}"'


def _level(node: Node) -> int:
    match node:
        case syntax.IfExpr():
            return _EXPR
        case syntax.Chain():
            return _PIPE
        case syntax.Modified() | syntax.Repeat():
            return _STAGE
        case syntax.Unary(op=op):
            return _NOT if op == "not" else _PREFIX
        case syntax.Binary(op=op):
            return _LEVELS[op]
    return _POSTFIX


def _literal(node: syntax.Literal) -> str:
    value: Any = node.value
    match node.kind:
        case "string":
            return _quoted(value)
        case "bool":
            return "true" if value else "false"
        case "null":
            return "null"
        case "duration":
            return _measured(value, _DURATIONS, "0s")
        case "size":
            unit = next((unit for unit, size in _SIZES.items() if value % size == 0), None) if value else None
            return f"{value // _SIZES[unit]}{unit}" if unit else f"{value}B"
        case _:
            return str(value)


def _measured(value: int, units: dict[str, int], zero: str) -> str:
    sign, value, text = ("-" if value < 0 else ""), abs(value), ""
    for unit, size in units.items():
        count, value = divmod(value, size)
        if unit == "ms" and value:
            text += f"{count}.{value:03}".rstrip("0") + "ms"
        elif count:
            text += f"{count}{unit}"
    return sign + (text or zero)


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES).replace("${", "$${")


def _key(name: Ident) -> str:
    return name.text if _WORD.fullmatch(name.text) else _quoted(name.text)


def _show_ident(name: Ident, indent: str, flat: bool) -> str:
    return name.text


def _pattern(pattern: syntax.Pattern) -> str:
    names = ", ".join(name.text for name in pattern.names)
    return f"({names})" if pattern.is_tuple else names


def _caught(name: Ident | None) -> str:
    return "" if name is None else f"({name.text})"


def _label(label: Ident | None) -> str:
    return "" if label is None else f"{label.text} = "
