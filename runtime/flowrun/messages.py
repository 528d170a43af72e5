"""What travels: the events of an inbox, the bundles of the work stream, the record of an ended run, live notes.

Values are msgpack bytes (see `values`); here they are opaque. Structs are array-like: fields are only ever added at
the end. A packed message starts with one byte for the format, whose lowest bit says whether zstd was used. A message
of an inbox holds one or more events: what many ask for at the same moment travels, and is stored, as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar, cast

import msgspec
import zstandard

from .errors import FlowError

__all__ = [
    "Again", "Answered", "Arrived", "Ask", "AskHolders", "AuditEntry", "Backfill", "BackfillState", "Begun",
    "Bundle",
    "Deployed", "Scheduled", "SetVar", "SlaCount", "SlaMark", "SlaMiss", "Tick", "Cancel", "Control", "Decision",
    "Ended",
    "Event", "Failure", "FlowPause", "Grant", "Holder", "Holding", "Holds", "Listing", "LogNote", "Lost",
    "MessageError", "Outcome", "Presence", "Query", "QuotaDef", "Raised", "Release", "Replacement", "Results",
    "Revoked", "RunRecord", "RunState", "RunSummary", "Signal", "StateNote", "StepNote", "StepRecord", "StepState",
    "Submit", "TakeOver", "Terms", "Then", "TimerFired", "Watch", "WorkItem",
    "MOST_WINDOWS", "WINDOW_STATES",
    "ToClient", "TriggerRun", "TriggerState", "pack", "pack_events", "unpack", "unpack_events", "unpack_known_events",
    "unpack_to_client",
]  # fmt: skip

StepState = Literal["waiting", "ready", "running", "retrying", "success", "failed", "skipped", "upstream_failed",
                    "cancelled", "expired"]  # fmt: skip
RunState = Literal["running", "success", "failed", "cancelled", "expired"]
#: what became of a window of a backfill: it waits; runs; succeeded; failed; had succeeded before; runs, but others
#: started it; was not to be run
WINDOW_STATES = ("left", "running", "done", "failed", "kept", "elsewhere", "spared")
#: windows of one backfill
MOST_WINDOWS = 100_000

#: a decompressed message is never larger, in bytes
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
#: smaller messages are not worth compressing, in bytes
_COMPRESS_FROM = 1_024
_PLAIN, _ZSTD = b"\x02", b"\x03"


class MessageError(FlowError):
    """A message could not be read."""


class _Wire(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Data that travels. It never contains itself, so the garbage collector need not look at it."""


class Failure(_Wire, frozen=True):
    """Why an attempt failed."""

    #: class name of the error ("ValueError"), or Timeout, WorkerDied, TypeMismatch, NotFound, ExpressionError, …
    type: str
    message: str
    #: the traceback or other text for the log, at most a few KiB
    detail: str = ""
    #: False: raised as Fail, or an error that another attempt cannot mend
    retryable: bool = True
    #: the task asked for this wait before the next attempt, in milliseconds
    retry_after_ms: int | None = None


# ---- work -----------------------------------------------------------------------------------------------------------


class Then(_Wire, frozen=True):
    """A task that the same worker runs right after another one, if that one succeeded: the next of a fused chain."""

    #: a TaskNode of the same block
    node: int
    #: the values of its inputs, in order; a number stands for the result of the chain's part of that place, 0: of the
    #: item itself
    inputs: tuple[bytes | int, ...]


