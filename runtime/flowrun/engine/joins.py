"""Nodes that look at how others ended: joins, outcomes and merges. By the time they start, their outcome is known."""

from __future__ import annotations

from flowc.plan import JoinNode, MergeNode, OutcomeNode

from flowrun import wire

from .core import CANCEL, Core, fail, finish, store
from .fan import failure_record
from .outcome import blame_of, cancellation
from .scopes import chosen_source
from .state import BAD, CANCELLED, ITEM, NULL, REMOVED, SKIPPED, SUCCESS, Scope, entered

__all__ = ["start_join", "start_merge", "start_outcome"]


def start_join(core: Core, scope: Scope, node: int) -> None:
    """Success with the values of the first n members that succeeded; the rest goes on, or is cancelled."""
    join = scope.graph.nodes[node]
    assert isinstance(join, JoinNode)
    winners = scope.joined.get(node, [])[: join.n]
    if len(winners) < join.n:
        _fail_join(core, scope, node, join)
        return
    values = [scope.values[member] or NULL for member in winners]
    if join.names:
        found = dict(zip(winners, values, strict=True))
        entries = [(name, found.get(member, NULL)) for name, member in zip(join.names, join.members, strict=True)]
        value = store(core, wire.make_record(entries))
    else:
        value = values[0] if join.first else store(core, wire.make_list(values))
    finish(core, scope, node, SUCCESS, value)
    if join.cancel_rest:
        for member in scope.graph.join_parts[node]:
            if scope.states[member] < SUCCESS:
                core.agenda.append((CANCEL, scope, member, REMOVED))


def _fail_join(core: Core, scope: Scope, node: int, join: JoinNode) -> None:
    states = [scope.states[member] for member in join.members]
    if states and all(state == SKIPPED for state in states):
        finish(core, scope, node, SKIPPED)
        return
    # without counts of what ended so far, which depend on who was faster
    message = f"{join.n} of {len(join.members)} members must succeed, and too many did not"
    fail(core, scope, node, "JoinError", message)


def start_merge(core: Core, scope: Scope, node: int) -> None:
    """Ends as the source of the arm that was taken did."""
    merge = scope.graph.nodes[node]
    assert isinstance(merge, MergeNode)
    taken = scope.states[merge.branch] == SUCCESS
    source = chosen_source(scope, merge) if taken else merge.branch
    if source is None:
        finish(core, scope, node, SKIPPED)
    else:
        state = scope.states[source]
        value = scope.values[source] if state == SUCCESS else None
        finish(core, scope, node, state, value, scope.errors.get(source))


def start_outcome(core: Core, scope: Scope, node: int) -> None:
    """Takes arm 1 if the event holds over all that it watches, else arm 0."""
    outcome = scope.graph.nodes[node]
    assert isinstance(outcome, OutcomeNode)
    states = {member: scope.states[member] for member in outcome.watched}
    failed = [member for member, state in states.items() if state in BAD]
    value = NULL
    if outcome.event == "failure":
        holds = bool(failed)
        if holds:
            value = _record(scope, failed[0])
    elif outcome.event == "success":
        holds = all(state == SUCCESS for state in states.values())
        if holds and outcome.watched:
            value = scope.values[outcome.watched[-1]] or NULL
    elif outcome.event == "cancel":
        ended = next((state for state in states.values() if state in (CANCELLED, REMOVED)), None)
        holds = ended is not None
        if ended is not None:
            value = cancellation(scope, ended)
    else:
        holds = SKIPPED in states.values()
    scope.arms = entered(scope.arms, node, int(holds))
    finish(core, scope, node, SUCCESS, value)


def _record(scope: Scope, node: int) -> bytes:
    """The record of a failed node: for the first failed item of an `each`, with its position."""
    blame = blame_of(scope, node)
    index = blame.item if blame.item >= 0 else scope.index if scope.kind == ITEM else None
    return failure_record(blame.step, index, blame.error, blame.attempts)
