"""Blocks: statements in written order, each after what it uses.

A binding makes a step, a call by itself too. `return` stands last, or last in every arm of an `if` or `match` that
stands last; then the block has a value.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flowc import ir, syntax
from flowc.diagnostic import Label
from flowc.types import ERROR, NULL

from .branches import if_statement, match_statement
from .context import BROKEN, Context, Local, Scope, Value, read
from .report import accept
from .rules import rules_of
from .settings import SETTINGS, report_setting
from .targets import first_call
from .types import shown

__all__ = ["block"]


def block(cx: Context, node: syntax.Block) -> Value | None:
    """Elaborates the statements into the context's scope and steps; gives what they return, or None."""
    cx.scope.later = dict(_bindings(node.statements))
    result: Value | None = None
    for position, statement in enumerate(node.statements):
        found = _statement(cx, statement)
        if found is None:
            continue
        rest = [other for other in node.statements[position + 1 :] if not isinstance(other, _HEAD)]
        if rest and result is None:
            labels = (cx.label(statement, "the value is returned here"),)
            cx.report("unreachable-step", rest[0], labels=labels)
        result = result or found
    return result


#: statements of a flow's head, which `flows` reads
_HEAD = (syntax.Setting, syntax.TriggerStmt, syntax.Handler, syntax.ErrorNode)


def _bindings(statements: Iterable[syntax.Statement]) -> Iterable[tuple[str, syntax.Node]]:
    """The names that a block binds, those of its arms too."""
    for statement in statements:
        match statement:
            case syntax.Bind(name=name):
                yield name.text, statement
            case syntax.If(then=then, otherwise=otherwise):
                yield from _bindings(then.statements)
                if otherwise is not None:
                    yield from _bindings((otherwise,) if isinstance(otherwise, syntax.If) else otherwise.statements)


def _statement(cx: Context, node: syntax.Statement) -> Value | None:
    """Elaborates one statement; gives the value of a `return`."""
    match node:
        case syntax.Bind():
            _bind(cx, node)
        case syntax.ExprStmt(value=syntax.Match() as match):
            return match_statement(cx, match)
        case syntax.ExprStmt():
            _expression(cx, node)
        case syntax.Return():
            return _return(cx, node)
        case syntax.If(modifiers=modifiers):
            return if_statement(cx, node, _after(cx, modifiers))
        case syntax.Using():
            return _using(cx, node)
        case syntax.ErrorNode(name=str(name)):
            cx.scope.names[name] = Local(name, BROKEN, None, is_step=True, depth=cx.depth)
        case syntax.Setting() if not cx.is_head:
            _misplaced_setting(cx, node)
        case syntax.TriggerStmt() | syntax.Handler() if not cx.is_head:
            word = "trigger" if isinstance(node, syntax.TriggerStmt) else "on"
            cx.report("misplaced-construct", _word(node, word), what=f"`{word}`", where="at the head of a flow")
        case syntax.Mock() | syntax.Expect():
            word = "mock" if isinstance(node, syntax.Mock) else "expect"
            cx.report("misplaced-construct", _word(node, word), what=f"`{word}`", where="in a `test`")
    return None


def _return(cx: Context, node: syntax.Return) -> Value:
    value = cx.value(node.value)
    if cx.returns is None:
        return value
    if cx.returns.type is None:
        hint = f"add `returns {shown(value.type)}` after the flow's parameters"
        cx.report("undeclared-result", node.value, labels=cx.returns.labels, what=cx.returns.what, hint=hint)
        return value
    kind = cx.returns.type
    expr = accept(cx, node.value, value, kind, cx.returns.what, cx.returns.labels, "return-type-mismatch")
    return value._replace(expr=expr, type=kind, step=value.step if expr == value.expr else None)


def _word(node: syntax.Node, word: str) -> syntax.Ident:
    return syntax.Ident(node.start, node.start + len(word), word)


def _after(cx: Context, modifiers: tuple[syntax.After, ...]) -> tuple[ir.Rule, ...]:
    return tuple(rule for modifier in modifiers for rule in rules_of(cx, modifier.rule))


def _bind(cx: Context, node: syntax.Bind) -> None:
    name = node.name.text
    value = cx.keep(node.value, cx.expr(node.value, name), name)
    if value.type == ERROR:
        value = BROKEN
    _refuse_assignment(cx, node.name)
    local = cx.declare(node.name, value._replace(step=None), is_step=True)
    written: syntax.Expression = node.value
    while isinstance(written, syntax.Modified):
        written = written.value
    local.is_each = isinstance(written, syntax.Each)


def _refuse_assignment(cx: Context, name: syntax.Ident) -> None:
    """Reports a binding that looks like a change of a constant or a variable of the file."""
    symbol = cx.module.names.get(name.text)
    if symbol is None or symbol.kind not in ("let", "var") or cx.scope.find(name.text) is not None:
        return
    what = "a constant of this file" if symbol.kind == "let" else "a variable, which a flow only reads"
    labels: tuple[Label, ...] = ()
    if isinstance(symbol.node, syntax.Let | syntax.Var):
        labels = (Context(cx.shared, symbol.module).label(symbol.node.name, "declared here"),)
    cx.report("duplicate-name", name, labels=labels, name=name.text, what=what)


def _expression(cx: Context, node: syntax.ExprStmt) -> None:
    assert cx.out is not None
    before = len(cx.out)
    value = cx.expr(node.value)
    if len(cx.out) == before and value.type != ERROR and value.step is None:
        cx.report("unused-output", node.value, what=cx.source_text(node.value), hint=_USE)


_USE = "bind it (`name = …`), return it, or remove it"


def _misplaced_setting(cx: Context, node: syntax.Setting) -> None:
    if node.name.text not in SETTINGS or first_call(cx.module, node.value) is not None:
        report_setting(cx, node.name, node.value, "flow")
    else:
        cx.report(
            "misplaced-construct", node.name, what=f"the setting `{node.name.text}`", where="at the head of a flow"
        )


def _using(cx: Context, node: syntax.Using) -> Value | None:
    """`using c = create() { … } finally { … }`."""
    rules = _after(cx, node.modifiers)
    setup = cx.inside()
    made = setup.need(node.value, setup.expr(node.value, node.name.text))
    body = cx.inside(returns=cx.returns)
    value_id = cx.state.new_id()
    value = BROKEN if made.type == ERROR else read(value_id, made.type)
    body.declare(node.name, value, is_step=True)
    inner = body.derive(scope=Scope(body.scope))
    result = block(inner, node.body)
    cleanup = cx.inside()
    cleanup.scope.names[node.name.text] = body.scope.names[node.name.text]
    dropped = block(cleanup.derive(scope=Scope(cleanup.scope)), node.cleanup)
    if dropped is not None:
        last = node.cleanup.statements[-1]
        cx.report("misplaced-construct", _word(last, "return"), what="`return`", where="outside of `finally`")
    kind = NULL if result is None else result.type
    header = cx.header(node, "", kind)
    blocks: dict[str, Any] = {
        "setup": ir.Block(steps=tuple(setup.out or ()), result=made.expr),
        "body": ir.Block(steps=tuple(body.out or ()), result=None if result is None else result.expr),
        "cleanup": ir.Block(steps=tuple(cleanup.out or ())),
    }
    cx.emit(ir.UsingStep(**header, value_id=value_id, after=rules, **blocks))
    cx.scope.names.update(inner.scope.names)  # the body always runs, so its names are there afterwards
    if result is None or result.type == ERROR:
        return result
    return read(header["id"], kind)._replace(step=header["id"])
