"""What is said to runs: signals, decisions, events from outside. Who waits for it goes on; what cannot be is refused.

A signal that comes before a step waits for it is kept with the run, at most `MOST_KEPT` of them; one that comes before
the run itself (its submission is delayed) is kept in `Early`, and checked when the run is there. What a signal brings
is checked before it is taken, so that who sends it learns of a mistake: by the type of the step that waits, or by the
plan's table of signals.
"""

from __future__ import annotations

import datetime as dt

import msgspec
from flowc.plan import Plan
from flowc.types import JSON, Type, text

from flowrun.messages import Decision, Raised, Signal
from flowrun.wire import may_hold_blobs

from . import awaiting
from .commands import Send
from .core import Core
from .graph import Tables
from .listeners import APPROVAL, event_key
from .state import NULL, Run, entered
from .waits import decide, problem_of, signal_key, take

__all__ = ["MOST_KEPT", "deliver_early", "hear", "listening", "take_event"]

#: signals of a run that nobody has waited for yet
MOST_KEPT = 1_000
#: the answer's value where there is no such run: its submission may be delayed
_UNKNOWN = msgspec.msgpack.encode("unknown")
#: runs that take an event at once
_AT_ONCE = 1_000
#: names in a message
_LISTED = 5


def hear(core: Core, event: Signal | Decision) -> None:
    """Somebody says something to a run."""
    if core.was_answered(event):
        return
    if isinstance(event, Signal) and event.early and not core.is_known(event.run):
        _keep_early(core, event)
        return
    run = _living(core, event.run)
    if isinstance(run, str):
        core.answer(event, False, run, NULL if core.is_known(event.run) else _UNKNOWN)
    elif isinstance(event, Signal):
        problem = _signal(core, run, event.name, event.value)
        core.answer(event, not problem, problem)
    else:
        _decision(core, run, event)


def _living(core: Core, name: str) -> Run | str:
    """The run; or why nothing can be said to it."""
    lone = core.singles.get(name)
    if lone is not None:
        ended = lone.value is not None
        return f"run {name} has ended" if ended else f"flow `{lone.tables.plan.flow}` waits for nothing"
    run = core.find(name)
    if run is not None and not run.ended:
        return run
    if core.is_known(name):
        return f"run {name} has ended"
    return f"there is no run {name}: it was never submitted, or it ended long ago"


# ---- signals --------------------------------------------------------------------------------------------------------


def _signal(core: Core, run: Run, name: str, value: bytes) -> str:
    """Gives a signal to the step that has waited for it longest, or keeps it; else why not."""
    place = awaiting.first(run, signal_key(name))
    if place is not None:
        scope, node = awaiting.node_at(place)
        graph = run.scopes[scope].graph
        problem = _wrong(name, graph.plan.types[graph.nodes[node].type], value)
        if not problem:
            take(core, run.scopes[scope], node, value)
        return problem
    known = _signals(run.tables)
    for plan in run.plans:  # what replaced tasks of it
        known = {**_signals(core.tables.get(plan)), **known}
    kind = known.get(name, known.get(""))
    if kind is None:
        return f"flow `{run.flow}` waits for no signal `{name}`" + _meant(known)
    problem = _wrong(name, kind, value)
    if problem:
        return problem
    if sum(map(len, run.signals.values())) >= MOST_KEPT:
        return f"run {run.id} keeps {MOST_KEPT} signals that no step has waited for yet, and takes no more"
    kept = run.signals.get(name)
    if kept is None:
        run.signals = entered(run.signals, name, [value])
    else:
        kept.append(value)
    return ""


def _wrong(name: str, kind: Type, value: bytes) -> str:
    """Why a value is not what a signal brings; "" if it is."""
    if may_hold_blobs(value):
        return f"what the signal `{name}` brings is above 32 KiB: store it, and send where it is"
    problem = problem_of(value, kind, name)
    return f"the signal `{name}` brings {text(kind)}: {problem}" if problem else ""


def _meant(known: dict[str, Type]) -> str:
    if not known:
        return ", nor for any other"
    names = [f"`{name}`" for name in list(known)[:_LISTED]]
    return ": it waits for " + ", ".join(names) + (", …" if len(known) > _LISTED else "")


