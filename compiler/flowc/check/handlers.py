"""`on …`: what is done when a call, a task or a flow has ended in some way.

A handler of a call watches the step that gives the call's value. One that a task declares is put behind every call of
the task, as if it were written there, over the arguments of that call. `on retry` is about attempts instead of ends,
and `on sla_miss` about time: they run while their step goes on, so they cannot wait for anything, and steps that may
not have ended are optional in them.
"""

from __future__ import annotations

from typing import Any

from flowc import ir, syntax
from flowc.suggest import did_you_mean
from flowc.types import CANCELLATION, ERROR, FAILURE, NULL, SLA_MISS

from .branches import relaxed
from .context import Context, FlowState, Local, Row, Scope, Shared, Value, read
from .signatures import Signature
from .types import optional

__all__ = ["EVENTS", "check_declared", "check_event", "event_value", "loosened", "watch", "watch_declared"]

#: events that a call or a task can be watched for
EVENTS = ("success", "failure", "retry", "skip", "cancel", "sla_miss")
#: those that come while the step goes on
_MEANWHILE = ("retry", "sla_miss")
#: events of steps that may never have begun: what they were to be given may not be there
_WITHOUT_VALUES = ("skip", "cancel")


def check_event(cx: Context, event: syntax.Ident, events: tuple[str, ...] = EVENTS) -> bool:
    """Whether a handler's event can happen here; reports what cannot."""
    if event.text in events:
        return True
    if event.text in EVENTS:
        where = f"behind a call of the flow: `f(…) on {event.text} {{ … }}`"
        cx.report("misplaced-construct", event, what=f"`on {event.text}`", where=where)
    else:
        names = [f"`on {name}`" for name in EVENTS]
        hint = did_you_mean(event.text, EVENTS, "the events are " + ", ".join(names))
        cx.report("unknown-name", event, name=event.text, kind="event", hint=hint)
    return False


def event_value(value_id: int, event: str, value: Value) -> Value:
    """What a handler's name stands for."""
    if event in ("failure", "retry"):
        return Value(["ref", value_id], FAILURE)
    if event in ("cancel", "sla_miss"):
        return Value(["ref", value_id], CANCELLATION if event == "cancel" else SLA_MISS)
    if event == "skip":
        return Value(["opt", value_id], NULL, void="a skipped step has no value")
    return read(value_id, value.type)._replace(void=value.void)


def loosened(scope: Scope) -> Scope:
    """The names that can be seen from a scope, where no step is sure to have a value."""
    seen = Scope()
    for name in scope.visible():
        local = scope.find(name)
        if local is None or name in seen.names:
            continue
        seen.names[name] = local
        if local.is_step and local.id is not None and not local.value.void:
            value = read(local.id, optional(local.value.type))
            seen.names[name] = Local(name, value, local.span, is_step=True, depth=local.depth)
    return seen


# ---- on a call ------------------------------------------------------------------------------------------------------


def watch(cx: Context, node: syntax.Modified, on: syntax.On, value: Value) -> Value:
    """`on success(r)`, `on failure(e)`, … behind one stage; gives the stage's value, as a step's."""
    if not check_event(cx, on.event) or value.type == ERROR:
        return value
    kept = cx.keep(node.value, value)
    if kept.step is None:
        return value
    if on.event.text in _MEANWHILE and _call(cx, kept.step) is None:
        where = "behind a call of a task or a flow, which it watches while it runs"
        cx.report("misplaced-construct", on.event, what=f"`on {on.event.text}`", where=where)
        return kept
    if on.event.text == "sla_miss":
        _check_level(cx, on, kept.step)
    _emit(cx, cx.scope, on, kept.step, value)
    return kept


def _call(cx: Context, step: int) -> ir.CallStep | ir.ChildStep | None:
    """The call that a step is: work, or a child run. What waits has no attempts."""
    found = next((made for made in reversed(cx.out or ()) if made.id == step), None)
    if isinstance(found, ir.CallStep):
        return found if all(found.task != task.key for task in cx.shared.waits) else None
    return found if isinstance(found, ir.ChildStep) else None


def _check_level(cx: Context, on: syntax.On, step: int) -> None:
    """Reports a handler of a call without a service level. One inside of a composite may get it from outside, and what
    a called flow misses itself is told here, too."""
    call = _call(cx, step)
    if isinstance(call, ir.CallStep) and call.settings.sla is None and not cx.inlining:
        cx.report("sla-miss-never-comes", on.event, where=f"`{call.name}`")


def _emit(cx: Context, scope: Scope, on: syntax.On | syntax.Handler, step: int, value: Value) -> None:
    """A watch of the step; `scope`: what its body can read."""
    event = on.event.text
    around = loosened(scope) if event in _MEANWHILE else scope
    body = cx.inside(pipe=None, scope=Scope(around))
    value_id = cx.state.new_id()
    if on.name is not None:
        body.declare(on.name, event_value(value_id, event, value)).used = True
    cx.shared.block(body, on.body)
    assert body.out is not None
    fields: dict[str, Any] = {**cx.header(on, "", NULL), "step": step, "event": event, "value_id": value_id}
    cx.emit(ir.WatchStep(**fields, body=ir.Block(steps=tuple(body.out))))


# ---- on a task ------------------------------------------------------------------------------------------------------


def watch_declared(
    cx: Context, node: syntax.Expression, signature: Signature, args: dict[str, ir.Expr], value: Value
) -> None:
    """The handlers that a task declares, behind a call of it whose value is a step's."""
    symbol = signature.symbol
    handlers = cx.shared.reactions(symbol).handlers
    if not handlers or value.step is None or symbol in cx.inlining:
        return
    inner = cx.derive(
        module=symbol.module,
        symbol=symbol,
        pipe=None,
        rows=(),
        line=cx.line or (0 if symbol.module is cx.module else cx.line_of(node)),
        inlining=(*cx.inlining, symbol),
    )
    for on in handlers:
        scope = Scope()
        is_loose = on.event.text in _WITHOUT_VALUES
        for param in signature.params:
            if param.node is not None and param.name in args:
                expr = relaxed(args[param.name]) if is_loose else args[param.name]
                kind = optional(param.type) if is_loose else param.type
                inner.derive(scope=scope).bind_param(param.node.name, Value(expr, kind))
        _emit(inner, scope, on, value.step, value)


def check_declared(shared: Shared, signature: Signature, row: Row) -> None:
    """Elaborates a task's handlers by themselves, so that those of one that nothing calls are checked too."""
    symbol = signature.symbol
    if not shared.reactions(symbol).handlers:
        return
    cx = Context(shared, symbol.module, symbol, FlowState(symbol, row)).reading_variables()
    cx.out = []
    args = {param.name: ["ref", cx.state.new_id()] for param in signature.params}
    value = read(cx.state.new_id(), signature.returns)
    void = f"`{symbol.name}` returns nothing" if signature.returns == NULL else ""
    node = syntax.Name(0, 0, symbol.name)  # nothing is told of it
    watch_declared(cx, node, signature, args, value._replace(step=value.expr[1], void=void))
