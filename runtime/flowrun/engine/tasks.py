"""Attempts: of tasks, of child runs, and of expressions that a worker evaluates.

A node that may run asks for the permits that it needs, is granted, and is dispatched; its attempt ends with a result,
with its worker's death, or with a time limit. A failed attempt may be followed by another, by the retry policy. A
worker's death is nobody's failure at first: work runs at least once, so it is dispatched again, in a bundle of its
own, so that work that kills its worker takes no neighbours along; only when workers die of it again and again has it
failed. Permits are held from the grant to the end of the attempt, never while a retry waits. The first end of an
attempt counts, and every later one is stale: it names an attempt that is no longer the current one.
"""

from __future__ import annotations

import msgspec
from flowc.plan import BranchNode, ChildNode, EachNode, RetryPolicy, StepSettings, TaskNode, WaitNode

from flowrun.messages import Failure, Outcome, Then

from . import permits, replace, undo
from .asides import open_asides
from .commands import Ready, Revoke
from .core import OPEN, Core, fail, finish, inputs_of, note
from .evaluate import ExpressionError, arm_of
from .fuse import detach, fuse, is_out, may_have_run
from .pauses import is_held
from .retry import wait_ms
from .scopes import index_of
from .state import (
    DELAYED,
    EXPIRED,
    FAILED,
    GRANTED,
    QUEUED,
    RETRYING,
    RUNNING,
    SKIPPED,
    SUCCESS,
    WAITING,
    Run,
    Scope,
    attempt_of,
    entered,
    number_of,
    put_seconds,
)

__all__ = [
    "DIED_ONCE", "MAX_CRASHES", "WORKER_DIED",
    "ask_again", "deadline_failure", "deadline_passed", "delay", "dispatch", "expire_waiting", "expiry_failure",
    "fail_attempt", "grant", "is_over", "is_whole", "lose", "own_priority", "permitted", "priority_of", "ready",
    "retry_due", "skip", "stand_back", "start", "succeed", "take_outcome", "withdraw",
]  # fmt: skip

#: an expression may be evaluated again when its worker died
_PURE = RetryPolicy(max=2, first_ms=0, only=("WorkerDied",))
_DAMAGED = Failure(type="NotSerialisable", message="the worker sent a value that cannot be read")
_UNKNOWN = Failure(type="Unknown", message="the worker gave no reason")
#: a worker may die so often while it runs the same work, before that is taken to be the cause
MAX_CRASHES = 3
WORKER_DIED = Failure(
    type="WorkerDied",
    message=f"its worker died {MAX_CRASHES} times while it ran this (killed, or out of memory)",
    retryable=False,
)
DIED_ONCE = Failure(
    type="WorkerDied",
    message="its worker died while it may have run, and it is to run at most once (`delivery`)",
    retryable=False,
)
#: how attempts end that others put an end to
_UNKNOWN_ENDS = frozenset({"WorkerDied", "Timeout", "MemoryLimit"})
#: of a step that sets none
_PLAIN_PRIORITY = StepSettings().priority
#: what a worker gives of these is not their value, but what they are opened with
_OPENED = (ChildNode, EachNode, WaitNode)
_raw = msgspec.msgpack.Decoder(msgspec.Raw)


def start(core: Core, scope: Scope, node: int) -> None:
    """The node may run: its first attempt."""
    settings = scope.graph.settings[node]
    if settings.expires_ms is not None:
        scope.began = entered(scope.began, node, core.now)
    if settings.deadline_ms is not None:
        core.set_timer(scope.run, "deadline", scope, node, settings.deadline_ms)
    _ask(core, scope, node, settings)


def delay(core: Core, scope: Scope, node: int) -> bool:
    """True: the node waits until its delay is over, or its time has come."""
    settings = scope.graph.settings[node]
    if settings.delay_ms is None and settings.at_ms is None:
        return False
    wait = max(settings.delay_ms or 0, (settings.at_ms or 0) - core.now)
    if wait <= 0:
        return False
    scope.states[node] = DELAYED
    core.set_timer(scope.run, "delay", scope, node, wait)
    note(core, scope, node)
    return True


