"""Branches: `if` and `match`, as statements and as values, and `??`.

A branch whose arms hold no calls is a pure expression. With calls it is a BranchStep: a selector gives the index of the
arm, each arm is a block, and what the arms have in common is merged: the value of the branch, or every name that an arm
binds. A name bound in some arms only is optional afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flowc import ir, syntax
from flowc.suggest import did_you_mean
from flowc.types import BOOL, ERROR, INT, JSON, NULL, Literals, Optional, Type

from .constants import fold
from .context import BROKEN, Context, Local, Scope, Value, read
from .report import need_bool
from .targets import first_call
from .types import assignable, holds_secret, is_text, join, optional, required, shown

__all__ = ["coalesce", "if_expression", "if_statement", "match", "match_statement"]


class Arm(NamedTuple):
    """An elaborated arm."""

    cx: Context
    #: what it gives: the value of an expression, or what its block returns
    value: Value | None


# ---- conditions -----------------------------------------------------------------------------------------------------


def condition(cx: Context, node: syntax.Expression) -> ir.Expr:
    """A condition, which must be a bool and should not be constant."""
    value = cx.value(node)
    need_bool(cx, node, value, "the condition")
    folded = fold(value.expr)
    if folded[0] == "lit" and isinstance(folded[1], bool) and value.type == BOOL:
        cx.report("constant-condition", node, value="true" if folded[1] else "false")
    return value.expr


def narrowed(cx: Context, node: syntax.Expression, *, holds: bool) -> Scope:
    """The names as they are where the condition holds (or does not): `x != null` makes T of T?."""
    names = _not_null(node, holds)
    if not names:
        return cx.scope
    scope = Scope(cx.scope)
    for name in names:
        local = cx.scope.find(name)
        if local is None or not isinstance(local.value.type, Optional):
            continue
        expr = ["ref", local.value.expr[1]] if local.value.expr[0] == "opt" else local.value.expr
        value = local.value._replace(expr=expr, type=local.value.type.inner)
        narrow = Local(name, value, local.span, is_step=local.is_step, depth=local.depth)
        scope.names[name] = narrow
    return scope


def _not_null(node: syntax.Expression, holds: bool) -> set[str]:
    match node:
        case syntax.Unary(op="not", operand=operand):
            return _not_null(operand, not holds)
        case syntax.Binary(op="and", left=left, right=right) if holds:
            return _not_null(left, True) | _not_null(right, True)
        case syntax.Binary(op="or", left=left, right=right) if not holds:
            return _not_null(left, False) | _not_null(right, False)
        case syntax.Binary(op=op, left=left, right=right) if op == ("!=" if holds else "=="):
            for side, other in ((left, right), (right, left)):
                if isinstance(side, syntax.Name) and isinstance(other, syntax.Literal) and other.kind == "null":
                    return {side.id}
    return set()


# ---- the step -------------------------------------------------------------------------------------------------------


def _branch(
    cx: Context,
    node: syntax.Node,
    selector: ir.Expr,
    arms: Sequence[Arm],
    after: tuple[ir.Rule, ...] = (),
    *,
    is_complete: bool,
    gives: bool,
    merges_names: bool,
    name: str = "",
) -> Value | None:
    """Emits the branch; its value is merged when `gives`, and the names of its arms when `merges_names`."""
    merges: list[ir.Merge] = []
    result = _merged_value(cx, node, arms, name, merges) if gives else None
    names = _merged_names(cx, arms, merges, is_complete) if merges_names else []
    blocks = tuple(ir.Block(steps=tuple(arm.cx.out or ())) for arm in arms)
    header = cx.header(node, "", INT)
    cx.emit(ir.BranchStep(**header, selector=selector, arms=blocks, merges=tuple(merges), after=after))
    for ident, local in names:
        cx.scope.names[ident] = local
    return result


def _merged_value(cx: Context, node: syntax.Node, arms: Sequence[Arm], name: str, merges: list[ir.Merge]) -> Value:
    sources: list[int | None] = []
    kind: Type | None = None
    void = ""
    for arm in arms:
        value = arm.value or Value(["lit", None], NULL, void="an arm gives no value")
        void = void or value.void
        kept = arm.cx.keep(node, value) if not value.void else value
        sources.append(kept.step)
        kind = value.type if kind is None else join(kind, value.type)
    kind = NULL if void or kind is None else kind
    if kind == ERROR:
        return BROKEN
    merge = ir.Merge(id=cx.state.new_id(), name=name, type=cx.shared.text(kind), sources=tuple(sources))
    merges.append(merge)
    return read(merge.id, kind)._replace(step=merge.id, void=void)


def _merged_names(
    cx: Context, arms: Sequence[Arm], merges: list[ir.Merge], is_complete: bool
) -> list[tuple[str, Local]]:
    """The names that the arms bind, each as one local for what follows."""
    found: list[tuple[str, Local]] = []
    bound = dict.fromkeys(name for arm in arms for name, local in arm.cx.scope.names.items() if local.is_step)
    for name in bound:
        locals_ = [arm.cx.scope.names.get(name) for arm in arms]
        present = [local for local in locals_ if local is not None]
        kind = present[0].value.type
        for local in present[1:]:
            kind = join(kind, local.value.type)
        if len(present) < len(arms) or not is_complete:
            kind = optional(kind)
        first = present[0]
        if any(local.value.type == ERROR for local in present):
            found.append((name, Local(name, BROKEN, first.span, is_step=True, depth=cx.depth)))
            continue
        sources = tuple(None if local is None else local.id for local in locals_)
        merge = ir.Merge(id=cx.state.new_id(), name=name, type=cx.shared.text(kind), sources=sources)
        merges.append(merge)
        void = next((local.value.void for local in present if local.value.void), "")
        merged = Local(name, read(merge.id, kind)._replace(void=void), first.span, is_step=True, depth=cx.depth)
        merged.sources = present
        found.append((name, merged))
    return found


def _arm(cx: Context, body: syntax.Expression | syntax.Block, scope: Scope, *, gives: bool = True) -> Arm:
    """Elaborates an arm in a block of its own."""
    inner = cx.inside(scope=Scope(scope), returns=None if gives else cx.returns)
    if isinstance(body, syntax.Block):
        return Arm(inner, inner.shared.block(inner, body))
    value = inner.expr(body)
    return Arm(inner, value if gives else None)


# ---- if -------------------------------------------------------------------------------------------------------------


def if_statement(cx: Context, node: syntax.If, after: tuple[ir.Rule, ...] = ()) -> Value | None:
    """An `if` with its `else if`s; gives what its arms return, if all do."""
    arms: list[Arm] = []
    tests: list[ir.Expr] = []
    part: syntax.If | syntax.Block | None = node
    here = cx
    while isinstance(part, syntax.If) and (part is node or first_call(cx.module, part.condition) is None):
        tests.append(condition(here, part.condition))
        arms.append(_arm(cx, part.then, narrowed(here, part.condition, holds=True), gives=False))
        here = here.derive(scope=narrowed(here, part.condition, holds=False))
        part = part.otherwise
    if isinstance(part, syntax.If):
        # its condition runs tasks, so it is decided inside the arm
        nested = cx.inside(scope=Scope(here.scope), returns=cx.returns)
        value = if_statement(nested, part)
        arms.append(Arm(nested, value))
    elif part is not None:
        arms.append(_arm(cx, part, here.scope, gives=False))
    is_complete = part is not None
    return _statement(cx, node, _selector(tests), arms, after, is_complete=is_complete)


def _statement(
    cx: Context, node: syntax.Node, selector: ir.Expr, arms: list[Arm], after: tuple[ir.Rule, ...], *, is_complete: bool
) -> Value | None:
    returning = [arm for arm in arms if arm.value is not None]
    gives = bool(returning) and len(returning) == len(arms) and is_complete
    if returning and not gives:
        word = "match" if isinstance(node, syntax.Match) else "if"
        missing = "it has no `else`" if not is_complete else "an arm of it does not"
        cx.report("return-on-some-paths", syntax.Ident(node.start, node.start + len(word), word), missing=missing)
    return _branch(cx, node, selector, arms, after, is_complete=is_complete, gives=gives, merges_names=True)


def _selector(tests: Sequence[ir.Expr]) -> ir.Expr:
    """The index of the first test that holds, else the number of tests."""
    expr: ir.Expr = ["lit", len(tests)]
    for position in range(len(tests) - 1, -1, -1):
        expr = ["if", tests[position], ["lit", position], expr]
    return expr


def if_expression(cx: Context, node: syntax.IfExpr, bind: str | None = None) -> Value:
    """`if c then a else b`."""
    test = condition(cx, node.condition)
    scopes = [narrowed(cx, node.condition, holds=holds) for holds in (True, False)]
    parts = (node.then, node.otherwise)
    if cx.out is None or all(first_call(cx.module, part) is None for part in parts):
        then, otherwise = (cx.derive(scope=scope).value(part) for scope, part in zip(scopes, parts, strict=True))
        return Value(["if", test, then.expr, otherwise.expr], join(then.type, otherwise.type))
    name = cx.state.step_name(bind) if bind else ""
    arms = [_arm(cx, part, scope) for scope, part in zip(scopes, parts, strict=True)]
    selector = ["if", test, ["lit", 0], ["lit", 1]]
    return _value(cx, node, selector, arms, name)


def _value(cx: Context, node: syntax.Node, selector: ir.Expr, arms: list[Arm], name: str) -> Value:
    result = _branch(cx, node, selector, arms, is_complete=True, gives=True, merges_names=False, name=name)
    assert result is not None
    return result


# ---- match ----------------------------------------------------------------------------------------------------------


def match(cx: Context, node: syntax.Match, bind: str | None = None) -> Value:
    """`match` as a value."""
    subject = _subject(cx, node)
    tests, is_complete = _tests(cx, node, subject)
    bodies = [arm.body for arm in _in_order(node)]
    pure = all(not isinstance(body, syntax.Block) and first_call(cx.module, body) is None for body in bodies)
    if cx.out is None or pure:
        return _pure_match(cx, tests, [body for body in bodies if not isinstance(body, syntax.Block)])
    name = cx.state.step_name(bind) if bind else ""
    arms = [_arm(cx, body, cx.scope) for body in bodies]
    if not is_complete:
        return BROKEN
    return _value(cx, node, _selector(tests), arms, name)


def match_statement(cx: Context, node: syntax.Match) -> Value | None:
    """`match` as a statement: like `if`, its arms bind names and return."""
    subject = _subject(cx, node)
    tests, is_complete = _tests(cx, node, subject)
    arms = [_arm(cx, arm.body, cx.scope, gives=False) for arm in _in_order(node)]
    return _statement(cx, node, _selector(tests), arms, (), is_complete=is_complete)


def _in_order(node: syntax.Match) -> list[syntax.Arm]:
    """The arms with values, then `else`."""
    return [arm for arm in node.arms if arm.values] + [arm for arm in node.arms if not arm.values][:1]


def _pure_match(cx: Context, tests: list[ir.Expr], bodies: list[syntax.Expression]) -> Value:
    values = [cx.value(body) for body in bodies]
    if not values:
        return BROKEN
    kind = values[0].type
    for value in values[1:]:
        kind = join(kind, value.type)
    expr = values[-1].expr
    for position in range(len(values) - 2, -1, -1):
        expr = ["if", tests[position], values[position].expr, expr]
    return Value(expr, kind)


def _subject(cx: Context, node: syntax.Match) -> Value:
    value = cx.value(node.subject)
    if holds_secret(value.type):
        cx.report("secret-leak", node.subject, what="`match` shows what it is")
        return BROKEN
    return value


def _tests(cx: Context, node: syntax.Match, subject: Value) -> tuple[list[ir.Expr], bool]:
    """A test per arm with values, and whether one arm always applies; reports what is missing or impossible."""
    tests: list[ir.Expr] = []
    seen: dict[object, syntax.Node] = {}
    otherwise: syntax.Arm | None = None
    for arm in node.arms:
        if not arm.values:
            if otherwise is not None:
                cx.report("impossible-arm", arm, value="else", subject=cx.source_text(node.subject), hint="keep one")
            otherwise = arm
            continue
        checks = [_test(cx, node, subject, literal, seen) for literal in arm.values]
        test = checks[0]
        for other in checks[1:]:
            test = ["or", test, other]
        tests.append(test)
    if otherwise is not None or subject.type == ERROR:
        return tests, True
    missing = _missing(subject.type, set(seen))
    if missing:
        values = "`else`" if missing == ["else"] else "arm for " + ", ".join(missing)
        word = syntax.Ident(node.start, node.start + len("match"), "match")
        cx.report("non-exhaustive-match", word, subject=cx.source_text(node.subject, "the subject"), missing=values)
    return tests, not missing


def _test(
    cx: Context, node: syntax.Match, subject: Value, literal: syntax.Literal, seen: dict[object, syntax.Node]
) -> ir.Expr:
    value = cx.value(literal)
    key = (literal.kind, literal.value)
    written = cx.source_text(node.subject, "the subject")
    if key in seen:
        labels = (cx.label(seen[key], "first here"),)
        hint = "remove one of the two"
        cx.report("impossible-arm", literal, labels=labels, value=literal.value, subject=written, hint=hint)
    elif not _can_be(subject.type, value.type):
        kind = required(subject.type)
        hint = f"{written} is {shown(subject.type)}"
        if isinstance(kind, Literals) and isinstance(value.type, Literals):
            hint = did_you_mean(value.type.values[0], kind.values, hint).replace("`", '"')
        cx.report("impossible-arm", literal, value=literal.value, subject=written, hint=hint)
    seen[key] = literal
    whole = ["opt", subject.expr[1]] if subject.expr[0] == "ref" and literal.kind == "null" else subject.expr
    return ["op", "==", whole, value.expr]


def _can_be(subject: Type, value: Type) -> bool:
    if value == NULL:
        return isinstance(subject, Optional) or subject in (JSON, ERROR, NULL)
    kind = required(subject)
    return assignable(value, kind) or (is_text(kind) and is_text(value) and not isinstance(kind, Literals))


def _missing(kind: Type, seen: set[object]) -> list[str]:
    """The values without an arm; `else` where they cannot be counted."""
    missing = ["null"] if isinstance(kind, Optional) and ("null", None) not in seen else []
    kind = required(kind)
    if isinstance(kind, Literals):
        return [f'"{value}"' for value in kind.values if ("string", value) not in seen] + missing
    if kind == BOOL:
        return [str(value).lower() for value in (True, False) if ("bool", value) not in seen] + missing
    return ["else"]


# ---- ?? -------------------------------------------------------------------------------------------------------------


def coalesce(cx: Context, node: syntax.Binary, bind: str | None = None) -> Value:
    """`a ?? b`: b where a is null or was skipped. Calls on the right run only then."""
    left = cx.value(node.left)
    present = required(left.type)
    if cx.out is None or first_call(cx.module, node.right) is None:
        right = cx.value(node.right)
        return Value(["??", relaxed(left.expr), right.expr], _coalesced(present, right.type))
    name = cx.state.step_name(bind) if bind else ""
    arm = _arm(cx, node.right, cx.scope)
    right = arm.cx.need(node.right, arm.value or BROKEN)
    kind = _coalesced(present, right.type)
    if ERROR in (left.type, right.type):
        return BROKEN
    whole = Value(relaxed(left.expr), optional(left.type))
    otherwise = whole.expr[1] if whole.expr[0] == "opt" else cx.keep(node.left, whole).step
    source = arm.cx.keep(node.right, right).step
    merge = ir.Merge(id=cx.state.new_id(), name=name, type=cx.shared.text(kind), sources=(source,), otherwise=otherwise)
    assert otherwise is not None
    selector = ["if", ["op", "==", ["opt", otherwise], ["lit", None]], ["lit", 0], ["lit", 1]]
    block = ir.Block(steps=tuple(arm.cx.out or ()))
    cx.emit(ir.BranchStep(**cx.header(node, "", INT), selector=selector, arms=(block,), merges=(merge,)))
    return read(merge.id, kind)._replace(step=merge.id)


def _coalesced(present: Type, right: Type) -> Type:
    return right if present == NULL else join(present, right)


def relaxed(expr: ir.Expr) -> ir.Expr:
    """The expression, reading null where its step was skipped."""
    if expr[0] == "ref" and expr[1] != 0:
        return ["opt", expr[1]]
    if expr[0] in ("attr", "attr?"):
        inner = relaxed(expr[1])
        return ["attr?", inner, expr[2]] if inner != expr[1] else expr
    return expr
