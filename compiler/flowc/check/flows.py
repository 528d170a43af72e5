"""Flows: parameters, the head (settings, triggers, handlers), the body, and what it returns."""

from __future__ import annotations

from typing import Any

from flowc import ir, syntax
from flowc.resolve import Symbol
from flowc.types import NULL, Optional

from .blocks import block
from .constants import fold
from .context import Context, FlowState, Returns, Row, Scope, Shared, Value, read, returning
from .handlers import check_event, event_value, loosened
from .report import accept
from .setting_values import Reader
from .settings import read_row, read_setting
from .signatures import Signature
from .triggers import read_triggers
from .usage import note_unused

__all__ = ["read_flow"]


def read_flow(shared: Shared, signature: Signature, project_row: Row) -> ir.Flow:
    """A flow, with its body as steps."""
    symbol = signature.symbol
    node = symbol.node
    assert isinstance(node, syntax.FlowDecl)
    place = Context(shared, symbol.module, symbol)
    place.name_params(param.node for param in signature.params)
    state = FlowState(symbol, {})
    cx = Context(shared, symbol.module, symbol, state)
    cx.out = []
    params = _params(cx, signature)
    head = _head(place, cx, node)
    triggers = read_triggers(place, cx, node, signature)
    sla, catchup, on_past = head.pop("sla", None), head.pop("catchup", False), head.pop("depends_on_past", False)
    timeout = head.pop("timeout_ms", None)
    concurrency, max_active_runs = head.pop("concurrency", None), head.pop("max_active_runs", None)
    keep_ms, ignore_result = head.pop("ignore_result", (None, False))
    idempotency_key, debounce = head.pop("idempotency_key", None), head.pop("debounce", None)
    on_failure, max_depth = head.pop("on_failure", None), head.pop("max_depth", None)
    defaults = head.pop("defaults", {})
    state.defaults = {**project_row, **defaults, **head}
    cx = cx.reading_variables()
    cx.is_head = True
    cx.returns = _returns(cx, node, signature)
    result = block(cx, node.body)
    if result is None and node.signature.returns is not None and not _has_return(node.body):
        what = f"the flow `{symbol.name}`"
        hint = "end it with `return …`, or remove `returns`"
        cx.report("missing-return", node.signature.returns, what=what, hint=hint)
    body = returning(cx, node.body, result)
    handlers = _handlers(cx, node, signature)
    note_unused(cx, node, signature)
    return ir.Flow(
        name=symbol.name,
        file=symbol.module.path,
        line=symbol.module.source.position(node.signature.name.start).line,
        doc=node.doc,
        params=params,
        returns=None if node.signature.returns is None else shared.text(signature.returns),
        timeout_ms=timeout,
        concurrency=concurrency,
        max_active_runs=max_active_runs,
        body=body,
        handlers=handlers,
        on_failure=on_failure,
        max_depth=max_depth,
        keep_ms=keep_ms,
        ignore_result=ignore_result,
        idempotency_key=_without_run(cx, node, idempotency_key),
        debounce=debounce,
        triggers=triggers,
        sla=sla,
        variables=tuple(_variable(shared, symbol, id) for symbol, id in state.variables.items()),
        catchup=catchup,
        depends_on_past=on_past,
    )


def _variable(shared: Shared, symbol: Symbol, id: int) -> ir.Variable:
    found = shared.constants.of(symbol)
    return ir.Variable(id=id, name=symbol.name, type=shared.text(found.type), default=found.expr or None)


# ---- parameters and result ------------------------------------------------------------------------------------------


def _params(cx: Context, signature: Signature) -> tuple[ir.Param, ...]:
    found: list[ir.Param] = []
    for param in signature.params:
        assert param.node is not None
        default: ir.Expr | None = None
        if param.node.default is not None:
            value = cx.derive(out=None).value(param.node.default)
            expr = accept(cx, param.node.default, value, param.type, f"the parameter `{param.name}`")
            default = fold(expr)
        elif isinstance(param.type, Optional):
            default = ["lit", None]
        id = cx.state.new_id()
        cx.declare(param.node.name, read(id, param.type))
        found.append(ir.Param(id=id, name=param.name, type=cx.shared.text(param.type), default=default))
    return tuple(found)


