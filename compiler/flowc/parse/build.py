"""Syntax nodes from the grammar's rules: one function per rule or alias of `flow.lark`, called by the machine.

Each gets the span of what it is made of, then the values that the rule keeps: tokens that say something, finished
nodes, None for a part in `[…]` that is absent.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flowc import syntax
from flowc.syntax import Block, Expression, Ident, Literal, Node, Path, TypeExpr

from .literals import dedent, unescape
from .tokens import Token

__all__ = ["Refused"]


class Refused(Exception):
    """Text that the grammar lets through and the language does not: a finding's name, place and fields."""

    def __init__(self, finding: str, start: int, end: int, **fields: object) -> None:
        super().__init__(finding)
        self.finding = finding
        self.start = start
        self.end = end
        self.fields = fields


class _Group(Node, frozen=True, gc=False):
    """Several nodes that a rule hands to the rule around it."""

    items: tuple[Any, ...]


# ---- declarations ---------------------------------------------------------------------------------------------------


def file(start: int, end: int, *declarations: syntax.Declaration) -> syntax.File:
    return syntax.File(start, end, declarations)


def use(start: int, end: int, target: Path | Literal, *names: Ident) -> syntax.Use:
    if not names:
        raise Refused("empty-import", start, end)
    return syntax.Use(start, end, target, names)


def typedef(start: int, end: int, name: Ident, type_: TypeExpr) -> syntax.TypeDecl:
    return syntax.TypeDecl(start, end, name, type_)


def let(start: int, end: int, name: Ident, value: Expression) -> syntax.Let:
    return syntax.Let(start, end, name, value)


def var(start: int, end: int, name: Ident, type_: TypeExpr, value: Expression | None) -> syntax.Var:
    return syntax.Var(start, end, name, type_, value)


def task(start: int, end: int, signature: syntax.Signature, body: Block) -> syntax.TaskDecl:
    return syntax.TaskDecl(start, end, signature, body)


def flow(start: int, end: int, signature: syntax.Signature, body: Block) -> syntax.FlowDecl:
    return syntax.FlowDecl(start, end, signature, body)


def composite(start: int, end: int, kind: Any, signature: syntax.Signature, value: Expression) -> syntax.Composite:
    return syntax.Composite(start, end, kind.text, signature, value)


def test(start: int, end: int, title: Any, body: Block) -> syntax.TestDecl:
    return syntax.TestDecl(start, end, title.value, body)


def resource(
    start: int, end: int, kind: Ident, name: Ident, type_: TypeExpr | None, body: syntax.RecordExpr | None
) -> syntax.Resource:
    return syntax.Resource(start, end, kind, name, type_, body)


def signature(start: int, end: int, name: Ident, params: _Group | None, returns: TypeExpr | None) -> syntax.Signature:
    return syntax.Signature(start, end, name, params.items if params else (), returns)


def params(start: int, end: int, *params: syntax.Param) -> _Group:
    return _Group(start, end, params)


def param(start: int, end: int, name: Ident, type_: TypeExpr, default: Expression | None) -> syntax.Param:
    return syntax.Param(start, end, name, type_, default)


# ---- types ----------------------------------------------------------------------------------------------------------


def union_type(start: int, end: int, *members: TypeExpr) -> syntax.UnionType:
    return syntax.UnionType(start, end, members)


def optional_type(start: int, end: int, inner: TypeExpr) -> syntax.OptionalType:
    return syntax.OptionalType(start, end, inner)


def named_type(start: int, end: int, path: Path, *args: TypeExpr | None) -> syntax.NamedType:
    return syntax.NamedType(start, end, path, tuple(arg for arg in args if arg is not None))


def literal_type(start: int, end: int, text: Any) -> syntax.LiteralType:
    return syntax.LiteralType(start, end, text.value)


def record_type(start: int, end: int, *fields: syntax.FieldType) -> syntax.RecordType:
    return syntax.RecordType(start, end, fields)


def field(start: int, end: int, name: Ident, type_: TypeExpr) -> syntax.FieldType:
    return syntax.FieldType(start, end, name, type_)


