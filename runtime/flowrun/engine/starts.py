"""What the start of a node of each kind is."""

from __future__ import annotations

from collections.abc import Callable

from flowc.plan import (
    BranchNode,
    ChildNode,
    EachNode,
    JoinNode,
    MergeNode,
    NodeBase,
    OutcomeNode,
    RepeatNode,
    TaskNode,
    ValueNode,
    WaitNode,
)

from . import fanout, joins, repeat, slas, tasks, waits
from .core import Core, fail, inputs_of, store
from .evaluate import ExpressionError, compute
from .replace import spliced
from .state import DELAYED, Scope

__all__ = ["delay_over", "held", "start"]


def start(core: Core, scope: Scope, node: int) -> None:
    """Its conditions hold: nothing holds the node back any more but a time of its own."""
    if scope.graph.plain[node]:
        tasks.grant(core, scope, node)
    elif not tasks.delay(core, scope, node):
        _start(core, scope, node)


def held(core: Core, scope: Scope, node: int) -> None:
    """Only that its run is paused holds it back: that does not stop the clock of its service level."""
    settings = scope.graph.settings[node]
    if settings.sla is not None and settings.delay_ms is None and settings.at_ms is None:
        slas.might_begin(core, scope, node)


def delay_over(core: Core, scope: Scope, node: int) -> None:
    """Its time has come."""
    if scope.states[node] == DELAYED:
        _start(core, scope, node)


def _start(core: Core, scope: Scope, node: int) -> None:
    definition = scope.graph.nodes[node]
    if scope.graph.settings[node].sla is not None:
        slas.might_begin(core, scope, node)
        if isinstance(definition, WaitNode):
            slas.step_began(core, scope, node)  # it needs no worker
    _STARTS[type(definition)](core, scope, node)


def _start_expression(core: Core, scope: Scope, node: int) -> None:
    """A value or a branch: here if it can be, else by a worker."""
    definition = scope.graph.nodes[node]
    assert isinstance(definition, ValueNode | BranchNode)
    expr = definition.value if isinstance(definition, ValueNode) else definition.selector
    try:
        value = spliced(core, scope, node, expr) if scope.added else None
        if value is None:
            value = compute(scope.graph, node, expr, inputs_of(scope, node))
    except ExpressionError as error:
        fail(core, scope, node, "ExpressionError", str(error))
        return
    if value is None:
        tasks.start(core, scope, node)
    elif isinstance(definition, BranchNode):
        tasks.succeed(core, scope, node, value)
    else:
        tasks.succeed(core, scope, node, store(core, value))


_STARTS: dict[type[NodeBase], Callable[[Core, Scope, int], None]] = {
    ValueNode: _start_expression,
    BranchNode: _start_expression,
    TaskNode: tasks.start,
    ChildNode: tasks.start,
    EachNode: fanout.start,
    RepeatNode: repeat.start,
    JoinNode: joins.start_join,
    MergeNode: joins.start_merge,
    OutcomeNode: joins.start_outcome,
    WaitNode: waits.start,
}
