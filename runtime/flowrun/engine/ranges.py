"""A simple `each`: its items are calls of one task, dispatched as ranges.

An item's state is one byte, its duration a float32; its value lies in a buffer as it came. Only what is out of the
ordinary (another attempt, a failure) is an object. Items are started in order, within `concurrency` and the
permits that they have, in ranges as long as that allows; an item that is tried again goes first.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from flowc.plan import StepSettings, TaskNode

from flowrun import wire
from flowrun.messages import Failure, Outcome
from flowrun.names import lane

from . import permits, replace
from .commands import Ready, Revoke
from .core import CANCEL, Core, inputs_of, note
from .fan import each_node, end_if_done, items_failed, items_skipped, items_succeeded, items_withdrawn, take_seconds
from .flows import time_out
from .pauses import is_held
from .retry import wait_ms
from .scopes import index_of
from .state import CANCELLED, EXPIRED, FAILED, GRANTED, QUEUED, RETRYING, RUNNING, SKIPPED, SUCCESS, Fan, Scope
from .state import Outcome as ItemOutcome
from .tasks import DIED_ONCE, MAX_CRASHES, WORKER_DIED, expiry_failure, is_over, priority_of

__all__ = [
    "arm_expiry", "deadline_passed", "expire_waiting", "fresh_ranges", "item_closed", "item_settings", "lose",
    "outstanding", "pump", "retry_due", "take_outcome", "withdraw",
]  # fmt: skip

#: what every item that has not ended becomes when it is cancelled
_CANCELLED = bytes(state if state >= SUCCESS else CANCELLED for state in range(256))
_ENDED = bytes(range(SUCCESS, 256))
_DAMAGED = Failure(type="NotSerialisable", message="the worker sent values that cannot be read")
_UNKNOWN = Failure(type="Unknown", message="the worker gave no reason")


# ---- starting items -------------------------------------------------------------------------------------------------


def pump(core: Core, scope: Scope, node: int) -> None:
    """Starts as many items as may run now."""
    settings = item_settings(scope, node)
    if scope.states[node] != RUNNING:
        permits.close_items(core, scope, node, settings)
        return
    priority = priority_of(scope.run, settings)
    count = permits.for_items(core, scope, node, settings, priority, _wanted(scope, node))
    if count:
        _grant(core, scope, node, settings, count)


def _wanted(scope: Scope, node: int) -> int:
    """How many items may start, as far as the `each` itself is concerned."""
    fan = scope.fans[node]
    waiting = 0 if is_held(scope) else len(fan.again) + fan.total - fan.cursor
    limit = each_node(scope, node).concurrency
    return waiting if limit is None else max(0, min(waiting, limit - fan.live - len(fan.scopes)))


def _grant(core: Core, scope: Scope, node: int, settings: StepSettings, count: int) -> None:
    """Starts so many items: those that are tried again, then the next in order."""
    fan = scope.fans[node]
    fan.live += count
    while count and fan.again:
        first, last = _take_again(fan, count)
        count -= last - first
        _start(core, scope, node, first, last)
        if first not in fan.attempts:  # of a rerun
            _set_deadline(core, scope, node, settings, first, last)
    if count:
        first, fan.cursor = fan.cursor, fan.cursor + count
        _start(core, scope, node, first, fan.cursor)
        _set_deadline(core, scope, node, settings, first, fan.cursor)


def _take_again(fan: Fan, most: int) -> tuple[int, int]:
    """The next items to be tried again that can go as one range."""
    first = heapq.heappop(fan.again)
    last = first + 1
    number = fan.attempts.get(first, 1)
    while fan.again and fan.again[0] == last and last - first < most and first not in fan.alone:
        if fan.attempts.get(last, 1) != number or last in fan.alone:
            break
        heapq.heappop(fan.again)
        last += 1
    return first, last


def _start(core: Core, scope: Scope, node: int, first: int, last: int) -> None:
    scope.fans[node].states[first:last] = bytes((GRANTED,)) * (last - first)
    core.commands.append(_ready(scope, node, first, last))


def _ready(scope: Scope, node: int, first: int, last: int) -> Ready:
    graph, run, fan = scope.graph, scope.run, scope.fans[node]
    settings = item_settings(scope, node)
    return Ready(
        run=run.id,
        scope=scope.id,
        block=graph.block,
        node=node,
        attempt=fan.attempts.get(first, 1),
        first=first,
        last=last,
        inputs=inputs_of(scope, node),
        plan=graph.tables.digest,
        flow=graph.flow,
        lane=lane(settings.queue, settings.executor),
        priority=priority_of(run, settings),
        order=run.seq,
        alone=first in fan.alone,
        index=index_of(scope),
        expires_ms=0 if first in fan.attempts else _expires_ms(scope, node),
        suspect=fan.uncounted.get(first, 0) > 1,
        goes_on=bool(run.paused) and not is_held(scope),
    )


def outstanding(scope: Scope, node: int) -> Iterator[Ready]:
    """What was started and has not ended, as ranges."""
    fan = scope.fans[node]
    states, first = fan.states, 0
    while (first := states.find(GRANTED, first)) >= 0:
        last = first + 1
        alone, number = first in fan.alone, fan.attempts.get(first, 1)
        while last < fan.total and states[last] == GRANTED and not alone:
            if last in fan.alone or fan.attempts.get(last, 1) != number:
                break
            last += 1
        yield _ready(scope, node, first, last)
        first = last


# ---- ends of items --------------------------------------------------------------------------------------------------


def take_outcome(core: Core, scope: Scope, node: int, bundle: str, outcome: Outcome) -> None:
    """A worker says how items ended. Those whose attempt is not the current one are left alone."""
    first, last = outcome.first, outcome.last
    fan = scope.fans[node]
    if outcome.state == "returned":
        for start, end in fresh_ranges(fan, first, last, outcome.attempt):
            if fan.returned.get(start) != bundle:
                fan.returned[start] = bundle
                core.commands.append(_ready(scope, node, start, end))
        return
    if is_fresh(fan, first, last, outcome.attempt):
        _apply(core, scope, node, outcome, first, last)
    else:
        parts = list(fresh_ranges(fan, first, last, outcome.attempt))
        if not parts:
            core.ignore(f"stale result of {outcome.run}/{outcome.scope}/{outcome.node}, items {first} to {last - 1}")
        for start, end in parts:
            if is_fresh(fan, start, end, outcome.attempt):
                _apply(core, scope, node, _part(outcome, start, end), start, end)
    _go_on(core, scope, node)


def is_fresh(fan: Fan, first: int, last: int, attempt: int) -> bool:
    """The items run, all in this attempt."""
    if not 0 <= first < last <= fan.total or fan.states.count(GRANTED, first, last) != last - first:
        return False
    if not fan.attempts:
        return attempt == 1
    return all(fan.attempts.get(index, 1) == attempt for index in range(first, last))


def fresh_ranges(fan: Fan, first: int, last: int, attempt: int) -> Iterator[tuple[int, int]]:
    """The parts of a range whose items run in this attempt."""
    start = -1
    first, last = max(first, 0), min(last, fan.total)
    for index in range(first, last):
        fresh = fan.states[index] == GRANTED and fan.attempts.get(index, 1) == attempt
        if fresh and start < 0:
            start = index
        elif not fresh and start >= 0:
            yield start, index
            start = -1
    if start >= 0:
        yield start, last


def _part(outcome: Outcome, first: int, last: int) -> Outcome:
    """The part of a range's outcome that is about some of its items."""
    skip, count = first - outcome.first, outcome.last - outcome.first
    value = outcome.value
    if outcome.state == "success":
        try:
            value = b"".join(wire.split(count, value)[skip : skip + last - first])
        except wire.WireError:
            value = b""
    seconds = outcome.seconds[4 * skip : 4 * (skip + last - first)]
    return Outcome(
        run=outcome.run,
        scope=outcome.scope,
        node=outcome.node,
        attempt=outcome.attempt,
        state=outcome.state,
        value=value,
        error=outcome.error,
        seconds=seconds,
        first=first,
        last=last,
    )


