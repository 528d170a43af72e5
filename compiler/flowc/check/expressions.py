"""Pure expressions: names, literals, texts, lists, records, operators, access, comprehensions.

Each elaborator gives the expression of the IR and its type. Calls inside become steps on the way (see `calls`), where
their evaluation is not conditional: in `and`, `or` and comprehensions they are refused.
"""

from __future__ import annotations

from typing import Any

from flowc import ir, syntax
from flowc.builtins import attribute_type
from flowc.resolve import Symbol
from flowc.suggest import did_you_mean
from flowc.types import (
    BOOL,
    DATE,
    DATETIME,
    DECIMAL,
    DURATION,
    ERROR,
    FLOAT,
    INT,
    JSON,
    NULL,
    SIZE,
    STRING,
    ListOf,
    Literals,
    MapOf,
    Optional,
    Record,
    Type,
    Union,
)

from .context import BROKEN, Context, Local, Scope, Value
from .names import is_broken, unknown_value
from .operators import COMPARISONS, binary_type
from .patterns import item_types
from .report import adapt, need_bool, report_mismatch
from .targets import first_call
from .types import assignable, field_of, holds_secret, is_text, optional, required, shown

__all__ = [
    "attribute",
    "binary",
    "comprehension",
    "index",
    "literal",
    "logic",
    "name",
    "record_of",
    "slice_of",
    "template",
    "unary",
]

_RUN = Record(
    (
        ("id", STRING),
        ("flow", STRING),
        ("date", DATE),
        ("triggered_at", DATETIME),
        ("window", Record((("start", DATETIME), ("end", DATETIME)))),
    )
)

# ---- names and literals ---------------------------------------------------------------------------------------------


def name(cx: Context, node: syntax.Name, bind: str | None = None) -> Value:
    """The value that a name stands for."""
    if node.id == "_":
        return _placeholder(cx, node)
    local = cx.scope.find(node.id)
    if local is not None:
        local.used = True
        return local.value
    symbol = cx.module.names.get(node.id)
    if symbol is not None and symbol.kind == "let":
        return cx.shared.constants.of(symbol)
    if symbol is not None and symbol.kind == "var":
        return _variable(cx, node, symbol)
    if node.id == "run" and not cx.is_constant:
        return Value(["ref", 0], _RUN)
    if cx.is_constant and _is_flow_name(cx, node):
        cx.report("not-constant", node, what=cx.is_constant, name=node.id)
        return BROKEN
    if not is_broken(cx, node.id):
        unknown_value(cx, node)
    return BROKEN


def _variable(cx: Context, node: syntax.Name, symbol: Symbol) -> Value:
    """A variable, which has its value when the run begins."""
    cx.shared.used.add(symbol.key)
    if cx.shared.constants.of(symbol).type == ERROR:
        return BROKEN
    if cx.variables is not None:
        return cx.variables(symbol)
    what = cx.is_constant or "what stands here"
    hint = "a variable can be read in the body of a flow, and in the text of a task: pass it on as an argument"
    cx.report("not-constant", node, help=hint, what=what, name=node.id)
    return BROKEN


def _is_flow_name(cx: Context, node: syntax.Name) -> bool:
    return node.id == "run" or (cx.outer is not None and cx.outer.find(node.id) is not None)


def _placeholder(cx: Context, node: syntax.Name) -> Value:
    if cx.pipe is None:
        cx.report("misplaced-placeholder", node)
        return BROKEN
    cx.pipe.used = True
    return cx.need(node, cx.pipe.value)


def literal(cx: Context, node: syntax.Literal, bind: str | None = None) -> Value:
    """A constant."""
    match node.kind:
        case "string":
            return Value(["lit", node.value], Literals((str(node.value),)))
        case "date" | "datetime" | "duration":
            return Value([node.kind, node.value], {"date": DATE, "datetime": DATETIME, "duration": DURATION}[node.kind])
        case "null":
            return Value(["lit", None], NULL)
    return Value(["lit", node.value], {"int": INT, "float": FLOAT, "size": SIZE, "bool": BOOL}[node.kind])


