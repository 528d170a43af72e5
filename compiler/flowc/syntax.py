"""Syntax nodes: frozen, with spans, built inside the parser.

Every node starts with `start` and `end`, character offsets in its file (half open). Nodes hold what was
written, unresolved: `_` is a `Name`, a call may be a task, a flow or a function. Fields are positional
because the parser builds hundreds of thousands of them.
"""

from __future__ import annotations

from typing import Literal as Lit

import msgspec

__all__ = [
    # base and parts
    "Node", "Ident", "Path", "Param", "Signature", "Block", "File",
    # declarations
    "Declaration", "Use", "TypeDecl", "Let", "Var", "Resource", "TaskDecl", "FlowDecl", "Composite", "TestDecl",
    # types
    "TypeExpr", "NamedType", "OptionalType", "UnionType", "LiteralType", "RecordType", "FieldType",
    # statements
    "Statement", "Setting", "Bind", "TriggerStmt", "Handler", "If", "Using", "Return", "Mock", "Expect", "ExprStmt",
    "ErrorNode",
    # expressions
    "Expression", "Name", "Literal", "Template", "ListExpr", "RecordExpr", "Entry", "Spread", "Unary", "Binary",
    "Attr", "Index", "Slice", "Call", "Arg", "IfExpr", "Match", "Arm", "Comprehension", "Pattern", "Each", "Repeat",
    "Chain", "Modified", "With", "After", "Catch", "On", "Modifier",
]  # fmt: skip


class Node(msgspec.Struct, frozen=True, gc=False):
    start: int
    end: int


class Ident(Node, frozen=True, gc=False):
    """A name where it is declared, or a key; `text` without quotes."""

    text: str


class Path(Node, frozen=True, gc=False):
    """Dotted names: `std.http`."""

    parts: tuple[Ident, ...]

    @property
    def text(self) -> str:
        return ".".join(part.text for part in self.parts)


class ErrorNode(Node, frozen=True, gc=False):
    """A declaration or statement that did not parse; its finding has been reported. `name` is what it would
    have declared, if that could be read: uses of it are not reported again."""

    name: str | None = None


# ---- types ----------------------------------------------------------------------------------------------------------


class NamedType(Node, frozen=True, gc=False):
    path: Path
    args: tuple[TypeExpr, ...]


class OptionalType(Node, frozen=True, gc=False):
    inner: TypeExpr


class LiteralType(Node, frozen=True, gc=False):
    value: str


class UnionType(Node, frozen=True, gc=False):
    members: tuple[TypeExpr, ...]


class FieldType(Node, frozen=True, gc=False):
    name: Ident
    type: TypeExpr


class RecordType(Node, frozen=True, gc=False):
    fields: tuple[FieldType, ...]


TypeExpr = NamedType | OptionalType | LiteralType | UnionType | RecordType


# ---- expressions ----------------------------------------------------------------------------------------------------


class Name(Node, frozen=True, gc=False):
    id: str


LiteralKind = Lit["int", "float", "size", "duration", "date", "datetime", "string", "bool", "null"]


class Literal(Node, frozen=True, gc=False):
    """A constant. `value`: int (int; size in bytes; duration in microseconds), float, str (string; date and
    datetime in ISO form), bool or None."""

    kind: LiteralKind
    value: int | float | str | bool | None


class Template(Node, frozen=True, gc=False):
    """A string with `${…}` in it; text parts are unescaped (and dedented for triple-quoted text)."""

    parts: tuple[str | Expression, ...]


class ListExpr(Node, frozen=True, gc=False):
    items: tuple[Expression, ...]


class Entry(Node, frozen=True, gc=False):
    key: Ident
    value: Expression


class Spread(Node, frozen=True, gc=False):
    """`...value` inside a record."""

    value: Expression


class RecordExpr(Node, frozen=True, gc=False):
    entries: tuple[Entry | Spread, ...]


class Unary(Node, frozen=True, gc=False):
    op: Lit["-", "not"]
    operand: Expression


