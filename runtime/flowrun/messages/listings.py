"""What leaders answer to those who ask what runs, waits, ticks and is late."""

from __future__ import annotations

from typing import Literal

from .records import AuditEntry, SlaMark
from .wire import Wire

__all__ = [
    "Approval",
    "BackfillState",
    "FlowPause",
    "Listing",
    "Query",
    "RunSummary",
    "SlaCount",
    "SlaMiss",
    "TriggerRun",
    "TriggerState",
]


class Query(Wire, frozen=True):
    """To coordinators (topic `query`): what runs? Each answers with a Listing, to the client."""

    client: str
    id: str
    #: a run; "": all
    run: str = ""
    #: a flow; "": all
    flow: str = ""
    limit: int = 100
    #: what waits for a decision, instead of what runs
    approvals: bool = False
    #: backfills, instead of what runs: of the name `run`; "": all
    backfills: bool = False
    #: counts of service levels since the day of this time (milliseconds since 1970), and the last misses, instead of
    #: what runs
    slas: bool = False
    since_ms: int = 0
    #: triggers, instead of what runs: the one named `run`, with its last runs; "": all (of a flow)
    triggers: bool = False


class RunSummary(Wire, frozen=True):
    """A run that has not ended, as `ps` shows it."""

    run: str
    flow: str
    submitted_ms: int
    #: steps by state
    steps: dict[str, int]
    trigger: str = "manual"
    #: nothing new of it is started
    paused: bool = False
    audit: tuple[AuditEntry, ...] = ()
    #: its service levels so far
    slas: tuple[SlaMark, ...] = ()
    #: when it began, and is expected to end by how long earlier ones took, milliseconds since 1970; 0: it did not, or
    #: that cannot be told
    begun_ms: int = 0
    expected_ms: int = 0


class SlaCount(Wire, frozen=True):
    """What became of a service level, over all runs of a flow."""

    flow: str
    #: "": of the flow's runs
    step: str
    what: Literal["start", "finish"]
    name: str
    met: int
    missed: int
    warned: int
    #: neither: it failed, was cancelled or expired before its time
    other: int


class SlaMiss(Wire, frozen=True):
    """A service level that was missed."""

    flow: str
    run: str
    step: str
    what: Literal["start", "finish"]
    #: when it was due, when that was noticed, and when what was due came (0: not yet, or never)
    due_ms: int
    missed_ms: int
    done_ms: int = 0
    name: str = ""


class FlowPause(Wire, frozen=True):
    """All runs of a flow are paused, those to come included."""

    flow: str
    #: since when, milliseconds since 1970; who did it, and why
    at_ms: int
    by: str = ""
    note: str = ""


class Approval(Wire, frozen=True):
    """A step that waits for somebody's decision."""

    run: str
    flow: str
    #: as Decision names it
    step: str
    #: as the flow has them: msgpack, null where they cannot be told without a worker
    group: bytes
    title: bytes
    show: bytes
    #: when it began to wait, and when its time is over (0: never), milliseconds since 1970
    since_ms: int
    until_ms: int = 0


class BackfillState(Wire, frozen=True):
    """How a backfill stands."""

    name: str
    trigger: str
    #: blocked: what is left cannot be started; `why` says it
    state: Literal["running", "success", "failed", "stopped", "blocked"]
    #: windows: all that were asked for; of these, those that succeeded in it, had succeeded before, failed in it, run
    #: now, wait, and were not to be run (`only`)
    total: int
    done: int
    kept: int
    failed: int
    running: int
    left: int
    spared: int
    #: when it began, and ended (0: it did not), milliseconds since 1970
    began_ms: int
    ended_ms: int = 0
    concurrency: int = 0
    by: str = ""
    why: str = ""
    #: where the windows begin that failed, at most some of them, milliseconds since 1970
    failures: tuple[int, ...] = ()
    #: where the first and the last window begin, in the order in which they are started
    first_ms: int = 0
    last_ms: int = 0


class TriggerRun(Wire, frozen=True):
    """A run that a trigger started; the last one of its window."""

    #: "": the window's time was missed, and none was started
    run: str
    #: its time in the grid, or when it was started, milliseconds since 1970
    at_ms: int
    state: Literal["running", "success", "failed", "cancelled", "expired", "missed"]
    #: runs of the window; 0: it stands for none
    number: int = 0


class TriggerState(Wire, frozen=True):
    """How a trigger stands."""

    #: "flow.trigger"
    trigger: str
    project: str
    flow: str
    #: what it waits for, as a flow has it
    source: str
    #: content hash of the flow's plan
    plan: str
    #: when it was deployed first; when it ticks next (None: that is not known, or it waits for no time); the last time
    #: that started a run, or was missed (0: none); milliseconds since 1970
    since_ms: int
    next_ms: int | None
    last_ms: int
    paused: FlowPause | None
    #: runs that were started, times that were missed, what arrived and did not fit
    started: int
    missed: int
    refused: int
    #: runs that wait for the success of an earlier window
    waiting: int = 0
    #: why its next times are not known
    trouble: str = ""
    #: of one that is asked for by its name: the newest first
    runs: tuple[TriggerRun, ...] = ()


class Listing(Wire, frozen=True, tag="listing"):
    """A partition's answer to a Query."""

    id: str
    partition: str
    #: the newest first, at most as many as asked for
    runs: tuple[RunSummary, ...]
    #: runs that have not ended
    total: int
    #: what waits for a decision, if that was asked for: the oldest first, at most as many as asked for
    approvals: tuple[Approval, ...] = ()
    #: flows that are paused
    paused: tuple[FlowPause, ...] = ()
    #: backfills, if these were asked for: the newest first, at most as many as asked for
    backfills: tuple[BackfillState, ...] = ()
    #: if service levels were asked for; of the misses the newest first, at most as many as asked for
    slas: tuple[SlaCount, ...] = ()
    misses: tuple[SlaMiss, ...] = ()
    #: if these were asked for: by name, at most as many as asked for
    triggers: tuple[TriggerState, ...] = ()
