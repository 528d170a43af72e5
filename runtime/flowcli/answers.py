"""What `submit`, `ps`, `logs`, `cancel` and `nodes` print with `--json`, as data. Its schema is
specs/schemas/answers.schema.json."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import msgspec
from flowrun.client import ApprovalList, RunList, RunStatus
from flowrun.messages import (
    AuditEntry,
    FlowPause,
    LogNote,
    Presence,
    RunRecord,
    RunSummary,
    StepNote,
    StepRecord,
    StepState,
)

from .levels import Level, levels_of

__all__ = [
    "Approvals", "Audited", "Cancelled", "Decided", "Emitted", "LevelCount", "LevelMiss", "Levels", "LogLine", "Marked",
    "Node", "Nodes", "Paused",
    "Rerunning", "RunState", "Runs", "Signalled", "StepNow", "Submitted",
    "approvals_of", "log_line", "nodes_of", "runs_of", "state_of",
]  # fmt: skip


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc submit` without `--wait`."""

    run: str
    flow: str


class Cancelled(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc cancel`: the end of it was asked for."""

    run: str
    #: a step or a box of steps, or null: all of it
    step: str | None


class Signalled(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc signal`: the run has it."""

    run: str
    signal: str


class Emitted(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc emit`: no run that waits for it can miss it."""

    subject: str
    key: str | None


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc approve`, `flowc reject`."""

    run: str
    step: str
    approved: bool


class WaitingApproval(msgspec.Struct, frozen=True, kw_only=True):
    """A step that waits for somebody's decision."""

    run: str
    flow: str
    #: as `flowc approve` takes it
    step: str
    group: str
    title: str
    #: what the flow shows to whoever decides, or null
    show: Any
    since: dt.datetime
    #: when its time is over, or null
    until: dt.datetime | None


class Approvals(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc approvals`: the oldest first."""

    approvals: tuple[WaitingApproval, ...]
    #: partitions of which nothing is known: no coordinator answered
    silent: tuple[str, ...]


class Paused(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc pause` and `flowc resume`: of a run, or of a flow."""

    run: str | None
    flow: str | None
    paused: bool


class Marked(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc mark`: a step ends by hand."""

    run: str
    step: str
    state: Literal["success", "skipped", "failed"]


class Rerunning(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc rerun`, without `--wait`."""

    #: the new run; null: it was only asked what would be (`--dry-run`)
    run: str | None
    #: the run that it goes on with
    of: str
    flow: str
    #: steps that keep their end, steps that run, and `each`es whose items run that did not end well
    kept: tuple[str, ...]
    runs: tuple[str, ...]
    items: tuple[str, ...]
    #: with another plan: why steps are not the same work as before
    changed: dict[str, str]


class Audited(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did to a run by hand."""

    at: dt.datetime
    #: "pause", "resume", "mark success", "rerun", …
    action: str
    #: the step that it is about, or null
    step: str | None
    by: str | None
    note: str | None


class PausedFlow(msgspec.Struct, frozen=True, kw_only=True):
    """All runs of a flow are paused."""

    flow: str
    since: dt.datetime
    by: str | None
    note: str | None


class LevelCount(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a service level, over all runs of a flow."""

    flow: str
    #: or null: of its runs
    step: str | None
    what: Literal["start", "finish"]
    name: str | None
    met: int
    missed: int
    warned: int
    #: it failed, was cancelled or expired before its time
    neither: int


class LevelMiss(msgspec.Struct, frozen=True, kw_only=True):
    """A service level that was missed."""

    flow: str
    run: str
    step: str | None
    what: Literal["start", "finish"]
    name: str | None
    due: dt.datetime
    #: when that was noticed
    missed: dt.datetime
    #: when what was due came, or null: it has not
    came: dt.datetime | None


class Levels(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc sla`."""

    levels: tuple[LevelCount, ...]
    #: the newest first
    misses: tuple[LevelMiss, ...]
    #: partitions of which nothing is known: no coordinator answered
    silent: tuple[str, ...]


class ListedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that has not ended."""

    run: str
    flow: str
    trigger: str
    submitted: dt.datetime
    #: number of steps by state
    steps: dict[str, int]
    #: nothing new of it is started
    paused: bool = False
    #: its service levels so far
    levels: tuple[Level, ...] = ()
    #: when it began, and is expected to end by how long earlier ones took, or null
    began: dt.datetime | None = None
    expected: dt.datetime | None = None


class Runs(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc ps`."""

    #: the newest first
    runs: tuple[ListedRun, ...]
    #: also those that are left out
    total: int
    #: partitions of which nothing is known: no coordinator answered
    silent: tuple[str, ...]
    #: flows that are paused
    paused: tuple[PausedFlow, ...] = ()


class StepNow(msgspec.Struct, frozen=True, kw_only=True):
    """A step, or an item of an `each`."""

    step: str
    index: int | list[int] | None
    state: StepState
    attempts: int
    #: of the last attempt that ended
    seconds: float | None
    #: the error of the last attempt
    message: str | None
    #: of an `each`: items in all, ended well, ended badly
    total: int = 0
    done: int = 0
    failed: int = 0


class WhyFailed(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run failed."""

    type: str
    message: str
    #: the step that failed, or null
    step: str | None


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc ps RUN`."""

    run: str
    flow: str
    #: "unseen": it was not seen to end, and no coordinator answers
    state: Literal["delayed", "unseen", "running", "success", "failed", "cancelled", "expired"]
    #: when it takes effect, if it is delayed
    at: dt.datetime | None
    submitted: dt.datetime | None
    ended: dt.datetime | None
    error: WhyFailed | None
    steps: tuple[StepNow, ...]
    #: what triggered it: "manual", "rerun:…" of another run
    trigger: str | None = None
    #: nothing new of it is started
    paused: bool = False
    #: what was done to it by hand, in order
    audit: tuple[Audited, ...] = ()
    #: its service levels
    levels: tuple[Level, ...] = ()
    #: of one that has not ended: when it began, and is expected to end by how long earlier ones took, or null
    began: dt.datetime | None = None
    expected: dt.datetime | None = None


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc logs`: one object per line."""

    step: str
    index: int | list[int] | None
    attempt: int
    stream: Literal["out", "err", "log"]
    text: str


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A process of a node that lives."""

    node: str
    group: str
    host: str
    pid: int
    started: dt.datetime
    #: by lane: items that it runs at the same time, and runs now
    capacity: dict[str, int]
    busy: dict[str, int]
    #: partitions that it leads
    leads: tuple[str, ...]
    version: str
    stopping: bool


class Nodes(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc nodes`."""

    nodes: tuple[Node, ...]


def runs_of(listed: RunList) -> Runs:
    return Runs(
        runs=tuple(map(_listed, listed.runs)), total=listed.total, silent=listed.silent,
        paused=tuple(map(_paused, listed.paused)),
    )  # fmt: skip


def _paused(pause: FlowPause) -> PausedFlow:
    return PausedFlow(flow=pause.flow, since=_time(pause.at_ms), by=pause.by or None, note=pause.note or None)


def _listed(run: RunSummary) -> ListedRun:
    return ListedRun(
        run=run.run, flow=run.flow, trigger=run.trigger, submitted=_time(run.submitted_ms), steps=dict(run.steps),
        paused=run.paused, levels=levels_of(run.slas), began=_maybe(run.begun_ms), expected=_maybe(run.expected_ms),
    )  # fmt: skip


def state_of(status: RunStatus, steps: tuple[StepNote, ...]) -> RunState:
    """`steps`: those of a run that has not ended, as far as they are known."""
    if status.record is not None:
        return _ended(status.record)
    summary = status.summary
    return RunState(
        run=status.run,
        flow=summary.flow if summary else "",
        state=status.state,
        at=None if status.at_ms is None else _time(status.at_ms),
        submitted=_time(summary.submitted_ms) if summary else None,
        ended=None,
        error=None,
        steps=tuple(map(_step, steps)),
        trigger=summary.trigger if summary else None,
        paused=summary is not None and summary.paused,
        audit=tuple(map(_audited, summary.audit)) if summary else (),
        levels=levels_of(summary.slas) if summary else (),
        began=_maybe(summary.begun_ms) if summary else None,
        expected=_maybe(summary.expected_ms) if summary else None,
    )


def _ended(record: RunRecord) -> RunState:
    error = record.error
    return RunState(
        run=record.run,
        flow=record.flow,
        state="failed" if record.state == "running" else record.state,
        at=None,
        submitted=_time(record.started_ms),
        ended=_time(record.ended_ms),
        error=WhyFailed(type=error.type, message=error.message, step=record.failed_step) if error else None,
        steps=tuple(map(_ended_step, record.steps)),
        trigger=record.trigger,
        audit=tuple(map(_audited, record.audit)),
        levels=levels_of(record.slas),
    )


def _audited(entry: AuditEntry) -> Audited:
    return Audited(
        at=_time(entry.at_ms), action=entry.action, step=entry.step or None, by=entry.by or None,
        note=entry.note or None,
    )  # fmt: skip


def _step(note: StepNote) -> StepNow:
    return StepNow(
        step=note.step, index=_index(note.index), state=note.state, attempts=note.attempt, seconds=note.seconds,
        message=note.message or None, total=note.total, done=note.done, failed=note.failed,
    )  # fmt: skip


def _ended_step(record: StepRecord) -> StepNow:
    return StepNow(
        step=record.step, index=_index(record.index), state=record.state, attempts=record.attempts,
        seconds=record.seconds, message=record.error.message if record.error else None,
    )  # fmt: skip


def _index(index: int | tuple[int, ...] | None) -> int | list[int] | None:
    return list(index) if isinstance(index, tuple) else index


def approvals_of(found: ApprovalList) -> Approvals:
    return Approvals(
        approvals=tuple(
            WaitingApproval(
                run=one.run, flow=one.flow, step=one.step, group=one.group, title=one.title, show=one.show,
                since=_time(one.since_ms), until=None if one.until_ms is None else _time(one.until_ms),
            )
            for one in found
        ),
        silent=found.silent,
    )  # fmt: skip


def log_line(note: LogNote) -> LogLine:
    return LogLine(step=note.step, index=_index(note.index), attempt=note.attempt, stream=note.stream, text=note.text)


def nodes_of(found: tuple[Presence, ...]) -> Nodes:
    return Nodes(
        nodes=tuple(
            Node(
                node=one.node, group=one.group, host=one.host, pid=one.pid, started=_time(one.started_ms),
                capacity=dict(one.capacity), busy=dict(one.busy), leads=one.leads, version=one.version,
                stopping=one.stopping,
            )
            for one in found
        )
    )  # fmt: skip


def _maybe(time_ms: int) -> dt.datetime | None:
    return _time(time_ms) if time_ms else None


def _time(time_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC)