def _apply(core: Core, scope: Scope, node: int, outcome: Outcome, first: int, last: int) -> None:
    fan = scope.fans[node]
    take_seconds(fan, first, last, outcome.seconds)
    _release(core, scope, node, last - first)
    if outcome.state == "skipped":
        items_skipped(core, scope, node, first, last)
    elif outcome.state == "expired":
        _expire_items(core, scope, node, first, last)
    elif outcome.state == "failed":
        _fail(core, scope, node, first, last, outcome.error or _UNKNOWN)
    elif outcome.state == "replaced":
        failure = replace.bring_in(core, scope, node, outcome.value, first) if last == first + 1 else _DAMAGED
        if failure is not None:
            _fail(core, scope, node, first, last, failure)
    elif each_node(scope, node).collects and not _holds(outcome.value, last - first):
        _fail(core, scope, node, first, last, _DAMAGED)
    else:
        items_succeeded(core, scope, node, first, last, outcome.value)


def _holds(value: bytes, count: int) -> bool:
    """The bytes are exactly so many values."""
    try:
        wire.split(count, value)
    except wire.WireError:
        return False
    return True


def _go_on(core: Core, scope: Scope, node: int) -> None:
    """Some items ended: others may start, or all have ended."""
    end_if_done(core, scope, node)
    pump(core, scope, node)


