"""What parses, and to which tree. Mistakes are in test_parse_errors, printing in test_format."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any

import pytest
from flowc import syntax
from flowc.catalog import Findings
from flowc.format import print_expression, print_statement
from flowc.parse import MAX_BYTES, decode_source, machine, parse, parse_expression
from flowc.parse.lexer import scan
from flowc.source import Source

from tests.unit.syntax_trees import shape

EXAMPLES = sorted(path for path in Path("specs/examples").rglob("*.flow") if path.is_file())


def parsed(text: str) -> syntax.File:
    findings = Findings()
    file = parse(Source("x.flow", text), findings)
    assert findings.sorted() == []
    return file


def statements(text: str) -> tuple[Any, ...]:
    """The statements of a flow with this body."""
    declaration = parsed(f"flow f {{\n{text}\n}}\n").declarations[0]
    assert isinstance(declaration, syntax.FlowDecl)
    return declaration.body.statements


def statement(text: str) -> Any:
    (only,) = statements(text)
    return only


def same(left: str, right: str) -> bool:
    return bool(shape(parse_expression(left)) == shape(parse_expression(right)))


# ---- declarations ----------------------------------------------------------------------------------------------------


def test_empty_files_declare_nothing() -> None:
    for text in ("", "\n\n", "# only a comment", "## only a doc\n", "\ufeff"):
        assert parsed(text.lstrip("\ufeff")).declarations == ()


def test_use() -> None:
    first, second = parsed('use "lib/a.flow" { b, c,\n  d }\nuse std.http { get }').declarations
    assert isinstance(first, syntax.Use)
    assert isinstance(second, syntax.Use)
    assert isinstance(first.target, syntax.Literal)
    assert (first.target.value, [name.text for name in first.names]) == ("lib/a.flow", ["b", "c", "d"])
    assert isinstance(second.target, syntax.Path)
    assert second.target.text == "std.http"


def test_types() -> None:
    text = 'type T = {\n  a: int\n  "b-c": list<string?>?, type: ("x" | "y")?\n  std: std.http.Response,\n}'
    (declaration,) = parsed(text).declarations
    assert isinstance(declaration, syntax.TypeDecl)
    record = declaration.type
    assert isinstance(record, syntax.RecordType)
    assert [field.name.text for field in record.fields] == ["a", "b-c", "type", "std"]
    kinds = [type(field.type).__name__ for field in record.fields]
    assert kinds == ["NamedType", "OptionalType", "OptionalType", "NamedType"]


def test_a_type_may_end_its_line() -> None:
    text = (
        "type T = {\n  a: list<int>\n  b: map<list<{ c: int\n d: x.y<z> }>>\n  e: (list<int>)?\n}\n"
        "var v: list<string>\nlet w = a >\n  b\nlet x = a <\n b\n"
    )
    record, v, w, x = parsed(text).declarations
    assert isinstance(record, syntax.TypeDecl)
    assert isinstance(record.type, syntax.RecordType)
    assert [field.name.text for field in record.type.fields] == ["a", "b", "e"]
    assert [type(node).__name__ for node in (v, w, x)] == ["Var", "Let", "Let"]


def test_unions_over_several_lines() -> None:
    (declaration,) = parsed('type Region =\n  "eu"\n  | "us"\n  | "apac"\n').declarations
    assert isinstance(declaration, syntax.TypeDecl)
    assert isinstance(declaration.type, syntax.UnionType)
    assert [member.value for member in declaration.type.members] == ["eu", "us", "apac"]  # type: ignore[union-attr]


def test_let_var_and_resources() -> None:
    text = (
        'let a = 1\nvar b: string\nvar c: int = 2\npool p { slots: 8 }\nconnection d: duck.db { path: "x" }\nsla s { }'
    )
    a, b, c, p, d, s = parsed(text).declarations
    assert isinstance(a, syntax.Let)
    assert isinstance(b, syntax.Var)
    assert b.value is None
    assert isinstance(c, syntax.Var)
    assert c.value is not None
    assert isinstance(p, syntax.Resource)
    assert (p.kind.text, p.name.text, p.type) == ("pool", "p", None)
    assert isinstance(d, syntax.Resource)
    assert isinstance(d.type, syntax.NamedType)
    assert d.type.path.text == "duck.db"
    assert isinstance(s, syntax.Resource)
    assert s.body.entries == ()


def test_signatures() -> None:
    text = "task t(\n  a: int,\n  match: list<map<string>> = [],\n)\n  returns { a: int }\n{ run: x }\n"
    (declaration,) = parsed(text).declarations
    assert isinstance(declaration, syntax.TaskDecl)
    signature = declaration.signature
    assert [param.name.text for param in signature.params] == ["a", "match"]
    assert isinstance(signature.returns, syntax.RecordType)
    assert len(declaration.body.statements) == 1


def test_composites_and_tests() -> None:
    text = (
        "chain c(x: int) returns R = a(x) -> b\n"
        "group g(x: int) = { left: a(x), right: b(x) }\n"
        "chord h(xs: list<int>) = each x in xs { return a(x) } -> total\n"
        'test "of g" {\n  mock a.b = 1\n  r = g(1)\n  expect r.left == 1\n}\n'
    )
    c, g, h, t = parsed(text).declarations
    kinds = [node.kind for node in (c, g, h) if isinstance(node, syntax.Composite)]
    assert kinds == ["chain", "group", "chord"]
    assert isinstance(t, syntax.TestDecl)
    assert t.title == "of g"
    assert [type(node).__name__ for node in t.body.statements] == ["Mock", "Bind", "Expect"]


def test_doc_comments_belong_to_the_next_declaration() -> None:
    text = (
        "## Not this one.\n\n"
        "## One line.\n##\n##   indented\n# not a doc\n\npool a { }  ## nor this\n"
        "pool b { }\n"
        "flow c {\n  ## inside\n  x()\n}\n## Last.\ntask d { }\n"
    )
    docs = [node.doc for node in parsed(text).declarations]  # type: ignore[union-attr]
    assert docs == ["One line.\n\n  indented", None, None, "Last."]


# ---- statements ------------------------------------------------------------------------------------------------------


def test_kinds_of_statements() -> None:
    found = statements(
        'timeout: 4h\nx = a(1)\ntrigger nightly = cron("0 4 * * *")\non failure(e) { b(e) }\non success { c() }\n'
        "if x { d() }\nusing u = e() { f(u) } finally { g(u) }\nh(x)\n{ left: i(1) }\n[j(1)]\nreturn x"
    )
    assert [type(node).__name__ for node in found] == [
        "Setting", "Bind", "TriggerStmt", "Handler", "Handler", "If", "Using", "ExprStmt", "ExprStmt", "ExprStmt",
        "Return",
    ]  # fmt: skip
    assert found[3].name.text == "e"
    assert found[4].name is None


def test_else_finally_and_until_may_stand_on_their_own_line() -> None:
    branch, guarded, loop = statements(
        "if a {\n  b()\n}\n# between\nelse if c {\n  d()\n}\n\nelse\n{\n  e()\n}\n"
        "using u = f() {\n  g(u)\n}\nfinally {\n  h(u)\n}\n"
        "repeat {\n  return i()\n}\nuntil _.done"
    )
    assert isinstance(branch, syntax.If)
    assert isinstance(branch.otherwise, syntax.If)
    assert isinstance(branch.otherwise.otherwise, syntax.Block)
    assert isinstance(guarded, syntax.Using)
    assert isinstance(loop.value, syntax.Repeat)


def test_blocks_can_wait_and_be_named() -> None:
    branch, guarded = statements(
        "branch = if a { b() } else { c() } after d after done(e)\n"
        "u = using v = f() { g() } finally { h() } after branch"
    )
    assert isinstance(branch, syntax.If)
    assert branch.label is not None
    assert branch.label.text == "branch"
    assert [print_expression(modifier.rule) for modifier in branch.modifiers] == ["d", "done(e)"]
    assert isinstance(guarded, syntax.Using)
    assert guarded.label is not None
    assert guarded.name.text == "v"
    assert len(guarded.modifiers) == 1


def test_commas_separate_statements_on_one_line() -> None:
    assert len(statements("a: 1, b = 2, c(),")) == 3


def test_modifiers_in_any_order_over_several_lines() -> None:
    bound = statement(
        "x = a(1)\n  with { timeout: 1m }\n  after b\n"
        "  catch(e) { return c(e) } on failure(e) { d(e) } on retry { f() }"
    )
    assert isinstance(bound.value, syntax.Modified)
    kinds = [type(modifier).__name__ for modifier in bound.value.modifiers]
    assert kinds == ["With", "After", "Catch", "On", "On"]


def test_on_at_the_start_of_a_line_is_a_handler_of_the_flow() -> None:
    assert [type(node).__name__ for node in statements("x = a(1)\non failure(e) { b(e) }")] == ["Bind", "Handler"]


def test_modifiers_bind_to_their_stage() -> None:
    chain = statement("x = a(1) -> b catch(e) { return 1 }").value
    assert isinstance(chain, syntax.Chain)
    assert [type(stage).__name__ for stage in chain.stages] == ["Call", "Modified"]
    whole = statement("x = (a(1) -> b) catch(e) { return 1 }").value
    assert isinstance(whole, syntax.Modified)
    assert isinstance(whole.value, syntax.Chain)


@pytest.mark.parametrize(
    "text",
    [
        "x = a(2, 2)\n    -> b(_, 4)\n    # why\n    -> c with { queue: cpu }",
        "x = a(2, 2) ->\n  b(_, 4) ->\n  c with { queue: cpu }",
        "x =\n  a(2, 2) -> b(_, 4) -> c\n  with { queue: cpu }",
        "x = a(\n  2,\n  2,\n) -> b(\n  _, 4\n) -> c with {\n  queue: cpu\n}",
        "x = a(2, 2) -> b(_, 4)\r\n  -> c with {\r\n\tqueue: cpu,\r\n}\r",
        "x = a(2, 2) -> b(_, 4) -> c with { queue: cpu } # said once",
    ],
)
def test_lines_that_go_on(text: str) -> None:
    assert print_statement(statement(text)) == "x = a(2, 2) -> b(_, 4) -> c with { queue: cpu }"


@pytest.mark.parametrize(
    "operator", ["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "??", "and", "or", "in"]
)
def test_a_line_that_ends_in_an_operator_goes_on(operator: str) -> None:
    assert print_statement(statement(f"x = a {operator}  # more\n  b")) == f"x = a {operator} b"


@pytest.mark.parametrize("start", ["??", "and", "or", ".b ==", "?.b +"])
def test_a_line_that_begins_with_an_operator_goes_on(start: str) -> None:
    assert len(statements(f"x = a\n  {start} c")) == 1


def test_keys_that_look_like_modifiers_do_not_continue_a_line() -> None:
    record = statement("x = {\n  a: 1\n  after: 2\n  with: 3\n  else: 4\n  and: 5\n  on: 6\n}").value
    assert [entry.key.text for entry in record.entries] == ["a", "after", "with", "else", "and", "on"]
    settings = statements("a: 1\nafter: 2\ncatch : 3\non: 4\nif: 5\nreturn: 6\ntrigger: 7")
    assert [node.name.text for node in settings] == ["a", "after", "catch", "on", "if", "return", "trigger"]


def test_line_ends_in_braces_inside_of_parentheses_separate_again() -> None:
    call = statement("f([\n  each x in\n    xs {\n    y = g(x)\n    return y\n  }\n])").value
    assert len(call.args[0].value.items[0].body.statements) == 2


# ---- expressions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "grouped"),
    [
        ("a + b * c", "a + (b * c)"),
        ("a - b - c", "(a - b) - c"),
        ("a / b % c * d", "((a / b) % c) * d"),
        ("-a + b", "(-a) + b"),
        ("-a.b", "-(a.b)"),
        ("a ?? b + 1", "a ?? (b + 1)"),
        ("a ?? b == c", "(a ?? b) == c"),
        ("not a == b", "not (a == b)"),
        ("not a and b", "(not a) and b"),
        ("a or b and c", "a or (b and c)"),
        ("a in b and c", "(a in b) and c"),
        ("if a or b then c else d or e", "if (a or b) then c else (d or e)"),
        ("a -> b or c -> d", "a -> (b or c) -> d"),
        ("a after b or c", "a after (b or c)"),
        ("repeat { } until a or b", "repeat { } until (a or b)"),
        ("a.b(c)[d]?.e", "((((a.b)(c))[d])?.e)"),
    ],
)
def test_precedence(text: str, grouped: str) -> None:
    assert same(text, grouped)


def test_words_keep_their_meaning() -> None:
    assert shape(parse_expression("-x")) == ("Unary", ("str", "-"), ("Name", ("str", "x")))
    assert shape(parse_expression("not x")) == ("Unary", ("str", "not"), ("Name", ("str", "x")))
    values = [parse_expression(word) for word in ("true", "false", "null")]
    assert [(value.kind, value.value) for value in values if isinstance(value, syntax.Literal)] == [
        ("bool", True),
        ("bool", False),
        ("null", None),
    ]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("12", "int", 12),
        ("1_000", "int", 1000),
        ("9223372036854775807", "int", 2**63 - 1),
        ("1.5", "float", 1.5),
        ("1e6", "float", 1e6),
        ("1.5e-3", "float", 0.0015),
        ("2E+2", "float", 200.0),
        ("30s", "duration", 30_000_000),
        ("2h30m", "duration", 9_000_000_000),
        ("1_000ms", "duration", 1_000_000),
        ("1.5h", "duration", 5_400_000_000),
        ("1w2d", "duration", 9 * 86_400_000_000),
        ("0.5ms", "duration", 500),
        ("512MiB", "size", 512 * 2**20),
        ("64KB", "size", 64_000),
        ("1.5GB", "size", 1_500_000_000),
        ("2026-01-31", "date", "2026-01-31"),
        ("2026-01-31T10:00", "datetime", "2026-01-31T10:00:00"),
        ("2026-01-31T10:00:00Z", "datetime", "2026-01-31T10:00:00+00:00"),
        ("2026-01-31T10:00:00+02:00", "datetime", "2026-01-31T10:00:00+02:00"),
        ('"text"', "string", "text"),
        ('""', "string", ""),
        (r'"a\n\t\"\\\u0041\u{1F600}\$"', "string", 'a\n\t"\\A😀$'),
        ('"größe 🦆"', "string", "größe 🦆"),
        ('"$5 and $"', "string", "$5 and $"),
        ('"$${x}"', "string", "${x}"),
        ('"# no comment"', "string", "# no comment"),
    ],
)
def test_literals(text: str, kind: str, value: object) -> None:
    literal = parse_expression(text)
    assert isinstance(literal, syntax.Literal)
    assert (literal.kind, literal.value, type(literal.value)) == (kind, value, type(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"""one line"""', "one line"),
        ('"""\n    a\n      b\n\n    c\n    """', "a\n  b\n\nc"),
        ('"""\n  a\n    """', "a"),
        ('"""\r\n  a\r\n  b\r\n  """', "a\nb"),
        ('"""a\n  b\n  """', "a\nb"),
        ('"""\n  say "hi"\n  """', 'say "hi"'),
        ('"""\n  a \\\n  b \\"""\n  """', 'a b """'),
        ('"""a\n  b"""', "a\n  b"),
        ('"""\n"""', ""),
        ('"""\n\ta\n\t\tb\n\t"""', "a\n\tb"),
    ],
)
def test_text_is_dedented_to_its_closing_quotes(text: str, value: str) -> None:
    literal = parse_expression(text)
    assert isinstance(literal, syntax.Literal)
    assert literal.value == value


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('"a ${b} c"', ["a ", "b", " c"]),
        ('"${a}${b}"', ["a", "b"]),
        ('"${f("x")}"', ['f("x")']),
        (r'"${f(\"x\")}"', ['f("x")']),
        ('"${ { a: 1 }.a }!"', ["{ a: 1 }.a", "!"]),
        ('"${"in ${"deeper ${x}"}"}"', ['"in ${"deeper ${x}"}"']),
        ('"$${a} ${b} $$"', ["${a} ", "b", " $$"]),
        (r'"\${a} ${b}"', ["${a} ", "b"]),
        ('"${if a then "}" else "{"}"', ['if a then "}" else "{"']),
        ('"""\n    a\n      ${b}\n    ${\n  c\n}\n    """', ["a\n  ", "b", "\n", "c"]),
    ],
)
def test_interpolation(text: str, parts: list[str]) -> None:
    template = parse_expression(text)
    assert isinstance(template, syntax.Template)
    assert [part if isinstance(part, str) else print_expression(part) for part in template.parts] == parts


def test_interpolation_has_places_in_the_file() -> None:
    text = '"ab ${name} and ${f("x")}"'
    template = parse_expression(text)
    assert isinstance(template, syntax.Template)
    places = [text[part.start : part.end] for part in template.parts if not isinstance(part, str)]
    assert places == ["name", 'f("x")']


def test_keywords_are_fields_keys_and_arguments() -> None:
    entry = parse_expression('{ on: 1, type: 2, match: 3, return: 4, with: 5, "if": 6, true: 7, else: 8 }')
    assert isinstance(entry, syntax.RecordExpr)
    keys = [item.key.text for item in entry.entries if isinstance(item, syntax.Entry)]
    assert keys == ["on", "type", "match", "return", "with", "if", "true", "else"]
    assert same("f(if: 1, in : 2)", "f(if:1,in:2)")
    attributes = parse_expression("a.on.type.match?.return.with.true.and\n.or")
    assert print_expression(attributes) == "a.on.type.match?.return.with.true.and.or"
    assert print_expression(parse_expression("task + type + flow.test")) == "task + type + flow.test"


def test_slices_and_indices() -> None:
    for text in ("xs[0]", "xs[1:3]", "xs[:3]", "xs[1:]", "xs[:]", 'xs["a b"]', "xs[a:b]", "xs[-1]"):
        assert print_expression(parse_expression(text)) == text


def test_match_arms() -> None:
    found = parse_expression(
        'match x {\n  "a" | "b": f(1)\n  -1: g()\n  1.5: null\n  true: { a: 1 }\n  false: { y = h(x), return y }\n'
        "  2h: { }\n  null: []\n  2026-01-31: { k() }\n  else: repeat { } until z\n}"
    )
    assert isinstance(found, syntax.Match)
    values = [[value.value for value in arm.values] for arm in found.arms]
    assert values == [["a", "b"], [-1], [1.5], [True], [False], [7_200_000_000], [None], ["2026-01-31"], []]
    bodies = [type(arm.body).__name__ for arm in found.arms]
    expected = ["Call", "Call", "Literal", "RecordExpr", "Block", "Block", "ListExpr", "Block", "Repeat"]
    assert bodies == expected
    assert isinstance(parse_expression('match x { "a": 1, else: 2, }'), syntax.Match)


def test_each_and_comprehension() -> None:
    each = parse_expression("each (a, b) in zip(xs, ys) with { max: 5 } { return f(a, b) }")
    assert isinstance(each, syntax.Each)
    assert (each.pattern.is_tuple, [name.text for name in each.pattern.names]) == (True, ["a", "b"])
    comprehension = parse_expression("[x + 1 for x in xs if x > 2]")
    assert isinstance(comprehension, syntax.Comprehension)
    assert comprehension.condition is not None
    assert not comprehension.pattern.is_tuple


def test_comments_may_stand_anywhere() -> None:
    text = "f( # a\n  1, # b\n  # c\n  2 # d\n) # flow: ignore[unused-output] because"
    assert same(text, "f(1, 2)")


# ---- places ----------------------------------------------------------------------------------------------------------


def walk(node: Any) -> Any:
    yield node
    for name in node.__struct_fields__:
        value = getattr(node, name)
        for child in value if isinstance(value, tuple) else (value,):
            if isinstance(child, syntax.Node):
                yield from walk(child)


EXPRESSIONS = syntax.Expression.__args__  # type: ignore[attr-defined]
STATEMENTS = tuple(kind for kind in syntax.Statement.__args__ if kind is not syntax.ErrorNode)  # type: ignore[attr-defined]
DECLARATIONS = tuple(kind for kind in syntax.Declaration.__args__ if kind is not syntax.ErrorNode)  # type: ignore[attr-defined]


def reparsed(node: Any, text: str) -> Any:
    for start, kinds in (("expr", EXPRESSIONS), ("stmt", STATEMENTS), ("decl", DECLARATIONS)):
        if isinstance(node, kinds):
            return machine.run(scan(text).tokens, start)
    return None


@pytest.mark.parametrize("path", EXAMPLES, ids=str)
def test_each_node_spans_exactly_its_text(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    checked = 0
    for node in walk(parsed(text)):
        assert 0 <= node.start <= node.end <= len(text)
        again = reparsed(node, text[node.start : node.end])
        if again is None or getattr(node, "doc", None):
            continue
        if isinstance(node, syntax.Literal) and node.start and text[node.start - 1] == "-":
            continue
        checked += 1
        assert shape(again) == shape(node)
        assert (again.start, again.end) == (0, node.end - node.start)
    assert checked > 10


def test_parentheses_belong_to_the_span() -> None:
    text = "((a -> b)) catch(e) { }"
    modified = parse_expression(text)
    assert isinstance(modified, syntax.Modified)
    assert text[modified.value.start : modified.value.end] == "((a -> b))"
    assert modified.start == 0


# ---- reading and limits ----------------------------------------------------------------------------------------------


def names_of(findings: Findings) -> list[str]:
    return [found.name for found in findings.sorted()]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"a\0b", "binary-file"),
        ("größe".encode("latin-1"), "not-utf8"),
        ("x".encode("utf-16"), "not-utf8"),
        (b"#" * (MAX_BYTES + 1), "file-too-large"),
    ],
)
def test_bytes_that_are_no_text(data: bytes, name: str) -> None:
    findings = Findings()
    assert decode_source("x.flow", data, findings) is None
    assert names_of(findings) == [name]


def test_where_a_file_stops_being_utf8() -> None:
    findings = Findings()
    decode_source("x.flow", b"# ok\n# \xff", findings)
    assert findings.sorted()[0].message.endswith("byte 0xff in line 2, column 3")


def test_a_byte_order_mark_is_left_out() -> None:
    source = decode_source("x.flow", b"\xef\xbb\xbflet a = 1", Findings())
    assert source is not None
    assert source.text == "let a = 1"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("let a = 1\nlet b = " + "[" * 10_000 + "]" * 10_000, 2),
        ("let b = " + "(" * 10_000, 1),
        ("let b = " + '"${' * 10_000, 1),
        ("let b = " + "-" * 10_000 + "1", 1),
        ("let b = " + "1 + " * 10_000 + "1", 1),
        ("let b = a" + ".a" * 10_000, 1),
        ("let b = " + "if a then b else " * 2_000 + "c", 1),
        ("type T = " + "list<" * 10_000 + "int" + ">" * 10_000, 1),
        ("flow f { " + "if a { } else " * 2_000 + "{ } }", 1),
        ("flow f { " + "each a in b { " * 10_000 + "} " * 10_000 + "}", 1),
    ],
)
def test_what_is_nested_too_deep_gives_one_finding_quickly(text: str, line: int) -> None:
    source, findings = Source("x.flow", text), Findings()
    before = time.perf_counter()
    parse(source, findings)
    assert time.perf_counter() - before < 5
    assert names_of(findings) == ["nesting-too-deep"]
    assert source.position(findings.sorted()[0].span.start).line == line


def test_a_hundred_levels_are_not_too_deep() -> None:
    parsed("let b = " + "f([" * 50 + "1" + "])" * 50)
    parsed("let b = " + " + ".join("a" * 200))


def test_the_garbage_collector_is_left_as_it_was() -> None:
    parsed("let a = 1")
    assert gc.isenabled()
    gc.disable()
    try:
        parsed("let a = 1")
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_parse_expression_refuses_what_is_none() -> None:
    for text in ("", "1 +", "a = 1", '"a', "a b"):
        with pytest.raises(ValueError, match="not an expression"):
            parse_expression(text)