def template(cx: Context, node: syntax.Template, bind: str | None = None) -> Value:
    """A text with `${…}`: every part is a plain value."""
    parts: list[ir.Expr] = []
    for part in node.parts:
        if isinstance(part, str):
            if part:
                parts.append(["lit", part])
            continue
        value = cx.value(part)
        if holds_secret(value.type):
            cx.report("secret-leak", part, what="a text is stored with the run, and may be logged")
        elif isinstance(value.type, Optional) or value.type == NULL:
            _may_be_null(cx, part, value, "the text")
        elif isinstance(value.type, ListOf | MapOf | Record):
            _not_plain(cx, part, value)
        parts.append(value.expr)
    return Value(["str", *parts], STRING)


def _not_plain(cx: Context, node: syntax.Node, value: Value) -> None:
    advice = 'join the items: `join(xs, ", ")`' if isinstance(value.type, ListOf) else "name the fields that are meant"
    producer = cx.source_text(node)
    cx.report(
        "type-mismatch", node, help=advice, consumer="the text", expected="a plain value", producer=producer,
        found=shown(value.type), detail="",
    )  # fmt: skip


def _may_be_null(cx: Context, node: syntax.Node, value: Value, consumer: str) -> None:
    producer = cx.source_text(node)
    cx.report(
        "optional-not-handled", node, consumer=consumer, expected="a value", producer=producer, found=shown(value.type)
    )  # fmt: skip


# ---- lists and records ----------------------------------------------------------------------------------------------


def record_of(entries: list[tuple[str, Value] | Value]) -> Value:
    """The record of named values and of records that are spread into it."""
    fields: dict[str, Type] = {}
    parts: list[ir.Expr] = []
    named: list[list[Any]] | None = None
    for entry in entries:
        if isinstance(entry, Value):
            fields |= dict(entry.type.fields) if isinstance(entry.type, Record) else {}
            parts.append(entry.expr)
            named = None
            continue
        if named is None:
            named = []
            parts.append(["record", named])
        key, value = entry
        fields[key] = value.type
        named.append([key, value.expr])
    expr = parts[0] if parts else ["record", []]
    for part in parts[1:]:
        expr = ["merge", expr, part]
    return Value(expr, Record(tuple(fields.items())))


# ---- access ---------------------------------------------------------------------------------------------------------


def attribute(cx: Context, node: syntax.Attr, bind: str | None = None) -> Value:
    """`value.name` and `value?.name`."""
    whole = cx.value(node.value)
    kind = whole.type
    if kind == ERROR:
        return BROKEN
    if isinstance(kind, Optional) and not node.optional:
        _null_access(cx, node, whole)
        return BROKEN
    found = _attribute_type(required(kind), node.name.text)
    if found is None:
        _unknown_field(cx, node, required(kind))
        return BROKEN
    if node.optional:
        return Value(["attr?", adapt(whole, optional(kind)), node.name.text], optional(found))
    # an optional field may be absent
    return Value(["attr?" if isinstance(found, Optional) else "attr", whole.expr, node.name.text], found)


def _attribute_type(kind: Type, name: str) -> Type | None:
    if kind == JSON:
        return JSON
    return field_of(kind, name) or attribute_type(kind, name)


def _null_access(cx: Context, node: syntax.Attr, whole: Value) -> None:
    written = cx.source_text(node.value, "x").strip("`")
    cx.report(
        "optional-not-handled",
        node.name,
        help=f"write `{written}?.{node.name.text}`, or give a default with `??`",
        consumer=f"`.{node.name.text}`",
        expected="a record",
        producer=cx.source_text(node.value),
        found=shown(whole.type),
    )


def _unknown_field(cx: Context, node: syntax.Attr, kind: Type) -> None:
    if kind == _RUN and node.name.text == "previous":
        cx.report("not-supported-yet", node.name, construct="`run.previous`")
        return
    fields: list[str] = []
    for member in kind.members if isinstance(kind, Union) else (kind,):
        if isinstance(member, Record):
            fields += [name for name, _ in member.fields]
    hint = did_you_mean(node.name.text, fields)
    if not hint and fields:
        hint = "the fields are " + ", ".join(f"`{name}`" for name in dict.fromkeys(fields))
    if isinstance(kind, MapOf):
        hint = f'write `["{node.name.text}"]` for a key of a map'
    if isinstance(kind, ListOf):
        hint = "take an item with `[0]`, or every one with `[x.name for x in xs]`"
    cx.report("unknown-field", node.name, type=shown(kind), name=node.name.text, hint=hint or "it has no fields")


