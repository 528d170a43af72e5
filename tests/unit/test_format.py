"""Trees print as text that parses to the same tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowc import syntax
from flowc.catalog import Findings
from flowc.format import print_expression, print_file, print_statement, print_type
from flowc.parse import parse, parse_expression
from flowc.parse.tokens import KEYWORDS
from flowc.source import Source
from flowc.syntax import Block, Ident

#: a failing tree is large, and showing it is not an error of its own
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")

EXAMPLES = sorted(path for path in Path("specs/examples").rglob("*.flow") if path.is_file())


def shape(node: Any) -> Any:
    """A tree without its offsets."""
    if isinstance(node, syntax.Node):
        fields = [shape(getattr(node, name)) for name in type(node).__struct_fields__ if name not in ("start", "end")]
        return (type(node).__name__, *fields)
    if isinstance(node, tuple):
        return tuple(shape(item) for item in node)
    return (type(node).__name__, node)


def parsed(text: str) -> syntax.File:
    findings = Findings()
    file = parse(Source("x.flow", text), findings)
    assert findings.sorted() == [], text
    return file


# ---- trees, smallest parts first ------------------------------------------------------------------------------------


def node(kind: Any, *fields: Any) -> Any:
    return st.tuples(*fields).map(lambda values: kind(0, 0, *values))


def tuples(items: Any, least: int = 0, most: int = 3) -> Any:
    return st.lists(items, min_size=least, max_size=most).map(tuple)


texts = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(["${", "$$", "$${x}", "a\nb", '"""', "\\n", "é"])
words = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True).filter(lambda word: word not in KEYWORDS)
names = node(Ident, words)
any_words = node(Ident, words | st.sampled_from(sorted(KEYWORDS)))
keys = any_words | node(Ident, texts)
paths = node(syntax.Path, st.tuples(names, any_words) | st.tuples(names))
INTS = st.integers(0, 2**63 - 1)


def literal(kind: str, values: Any) -> Any:
    return node(syntax.Literal, st.just(kind), values)


numbers = (
    literal("int", INTS)
    | literal("float", st.floats(0, allow_nan=False, allow_infinity=False))
    | literal("size", INTS)
    | literal("duration", INTS)
)
negative = numbers.map(lambda number: syntax.Literal(0, 0, number.kind, -number.value))
fixed = (
    literal("date", st.dates().map(str))
    | literal("datetime", st.datetimes(timezones=st.sampled_from([None]) ).map(lambda moment: moment.isoformat()))
    | literal("datetime", st.just("2026-01-31T10:00:00+02:00"))
    | literal("string", texts)
    | literal("bool", st.booleans())
    | literal("null", st.none())
)
literals = numbers | fixed
patterns = node(syntax.Pattern, names.map(lambda name: (name,)), st.just(False)) | node(
    syntax.Pattern, tuples(names, 2), st.just(True)
)

types = st.recursive(
    node(syntax.NamedType, paths, st.just(())) | node(syntax.LiteralType, texts),
    lambda inner: (
        node(syntax.NamedType, paths, tuples(inner, 1))
        | node(syntax.OptionalType, inner)
        | node(syntax.UnionType, tuples(inner, 2))
        | node(syntax.RecordType, tuples(node(syntax.FieldType, keys, inner)))
    ),
    max_leaves=6,
)


def template(parts: list[Any]) -> Any:
    joined: list[Any] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    return syntax.Template(0, 0, tuple(joined))


def records(inner: Any) -> Any:
    return node(syntax.RecordExpr, tuples(node(syntax.Entry, keys, inner) | node(syntax.Spread, inner)))


def blocks(inner: Any) -> Any:
    statement = (
        node(syntax.Bind, names, inner)
        | node(syntax.ExprStmt, inner)
        | node(syntax.Return, inner)
        | node(syntax.TriggerStmt, names, inner)
        | node(syntax.Setting, any_words, inner)
        | node(syntax.Mock, paths, inner)
        | node(syntax.Expect, inner)
    )
    block = node(Block, tuples(statement))
    afters = tuples(node(syntax.After, inner), most=1)
    labels = st.none() | names
    with_blocks = (
        node(syntax.If, inner, block, st.none() | block, afters, labels)
        | node(syntax.If, inner, block, node(syntax.If, inner, block, block, st.just(())), afters)
        | node(syntax.Using, names, inner, block, block, afters, labels)
        | node(syntax.Handler, names, st.none() | names, block)
    )
    return node(Block, tuples(statement | with_blocks))


def is_arm_body(body: Any) -> bool:
    """`{ }` is an empty block, and a block that began with `name: …` would be a record."""
    if isinstance(body, Block):
        return not body.statements or not isinstance(body.statements[0], syntax.Setting)
    return not isinstance(body, syntax.RecordExpr) or bool(body.entries)


def unlike(modifiers: list[Any]) -> tuple[Any, ...]:
    kinds = {modifier.event.text if isinstance(modifier, syntax.On) else type(modifier): modifier for modifier in modifiers}
    return tuple(kinds.values())