# ---- statements -----------------------------------------------------------------------------------------------------


def block(start: int, end: int, *statements: syntax.Statement) -> Block:
    return Block(start, end, statements)


def ready(start: int, end: int, block: Block) -> Block:
    return block


def setting(start: int, end: int, name: Ident, value: Expression) -> syntax.Setting:
    return syntax.Setting(start, end, name, value)


def bind(start: int, end: int, name: Ident, value: Expression) -> syntax.Bind:
    return syntax.Bind(start, end, name, value)


def trigger(start: int, end: int, name: Ident, value: Expression) -> syntax.TriggerStmt:
    return syntax.TriggerStmt(start, end, name, value)


def handler(start: int, end: int, event: Ident, name: Ident | None, body: Block) -> syntax.Handler:
    return syntax.Handler(start, end, event, name, body)


def if_stmt(start: int, end: int, label: Ident | None, arms: syntax.If, *after: syntax.After) -> syntax.If:
    if label is None and not after:
        return arms
    return syntax.If(start, end, arms.condition, arms.then, arms.otherwise, after, label)


def if_arms(start: int, end: int, condition: Expression, then: Block, otherwise: Block | syntax.If | None) -> syntax.If:
    return syntax.If(start, end, condition, then, otherwise, ())


def using(
    start: int,
    end: int,
    label: Ident | None,
    name: Ident,
    value: Expression,
    body: Block,
    cleanup: Block,
    *after: syntax.After,
) -> syntax.Using:
    return syntax.Using(start, end, name, value, body, cleanup, after, label)


def return_stmt(start: int, end: int, value: Expression) -> syntax.Return:
    return syntax.Return(start, end, value)


def mock(start: int, end: int, path: Path, value: Expression) -> syntax.Mock:
    return syntax.Mock(start, end, path, value)


def expect(start: int, end: int, value: Expression) -> syntax.Expect:
    return syntax.Expect(start, end, value)


def expr_stmt(start: int, end: int, value: Expression) -> syntax.ExprStmt:
    return syntax.ExprStmt(start, end, value)


# ---- expressions ----------------------------------------------------------------------------------------------------


def if_expr(start: int, end: int, condition: Expression, then: Expression, otherwise: Expression) -> syntax.IfExpr:
    return syntax.IfExpr(start, end, condition, then, otherwise)


def chain(start: int, end: int, *stages: Expression) -> syntax.Chain:
    return syntax.Chain(start, end, stages)


def modified(start: int, end: int, value: Expression, *modifiers: syntax.Modifier) -> syntax.Modified:
    kinds = [modifier.event.text if isinstance(modifier, syntax.On) else type(modifier) for modifier in modifiers]
    for index, modifier in enumerate(modifiers):
        if kinds[index] in kinds[:index]:
            word = f"on {modifier.event.text}" if isinstance(modifier, syntax.On) else type(modifier).__name__.lower()
            raise Refused("duplicate-modifier", modifier.start, modifier.start + len(word), modifier=word)
    return syntax.Modified(start, end, value, modifiers)


def repeat(start: int, end: int, settings: syntax.RecordExpr | None, body: Block, until: Expression) -> syntax.Repeat:
    return syntax.Repeat(start, end, settings, body, until)


def after(start: int, end: int, rule: Expression) -> syntax.After:
    return syntax.After(start, end, rule)


def with_(start: int, end: int, settings: syntax.RecordExpr) -> syntax.With:
    return syntax.With(start, end, settings)


def catch(start: int, end: int, name: Ident, body: Block) -> syntax.Catch:
    return syntax.Catch(start, end, name, body)


def on(start: int, end: int, event: Ident, name: Ident | None, body: Block) -> syntax.On:
    return syntax.On(start, end, event, name, body)


def binary(start: int, end: int, left: Expression, op: Any, right: Expression) -> syntax.Binary:
    return syntax.Binary(start, end, op.text, left, right)


def unary(start: int, end: int, op: Any, operand: Expression) -> syntax.Unary:
    return syntax.Unary(start, end, op.text, operand)


