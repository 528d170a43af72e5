"""Backfills: runs of a trigger's flow for many windows of the past, so many at a time.

    its windows come, in one message or several → windows start while others run → all have ended

A window is one of the trigger's, whoever starts it: the trigger's ledger says what became of it, and is asked when the
window's turn has come. One that has succeeded is kept; one that runs is not started again, its end counts here, too.
So a backfill may be repeated, may meet another one, or the trigger's own ticks, and nothing runs twice.

Nothing waits inside of a decision: the end of a run marks its window and makes its trigger *due*; when the event is
decided, all that is due starts what may start. Where the flow depends on its past, a window starts when the last one
before it that had a run has succeeded; if that one failed, what is left is blocked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from flowrun.messages import MOST_WINDOWS, Backfill, Scheduled

from . import ledger
from .backfills import (
    ELSEWHERE,
    FAILED,
    KEPT,
    LEFT,
    RUNNING,
    SPARED,
    Job,
    Windows,
)
from .core import Core
from .starting import start_window

__all__ = ["Ledger", "Ledgers", "go_on", "hear", "plans"]

_encoder = msgspec.msgpack.Encoder()


class Ledger(Protocol):
    """The windows of the triggers of a partition."""

    def knows(self, trigger: str) -> bool:
        """It is deployed, and belongs to this partition."""

    def state_of(self, trigger: str, at_ms: int) -> int:
        """What became of a window, as `ledger` has it."""

    def before(self, trigger: str, at_ms: int) -> int:
        """The same of the last window before a time that had a run; NEVER if there is none."""

    def start(self, trigger: str, scheduled: Scheduled, args: bytes) -> None:
        """The next run of this window, once the event is decided; from now on the window runs."""

    def depends_on_past(self, trigger: str) -> bool: ...

    def most_runs(self, trigger: str) -> int | None:
        """Runs of its flow at the same time."""


class Ledgers:
    """Those of the engine's own triggers."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def knows(self, trigger: str) -> bool:
        found = self._core.triggers.own.get(trigger)
        return found is not None and not found.gone_ms

    def state_of(self, trigger: str, at_ms: int) -> int:
        return self._core.triggers.ledger(trigger).state(at_ms)

    def before(self, trigger: str, at_ms: int) -> int:
        earlier = self._core.triggers.ledger(trigger).before(at_ms)
        return ledger.NEVER if earlier is None else earlier[1]

    def start(self, trigger: str, scheduled: Scheduled, args: bytes) -> None:
        made_up = msgspec.structs.replace(scheduled, made_up=True)  # its service levels begin now, not in the past
        start_window(self._core, self._core.triggers.own[trigger], made_up, args)

    def depends_on_past(self, trigger: str) -> bool:
        return self._core.triggers.own[trigger].depends_on_past

    def most_runs(self, trigger: str) -> int | None:
        tables = self._core.tables.get(self._core.triggers.own[trigger].plan)
        return tables.plan.max_active_runs if tables is not None else None


def plans(core: Core) -> set[str]:
    """Those of the runs that backfills start next: they are at hand when a run ends."""
    found = (core.triggers.own.get(job.trigger) for job in core.backfills.live.values())
    return {trigger.plan for trigger in found if trigger is not None}


def hear(core: Core, known: Ledger, event: Backfill) -> None:
    """A backfill begins, goes on, gets more windows, or is to end. The answer's value is its BackfillState; of a dry
    one a byte per window."""
    if core.was_answered(event):
        return
    jobs, name = core.backfills, event.name or event.id
    if event.stop:
        _stop(core, event, name)
        return
    if not known.knows(event.trigger):
        why = f"there is no trigger `{event.trigger}` deployed: deploy its flow (`flowc deploy`), then try again"
        core.answer(event, False, why, _encoder.encode("unknown"))
        return
    if why := _refusal(known, event):
        core.answer(event, False, why)
        return
    states = _states_of(known, event.trigger, event.times, event.only)
    if event.dry:
        core.answer(event, True, value=_encoder.encode(states))
        return
    job = jobs.live.get(name)
    if job is None and event.first:
        core.answer(event, False, "the backfill has ended, or was stopped, before all of its windows came")
        return
    if job is None:
        total = event.total or len(event.times)
        job = Job(name, event.trigger, total, event.concurrency, event.only, event.args, event.by, core.now)
        jobs.live[name] = job
    _extend(core, job, event, states)