def index(cx: Context, node: syntax.Index, bind: str | None = None) -> Value:
    """`xs[0]`, `m["key"]`, `record["field"]`."""
    whole, at = cx.value(node.value), cx.value(node.index)
    kind = whole.type
    if ERROR in (kind, at.type):
        return BROKEN
    if isinstance(kind, Optional):
        _may_be_null(cx, node.value, whole, "`[…]`")
        return BROKEN
    expr = ["index", whole.expr, at.expr]
    if kind == JSON:
        return Value(expr, JSON)
    if isinstance(kind, ListOf):
        _need(cx, node.index, at, INT, "the position in a list")
        return Value(expr, kind.item)
    if isinstance(kind, MapOf):
        _need(cx, node.index, at, STRING, "the key of a map")
        return Value(expr, kind.item)
    if isinstance(kind, Record) and isinstance(node.index, syntax.Literal) and isinstance(node.index.value, str):
        found = field_of(kind, node.index.value)
        if found is not None:
            return Value(["attr", whole.expr, node.index.value], found)
        name = syntax.Ident(node.index.start, node.index.end, node.index.value)
        _unknown_field(cx, syntax.Attr(node.start, node.end, node.value, name, False), kind)
        return BROKEN
    cx.report("bad-operand", node.value, op="[…]", found=shown(kind), hint="a list has positions, a map has keys")
    return BROKEN


def slice_of(cx: Context, node: syntax.Slice, bind: str | None = None) -> Value:
    """`xs[a:b]`."""
    whole = cx.value(node.value)
    ends: list[ir.Expr] = []
    for end in (node.first, node.last):
        value = cx.value(end) if end is not None else Value(["lit", None], NULL)
        if end is not None:
            _need(cx, end, value, INT, "the end of a slice")
        ends.append(value.expr)
    if whole.type != ERROR and whole.type != JSON and not isinstance(whole.type, ListOf) and not is_text(whole.type):
        if isinstance(whole.type, Optional):
            _may_be_null(cx, node.value, whole, "`[:]`")
        else:
            hint = "only lists and strings have slices"
            cx.report("bad-operand", node.value, op="[:]", found=shown(whole.type), hint=hint)
        return BROKEN
    kind = STRING if is_text(whole.type) else whole.type
    return Value(["slice", whole.expr, *ends], kind)


def _need(cx: Context, node: syntax.Node, value: Value, target: Type, consumer: str) -> None:
    if not assignable(value.type, target):
        report_mismatch(cx, node, value, target, consumer)


# ---- operators ------------------------------------------------------------------------------------------------------


def unary(cx: Context, node: syntax.Unary, bind: str | None = None) -> Value:
    """`-x`, `not x`."""
    value = cx.value(node.operand)
    if node.op == "not":
        need_bool(cx, node.operand, value, "the operand of `not`")
        return Value(["not", value.expr], BOOL)
    if value.type not in (INT, FLOAT, DECIMAL, SIZE, DURATION, JSON, ERROR):
        _bad_operands(cx, node.operand, "-", value, None)
        return BROKEN
    if value.expr[0] == "lit" and isinstance(value.expr[1], int | float):
        return Value(["lit", -value.expr[1]], value.type)
    return Value(["neg", value.expr], value.type)


def binary(cx: Context, node: syntax.Binary, bind: str | None = None) -> Value:
    """Operators of two operands, but for `??`, `and` and `or`; the left spine is walked without recursion."""
    spine = [node]
    while isinstance(spine[-1].left, syntax.Binary) and spine[-1].left.op not in ("??", "and", "or"):
        spine.append(spine[-1].left)
    left = cx.value(spine[-1].left)
    for part in reversed(spine):
        left = _apply(cx, part, left, cx.value(part.right))
    return left


def _apply(cx: Context, node: syntax.Binary, left: Value, right: Value) -> Value:
    kind = binary_type(node.op, left.type, right.type)
    if kind is None:
        _bad_operands(cx, node, node.op, left, right)
        return BROKEN
    if node.op in ("==", "!="):  # null is compared, not passed on
        left = left._replace(expr=adapt(left, optional(right.type) if right.type == NULL else left.type))
        right = right._replace(expr=adapt(right, optional(left.type) if left.type == NULL else right.type))
    return Value(["op", node.op, left.expr, right.expr], kind)