def _ask(core: Core, scope: Scope, node: int, settings: StepSettings) -> None:
    """Grants the attempt, or queues it for its permits."""
    if is_held(scope) and not is_out(scope, node):
        scope.states[node] = QUEUED
        core.put_off(scope, "ask", node)
        return
    if not permits.is_limited(settings):
        grant(core, scope, node)
        return
    attempt = attempt_of(scope, node)
    if not attempt.needs:
        try:
            priority = priority_of(scope.run, settings)
            attempt.needs = permits.step_needs(scope, node, priority, inputs_of(scope, node))
        except ExpressionError as error:
            _tidy(core, scope, node)
            fail(core, scope, node, "ExpressionError", f"the key of `concurrency`: {error}")
            return
    scope.states[node] = QUEUED
    if expires_ms := _expires_ms(scope, node):
        core.set_timer(scope.run, "expires", scope, node, max(0, expires_ms - core.now))
    permits.ask(core, scope, node, attempt)
    note(core, scope, node)


def permitted(core: Core, scope: Scope, node: int) -> None:
    """The attempt has one permit more: asks for the next one, or may be dispatched."""
    attempt = attempt_of(scope, node)
    attempt.held += 1
    if not permits.ask(core, scope, node, attempt):
        grant(core, scope, node)


def stand_back(core: Core, scope: Scope, node: int) -> None:
    """An attempt that waits for permits does so no more until its run goes on."""
    _release(core, scope, node)
    core.put_off(scope, "ask", node)


def ask_again(core: Core, scope: Scope, node: int) -> None:
    """Its run goes on."""
    if scope.states[node] == QUEUED:
        _ask(core, scope, node, scope.graph.settings[node])


def grant(core: Core, scope: Scope, node: int) -> None:
    """The attempt may be dispatched; it has its permits."""
    if scope.run.timers and scope.graph.settings[node].expires_ms is not None:
        core.clear_timer(scope.run, "expires", scope, node)
    if type(scope.graph.nodes[node]) is ChildNode:
        scope.states[node] = RUNNING
        core.agenda.append((OPEN, scope, node, 0))
    else:
        scope.states[node] = GRANTED
        if scope.out is None or not is_out(scope, node):
            dispatch(core, scope, node)
    if core.watched is None or scope.run.id in core.watched:
        note(core, scope, node)


def dispatch(core: Core, scope: Scope, node: int) -> None:
    """Asks for the current attempt to be run, and of its followers what can go with it."""
    if scope.out is not None and may_have_run(scope, node) and node not in scope.attempts:
        again = attempt_of(scope, node)
        again.number, again.uncounted = 2, 1
    then: tuple[Then, ...] = ()
    if scope.graph.next[node] >= 0:
        attempt = scope.attempts.get(node)
        if attempt is None or not attempt.alone:
            then = fuse(scope, node, core.max_fused)
    core.commands.append(ready(scope, node, then))


def ready(scope: Scope, node: int, then: tuple[Then, ...]) -> Ready:
    """The current attempt, as work."""
    graph, run, attempt = scope.graph, scope.run, scope.attempts.get(node)
    settings = graph.settings[node]
    return Ready(
        run.id,
        scope.id,
        graph.block,
        node,
        attempt.number if attempt else 1,
        -1,
        -1,
        inputs_of(scope, node),
        graph.tables.digest,
        graph.flow,
        graph.lanes[node],
        settings.priority if run.priority is None else own_priority(run.priority, settings),
        run.seq,
        attempt is not None and attempt.alone,
        None if scope.parent < 0 else index_of(scope),
        then,
        0 if settings.expires_ms is None else _expires_ms(scope, node),
        attempt is not None and attempt.uncounted > 1,
        bool(run.paused) and not is_held(scope),
    )


def priority_of(run: Run, settings: StepSettings) -> int:
    """A step's own priority; of one that sets none, its run's."""
    return own_priority(run.priority, settings)


def own_priority(of_run: int | None, settings: StepSettings) -> int:
    """The same, by what the run was submitted with."""
    return settings.priority if of_run is None or settings.priority != _PLAIN_PRIORITY else of_run


