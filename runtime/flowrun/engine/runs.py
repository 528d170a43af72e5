"""The life of a run: its submission, its beginning, and its end."""

from __future__ import annotations

import hashlib

from flowc.plan import Plan

from flowrun.messages import Failure, Submit

from . import again, permits, run_variables, slas
from .commands import EndRun, SetTimer
from .core import Core
from .evaluate import ExpressionError
from .flows import ArgumentError, cancel_flow, open_flow, parameters
from .past import digest_of
from .pauses import BY_FLOW
from .run_ends import run_ended
from .state import CANCELLED, EXPIRED, FAILED, NULL, SUCCESS, Outcome, Run, Timer, entered

__all__ = ["admit", "cancel", "debounced", "end", "expire", "new_run", "permitted", "stand_back", "submit"]

_CANCELLED = Failure(type="Cancelled", message="it was cancelled before it began", retryable=False)
_EXPIRED = Failure(type="Expired", message="it had not begun by the time at which it expires", retryable=False)


def submit(core: Core, event: Submit, seq: int, *, paused: int = 0, refusal: Failure | None = None) -> None:
    """Takes a run on. The same id is the same run: what comes again changes nothing. `paused`: why it is not to begin
    yet; `refusal`: why it cannot run."""
    mark = digest_of(event.run)
    if core.is_live(event.run) or core.past.has(mark):
        core.ignore(_again(core, event))
        return
    run = new_run(core, event, seq, mark)
    core.add_run(run)
    if run.tables is not None and run.tables.plan.sla is not None:
        slas.open_run(core, run, run.tables.plan.sla)
    if core.marks.take(event.run):
        end(core, run, Outcome(CANCELLED, error=_CANCELLED))
    elif event.expires_ms and core.now > event.expires_ms:
        expire(core, run)
    elif refusal is not None:
        end(core, run, Outcome(FAILED, error=refusal))
    elif paused or run.flow in core.pauses.flows:
        run.paused = paused | (BY_FLOW if run.flow in core.pauses.flows else 0)
        core.pause(run)
        _hold(core, run)
    else:
        admit(core, run)


def new_run(core: Core, event: Submit, seq: int, mark: bytes) -> Run:
    """A run that has not begun."""
    tables = core.tables.get(event.plan)
    run = Run(
        event.run, mark, tables, event.plan, seq, core.now, event.trigger, event.client, event.priority, bool(event.key)
    )
    run.args, run.expires_ms, run.depth = event.args, event.expires_ms, event.depth
    run.scheduled = event.scheduled
    if event.again is not None:
        again.take(core, run, event.again)
    if event.key:
        run.digest = _digest(event)
    if tables is not None:
        run.flow = tables.plan.flow
    return run


def _again(core: Core, event: Submit) -> str:
    run = core.peek(event.run)
    if event.key and run is not None and run.digest != _digest(event):
        return f"run {event.run} was submitted again, by the same key, with another plan or other arguments"
    return f"run {event.run} was submitted again"


def _digest(event: Submit) -> bytes:
    return hashlib.blake2b(event.plan.encode() + event.args, digest_size=8).digest()


def stand_back(core: Core, run: Run) -> None:
    """A run that has not begun waits for no permits until it goes on: then it is admitted anew."""
    permits.close_run(core, run)
    run.needs, run.held = (), 0
    if "debounce" in run.timers:
        core.drop_timer(run, "debounce")


def admit(core: Core, run: Run) -> None:
    """Begins the run, or lets it wait for its permits."""
    if run.ending is not None:
        return  # handlers of it still run, and then it ends
    given = _given(core, run)
    if given is None or run.tables is None:
        return
    if not permits.is_limited_flow(run.tables.plan):
        _begin(core, run, given)
        return
    try:
        run.needs = permits.run_needs(run, run.tables.plan, given)
    except ExpressionError as error:
        _refuse(core, run, "ExpressionError", f"the key of {_keyed(run.tables.plan)}: {error}")
        return
    if permits.ask_run(core, run):
        _hold(core, run)
    else:
        _begin(core, run, given)


def _keyed(plan: Plan) -> str:
    """The settings of a flow that have keys."""
    return " or ".join(f"`{name}`" for name in ("debounce", "concurrency") if getattr(plan, name) is not None)


