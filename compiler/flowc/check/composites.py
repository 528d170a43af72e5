"""Named chains, groups and chords: inlined where they are called, under a label (`box`) that the graph can fold."""

from __future__ import annotations

from flowc import ir, syntax

from .context import BROKEN, Context, FlowState, Scope, Shared, Value, With, read
from .report import accept
from .signatures import Signature
from .types import assignable

__all__ = ["check_composite", "inline"]

#: an argument of these forms, or a field of one, is put in wherever the parameter is used; any other becomes a step
_SIMPLE = frozenset({"lit", "ref", "opt", "date", "datetime", "duration", "decimal", "secret"})


def inline(
    cx: Context,
    node: syntax.Expression,
    signature: Signature,
    args: dict[str, ir.Expr] | None,
    bind: str | None,
    row: With | None,
) -> Value:
    """The steps of a composite, in place of its call."""
    symbol = signature.symbol
    if cx.symbol is not None:
        cx.shared.calls.append((cx.symbol, symbol, cx.span(node)))
    if args is None or symbol in cx.inlining or not isinstance(symbol.node, syntax.Composite):
        return BROKEN
    inner = cx.derive(
        module=symbol.module,
        symbol=symbol,
        scope=Scope(),
        pipe=None,
        rows=(*cx.rows, row) if row else cx.rows,
        box=(*cx.box, cx.state.box_name(symbol.name)),
        line=cx.line or (0 if symbol.module is cx.module else cx.line_of(node)),
        inlining=(*cx.inlining, symbol),
    )
    for param in signature.params:
        expr = args.get(param.name, param.default)
        if expr is None:
            continue
        value = Value(expr, param.type)
        if not _is_simple(expr):
            value = inner.keep(node, value)._replace(step=None)
        assert param.node is not None
        inner.bind_param(param.node.name, value)
    return _checked(inner, symbol.node, inner.expr(symbol.node.value, bind), signature)


def _is_simple(expr: ir.Expr) -> bool:
    while expr[0] in ("attr", "attr?"):
        expr = expr[1]
    return expr[0] in _SIMPLE


def _checked(inner: Context, node: syntax.Composite, value: Value, signature: Signature) -> Value:
    if node.signature.returns is None:
        return value
    value = inner.need(node.value, value)
    what = f"the result of `{node.signature.name.text}`"
    labels = (inner.label(node.signature.returns, "declared here"),)
    accept(inner, node.value, value, signature.returns, what, labels, "return-type-mismatch")
    return value._replace(type=signature.returns) if assignable(value.type, signature.returns) else BROKEN


def check_composite(shared: Shared, signature: Signature) -> None:
    """Elaborates a composite by itself, so that one that nothing calls is checked too; its steps are dropped."""
    symbol = signature.symbol
    if not isinstance(symbol.node, syntax.Composite):
        return
    cx = Context(shared, symbol.module, symbol, FlowState(symbol, {})).reading_variables()
    cx.out = []
    cx.inlining = (symbol,)
    for param in signature.params:
        assert param.node is not None
        cx.bind_param(param.node.name, read(cx.state.new_id(), param.type))
    _checked(cx, symbol.node, cx.expr(symbol.node.value), signature)
