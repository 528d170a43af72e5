"""The bookkeeping of every `each`: how its items ended, their values, and its own end.

With `on_error: "fail"` the failure that counts is that of the lowest item that fails. So when item i fails, every
item below it goes on to its end, whatever it takes, and every item above it is cancelled: the outcome does not
depend on who was faster. Rules that look at items (`any_ok` and the like) see the items up to that one, in order, and
none above it. With "collect" a failed item leaves a record of its failure in its place; with "skip" it
is left out, as a skipped item always is.
"""

from __future__ import annotations

from flowc.plan import EachNode

from flowrun import values, wire
from flowrun.messages import Failure

from .core import Core, finish, note, store
from .scopes import count_items, fail_consumers
from .state import CANCELLED, EXPIRED, FAILED, NULL, REMOVED, SKIPPED, SUCCESS, Blocks, Fan, Scope

__all__ = [
    "count_kept", "each_node", "end_if_done", "failure_record", "items_failed", "items_skipped", "items_succeeded",
    "items_withdrawn", "take_seconds",
]  # fmt: skip


_FAILURES = (FAILED, EXPIRED)


def each_node(scope: Scope, node: int) -> EachNode:
    found = scope.graph.nodes[node]
    assert isinstance(found, EachNode)
    return found


def items_succeeded(
    core: Core, scope: Scope, node: int, first: int, last: int, value: bytes, count: int | None = None
) -> None:
    """Items first..last-1 ended well; `value` holds their values one after another: so many, or one of each."""
    fan = scope.fans[node]
    if each_node(scope, node).collects:
        fan.results.add(first, last - first if count is None else count, value)
    fan.succeeded += last - first
    _ended(core, scope, node, fan, first, last, SUCCESS)


def items_skipped(core: Core, scope: Scope, node: int, first: int, last: int) -> None:
    _ended(core, scope, node, scope.fans[node], first, last, SKIPPED)


def items_failed(
    core: Core, scope: Scope, node: int, first: int, last: int, failure: Failure, step: str, state: int = FAILED
) -> None:
    """Items first..last-1 failed for good, in this step; `state` is FAILED or EXPIRED."""
    fan = scope.fans[node]
    fan.failed += last - first
    for index in range(first, last):
        fan.failures[index] = failure
    _ended(core, scope, node, fan, first, last, state)
    each = each_node(scope, node)
    if each.on_error in ("fail", "finish") and not 0 <= fan.first_failed < first:
        if each.on_error == "finish" and fan.first_failed < 0:
            fail_consumers(core, scope, node)
        fan.first_failed = first
    if each.on_error in ("collect", "finish") and each.collects:
        for index in range(first, last):
            number = fan.attempts.get(index, 1) - fan.uncounted.get(index, 0)
            record = failure_record(step, index, failure, number)
            fan.results.add(index, 1, record)


def items_withdrawn(core: Core, scope: Scope, node: int, state: int, count: int) -> None:
    """So many items were cancelled; their states are written."""
    scope.fans[node].ended += count
    _count(core, scope, node, state, count)


def _ended(core: Core, scope: Scope, node: int, fan: Fan, first: int, last: int, state: int) -> None:
    count = last - first
    fan.states[first:last] = bytes((state,)) * count
    fan.ended += count
    _count(core, scope, node, state, count)
    note(core, scope, node)


def _count(core: Core, scope: Scope, node: int, state: int, count: int) -> None:
    """Tells the rules that look at items. Where an item that fails ends the others, an item counts once all below it
    have ended, and none counts above the first that failed: what becomes of those depends on who was faster."""
    if not scope.graph.item_gates[node]:
        return
    if each_node(scope, node).on_error != "fail":
        count_items(core, scope, node, state, count)
        return
    fan = scope.fans[node]
    while fan.counted < fan.total and (ended := fan.states[fan.counted]) >= SUCCESS:
        first, last = fan.counted, fan.counted + 1
        while ended not in _FAILURES and last < fan.total and fan.states[last] == ended:
            last += 1
        fan.counted = last
        count_items(core, scope, node, fan.cancelled or ended if ended == CANCELLED else ended, last - first)
        if ended in _FAILURES:
            fan.counted = fan.total
            count_items(core, scope, node, REMOVED, fan.total - last)


def count_kept(core: Core, scope: Scope, node: int) -> None:
    """Tells the rules that look at items how those ended that a rerun took over."""
    fan = scope.fans[node]
    if each_node(scope, node).on_error == "fail":
        fan.counted = 0
        _count(core, scope, node, CANCELLED, 0)
        return
    for state in (SUCCESS, FAILED, SKIPPED, CANCELLED, EXPIRED):
        if count := fan.states.count(state):
            count_items(core, scope, node, state, count)


def failure_record(step: str, index: int | None, failure: Failure, attempts: int) -> bytes:
    """What a handler, or a list of collected results, holds of a failure (types.FAILURE)."""
    record = {
        "step": step,
        "index": index,
        "type": failure.type,
        "message": failure.message,
        "attempts": attempts,
    }
    return values.encode(record)


def take_seconds(fan: Fan, first: int, last: int, seconds: bytes) -> None:
    """How long items first..last-1 took: float32 little-endian, one per item; otherwise it is not known."""
    if len(seconds) == 4 * (last - first):
        fan.seconds[4 * first : 4 * last] = seconds


def end_if_done(core: Core, scope: Scope, node: int) -> None:
    """Ends the node when all its items have ended."""
    fan = scope.fans[node]
    if fan.ended < fan.total or scope.states[node] >= SUCCESS:
        return
    fan.took = (core.now - scope.began[node]) / 1000
    core.clear_timer(scope.run, "deadline", scope, node)
    core.clear_timer(scope.run, "expires", scope, node)
    for first in fan.waits:
        core.clear_timer(scope.run, "items", scope, node, first)
    fan.waits.clear()
    if fan.cancelled:
        finish(core, scope, node, fan.cancelled)
    elif fan.first_failed >= 0:
        found = fan.failures[fan.first_failed]
        message = f"item {fan.first_failed}: {found.message}"
        failure = Failure(type=found.type, message=message, detail=found.detail, retryable=False)
        value = _gathered(core, fan) if each_node(scope, node).on_error == "finish" else None
        finish(core, scope, node, FAILED, value, failure)
    elif each_node(scope, node).collects:
        finish(core, scope, node, SUCCESS, _gathered(core, fan))
    else:
        finish(core, scope, node, SUCCESS, NULL)
    if scope.parent >= 0 or scope.states[node] not in (FAILED, CANCELLED):
        fan.results = Blocks()  # a rerun needs those of others


def _gathered(core: Core, fan: Fan) -> bytes:
    """The list of what the items gave."""
    count, data = fan.results.gather()
    return store(core, wire.concat(count, (data,)))