class WorkItem(_Wire, frozen=True):
    """One attempt of one node; of a simple EachNode, of its items first..last-1."""

    run: str
    #: index in Bundle.plans
    plan: int
    #: key in Plan.children; "" for the plan itself
    flow: str
    scope: int
    block: int
    #: TaskNode: call it. ValueNode, BranchNode: evaluate the expression. EachNode with a range: run the body's task
    #: per item; without one: evaluate `source`, whose length only the content of a blob tells, to a list. ChildNode:
    #: evaluate `args` to a map by name (one of them needs a blob). RepeatNode and others never travel.
    node: int
    attempt: int
    #: the values of the node's inputs, in order; what stands for null is msgpack null
    inputs: tuple[bytes, ...]
    first: int = -1
    last: int = -1
    #: positions in the `each`es whose items are scopes, the outermost first; None: outside of such
    index: int | tuple[int, ...] | None = None
    #: tasks that follow at once, each in its first attempt: every one has an outcome of its own, up to the first that
    #: does not succeed; those behind that one are not run and have none
    then: tuple[Then, ...] = ()
    #: not begun by then (milliseconds since 1970, by the worker's clock), it is not executed: its outcome is "expired"
    expires_ms: int = 0

    @property
    def id(self) -> str:
        """The attempt's id: what operators get as idempotency key (an item of a range adds its index)."""
        return f"{self.run}/{self.scope}/{self.node}/{self.attempt}"

    def index_of(self, item: int) -> int | tuple[int, ...] | None:
        """The index of an item of the range (-1: of what is no range), as StepRecord has it."""
        if item < 0 or self.index is None:
            return self.index if item < 0 else item
        return (*self.index, item) if isinstance(self.index, tuple) else (self.index, item)


class Bundle(_Wire, frozen=True):
    id: str
    partition: str
    #: as `names.lane` has it: all items of a bundle need the same kind of executor
    lane: str
    #: content hashes in the blob store
    plans: tuple[str, ...]
    items: tuple[WorkItem, ...]
    #: all items are calls of one function that takes them together
    batch: bool = False


class Outcome(_Wire, frozen=True):
    """How an attempt ended. Of a range: of items first..last-1, all with the same state."""

    run: str
    scope: int
    node: int
    attempt: int
    #: "returned": not executed, give it to another worker (no attempt is counted); "expired": its time was over
    #: "replaced": a canvas takes its place (see `engine.replace`)
    state: Literal["success", "failed", "skipped", "returned", "expired", "replaced"]
    #: success: the value; of a range: the values one after another; replaced: a packed Replacement, of one item
    value: bytes = b"\xc0"
    error: Failure | None = None
    #: when it began, milliseconds since 1970 by the worker's clock, for display only
    started_ms: int = 0
    #: how long each item took: float32 little-endian, one per item
    seconds: bytes = b"\x00\x00\x00\x00"
    first: int = -1
    last: int = -1


class Replacement(_Wire, frozen=True):
    """The value of an outcome "replaced", packed: a canvas."""

    #: content hash of its plan
    plan: str
    #: msgpack map from parameter to value
    args: bytes
    #: None: the canvas gives the value; else it adds members to the task's group, behind this value
    own: bytes | None = None


# ---- inbox ----------------------------------------------------------------------------------------------------------


class Again(_Wire, frozen=True):
    """Which earlier run a run takes results from, and what of it runs again."""

    run: str
    #: content hash in the blob store of its image (see `engine.image`)
    image: str
    #: these run again, and all after them, besides what failed
    steps: tuple[str, ...] = ()
    #: all of it runs again
    whole: bool = False
    #: who wants it, as they call themselves, and why
    by: str = ""
    note: str = ""


class Scheduled(_Wire, frozen=True):
    """The time that a run stands for. All in milliseconds since 1970."""

    #: when it was to start: its place in the grid of its trigger
    at_ms: int
    #: its window, the end left out
    start_ms: int
    end_ms: int
    #: the day on which the window begins, in the trigger's time zone: "2026-01-31"
    date: str
    #: the trigger's id, "flow.trigger"
    trigger: str = ""
    #: a backfill or a catch-up makes up for it: nobody waited for it at that time, so that its service levels count
    #: from its submission
    made_up: bool = False


