"""The life of a run: its submission, and its end."""

from __future__ import annotations

from flowrun.messages import Failure, Submit

from .commands import EndRun
from .core import Core
from .evaluate import ExpressionError
from .flows import ArgumentError, open_flow, parameters
from .outcome import Outcome
from .state import FAILED, Run, Scope

__all__ = ["end", "submit"]


def submit(core: Core, event: Submit, seq: int) -> None:
    """Starts a run. The same submission twice is one run."""
    if core.is_known(event.run):
        core.ignore(f"run {event.run} was submitted again")
        return
    tables = core.tables.get(event.plan)
    run = Run(event.run, tables, event.plan, seq, core.now)
    run.trigger, run.client, run.priority, run.keyed = event.trigger, event.client, event.priority, bool(event.key)
    core.add_run(run)
    if tables is None:
        why = core.refused.get(event.plan, "it was not loaded")
        _refuse(core, run, "NotFound", f"the run's plan cannot be used: {why}")
        return
    plan = tables.plan
    run.flow = plan.flow
    try:
        given = parameters(core, run, plan, event.args)
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


def _refuse(core: Core, run: Run, kind: str, message: str) -> None:
    end(core, run, Outcome(FAILED, error=Failure(type=kind, message=message, retryable=False)))


def end(core: Core, run: Run, outcome: Outcome) -> None:
    """Nothing of the run is left to do: its record can be stored."""
    run.state, run.result = outcome.state, outcome.value
    run.error, run.failed_step = outcome.error, outcome.step
    run.ended_ms = core.now
    scopes: dict[int, Scope] = run.scopes
    scopes.clear()
    for name in list(run.timers):
        core.drop_timer(run, name)
    core.commands.append(EndRun(run.id))