def _expires_ms(scope: Scope, node: int) -> int:
    """When the node expires if it has not begun, milliseconds since 1970; 0: never, or it has begun before."""
    expires = scope.graph.settings[node].expires_ms
    if expires is None or isinstance(scope.graph.nodes[node], EachNode):
        return 0
    attempt = scope.attempts.get(node)
    failed_before = attempt is not None and attempt.number - attempt.uncounted > 1
    return 0 if failed_before else scope.began[node] + expires


def expire_waiting(core: Core, scope: Scope, node: int) -> None:
    """Its time to begin is over, and it still waits."""
    if scope.states[node] == QUEUED:
        _expire(core, scope, node)


def _expire(core: Core, scope: Scope, node: int) -> None:
    _tidy(core, scope, node)
    finish(core, scope, node, EXPIRED, error=expiry_failure(scope.graph.settings[node]))


def expiry_failure(settings: StepSettings) -> Failure:
    limit = (settings.expires_ms or 0) / 1000
    return Failure(type="Expired", message=f"it had not begun within its `expires` of {limit:g} s", retryable=False)


def take_outcome(core: Core, scope: Scope, node: int, bundle: str, outcome: Outcome) -> None:
    """A worker says how an attempt ended."""
    attempt = scope.attempts.get(node)
    if scope.states[node] != GRANTED or outcome.attempt != (attempt.number if attempt else 1):
        if outcome.state != "returned":  # the rest of a chain comes back with what stood before it
            core.ignore(f"stale result of {outcome.run}/{outcome.scope}/{outcome.node}/{outcome.attempt}")
        if scope.states[node] == WAITING:
            detach(scope, node, unsure=True, itself=True)  # before its predecessor's: it will not come again
        return
    if len(outcome.seconds) == 4 and outcome.state != "returned":
        put_seconds(scope, node, outcome.seconds)
    if outcome.state == "success":
        _take_value(core, scope, node, outcome.value)
        return
    detach(scope, node, unsure=False, itself=True)
    if outcome.state == "returned":
        attempt = attempt_of(scope, node)
        if attempt.returned_by != bundle:
            attempt.returned_by = bundle
            dispatch(core, scope, node)
    elif outcome.state == "skipped":
        skip(core, scope, node)
    elif outcome.state == "expired":
        _expire(core, scope, node)
    elif outcome.state == "replaced":
        _replace(core, scope, node, outcome.value)
    else:
        fail_attempt(core, scope, node, outcome.error or _UNKNOWN)


def _replace(core: Core, scope: Scope, node: int, value: bytes) -> None:
    """A canvas takes the place of the node: this was its last attempt."""
    failure = replace.bring_in(core, scope, node, value)
    if failure is None:
        _release(core, scope, node)
    else:
        fail_attempt(core, scope, node, failure)


def _take_value(core: Core, scope: Scope, node: int, value: bytes) -> None:
    """An attempt succeeded."""
    if not is_whole(value):
        fail_attempt(core, scope, node, _DAMAGED)
    elif type(scope.graph.nodes[node]) in _OPENED:
        # its arguments, or its source
        core.agenda.append((OPEN, scope, node, 0))
        scope.values[node] = value
        scope.states[node] = RUNNING
    else:
        succeed(core, scope, node, value)


def is_whole(value: bytes) -> bool:
    """The bytes are exactly one value."""
    try:
        _raw.decode(value)
    except msgspec.DecodeError:
        return False
    return True


def skip(core: Core, scope: Scope, node: int) -> None:
    """The node ends without a value, and without a failure."""
    attempt_of(scope, node)
    _tidy(core, scope, node)
    finish(core, scope, node, SKIPPED)


def succeed(core: Core, scope: Scope, node: int, value: bytes) -> None:
    """The node has its value."""
    _tidy(core, scope, node)
    if type(scope.graph.nodes[node]) is BranchNode:
        try:
            scope.arms = entered(scope.arms, node, arm_of(value))
        except ExpressionError as error:
            failure = Failure(type="ExpressionError", message=str(error), retryable=False)
            finish(core, scope, node, FAILED, error=failure)
            return
    if scope.graph.is_undone:
        undo.remember(scope, node, value)
    finish(core, scope, node, SUCCESS, value)


