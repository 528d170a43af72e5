"""A flow's plan: its body, its handlers, its parameters, and the plans of the flows that it calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flowc import ir, plan
from flowc.types import CANCELLATION, RUN, SLA_MISS, text

from .block import ALONE, Block, Place, Shared
from .branches import lower_branch, lower_catch, lower_using, lower_watch
from .calls import lower_call, lower_child, lower_join, lower_value
from .expressions import map_parts
from .fold import fold
from .loops import captures_of, inner_block, lower_each, lower_repeat
from .tables import Tables, lowered_concurrency, lowered_sla
from .triggers import lowered_trigger, lowered_variable
from .uses import uses_of

__all__ = ["lower"]

_LOWER: dict[type, Callable[[Block, Any, Place], None]] = {
    ir.CallStep: lower_call,
    ir.ChildStep: lower_child,
    ir.ValueStep: lower_value,
    ir.JoinStep: lower_join,
    ir.BranchStep: lower_branch,
    ir.CatchStep: lower_catch,
    ir.WatchStep: lower_watch,
    ir.UsingStep: lower_using,
    ir.EachStep: lower_each,
    ir.RepeatStep: lower_repeat,
}

#: a record without its value is kept for who waits for the end of the run
_KEEP_WITHOUT_RESULT_MS = 60_000
#: the id of `run`
_RUN_ID = 0


def lower(program: ir.Program, flow_key: str) -> plan.Plan:
    """The plan of a flow of the program, with the plans of all flows that it calls, directly or not."""
    calls = {key: _called(program.flows[key]) for key in _reached(program, [flow_key])}
    undone = set(_reached(program, [key for key in calls if program.flows[key].on_failure is not None]))
    called = sorted({key for keys in calls.values() for key in keys})
    children = {key: _lower_flow(program, program.flows[key], {}, is_undone=key in undone) for key in called}
    return _lower_flow(program, program.flows[flow_key], children, is_undone=flow_key in undone)


def _reached(program: ir.Program, keys: Iterable[str]) -> dict[str, None]:
    """These flows, and all that they call, directly or not, which may be themselves."""
    found: dict[str, None] = {}
    pending = list(keys)
    while pending:
        key = pending.pop()
        if key not in found:
            found[key] = None
            pending += _called(program.flows[key])
    return found


def _called(flow: ir.Flow) -> list[str]:
    """The keys of the flows that a flow calls."""
    return [key for block in (flow.body, *(handler.body for handler in flow.handlers)) for key in _children(block)]


def _children(block: ir.Block) -> list[str]:
    found: list[str] = []
    for step in block.steps:
        if isinstance(step, ir.ChildStep):
            found.append(step.flow)
        for inner in _blocks(step):
            found.extend(_children(inner))
    return found


def _blocks(step: ir.Step) -> tuple[ir.Block, ...]:
    match step:
        case ir.BranchStep():
            return step.arms
        case ir.EachStep() | ir.RepeatStep() | ir.WatchStep():
            return (step.body,)
        case ir.CatchStep():
            return (step.body, step.handler)
        case ir.UsingStep():
            return (step.setup, step.body, step.cleanup)
        case _:
            return ()


def _lower_flow(program: ir.Program, flow: ir.Flow, children: dict[str, plan.Plan], *, is_undone: bool) -> plan.Plan:
    tables = Tables(program)
    uses = uses_of(flow.body, *(handler.body for handler in flow.handlers))
    shared = Shared(tables, [None], uses.ids, uses.names, _lower_steps, is_undone)
    body = Block(shared)
    body.param(tables.type(text(RUN)), _RUN_ID)
    for param in flow.params:
        body.param(tables.type(param.type), param.id)
    for variable in flow.variables:
        body.param(tables.type(variable.type), variable.id)
    params = tuple(_param(body, tables, param) for param in flow.params)
    body.lower(flow.body.steps, ALONE)
    result = flow.body.result
    body.line = flow.body.line or flow.line
    node = -1 if result is None else body.node_of(result, ALONE, flow.returns or "json")
    handlers = tuple(_handler(body, flow, handler) for handler in flow.handlers)
    shared.blocks[0] = body.finish(node)
    triggers = tuple(lowered_trigger(tables, trigger) for trigger in flow.triggers)
    variables = tuple(lowered_variable(tables, variable) for variable in flow.variables)
    return plan.Plan(
        flow=flow.name,
        file=flow.file,
        params=params,
        returns=None if flow.returns is None else tables.type(flow.returns),
        timeout_ms=flow.timeout_ms,
        concurrency=None if flow.concurrency is None else _of_runs(body, flow.concurrency),
        max_active_runs=flow.max_active_runs,
        types=tuple(tables.types.rows),
        settings=tuple(tables.settings.rows),
        tasks=tuple(tables.tasks),
        blocks=tuple(block for block in shared.blocks if block is not None),
        handlers=handlers,
        pools=tuple(tables.pools.rows),
        limits=tuple(tables.limits.rows),
        connections=tuple(tables.connections),
        signals=tuple(plan.SignalDef(name=name, type=type) for name, type in tables.signals.items()),
        children=children,
        keeps_values=flow.keeps_values,
        version=plan.FORMAT,
        compensates=flow.on_failure is not None,
        max_depth=flow.max_depth,
        keep_ms=_KEEP_WITHOUT_RESULT_MS if flow.ignore_result else flow.keep_ms,
        drops_result=flow.ignore_result,
        idempotency_key=_over_all_params(body, flow.idempotency_key),
        debounce=None if flow.debounce is None else _debounce(body, flow.debounce),
        triggers=triggers,
        sla=lowered_sla(flow.sla),
        vars=variables,
        catchup=flow.catchup,
        depends_on_past=flow.depends_on_past,
    )


def _lower_steps(block: Block, steps: Iterable[ir.Step], place: Place) -> None:
    for step in steps:
        block.line = step.line
        first = len(block.drafts)
        _LOWER[type(step)](block, step, place)
        block.spans[step.id] = range(first, len(block.drafts))


def _param(body: Block, tables: Tables, param: ir.Param) -> plan.ParamDef:
    """A parameter's definition; its default is over the positions of the earlier ones in block 0."""
    return plan.ParamDef(
        name=param.name,
        type=tables.type(param.type),
        required=param.default is None,
        default=None if param.default is None else _over_params(body, fold(param.default)),
    )