class Submit(_Wire, frozen=True, tag="submit"):
    run: str
    #: content hash in the blob store
    plan: str
    #: msgpack map from parameter to value
    args: bytes
    #: what triggered the run: "manual", later a trigger's name
    trigger: str = "manual"
    #: who is told of its end at once (topic `to`); "": nobody
    client: str = ""
    #: not begun by then, it ends as expired: milliseconds since 1970 by the server's clock; 0: it never does
    expires_ms: int = 0
    #: of all its steps that do not set one themselves; None: the plan's
    priority: int | None = None
    #: the same key is the same run for as long as results are kept; the run's id was made of it; "": none
    key: str = ""
    #: it is a rerun
    again: Again | None = None
    #: so many detached calls, one of the other, stand before it
    depth: int = 0
    #: None: the day (UTC) on which it is submitted
    scheduled: Scheduled | None = None


class Results(_Wire, frozen=True, tag="results"):
    bundle: str
    worker: str
    outcomes: tuple[Outcome, ...]
    #: of what replaces tasks: content hashes in the blob store
    plans: tuple[str, ...] = ()


class Begun(_Wire, frozen=True, tag="begun"):
    """A worker executes an attempt. Only steps tell whose service level asks when they begin."""

    run: str
    scope: int
    node: int
    attempt: int


class Lost(_Wire, frozen=True, tag="lost"):
    """A bundle was delivered again: its worker died. Nothing of it was executed by the one who reports."""

    bundle: str
    items: tuple[WorkItem, ...]


class TimerFired(_Wire, frozen=True, tag="timer"):
    run: str
    timer: str


class Cancel(_Wire, frozen=True, tag="cancel"):
    """Of a run that is not known yet (its submission is delayed): it ends as cancelled when it comes."""

    run: str
    reason: str = "cancelled"
    #: a step or a box (a group, a chain) of it; "": all of it
    step: str = ""


class Signal(_Wire, frozen=True, tag="signal"):
    """A message into a run that lives. Kept until a step waits for a signal of this name."""

    run: str
    name: str
    #: msgpack
    value: bytes
    #: unique: the same event may come again, and counts once
    id: str
    #: who wants an answer; "": nobody
    client: str = ""
    #: who sent it, as they call themselves
    by: str = ""
    #: the run has not begun (its submission is delayed): keep it until it has
    early: bool = False


class Decision(_Wire, frozen=True, tag="decision"):
    """The answer to a step that waits for somebody's approval."""

    run: str
    #: its name; "": the only one that waits
    step: str
    approved: bool
    #: None: nothing was said
    note: str | None
    #: as Signal has them
    id: str
    client: str = ""
    by: str = ""


class Raised(_Wire, frozen=True, tag="raised"):
    """Something happened outside. It is in the inbox of every partition: all steps that wait for it now end."""

    subject: str
    #: what it is about; "": nothing in particular
    key: str
    #: msgpack
    value: bytes
    #: unique: the same event may come again, and counts once
    id: str
    #: who wants an answer; "": nobody
    client: str = ""
    #: of an event that many wait for, the rest: runs behind this one, that have waited since then or longer
    after: str = ""
    at_ms: int = 0


class Control(_Wire, frozen=True, tag="control"):
    """What an operator does to a run by hand, or to all runs of a flow (pause, resume)."""

    action: Literal["pause", "resume", "mark"]
    #: "": all runs of `flow`, those to come included
    run: str = ""
    flow: str = ""
    #: mark: the step, how it ends, and its value (msgpack; b"": null)
    step: str = ""
    state: Literal["success", "skipped", "failed"] = "success"
    value: bytes = b""
    #: who does it, as they call themselves, and why
    by: str = ""
    note: str = ""
    #: as Signal has them
    id: str = ""
    client: str = ""
    #: pause, resume: a trigger, "flow.trigger", instead of a run or a flow
    trigger: str = ""


class Deployed(_Wire, frozen=True, tag="deployed"):
    """A project's deployment changed. It is in the inbox of every partition, whose leader puts it there."""

    project: str
    #: grows with every deployment of the project; what comes with a smaller or equal one is outdated
    number: int
    #: content hash of the manifest in the blob store; "": nothing of the project is deployed any more
    manifest: str
    #: when it was deployed, milliseconds since 1970
    at_ms: int


