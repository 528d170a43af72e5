"""The record of a run: what became of every step, in written order.

The items of an `each` follow it, item by item; the steps of a child run follow the step that is the call of it, as
"call.step"; of a `repeat` the last round's steps are there, and of `on retry` those after the last attempt that failed.
What undid steps of a flow follows its steps, and its handlers come last. Scopes inside others leave their rows packed
when they close: bytes instead of objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from flowc.plan import ChildNode, TaskNode

from flowrun.messages import RunRecord, RunState, StepRecord
from flowrun.wire import make_map

from .fan import each_node
from .state import CANCELLED, EXPIRED, FAILED, FLOW, MISSED, NAMES, SUCCESS, UNDONE, Run, Scope, aside_rows, seconds_of

__all__ = ["join_rows", "pack_rows", "run_record"]

#: rows of a handler that ran again and again, in bytes
_MOST_JOINED = 64 * 1024
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[StepRecord])
_RUN_STATES: dict[int, RunState] = {SUCCESS: "success", FAILED: "failed", CANCELLED: "cancelled", EXPIRED: "expired"}


def run_record(run: Run) -> RunRecord:
    """The record of a run that ended. O(steps and items)."""
    return RunRecord(
        run.id,
        run.flow,
        _RUN_STATES[run.state],
        run.result,
        run.error,
        run.failed_step,
        run.submitted_ms,
        run.ended_ms,
        tuple(_rows(run.body)) if run.body is not None else tuple(_early_rows(run)),
        run.trigger,
        run.audit,
        _values(run.body) if run.body is not None and run.body.graph.plan.keeps_values else b"",
        (run.tables.plan.keep_ms or 0) if run.tables is not None else 0,
        run.scheduled,
        run.levels.all_marks() if run.levels is not None else (),
    )


def _early_rows(run: Run) -> Iterator[StepRecord]:
    """Of a run that never began: the steps of its handlers."""
    for _, rows in sorted(run.levels.rows.items()) if run.levels is not None else ():
        yield from _decoder.decode(rows)


def _values(body: Scope) -> bytes:
    """The values of the steps, but for the one that is the result of a run that ended well."""
    left_out = body.graph.result if body.states[body.graph.result] == SUCCESS else -1
    given = [(name, body.values[i]) for i, name in body.graph.steps if i != left_out]
    return make_map([(name, value) for name, value in given if value is not None])


def pack_rows(scope: Scope) -> bytes:
    """The rows of a scope that closes; b"" if it has none."""
    if not scope.graph.steps and not scope.fans and not scope.rows:
        return b""
    rows = list(_rows(scope))
    return _encoder.encode(rows) if rows else b""


def join_rows(first: bytes, then: bytes) -> bytes:
    """Packed rows, and others behind them; when there are very many, only the others."""
    if not first or len(first) > _MOST_JOINED:
        return then
    return _encoder.encode(_decoder.decode(first) + _decoder.decode(then))


def _rows(scope: Scope) -> Iterable[StepRecord]:
    if scope.fans or scope.rows:
        return _all_rows(scope)
    return [_row(scope, i, name) for i, name in scope.graph.steps]


def _all_rows(scope: Scope) -> Iterator[StepRecord]:
    for i, node in enumerate(scope.graph.nodes):
        if node.name and i >= scope.graph.params:
            yield _row(scope, i, node.name)
        if i in scope.fans:
            yield from _item_rows(scope, i)
        elif i in scope.rows:
            prefix = f"{node.name}." if node.name and isinstance(node, ChildNode | TaskNode) else ""
            spared = i in scope.attempts and scope.attempts[i].spared
            for row in _decoder.decode(scope.rows[i]):
                yield msgspec.structs.replace(row, step=prefix + row.step, attempts=0 if spared else row.attempts)
        for number in range(2 * MISSED) if scope.rows else ():
            if aside_rows(i, number) in scope.rows:
                yield from _decoder.decode(scope.rows[aside_rows(i, number)])
    if UNDONE in scope.rows:
        yield from _decoder.decode(scope.rows[UNDONE])
    for number in range(len(scope.graph.plan.handlers) if scope.kind == FLOW else 0):
        if -1 - number in scope.rows:
            yield from _decoder.decode(scope.rows[-1 - number])


def _row(scope: Scope, node: int, name: str) -> StepRecord:
    state = scope.states[node]
    attempts = int(state in (SUCCESS, FAILED))
    if node in scope.attempts:
        attempts = 0 if scope.attempts[node].spared else scope.attempts[node].number
    seconds = scope.fans[node].took if node in scope.fans else seconds_of(scope, node)
    return StepRecord(name, None, NAMES[state], attempts, seconds, scope.errors.get(node))


def _item_rows(scope: Scope, node: int) -> Iterator[StepRecord]:
    each, fan = each_node(scope, node), scope.fans[node]
    kept = fan.kept  # of an earlier run
    if not each.simple:
        for index in sorted(fan.rows):
            was_kept = bool(kept) and kept[index] >= SUCCESS
            for row in _decoder.decode(fan.rows[index]):
                attempts = 0 if was_kept else row.attempts
                yield msgspec.structs.replace(row, index=_inside(index, row.index), attempts=attempts)
        return
    block = scope.graph.plan.blocks[each.body]
    task = block.nodes[block.params]
    assert isinstance(task, TaskNode)
    numbers, failures = fan.attempts, fan.failures
    took = memoryview(fan.seconds).cast("f")
    for index, state in enumerate(fan.states):
        started = state not in (CANCELLED, EXPIRED)
        number = 0 if kept and kept[index] >= SUCCESS else numbers.get(index, int(started))
        seconds = round(took[index], 6) if started else None
        yield StepRecord(task.name, index, NAMES[state], number, seconds, failures.get(index))
        for row in _decoder.decode(fan.rows[index]) if index in fan.rows else ():  # of what replaced it
            yield msgspec.structs.replace(row, step=f"{task.name}.{row.step}", index=_inside(index, row.index))


def _inside(index: int, inner: int | tuple[int, ...] | None) -> int | tuple[int, ...]:
    if inner is None:
        return index
    return (index, *inner) if isinstance(inner, tuple) else (index, inner)