def _extend(core: Core, job: Job, event: Backfill, states: bytes) -> None:
    """More windows; those that it has come again from who attaches to it."""
    job.concurrency = event.concurrency
    core.backfills.due[job.trigger] = None
    if event.first > len(job.windows):
        core.answer(event, False, "windows before these are missing: give the command again")
        return
    message = ""
    if event.first == len(job.windows) < job.total:
        if not job.windows.fits(event.times):
            core.answer(event, False, "these windows do not go on where those before them end")
            return
        job.add(event.times, states)
    elif not event.first:
        message = "attached"
    core.answer(event, True, message, _encoder.encode(job.told("running")))


def _refusal(known: Ledger, event: Backfill) -> str:
    """Why the backfill cannot be; "": it can."""
    if not event.times:
        return "there are no windows to run"
    if max(event.total, len(event.times)) > MOST_WINDOWS:
        return f"a backfill has at most {MOST_WINDOWS:,} windows: take a shorter time"
    if not Windows().fits(event.times):
        return "the windows are neither in rising nor in falling order, or a day of theirs is none"
    if event.concurrency < 1:
        return "at least one run at a time is needed"
    if known.depends_on_past(event.trigger) and len(event.times) > 1 and event.times[0].at_ms > event.times[1].at_ms:
        return "the flow depends on its past (`depends_on_past`): its windows cannot be run in reverse"
    return ""


def _states_of(known: Ledger, trigger: str, times: Sequence[Scheduled], only: str) -> bytes:
    """How windows stand before a backfill: LEFT, KEPT, ELSEWHERE, or SPARED; a byte for each."""
    return bytes(_state(known.state_of(trigger, time.at_ms), only) for time in times)


def _state(became: int, only: str) -> int:
    if became == ledger.SUCCESS:
        return KEPT
    if became == ledger.LIVE:
        return ELSEWHERE
    return SPARED if became != ledger.FAILED and only == "failed" else LEFT


def _stop(core: Core, event: Backfill, name: str) -> None:
    jobs = core.backfills
    job = jobs.live.get(name)
    if job is not None:
        job.stopped = True
        jobs.due[job.trigger] = None
        core.answer(event, True, value=_encoder.encode(job.told("running")))
    elif name in jobs.ended:
        core.answer(event, True, "it had ended", _encoder.encode(jobs.ended[name]))
    else:
        core.answer(event, False, f"there is no backfill `{name}`", _encoder.encode("unknown"))


def go_on(core: Core, known: Ledger) -> None:
    """Starts what may start of backfills in which something changed, and ends those of which nothing is left."""
    jobs = core.backfills
    while jobs.due:
        trigger = next(iter(jobs.due))
        del jobs.due[trigger]
        for job in jobs.of(trigger):
            _go_on(core, known, job)


def _go_on(core: Core, known: Ledger, job: Job) -> None:
    why = "" if known.knows(job.trigger) else "its trigger is not deployed any more"
    if not job.stopped and not why:
        why = _start(known, job)
    if job.counts[RUNNING] or (job.counts[ELSEWHERE] and not job.stopped):
        return
    if job.stopped:
        core.backfills.end(job, "stopped", core.now)
    elif job.counts[LEFT] and why:
        core.backfills.end(job, "blocked", core.now, why)
    elif job.is_whole and not job.counts[LEFT]:
        core.backfills.end(job, "failed" if job.counts[FAILED] else "success", core.now)


def _start(known: Ledger, job: Job) -> str:
    """Starts windows while there is room. Why the next one never can be started; "" if it can."""
    most = known.most_runs(job.trigger)
    room = min(job.concurrency, most or job.concurrency)
    waits_for_past = known.depends_on_past(job.trigger)
    while job.counts[RUNNING] < room and (place := job.next_left()) >= 0:
        state = _state(known.state_of(job.trigger, job.windows.at_ms(place)), "open")
        if state != LEFT:
            job.put(place, state)
            continue
        if waits_for_past:
            before = known.before(job.trigger, job.windows.at_ms(place))
            if before == ledger.FAILED:
                return f"the flow depends on its past, and the window before that of {job.windows.day(place)} failed"
            if before == ledger.LIVE:
                break
        known.start(job.trigger, job.windows.scheduled(place, job.trigger), job.args)
        job.put(place, RUNNING)
    return ""
