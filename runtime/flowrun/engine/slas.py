"""Service levels: by when runs and steps are to begin and to end, and what happens when they do not.

A *level* is one promise about one run or step: its start, or its finish. It is opened when its clock begins to run: of
a run when it is submitted, whether it begins or not; of a child run when it is opened; of a step when nothing but
permits and workers holds it back any more. A timer of the run wakes it at its warning and at its due time; so each
fires once, and as no level is ever opened for the same again, never twice. What comes at its due time or before has met
it. What comes later has missed it, also if its timer was not read before, because no coordinator was there; then it
fires as it comes. What fails, is cancelled or expires before its time has neither met nor missed it.

Runs count from the time that they were scheduled for; those that somebody submits, reruns, and those that make up for
a time that is long past, from their submission. A run has finished when its last step has: its handlers, and what is
undone, come after. A step's attempts are one, from the first to the last. The steps of an `each`'s items are one, too:
from when the first of them might have begun to the end of the `each`.

A level's time may follow from history (`History`); it is worked out once, when the level is opened. As long as there
is too little of it, and nothing else is said, the level is never due and only measures.
"""

from __future__ import annotations

import math
from copy import copy

from flowc.plan import SlaDef

from flowrun.messages import SlaMark

from . import sla_handlers
from .commands import SetTimer
from .core import Core
from .history import history_key
from .levels import Level, Levels, What
from .outcome import outcome_of
from .state import CANCELLED, EARLY, FLOW, ITEM, ROUND, SKIPPED, SUCCESS, UNTIL, Outcome, Run, Scope, Timer, entered

__all__ = [
    "began", "body_ended", "due", "holds_end", "might_begin", "node_ended", "open_child", "open_run",
    "step_began",
]  # fmt: skip

#: marks that a run keeps of levels whose end has come
_MOST_MARKS = 500
_DONE = (SUCCESS, SKIPPED)


# ---- levels begin ---------------------------------------------------------------------------------------------------


def open_run(core: Core, run: Run, sla: SlaDef) -> None:
    """The levels of a run that was just submitted."""
    scheduled = run.scheduled
    on_time = scheduled is not None and not scheduled.made_up and run.again is None
    since = scheduled.at_ms if on_time and scheduled is not None else run.submitted_ms
    _open(core, run, sla, since, Level("", "start", 0, 0, -1, -1, sla.name, run.flow, ""))


def open_child(core: Core, body: Scope, sla: SlaDef) -> None:
    """The level of a child run that begins now."""
    label = _path(body).removesuffix(".")
    level = Level(label, "finish", 0, 0, body.id, -1, sla.name, body.graph.plan.flow, "")
    _open(core, body.run, sla, core.now, level, starts=False)


def might_begin(core: Core, scope: Scope, node: int) -> None:
    """The levels of a step that nothing holds back but permits and workers."""
    sla = scope.graph.settings[node].sla
    assert sla is not None, "only those that have a level are told"
    run, graph = scope.run, scope.graph
    found = graph.step_name(node)
    level = Level(_path(scope) + found, "start", 0, 0, scope.id, node, sla.name, graph.plan.flow, found)
    level.repeats = _is_repeated(scope)
    place = _each_around(scope)
    if place is not None:
        level.scope, level.node = place[0].id, place[1]
        level.child, level.block, level.inner = graph.flow, graph.block, node
    if not any(known.step == level.step and known.inner == level.inner for known in _levels_at(run, level)):
        _open(core, run, sla, core.now, level)


def _open(core: Core, run: Run, sla: SlaDef, since: int, level: Level, *, starts: bool = True) -> None:
    """`level`: what those of its start and of its finish have in common."""
    if starts and sla.start_ms is not None:
        _add(core, run, level, "start", since + sla.start_ms, 0)
    length = _length_of(core, sla, history_key(level.flow, level.own_step))
    if sla.quantile is not None and level.scope >= 0:  # how long runs take is remembered anyway
        level.since_ms = since
    if length is None and level.since_ms:
        _add(core, run, level, "finish", 0, 0)
    elif length is not None:
        warn_ms = 0 if sla.warn is None else since + math.ceil(length * sla.warn)
        _add(core, run, level, "finish", since + length, warn_ms)