def _release(core: Core, scope: Scope, node: int, count: int) -> None:
    scope.fans[node].live -= count
    permits.give_back_items(core, scope, node, item_settings(scope, node), count)


# ---- failures -------------------------------------------------------------------------------------------------------


def _fail(core: Core, scope: Scope, node: int, first: int, last: int, failure: Failure) -> None:
    """An attempt of these items failed: together if the policy says the same for all, else one by one."""
    fan = scope.fans[node]
    settings = item_settings(scope, node)
    policy = None if is_over(settings, failure) else settings.retry
    alike = policy is None or (not policy.jitter and not fan.uncounted)
    step = 1 if not alike else last - first
    for start in range(first, last, step):
        end = start + step
        number = fan.attempts.get(start, 1)
        failures = number - fan.uncounted.get(start, 0)
        key = f"{scope.run.id}/{scope.id}/{node}/{number}/{start}"
        wait = wait_ms(policy, failures, key, failure)
        if wait is None:
            items_failed(core, scope, node, start, end, failure, item_node(scope, node).name)
            if each_node(scope, node).on_error == "fail":
                _stop_above(core, scope, node, start, CANCELLED)
                return
        else:
            _try_again(core, scope, node, start, end, wait)


def _try_again(core: Core, scope: Scope, node: int, first: int, last: int, wait: int) -> None:
    fan = scope.fans[node]
    number = fan.attempts.get(first, 1) + 1
    for index in range(first, last):
        fan.attempts[index] = number
    fan.states[first:last] = bytes((RETRYING,)) * (last - first)
    if wait:
        fan.waits[first] = last
        core.set_timer(scope.run, "items", scope, node, wait, first)
        note(core, scope, node)
    else:
        _queue(fan, first, last)


def _queue(fan: Fan, first: int, last: int) -> None:
    for index in range(first, last):
        if fan.states[index] == RETRYING:
            fan.states[index] = QUEUED
            heapq.heappush(fan.again, index)


def retry_due(core: Core, scope: Scope, node: int, first: int) -> None:
    """The wait of the items from `first` on is over."""
    fan = scope.fans[node]
    last = fan.waits.pop(first, first)
    _queue(fan, first, last)
    pump(core, scope, node)


