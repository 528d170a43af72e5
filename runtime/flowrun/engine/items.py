"""An `each` whose body is more than one call: every item is a scope of its own.

Scopes are opened in order as others close, so that no more than `concurrency`, or _WINDOW of them, live at a time.
Of a scope that closed stay its value and the packed records of its steps. Items of a source that was stored are
references to parts of it: whoever needs an item's value, a worker, reads it there.
"""

from __future__ import annotations

from flowrun import wire
from flowrun.messages import Failure
from flowrun.sequences import Source, of_bytes

from .core import CANCEL, Core, inputs_of
from .evaluate import ExpressionError
from .fan import each_node, end_if_done, items_failed, items_skipped, items_succeeded, items_withdrawn
from .pauses import is_held
from .scopes import Given, open_scope
from .state import CANCELLED, FAILED, ITEM, NULL, RUNNING, SKIPPED, SUCCESS, Outcome, Scope

__all__ = ["captured", "closed", "pump", "stop_above"]

#: most item scopes of one `each` that live at a time
_WINDOW = 1_000


def pump(core: Core, scope: Scope, node: int) -> None:
    """Opens the scopes of the next items, as many as may live."""
    fan, each = scope.fans[node], each_node(scope, node)
    limit = _WINDOW if each.concurrency is None else min(each.concurrency, _WINDOW)
    if is_held(scope):
        return
    while fan.live < limit and (fan.again or fan.cursor < fan.total) and scope.states[node] == RUNNING:
        if fan.again:
            index = fan.again.pop(0)
        else:
            index, fan.cursor = fan.cursor, fan.cursor + 1
        _open(core, scope, node, index)


def _open(core: Core, scope: Scope, node: int, index: int) -> None:
    fan, each = scope.fans[node], each_node(scope, node)
    try:
        source = _source(core, scope, node)
        values = source.parts(index, each.unpack) if each.unpack else [source.item(index)]
    except (ExpressionError, wire.WireError) as error:
        _failed(
            core, scope, node, index, Failure(type="ExpressionError", message=str(error), retryable=False), each.name
        )
        end_if_done(core, scope, node)
        return
    given: list[Given] = [*values, *captured(scope, node, each.captures)]
    graph = scope.graph.beside(each.body)
    item = open_scope(core, scope.run, graph, ITEM, given, parent=scope.id, node=node, index=index)
    fan.live += 1
    fan.states[index] = RUNNING
    fan.scopes[index] = item.id


def captured(scope: Scope, node: int, captures: tuple[int, ...]) -> list[Given]:
    """What a body takes from the inputs of its node."""
    inputs, states, values = scope.graph.inputs[node], scope.states, scope.values
    sources = [inputs[capture] for capture in captures]
    return [(values[source] or NULL) if states[source] == SUCCESS else None for source in sources]


def _source(core: Core, scope: Scope, node: int) -> Source[bytes]:
    """The items. What was cut up for one item serves the next."""
    key = (scope.run.id, scope.id, node)
    source = core.sources.get(key)
    if source is None:
        evaluated = scope.values[node]
        if evaluated is not None:
            source = of_bytes(["in", 0], [evaluated])
        else:
            source = of_bytes(each_node(scope, node).source, inputs_of(scope, node))
        assert source is not None, "the length was known at the start"
        core.sources.clear()
        core.sources[key] = source
    return source


def closed(core: Core, scope: Scope, item: Scope, outcome: Outcome, rows: bytes) -> None:
    """The scope of an item has ended."""
    node, index = item.node, item.index
    fan = scope.fans[node]
    fan.live -= 1
    del fan.scopes[index]
    if rows:
        fan.rows[index] = rows
    if item.cancelled:
        fan.states[index] = CANCELLED
        items_withdrawn(core, scope, node, item.cancelled, 1)
    elif outcome.state == FAILED:
        assert outcome.error is not None
        fan.attempts[index] = outcome.attempts
        _failed(core, scope, node, index, outcome.error, outcome.step or "")
    elif outcome.state == SKIPPED:
        items_skipped(core, scope, node, index, index + 1)
    else:
        count, more = item.added.get(item.graph.result, (0, b""))
        items_succeeded(core, scope, node, index, index + 1, outcome.value + more, 1 + count)
    end_if_done(core, scope, node)
    pump(core, scope, node)


def _failed(core: Core, scope: Scope, node: int, index: int, failure: Failure, step: str) -> None:
    items_failed(core, scope, node, index, index + 1, failure, step)
    if each_node(scope, node).on_error == "fail":
        stop_above(core, scope, node, index, CANCELLED)


def stop_above(core: Core, scope: Scope, node: int, index: int, state: int) -> None:
    """Cancels every item above `index`: those that wait at once, the others by their scopes."""
    fan = scope.fans[node]
    for other, child in fan.scopes.items():
        if other > index:
            core.agenda.append((CANCEL, scope.run.scopes[child], -1, state))
    waiting = fan.total - fan.cursor
    if waiting:
        fan.states[fan.cursor :] = bytes((CANCELLED,)) * waiting
        fan.cursor = fan.total
    for other in fan.again:  # of a rerun
        if other > index:
            fan.states[other] = CANCELLED
            waiting += 1
    fan.again = [other for other in fan.again if other <= index]
    if waiting:
        items_withdrawn(core, scope, node, state, waiting)