def _bad_operands(cx: Context, node: syntax.Node, op: str, left: Value, right: Value | None) -> None:
    sides = [(left, getattr(node, "left", node))] + (
        [(right, getattr(node, "right", node))] if right is not None else []
    )
    for value, side in sides:
        if holds_secret(value.type):
            cx.report("secret-leak", side, what=f"`{op}` would put it into a value that is stored with the run")
            return
        if op not in ("==", "!=", "in") and (isinstance(value.type, Optional) or value.type == NULL):
            _may_be_null(cx, side, value, f"`{op}`")
            return
    found = shown(left.type) if right is None else f"{shown(left.type)} and {shown(right.type)}"
    cx.report("bad-operand", node, op=op, found=found, hint=_operand_hint(op, left, right))


def _operand_hint(op: str, left: Value, right: Value | None) -> str:
    if right is None:
        return "`-` needs a number or a duration"
    kinds = (left.type, right.type)
    if op == "+" and any(is_text(kind) for kind in kinds):
        return "put values into a text with `${…}`"
    if set(kinds) == {FLOAT, DECIMAL}:
        return "convert one of them: `decimal(x)` or `float(x)`"
    literals = [kind for kind in kinds if isinstance(kind, Literals)]
    if len(literals) == 2:
        few, many = sorted(literals, key=lambda kind: len(kind.values))
        return did_you_mean(few.values[0], many.values, "no value of the one is a value of the other").replace("`", '"')
    if op in ("+", "-") and any(kind in (DATE, DATETIME, DURATION) for kind in kinds):
        return "write a duration with its unit, as `1d` or `30s`"
    if op in COMPARISONS:
        return "only like types are compared: convert one of them"
    if op == "in":
        return "`in` looks for an item in a list, a key in a map, a text in a string"
    return "convert one of them, as `int(x)` or `string(x)`"


def logic(cx: Context, node: syntax.Binary, bind: str | None = None) -> Value:
    """`and`, `or`: without calls of tasks, since what is not needed does not run."""
    spine = [node]
    while isinstance(spine[-1].left, syntax.Binary) and spine[-1].left.op == node.op:
        spine.append(spine[-1].left)
    operands = [spine[-1].left, *(part.right for part in reversed(spine))]
    exprs: list[ir.Expr] = []
    for operand in operands:
        call = first_call(cx.module, operand)
        if call is not None:
            cx.report("call-not-allowed", call, where=f"`{node.op}`", hint=_LOGIC_HINT)
            return BROKEN
        value = cx.value(operand)
        need_bool(cx, operand, value, f"the operand of `{node.op}`")
        exprs.append(value.expr)
    expr = exprs[0]
    for right in exprs[1:]:
        expr = [node.op, expr, right]
    return Value(expr, BOOL)


_LOGIC_HINT = "bind the result first (`x = …`), or write `if … then … else …`, which runs only what is needed"

# ---- comprehensions -------------------------------------------------------------------------------------------------


def comprehension(cx: Context, node: syntax.Comprehension, bind: str | None = None) -> Value:
    """`[value for pattern in source if condition]`."""
    call = first_call(cx.module, node.value) or (node.condition and first_call(cx.module, node.condition))
    if call is not None:
        cx.report("call-not-allowed", call, where="a comprehension", hint="use `each`, which runs tasks for every item")
        return BROKEN
    source = cx.value(node.source)
    kinds = item_types(cx, node.pattern, node.source, source)
    inner = cx.derive(scope=Scope(cx.scope))
    names: list[str] = []
    for ident, kind in zip(node.pattern.names, kinds, strict=True):
        local = Local(ident.text, Value(["var", ident.text], kind), cx.span(ident), depth=cx.depth)
        if ident.text in names:
            cx.report("duplicate-name", ident, name=ident.text, what="bound by this pattern")
        local.used = True
        inner.scope.names[ident.text] = local
        names.append(ident.text)
    condition: ir.Expr | None = None
    if node.condition is not None:
        tested = inner.value(node.condition)
        need_bool(inner, node.condition, tested, "the condition")
        condition = tested.expr
    value = inner.value(node.value)
    if holds_secret(value.type):
        cx.report("secret-leak", node.value, what="a list is stored with the run")
    return Value(["for", names, source.expr, value.expr, condition], ListOf(value.type))