def lose(core: Core, scope: Scope, node: int, first: int, last: int, attempt: int) -> None:
    """Their worker died: each goes alone next, and the retry policy does not count it (see `tasks.lose`)."""
    fan = scope.fans[node]
    if item_settings(scope, node).at_most_once:
        for start, end in list(fresh_ranges(fan, first, last, attempt)):
            _release(core, scope, node, end - start)
            _fail(core, scope, node, start, end, DIED_ONCE)
        _go_on(core, scope, node)
        return
    for start, end in list(fresh_ranges(fan, first, last, attempt)):
        _release(core, scope, node, end - start)
        fan.alone.update(range(start, end))
        for index in range(start, end):
            crashes = fan.uncounted[index] = fan.uncounted.get(index, 0) + 1
            if crashes < MAX_CRASHES:
                _try_again(core, scope, node, index, index + 1, 0)
            else:
                _fail(core, scope, node, index, index + 1, WORKER_DIED)
    _go_on(core, scope, node)


def _stop_above(core: Core, scope: Scope, node: int, index: int, state: int) -> None:
    """Cancels every item above `index` that has not ended."""
    fan, start = scope.fans[node], index + 1
    rest = fan.states[start:]
    running = rest.count(GRANTED)
    if running:
        core.commands.append(Revoke(scope.run.id, scope.id, node, 0, start, fan.total))
        _release(core, scope, node, running)
    replaced = [other for other in fan.scopes if other >= start]
    still_open = len(rest.translate(None, _ENDED)) - len(replaced)
    fan.states[start:] = rest.translate(_CANCELLED)
    for other in replaced:  # they end when their scopes have
        fan.states[other] = RUNNING
        core.agenda.append((CANCEL, scope.run.scopes[fan.scopes[other]], -1, state))
    fan.cursor = fan.total
    fan.again = sorted(waiting for waiting in fan.again if waiting <= index)
    for first in [first for first in fan.waits if first > index]:
        del fan.waits[first]
        core.clear_timer(scope.run, "items", scope, node, first)
    items_withdrawn(core, scope, node, state, still_open)


def withdraw(core: Core, scope: Scope, node: int, state: int) -> None:
    """Cancels every item that has not ended."""
    _stop_above(core, scope, node, -1, state)
    permits.close_items(core, scope, node, item_settings(scope, node))


# ---- deadlines ------------------------------------------------------------------------------------------------------


def _set_deadline(core: Core, scope: Scope, node: int, settings: StepSettings, first: int, last: int) -> None:
    """These items begin their first attempt."""
    if settings.deadline_ms is not None:
        scope.fans[node].deadlines.append((core.now + settings.deadline_ms, first, last))
        _arm_deadline(core, scope, node)


def _arm_deadline(core: Core, scope: Scope, node: int) -> None:
    """One timer stands for the earliest deadline of items that have not ended."""
    fan = scope.fans[node]
    while fan.deadlines and not _open(fan, *fan.deadlines[0][1:]):
        del fan.deadlines[0]
    name = f"deadline/{scope.id}/{node}"
    if fan.deadlines and name not in scope.run.timers:
        core.set_timer(scope.run, "deadline", scope, node, max(0, fan.deadlines[0][0] - core.now))


def _open(fan: Fan, first: int, last: int) -> bool:
    return bool(fan.states[first:last].translate(None, _ENDED))


def deadline_passed(core: Core, scope: Scope, node: int) -> None:
    """Items that were not done in the time for all their attempts have failed."""
    fan = scope.fans[node]
    while fan.deadlines and fan.deadlines[0][0] <= core.now:
        _, first, last = fan.deadlines.pop(0)
        for index in range(first, last):
            if fan.states[index] < SUCCESS:
                _overdue(core, scope, node, index)
    _arm_deadline(core, scope, node)
    _go_on(core, scope, node)