def attr(start: int, end: int, value: Expression, name: Ident) -> syntax.Attr:
    return syntax.Attr(start, end, value, name, False)


def optional_attr(start: int, end: int, value: Expression, name: Ident) -> syntax.Attr:
    return syntax.Attr(start, end, value, name, True)


def call(start: int, end: int, func: Expression, *args: syntax.Arg) -> syntax.Call:
    return syntax.Call(start, end, func, args)


def arg(start: int, end: int, name: Ident | None, value: Expression) -> syntax.Arg:
    return syntax.Arg(start, end, name, value)


def index(start: int, end: int, value: Expression, index: Expression) -> syntax.Index:
    return syntax.Index(start, end, value, index)


def slice(start: int, end: int, value: Expression, first: Expression | None, last: Expression | None) -> syntax.Slice:
    return syntax.Slice(start, end, value, first, last)


def name(start: int, end: int, ident: Ident) -> syntax.Name:
    return syntax.Name(start, end, ident.text)


def constant(start: int, end: int, word: Any) -> Literal:
    if word.text == "null":
        return Literal(start, end, "null", None)
    return Literal(start, end, "bool", word.text == "true")


def parentheses(start: int, end: int, inner: Any) -> Any:
    """The node itself, with the parentheses in its span."""
    return msgspec.structs.replace(inner, start=start, end=end)


def template(start: int, end: int, quote: Token, *pieces: Any) -> Expression:
    """Quoted text from `quote`, its pieces (`Token` for text) and the closing quotes."""
    parts = list(pieces[:-1])
    texts = [piece.text if isinstance(piece, Token) else None for piece in parts]
    if quote.text == '"""':
        texts = dedent(texts)
    found: list[Any] = [parts[i] if text is None else unescape(text) for i, text in enumerate(texts)]
    return syntax.Template(start, end, tuple(part for part in found if part != ""))


def interpolation(start: int, end: int, value: Expression, closing: Token) -> Expression:
    return value


def list_expr(start: int, end: int, *items: Expression) -> syntax.ListExpr:
    return syntax.ListExpr(start, end, items)


def comprehension(
    start: int, end: int, value: Expression, pattern: syntax.Pattern, source: Expression, condition: Expression | None
) -> syntax.Comprehension:
    return syntax.Comprehension(start, end, value, pattern, source, condition)


def each(
    start: int, end: int, pattern: syntax.Pattern, source: Expression, settings: syntax.RecordExpr | None, body: Block
) -> syntax.Each:
    return syntax.Each(start, end, pattern, source, settings, body)


def match(start: int, end: int, subject: Expression, *arms: syntax.Arm) -> syntax.Match:
    return syntax.Match(start, end, subject, arms)


def arm(start: int, end: int, values: Any, body: Expression | Block) -> syntax.Arm:
    if isinstance(body, syntax.RecordExpr) and not body.entries:
        body = Block(body.start, body.end, ())
    return syntax.Arm(start, end, values.items if isinstance(values, _Group) else (), body)


def values(start: int, end: int, *literals: Literal) -> _Group:
    return _Group(start, end, literals)


def negative(start: int, end: int, number: Literal) -> Literal:
    assert isinstance(number.value, int | float)
    return Literal(start, end, number.kind, -number.value)


def record(start: int, end: int, *entries: syntax.Entry | syntax.Spread) -> syntax.RecordExpr:
    return syntax.RecordExpr(start, end, entries)


def entry(start: int, end: int, key: Ident, value: Expression) -> syntax.Entry:
    return syntax.Entry(start, end, key, value)


def spread(start: int, end: int, value: Expression) -> syntax.Spread:
    return syntax.Spread(start, end, value)


def pattern(start: int, end: int, *names: Ident) -> syntax.Pattern:
    return syntax.Pattern(start, end, names, end - start > names[0].end - names[0].start)


def path(start: int, end: int, *parts: Ident) -> Path:
    return Path(start, end, parts)


def quoted_key(start: int, end: int, text: Any) -> Ident:
    return Ident(start, end, text.value)
