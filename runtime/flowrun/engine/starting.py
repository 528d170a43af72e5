"""Runs that nobody submits: a trigger, or a backfill, starts them.

What starts a run while an event is being decided puts it on `Triggers.due`, and it begins when the event has been
followed up: so nothing calls back, and an end that starts a run that ends at once is one more turn of a loop. A run's
id follows from the trigger and what it stands for, a window and the number of the run in it, or what came: whoever
decides it again names the same run, and the same run is started once.

A flow that depends on its past: a run is *held* until the last window before its own that had a run is a success. It is
a run like any other, that was submitted and is paused for this reason; somebody may resume it by hand.
"""

from __future__ import annotations

import msgspec
from flowc.plan import Expr
from flowc.types import JSON, RUN, Type, event_of

from flowrun import values, wire
from flowrun.messages import Failure, Scheduled, Submit
from flowrun.run_ids import run_id_of_window

from . import control, runs
from .core import Core
from .evaluate import ExpressionError, compute_free
from .flows import facts
from .ledger import LIVE, SUCCESS
from .pauses import BY_PAST
from .state import NULL
from .triggered import MOST_RECENT, Recent, Start, Triggered

__all__ = ["evaluate_for", "go_on", "kinds_of_event", "start", "start_window", "state_of", "submitted"]

_NO_ARGS = b"\x80"
_HELD = "it waits for the success of the window before (`depends_on_past`)"
_args_decoder = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])


def state_of(core: Core, trigger: str, at_ms: int) -> int:
    """What became of a window: a state of `ledger`."""
    return core.triggers.ledger(trigger).state(at_ms)


def start_window(
    core: Core, trigger: Triggered, scheduled: Scheduled, args: bytes = _NO_ARGS, plan: str = "", event: bytes = NULL,
    *, body: int = -1, waits: bool = False,
) -> str:  # fmt: skip
    """Starts the next run of a window: gives its id. `args`: parameters that are given; the trigger gives the others.
    `plan`: "" for the deployed one; it must be loaded when the event has been followed up. `waits`: for its past."""
    number = core.triggers.ledger(trigger.id).number(scheduled.at_ms) + 1
    run = run_id_of_window(trigger.id, scheduled.at_ms, number, core.partition, core.partitions)
    core.triggers.put(trigger.id, scheduled.at_ms, number, LIVE)
    start(core, trigger, run, event, scheduled, args, plan, body=body, waits=waits)
    return run


def start(
    core: Core, trigger: Triggered, run: str, event: bytes, scheduled: Scheduled | None = None,
    args: bytes = _NO_ARGS, plan: str = "", *, body: int = -1, waits: bool = False,
    refusal: tuple[str, str] | None = None,
) -> None:  # fmt: skip
    """Starts a run of a trigger, for a time or for what came (NULL: nothing; `body`: the type of its body, as its
    source has it). `refusal`: why it fails at once, kind and message."""
    try:
        args = _arguments(core, trigger, run, event, body, scheduled, args) if refusal is None else args
    except ExpressionError as error:
        refusal = ("ExpressionError", f"the arguments of trigger `{trigger.id}`: {error}")
    core.triggers.due.append(Start(run, trigger.id, plan or trigger.plan, args, scheduled, waits, refusal))
    trigger.started += 1
    if scheduled is None:
        trigger.recent = (Recent(run, core.now), *trigger.recent[: MOST_RECENT - 1])
    core.triggers.touch(trigger)


def submitted(core: Core, event: Submit) -> None:
    """Somebody submits a run for a window, such as a rerun: the trigger's ledger counts it."""
    window = event.scheduled
    if window is not None and window.trigger in core.triggers.own and not core.is_known(event.run):
        number = core.triggers.ledger(window.trigger).number(window.at_ms) + 1
        core.triggers.put(window.trigger, window.at_ms, number, LIVE)


# ---- arguments ------------------------------------------------------------------------------------------------------


def kinds_of_event(trigger: Triggered, body: int) -> Type:
    """The type of the record `event`; `body`: as a source has it, -1 for one that brings nothing."""
    return event_of(trigger.types[body] if 0 <= body < len(trigger.types) else JSON)


def evaluate_for(trigger: Triggered, expr: Expr, event: bytes, facts: bytes = NULL, body: int = -1) -> bytes:
    """The value of an expression of a trigger. Raises ExpressionError."""
    kinds = (JSON if event == NULL else kinds_of_event(trigger, body), JSON if facts == NULL else RUN)
    return compute_free(expr, (event, facts), kinds)


def _arguments(
    core: Core, trigger: Triggered, run: str, event: bytes, body: int, scheduled: Scheduled | None, given: bytes
) -> bytes:
    """The values of all parameters that the trigger, or who asks for the run, has one for."""
    wanted = trigger.definition.args
    if not wanted:
        return given
    known = {name: bytes(value) for name, value in _args_decoder.decode(given).items()}
    told = values.encode(facts(run, trigger.flow, core.now, scheduled))
    made = [(name, evaluate_for(trigger, expr, event, told, body)) for name, expr in wanted if name not in known]
    return wire.make_map([*known.items(), *made])


# ---- what is due ----------------------------------------------------------------------------------------------------


def go_on(core: Core) -> bool:
    """Starts, or lets go on, the first that is due. False: nothing is."""
    if not core.triggers.due:
        return False
    entry = core.triggers.due.popleft()
    if isinstance(entry, str):
        _release(core, entry)
        return True
    core.deciding, core.triggers.starting = entry.run, entry
    event = Submit(entry.run, entry.plan, entry.args, entry.trigger, scheduled=entry.scheduled)
    refusal = Failure(*entry.refusal, retryable=False) if entry.refusal is not None else None
    held = entry.waits and _waits(core, entry.run, entry.scheduled)
    runs.submit(core, event, core.seq, paused=BY_PAST if held else 0, refusal=refusal)
    core.triggers.starting = None
    if held and (run := core.runs.get(entry.run)) is not None:
        control.audit(core, run, "hold", "", _HELD)
    return True


def _waits(core: Core, run: str, scheduled: Scheduled | None) -> bool:
    """The run is to wait for an earlier window: it is told when that one succeeds."""
    trigger = core.triggers.own.get(scheduled.trigger) if scheduled is not None else None
    if trigger is None or scheduled is None:
        return False
    earlier = core.triggers.ledger(trigger.id).before(scheduled.at_ms)
    if earlier is None or earlier[1] == SUCCESS:
        return False
    trigger.waiting.setdefault(earlier[0], []).append(run)
    core.triggers.touch(trigger)
    return True


def _release(core: Core, name: str) -> None:
    """The window that a run waited for is a success: it begins, unless another one came between."""
    run = core.find(name)
    if run is None or run.ended or not run.paused & BY_PAST:
        return
    core.deciding = name
    if not _waits(core, name, run.scheduled):
        control.go_on(core, run, BY_PAST)