def _overdue(core: Core, scope: Scope, node: int, index: int) -> None:
    fan = scope.fans[node]
    settings = item_settings(scope, node)
    if index in fan.scopes:
        time_out(core, scope.run.scopes[fan.scopes[index]], _overdue_message(settings))
        return
    if fan.states[index] == GRANTED:
        core.commands.append(Revoke(scope.run.id, scope.id, node, 0, index, index + 1))
        _release(core, scope, node, 1)
    elif fan.states[index] == QUEUED:
        fan.again = sorted(waiting for waiting in fan.again if waiting != index)
    failure = Failure(type="Timeout", message=_overdue_message(settings), retryable=False)
    items_failed(core, scope, node, index, index + 1, failure, item_node(scope, node).name)
    if each_node(scope, node).on_error == "fail":
        _stop_above(core, scope, node, index, CANCELLED)


def _overdue_message(settings: StepSettings) -> str:
    return f"it was not done within its `deadline` of {(settings.deadline_ms or 0) / 1000:g} s, all attempts together"


# ---- items that a canvas replaced -----------------------------------------------------------------------------------


def item_closed(
    core: Core, scope: Scope, node: int, index: int, cancelled: int, outcome: ItemOutcome,
    added: tuple[int, bytes], rows: bytes,
) -> None:  # fmt: skip
    """The canvas in place of an item has ended: the item has, too, with what it `added` to the list."""
    fan = scope.fans[node]
    del fan.scopes[index]
    if rows:
        fan.rows[index] = rows
    if cancelled:
        fan.states[index] = CANCELLED
        items_withdrawn(core, scope, node, cancelled, 1)
    elif outcome.state == FAILED:
        assert outcome.error is not None
        name = item_node(scope, node).name
        step = f"{name}.{outcome.step}" if outcome.step else name
        items_failed(core, scope, node, index, index + 1, outcome.error, step)
        if each_node(scope, node).on_error == "fail":
            _stop_above(core, scope, node, index, CANCELLED)
    elif outcome.state == SKIPPED:
        items_skipped(core, scope, node, index, index + 1)
    else:
        count, more = added
        items_succeeded(core, scope, node, index, index + 1, outcome.value + more, 1 + count)
    _go_on(core, scope, node)


# ---- expiry ---------------------------------------------------------------------------------------------------------


def _expires_ms(scope: Scope, node: int) -> int:
    """When items expire that have not begun, milliseconds since 1970; 0: never."""
    expires = item_settings(scope, node).expires_ms
    return 0 if expires is None else scope.began[node] + expires


def arm_expiry(core: Core, scope: Scope, node: int) -> None:
    """The `each` starts: its items might begin from now on."""
    expires = item_settings(scope, node).expires_ms
    if expires is not None:
        core.set_timer(scope.run, "expires", scope, node, expires)


def expire_waiting(core: Core, scope: Scope, node: int) -> None:
    """Items that still wait to be started expire."""
    fan = scope.fans[node]
    first, fan.cursor = fan.cursor, fan.total
    if scope.states[node] == RUNNING and first < fan.total:
        _expire_items(core, scope, node, first, fan.total)
        _go_on(core, scope, node)


def _expire_items(core: Core, scope: Scope, node: int, first: int, last: int) -> None:
    failure = expiry_failure(item_settings(scope, node))
    items_failed(core, scope, node, first, last, failure, item_node(scope, node).name, EXPIRED)
    if each_node(scope, node).on_error == "fail":
        _stop_above(core, scope, node, first, CANCELLED)


# ---- the task -------------------------------------------------------------------------------------------------------


def item_node(scope: Scope, node: int) -> TaskNode:
    """The one task that every item is a call of."""
    block = scope.graph.plan.blocks[each_node(scope, node).body]
    task = block.nodes[block.params]
    assert isinstance(task, TaskNode)
    return task


def item_settings(scope: Scope, node: int) -> StepSettings:
    return scope.graph.plan.settings[item_node(scope, node).settings]
