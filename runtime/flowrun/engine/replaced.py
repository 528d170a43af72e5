"""The end of a canvas that replaced a task, or added members to a group: the end of the node, or of the item."""

from __future__ import annotations

import struct

import msgspec
from flowc.plan import EachNode

from flowrun import wire
from flowrun.messages import Failure

from . import ranges, replace, tasks
from .core import Core
from .state import FAILED, NULL, SKIPPED, SUCCESS, Outcome, Scope, entered, put_seconds

__all__ = ["closed"]

#: what was added: how many values, and these one after another
_Added = tuple[int, bytes]
_NOTHING: _Added = (0, b"")


def closed(core: Core, scope: Scope, body: Scope, outcome: Outcome, rows: bytes) -> None:
    """The inner flow has ended, in whose place in `scope` stands the node `body.node`, or its item `body.index`."""
    cancelled = body.cancelled if not (body.flow is not None and body.flow.timed_out) else 0
    ended, added = (outcome, _NOTHING) if cancelled or outcome.state == FAILED else _value(scope, body, outcome)
    if isinstance(scope.graph.nodes[body.node], EachNode):
        ranges.item_closed(core, scope, body.node, body.index, cancelled, ended, added, rows)
        return
    node = body.node
    del scope.children[node]
    if rows:
        scope.rows = entered(scope.rows, node, rows)
    put_seconds(scope, node, struct.pack("<f", (core.now - scope.began[node]) / 1000))
    if cancelled:
        tasks.withdraw(core, scope, node, cancelled)
    elif ended.state == FAILED:
        assert ended.error is not None
        tasks.fail_attempt(core, scope, node, msgspec.structs.replace(ended.error, retryable=False))
    elif ended.state == SKIPPED:
        tasks.skip(core, scope, node)
    else:
        if added[0]:
            scope.added = entered(scope.added, node, added)
        tasks.succeed(core, scope, node, ended.value or NULL)


def _value(scope: Scope, body: Scope, outcome: Outcome) -> tuple[Outcome, _Added]:
    """How the node ends, and what is added to its group."""
    own = body.flow.own if body.flow is not None else None
    added = body.added.get(body.graph.result, _NOTHING)
    if own is not None:
        more = _items(outcome.value) if outcome.state == SUCCESS else []
        outcome, added = Outcome(SUCCESS, own), (len(more), b"".join(more))
    if outcome.state != SUCCESS:
        return outcome, _NOTHING
    value = replace.checked(scope, body.node, outcome.value or NULL)
    if isinstance(value, Failure):
        return Outcome(FAILED, error=value), _NOTHING
    return Outcome(SUCCESS, value), added


def _items(value: bytes) -> list[bytes]:
    """The values of a list; of one that is stored, references to them."""
    if wire.is_blob(value):
        return [wire.item(value, i) for i in range(wire.length(value) or 0)]
    return wire.elements(value)
