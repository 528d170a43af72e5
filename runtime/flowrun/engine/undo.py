"""Compensation: what a flow did is undone when it has not ended well.

A task may say what takes back a call of it; the plan has that as a block with one call, over values of the call's own
block. When a call succeeds inside a flow that compensates, at whatever depth, an entry is written into that flow's
`Undos`: which block, the values of its parameters, and where the call stood. Entries are bytes in one buffer, in the
order in which the calls ended; of a call inside items, rounds and child runs nothing else needs to stay. A child run
that compensates by itself has its own entries: when it ends well, they go to the flow around, and take their places by
the run's count of such ends.

When the body of the flow has ended as failed or cancelled, the entries are worked off from the last to the first, one
scope at a time. What fails, after the retries of its own task, is reported, and the rest goes on. Then the flow's
handlers run. What handlers of flows and attempts did, and what undoes, is not undone.
"""

from __future__ import annotations

import msgspec

from flowrun import wire
from flowrun.messages import Failure, StepRecord

from .core import Core
from .graph import Tables
from .scopes import open_scope
from .state import (
    ASIDE,
    FAILED,
    FLOW,
    HANDLER,
    ITEM,
    NULL,
    SUCCESS,
    UNDO,
    UNDONE,
    FlowState,
    Outcome,
    Scope,
    Undos,
    entered,
)

__all__ = ["begin", "closed", "hand_up", "judged", "remember"]


class _Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A call that may have to be undone."""

    #: of the block that does it
    flow: str
    block: int
    #: its parameters
    given: tuple[bytes, ...]
    #: where the call stood, seen from the body of the flow that compensates: what stands before its name, and its
    #: positions in each `each` around
    prefix: str
    index: tuple[int, ...]
    #: content hash of the plan, if it is not the run's own
    plan: str = ""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Entry)
_rows_decoder = msgspec.msgpack.Decoder(list[StepRecord])


# ---- remembering ----------------------------------------------------------------------------------------------------


def remember(scope: Scope, node: int, value: bytes) -> None:
    """A call succeeded with this value: if something takes it back, and a flow around compensates, it is noted."""
    attached = getattr(scope.graph.nodes[node], "undo", None)
    root = None if attached is None else _root(scope)
    if attached is None or root is None:
        return
    states, values = scope.states, scope.values
    given = [(values[i] if states[i] == SUCCESS else None) or NULL for i in attached.captures]
    given = [value if i == node else old for i, old in zip(attached.captures, given, strict=True)]
    prefix, index = _place(scope, root)
    scope.run.undoable += 1
    plan = scope.graph.tables.digest
    entry = _Entry(
        scope.graph.flow, attached.block, tuple(given), prefix, index, "" if plan == scope.run.plan else plan
    )
    _undos(root).add(scope.run.undoable, _encoder.encode(entry))


def _root(scope: Scope) -> Scope | None:
    """The body of the innermost flow around that compensates."""
    while True:
        if scope.kind in (HANDLER, ASIDE, UNDO):
            return None
        if scope.kind == FLOW and scope.graph.plan.compensates:
            return scope
        if scope.parent < 0:
            return None
        scope = scope.run.scopes[scope.parent]


def _place(scope: Scope, root: Scope) -> tuple[str, tuple[int, ...]]:
    """Where a scope is, seen from a body around it."""
    prefix = ""
    index: tuple[int, ...] = ()
    while scope is not root:
        parent = scope.run.scopes[scope.parent]
        if scope.kind == ITEM:
            index = (scope.index, *index)
        elif scope.kind == FLOW and (name := parent.graph.nodes[scope.node].name):
            prefix = f"{name}.{prefix}"
        scope = parent
    return prefix, index


def _undos(body: Scope) -> Undos:
    if body.flow is None:
        body.flow = FlowState()
    if body.flow.undos is None:
        body.flow.undos = Undos()
    return body.flow.undos


def hand_up(body: Scope) -> None:
    """A child run has ended that compensates by itself: unless it did, a flow around may have to."""
    undos = body.flow.undos if body.flow is not None else None
    parent = body.run.scopes[body.parent]
    root = None if undos is None or undos.is_started else _root(parent)
    if undos is None or root is None:
        return
    prefix, index = _place(body, root)
    for order, data in undos:
        entry = _decoder.decode(data)
        moved = msgspec.structs.replace(entry, prefix=prefix + entry.prefix, index=(*index, *entry.index))
        _undos(root).add(order, _encoder.encode(moved))


# ---- undoing --------------------------------------------------------------------------------------------------------


def begin(core: Core, body: Scope) -> bool:
    """The body of a flow has not ended well: starts to undo what was done in it. False: there is nothing to undo."""
    undos = body.flow.undos if body.flow is not None else None
    if undos is None or not body.graph.plan.compensates:
        return False
    undos.start()
    return _next(core, body, undos)


def _next(core: Core, body: Scope, undos: Undos) -> bool:
    data = undos.pop()
    if not data:
        return False
    entry = _decoder.decode(data)
    graph = _tables(core, body, entry).graph(entry.flow, entry.block)
    label = None if body.label is None else body.label + entry.prefix
    opened = open_scope(core, body.run, graph, UNDO, entry.given, parent=body.id, label=label)
    undos.scope, undos.prefix, undos.place = opened.id, entry.prefix, entry.index
    return True


def _tables(core: Core, body: Scope, entry: _Entry) -> Tables:
    return core.tables[entry.plan or body.run.plan]


def closed(core: Core, body: Scope, outcome: Outcome, rows: bytes) -> bool:
    """One has ended; True: the next one runs."""
    undos = _undos(body)
    undos.done += 1
    for row in _rows_decoder.decode(rows) if rows else ():
        index = undos.place if len(undos.place) > 1 else undos.place[0] if undos.place else None
        undos.rows += _encoder.encode(msgspec.structs.replace(row, step=undos.prefix + row.step, index=index))
    if outcome.state == FAILED and outcome.error is not None:
        undos.failed += 1
        undos.why = undos.why or f"`{undos.prefix}{outcome.step}`: {outcome.error.type}: {outcome.error.message}"
    return _next(core, body, undos)


def judged(body: Scope, outcome: Outcome) -> Outcome:
    """How the flow ended, with a word about what could not be undone. The rows are the body's from now on."""
    undos = _undos(body)
    body.rows = entered(body.rows, UNDONE, wire.concat(undos.done, (bytes(undos.rows),)))
    if not undos.failed:
        return outcome
    text = f"{undos.failed} of {undos.done} steps could not be undone ({undos.why})"
    if outcome.error is None:
        error = Failure(type="CompensationFailed", message=text, retryable=False)
    else:
        error = msgspec.structs.replace(outcome.error, message=f"{outcome.error.message}; and {text}")
    return msgspec.structs.replace(outcome, error=error)
