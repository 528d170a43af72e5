"""The life of a run: its submission, its beginning, and its end."""

from __future__ import annotations

import hashlib

from flowrun.messages import Failure, Submit

from .commands import EndRun, SetTimer
from .core import Core
from .evaluate import ExpressionError
from .flows import ArgumentError, open_flow, parameters
from .outcome import Outcome
from .state import CANCELLED, EXPIRED, FAILED, Run, Timer

__all__ = ["begin", "end", "expire", "hold", "submit"]

_CANCELLED = Failure(type="Cancelled", message="it was cancelled before it began", retryable=False)
_EXPIRED = Failure(type="Expired", message="it had not begun by the time at which it expires", retryable=False)


def submit(core: Core, event: Submit, seq: int) -> None:
    """Takes a run on. The same id is the same run: what comes again changes nothing."""
    if core.is_known(event.run):
        core.ignore(_again(core, event))
        return
    run = Run(event.run, core.tables.get(event.plan), event.plan, seq, core.now)
    run.trigger, run.client, run.priority = event.trigger, event.client, event.priority
    run.args, run.expires_ms = event.args, event.expires_ms
    if event.key:
        run.keyed, run.digest = True, _digest(event)
    if run.tables is not None:
        run.flow = run.tables.plan.flow
    core.add_run(run)
    if core.marks.take(event.run):
        end(core, run, Outcome(CANCELLED, error=_CANCELLED))
    elif event.expires_ms and core.now > event.expires_ms:
        expire(core, run)
    else:
        begin(core, run)


def _again(core: Core, event: Submit) -> str:
    run = core.peek(event.run)
    if event.key and run is not None and run.digest != _digest(event):
        return f"run {event.run} was submitted again, by the same key, with another plan or other arguments"
    return f"run {event.run} was submitted again"


def _digest(event: Submit) -> bytes:
    return hashlib.blake2b(event.plan.encode() + event.args, digest_size=8).digest()


def begin(core: Core, run: Run) -> None:
    """Nothing holds the run back: opens its flow."""
    args, run.args = run.args, b""
    if "begin" in run.timers:
        core.drop_timer(run, "begin")
    if run.tables is None:
        why = core.refused.get(run.plan, "it was not loaded")
        _refuse(core, run, "NotFound", f"the run's plan cannot be used: {why}")
        return
    plan = run.tables.plan
    try:
        given = parameters(core, run, plan, args)
    except ArgumentError as error:
        _refuse(core, run, "TypeMismatch", str(error))
        return
    except ExpressionError as error:
        _refuse(core, run, "ExpressionError", f"the default of a parameter has no value: {error}")
        return
    for flow in (plan, *plan.children.values()):
        for pool in flow.pools:
            core.pools.define(pool.name, pool.slots)
    run.body = open_flow(core, run, "", given)


def hold(core: Core, run: Run) -> None:
    """The run waits for something before it begins: until it expires."""
    if run.expires_ms:
        run.timers["begin"] = Timer("begin", -1, -1, -1, run.expires_ms)
        core.commands.append(SetTimer(run.id, "begin", run.expires_ms))


def expire(core: Core, run: Run) -> None:
    """It may not begin any more."""
    end(core, run, Outcome(EXPIRED, error=_EXPIRED))


def _refuse(core: Core, run: Run, kind: str, message: str) -> None:
    end(core, run, Outcome(FAILED, error=Failure(type=kind, message=message, retryable=False)))


def end(core: Core, run: Run, outcome: Outcome) -> None:
    """Nothing of the run is left to do: its record can be stored. From now on its id is remembered for a while."""
    run.state, run.result, run.args = outcome.state, outcome.value, b""
    run.error, run.failed_step = outcome.error, outcome.step
    run.ended_ms = core.now
    run.scopes.clear()
    for name in list(run.timers):
        core.drop_timer(run, name)
    core.past.add(run.id, core.now, run.keyed)
    core.commands.append(EndRun(run.id, run.client))
