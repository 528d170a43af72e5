"""Bodies of flows, of the run itself and of child runs: their parameters, their handlers, their end.

When all nodes of a body have ended, its state is decided. If it did not end well, and the flow says so, what was done
in it is undone (`undo`). Then the handlers for that state run, each a scope; what they do is shown and changes nothing.
Then the flow has ended.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import msgspec
from flowc.plan import HandlerDef, Plan
from flowc.types import Optional

from flowrun import values
from flowrun.messages import Failure, Scheduled

from . import undo
from .core import CANCEL, Core, store
from .evaluate import ArgumentError, compute_default
from .fan import failure_record
from .graph import Graph
from .outcome import cancellation, outcome_of
from .run_variables import given as variables_of
from .scopes import Given, open_scope
from .state import CANCELLED, FAILED, FLOW, HANDLER, NULL, SKIPPED, SUCCESS, FlowState, Outcome, Run, Scope, entered

__all__ = ["ArgumentError", "body_closed", "cancel_flow", "facts", "facts_of", "handler_closed", "moment", "open_flow",
           "parameters", "time_out", "undo_closed", "values_of"]  # fmt: skip

_NO_ARGS = b"\x80"
#: the state of a body, and the handlers that run after it
_EVENTS = {SUCCESS: "success", SKIPPED: "success", FAILED: "failure", CANCELLED: "cancel"}
_args_decoder = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])


# ---- the start ------------------------------------------------------------------------------------------------------


def parameters(core: Core, run: Run, graph: Graph, args: bytes) -> list[bytes]:
    """The values of the parameters of the flow with this body, its variables behind them. Raises ArgumentError, and
    ExpressionError from a default."""
    found = values_of(core, graph, args, facts_of(run, graph))
    return found + variables_of(core, run, graph.plan) if graph.plan.vars else found


def values_of(core: Core, graph: Graph, args: bytes, facts: bytes) -> list[bytes]:
    """The same; `facts`: of the run, the first of them."""
    plan = graph.plan
    if args == _NO_ARGS and not plan.params:
        return [facts]
    try:
        given = _args_decoder.decode(args)
    except msgspec.DecodeError as error:
        raise ArgumentError(f"the arguments of the run cannot be read: {error}") from error
    for name in given:
        if name not in graph.param_names:
            has = f"it has {', '.join(graph.param_names)}" if graph.param_names else "it has none"
            raise ArgumentError(f"flow `{plan.flow}` has no parameter `{name}`: {has}")
    found = [facts]
    for param in plan.params:
        if param.name in given:
            found.append(store(core, bytes(given[param.name])))
        elif param.default is not None:
            found.append(store(core, compute_default(plan, param.default, found)))
        elif param.required:
            raise ArgumentError(f"flow `{plan.flow}` needs a value for its parameter `{param.name}`")
        else:
            found.append(NULL)
    return found


def facts_of(run: Run, graph: Graph) -> bytes:
    """What `run` is, if the flow reads it."""
    return _run_record(run, graph.plan) if graph.reads_run else NULL


def _run_record(run: Run, plan: Plan) -> bytes:
    """The facts of the run."""
    return values.encode(facts(run.id, plan.flow, run.submitted_ms, run.scheduled))


def facts(run: str, flow: str, submitted_ms: int, scheduled: Scheduled | None) -> dict[str, object]:
    """The facts of a run. The window of one that stands for no time is the day (UTC) in which it was submitted."""
    at = moment(submitted_ms if scheduled is None else scheduled.at_ms)
    if scheduled is None:
        start = dt.datetime(at.year, at.month, at.day, tzinfo=dt.UTC)
        day, end = start.date(), start + dt.timedelta(days=1)
    else:
        start, end = moment(scheduled.start_ms), moment(scheduled.end_ms)
        day = dt.date.fromisoformat(scheduled.date)
    return {"id": run, "flow": flow, "date": day, "triggered_at": at, "window": {"start": start, "end": end}}


def moment(ms: int) -> dt.datetime:
    """A time in milliseconds since 1970 as a value."""
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC)


def open_flow(
    core: Core, run: Run, graph: Graph, given: Sequence[Given], *,
    parent: int = -1, node: int = -1, index: int = -1, label: str | None = "",
) -> Scope:  # fmt: skip
    """The body of a flow, with its time limit."""
    scope = open_scope(core, run, graph, FLOW, given, parent=parent, node=node, index=index, label=label)
    if graph.plan.timeout_ms is not None:
        core.set_timer(run, "flow", scope, 0, graph.plan.timeout_ms)
    return scope


# ---- the end --------------------------------------------------------------------------------------------------------


def body_closed(core: Core, scope: Scope) -> Outcome | None:
    """Decides the flow's state; undoes what is to be undone, or opens its handlers. How the flow has ended, if there is
    nothing to be done."""
    core.clear_timer(scope.run, "flow", scope, 0)
    if scope.flow is not None and scope.flow.timed_out:
        outcome = Outcome(FAILED, error=Failure(type="Timeout", message=scope.flow.timed_out, retryable=False))
    else:
        outcome = outcome_of(scope)
    if outcome.state in (FAILED, CANCELLED) and undo.begin(core, scope):
        _flow(scope).outcome = outcome
        return None
    return _open_handlers(core, scope, outcome)


def undo_closed(core: Core, scope: Scope, outcome: Outcome, rows: bytes) -> Outcome | None:
    """A call was undone, or could not be: the next one, or the handlers. How the flow has ended, if that was all."""
    flow = _flow(scope)
    if undo.closed(core, scope, outcome, rows) or flow.outcome is None:
        return None
    return _open_handlers(core, scope, undo.judged(scope, flow.outcome))


def _open_handlers(core: Core, scope: Scope, outcome: Outcome) -> Outcome | None:
    """How the flow has ended, if there are none for this outcome."""
    handlers = scope.graph.plan.handlers
    if handlers:
        _flow(scope).outcome = outcome
        event = _EVENTS.get(outcome.state)
        for number, handler in enumerate(handlers):
            if handler.event == event:
                _open_handler(core, scope, number, handler, outcome)
        if _flow(scope).handlers:
            return None
    return _flow_outcome(scope, outcome)


def _open_handler(core: Core, scope: Scope, number: int, handler: HandlerDef, outcome: Outcome) -> None:
    flow = _flow(scope)
    if outcome.state == CANCELLED:
        given: list[Given] = [cancellation(scope, scope.cancelled)]
    else:
        given = [_failure(outcome) if outcome.state == FAILED else outcome.value]
    for node in handler.captures:
        given.append((scope.values[node] if scope.states[node] == SUCCESS else None) or NULL)
    graph = scope.graph.beside(handler.block)
    opened = open_scope(core, scope.run, graph, HANDLER, given, parent=scope.id, index=number, label=scope.label)
    flow.handlers += (opened.id,)


def _failure(outcome: Outcome) -> bytes:
    """The failure, as the handlers see it."""
    error = outcome.error or Failure(type="Failed", message="it failed")
    return failure_record(outcome.step or "", None, error, outcome.attempts)


def handler_closed(scope: Scope, handler: Scope, rows: bytes) -> Outcome | None:
    """How the flow has ended, if it was the last one."""
    flow = _flow(scope)
    flow.handlers = tuple(other for other in flow.handlers if other != handler.id)
    if rows:
        scope.rows = entered(scope.rows, -1 - handler.index, rows)
    return None if flow.handlers or flow.outcome is None else _flow_outcome(scope, flow.outcome)


def _flow_outcome(scope: Scope, outcome: Outcome) -> Outcome:
    """How a flow ended whose body ended so, and whose handlers are done. A call of it is skipped where its result was,
    unless it may be null; a run is a success all the same."""
    if outcome.state != SKIPPED:
        return outcome
    plan = scope.graph.plan
    may_be_null = plan.returns is None or isinstance(plan.types[plan.returns], Optional)
    return Outcome(SUCCESS) if scope.parent < 0 or may_be_null else outcome


# ---- before its time ------------------------------------------------------------------------------------------------


def cancel_flow(core: Core, scope: Scope, state: int = CANCELLED, reason: str = "") -> None:
    """Cancels the body, or the handlers if the body has ended: then the flow keeps its state. What undoes is never
    cancelled, and neither is what runs because of a cancellation."""
    if scope.open:
        if reason and not scope.cancelled:
            _flow(scope).reason = reason
        core.agenda.append((CANCEL, scope, -1, state))
    outcome = scope.flow.outcome if scope.flow is not None else None
    if outcome is not None and outcome.state == CANCELLED:
        return
    for handler in scope.flow.handlers if scope.flow else ():
        core.agenda.append((CANCEL, scope.run.scopes[handler], -1, state))


def time_out(core: Core, scope: Scope, why: str) -> None:
    """The flow took too long: it is cancelled, and has failed; `why` is the message."""
    if scope.open > len(scope.asides):
        _flow(scope).timed_out = why
    if scope.open:
        core.agenda.append((CANCEL, scope, -1, CANCELLED))


def _flow(scope: Scope) -> FlowState:
    if scope.flow is None:
        scope.flow = FlowState()
    return scope.flow
