"""How a scope ended, from how its nodes did.

It failed if a step failed and nothing handled that, or if the node that gives its value did not end well; else its
outcome is that of its value. A failure is handled by the outcome (`catch`) or the satisfied join that the node
names; where that one did not succeed itself, the failure passes to what handles it. The error that is shown is that
of the first such step in written order, so it does not depend on which failed first.
"""

from __future__ import annotations

import msgspec
from flowc.plan import BranchNode, EachNode, JoinNode, MergeNode

from flowrun import values
from flowrun.messages import Failure

from .scopes import chosen_source
from .state import BAD, CANCELLED, FAILED, NULL, REMOVED, SKIPPED, SUCCESS, UNTIL, Outcome, Scope

__all__ = ["Blame", "blame_of", "cancellation", "outcome_of"]

_NOT_BAD = bytes(state for state in range(256) if state not in BAD)
_CANCELLED = Failure(type="Cancelled", message="it was cancelled")
_UNKNOWN = Failure(type="Failed", message="it failed")


def outcome_of(scope: Scope) -> Outcome:
    """O(nodes): asked once per scope."""
    if scope.cancelled:
        return Outcome(CANCELLED)
    graph, states = scope.graph, scope.states
    if states.translate(None, _NOT_BAD):
        node = _next_bad(states, 0)
        while node >= 0:
            if not isinstance(graph.nodes[node], MergeNode) and not _is_handled(scope, node):
                return _failed(scope, node)
            node = _next_bad(states, node + 1)
    result = graph.result
    if result < 0:
        return Outcome(SUCCESS)
    if states[result] == SUCCESS:
        return Outcome(SUCCESS, scope.values[result] or NULL)
    if states[result] == SKIPPED:
        return Outcome(SKIPPED)
    return _failed(scope, _next_bad(states, 0))


def _next_bad(states: bytearray, start: int) -> int:
    """The next node from `start` on that did not end well; -1 if there is none."""
    return min((at for bad in BAD if (at := states.find(bad, start)) >= 0), default=-1)


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
    blame = blame_of(scope, node)
    return Outcome(FAILED, error=blame.error, step=blame.step or None, attempts=blame.attempts)


class Blame(msgspec.Struct, frozen=True):
    """What is told of a node that failed."""

    #: the step that the user knows it by
    step: str
    error: Failure
    #: without those whose worker died, so that a value made of it does not depend on that
    attempts: int
    #: of an `each`: the item that failed; -1
    item: int


def blame_of(scope: Scope, node: int) -> Blame:
    """Why a node failed. For a join that did not succeed, why the first of its members that failed did; for a value
    of several arms that is no step of its own, why that of the arm did."""
    node = _culprit(scope, node)
    cancelled = scope.states[node] == CANCELLED
    error = scope.errors.get(node) or (_CANCELLED if cancelled else _UNKNOWN)
    if not scope.graph.nodes[node].name and not cancelled:
        place, line = _place(scope, node), scope.graph.nodes[node].line
        error = msgspec.structs.replace(error, message=f"in {place} at line {line}: {error.message}")
    attempt, fan = scope.attempts.get(node), scope.fans.get(node)
    attempts = attempt.number - attempt.uncounted if attempt else 1
    return Blame(scope.graph.step_name(node), error, attempts, fan.first_failed if fan else -1)


def cancellation(scope: Scope, state: int = CANCELLED) -> bytes:
    """What `on cancel` is given (types.CANCELLATION): why something in a scope was cancelled; `state`: as it ended."""
    reason = "the others of its group have ended it" if state == REMOVED else ""
    while not reason and scope.parent >= 0:
        reason = _reason(scope)
        scope = scope.run.scopes[scope.parent]
    return values.encode({"reason": reason or _reason(scope) or "cancelled"})


def _reason(scope: Scope) -> str:
    return (scope.flow.timed_out or scope.flow.reason) if scope.flow is not None else ""


def _culprit(scope: Scope, node: int) -> int:
    nodes = scope.graph.nodes
    while isinstance(found := nodes[node], JoinNode | MergeNode):
        if isinstance(found, MergeNode):
            taken = scope.states[found.branch] == SUCCESS
            source = chosen_source(scope, found) if taken else found.branch
        else:
            inner = (i for i in range(node) if nodes[i].handler == node and scope.states[i] in BAD)
            source = next((i for i in inner if not isinstance(nodes[i], MergeNode)), None)
        if source is None or (found.name and isinstance(found, MergeNode)):
            break
        node = source
    return node


def _place(scope: Scope, node: int) -> str:
    """Where a part without a name is written."""
    found = scope.graph.nodes[node]
    if isinstance(found, JoinNode):
        return "the group"
    if isinstance(found, BranchNode):
        return "the condition"
    if node == scope.graph.result:
        return "`until` of the `repeat`" if scope.kind == UNTIL else "`return`"
    walked = (other for other in scope.graph.nodes if isinstance(other, EachNode) and other.line == found.line)
    feeds = any(given.node == node for each in walked for given in each.inputs)
    return "the source of `each`" if feeds else "an expression"
