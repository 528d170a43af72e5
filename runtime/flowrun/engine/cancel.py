"""Cancels nodes and scopes. Tear-downs are spared: they run when what they wait for has ended."""

from __future__ import annotations

from collections.abc import Sequence

from flowc.plan import JoinNode, MergeNode, Node, OutcomeNode

from . import items, ranges, tasks, waits
from .core import CANCEL, Core, finish
from .fan import each_node, end_if_done
from .flows import cancel_flow
from .pauses import is_sla_handler
from .state import CANCELLED, SUCCESS, Scope, attempt_of

__all__ = ["cancel_named", "cancel_node", "cancel_scope", "work_of"]


def cancel_named(core: Core, scope: Scope, name: str) -> str:
    """Cancels the steps of a body that have this name, or stand in a box of this name; "call.step" is a step of a
    child run. Gives why nothing was cancelled; "" if something was."""
    graph = scope.graph
    named = [i for i in range(graph.params, graph.size) if _has_name(graph.nodes[i], name)]
    found = [part for i in named for part in (work_of(scope, i) if graph.nodes[i].name == name else (i,))]
    live = [i for i in found if scope.states[i] < SUCCESS and (graph.nodes[i].name == name or i not in graph.teardowns)]
    for node in live:
        core.agenda.append((CANCEL, scope, node, CANCELLED))
    if found:
        return "" if live else "it has ended"
    for node, child in scope.children.items():
        call = graph.nodes[node].name + "."
        if name.startswith(call):
            return cancel_named(core, scope.run.scopes[child], name.removeprefix(call))
    return "no step or box outside of loops has this name, or it is in a child run that does not run"


def work_of(scope: Scope, node: int) -> Sequence[int]:
    """The nodes that end with a name. Where it stands for an expression and its `catch`, they are those of the
    expression, for as long as one of them has not ended. (Cancelled, they count as failed, and `catch` sees that.) With
    a `join` end its members."""
    graph = scope.graph
    named = graph.nodes[node]
    if isinstance(named, JoinNode):
        return (node, *graph.join_parts[node])
    branch = graph.nodes[named.branch] if isinstance(named, MergeNode) else None
    if isinstance(branch, OutcomeNode) and any(scope.states[watched] < SUCCESS for watched in branch.watched):
        return branch.watched
    return (node,)


def _has_name(node: Node, name: str) -> bool:
    return bool(node.name) and (node.name == name or name in node.box)


def cancel_scope(core: Core, scope: Scope, state: int) -> None:
    """Ends every node that has not ended, and whatever it runs. `state` is CANCELLED or REMOVED."""
    if scope.cancelled or not scope.open:
        return
    for aside in scope.asides:
        if not is_sla_handler(scope.run.scopes[aside]):  # what is told of a miss ends by itself
            core.agenda.append((CANCEL, scope.run.scopes[aside], -1, state))
    if scope.open == len(scope.asides):
        return  # its nodes have ended, and that stays
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
    elif node in scope.waits:
        waits.withdraw(core, scope, node, state)
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
