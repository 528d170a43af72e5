"""What an operator does by hand: pauses a run or a flow and resumes it, and ends a step of a run that lives.

Nothing new of a paused run is started: no step, no attempt, no item, no child run. What is at a worker runs to its end,
and what it gives is taken. What would have been done is written down in order, in `Run.waiting`, and done when the run
is resumed: nodes to be started or opened ("start", "open"), attempts that need permits ("ask"), and timers that came
due meanwhile. A paused run holds no permit but those of what runs, and one that has not begun waits for none. A run may
be paused by itself and by its flow; it goes on when neither is so. To cancel a run also resumes it, so that its
tear-downs run.

A step that is marked is cancelled, only that it ends as was said: at once, or, where something runs inside of it, when
that has been stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from flowc.types import text as type_text

from flowrun import values
from flowrun.messages import AuditEntry, Control, Failure, FlowPause

from . import fanout, runs, tasks
from .cancel import work_of
from .core import CANCEL, OPEN, START, Core, store
from .fuse import is_out
from .pauses import BY_FLOW, BY_HAND, BY_PAST, is_held
from .snapshot import head_of
from .state import (
    CANCELLED,
    DELAYED,
    FAILED,
    NAMES,
    NULL,
    QUEUED,
    REMOVED,
    RUNNING,
    SKIPPED,
    SUCCESS,
    WAITING,
    Marked,
    Run,
    Scope,
    Timer,
    attempt_of,
    entered,
)

__all__ = ["audit", "go_on", "hear"]

_STATES = {"success": SUCCESS, "skipped": SKIPPED, "failed": FAILED}


def hear(core: Core, event: Control) -> None:
    """Does it, and answers: with a text that is worth knowing, or null."""
    if core.was_answered(event):
        return
    try:
        if event.action == "mark":
            done = _mark(core, _living(core, event.run), event)
        elif event.run:
            done = _pause_or_resume(core, _living(core, event.run), event)
        else:
            done = _pause_or_resume_flow(core, event)
    except _RefusedError as error:
        core.ignore(f"{event.action} of {event.run or event.flow}: {error}")
        core.answer(event, False, str(error), values.encode(error.code))
    else:
        core.answer(event, True, "", values.encode(done))


class _RefusedError(Exception):
    """It cannot be done; the message says why. `code`: "unknown" where there is no such run."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


def _living(core: Core, name: str) -> Run:
    run = core.find(name)
    if run is not None and not run.ended:
        return run
    if core.is_known(name):
        raise _RefusedError(f"run {name} has ended")
    raise _RefusedError(
        f"run {name} is not known: it was never submitted, it waits for its time, or it ended long ago", "unknown"
    )


def audit(core: Core, run: Run, action: str, by: str, note: str, step: str = "") -> None:
    """Writes down who did what."""
    run.audit = (*run.audit, AuditEntry(core.now, action, step, by, note))


# ---- pause and resume -----------------------------------------------------------------------------------------------


def _pause_or_resume(core: Core, run: Run, event: Control) -> str:
    if event.action == "pause":
        if run.paused & BY_HAND:
            return "it was paused already"
        _pause(core, run, BY_HAND)
        audit(core, run, "pause", event.by, event.note)
        return ""
    if not run.paused:
        return "it was not paused"
    if not run.paused & (BY_HAND | BY_PAST):
        raise _RefusedError(f"run {run.id} is paused because its flow is: resume flow `{run.flow}`")
    audit(core, run, "resume", event.by, event.note)
    go_on(core, run, BY_HAND | BY_PAST)
    return f"flow `{run.flow}` is paused, and so is the run" if run.paused else ""


def _pause_or_resume_flow(core: Core, event: Control) -> str:
    flows, name = core.pauses.flows, event.flow
    if event.action == "pause":
        if name in flows:
            return "it was paused already"
        flows[name] = FlowPause(name, core.now, event.by, event.note)
        living = [run for run in _runs_of(core, name) if not run.paused & BY_FLOW]
        for run in living:
            _pause(core, run, BY_FLOW)
            audit(core, run, "pause flow", event.by, event.note)
        return ""
    if flows.pop(name, None) is None:
        return "it was not paused"
    for run in [run for run in _runs_of(core, name) if run.paused & BY_FLOW]:
        audit(core, run, "resume flow", event.by, event.note)
        go_on(core, run, BY_FLOW)
    return ""


def _runs_of(core: Core, flow: str) -> Iterator[Run]:
    """The runs of a flow that have not ended, in the order of their ids; of those that are packed, only these are
    unpacked."""
    for name in sorted(name for name in core.living() if _flow_of(core, name) == flow):
        run = core.find(name)
        if run is not None and not run.ended:
            yield run


def _flow_of(core: Core, name: str) -> str:
    if name in core.runs:
        return core.runs[name].flow
    if name in core.singles:
        return core.singles[name].tables.plan.flow
    tables = core.tables.get(head_of(core.frozen[name]).plan)
    return tables.plan.flow if tables is not None else ""