def _of_runs(body: Block, concurrency: ir.Concurrency) -> plan.ConcurrencyDef:
    return lowered_concurrency(concurrency, _over_all_params(body, concurrency.key))


def _debounce(body: Block, debounce: ir.Debounce) -> plan.DebounceDef:
    return plan.DebounceDef(wait_ms=debounce.wait_ms, key=_over_all_params(body, debounce.key))


def _over_all_params(body: Block, expr: ir.Expr | None) -> plan.Expr | None:
    return None if expr is None else _over_params(body, fold(expr))


def _over_params(body: Block, expr: ir.Expr) -> plan.Expr:
    if expr[0] in ("ref", "opt"):
        return ["in", body.where[expr[1]]]
    return map_parts(expr, lambda part: _over_params(body, part))


def _handler(body: Block, flow: ir.Flow, handler: ir.Handler) -> plan.HandlerDef:
    """`on success`, `on failure`, `on cancel`, `on sla_miss`: a block over the event's value and what it uses of the
    flow."""
    uses = uses_of(handler.body)
    uses.defined.add(handler.value_id)
    captures = captures_of(body, uses, ALONE)
    type = {
        "success": flow.returns or "null",
        "failure": "Failure",
        "cancel": text(CANCELLATION),
        "sla_miss": text(SLA_MISS),
    }[handler.event]
    inner = inner_block(body, [(handler.value_id, body.tables.type(type))], captures)
    inner.lower(handler.body.steps, Place(None, -2))
    body.shared.blocks.append(inner.finish())
    return plan.HandlerDef(
        event=handler.event,
        block=len(body.shared.blocks) - 1,
        captures=captures.nodes(body),
    )
