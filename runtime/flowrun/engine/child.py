"""Child runs: an attempt of a ChildNode is the body of another flow, as a scope of the same run."""

from __future__ import annotations

import struct

from flowc.plan import ChildNode

from flowrun import wire
from flowrun.messages import Failure

from . import detached, slas, tasks
from .core import Core, inputs_of
from .evaluate import ExpressionError, compute
from .flows import ArgumentError, open_flow, parameters, time_out
from .graph import settings_of
from .state import FAILED, FLOW, GRANTED, NULL, SKIPPED, Outcome, Scope, attempt_of, entered, put_seconds

__all__ = ["closed", "expire", "open_child", "out_of_time"]


def open_child(core: Core, scope: Scope, node: int) -> None:
    """Opens the body of the child flow. Arguments that need a blob are evaluated by a worker first."""
    child = scope.graph.nodes[node]
    assert isinstance(child, ChildNode)
    if node not in scope.began:
        scope.began = entered(scope.began, node, core.now)
        slas.step_began(core, scope, node)
    try:
        args = scope.values[node] or _arguments(scope, node, child)
        if args is None:
            scope.states[node] = GRANTED
            tasks.dispatch(core, scope, node)
            return
        if _is_too_deep(scope, child.flow):
            tasks.fail_attempt(core, scope, node, _too_deep(scope, child.flow))
            return
        if child.detached:
            detached.submit(core, scope, node, child, args)
            return
        graph = scope.graph.tables.graph(child.flow, 0)
        given = parameters(core, scope.run, graph, args)
    except ExpressionError as error:
        tasks.fail_attempt(core, scope, node, Failure("ExpressionError", str(error), retryable=False))
        return
    except ArgumentError as error:
        tasks.fail_attempt(core, scope, node, Failure("TypeMismatch", str(error), retryable=False))
        return
    label = None if scope.label is None or not child.name else f"{scope.label}{child.name}."
    opened = open_flow(core, scope.run, graph, given, parent=scope.id, node=node, label=label)
    scope.children = entered(scope.children, node, opened.id)
    if graph.plan.sla is not None:
        slas.open_child(core, opened, graph.plan.sla)
    limit = settings_of(scope.graph.plan, child).timeout_ms
    if limit is not None:
        core.set_timer(scope.run, "limit", scope, node, limit)


def _is_too_deep(scope: Scope, flow: str) -> bool:
    """A flow that bounds how deep it calls itself stands that deep around a scope; the detached calls that led to the
    run count, too."""
    plan = scope.graph.tables.flow(flow)
    depth = scope.run.depth
    while plan.max_depth is not None and depth < plan.max_depth:
        if scope.kind == FLOW and (scope.graph.plan.flow, scope.graph.plan.file) == (plan.flow, plan.file):
            depth += 1
        if scope.parent < 0:
            return depth >= plan.max_depth
        scope = scope.run.scopes[scope.parent]
    return plan.max_depth is not None


def _too_deep(scope: Scope, flow: str) -> Failure:
    plan = scope.graph.tables.flow(flow)
    message = f"`{plan.flow}` has called itself {plan.max_depth} deep, and its `max_depth` allows no more"
    return Failure(type="TooDeep", message=message, retryable=False)


def _arguments(scope: Scope, node: int, child: ChildNode) -> bytes | None:
    """The arguments as a map; None if a worker must evaluate one."""
    inputs = inputs_of(scope, node)
    entries: list[tuple[str, bytes]] = []
    for name, expr in child.args:
        value = compute(scope.graph, node, expr, inputs)
        if value is None:
            return None
        entries.append((name, value))
    return wire.make_map(entries)


def closed(core: Core, scope: Scope, node: int, body: Scope, outcome: Outcome, rows: bytes) -> None:
    """The child run has ended, its handlers included."""
    del scope.children[node]
    if rows:
        scope.rows = entered(scope.rows, node, rows)
    put_seconds(scope, node, struct.pack("<f", (core.now - scope.began[node]) / 1000))
    if body.cancelled and not (body.flow and body.flow.timed_out):
        tasks.withdraw(core, scope, node, body.cancelled)
    elif outcome.state == FAILED:
        assert outcome.error is not None
        error = outcome.error
        message = f"{outcome.step}: {error.message}" if outcome.step else error.message
        core.clear_timer(scope.run, "limit", scope, node)
        tasks.fail_attempt(core, scope, node, Failure(type=error.type, message=message, detail=error.detail))
    elif outcome.state == SKIPPED:
        tasks.skip(core, scope, node)
    else:
        tasks.succeed(core, scope, node, outcome.value or NULL)


def expire(core: Core, scope: Scope, node: int) -> None:
    """The deadline of all attempts is over."""
    if node in scope.children:
        attempt_of(scope, node).final = True
        out_of_time(core, scope, node, tasks.deadline_failure(scope, node).message)
    else:
        tasks.deadline_passed(core, scope, node)


def out_of_time(core: Core, scope: Scope, node: int, why: str = "") -> None:
    """The time limit of one attempt is over: the child is cancelled, and fails."""
    if node in scope.children:
        limit = (settings_of(scope.graph.plan, scope.graph.nodes[node]).timeout_ms or 0) / 1000
        why = why or f"the child run was not done within its `timeout` of {limit:g} s"
        time_out(core, scope.run.scopes[scope.children[node]], why)