def _returns(cx: Context, node: syntax.FlowDecl, signature: Signature) -> Returns:
    what = f"the result of `{signature.symbol.name}`"
    declared = node.signature.returns
    if declared is None:
        return Returns(None, what, (cx.label(node.signature.name, "no `returns` here"),))
    return Returns(signature.returns, what, (cx.label(declared, "declared here"),))


def _has_return(node: syntax.Block) -> bool:
    """Whether a `return` of the flow stands somewhere; what is wrong with its place has been reported."""
    for statement in node.statements:
        match statement:
            case syntax.Return() | syntax.ErrorNode():
                return True
            case syntax.If(then=then, otherwise=otherwise):
                arms = [then] if otherwise is None else [then, *_blocks(otherwise)]
                if any(_has_return(arm) for arm in arms):
                    return True
            case syntax.Using(body=body):
                if _has_return(body):
                    return True
            case syntax.ExprStmt(value=syntax.Match(arms=arms_)):
                if any(isinstance(arm.body, syntax.Block) and _has_return(arm.body) for arm in arms_):
                    return True
    return False


def _blocks(node: syntax.Block | syntax.If) -> list[syntax.Block]:
    if isinstance(node, syntax.Block):
        return [node]
    return [node.then] if node.otherwise is None else [node.then, *_blocks(node.otherwise)]


# ---- the head -------------------------------------------------------------------------------------------------------


def _head(place: Context, cx: Context, node: syntax.FlowDecl) -> dict[str, Any]:
    """The settings of a flow: those of its runs, `defaults`, and those that its steps inherit. In `cx` its parameters
    can be read."""
    row: dict[str, Any] = {}
    seen: dict[str, syntax.Node] = {}
    reader = Reader(place, keys=cx)
    for statement in node.body.statements:
        if isinstance(statement, syntax.Setting):
            key, value = statement.name, statement.value
            read_setting(reader, key, value, "flow", row, seen)
            if key.text == "defaults" and seen.get("defaults") is key:
                row["defaults"] = _defaults(reader, value)
    return row


def _without_run(cx: Context, node: syntax.FlowDecl, key: ir.Key | None) -> ir.Expr | None:
    """A flow's idempotency key: it makes the run's id, so it cannot read the run's facts."""
    if key is None or not _reads_run(key.expr):
        return None if key is None else key.expr
    for statement in node.body.statements:
        if isinstance(statement, syntax.Setting) and statement.name.text == "idempotency_key":
            hint = "make it of the flow's parameters"
            wanted = "made of the parameters"
            cx.report(
                "invalid-setting", statement.value, name="idempotency_key", wanted=wanted, found="of `run`", hint=hint
            )
    return None


def _reads_run(expr: ir.Expr) -> bool:
    return expr[:2] == ["ref", 0] or any(isinstance(part, list) and _reads_run(part) for part in expr)


def _defaults(reader: Reader, node: syntax.Expression) -> dict[str, Any]:
    if isinstance(node, syntax.RecordExpr):
        return read_row(reader, node.entries, "defaults")
    found = reader.place.source_text(node)
    reader.wrong(node, "defaults", "a record of settings", found, "write `defaults: { timeout: 5m }`")
    return {}


# ---- handlers -------------------------------------------------------------------------------------------------------


def _handlers(cx: Context, node: syntax.FlowDecl, signature: Signature) -> tuple[ir.Handler, ...]:
    found: list[ir.Handler] = []
    for statement in node.body.statements:
        if isinstance(statement, syntax.Handler):
            handler = _handler(cx, statement, signature)
            if handler is not None:
                found.append(handler)
    return tuple(found)


def _handler(cx: Context, node: syntax.Handler, signature: Signature) -> ir.Handler | None:
    event = node.event.text
    if not check_event(cx, node.event, ("success", "failure", "cancel", "sla_miss")):
        return None
    # unless all went well, no step is sure to have a value
    inner = cx.inside(scope=Scope(cx.scope if event == "success" else loosened(cx.scope)))
    value_id = cx.state.new_id()
    if node.name is not None:
        void = f"`{signature.symbol.name}` returns nothing" if signature.returns == NULL else ""
        local = inner.declare(node.name, event_value(value_id, event, Value([], signature.returns, void=void)))
        local.used = True
    block(inner, node.body)
    body = ir.Block(steps=tuple(inner.out or ()))
    return ir.Handler(event=event, value_id=value_id, body=body)  # type: ignore[arg-type]