def _pause(core: Core, run: Run, reason: int) -> None:
    is_new, run.paused = not run.paused, run.paused | reason
    if not is_new:
        return
    core.pause(run)
    if run.body is None:
        runs.stand_back(core, run)
    for scope in [scope for scope in run.scopes.values() if is_held(scope)]:
        node = scope.states.find(QUEUED)
        while node >= 0:
            tasks.stand_back(core, scope, node)
            node = scope.states.find(QUEUED, node + 1)
        _pump(core, scope)  # gives back what waits for items


def go_on(core: Core, run: Run, reason: int = BY_HAND | BY_FLOW | BY_PAST) -> None:
    """The run is not paused for this reason any more: does what waits, if that was the last."""
    if not run.paused:
        return
    run.paused &= ~reason
    if run.paused:
        return
    core.resume(run)
    if run.body is None:
        runs.admit(core, run)
        return
    waiting, run.waiting = run.waiting, None
    for timer in waiting or ():
        scope = run.scopes.get(timer.scope)
        if timer.kind not in ("start", "open", "ask"):
            core.act(run, timer)
        elif scope is not None:
            _begin(core, scope, timer)
    for scope in list(run.scopes.values()):
        _pump(core, scope)


def _begin(core: Core, scope: Scope, timer: Timer) -> None:
    if timer.kind == "ask":
        tasks.ask_again(core, scope, timer.node)
    else:
        core.agenda.append((START if timer.kind == "start" else OPEN, scope, timer.node, 0))


def _pump(core: Core, scope: Scope) -> None:
    for node in scope.fans:
        if scope.states[node] == RUNNING:
            fanout.pump(core, scope, node)


# ---- mark -----------------------------------------------------------------------------------------------------------


def _mark(core: Core, run: Run, event: Control) -> str:
    if run.body is None:
        raise _RefusedError(f"run {run.id} has not begun: cancel it, or wait until it has")
    scope, node = _step(run, event.step)
    state, value = _STATES[event.state], None
    if state == SUCCESS:
        value = store(core, _checked(scope, node, event))
    failure = Failure("Marked", event.note or "it was marked as failed by hand", retryable=False)
    scope.marks = entered(scope.marks, node, Marked(state, value, failure if state == FAILED else None))
    if scope.states[node] in (WAITING, DELAYED) and not is_out(scope, node):
        attempt_of(scope, node).spared = True
    audit(core, run, f"mark {event.state}", event.by, event.note, event.step)
    core.agenda.append((CANCEL, scope, node, CANCELLED))
    # of an expression with a `catch`: nobody wants what it does any more
    core.agenda.extend((CANCEL, scope, part, REMOVED) for part in work_of(scope, node) if part != node)
    return ""


def _step(run: Run, name: str) -> tuple[Scope, int]:
    """The step of this name that has not ended. Raises _RefusedError."""
    ended: tuple[Scope, int] | None = None
    for scope, node in _named(run, name):
        if scope.states[node] >= SUCCESS:
            ended = scope, node
        elif node in scope.marks:
            raise _RefusedError(f"step `{name}` was marked before, and ends as soon as what runs of it has stopped")
        elif _has_only_handlers(scope, node):
            raise _RefusedError(f"the flow that step `{name}` calls has ended: only its handlers still run")
        else:
            return scope, node
    if ended is None:
        raise _RefusedError(f"run {run.id} has no step `{name}` outside of `each`, or it is in a part that is not open")
    state = NAMES[ended[0].states[ended[1]]]
    more = ""
    if state in ("failed", "upstream_failed", "cancelled", "expired"):
        more = ", and what waits for it knows: when the run has ended, `flowc rerun` runs it again"
    raise _RefusedError(f"step `{name}` has ended ({state}){more}")


def _named(run: Run, name: str) -> Iterator[tuple[Scope, int]]:
    """The nodes of this name, as live views have it: of the body, of child runs, of rounds."""
    for scope in run.scopes.values():
        if scope.label is not None and name.startswith(scope.label):
            inner = name.removeprefix(scope.label)
            yield from ((scope, node) for node, known in scope.graph.steps if known == inner)


def _has_only_handlers(scope: Scope, node: int) -> bool:
    child = scope.run.scopes.get(scope.children.get(node, -1))
    return child is not None and not child.open


def _checked(scope: Scope, node: int, event: Control) -> bytes:
    """The value, of the step's type. Raises _RefusedError."""
    kind = scope.graph.plan.types[scope.graph.nodes[node].type]
    value = event.value or NULL
    try:
        values.decode(value, kind, _no_blobs)
    except values.TypeMismatch as error:
        what = "the value does not fit" if event.value else "it needs a value"
        raise _RefusedError(f"{what}: step `{event.step}` gives {type_text(kind)}. {error}") from error
    return value


def _no_blobs(digest: str) -> NoReturn:
    raise _RefusedError("the value is too large to be checked: 32 KiB at most")
