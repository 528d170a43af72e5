"""Steps that wait for the world: timers, signals into the run, events from outside, decisions of people.

Such a step needs no worker. It is DELAYED while it waits, and `Scope.waits` has the *key* of what it waits for:

    ""                        only its timer ("wake") ends it
    signal/NAME               a signal, which `Run.awaits` finds it by: in the order in which steps began to wait
    event/SUBJECT\\0KEY        an event, which `Core.listeners` finds its run by
    approval/STEP[INDEX]      a decision about this step

`timeout` is a timer too ("patience"). Whatever ends the wait takes all of that away.
"""

from __future__ import annotations

import datetime as dt
import functools
import struct
from collections.abc import Callable
from typing import Any, NoReturn

import msgspec
from flowc.plan import WaitNode
from flowc.types import DATETIME, DURATION, JSON, Type, text

from flowrun import values
from flowrun.messages import Failure

from . import awaiting, tasks
from .core import Core, fail, finish, inputs_of, note, store
from .evaluate import ExpressionError, compute
from .listeners import APPROVAL, event_key, outer_key
from .scopes import index_of
from .state import DELAYED, FAILED, FLOW, GRANTED, NULL, SUCCESS, Decided, Scope, Wait, entered, put_seconds

__all__ = [
    "argument", "decide", "out_of_time", "problem_of", "signal_key", "start", "step_path", "take", "told", "wake",
    "withdraw",
]  # fmt: skip

#: a timer is never set later than this, in milliseconds since 1970: the year 9999
_LAST_MS = 253_370_764_800_000
_TYPES: dict[str, Type] = {"for": DURATION, "at": DATETIME}
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
#: what is only looked at by eyes
_SHOWN = "show"
_NO_SECONDS = struct.pack("<f", 0.0)
Arguments = dict[str, Any]


# ---- begin ----------------------------------------------------------------------------------------------------------


def start(core: Core, scope: Scope, node: int) -> None:
    """Nothing holds it back any more, and a worker has evaluated its arguments, if one had to: it waits from now on, or
    ends at once."""
    definition = _definition(scope, node)
    try:
        args = _arguments(scope, node, definition)
        if args is not None:
            _BEGIN[definition.waits_for](core, scope, node, args)
            return
    except ExpressionError as error:
        fail(core, scope, node, "ExpressionError", str(error))
        return
    scope.states[node] = GRANTED
    tasks.dispatch(core, scope, node)


def _definition(scope: Scope, node: int) -> WaitNode:
    found = scope.graph.nodes[node]
    assert isinstance(found, WaitNode)
    return found


def _arguments(scope: Scope, node: int, definition: WaitNode) -> Arguments | None:
    """What it waits for, but for what is only shown; None if a worker must evaluate it. Raises ExpressionError."""
    packed = scope.values[node]
    if packed is not None:  # a worker did
        raw = msgspec.msgpack.decode(packed, type=dict[str, msgspec.Raw])
        return {name: _decoded(name, bytes(value)) for name, value in raw.items() if name != _SHOWN}
    inputs = inputs_of(scope, node)
    args: Arguments = {}
    for name, expr in definition.args:
        if name != _SHOWN:
            value = compute(scope.graph, node, expr, inputs)
            if value is None:
                return None
            args[name] = _decoded(name, value)
    return args


def _decoded(name: str, value: bytes) -> Any:
    try:
        return values.decode(value, _TYPES.get(name, JSON), _no_blobs)
    except values.TypeMismatch as error:
        raise ExpressionError(f"`{name}`: {error}") from error


def _no_blobs(digest: str) -> NoReturn:
    raise ExpressionError("what is waited for is a value above 32 KiB: pass what tells it apart by itself")


def argument(scope: Scope, node: int, name: str) -> bytes | None:
    """An argument as it is; None: it has none of this name, or only a worker can evaluate it."""
    for known, expr in _definition(scope, node).args:
        if known == name:
            try:
                return compute(scope.graph, node, expr, inputs_of(scope, node))
            except ExpressionError:
                return None
    return None


def _text(args: Arguments, name: str, default: str = "") -> str:
    """An argument that is text. Raises ExpressionError."""
    value = args.get(name)
    if value is not None and not isinstance(value, str):
        raise ExpressionError(f"`{name}` is not text")
    return default if value is None else value


# ---- kinds ----------------------------------------------------------------------------------------------------------


