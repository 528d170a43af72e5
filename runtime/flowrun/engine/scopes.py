"""Scopes: instances of a block, and how the end of a node opens what waits for it."""

from __future__ import annotations

from collections.abc import Sequence

from flowc.plan import MergeNode

from .core import CLOSE, PROPAGATE, START, Core, finish
from .graph import DATA, OPTIONAL, Graph, Opening
from .rules import FAIL, RUN, WAIT
from .state import (
    CLASS,
    ITEM,
    NULL,
    REMOVED,
    SKIPPED,
    SUCCESS,
    UPSTREAM_FAILED,
    WAITING,
    FlowState,
    Run,
    Scope,
    entered,
)

__all__ = [
    "Given", "chosen_source", "close_scope", "count_items", "expand_items", "index_of", "open_scope", "propagate",
]  # fmt: skip

#: numbers per gate in Scope.counts
_WIDTH = 5
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
    flow: FlowState | None = None,
) -> Scope:
    """An instance of a block with these parameters; its first nodes go on the agenda."""
    opening = (graph.closed or _closed(graph)) if None in given else (graph.opened or _opened(graph))
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
        opening.pending[:],
        opening.verdicts[:],
        opening.guarded[:],
        opening.counts[:],
        opening.decided[:],
    )
    if flow is not None:
        scope.flow = flow
    if None in given:
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


def _closed(graph: Graph) -> Opening:
    """How a scope begins, before anything follows from its parameters."""
    nodes, size, params = graph.nodes, graph.size, graph.params
    graph.closed = Opening(
        states=bytearray([SUCCESS] * params + [WAITING] * (size - params)),
        values=(None,) * (size - params),
        pending=graph.pending,
        verdicts=bytearray(size),
        guarded=bytearray(node.guard is not None for node in nodes),
        counts=[number for total in graph.gate_total for number in (0, 0, 0, 0, total)],
        decided=bytearray(len(graph.gate_node)),
        propagate=tuple(i for i in range(params) if graph.awaited[i]),
        start=tuple(i for i in range(params, size) if not graph.pending[i] and nodes[i].guard is None),
    )
    return graph.closed


def _opened(graph: Graph) -> Opening:
    """How a scope begins whose parameters all have values: what follows from these is worked out once per graph, on a
    scope of no run, unless it is more than gates that open."""
    graph.opened = graph.closed or _closed(graph)
    core = Core()
    scope = open_scope(core, Run("", b"", None, "", 0, 0), graph, ITEM, [NULL] * graph.params)
    before = scope.states[:]
    while core.agenda and core.agenda[0][0] == PROPAGATE:
        propagate(core, scope, core.agenda.popleft()[2])
    if scope.states == before and not scope.joined and all(kind != PROPAGATE for kind, *_ in core.agenda):
        graph.opened = graph.opened._replace(
            pending=scope.pending, verdicts=scope.verdicts, guarded=scope.guarded, counts=scope.counts,
            decided=scope.decided, propagate=(), start=tuple(node for kind, _, node, _ in core.agenda if kind == START),
        )  # fmt: skip
    return graph.opened


def index_of(scope: Scope) -> int | tuple[int, ...] | None:
    """The positions of a scope in the `each`es around it, the outermost first; None outside, a number in one."""
    found: list[int] = []
    while scope.parent >= 0:
        if scope.kind == ITEM:
            found.insert(0, scope.index)
        scope = scope.run.scopes[scope.parent]
    return tuple(found) if len(found) > 1 else found[0] if found else None


def close_scope(scope: Scope) -> None:
    """Forgets a scope that has ended."""
    scope.run.scopes.pop(scope.id, None)


def propagate(core: Core, scope: Scope, node: int) -> None:
    """A node ended: counts it at the gates of those who wait for it, and opens what can be opened."""
    graph, states = scope.graph, scope.states
    state = states[node]
    for gate, how in graph.edges[node]:
        if states[graph.gate_node[gate]] == WAITING:
            _count_end(core, scope, gate, how, state)
    if graph.edges_only[node]:
        return
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
            _count_end(core, scope, gate, 0, state)
    for consumer, arm in graph.arms[node]:
        if states[consumer] == WAITING:
            _open_guard(core, scope, node, consumer, arm)
    for merge in graph.merges[node]:
        if states[merge] == WAITING and _is_known(scope, merge):
            _decide(core, scope, graph.own_gate[merge], RUN)


def _count_end(core: Core, scope: Scope, gate: int, how: int, state: int) -> None:
    counts, at = scope.counts, gate * _WIDTH
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
    _check(core, scope, gate)


def _check(core: Core, scope: Scope, gate: int) -> None:
    """Asks the gate's rule for its verdict over the counts."""
    if scope.decided[gate]:
        return
    graph = scope.graph
    at = gate * _WIDTH
    s, f, k, u, still_open = scope.counts[at : at + _WIDTH]
    some = s or f or k or u or still_open
    verdict = graph.gate_rule[gate](s, f, k, u, still_open, graph.gate_n[gate]) if some else RUN
    if verdict != WAIT:
        _decide(core, scope, gate, verdict)


def _decide(core: Core, scope: Scope, gate: int, verdict: int) -> None:
    """A gate gave its verdict; the last one, or a failed one, decides what becomes of the node."""
    if scope.decided[gate]:
        return
    scope.decided[gate] = 1
    node = scope.graph.gate_node[gate]
    scope.pending[node] -= 1
    if verdict > scope.verdicts[node]:
        scope.verdicts[node] = verdict
    if not scope.guarded[node]:
        _launch(core, scope, node)


def _launch(core: Core, scope: Scope, node: int) -> None:
    """Starts, skips or fails a node whose guard lets it pass, if that is known by now."""
    verdict = scope.verdicts[node]
    if verdict == FAIL:
        finish(core, scope, node, UPSTREAM_FAILED)
    elif not scope.pending[node]:
        if verdict == RUN:
            core.agenda.append((START, scope, node, 0))
        else:
            finish(core, scope, node, SKIPPED)


def _open_guard(core: Core, scope: Scope, branch: int, node: int, arm: int) -> None:
    state = scope.states[branch]
    if state == SUCCESS:
        if scope.arms.get(branch) == arm:
            scope.guarded[node] = 0
            _launch(core, scope, node)
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
        scope.counts[gate * _WIDTH + 4] += total - 1


def count_items(core: Core, scope: Scope, node: int, state: int, count: int) -> None:
    """So many items of an `each` ended in a state. What a join removed is left out."""
    for gate in scope.graph.item_gates[node]:
        at = gate * _WIDTH
        scope.counts[at + 4] -= count
        if state != REMOVED:
            scope.counts[at + CLASS[state]] += count
        if scope.states[scope.graph.gate_node[gate]] == WAITING:
            _check(core, scope, gate)
