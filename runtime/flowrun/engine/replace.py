"""Tasks that a canvas replaces, and members that are added to a group: how the canvas begins.

A task may end with a plan instead of a value (see `worker.replacing`). The plan is opened as the body of an inner flow,
as that of a child run is; its end is the end of the node, or of the item, that the task was an attempt of (`replaced`).
So the canvas has the node's place in the graph, in its group and in what handles its failure; it is cancelled, packed
and shown as a child run is. The node has no more attempts, and gives back its permits; its deadline holds on.

What is added to a group is a canvas as well, with the value of the task beside it: the list that it gives goes into the
group's list, right behind that value. A task belongs to a group if it is the item of an `each`, or a part of the list
that a group is, or if it gives the value of a canvas that does.
"""

from __future__ import annotations

import msgspec
from flowc.plan import EachNode, Expr, TaskNode
from flowc.types import JSON, Type

from flowrun import values, wire
from flowrun.messages import Failure, Replacement

from .core import Core, inputs_of, note, store
from .evaluate import ExpressionError, compose
from .flows import ArgumentError, open_flow, parameters
from .graph import Tables
from .state import FLOW, ITEM, NULL, RUNNING, SUCCESS, FlowState, Scope, attempt_of, entered

__all__ = ["MAX_DEPTH", "added_to", "bring_in", "checked", "spliced"]

#: canvases that replaced a task of a canvas that replaced a task …
MAX_DEPTH = 100


_decoder = msgspec.msgpack.Decoder(Replacement)


# ---- the begin ------------------------------------------------------------------------------------------------------


def bring_in(core: Core, scope: Scope, node: int, data: bytes, item: int = -1) -> Failure | None:
    """Opens the canvas in place of a node, or of an item of a simple `each`. Why it cannot be opened, if so: then
    nothing was changed."""
    try:
        found = _decoder.decode(data)
    except msgspec.DecodeError as error:
        return _invalid(f"what the worker sent cannot be read ({error})")
    tables = core.tables.get(found.plan)
    if tables is None:
        return _invalid(f"its plan cannot be had: {core.refused.get(found.plan, 'it was not loaded')}")
    if found.own is not None and item < 0 and not added_to(scope, node):
        return _invalid("this task adds members to a group, and it is no member of one")
    if _depth(scope) >= MAX_DEPTH:
        message = f"a canvas replaced a task of a canvas {MAX_DEPTH} times, one inside the other: that is the most"
        return Failure(type="TooDeep", message=message, retryable=False)
    return _open(core, scope, node, found, tables, item)


def _invalid(why: str) -> Failure:
    return Failure(type="InvalidReplace", message=f"the canvas cannot be run: {why}", retryable=False)


def _open(core: Core, scope: Scope, node: int, found: Replacement, tables: Tables, item: int) -> Failure | None:
    run, graph = scope.run, tables.graph("", 0)
    try:
        given = parameters(core, run, graph, found.args)
    except (ArgumentError, ExpressionError) as error:
        return _invalid(str(error))
    name = scope.graph.nodes[node].name
    label = None if scope.label is None or not name or item >= 0 else f"{scope.label}{name}."
    opened = open_flow(core, run, graph, given, parent=scope.id, node=node, index=item, label=label)
    if found.own is not None:
        opened.flow = FlowState(own=found.own)
    if found.plan not in (run.plan, *run.plans):
        run.plans = (*run.plans, found.plan)
    if item >= 0:
        scope.fans[node].scopes[item] = opened.id
        scope.fans[node].states[item] = RUNNING
        return None
    attempt_of(scope, node).final = True
    scope.children = entered(scope.children, node, opened.id)
    scope.states[node] = RUNNING
    if node not in scope.began:
        scope.began = entered(scope.began, node, core.now)
    note(core, scope, node)
    return None


def _depth(scope: Scope) -> int:
    """How many canvases that replaced a task stand around a scope."""
    depth = 0
    while scope.parent >= 0:
        parent = scope.run.scopes[scope.parent]
        depth += _replaces(scope, parent)
        scope = parent
    return depth


def _replaces(scope: Scope, parent: Scope) -> bool:
    """The scope stands in place of a task of its parent."""
    return scope.kind == FLOW and isinstance(parent.graph.nodes[scope.node], TaskNode | EachNode)


# ---- the value ------------------------------------------------------------------------------------------------------


def checked(scope: Scope, node: int, value: bytes) -> bytes | Failure:
    """The value of a canvas, as the node that it replaced declares it; why not, if it is not of that type. What holds
    references is checked by those who read it."""
    graph = scope.graph
    task: object = graph.nodes[node]
    if isinstance(task, EachNode):
        task = graph.tables.body(graph, task)
    assert isinstance(task, TaskNode)
    if graph.plan.tasks[task.task].returns is None:
        return NULL
    kind: Type = graph.plan.types[task.type]
    if kind == JSON or wire.may_hold_blobs(value):
        return value
    try:
        return values.check(values.decode(value, kind, _no_blobs), kind)
    except (values.TypeMismatch, values.NotSerialisable) as error:
        message = f"the value of the canvas that replaced `{task.name}` does not have its type: {error}"
        return Failure(type="TypeMismatch", message=message, retryable=False)


def _no_blobs(digest: str) -> bytes:
    raise AssertionError(f"a value without references refers to {digest}")


# ---- groups ---------------------------------------------------------------------------------------------------------


def added_to(scope: Scope, node: int) -> bool:
    """The node is a member of a group, to which others may be added."""
    graph = scope.graph
    if node in graph.listed:
        return True
    if graph.result != node or scope.parent < 0:
        return False
    if scope.kind == ITEM:
        return True
    parent = scope.run.scopes[scope.parent]
    if not _replaces(scope, parent):
        return False
    return isinstance(parent.graph.nodes[scope.node], EachNode) or added_to(parent, scope.node)


def spliced(core: Core, scope: Scope, node: int, value: Expr) -> bytes | None:
    """The list of a group to which members were added; None if it is none."""
    inputs = scope.graph.nodes[node].inputs
    if value[0] != "list" or not any(given.node in scope.added for given in inputs):
        return None
    count, found = 0, inputs_of(scope, node)
    parts: list[bytes] = []
    for part in value[1:]:
        own = compose(part, found)
        if own is None:
            return None
        member = inputs[part[1]].node if part[0] == "in" else -1
        more, data = scope.added.get(member, (0, b"")) if scope.states[member] == SUCCESS else (0, b"")
        count += 1 + more
        parts += (own, data)
    return store(core, wire.concat(count, parts))