def _begin_sleep(core: Core, scope: Scope, node: int, args: Arguments) -> None:
    length = args["for"] // dt.timedelta(milliseconds=-1)  # rounded up: a timer is never early
    _sleep(core, scope, node, -length)


def _begin_until(core: Core, scope: Scope, node: int, args: Arguments) -> None:
    at = args["at"] if args["at"].tzinfo is not None else args["at"].replace(tzinfo=dt.UTC)
    _sleep(core, scope, node, -((at - _EPOCH) // dt.timedelta(milliseconds=-1)) - core.now)


def _sleep(core: Core, scope: Scope, node: int, wait_ms: int) -> None:
    if wait_ms <= 0:
        take(core, scope, node, _moment(core.now))
        return
    core.set_timer(scope.run, "wake", scope, node, min(wait_ms, _LAST_MS - core.now))
    _wait(core, scope, node, "")


def _begin_signal(core: Core, scope: Scope, node: int, args: Arguments) -> None:
    name, run = _text(args, "name"), scope.run
    kept = run.signals.get(name)
    if kept and _text(args, "missed") != "drop":
        message = kept.pop(0)
        if not kept:
            del run.signals[name]
        take(core, scope, node, message)
    else:
        _wait(core, scope, node, signal_key(name))


def _begin_event(core: Core, scope: Scope, node: int, args: Arguments) -> None:
    _wait(core, scope, node, event_key(_text(args, "subject"), _text(args, "key")))


def _begin_approval(core: Core, scope: Scope, node: int, args: Arguments) -> None:
    _wait(core, scope, node, f"{APPROVAL}/{step_path(scope, node)}")


def _begin_approved(core: Core, scope: Scope, node: int, args: Arguments) -> None:
    take(core, scope, node, _decision(core, True, _text(args, "by"), args.get("note")))


_BEGIN: dict[str, Callable[[Core, Scope, int, Arguments], None]] = {
    "sleep": _begin_sleep,
    "until": _begin_until,
    "signal": _begin_signal,
    "event": _begin_event,
    "approval": _begin_approval,
    "approved": _begin_approved,
}


@functools.lru_cache(maxsize=1_024)  # many runs wait for the same: they share the text
def signal_key(name: str) -> str:
    """What waits for a signal."""
    return f"signal/{name}"


def _wait(core: Core, scope: Scope, node: int, key: str) -> None:
    run = scope.run
    scope.states[node] = DELAYED
    scope.waits = entered(scope.waits, node, Wait(key, core.now))
    if key and awaiting.add(run, key, awaiting.place_of(scope, node)) and (outer := outer_key(key)):
        core.listeners.add(outer, run.id)
    limit = scope.graph.settings[node].timeout_ms
    if limit is not None:
        core.set_timer(run, "patience", scope, node, limit)
    if core.watched is None or run.id in core.watched:
        note(core, scope, node, told(scope, node))


# ---- end ------------------------------------------------------------------------------------------------------------


def take(core: Core, scope: Scope, node: int, value: bytes) -> None:
    """What it waited for is there. What is not of its type fails it."""
    _close(core, scope, node)
    kind = scope.graph.plan.types[scope.graph.nodes[node].type]
    problem = problem_of(value, kind, "what came")
    if problem:
        fail(core, scope, node, "TypeMismatch", f"{text(kind)} was waited for: {problem}")
    else:
        finish(core, scope, node, SUCCESS, store(core, value))


def _close(core: Core, scope: Scope, node: int) -> None:
    """It waits no more."""
    scope.values[node] = None
    wait, run = scope.waits.pop(node, None) if scope.waits else None, scope.run
    if wait is None:  # it ended at once
        put_seconds(scope, node, _NO_SECONDS)
        return
    put_seconds(scope, node, struct.pack("<f", (core.now - wait.since_ms) / 1000))
    if run.timers:
        core.clear_timer(run, "wake", scope, node)
        core.clear_timer(run, "patience", scope, node)
    if awaiting.drop(run, wait.key, awaiting.place_of(scope, node)) and (outer := outer_key(wait.key)):
        core.listeners.drop(outer, run.id)


def withdraw(core: Core, scope: Scope, node: int, state: int) -> None:
    """It is cancelled, or left out."""
    _close(core, scope, node)
    tasks.withdraw(core, scope, node, state)


def wake(core: Core, scope: Scope, node: int) -> None:
    """Its time has come."""
    if node in scope.waits:
        take(core, scope, node, _moment(core.now))


def out_of_time(core: Core, scope: Scope, node: int) -> None:
    """Its `timeout` is over: it fails, unless an approval says what that means."""
    if node not in scope.waits:
        return
    limit = f"{(scope.graph.settings[node].timeout_ms or 0) / 1000:g} s"
    if _definition(scope, node).waits_for == "approval":
        otherwise = _option(scope, node, "on_timeout")
        if otherwise in ("approve", "reject"):
            decide(core, scope, node, otherwise == "approve", "timeout", f"nobody decided within {limit}")
            return
    what = _WHAT.get(_definition(scope, node).waits_for, "it was not over")
    _close(core, scope, node)
    fail(core, scope, node, "Timeout", f"{what} within its `timeout` of {limit}")


_WHAT = {"signal": "no signal came", "event": "no event came", "approval": "nobody decided"}


def _option(scope: Scope, node: int, name: str) -> str:
    """One of the words that an option of an approval can be; "" where it says none."""
    try:
        args = _arguments(scope, node, _definition(scope, node)) or {}
        return _text(args, name)
    except ExpressionError:  # it was evaluated when the wait began
        return ""


def problem_of(value: bytes, kind: Type, name: str) -> str:
    """Why a value is not of a type, in words that begin with the place; "" if it is."""
    try:
        values.decode(value, kind, _no_blobs)
    except (values.TypeMismatch, ExpressionError) as error:
        return str(error).replace("`$", f"`{name}")
    return ""


def _moment(now_ms: int) -> bytes:
    """A time as a value."""
    return values.encode(_EPOCH + dt.timedelta(milliseconds=now_ms))


# ---- decisions ------------------------------------------------------------------------------------------------------


def decide(core: Core, scope: Scope, node: int, approved: bool, by: str, remark: str | None) -> None:
    """Somebody decided, or the time-out did. A refusal fails the step, unless it says otherwise."""
    run, step = scope.run, step_path(scope, node)
    run.decided = entered(run.decided, step, Decided(approved, by, core.now))
    if approved or _option(scope, node, "on_reject") == "return":
        take(core, scope, node, _decision(core, approved, by, remark))
        return
    _close(core, scope, node)
    why = f"{by} rejected it" + (f": {remark}" if remark else "")
    finish(core, scope, node, FAILED, error=Failure(type="Rejected", message=why, retryable=False))


def _decision(core: Core, approved: bool, by: str, remark: object) -> bytes:
    at = _EPOCH + dt.timedelta(milliseconds=core.now)
    return values.encode({"approved": approved, "by": by, "note": remark, "at": at})


def step_path(scope: Scope, node: int) -> str:
    """A step's name for people: "ask", "ask[3]" in an `each`, "child.ask" in a child run."""
    name, index = scope.graph.nodes[node].name, index_of(scope)
    while scope.parent >= 0:
        if scope.kind == FLOW:
            name = f"{scope.run.scopes[scope.parent].graph.nodes[scope.node].name}.{name}"
        scope = scope.run.scopes[scope.parent]
    if index is None:
        return name
    return name + "".join(f"[{i}]" for i in (index if isinstance(index, tuple) else (index,)))


# ---- for eyes -------------------------------------------------------------------------------------------------------


def told(scope: Scope, node: int) -> str:
    """What a step waits for, in words; "" if it does not wait for the world."""
    wait = scope.waits.get(node)
    if wait is None:
        return ""
    kind, _, rest = wait.key.partition("/")
    if kind == "signal":
        return f"waits for the signal `{rest}`"
    if kind == "event":
        subject, _, about = rest.partition("\0")
        return f"waits for the event `{subject}`" + (f" about `{about}`" if about else "")
    if kind == APPROVAL:
        return "waits for an approval" + _of_group(scope, node)
    timer = scope.run.timers.get(f"wake/{scope.id}/{node}")
    if timer is None:
        return "waits"
    until = _EPOCH + dt.timedelta(milliseconds=timer.at_ms)
    return f"waits until {until:%Y-%m-%d %H:%M:%S} UTC"


def _of_group(scope: Scope, node: int) -> str:
    group = argument(scope, node, "group")
    shown = msgspec.msgpack.decode(group) if group not in (None, NULL) else ""
    return f" of `{shown}`" if shown else ""