def larger(inner: Any) -> Any:
    settings = st.none() | records(inner)
    modifiers = st.lists(
        node(syntax.With, records(inner))
        | node(syntax.After, inner)
        | node(syntax.Catch, names, blocks(inner))
        | node(syntax.On, names, st.none() | names, blocks(inner)),
        min_size=1,
        max_size=3,
    ).map(unlike)
    arms = node(
        syntax.Arm, tuples(literals | negative), (inner | blocks(inner)).filter(is_arm_body)
    )
    return (
        node(syntax.Unary, st.sampled_from(["-", "not"]), inner)
        | node(syntax.Binary, st.sampled_from("+ - * / % == != < <= > >= in and or ??".split()), inner, inner)
        | node(syntax.Attr, inner, any_words, st.booleans())
        | node(syntax.Index, inner, inner)
        | node(syntax.Slice, inner, st.none() | inner, st.none() | inner)
        | node(syntax.Call, inner, tuples(node(syntax.Arg, st.none() | any_words, inner)))
        | node(syntax.ListExpr, tuples(inner))
        | records(inner)
        | st.lists(texts | inner, max_size=4).filter(lambda parts: any(not isinstance(p, str) for p in parts)).map(template)
        | node(syntax.IfExpr, inner, inner, inner)
        | node(syntax.Match, inner, tuples(arms, 1))
        | node(syntax.Comprehension, inner, patterns, inner, st.none() | inner)
        | node(syntax.Each, patterns, inner, settings, blocks(inner))
        | node(syntax.Repeat, settings, blocks(inner), inner)
        | node(syntax.Chain, tuples(inner, 2))
        | node(syntax.Modified, inner, modifiers)
    )


expressions = st.recursive(literals | words.map(lambda word: syntax.Name(0, 0, word)), larger, max_leaves=8)
docs = st.none() | st.sampled_from(["One line.", "Two\nlines.", "A gap\n\nin it."])
params = node(syntax.Param, any_words, types, st.none() | expressions)
signatures = node(syntax.Signature, names, tuples(params), st.none() | types)
bodies = blocks(expressions)
declarations = (
    node(syntax.Use, paths | literal("string", texts), tuples(names, 1))
    | node(syntax.TypeDecl, names, types, docs)
    | node(syntax.Let, names, expressions, docs)
    | node(syntax.Var, names, types, st.none() | expressions, docs)
    | node(syntax.Resource, names, names, st.none() | paths, records(expressions), docs)
    | node(syntax.TaskDecl, signatures, bodies, docs)
    | node(syntax.FlowDecl, signatures, bodies, docs)
    | node(syntax.Composite, st.sampled_from(["chain", "group", "chord"]), signatures, expressions, docs)
    | node(syntax.TestDecl, texts, bodies, docs)
)
slow = settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=50)


# ---- tests -----------------------------------------------------------------------------------------------------------


@slow
@given(expressions)
def test_printed_expressions_parse_to_the_same_tree(expression: Any) -> None:
    assert shape(parse_expression(print_expression(expression))) == shape(expression)


@slow
@given(st.lists(declarations, max_size=3))
def test_printed_files_parse_to_the_same_tree(nodes: list[Any]) -> None:
    text = print_file(syntax.File(0, 0, tuple(nodes)))
    assert shape(parsed(text).declarations) == shape(tuple(nodes))


@pytest.mark.parametrize("path", EXAMPLES, ids=str)
def test_examples_print_and_parse_to_the_same_tree(path: Path) -> None:
    file = parsed(path.read_text(encoding="utf-8"))
    printed = print_file(file)
    assert shape(parsed(printed)) == shape(file)
    assert print_file(parsed(printed)) == printed


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a+b*c", "a + b * c"),
        ("(a+b)*c", "(a + b) * c"),
        ("a-(b-c)", "a - (b - c)"),
        ("- x", "-x"),
        ("not (a and b)", "not (a and b)"),
        ("not a==b", "not a == b"),
        ("(a->b) catch(e) {}", "(a -> b) catch(e) { }"),
        ("a->b catch(e) {}", "a -> b catch(e) { }"),
        ("x.match?.on[0][1:]", "x.match?.on[0][1:]"),
        ('{ "two words": 1, type: 2, ...rest }', '{ "two words": 1, type: 2, ...rest }'),
        ("90m", "1h30m"),
        ("1024KiB", "1MiB"),
        ("if a then b else if c then d else e", "if a then b else if c then d else e"),
        ('"a $${b} \\${c} ${d}"', '"a $${b} $${c} ${d}"'),
    ],
)
def test_canonical_text(text: str, printed: str) -> None:
    assert print_expression(parse_expression(text)) == printed


def test_what_is_too_long_is_broken_into_lines() -> None:
    text = "flow f { " + ", ".join(f"step_{n} = call({n}) -> next with {{ timeout: {n}m }}" for n in range(3)) + " }"
    assert print_file(parsed(text)) == (
        "flow f {\n"
        "  step_0 = call(0) -> next with { timeout: 0s }\n"
        "  step_1 = call(1) -> next with { timeout: 1m }\n"
        "  step_2 = call(2) -> next with { timeout: 2m }\n"
        "}\n"
    )
    long = parse_expression(f"load({', '.join(f'argument_{n}: value_{n}' for n in range(9))})")
    assert print_expression(long).split("\n")[:2] == ["load(", "  argument_0: value_0,"]


def test_types_and_statements_print() -> None:
    file = parsed('type T = ("a" | "b")? | list<int?>\n')
    assert print_type(file.declarations[0].type) == '("a" | "b")? | list<int?>'  # type: ignore[union-attr]
    flow = parsed("flow f { done = if a { b() } else { c() } after d }").declarations[0]
    statement = flow.body.statements[0]  # type: ignore[union-attr]
    assert print_statement(statement) == "done = if a {\n  b()\n} else {\n  c()\n} after d"


def test_error_nodes_have_no_text() -> None:
    with pytest.raises(ValueError, match="ErrorNode"):
        print_file(syntax.File(0, 0, (syntax.ErrorNode(0, 0),)))


def test_shape_tells_trees_apart() -> None:
    assert shape(parse_expression("1")) != shape(parse_expression("1.0"))
    assert msgspec.structs.asdict(parse_expression(" x")) == {"start": 1, "end": 2, "id": "x"}