def _add(core: Core, run: Run, level: Level, what: What, due_ms: int, warn_ms: int) -> None:
    levels = run.levels = run.levels or Levels()
    number, levels.next = levels.next, levels.next + 1
    opened = levels.open[number] = copy(level)
    opened.what, opened.due_ms, opened.warn_ms = what, due_ms, warn_ms
    levels.at.setdefault(_key(opened.scope, opened.node), []).append(number)
    if due_ms:
        _set_timer(core, run, number, opened)


def _length_of(core: Core, sla: SlaDef, key: str) -> int | None:
    """The time to the finish; None: there is none, or too little history to tell."""
    if sla.quantile is not None:
        took = core.history.quantile_ms(key, sla.quantile)
        if took is not None:
            return math.ceil(took * sla.factor)
    return sla.finish_ms


def _key(scope: int, node: int) -> str:
    return f"{scope}/{node}"


def _levels_at(run: Run, level: Level) -> list[Level]:
    """The open ones of the same place."""
    levels = run.levels
    return [levels.open[number] for number in levels.at.get(_key(level.scope, level.node), ())] if levels else []


def _each_around(scope: Scope) -> tuple[Scope, int] | None:
    """The outermost `each` around a scope."""
    found = None
    while scope.parent >= 0:
        parent = scope.run.scopes[scope.parent]
        if scope.kind == ITEM or (scope.kind == FLOW and scope.index >= 0):
            found = parent, scope.node
        scope = parent
    return found


def _is_repeated(scope: Scope) -> bool:
    """The scope belongs to a round of a `repeat`."""
    while scope.parent >= 0 and scope.kind not in (ROUND, UNTIL):
        scope = scope.run.scopes[scope.parent]
    return scope.kind in (ROUND, UNTIL)


def _path(scope: Scope) -> str:
    """What stands before the names of a scope's steps, seen from the run's body: "call."."""
    found = ""
    while scope.parent >= 0:
        parent = scope.run.scopes[scope.parent]
        if scope.kind == FLOW:
            found = f"{parent.graph.step_name(scope.node)}.{found}"
        scope = parent
    return found


# ---- levels end -----------------------------------------------------------------------------------------------------


def began(core: Core, run: Run, body: Scope) -> None:
    """The run has begun."""
    _close_at(core, run, _key(-1, -1), done=True, what="start")
    sla_handlers.adopt(run, body)


def step_began(core: Core, scope: Scope, node: int) -> None:
    """The first attempt of a step is at work."""
    place = _each_around(scope)
    if place is None:
        _close_at(core, scope.run, _key(scope.id, node), done=True, what="start")
    else:
        step = (scope.graph.flow, scope.graph.block, node)
        _close_at(core, scope.run, _key(place[0].id, place[1]), done=True, what="start", step=step)


def node_ended(core: Core, scope: Scope, node: int) -> None:
    """A node has ended, maybe as the last of a flow."""
    _close_at(core, scope.run, _key(scope.id, node), done=scope.states[node] in _DONE)
    if scope.kind == FLOW and scope.open <= len(scope.asides):
        body_ended(core, scope)


def body_ended(core: Core, body: Scope) -> None:
    """All steps of a flow have ended. If that is late, and nobody noticed, its handlers are opened now."""
    run = body.run
    key = _key(-1, -1) if body.parent < 0 else _key(body.id, -1)
    if run.levels is not None and key in run.levels.at:
        is_done = outcome_of(body).state in _DONE and not (body.flow is not None and body.flow.timed_out)
        _close_at(core, run, key, done=is_done)