class Binary(Node, frozen=True, gc=False):
    op: Lit["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "in", "and", "or", "??"]
    left: Expression
    right: Expression


class Attr(Node, frozen=True, gc=False):
    """`value.name`, or `value?.name` when `optional`."""

    value: Expression
    name: Ident
    optional: bool


class Index(Node, frozen=True, gc=False):
    value: Expression
    index: Expression


class Slice(Node, frozen=True, gc=False):
    """`xs[a:b]`."""

    value: Expression
    first: Expression | None
    last: Expression | None


class Arg(Node, frozen=True, gc=False):
    name: Ident | None
    value: Expression


class Call(Node, frozen=True, gc=False):
    """`func(args)`; `func` is a `Name` or an `Attr` of names (`module.task`)."""

    func: Expression
    args: tuple[Arg, ...]


class IfExpr(Node, frozen=True, gc=False):
    condition: Expression
    then: Expression
    otherwise: Expression


class Arm(Node, frozen=True, gc=False):
    """One arm of a `match`. `values` empty means `else`."""

    values: tuple[Literal, ...]
    body: Expression | Block


class Match(Node, frozen=True, gc=False):
    subject: Expression
    arms: tuple[Arm, ...]


class Pattern(Node, frozen=True, gc=False):
    """`p`, or `(a, b)` when there are several names."""

    names: tuple[Ident, ...]
    is_tuple: bool


class Comprehension(Node, frozen=True, gc=False):
    value: Expression
    pattern: Pattern
    source: Expression
    condition: Expression | None


class Each(Node, frozen=True, gc=False):
    pattern: Pattern
    source: Expression
    settings: RecordExpr | None
    body: Block


class Repeat(Node, frozen=True, gc=False):
    settings: RecordExpr | None
    body: Block
    until: Expression


class Chain(Node, frozen=True, gc=False):
    """`a(x) -> b -> c`; at least two stages."""

    stages: tuple[Expression, ...]


class With(Node, frozen=True, gc=False):
    settings: RecordExpr


class After(Node, frozen=True, gc=False):
    rule: Expression


class Catch(Node, frozen=True, gc=False):
    name: Ident
    body: Block


class On(Node, frozen=True, gc=False):
    """`x = a(1) on failure(e) { … }`; `name` is None in `on success { … }`."""

    event: Ident
    name: Ident | None
    body: Block


Modifier = With | After | Catch | On


class Modified(Node, frozen=True, gc=False):
    """A stage with its modifiers, in written order."""

    value: Expression
    modifiers: tuple[Modifier, ...]


Expression = (
    Name | Literal | Template | ListExpr | RecordExpr | Unary | Binary | Attr | Index | Slice | Call | IfExpr | Match
    | Comprehension | Each | Repeat | Chain | Modified
)  # fmt: skip


# ---- statements -----------------------------------------------------------------------------------------------------


class Setting(Node, frozen=True, gc=False):
    """`name: value`."""

    name: Ident
    value: Expression


class Bind(Node, frozen=True, gc=False):
    """`name = value`."""

    name: Ident
    value: Expression


class TriggerStmt(Node, frozen=True, gc=False):
    name: Ident
    value: Expression


class Handler(Node, frozen=True, gc=False):
    """`on event(name) { … }` as a statement of a flow or task."""

    event: Ident
    name: Ident | None
    body: Block


class If(Node, frozen=True, gc=False):
    condition: Expression
    then: Block
    otherwise: Block | If | None
    modifiers: tuple[After, ...]
    #: the name others wait for, in `label = …`
    label: Ident | None = None


class Using(Node, frozen=True, gc=False):
    name: Ident
    value: Expression
    body: Block
    cleanup: Block
    modifiers: tuple[After, ...]
    #: the name others wait for, in `label = …`
    label: Ident | None = None


class Return(Node, frozen=True, gc=False):
    value: Expression


class Mock(Node, frozen=True, gc=False):
    path: Path
    value: Expression


class Expect(Node, frozen=True, gc=False):
    value: Expression


class ExprStmt(Node, frozen=True, gc=False):
    value: Expression


Statement = Setting | Bind | TriggerStmt | Handler | If | Using | Return | Mock | Expect | ExprStmt | ErrorNode


class Block(Node, frozen=True, gc=False):
    statements: tuple[Statement, ...]


# ---- declarations ---------------------------------------------------------------------------------------------------


class Param(Node, frozen=True, gc=False):
    name: Ident
    type: TypeExpr
    default: Expression | None


class Signature(Node, frozen=True, gc=False):
    name: Ident
    params: tuple[Param, ...]
    returns: TypeExpr | None


class Use(Node, frozen=True, gc=False):
    """`use "path" { a, b }` (a `str` target) or `use std.http { get }` (a `Path` target)."""

    target: Path | Literal
    names: tuple[Ident, ...]


class TypeDecl(Node, frozen=True, gc=False):
    name: Ident
    type: TypeExpr
    doc: str | None = None


class Let(Node, frozen=True, gc=False):
    name: Ident
    value: Expression
    doc: str | None = None


class Var(Node, frozen=True, gc=False):
    name: Ident
    type: TypeExpr
    value: Expression | None
    doc: str | None = None


class Resource(Node, frozen=True, gc=False):
    """`pool p { slots: 8 }`, `connection c: duckdb { path: "x" }`, `signal s: int`; what each kind has is checked
    later."""

    kind: Ident
    name: Ident
    type: TypeExpr | None
    body: RecordExpr | None
    doc: str | None = None


class TaskDecl(Node, frozen=True, gc=False):
    signature: Signature
    body: Block
    doc: str | None = None


class FlowDecl(Node, frozen=True, gc=False):
    signature: Signature
    body: Block
    doc: str | None = None


class Composite(Node, frozen=True, gc=False):
    kind: Lit["chain", "group", "chord"]
    signature: Signature
    value: Expression
    doc: str | None = None


class TestDecl(Node, frozen=True, gc=False):
    __test__ = False
    title: str
    body: Block
    doc: str | None = None


Declaration = Use | TypeDecl | Let | Var | Resource | TaskDecl | FlowDecl | Composite | TestDecl | ErrorNode


class File(Node, frozen=True, gc=False):
    declarations: tuple[Declaration, ...]
