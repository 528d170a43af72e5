"""How the scopes of a block begin: the conditions of its nodes before any of them has ended.

Nearly always all parameters have values. What follows from that is the same in every such scope, so it is worked out
once per block: gates over parameters only have opened, and their nodes may start. A scope has no table of its own
before another node ends that somebody waits for; a run of one task never has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from .node_states import SUCCESS, WAITING
from .rules import RUN, WAIT

if TYPE_CHECKING:
    from .graph import Graph

__all__ = ["COUNTS", "Gates", "Opening", "closed", "opened"]

#: numbers per gate in Gates.counts
COUNTS = 5


class Gates(msgspec.Struct, array_like=True):
    """The conditions of a scope's nodes."""

    #: per node: how many are not yet known
    pending: list[int]
    #: per node: the worst verdict so far
    verdicts: bytearray
    #: per node: its guard is not yet known
    guarded: bytearray
    #: per gate: successes, failed, skipped, upstream_failed, and how many have not ended
    counts: list[int]
    #: per gate: it gave its verdict
    decided: bytearray

    def copy(self) -> Gates:
        return Gates(self.pending[:], self.verdicts[:], self.guarded[:], self.counts[:], self.decided[:])


class Opening(NamedTuple):
    """What a new scope begins with."""

    #: of the nodes: the parameters have succeeded
    states: bytearray
    #: of the nodes behind the parameters
    values: tuple[None, ...]
    gates: Gates
    #: parameters whose end is still to be counted by who waits for them
    propagate: tuple[int, ...]
    #: nodes that may start
    start: tuple[int, ...]


def closed(graph: Graph) -> Opening:
    """Nothing has followed from the parameters yet."""
    nodes, size, params = graph.nodes, graph.size, graph.params
    gates = Gates(
        pending=graph.pending,
        verdicts=bytearray(size),
        guarded=bytearray(node.guard is not None for node in nodes),
        counts=[number for total in graph.gate_total for number in (0, 0, 0, 0, total)],
        decided=bytearray(len(graph.gate_node)),
    )
    return Opening(
        states=bytearray([SUCCESS] * params + [WAITING] * (size - params)),
        values=(None,) * (size - params),
        gates=gates,
        propagate=tuple(i for i in range(params) if graph.awaited[i]),
        start=tuple(i for i in range(params, size) if not graph.pending[i] and not gates.guarded[i]),
    )


def opened(graph: Graph, before: Opening) -> Opening:
    """All parameters have values; `before` is the block's `closed`. As `scopes.propagate` would do it, unless that
    did more than open gates."""
    gates, start = before.gates.copy(), [*before.start]
    counts = gates.counts
    for param in before.propagate:
        if not graph.edges_only[param]:
            return before
        for gate, _ in graph.edges[param]:
            at = gate * COUNTS
            counts[at] += 1
            counts[at + 4] -= 1
            s, f, k, u, still_open = counts[at : at + COUNTS]
            verdict = graph.gate_rule[gate](s, f, k, u, still_open, graph.gate_n[gate])
            if verdict not in (RUN, WAIT):
                return before
            if verdict == RUN and not gates.decided[gate]:
                node = graph.gate_node[gate]
                gates.decided[gate] = 1
                gates.pending[node] -= 1
                if not gates.pending[node] and not gates.guarded[node]:
                    start.append(node)
    return before._replace(gates=gates, propagate=(), start=tuple(start))