def holds_end(core: Core, run: Run, outcome: Outcome) -> bool:
    """A run ends: whatever is still open has neither been met nor missed. True: it has not begun, and does not end
    before its handlers have."""
    assert run.levels is not None
    is_told = run.body is None and run.ending is None and outcome.state != CANCELLED
    for number in list(run.levels.open):
        _close(core, run, number, done=False, is_told=is_told)
    if is_told and any(scope.kind == EARLY for scope in run.scopes.values()):
        run.ending = outcome
        return True
    return False


def _close_at(
    core: Core, run: Run, key: str, *, done: bool, what: str = "", step: tuple[str, int, int] | None = None
) -> None:
    """All levels of a place end, or those of one kind (of one step inside of an `each`)."""
    levels = run.levels
    if levels is None:
        return
    for number in list(levels.at.get(key, ())):
        level = levels.open[number]
        if what in ("", level.what) and step in (None, (level.child, level.block, level.inner)):
            _close(core, run, number, done=done)


def _close(core: Core, run: Run, number: int, *, done: bool, is_told: bool = True) -> None:
    """What a level is about has come (`done`), or will not come any more."""
    assert run.levels is not None
    level = run.levels.open[number]
    if is_told and level.due_ms and not level.missed_ms and core.now >= level.due_ms + done:
        _fire(core, run, level, warning=False)
    del run.levels.open[number]
    key = _key(level.scope, level.node)
    run.levels.at[key].remove(number)
    if not run.levels.at[key]:
        del run.levels.at[key]
    if (name := _timer(number)) in run.timers:
        core.drop_timer(run, name)
    if done and level.since_ms and level.what == "finish":
        core.history.add(history_key(level.flow, level.own_step), core.now - level.since_ms)
    if not level.due_ms:
        return
    if level.missed_ms:
        if done:
            core.sla_counts.came_late(level, run.id, core.now)
    elif done:
        core.sla_counts.met(level, core.now)
    else:
        core.sla_counts.void(level, core.now)
    _keep(run.levels, level.mark(core.now if done else 0), level.repeats)


def _keep(levels: Levels, mark: SlaMark, repeats: bool) -> None:
    """Of a step that comes again and again, only the last end is kept as long as it was met each time."""
    if repeats and not mark.missed_ms and not mark.warned_ms:
        levels.marks = [kept for kept in levels.marks if not _is_like(kept, mark)]
    if len(levels.marks) < _MOST_MARKS:
        levels.marks.append(mark)


def _is_like(kept: SlaMark, mark: SlaMark) -> bool:
    return (kept.step, kept.what, kept.missed_ms, kept.warned_ms) == (mark.step, mark.what, 0, 0)


# ---- time -----------------------------------------------------------------------------------------------------------


def due(core: Core, run: Run, number: int) -> None:
    """The time of a level's timer has come."""
    level = run.levels.open.get(number) if run.levels is not None else None
    if level is None or level.missed_ms:
        return
    is_warning = core.now < level.due_ms
    _fire(core, run, level, warning=is_warning)
    if is_warning:
        _set_timer(core, run, number, level)


def _fire(core: Core, run: Run, level: Level, *, warning: bool) -> None:
    level.warn_ms = 0
    if warning:
        level.warned_ms = core.now
        core.sla_counts.warned(level, core.now)
    else:
        level.missed_ms = core.now
        core.sla_counts.missed(level, run.id, core.now)
    sla_handlers.open_handlers(core, run, level, warning=warning)


def _timer(number: int) -> str:
    return f"sla/{number}"


def _set_timer(core: Core, run: Run, number: int, level: Level) -> None:
    """At its warning, then at its due time. One that is past wakes it as soon as may be."""
    at_ms = max(level.warn_ms or level.due_ms, core.now)
    run.timers = entered(run.timers, _timer(number), Timer("sla", level.scope, level.node, number, at_ms))
    core.commands.append(SetTimer(run.id, _timer(number), at_ms))
