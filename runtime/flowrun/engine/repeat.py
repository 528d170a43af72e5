"""`repeat`: one scope per round, one for its `until`, and a timer between rounds. No worker is held while it waits."""

from __future__ import annotations

import struct

from flowc.plan import RepeatNode
from flowc.types import Optional

from .core import Core, fail, finish
from .items import captured
from .scopes import Given, open_scope
from .state import (
    FAILED,
    NULL,
    ROUND,
    RUNNING,
    SKIPPED,
    SUCCESS,
    UNTIL,
    Loop,
    Outcome,
    Scope,
    attempt_of,
    entered,
    put_seconds,
)

__all__ = ["closed", "open_round", "start"]

_TRUE = b"\xc3"


def start(core: Core, scope: Scope, node: int) -> None:
    scope.states[node] = RUNNING
    scope.began = entered(scope.began, node, core.now)
    scope.loops = entered(scope.loops, node, Loop())
    open_round(core, scope, node)


def open_round(core: Core, scope: Scope, node: int) -> None:
    """The next round: the body over the last round's value."""
    if scope.states[node] == RUNNING and scope.loops[node].scope < 0:
        _open(core, scope, node, ROUND, _repeat(scope, node).body)


def _open(core: Core, scope: Scope, node: int, kind: int, block: int) -> None:
    loop = scope.loops[node]
    given: list[Given] = [loop.value, *captured(scope, node, _repeat(scope, node).captures)]
    graph = scope.graph.beside(block)
    label = scope.label if kind == ROUND else None
    opened = open_scope(core, scope.run, graph, kind, given, parent=scope.id, node=node, label=label)
    loop.scope = opened.id


def closed(core: Core, scope: Scope, inner: Scope, outcome: Outcome, rows: bytes) -> None:
    """A round, or its `until`, has ended."""
    node = inner.node
    loop = scope.loops[node]
    loop.scope = -1
    if rows:
        scope.rows = entered(scope.rows, node, rows)
    cancelled = inner.cancelled or loop.cancelled
    if cancelled or outcome.state == FAILED:
        _end(core, scope, node, cancelled or FAILED, outcome)
    elif inner.kind == ROUND and outcome.state == SKIPPED and not _may_be_null(scope, node):
        _end(core, scope, node, SKIPPED, outcome)  # there is nothing for `until` to look at
    elif inner.kind == ROUND:
        loop.value = outcome.value
        _open(core, scope, node, UNTIL, _repeat(scope, node).until)
    elif outcome.value == _TRUE:
        _end(core, scope, node, SUCCESS, Outcome(SUCCESS, loop.value))
    else:
        _next(core, scope, node)


def _next(core: Core, scope: Scope, node: int) -> None:
    loop, repeat = scope.loops[node], _repeat(scope, node)
    if loop.round >= repeat.max:
        _time(core, scope, node)
        rounds = f"{repeat.max} round{'s' if repeat.max != 1 else ''}"
        fail(core, scope, node, "TooManyRounds", f"`until` was not true after {rounds}, and `max` allows no more")
        return
    loop.round += 1
    attempt_of(scope, node).number = loop.round
    if repeat.every_ms:
        core.set_timer(scope.run, "round", scope, node, repeat.every_ms)
    else:
        open_round(core, scope, node)


def _end(core: Core, scope: Scope, node: int, state: int, outcome: Outcome) -> None:
    _time(core, scope, node)
    value = outcome.value if state == SUCCESS else None
    finish(core, scope, node, state, value or (NULL if state == SUCCESS else None), outcome.error)


def _may_be_null(scope: Scope, node: int) -> bool:
    return isinstance(scope.graph.plan.types[_repeat(scope, node).type], Optional)


def _time(core: Core, scope: Scope, node: int) -> None:
    attempt_of(scope, node)  # the record counts the rounds
    put_seconds(scope, node, struct.pack("<f", (core.now - scope.began[node]) / 1000))


def _repeat(scope: Scope, node: int) -> RepeatNode:
    found = scope.graph.nodes[node]
    assert isinstance(found, RepeatNode)
    return found