def permitted(core: Core, run: Run) -> None:
    """The run has one permit more: waits to be replaced by a newer one, asks for the next permit, or begins."""
    run.held += 1
    debounce = run.tables.plan.debounce if run.tables is not None else None
    if debounce is not None and run.held == 1:
        at_ms = max(run.submitted_ms + debounce.wait_ms, core.now)
        run.timers = entered(run.timers, "debounce", Timer("debounce", -1, -1, -1, at_ms))
        core.commands.append(SetTimer(run.id, "debounce", at_ms))
    else:
        _go_on(core, run)


def debounced(core: Core, run: Run) -> None:
    """No newer one came in time."""
    permits.close_debounce(core, run)
    _go_on(core, run)


def _go_on(core: Core, run: Run) -> None:
    if not permits.ask_run(core, run):
        given = _given(core, run)
        if given is not None:
            _begin(core, run, given)


def _given(core: Core, run: Run) -> list[bytes] | None:
    """The parameters of its flow; None: the run was refused."""
    if run.tables is None:
        why = core.refused.get(run.plan, "it was not loaded")
        _refuse(core, run, "NotFound", f"the run's plan cannot be used: {why}")
        return None
    run_variables.take(core, run)
    try:
        return parameters(core, run, run.graph("", 0), run.args) if run.again is None else again.parameters(core, run)
    except again.AgainError as error:
        _refuse(core, run, "NotFound", str(error))
    except ArgumentError as error:
        _refuse(core, run, "TypeMismatch", str(error))
    except ExpressionError as error:
        _refuse(core, run, "ExpressionError", f"the default of a parameter has no value: {error}")
    return None


def _begin(core: Core, run: Run, given: list[bytes]) -> None:
    """Nothing holds the run back: opens its flow."""
    run.args, run.begun_ms = b"", core.now
    if "begin" in run.timers:
        core.drop_timer(run, "begin")
    if run.again is None:
        run.body = open_flow(core, run, run.graph("", 0), given)
    else:
        try:
            run.body = again.open_again(core, run, given)
        except again.AgainError as error:
            _refuse(core, run, "NotFound", str(error))
        run.image = b""
    if run.levels is not None and run.body is not None:
        slas.began(core, run, run.body)


def _hold(core: Core, run: Run) -> None:
    """The run waits for something before it begins: until it expires."""
    if run.expires_ms:
        run.timers = entered(run.timers, "begin", Timer("begin", -1, -1, -1, run.expires_ms))
        core.commands.append(SetTimer(run.id, "begin", run.expires_ms))


def expire(core: Core, run: Run) -> None:
    """It may not begin any more."""
    end(core, run, Outcome(EXPIRED, error=_EXPIRED))


def cancel(core: Core, run: Run, error: Failure | None = None) -> None:
    """Cancels a run that has not ended; `error` says why, if it was not by a cancellation."""
    if run.body is None:
        end(core, run, run.ending or Outcome(CANCELLED, error=error or _CANCELLED))
    else:
        cancel_flow(core, run.body)


def _refuse(core: Core, run: Run, kind: str, message: str) -> None:
    end(core, run, Outcome(FAILED, error=Failure(type=kind, message=message, retryable=False)))


def end(core: Core, run: Run, outcome: Outcome) -> None:
    """Nothing of the run is left to do: its record can be stored. From now on its id is remembered for a while."""
    if run.levels is not None and slas.holds_end(core, run, outcome):
        stand_back(core, run)
        if "begin" in run.timers:
            core.drop_timer(run, "begin")
        return
    if outcome.state == SUCCESS and run.again is None:
        core.history.add(run.flow, core.now - run.begun_ms)
    run.state, run.result, run.args, run.image = outcome.state, outcome.value, b"", b""
    if run.tables is not None and run.tables.plan.drops_result:
        run.result = NULL
    run.error, run.failed_step = outcome.error, outcome.step
    run.ended_ms = core.now
    run.scopes.clear()
    core.claims.close_run(run.id)
    if run.paused:
        core.pauses.runs.discard(run.id)
    if run.timers:
        for name in list(run.timers):
            core.drop_timer(run, name)
    core.past.add(run.mark, core.now, run.keyed)
    core.commands.append(EndRun(run.id, run.client))
    if core.triggers:
        run_ended(core, run)