def _signals(tables: Tables | None) -> dict[str, Type]:
    """The signals that steps of a plan, and of its child flows, wait for."""
    if tables is None:
        return {}
    if tables.signals is None:
        plans: list[Plan] = [tables.plan, *tables.plan.children.values()]
        tables.signals = {}
        for plan in plans:
            for signal in plan.signals:
                tables.signals.setdefault(signal.name, plan.types[signal.type])
    return tables.signals


def _keep_early(core: Core, event: Signal) -> None:
    """The client found that the run's submission is delayed."""
    problem = _wrong(event.name, JSON, event.value)
    if not problem and not core.early.add(event.run, event.name, event.value, core.now, core.past.keep_ms):
        problem = f"{MOST_KEPT} signals wait for run {event.run} to begin, and no more are kept"
    core.answer(event, not problem, problem)


def deliver_early(core: Core, name: str) -> None:
    """A run has come: it gets the signals that were sent before."""
    run = core.find(name) if name not in core.singles else None
    for signal, value in core.early.take(name):
        problem = "it waits for nothing" if run is None or run.ended else _signal(core, run, signal, value)
        if problem:
            core.ignore(f"a signal that was sent before run {name} began: {problem}")


# ---- events ---------------------------------------------------------------------------------------------------------


def listening(core: Core, event: Raised) -> list[str]:
    """The runs that wait for an event; of very many the first, and the others when the rest of the event comes: so
    nobody else waits long for their turn. The same event again changes nothing."""
    if core.was_answered(event):
        return []
    core.answer(event, True)
    found = core.listeners.runs(event_key(event.subject, event.key), event.after, _AT_ONCE + 1)
    if len(found) > _AT_ONCE:
        last, at_ms = found[_AT_ONCE - 1], event.at_ms or core.now
        number = f"{event.id.partition('/')[0]}/{last}"
        rest = Raised(event.subject, event.key, event.value, number, "", last, at_ms)
        core.commands.append(Send(core.partition, rest, f"raised/{number}"))
    return found[:_AT_ONCE]


def take_event(core: Core, name: str, event: Raised) -> None:
    """All steps of a run that wait for the event go on; not those that began to when it had come."""
    run = core.find(name)
    if run is None:
        core.ignore(f"event {event.subject} for run {name}, whose plan cannot be had")
        return
    for place in list(awaiting.places(run, event_key(event.subject, event.key))):
        number, node = awaiting.node_at(place)
        scope = run.scopes[number]
        if not event.at_ms or scope.waits[node].since_ms <= event.at_ms:
            take(core, scope, node, event.value)


# ---- decisions ------------------------------------------------------------------------------------------------------


def _decision(core: Core, run: Run, event: Decision) -> None:
    step = event.step or _only_step(run)
    place = awaiting.first(run, f"{APPROVAL}/{step}") if step else None
    if place is None:
        core.answer(event, False, _no_question(run, event.step))
        return
    scope, node = awaiting.node_at(place)
    decide(core, run.scopes[scope], node, event.approved, event.by or "somebody", event.note)
    core.answer(event, True, "", msgspec.msgpack.encode(step))


def _open_steps(run: Run) -> list[str]:
    """The steps that wait for a decision."""
    start = f"{APPROVAL}/"
    return [key.removeprefix(start) for key in run.awaits if key.startswith(start)]


def _only_step(run: Run) -> str:
    steps = _open_steps(run)
    return steps[0] if len(steps) == 1 else ""


def _no_question(run: Run, step: str) -> str:
    """Why a decision cannot be taken."""
    steps = [f"`{name}`" for name in _open_steps(run)]
    listed = ", ".join(steps[:_LISTED]) + (", …" if len(steps) > _LISTED else "")
    if not step and steps:
        return f"run {run.id} waits for {len(steps)} approvals, so say which step is meant: {listed}"
    last = run.decided.get(step) if step else next(reversed(run.decided.values()), None)
    if last is not None:
        name = step or next(reversed(run.decided))
        at = dt.datetime.fromtimestamp(last.at_ms / 1000, dt.UTC)
        what = "approved" if last.approved else "rejected"
        return f"`{name}` of run {run.id} was {what} before, by {last.by} at {at:%Y-%m-%d %H:%M:%S} UTC"
    wanted = f"no approval of a step `{step}`" if step else "no approval"
    return f"run {run.id} waits for {wanted} now" + (f": it waits for {listed}" if steps else "")