class Tick(_Wire, frozen=True, tag="tick"):
    """Times of a trigger's grid have come."""

    trigger: str
    #: of what was armed (see commands.Arm); another one is outdated
    version: int
    #: in order
    times: tuple[Scheduled, ...]
    #: which of the trigger's sources (see `sources`)
    place: int = 0
    #: times have come that are later than these: they follow in another message
    more: bool = False
    #: the grid has no times but these after this moment and up to the last one: a message that was overtaken is noticed
    after_ms: int = 0


class Arrived(_Wire, frozen=True, tag="arrived"):
    """What a trigger waits for happened: an event, a request, a file, the end of a run, an update of a dataset. To the
    trigger's partition."""

    trigger: str
    #: unique for the trigger: the same may come again, and counts once
    id: str
    #: msgpack of the record `event`
    value: bytes
    #: of an `any_of` or `all_of`: which of its sources, in written order, from 0 (see `sources`)
    source: int = 0
    #: what it is about, for `dedupe_ms`; "": nothing in particular
    key: str = ""
    #: as Signal has it
    client: str = ""


class Backfill(_Wire, frozen=True, tag="backfill"):
    """Runs of a trigger's flow for many windows. To the trigger's partition."""

    trigger: str
    #: unique: the same may come again, and counts once
    id: str
    #: in the order in which they are to be started
    times: tuple[Scheduled, ...]
    #: runs of it at the same time
    concurrency: int
    #: which windows: those that never ran, and those whose last run did not succeed; or only the latter
    only: Literal["open", "failed"] = "open"
    #: msgpack map: values of parameters
    args: bytes = b"\x80"
    by: str = ""
    client: str = ""
    #: it is to end: nothing more is started
    stop: bool = False
    #: of the backfill: what asks for the same windows in the same way has the same; while one of this name lives,
    #: another one is the same
    name: str = ""
    #: many windows come in several messages: where these stand among all of them, and how many there are
    first: int = 0
    total: int = 0
    #: nothing is started: the answer tells how each window stands, as bytes that are places in WINDOW_STATES
    dry: bool = False


class SetVar(_Wire, frozen=True, tag="var"):
    """A variable of the environment has another value. It is in the inbox of every partition."""

    name: str
    #: msgpack; None: it is unset
    value: bytes | None
    #: as Signal has them
    id: str
    client: str = ""
    by: str = ""
    #: grows with every change of the variable; what comes with a smaller one is outdated
    version: int = 0


class TakeOver(_Wire, frozen=True, tag="takeover"):
    """A coordinator leads the partition from here on. What it decides, it decides by these rules."""

    epoch: int
    node: str
    #: version of the rules of `decide`
    rules: int
    #: how long ids of ended runs are remembered from here on, and those of idempotency keys and cancellations of runs
    #: that are not known: decisions follow from them, so they stand in the inbox
    remember_ms: int = 150_000
    keep_ms: int = 604_800_000


# ---- permits --------------------------------------------------------------------------------------------------------


class Holder(_Wire, frozen=True):
    """Who asks for permits: an attempt of a step, an `each` for its items, or a run."""

    run: str
    #: -1: the run itself
    scope: int = -1
    node: int = -1
    #: 0: no attempt, but the run, or all items of an `each`
    attempt: int = 0


class QuotaDef(_Wire, frozen=True):
    """What a quota allows, as the plan of the run that asks has it."""

    #: when that run was submitted, milliseconds since 1970: the latest plan counts
    defined_ms: int
    #: slots; of a rate the tokens of a full bucket
    limit: int
    #: tokens per `per_ms`; 0: it is no rate
    rate: int = 0
    per_ms: int = 0


class Terms(_Wire, frozen=True):
    """On which terms a holder asks."""

    definition: QuotaDef
    #: slots that one permit takes
    slots: int = 1
    #: 0 to 9, 9 first
    priority: int = 5
    #: among equals, groups are served in turn: the concurrency key, or the run
    group: str = ""
    #: within a group the smaller is served first
    order: int = 0
    #: as ConcurrencyDef has it
    on_conflict: Literal["queue", "cancel_running", "cancel_new", "skip"] = "queue"


