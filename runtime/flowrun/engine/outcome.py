"""How a scope ended, from how its nodes did.

It failed if a step failed and nothing handled that, or if the node that gives its value did not end well; else its
outcome is that of its value. A failure is handled by the outcome (`catch`) or the satisfied join that the node
names; where that one did not succeed itself, the failure passes to what handles it. The error that is shown is that
of the first such step in written order, so it does not depend on which failed first.
"""

from __future__ import annotations

import msgspec
from flowc.plan import MergeNode

from flowrun.messages import Failure

from .state import CANCELLED, FAILED, NULL, SKIPPED, SUCCESS, Scope

__all__ = ["Outcome", "outcome_of"]


class Outcome(msgspec.Struct, frozen=True):
    """Of a scope that has ended."""

    #: SUCCESS, FAILED, SKIPPED or CANCELLED
    state: int
    value: bytes = NULL
    error: Failure | None = None
    #: the step that failed
    step: str | None = None


def outcome_of(scope: Scope) -> Outcome:
    """O(nodes): asked once per scope."""
    if scope.cancelled:
        return Outcome(CANCELLED)
    graph, states = scope.graph, scope.states
    node = states.find(FAILED)
    while node >= 0:
        if not isinstance(graph.nodes[node], MergeNode) and not _is_handled(scope, node):
            return _failed(scope, node)
        node = states.find(FAILED, node + 1)
    result = graph.result
    if result < 0:
        return Outcome(SUCCESS)
    if states[result] == SUCCESS:
        return Outcome(SUCCESS, scope.values[result] or NULL)
    if states[result] == SKIPPED:
        return Outcome(SKIPPED)
    return _failed(scope, states.find(FAILED))


def _is_handled(scope: Scope, node: int) -> bool:
    """Follows what handles the failure of a node, outwards, to one that succeeded."""
    handler = scope.graph.nodes[node].handler
    while handler >= 0:
        if scope.states[handler] == SUCCESS:
            return True
        handler = scope.graph.nodes[handler].handler
    return handler == -2


def _failed(scope: Scope, node: int) -> Outcome:
    if node < 0:
        message = "the value to be returned was never made: what it needs did not end well"
        return Outcome(FAILED, error=Failure(type="Failed", message=message, retryable=False))
    nodes = scope.graph.nodes
    name = nodes[node].name
    if not name:
        # a part of a construct failed: the step to name is the first that failed in it
        inner = (i for i in range(len(nodes)) if nodes[i].handler == node and scope.states[i] == FAILED)
        name = nodes[next(inner, node)].name
    error = scope.errors.get(node) or Failure(type="Failed", message="it failed")
    return Outcome(FAILED, error=error, step=name or None)
