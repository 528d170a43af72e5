"""Hands the free slots of a pool to those who wait for them."""

from __future__ import annotations

from flowc.plan import EachNode

from . import ranges, tasks
from .core import Core
from .graph import settings_of
from .state import QUEUED, Scope

__all__ = ["give_back", "serve"]


def serve(core: Core, name: str) -> None:
    """Grants in the queue's order, until the first does not fit."""
    while (entry := core.pools.first(name)) is not None:
        scope, node = core.find_scope(entry.run, entry.scope), entry.node
        if scope is None:
            core.pools.drop_first(name)
            continue
        if isinstance(scope.graph.nodes[node], EachNode):
            done = _serve_items(core, name, scope, node)
        else:
            done = _serve_node(core, name, scope, node)
        if not done:
            return


def _serve_node(core: Core, name: str, scope: Scope, node: int) -> bool:
    """False: it must wait."""
    settings = settings_of(scope.graph.plan, scope.graph.nodes[node])
    waits = scope.states[node] == QUEUED
    if waits and core.pools.weight(name, settings.slots) > core.pools.free(name):
        return False
    core.pools.drop_first(name)
    if waits:
        tasks.grant(core, scope, node, settings)
    return True


def _serve_items(core: Core, name: str, scope: Scope, node: int) -> bool:
    """Grants as many items as there are slots for. False: some must wait."""
    wanted = ranges.wanted(scope, node)
    weight = core.pools.weight(name, ranges.item_settings(scope, node).slots)
    granted = min(wanted, core.pools.free(name) // weight)
    if granted == wanted:
        core.pools.drop_first(name)
        ranges.leave_queue(scope, node)
    if granted:
        ranges.grant(core, scope, node, granted)
    return granted == wanted


def give_back(core: Core, scope: Scope, node: int) -> None:
    """Whatever a node holds is free again; those who wait get it with the next grant."""
    holder = scope.fans.get(node) or scope.attempts.get(node)
    if holder is None or not holder.held:
        return
    if node in scope.fans:
        pool = ranges.item_settings(scope, node).pool
    else:
        pool = settings_of(scope.graph.plan, scope.graph.nodes[node]).pool
    assert pool is not None
    core.pools.give_back(scope.graph.plan.pools[pool].name, holder.held)
    holder.held = 0