class Ask(_Wire, frozen=True, tag="ask"):
    """To the owner of a quota: all that a holder wants of it, and has. The counts only ever describe the holder as a
    whole, so that a message that comes twice, or late, says nothing new."""

    quota: str
    holder: Holder
    #: the holder's, where the answer goes
    partition: str
    #: grows with every message of this holder about this quota; a smaller one is outdated
    version: int
    #: permits that it ever asked for, was granted as far as it knows, and gave back
    asked: int
    granted: int
    returned: int
    terms: Terms


class Release(_Wire, frozen=True, tag="release"):
    """To the owner of a quota: what a holder has, once it waits for nothing more. As Ask has it."""

    quota: str
    holder: Holder
    version: int
    asked: int
    granted: int
    returned: int


class Grant(_Wire, frozen=True, tag="grant"):
    """To a holder's partition: the owner's answer."""

    quota: str
    holder: Holder
    #: permits that it was ever granted
    granted: int
    #: "cancel", "skip": the holder ends so, by the `on_conflict` of the one or the other
    answer: Literal["granted", "cancel", "skip"] = "granted"
    #: the run that took the holder's place; "": none did
    by: str = ""

    @property
    def run(self) -> str:
        return self.holder.run


class AskHolders(_Wire, frozen=True, tag="holders"):
    """From an owner: do these still want or hold what I believe? Without any: who does of what I own?"""

    #: the owner
    partition: str
    #: (quota, holder)
    holders: tuple[tuple[str, Holder], ...] = ()


class Holds(_Wire, frozen=True, tag="holds"):
    """The answer to AskHolders."""

    #: what they want and hold
    asks: tuple[Ask, ...]
    #: those that want and hold nothing any more …
    gone: tuple[tuple[str, Holder], ...]
    #: … since then: as Ask.version
    version: int


Event = (
    Submit | Results | Lost | TimerFired | Cancel | TakeOver | Ask | Release | Grant | AskHolders | Holds
    | Signal | Decision | Raised | Control
    | Deployed | Tick | Arrived | Backfill | SetVar | Begun
)  # fmt: skip


# ---- what a run was ---------------------------------------------------------------


class StepRecord(_Wire, frozen=True):
    """One step of an ended run, or one item of an `each`."""

    step: str
    #: position in the enclosing `each`; a tuple when they nest; None outside
    index: int | tuple[int, ...] | None
    state: StepState
    attempts: int
    seconds: float | None
    error: Failure | None = None


class AuditEntry(_Wire, frozen=True):
    """What somebody did to a run by hand."""

    #: milliseconds since 1970
    at_ms: int
    #: "pause", "resume", "mark success", "rerun", …
    action: str
    step: str = ""
    #: who, as they call themselves, and why
    by: str = ""
    note: str = ""


class SlaMark(_Wire, frozen=True):
    """A service level that a run, or a step of it, has, and what became of it."""

    #: "" : the run's own
    step: str
    #: "start", "finish"
    what: Literal["start", "finish"]
    #: when it was due, milliseconds since 1970
    due_ms: int
    #: when a warning and a miss fired; 0: it did not
    warned_ms: int = 0
    missed_ms: int = 0
    name: str = ""
    #: when what was due came, in time or late; 0: it has not come, or it ended in another way than a success
    done_ms: int = 0


class RunRecord(_Wire, frozen=True):
    """An ended run, as it is stored for its client."""

    run: str
    flow: str
    state: RunState
    #: the value of `return`, or null
    result: bytes
    error: Failure | None
    #: where it failed: the step's name
    failed_step: str | None
    started_ms: int
    ended_ms: int
    steps: tuple[StepRecord, ...]
    #: as Submit has it
    trigger: str = "manual"
    #: what was done to it by hand, in order
    audit: tuple[AuditEntry, ...] = ()
    #: where the plan keeps them: msgpack map from step to value. An `each` that failed has one, too, which holds
    #: records of its failures; the step whose value is the result has none here
    values: bytes = b""
    #: it is kept so long from its end, as its flow says; 0: as long as the environment says
    keep_ms: int = 0
    scheduled: Scheduled | None = None
    slas: tuple[SlaMark, ...] = ()


