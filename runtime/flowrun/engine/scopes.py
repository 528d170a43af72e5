"""Scopes: instances of a block, and how the end of a node opens what waits for it."""

from __future__ import annotations

from collections.abc import Sequence

from flowc.plan import MergeNode

from .core import CANCEL, CLOSE, PROPAGATE, START, Core, finish
from .graph import DATA, OPTIONAL, PLAIN, Graph
from .opening import COUNTS, Gates
from .rules import FAIL, RUN, WAIT
from .state import (
    CLASS,
    DELAYED,
    FLOW,
    ITEM,
    QUEUED,
    REMOVED,
    SKIPPED,
    SUCCESS,
    UPSTREAM_FAILED,
    WAITING,
    Run,
    Scope,
    entered,
)

__all__ = [
    "Given", "chosen_source", "close_scope", "count_items", "expand_items", "fail_consumers", "index_of", "open_scope",
    "propagate",
]  # fmt: skip

#: a node that no worker has, and that a rule may still keep from beginning
_NOT_BEGUN = (WAITING, DELAYED, QUEUED)
#: what a parameter is given: a value; None: what was to give it was skipped
Given = bytes | None


def open_scope(
    core: Core,
    run: Run,
    graph: Graph,
    kind: int,
    given: Sequence[Given],
    *,
    parent: int = -1,
    node: int = -1,
    index: int = -1,
    label: str | None = None,
) -> Scope:
    """An instance of a block with these parameters; its first nodes go on the agenda."""
    some_skipped = None in given
    opening = graph.closed if some_skipped else graph.opened
    number = run.next_scope
    scope = Scope(
        run,
        graph,
        number,
        kind,
        parent,
        node,
        index,
        label,
        opening.states[:],
        [*given, *opening.values],
        len(opening.values),
    )
    if some_skipped:
        scope.gates = opening.gates.copy()
        for place, value in enumerate(given):
            if value is None:
                scope.states[place] = SKIPPED
    run.scopes[number] = scope
    run.next_scope = number + 1
    agenda = core.agenda
    for i in opening.propagate:
        agenda.append((PROPAGATE, scope, i, 0))
    for i in opening.start:
        agenda.append((START, scope, i, 0))
    if not scope.open:
        agenda.append((CLOSE, scope, 0, 0))
    return scope


def _gates(scope: Scope) -> Gates:
    """The conditions of its nodes, to be changed."""
    gates = scope.gates
    if gates is None:
        gates = scope.gates = scope.graph.opened.gates.copy()
    return gates


def index_of(scope: Scope) -> int | tuple[int, ...] | None:
    """The positions of a scope in the `each`es around it, the outermost first; None outside, a number in one."""
    found: list[int] = []
    while scope.parent >= 0:
        if scope.kind == ITEM or (scope.kind == FLOW and scope.index >= 0):
            found.insert(0, scope.index)
        scope = scope.run.scopes[scope.parent]
    return tuple(found) if len(found) > 1 else found[0] if found else None


def close_scope(scope: Scope) -> None:
    """Forgets a scope that has ended."""
    scope.run.scopes.pop(scope.id, None)


def propagate(core: Core, scope: Scope, node: int) -> None:
    """A node ended: counts it at the gates of those who wait for it, and opens what can be opened."""
    graph, states, gates = scope.graph, scope.states, _gates(scope)
    state = states[node]
    for gate, how in graph.edges[node]:
        if states[graph.gate_node[gate]] == WAITING:
            _count_end(core, scope, gates, gate, how, state)
    if graph.edges_only[node]:
        return
    for later in graph.until[node]:
        if states[later] in _NOT_BEGUN:
            core.agenda.append((CANCEL, scope, later, SKIPPED))
    for join in graph.joins[node]:
        if state == SUCCESS:
            winners = scope.joined.get(join)
            if winners is None:
                scope.joined = entered(scope.joined, join, [node])
            else:
                winners.append(node)
    for gate in graph.item_gates[node]:
        fan = scope.fans.get(node)
        if fan is None or not fan.total:
            _count_end(core, scope, gates, gate, 0, state)
    for consumer, arm in graph.arms[node]:
        if states[consumer] == WAITING:
            _open_guard(core, scope, gates, node, consumer, arm)
    for merge in graph.merges[node]:
        if states[merge] == WAITING and _is_known(scope, merge):
            _decide(core, scope, gates, graph.own_gate[merge], RUN)


