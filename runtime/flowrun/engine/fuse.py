"""Fusion: a task's followers travel with it, and the worker that ends the one goes straight on to the next.

What may follow what is known from the plan (`links`). When a task is dispatched, its followers go with it, as far as
all else that they wait for has ended well. From then on they are *out*: when their turn comes they are granted like
any other, only without being dispatched. Each has an outcome of its own. The first that is no success ends the ride:
those behind it were not run, are not out any more, and are dispatched anew when it is their turn again. So fusion is
seen by nobody but the worker.

If it cannot be known whether a follower was run (its worker died, its predecessor was withdrawn or its result came
before its predecessor's), then its next attempt is its second one, so that a result of the first comes to nothing.
"""

from __future__ import annotations

from flowrun.messages import Then

from .rules import RUN
from .state import NULL, SKIPPED, SUCCESS, WAITING, Scope

__all__ = ["MAX_FUSED", "detach", "followers", "fuse", "is_out", "may_have_run"]

#: most tasks of a fused chain
MAX_FUSED = 100
#: most bytes of their inputs
_MAX_BYTES = 64 * 1024
#: a follower is at a worker; it was, and may have been run there
_OUT, _UNSURE = 1, 2


def fuse(scope: Scope, head: int, most: int) -> tuple[Then, ...]:
    """The followers that go with a task that is dispatched now, `most` tasks in all; they are out from now on."""
    node = scope.graph.next[head]
    if node < 0 or most < 2 or scope.cancelled or not _may_go(scope, node, {head}):
        return ()
    places = {head}
    size = 0
    while node >= 0 and len(places) < most and _may_go(scope, node, places):
        size += sum(len(scope.values[given.node] or NULL) for given in scope.graph.nodes[node].inputs)
        if size > _MAX_BYTES:
            break
        if scope.out is None:
            scope.out = bytearray(scope.graph.size)
        scope.out[node] = _OUT
        places.add(node)
        node = scope.graph.next[node]
    return followers(scope, head)


def _may_go(scope: Scope, node: int, places: set[int]) -> bool:
    """All that a task waits for is its data, and all of that has ended well but for what is in the chain."""
    gates = scope.gates or scope.graph.opened.gates
    if scope.states[node] != WAITING or gates.guarded[node] or gates.pending[node] != 1:
        return False
    if gates.verdicts[node] != RUN or (scope.out is not None and scope.out[node]):
        return False
    states = scope.states
    for given in scope.graph.nodes[node].inputs:
        state = states[given.node]
        if given.node not in places and state != SUCCESS and not (given.optional and state == SKIPPED):
            return False
    return True


def followers(scope: Scope, head: int) -> tuple[Then, ...]:
    """The tasks that are out behind this one."""
    out, graph = scope.out, scope.graph
    node = graph.next[head]
    if out is None or node < 0 or out[node] != _OUT:
        return ()
    places = {head: 0}
    found: list[Then] = []
    while node >= 0 and out[node] == _OUT:
        inputs = (_input(scope, given.node, places) for given in graph.nodes[node].inputs)
        found.append(Then(node, tuple(inputs)))
        places[node] = len(found)
        node = graph.next[node]
    return tuple(found)


def _input(scope: Scope, node: int, places: dict[int, int]) -> bytes | int:
    place = places.get(node)
    if place is not None:
        return place
    return (scope.values[node] or NULL) if scope.states[node] == SUCCESS else NULL


def is_out(scope: Scope, node: int) -> bool:
    """The node is at a worker, behind its predecessor."""
    return scope.out is not None and scope.out[node] == _OUT


def may_have_run(scope: Scope, node: int) -> bool:
    """The node was at a worker before it was its turn, and it is not known what became of it."""
    return scope.out is not None and scope.out[node] == _UNSURE


def detach(scope: Scope, node: int, *, unsure: bool, itself: bool = False) -> None:
    """Those behind a node (and it `itself`) are not out any more. `unsure`: they may have been run."""
    out = scope.out
    if out is None:
        return
    if itself and out[node] == _OUT:
        out[node] = _UNSURE if unsure and scope.states[node] == WAITING else 0
    node = scope.graph.next[node]
    while node >= 0 and out[node] == _OUT:
        out[node] = _UNSURE if unsure and scope.states[node] == WAITING else 0
        node = scope.graph.next[node]
