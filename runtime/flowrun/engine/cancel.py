"""Cancels nodes and scopes. Tear-downs are spared: they run when what they wait for has ended."""

from __future__ import annotations

from . import items, ranges, tasks
from .core import Core, finish
from .fan import each_node, end_if_done
from .flows import cancel_flow
from .state import SUCCESS, Scope, attempt_of

__all__ = ["cancel_node", "cancel_scope"]


def cancel_scope(core: Core, scope: Scope, state: int) -> None:
    """Ends every node that has not ended, and whatever it runs. `state` is CANCELLED or REMOVED."""
    if scope.cancelled or not scope.open:
        return
    scope.cancelled = state
    graph = scope.graph
    for node in range(graph.params, graph.size):
        if scope.states[node] < SUCCESS and node not in graph.teardowns:
            cancel_node(core, scope, node, state)


def cancel_node(core: Core, scope: Scope, node: int, state: int) -> None:
    """Ends a node; one that has scopes of its own ends when they have."""
    if scope.states[node] >= SUCCESS:
        return
    if node in scope.fans:
        _cancel_items(core, scope, node, state)
    elif node in scope.children:
        attempt_of(scope, node).final = True
        cancel_flow(core, scope.run.scopes[scope.children[node]], state)
    elif node in scope.loops:
        _cancel_rounds(core, scope, node, state)
    else:
        tasks.withdraw(core, scope, node, state)


def _cancel_items(core: Core, scope: Scope, node: int, state: int) -> None:
    fan = scope.fans[node]
    if fan.cancelled:
        return
    fan.cancelled = state
    if each_node(scope, node).simple:
        ranges.withdraw(core, scope, node, state)
    else:
        items.stop_above(core, scope, node, -1, state)
    end_if_done(core, scope, node)


def _cancel_rounds(core: Core, scope: Scope, node: int, state: int) -> None:
    loop = scope.loops[node]
    loop.cancelled = state
    if loop.scope >= 0:
        cancel_scope(core, scope.run.scopes[loop.scope], state)
    else:
        core.clear_timer(scope.run, "round", scope, node)
        finish(core, scope, node, state)
