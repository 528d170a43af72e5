"""Reruns: a run that takes over the ends of another run's steps, and runs the others.

What runs again: the steps that are named, and every step that did not end well and that nothing handled; then, until
nothing is added, whatever waits for the end of one that does (over data, rules, guards, merges, joins, handlers). A
tear-down that ran belongs to its set-up: where it runs again, its set-up does first, and so all after that. Where a
join runs again, so do the members that it had cancelled. All else is *kept*.

A rerun is a run like any other. It opens the body of the flow, writes the ends of what is kept into it, and counts them
where they are waited for; from there it goes on by the rules, which cannot tell that those steps did not run in it. The
parameters, `run` among them, are those of the earlier run, unless others are given: then what depends on them runs.

A step runs again as a whole. Only of an `each` that did not end well, and that nobody names, the items that ended are
kept, too: those that failed or were cancelled run again.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from flowc.plan import ChildNode, EachNode, JoinNode, MergeNode, Node, Plan, RepeatNode, TaskNode

from flowrun.messages import Again, AuditEntry

from . import fanout, ranges
from .core import CLOSE, Core, note, store
from .evaluate import compute_default
from .fan import count_kept, each_node, end_if_done
from .flows import ArgumentError, facts_of, open_flow
from .graph import Graph
from .image import Image, ImageError, unpack_image
from .run_variables import given as variables_of
from .scopes import expand_items, propagate
from .state import (
    BAD,
    CANCELLED,
    EXPIRED,
    FAILED,
    NULL,
    QUEUED,
    REMOVED,
    RUNNING,
    SKIPPED,
    SUCCESS,
    UPSTREAM_FAILED,
    WAITING,
    Attempt,
    Fan,
    Run,
    Scope,
    entered,
)

__all__ = ["KEPT", "AgainError", "changed_parameters", "open_again", "parameters", "select", "take"]

#: of a node: it keeps its end; it runs again because it failed; it runs again as a whole
KEPT, FAILED_ITEMS, WHOLE = 0, 1, 2
#: a tear-down in one of these did not run
_NOT_RUN = frozenset({WAITING, SKIPPED, UPSTREAM_FAILED, REMOVED})
#: how items become that are not kept: of an `each` whose failed items are no success, and of one where they are
_FAILED_AGAIN = bytes(state if state in (SUCCESS, SKIPPED) else WAITING for state in range(256))
_CANCELLED_AGAIN = bytes(state if state in (SUCCESS, SKIPPED, FAILED, EXPIRED) else WAITING for state in range(256))
#: state of a node that did not begin, and the states of those before it that it may not have begun because of
_CAUSES = {UPSTREAM_FAILED: BAD, CANCELLED: (CANCELLED,)}
_args_decoder = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])


class AgainError(Exception):
    """The run cannot be run again like this; the message says why."""


# ---- what runs again ------------------------------------------------------------------------------------------------


def select(graph: Graph, image: Image, again: Again, changed: Iterable[int] = ()) -> bytearray:
    """Per node of the body: KEPT, FAILED_ITEMS or WHOLE. `changed`: parameters that have another value. Raises
    AgainError for a step that is unknown, or if nothing of a run that succeeded would run. O(nodes)."""
    if len(image.states) != graph.size:
        raise AgainError(f"what is left of run {image.run} is of another plan")
    named = [node for name in again.steps for node in _find(graph, name)]
    chosen = bytearray((KEPT,)) * graph.size
    stack = [(node, WHOLE) for node in named]
    stack += [(node, WHOLE) for param in changed for node in _consumers(graph, param)]
    if again.whole:
        stack += [(node, WHOLE) for node in range(graph.params, graph.size)]
    stack += [(node, FAILED_ITEMS) for node in _causes(graph, image.states, _failed(graph, image))]
    _spread(graph, image, chosen, stack)
    if image.state == SUCCESS and not image.forked and not any(chosen[graph.params :]):
        raise AgainError(f"nothing of run {image.run} failed: name the steps that are to run again")
    return chosen


def _failed(graph: Graph, image: Image) -> Iterator[int]:
    """Nodes that did not end well and that nothing handled, and those that never ended. What was undone when the run
    failed is gone, too."""
    undone = graph.plan.compensates and image.state != SUCCESS
    for node in range(graph.params, graph.size):
        state = image.states[node]
        if (
            state == WAITING
            or (state in BAD and not _is_handled(graph, image.states, node))
            or (undone and state == SUCCESS and _is_undone(graph.nodes[node]))
        ):
            yield node


def _causes(graph: Graph, states: Sequence[int], failed: Iterable[int]) -> set[int]:
    """These, and what they did not begin because of, although something else handled it."""
    found: set[int] = set()
    stack = [*failed]
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            causes = _CAUSES.get(states[node], ())
            stack += [other for other in _upstream(graph.nodes[node]) if states[other] in causes] if causes else ()
    return found


def _is_undone(node: Node) -> bool:
    return (isinstance(node, TaskNode) and node.undo is not None) or isinstance(node, EachNode | RepeatNode | ChildNode)


def _is_handled(graph: Graph, states: Sequence[int], node: int) -> bool:
    handler = graph.nodes[node].handler
    while handler >= 0:
        if states[handler] == SUCCESS:
            return True
        handler = graph.nodes[handler].handler
    return handler == -2


def _spread(graph: Graph, image: Image, chosen: bytearray, stack: list[tuple[int, int]]) -> None:
    """Adds to `chosen` what is on the stack, and what follows from it."""
    removed = _removed(graph, image)
    while stack:
        node, how = stack.pop()
        is_new, chosen[node] = not chosen[node], max(chosen[node], how)
        if is_new:
            stack += [(other, WHOLE) for other in _consumers(graph, node)]
            stack += [(other, WHOLE) for other in _setups(graph, image, node)]
            stack += [(other, WHOLE) for other in removed.get(node, ())]


def _consumers(graph: Graph, node: int) -> Iterator[int]:
    """Those that wait for its end."""
    for gate, _ in graph.edges[node]:
        yield graph.gate_node[gate]
    for gate in graph.item_gates[node]:
        yield graph.gate_node[gate]
    for consumer, _ in graph.arms[node]:
        yield consumer
    yield from graph.merges[node]
    yield from graph.joins[node]


def _setups(graph: Graph, image: Image, node: int) -> Iterator[int]:
    """Of a tear-down that ran: the steps of its set-up."""
    if image.states[node] in _NOT_RUN:
        return
    for trigger in graph.nodes[node].after:
        if trigger.rule == "teardown":
            inside, found = set(trigger.nodes), [*trigger.setups]
            while found:
                setup = found.pop()
                yield setup
                found += [other for other in _upstream(graph.nodes[setup]) if other in inside and other < setup]


def _upstream(node: Node) -> Iterator[int]:
    """The nodes that a value is made of."""
    yield from (given.node for given in node.inputs)
    yield from (other for trigger in node.after for other in trigger.nodes)
    if node.guard is not None:
        yield node.guard[0]
    if isinstance(node, JoinNode):
        yield from node.members
    elif isinstance(node, MergeNode):
        yield node.branch
        yield from (source for source in (*node.sources, node.otherwise) if source is not None)


def _removed(graph: Graph, image: Image) -> Mapping[int, Sequence[int]]:
    """Join -> the nodes that it may have cancelled."""
    found: dict[int, list[int]] = {}
    node = image.states.find(REMOVED)
    while node >= 0:
        joins = {*graph.joins[node]}
        handler = graph.nodes[node].handler
        while handler >= 0:
            joins.add(handler)
            handler = graph.nodes[handler].handler
        for join in joins:
            found.setdefault(join, []).append(node)
        node = image.states.find(REMOVED, node + 1)
    return found


# ---- names ----------------------------------------------------------------------------------------------------------


def _find(graph: Graph, name: str) -> list[int]:
    """The nodes of a step or a box; of a step inside another one ("call.step", a step of an `each`) that one. Raises
    AgainError."""
    steps = range(graph.params, graph.size)
    found = [i for i in steps if graph.nodes[i].name and (graph.nodes[i].name == name or name in graph.nodes[i].box)]
    found = found or [i for i in steps if name in _inner(graph, graph.nodes[i])]
    if found:
        return found
    known = [node.name for node in graph.nodes[graph.params :] if node.name]
    close = difflib.get_close_matches(name, known, 1)
    hint = f": did you mean `{close[0]}`?" if close else f": it has {', '.join(known[:20])}" if known else ""
    if _is_of_handler(graph, name):
        hint = ": it belongs to a handler, and handlers run again in any case when the flow has ended"
    raise AgainError(f"flow `{graph.plan.flow}` has no step or group `{name}`{hint}")


def _inner(graph: Graph, node: Node) -> set[str]:
    """The names of the steps inside a node, as records have them."""
    if isinstance(node, ChildNode):
        return _names_of_call(graph.plan, node) if node.name else set()
    if isinstance(node, EachNode | RepeatNode):
        return _names_in(graph.plan, node.body)
    return set()


def _names_in(plan: Plan, block: int) -> set[str]:
    found: set[str] = set()
    for node in plan.blocks[block].nodes:
        found.add(node.name)
        if isinstance(node, EachNode | RepeatNode):
            found |= _names_in(plan, node.body)
        elif isinstance(node, ChildNode):
            found |= _names_of_call(plan, node)
    return found - {""}


def _names_of_call(plan: Plan, node: ChildNode) -> set[str]:
    """Of a call, one level deep: further down its steps are as many as its callers."""
    child = plan.children.get(node.flow)
    names = {inner.name for block in child.blocks for inner in block.nodes if inner.name} if child else set()
    return {f"{node.name}.{name}" for name in names}


def _is_of_handler(graph: Graph, name: str) -> bool:
    return any(name in _names_in(graph.plan, handler.block) for handler in graph.plan.handlers)


# ---- the start of a rerun -------------------------------------------------------------------------------------------


def take(core: Core, run: Run, again: Again) -> None:
    """The run is a rerun: it holds the image until it begins."""
    run.again, run.image = again, core.images.pop(again.image, b"")
    run.audit = (AuditEntry(core.now, "rerun", "", again.by, again.note),)


def parameters(core: Core, run: Run) -> list[bytes]:
    """The values of its flow's parameters: those that are given, else those of the earlier run. Raises AgainError,
    ArgumentError, and ExpressionError from a default."""
    graph, image = run.graph("", 0), _image(run)
    given = _args_decoder.decode(run.args)
    before = image.values
    found = [before[0] if before and before[0] not in (None, NULL) else facts_of(run, graph)]
    for place, param in enumerate(graph.plan.params, 1):
        value = before[place] if place < len(before) and image.states[place] == SUCCESS else None
        if param.name in given:
            found.append(store(core, bytes(given[param.name])))
        elif value is not None:
            found.append(value)
        elif param.default is not None:
            found.append(store(core, compute_default(graph.plan, param.default, [given or NULL for given in found])))
        elif param.required:
            raise ArgumentError(f"flow `{graph.plan.flow}` needs a value for its parameter `{param.name}`")
        else:
            found.append(NULL)
    found += variables_of(core, run, graph.plan)
    return [value or NULL for value in found]


def changed_parameters(graph: Graph, image: Image, given: Sequence[bytes]) -> list[int]:
    """The parameters whose value is not that of the earlier run."""
    before = image.values
    return [i for i in range(1, graph.params) if i >= len(before) or (before[i] or NULL) != given[i]]


def open_again(core: Core, run: Run, given: Sequence[bytes]) -> Scope:
    """The body of a rerun. Raises AgainError."""
    assert run.again is not None
    graph, image = run.graph("", 0), _image(run)
    chosen = select(graph, image, run.again, changed_parameters(graph, image, given))
    scope = open_flow(core, run, graph, given)
    kept = [node for node in range(graph.params, graph.size) if not chosen[node]]
    for node in kept:
        _keep(scope, node, image)
    scope.open -= len(kept)
    for node in kept:
        if node in scope.fans and graph.item_gates[node]:
            expand_items(core, scope, node, scope.fans[node].total)
            count_kept(core, scope, node)
        if graph.awaited[node]:
            propagate(core, scope, node)
    for join, members in image.joined.items():
        if join in scope.joined:
            scope.joined[join] = [member for member in members if not chosen[member]]
    for node, fan in image.fans.items():
        if chosen[node] == FAILED_ITEMS:
            _reopen(core, scope, node, fan, image)
    if not scope.open:
        core.agenda.append((CLOSE, scope, 0, 0))
    return scope


def _image(run: Run) -> Image:
    assert run.again is not None
    if not run.image:
        raise AgainError(f"what is left of run {run.again.run} cannot be had any more")
    try:
        return unpack_image(run.image)
    except ImageError as error:
        raise AgainError(f"what is left of run {run.again.run} cannot be used: {error}") from error


def _keep(scope: Scope, node: int, image: Image) -> None:
    """The node has ended as it did then."""
    scope.states[node], scope.values[node] = image.states[node], image.values[node]
    attempt = image.attempts.get(node) or Attempt()
    attempt.spared = True
    scope.attempts = entered(scope.attempts, node, attempt)
    if node in image.arms:
        scope.arms = entered(scope.arms, node, image.arms[node])
    if node in image.errors:
        scope.errors = entered(scope.errors, node, image.errors[node])
    if node in image.rows:
        scope.rows = entered(scope.rows, node, image.rows[node])
    if node in image.added:
        scope.added = entered(scope.added, node, image.added[node])
    if node in image.fans:
        fan = image.fans[node]
        fan.kept = bytes(fan.states)
        scope.fans = entered(scope.fans, node, fan)
    if image.seconds is not None:
        if scope.seconds is None:
            scope.seconds = bytearray(len(image.seconds))
            scope.seconds[:] = _UNKNOWN_SECONDS * (len(image.seconds) // 4)
        scope.seconds[4 * node : 4 * node + 4] = image.seconds[4 * node : 4 * node + 4]


#: float32 NaN, little-endian
_UNKNOWN_SECONDS = b"\x00\x00\xc0\x7f"


# ---- items ----------------------------------------------------------------------------------------------------------


def _reopen(core: Core, scope: Scope, node: int, fan: Fan, image: Image) -> None:
    """An `each` goes on with the items that did not end well, if the values of the others are known."""
    each = each_node(scope, node)
    table = _CANCELLED_AGAIN if each.on_error in ("collect", "skip") else _FAILED_AGAIN
    states = fan.states.translate(table)
    fan.results = fan.results.only(states)
    in_results = states.count(SUCCESS) + (states.count(FAILED) + states.count(EXPIRED)) * (each.on_error == "collect")
    if each.collects and fan.results.gather()[0] != in_results:
        return  # the values are gone
    _rewind(fan, states)
    scope.states[node], scope.values[node] = RUNNING, image.values[node]
    scope.began = entered(scope.began, node, core.now)
    scope.fans = entered(scope.fans, node, fan)
    expand_items(core, scope, node, fan.total)
    count_kept(core, scope, node)
    if each.simple:
        ranges.arm_expiry(core, scope, node)
    note(core, scope, node)
    end_if_done(core, scope, node)
    fanout.pump(core, scope, node)


def _rewind(fan: Fan, states: bytearray) -> None:
    """The items have these states; those that wait are to be started: the ones between others as `again`, the rest
    by the cursor."""
    fan.kept = bytes(states)
    fan.cursor = len(fan.kept.rstrip(bytes((WAITING,))))
    fan.again, at = [], fan.kept.find(WAITING, 0, fan.cursor)
    while at >= 0:
        fan.again.append(at)
        states[at] = QUEUED
        at = fan.kept.find(WAITING, at + 1, fan.cursor)
    fan.states = states
    fan.ended = fan.total - fan.kept.count(WAITING)
    fan.succeeded, fan.failed = states.count(SUCCESS), states.count(FAILED) + states.count(EXPIRED)
    fan.live, fan.first_failed, fan.counted, fan.cancelled, fan.took = 0, -1, 0, 0, None
    for table in (fan.failures, fan.attempts, fan.uncounted, fan.rows):
        for index in [index for index in table if fan.kept[index] == WAITING]:
            del table[index]
    fan.alone, fan.waits, fan.deadlines, fan.returned, fan.scopes = set(), {}, [], {}, {}