# ---- live notes -----------------------------------------------------------------------------------------------------


class Watch(_Wire, frozen=True):
    """To coordinators (topic `watch`): this client wants to be told of a run, for the next few seconds. It is told at
    once what is known, and says so again for as long as it wants."""

    run: str
    client: str
    #: also of its steps, not only of its end
    steps: bool = False


class Query(_Wire, frozen=True):
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


class RunSummary(_Wire, frozen=True):
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


class SlaCount(_Wire, frozen=True):
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


class SlaMiss(_Wire, frozen=True):
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


class FlowPause(_Wire, frozen=True):
    """All runs of a flow are paused, those to come included."""

    flow: str
    #: since when, milliseconds since 1970; who did it, and why
    at_ms: int
    by: str = ""
    note: str = ""


class Approval(_Wire, frozen=True):
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


class BackfillState(_Wire, frozen=True):
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


class TriggerRun(_Wire, frozen=True):
    """A run that a trigger started; the last one of its window."""

    #: "": the window's time was missed, and none was started
    run: str
    #: its time in the grid, or when it was started, milliseconds since 1970
    at_ms: int
    state: Literal["running", "success", "failed", "cancelled", "expired", "missed"]
    #: runs of the window; 0: it stands for none
    number: int = 0


class TriggerState(_Wire, frozen=True):
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


class Listing(_Wire, frozen=True, tag="listing"):
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


class Ended(_Wire, frozen=True, tag="ended"):
    """To a client (topic `to`): runs that ended. A record that is too large for a note is left out: read it."""

    records: tuple[RunRecord, ...]
    #: runs whose record must be read
    runs: tuple[str, ...] = ()


class Answered(_Wire, frozen=True, tag="answered"):
    """To a client (topic `to`): what became of an event that it wants an answer to."""

    #: the event's
    id: str
    #: False: it was refused, and changed nothing
    ok: bool
    #: why it was refused, or what is worth knowing
    message: str = ""
    #: msgpack, what the kind of event promises
    value: bytes = b"\xc0"


class Presence(_Wire, frozen=True):
    """A node says every second or so that it lives, and what it has (topic `presence`)."""

    #: unique among the nodes of an environment
    node: str
    group: str
    host: str
    pid: int
    #: milliseconds since 1970, by its own clock
    started_ms: int
    #: lane -> items that it runs at the same time
    capacity: dict[str, int] = {}
    #: lane -> items that it runs now
    busy: dict[str, int] = {}
    #: partitions that it leads
    leads: tuple[str, ...] = ()
    #: it may lead partitions
    leader: bool = False
    version: str = ""
    #: it ends: count on nothing of it
    stopping: bool = False


class Holding(_Wire, frozen=True):
    """After a reconnect a worker says which bundles it still works on (topic `holding`): the server may have forgotten
    that it handed them out."""

    worker: str
    bundles: tuple[str, ...]


class StepNote(_Wire, frozen=True):
    """A change of one step's state, for live views."""

    step: str
    index: int | tuple[int, ...] | None
    state: StepState
    attempt: int = 1
    seconds: float | None = None
    message: str = ""
    #: of an `each`: items in all, ended well, ended badly
    total: int = 0
    done: int = 0
    failed: int = 0


class StateNote(_Wire, frozen=True, tag="state"):
    """To a client (topic `to`) that watches a run."""

    run: str
    state: RunState
    steps: tuple[StepNote, ...]
    #: its service levels, and when it is expected to end (milliseconds since 1970; 0: that is not known): told every
    #: now and then
    slas: tuple[SlaMark, ...] = ()
    expected_ms: int = 0