def fail_attempt(core: Core, scope: Scope, node: int, failure: Failure) -> None:
    """An attempt failed: another one after a while, or the node has failed."""
    _release(core, scope, node)
    detach(scope, node, unsure=True, itself=True)
    attempt = attempt_of(scope, node)
    definition = scope.graph.nodes[node]
    settings = scope.graph.settings[node]
    policy = settings.retry if isinstance(definition, TaskNode | ChildNode) else _PURE
    failures = attempt.number - attempt.uncounted
    key = f"{scope.run.id}/{scope.id}/{node}/{attempt.number}"
    over = attempt.final or is_over(settings, failure) or (scope.cancelled and node not in scope.graph.teardowns)
    wait = None if over else wait_ms(policy, failures, key, failure)
    if wait is None:
        _tidy(core, scope, node)
        finish(core, scope, node, FAILED, error=failure)
        return
    open_asides(core, scope, node, failure, failures)
    attempt.number += 1
    if wait:
        scope.states[node] = RETRYING
        core.set_timer(scope.run, "retry", scope, node, wait)
        note(core, scope, node, f"{failure.type}: {failure.message}")
    else:
        _ask(core, scope, node, settings)


def is_over(settings: StepSettings, failure: Failure) -> bool:
    """It is to run at most once, and it is not known how far this attempt came: none may follow."""
    return settings.at_most_once and failure.type in _UNKNOWN_ENDS


def retry_due(core: Core, scope: Scope, node: int) -> None:
    """The wait before the next attempt is over."""
    if scope.states[node] == RETRYING:
        _ask(core, scope, node, scope.graph.settings[node])


def lose(core: Core, scope: Scope, node: int, number: int) -> None:
    """The worker that ran it died: another attempt, alone in its bundle, which the retry policy does not count."""
    if scope.states[node] != GRANTED or number_of(scope, node) != number:
        core.ignore(f"stale loss of {scope.run.id}/{scope.id}/{node}/{number}")
        return
    if scope.graph.settings[node].at_most_once:
        fail_attempt(core, scope, node, DIED_ONCE)
        return
    attempt = attempt_of(scope, node)
    attempt.crashes += 1
    detach(scope, node, unsure=True, itself=True)
    if attempt.crashes >= MAX_CRASHES:
        fail_attempt(core, scope, node, WORKER_DIED)
        return
    _release(core, scope, node)
    attempt.alone = True
    attempt.number += 1
    attempt.uncounted += 1
    _ask(core, scope, node, scope.graph.settings[node])


def deadline_passed(core: Core, scope: Scope, node: int) -> None:
    """A task was not done in the time for all its attempts."""
    if scope.states[node] == GRANTED:
        core.commands.append(Revoke(scope.run.id, scope.id, node, number_of(scope, node)))
    _tidy(core, scope, node)
    finish(core, scope, node, FAILED, error=deadline_failure(scope, node))


def deadline_failure(scope: Scope, node: int) -> Failure:
    settings = scope.graph.settings[node]
    limit = (settings.deadline_ms or 0) / 1000
    message = f"it was not done within its `deadline` of {limit:g} s, all attempts together"
    return Failure(type="Timeout", message=message, retryable=False)


def withdraw(core: Core, scope: Scope, node: int, state: int) -> None:
    """The node is cancelled, whatever its attempt was doing."""
    if scope.states[node] == GRANTED or is_out(scope, node):
        core.commands.append(Revoke(scope.run.id, scope.id, node, number_of(scope, node)))
    if WAITING < scope.states[node] < SUCCESS:
        attempt_of(scope, node)  # the record tells that it was begun
    _tidy(core, scope, node)
    finish(core, scope, node, state)


def _tidy(core: Core, scope: Scope, node: int) -> None:
    """Nothing of the node's attempts is left behind: slots, timers."""
    if scope.attempts:
        _release(core, scope, node)
    if scope.run.timers:
        core.clear_timer(scope.run, "retry", scope, node)
        core.clear_timer(scope.run, "deadline", scope, node)
        core.clear_timer(scope.run, "limit", scope, node)
        core.clear_timer(scope.run, "delay", scope, node)
        core.clear_timer(scope.run, "expires", scope, node)


def _release(core: Core, scope: Scope, node: int) -> None:
    attempt = scope.attempts.get(node)
    if attempt is not None and attempt.needs:
        permits.release(core, scope, node, attempt)