def fail_consumers(core: Core, scope: Scope, node: int) -> None:
    """It is known that a node will fail, though it has not ended: whoever takes its value need not wait for that."""
    for gate, how in scope.graph.edges[node]:
        if how != PLAIN and scope.states[scope.graph.gate_node[gate]] == WAITING:
            _decide(core, scope, _gates(scope), gate, FAIL)


def _count_end(core: Core, scope: Scope, gates: Gates, gate: int, how: int, state: int) -> None:
    counts, at = gates.counts, gate * COUNTS
    counts[at + 4] -= 1
    if state == SUCCESS:
        counts[at] += 1
        if counts[at + 4] and scope.graph.patient[gate]:
            return
    elif state == REMOVED:
        if how == DATA:
            finish(core, scope, scope.graph.gate_node[gate], REMOVED)
            return
        # left out by rules; an optional input is null
        counts[at] += how == OPTIONAL
    elif how == OPTIONAL and state == SKIPPED:
        counts[at] += 1
    else:
        counts[at + CLASS[state]] += 1
    _check(core, scope, gates, gate)


def _check(core: Core, scope: Scope, gates: Gates, gate: int) -> None:
    """Asks the gate's rule for its verdict over the counts."""
    if gates.decided[gate]:
        return
    graph = scope.graph
    at = gate * COUNTS
    s, f, k, u, still_open = gates.counts[at : at + COUNTS]
    some = s or f or k or u or still_open
    verdict = graph.gate_rule[gate](s, f, k, u, still_open, graph.gate_n[gate]) if some else RUN
    if verdict != WAIT:
        _decide(core, scope, gates, gate, verdict)


def _decide(core: Core, scope: Scope, gates: Gates, gate: int, verdict: int) -> None:
    """A gate gave its verdict; the last one, or a failed one, decides what becomes of the node."""
    if gates.decided[gate]:
        return
    gates.decided[gate] = 1
    node = scope.graph.gate_node[gate]
    gates.pending[node] -= 1
    if verdict > gates.verdicts[node]:
        gates.verdicts[node] = verdict
    if not gates.guarded[node]:
        _launch(core, scope, gates, node)


def _launch(core: Core, scope: Scope, gates: Gates, node: int) -> None:
    """Starts, skips or fails a node whose guard lets it pass, if that is known by now."""
    verdict = gates.verdicts[node]
    if verdict == FAIL:
        finish(core, scope, node, UPSTREAM_FAILED)
    elif not gates.pending[node]:
        if verdict == RUN:
            core.agenda.append((START, scope, node, 0))
        else:
            finish(core, scope, node, SKIPPED)


def _open_guard(core: Core, scope: Scope, gates: Gates, branch: int, node: int, arm: int) -> None:
    state = scope.states[branch]
    if state == SUCCESS:
        if scope.arms.get(branch) == arm:
            gates.guarded[node] = 0
            _launch(core, scope, gates, node)
        else:
            finish(core, scope, node, SKIPPED)
    elif state in (SKIPPED, REMOVED):
        finish(core, scope, node, state)
    else:
        finish(core, scope, node, UPSTREAM_FAILED)


def chosen_source(scope: Scope, merge: MergeNode) -> int | None:
    """The source of the arm that was taken, if the branch succeeded; None if the arm has none."""
    arm = scope.arms[merge.branch]
    return merge.sources[arm] if 0 <= arm < len(merge.sources) else merge.otherwise


def _is_known(scope: Scope, node: int) -> bool:
    """The outcome of a merge is known: that of its branch if it is no success, else that of the source taken."""
    merge = scope.graph.nodes[node]
    assert isinstance(merge, MergeNode)
    branch = scope.states[merge.branch]
    if branch != SUCCESS:
        return branch > SUCCESS
    source = chosen_source(scope, merge)
    return source is None or scope.states[source] >= SUCCESS


def expand_items(core: Core, scope: Scope, node: int, total: int) -> None:
    """The number of items of an `each` is known: rules that look at items wait for so many ends instead of one."""
    for gate in scope.graph.item_gates[node]:
        _gates(scope).counts[gate * COUNTS + 4] += total - 1


def count_items(core: Core, scope: Scope, node: int, state: int, count: int) -> None:
    """So many items of an `each` ended in a state. What a join removed is left out."""
    for gate in scope.graph.item_gates[node]:
        gates, at = _gates(scope), gate * COUNTS
        gates.counts[at + 4] -= count
        if state != REMOVED:
            gates.counts[at + CLASS[state]] += count
        if scope.states[scope.graph.gate_node[gate]] == WAITING:
            _check(core, scope, gates, gate)
