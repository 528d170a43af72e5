"""Syntax trees at random, for hypothesis: everything the grammar can give, with all offsets 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowc import syntax
from flowc.parse.tokens import KEYWORDS
from flowc.syntax import Block, Ident
from hypothesis import strategies as st

__all__ = ["Trees", "expressions", "files", "shape"]

TEXTS = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    ["${", "$$", "$${x}", "a\nb", '"""', "\\n", "é", "$"]
)
WORDS = st.sampled_from(["a", "b", "xs", "_", "run", "name_1", "Row"])
KEY_WORDS = st.sampled_from(["a", "b", *sorted(KEYWORDS)])
INTS = st.integers(0, 2**63 - 1)
OPERATORS = ["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "in", "and", "or", "??"]


def shape(node: Any) -> Any:
    """A tree without its offsets, and with the types of its constants."""
    if isinstance(node, syntax.Node):
        fields = [shape(getattr(node, name)) for name in type(node).__struct_fields__ if name not in ("start", "end")]
        return (type(node).__name__, *fields)
    if isinstance(node, tuple):
        return tuple(shape(item) for item in node)
    return (type(node).__name__, node)


@st.composite
def expressions(draw: st.DrawFn) -> Any:
    return Trees(draw).expression(3)


@st.composite
def files(draw: st.DrawFn) -> syntax.File:
    trees = Trees(draw)
    return syntax.File(0, 0, trees.some(trees.declaration))


class Trees:
    """Makes nodes; `depth` is how many levels of expressions may follow."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw

    def pick(self, *makers: Callable[..., Any]) -> Callable[..., Any]:
        return self.draw(st.sampled_from(makers))

    def some(self, make: Callable[[], Any], least: int = 0, most: int = 2) -> tuple[Any, ...]:
        return tuple(make() for _ in range(self.draw(st.integers(least, most))))

    def maybe(self, make: Callable[[], Any]) -> Any:
        return make() if self.draw(st.booleans()) else None

    # ---- names and types --------------------------------------------------------------------------------------------

    def name(self) -> Ident:
        return Ident(0, 0, self.draw(WORDS))

    def word(self) -> Ident:
        return Ident(0, 0, self.draw(KEY_WORDS))

    def key(self) -> Ident:
        return Ident(0, 0, self.draw(KEY_WORDS | TEXTS))

    def path(self) -> syntax.Path:
        return syntax.Path(0, 0, (self.name(), *self.some(self.word)))

    def type(self, depth: int = 2) -> Any:
        def inner() -> Any:
            return self.type(depth - 1)

        leaves = [lambda: syntax.NamedType(0, 0, self.path(), ()), lambda: syntax.LiteralType(0, 0, self.draw(TEXTS))]
        if not depth:
            return self.pick(*leaves)()
        return self.pick(
            *leaves,
            lambda: syntax.NamedType(0, 0, self.path(), self.some(inner, 1)),
            lambda: syntax.OptionalType(0, 0, inner()),
            lambda: syntax.UnionType(0, 0, self.some(inner, 2, 3)),
            lambda: syntax.RecordType(0, 0, self.some(lambda: syntax.FieldType(0, 0, self.key(), inner()))),
        )()

    # ---- constants --------------------------------------------------------------------------------------------------

    def number(self) -> syntax.Literal:
        kind = self.draw(st.sampled_from(["int", "float", "size", "duration"]))
        values = st.floats(0, allow_nan=False, allow_infinity=False) if kind == "float" else INTS
        return syntax.Literal(0, 0, kind, self.draw(values))

    def literal(self) -> syntax.Literal:
        kind = self.draw(st.sampled_from(["number", "date", "datetime", "string", "bool", "null"]))
        match kind:
            case "number":
                return self.number()
            case "date":
                value: Any = str(self.draw(st.dates()))
            case "datetime":
                value = self.draw(st.datetimes()).isoformat() + self.draw(st.sampled_from(["", "+02:00", "-11:30"]))
            case "string":
                value = self.draw(TEXTS)
            case "bool":
                value = self.draw(st.booleans())
            case _:
                value = None
        return syntax.Literal(0, 0, kind, value)

    def arm_value(self) -> syntax.Literal:
        number = self.number()
        negative = syntax.Literal(0, 0, number.kind, -number.value)  # type: ignore[operator]
        return self.draw(st.sampled_from([number, negative, self.literal()]))

    # ---- expressions ------------------------------------------------------------------------------------------------

    def expression(self, depth: int) -> Any:
        if not depth or self.draw(st.integers(0, 3)) == 0:
            return self.pick(self.literal, lambda: syntax.Name(0, 0, self.draw(WORDS)))()
        return self.pick(self.operation, self.collection, self.choice, self.loop, self.steps)(depth - 1)

    def operation(self, depth: int) -> Any:
        def inner() -> Any:
            return self.expression(depth)

        return self.pick(
            lambda: syntax.Unary(0, 0, self.draw(st.sampled_from(["-", "not"])), inner()),
            lambda: syntax.Binary(0, 0, self.draw(st.sampled_from(OPERATORS)), inner(), inner()),
            lambda: syntax.Attr(0, 0, inner(), self.word(), self.draw(st.booleans())),
            lambda: syntax.Index(0, 0, inner(), inner()),
            lambda: syntax.Slice(0, 0, inner(), self.maybe(inner), self.maybe(inner)),
            lambda: syntax.Call(0, 0, inner(), self.some(lambda: syntax.Arg(0, 0, self.maybe(self.word), inner()))),
        )()

    def collection(self, depth: int) -> Any:
        def inner() -> Any:
            return self.expression(depth)

        return self.pick(
            lambda: syntax.ListExpr(0, 0, self.some(inner)),
            lambda: self.record(depth),
            lambda: self.template(depth),
            lambda: syntax.Comprehension(0, 0, inner(), self.pattern(), inner(), self.maybe(inner)),
        )()

    def record(self, depth: int) -> syntax.RecordExpr:
        def entry() -> Any:
            value = self.expression(depth)
            return self.pick(lambda: syntax.Entry(0, 0, self.key(), value), lambda: syntax.Spread(0, 0, value))()

        return syntax.RecordExpr(0, 0, self.some(entry))

    def template(self, depth: int) -> syntax.Template:
        """Texts between values: no two texts side by side, none of them empty."""
        parts: list[Any] = [self.draw(TEXTS)]
        for _ in range(self.draw(st.integers(1, 2))):
            parts += [self.expression(depth), self.draw(TEXTS)]
        return syntax.Template(0, 0, tuple(part for part in parts if part != ""))

    def choice(self, depth: int) -> Any:
        def inner() -> Any:
            return self.expression(depth)

        return self.pick(
            lambda: syntax.IfExpr(0, 0, inner(), inner(), inner()),
            lambda: syntax.Match(0, 0, inner(), self.some(lambda: self.arm(depth), 1)),
        )()

    def arm(self, depth: int) -> syntax.Arm:
        """`{ }` as the body is an empty block, and a block that began with `name: …` would be a record."""
        body = self.pick(self.expression, self.block)(depth)
        if isinstance(body, syntax.RecordExpr) and not body.entries:
            body = Block(0, 0, ())
        if isinstance(body, Block) and body.statements and isinstance(body.statements[0], syntax.Setting):
            body = Block(0, 0, body.statements[1:0])
        return syntax.Arm(0, 0, self.some(self.arm_value), body)

    def pattern(self) -> syntax.Pattern:
        names = self.some(self.name, 1, 3)
        return syntax.Pattern(0, 0, names, len(names) > 1)

    def loop(self, depth: int) -> Any:
        settings = self.maybe(lambda: self.record(depth))
        body, value = self.block(depth), self.expression(depth)
        return self.pick(
            lambda: syntax.Each(0, 0, self.pattern(), value, settings, body),
            lambda: syntax.Repeat(0, 0, settings, body, value),
        )()

    def steps(self, depth: int) -> Any:
        return self.pick(
            lambda: syntax.Chain(0, 0, self.some(lambda: self.expression(depth), 2, 3)),
            lambda: syntax.Modified(0, 0, self.expression(depth), self.modifiers(depth)),
        )()

    def modifiers(self, depth: int) -> tuple[Any, ...]:
        makers = {
            "with": lambda: syntax.With(0, 0, self.record(depth)),
            "after": lambda: self.after(depth),
            "catch": lambda: syntax.Catch(0, 0, self.name(), self.block(depth)),
            "on a": lambda: syntax.On(0, 0, Ident(0, 0, "a"), self.maybe(self.name), self.block(depth)),
            "on b": lambda: syntax.On(0, 0, Ident(0, 0, "b"), self.maybe(self.name), self.block(depth)),
        }
        kinds = self.draw(st.lists(st.sampled_from(sorted(makers)), min_size=1, max_size=3, unique=True))
        return tuple(makers[kind]() for kind in kinds)

    def after(self, depth: int) -> syntax.After:
        return syntax.After(0, 0, self.expression(depth))

    # ---- statements -------------------------------------------------------------------------------------------------

    def block(self, depth: int) -> Block:
        return Block(0, 0, self.some(lambda: self.statement(depth)))

    def statement(self, depth: int) -> Any:
        value = self.expression(depth)
        simple = [
            lambda: syntax.Setting(0, 0, self.word(), value),
            lambda: syntax.Bind(0, 0, self.name(), value),
            lambda: syntax.TriggerStmt(0, 0, self.name(), value),
            lambda: syntax.Return(0, 0, value),
            lambda: syntax.Mock(0, 0, self.path(), value),
            lambda: syntax.Expect(0, 0, value),
            lambda: syntax.ExprStmt(0, 0, value),
        ]
        if not depth:
            return self.pick(*simple)()
        return self.pick(
            *simple, lambda: self.handler(depth - 1), lambda: self.branch(depth - 1), self.guarded(depth)
        )()

    def handler(self, depth: int) -> syntax.Handler:
        return syntax.Handler(0, 0, self.name(), self.maybe(self.name), self.block(depth))

    def branch(self, depth: int, *, outer: bool = True) -> syntax.If:
        otherwise = self.pick(
            lambda: None, lambda: self.block(depth), lambda: self.branch(depth - 1, outer=False) if depth > 0 else None
        )()
        after = self.some(lambda: self.after(depth)) if outer else ()
        label = self.maybe(self.name) if outer else None
        return syntax.If(0, 0, self.expression(depth), self.block(depth), otherwise, after, label)

    def guarded(self, depth: int) -> Callable[[], syntax.Using]:
        def make() -> syntax.Using:
            body, cleanup = self.block(depth - 1), self.block(depth - 1)
            after = self.some(lambda: self.after(depth - 1))
            value = self.expression(depth - 1)
            return syntax.Using(0, 0, self.name(), value, body, cleanup, after, self.maybe(self.name))

        return make

    # ---- declarations -----------------------------------------------------------------------------------------------

    def declaration(self) -> Any:
        doc = self.draw(st.sampled_from([None, "One line.", "Two\nlines.", "A gap\n\nin it."]))
        return self.pick(
            self.use,
            lambda: syntax.TypeDecl(0, 0, self.name(), self.type(), doc),
            lambda: syntax.Let(0, 0, self.name(), self.expression(2), doc),
            lambda: syntax.Var(0, 0, self.name(), self.type(), self.maybe(lambda: self.expression(2)), doc),
            lambda: syntax.Resource(
                0, 0, self.name(), self.name(), self.maybe(self.type), self.maybe(lambda: self.record(2)), doc
            ),
            lambda: syntax.TaskDecl(0, 0, self.signature(), self.block(2), doc),
            lambda: syntax.FlowDecl(0, 0, self.signature(), self.block(3), doc),
            lambda: self.composite(doc),
            lambda: syntax.TestDecl(0, 0, self.draw(TEXTS), self.block(2), doc),
        )()

    def use(self) -> syntax.Use:
        target = self.pick(self.path, lambda: syntax.Literal(0, 0, "string", self.draw(TEXTS)))()
        return syntax.Use(0, 0, target, self.some(self.name, 1))

    def composite(self, doc: str | None) -> syntax.Composite:
        kind = self.draw(st.sampled_from(["chain", "group", "chord"]))
        return syntax.Composite(0, 0, kind, self.signature(), self.expression(3), doc)

    def signature(self) -> syntax.Signature:
        def param() -> syntax.Param:
            return syntax.Param(0, 0, self.word(), self.type(), self.maybe(lambda: self.expression(1)))

        return syntax.Signature(0, 0, self.name(), self.some(param), self.maybe(self.type))
