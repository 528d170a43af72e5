"""Which task may follow another one at the same worker, as far as the plan tells: `next` of a node, or -1.

A task and the one that takes its value are fused if nothing else can be told apart by that: both need the same kind
of worker and environment, no permits, no time of their own; and whatever else waits for the first one waits for its
followers too, so that nobody starts later because results of a fused chain come together. Whether they are fused at
a dispatch depends on what has ended by then: see `fuse`.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowc.plan import Node, StepSettings, TaskNode

__all__ = ["links"]

#: most links that are followed to see whether someone waits for a chain
_FAR = 100


def links(
    nodes: Sequence[Node],
    settings: Sequence[StepSettings],
    lanes: Sequence[str],
    waiting: Sequence[Sequence[int]],
    upstreams: Sequence[set[int]],
    consumers: Sequence[int],
    patient: Sequence[bool],
) -> list[int]:
    """The follower of each node. `waiting`: node -> gates that count its end, or every reason why it has none (-1).
    Per gate: `upstreams` that it counts, `consumers` the node that it belongs to, `patient`: one success never decides
    it while others are open."""
    found = [-1] * len(nodes)

    def waits_for_chain(gate: int, node: int) -> bool:
        for _ in range(_FAR):
            if node < 0 or node in upstreams[gate]:
                break
            node = found[node]
        return patient[gate] and node in upstreams[gate]

    for i in range(len(nodes) - 1, -1, -1):
        if not _is_free(nodes[i], settings[i]) or not waiting[i] or -1 in waiting[i]:
            continue
        first = min(waiting[i], key=consumers.__getitem__)
        follower = consumers[first]
        if not _may_follow(nodes, settings, lanes, i, follower) or any(
            gate != first and (consumers[gate] == follower or not waits_for_chain(gate, follower))
            for gate in waiting[i]
        ):
            continue
        found[i] = follower
    return found


def _may_follow(
    nodes: Sequence[Node], settings: Sequence[StepSettings], lanes: Sequence[str], i: int, follower: int
) -> bool:
    return (
        _is_free(nodes[follower], settings[follower])
        and any(given.node == i for given in nodes[follower].inputs)
        and lanes[follower] == lanes[i]
        and settings[follower].env == settings[i].env
        and settings[follower].delay_ms is None
        and settings[follower].at_ms is None
        and not any(trigger.rule in ("teardown", "not_yet") for trigger in nodes[follower].after)
    )


def _is_free(node: Node, settings: StepSettings) -> bool:
    """A task that needs no permit, and of which it is always known whether it may have begun."""
    return (
        isinstance(node, TaskNode)
        and settings.pool is None
        and settings.limit is None
        and settings.concurrency is None
        and not settings.at_most_once
        and settings.batch is None
        and settings.sla is None
    )