class Revoked(_Wire, frozen=True):
    """Work that is no longer wanted (topic `revoke`): a worker that holds it may stop. What it says is ignored."""

    run: str
    scope: int
    node: int
    #: 0: every attempt
    attempt: int = 0
    #: of a range: items first..last-1; -1, -1: all of it
    first: int = -1
    last: int = -1


class LogNote(_Wire, frozen=True):
    """Lines that a task wrote, as they come."""

    run: str
    step: str
    index: int | tuple[int, ...] | None
    attempt: int
    stream: Literal["out", "err", "log"]
    text: str


_compressor = zstandard.ZstdCompressor(level=1)
_encoder = msgspec.msgpack.Encoder()


def pack(message: msgspec.Struct) -> bytes:
    """A message's bytes, compressed where that shrinks them."""
    return _packed(_encoder.encode(message))


def _packed(data: bytes) -> bytes:
    if len(data) >= _COMPRESS_FROM:
        small = _compressor.compress(data)
        if len(small) < len(data):
            return _ZSTD + small
    return _PLAIN + data


def _plain(data: bytes) -> bytes:
    if data[:1] == _PLAIN:
        return data[1:]
    if data[:1] != _ZSTD:
        raise MessageError(f"a message has format {data[:1].hex() or 'none'}, which this version does not read")
    try:
        size = zstandard.frame_content_size(data[1:])
        if not 0 <= size <= MAX_MESSAGE_BYTES:
            raise MessageError("a message is larger than a message can be")
        return zstandard.ZstdDecompressor().decompress(data[1:])
    except zstandard.ZstdError as error:
        raise MessageError(f"a message is damaged: {error}") from error


_decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = {
    kind: msgspec.msgpack.Decoder(kind)
    for kind in (Bundle, RunRecord, StateNote, LogNote, Revoked, Cancel, Watch, Query, Presence, Holding)
}
T = TypeVar("T", Bundle, RunRecord, StateNote, LogNote, Revoked, Cancel, Watch, Query, Presence, Holding)
_events_decoder: msgspec.msgpack.Decoder[tuple[Event, ...]] = msgspec.msgpack.Decoder(tuple[Event, ...])
_event_decoder: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)
_parts_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
#: what a client is told
ToClient = StateNote | Ended | Listing | Answered
_to_client_decoder: msgspec.msgpack.Decoder[ToClient] = msgspec.msgpack.Decoder(ToClient)


def pack_events(events: Sequence[Event]) -> bytes:
    """The bytes of an inbox's message."""
    return _packed(_encoder.encode(events))


def unpack_events(data: bytes) -> tuple[Event, ...]:
    """The events of an inbox's message, in order. Raises MessageError."""
    try:
        return _events_decoder.decode(_plain(data))
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageError(f"an event is damaged: {error}") from error


def unpack_known_events(data: bytes) -> tuple[list[Event], list[str]]:
    """The events of an inbox's message that can be read, in order, and what is wrong with the others: a newer version
    wrote them, or they are damaged. Raises MessageError if the message as a whole cannot be read."""
    plain = _plain(data)
    try:
        return list(_events_decoder.decode(plain)), []
    except (msgspec.DecodeError, RecursionError):
        return _each_event(plain)


def _each_event(plain: bytes) -> tuple[list[Event], list[str]]:
    events: list[Event] = []
    problems: list[str] = []
    try:
        parts = _parts_decoder.decode(plain)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageError(f"it holds no events ({error})") from error
    for part in parts:
        try:
            events.append(_event_decoder.decode(part))
        except (msgspec.DecodeError, RecursionError) as error:
            problems.append(f"a newer version wrote this event, or it is damaged ({error})")
    return events, problems


def unpack_to_client(data: bytes) -> ToClient:
    """What a client is told. Raises MessageError."""
    try:
        return _to_client_decoder.decode(_plain(data))
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageError(f"a note is damaged: {error}") from error


def unpack(data: bytes, kind: type[T]) -> T:
    """A message of a known kind. Raises MessageError."""
    try:
        return cast(T, _decoders[kind].decode(_plain(data)))
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageError(f"a {kind.__name__} is damaged: {error}") from error
