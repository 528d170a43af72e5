"""The plan of one flow: what the runtime executes. Versioned, content-addressed, the same bytes for the same source.

A plan is a list of *blocks*; block 0 is the flow's body. A block is a graph of *nodes* in an order of their
dependencies; its first `params` nodes are `ParamNode`s, whose values are given when the block is instantiated (the
arguments of the flow, the item of an `each` and what its body uses from outside). A block never reads nodes of
another block: what it needs is captured into its parameters. An instance of a block is a *scope*.

When a node may run, is skipped or is upstream_failed follows from, in this order,
  `guard`   the arm of a branch it stands in: not taken → skipped, whatever else holds;
  `inputs`  data edges: each is `ok` on its producer; a skipped producer skips the node, unless the input is
            `optional`: then the value is null;
  `after`   trigger rules over other nodes.
All must allow it; a failed one wins over a skipped one, and the outcome never depends on the order of events.

Expressions are those of `ir` with ["in", i] for input i of the node.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import zstandard

from .types import Type

__all__ = [
    "FORMAT", "AllSource", "AnySource", "AtSource", "Attached", "BatchDef", "BranchNode", "CacheDef", "ChildNode",
    "ConcurrencyDef", "ConnectionDef", "CronSource", "CustomSource", "DatasetSource", "DebounceDef", "EachNode",
    "EventSource", "Expr", "FileSource", "FlowSource", "IntervalSource", "SlaDef", "TriggerDef", "TriggerSource",
    "VarDef", "WebhookSource",
    "HandlerDef", "Input", "JoinNode", "LimitDef", "MergeNode", "Node", "NodeBase", "OutcomeNode", "ParamDef",
    "ParamNode", "Plan", "PlanBlock", "PlanError", "PoolDef", "RepeatNode", "RetryPolicy", "SignalDef", "StepSettings",
    "TaskDef", "TaskNode", "TaskParamDef", "Trigger", "ValueNode", "WaitNode", "decode", "digest", "encode",
    "read_file_bytes", "write_file_bytes",
]  # fmt: skip

#: version of the plan's format; a runtime accepts its own and the previous one
FORMAT = 1
#: largest decompressed plan that is read, in bytes
MAX_PLAN_BYTES = 256 * 1024 * 1024

_MAGIC = b"FLOWPLAN"

Expr = list[Any]


class PlanError(Exception):
    """The plan cannot be used."""


class _Data(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Data of the plan."""


class Input(msgspec.Struct, frozen=True, array_like=True):
    """A data edge: the node of the same block that gives the value."""

    node: int
    #: a skipped producer gives null instead of skipping the consumer
    optional: bool = False


class Trigger(msgspec.Struct, frozen=True, array_like=True):
    """One `after` rule over nodes of the same block."""

    #: a name of ir.RuleName, or "teardown": runs when all `nodes` ended and at least one of `setups` succeeded
    rule: str
    nodes: tuple[int, ...]
    n: int = 0
    setups: tuple[int, ...] = ()


class Attached(msgspec.Struct, frozen=True, array_like=True):
    """A block that belongs to a node, and runs beside the graph."""

    block: int
    #: nodes of the node's own block (itself, too) whose values are the block's last parameters; null where they have
    #: none
    captures: tuple[int, ...] = ()


class RetryPolicy(_Data, frozen=True, kw_only=True):
    max: int
    backoff: Literal["fixed", "linear", "exponential"] = "exponential"
    first_ms: int = 1_000
    factor: float = 2.0
    cap_ms: int | None = None
    jitter: float = 0.0
    only: tuple[str, ...] = ()
    never: tuple[str, ...] = ()


class ConcurrencyDef(_Data, frozen=True, kw_only=True):
    """At most `limit` at the same time in the whole environment, of those with the same key. Those that wait are served
    key by key in turn."""

    limit: int
    #: over the inputs of the node; of a flow, over ["in", i] of the parameters of block 0; None: all have the same key
    key: Expr | None = None
    #: what happens when the limit is reached: wait; cancel the oldest that runs; be cancelled; be skipped
    on_conflict: Literal["queue", "cancel_running", "cancel_new", "skip"] = "queue"
    #: the task whose calls are counted together, wherever they stand; "": the calls of this step alone
    name: str = ""


class CacheDef(_Data, frozen=True, kw_only=True):
    """A value stands for the call for so long, as long as the key is the same."""

    ttl_ms: int
    #: over the inputs of the node; None: all arguments
    key: Expr | None = None


class BatchDef(_Data, frozen=True, kw_only=True):
    """At most so many calls go to the function together, those that come within a time of the first."""

    max: int
    within_ms: int


class DebounceDef(_Data, frozen=True, kw_only=True):
    """A run waits so long before it begins, and is replaced by a newer one of the same key."""

    wait_ms: int
    #: over ["in", i] of the parameters of block 0; None: all have the same
    key: Expr | None = None


class StepSettings(_Data, frozen=True, kw_only=True):
    queue: str = "default"
    priority: int = 5
    #: index in Plan.pools, or None
    pool: int | None = None
    slots: int = 1
    retry: RetryPolicy | None = None
    #: of one attempt: then it is ended by force
    timeout_ms: int | None = None
    #: of one attempt: then the task is asked to end (SoftTimeout is raised in it)
    soft_timeout_ms: int | None = None
    #: of all attempts together
    deadline_ms: int | None = None
    #: not begun so long after it might have, it ends as expired
    expires_ms: int | None = None
    #: it begins that long after it might have, or not before a time (milliseconds since 1970)
    delay_ms: int | None = None
    at_ms: int | None = None
    #: index in Plan.limits of a rate that its starts keep to
    limit: int | None = None
    concurrency: ConcurrencyDef | None = None
    executor: Literal["process", "thread", "async"] = "process"
    #: an attempt that needs more is ended, in bytes
    memory: int | None = None
    #: a process is replaced after so many
    max_tasks_per_process: int | None = None
    env: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    idempotent: bool = False
    #: an attempt that may have begun and did not end is not followed by another
    at_most_once: bool = False
    #: what the task gets as its idempotency key, over the inputs of the node; None: the id of the step
    idempotency_key: Expr | None = None
    cache: CacheDef | None = None
    batch: BatchDef | None = None
    sla: SlaDef | None = None
    #: names of datasets that a success of it updates, and that it reads
    updates: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


class NodeBase(_Data, frozen=True, kw_only=True, tag_field="op"):
    #: as the user sees it, unique in the plan; "" for a part that is no step of its own
    name: str = ""
    line: int = 0
    #: index in Plan.types of the value's type
    type: int = 0
    inputs: tuple[Input, ...] = ()
    #: (branch or outcome node, arm)
    guard: tuple[int, int] | None = None
    after: tuple[Trigger, ...] = ()
    #: the OutcomeNode or JoinNode that handles a failure of this node; -1: none, the run fails; -2: a failure is
    #: shown but never fails the run (a step of a handler or of a tear-down)
    handler: int = -1
    box: tuple[str, ...] = ()


class ParamNode(NodeBase, tag="param", frozen=True, kw_only=True):
    """A value given from outside; keeps the state it had there (success or skipped)."""


class ValueNode(NodeBase, tag="value", frozen=True, kw_only=True):
    value: Expr


class TaskNode(NodeBase, tag="task", frozen=True, kw_only=True):
    #: index in Plan.tasks
    task: int
    args: tuple[tuple[str, Expr], ...]
    #: index in Plan.settings
    settings: int
    #: undoes it, once it has succeeded and a flow around it that compensates has not
    undo: Attached | None = None
    #: run when an attempt failed and another one follows; their first parameter is the record of the failure
    on_retry: tuple[Attached, ...] = ()
    #: run when it misses its service level; their first parameter is the record of the miss
    on_sla_miss: tuple[Attached, ...] = ()


class ChildNode(NodeBase, tag="child", frozen=True, kw_only=True):
    """A child run of another flow."""

    #: key in Plan.children
    flow: str
    args: tuple[tuple[str, Expr], ...]
    settings: int
    on_retry: tuple[Attached, ...] = ()
    #: it starts a run of its own, and gives that run's id
    detached: bool = False
    #: as TaskNode has it
    on_sla_miss: tuple[Attached, ...] = ()


class BranchNode(NodeBase, tag="branch", frozen=True, kw_only=True):
    """Its value is the index of the arm that is taken (an index without nodes takes none)."""

    selector: Expr


class MergeNode(NodeBase, tag="merge", frozen=True, kw_only=True):
    """The outcome of the source that belongs to the arm taken; None is skipped. If the branch itself did not
    succeed, its outcome. `sources` are not in `inputs`."""

    branch: int
    sources: tuple[int | None, ...]
    #: for an arm beyond `sources`
    otherwise: int | None = None


class OutcomeNode(NodeBase, tag="outcome", frozen=True, kw_only=True):
    """Looks at how `watched` ended: once all have, takes arm 1 if the event holds, else arm 0. Always a success.

    event "failure": one of them is failed (or cancelled, expired); "success": all are; "skip": one is skipped;
    "cancel": one is cancelled; that one also looks, and its arm runs, when the scope is cancelled.
    Its value, for the nodes of arm 1, is the record of the first failed one in the order of `watched` (event
    failure), or the value of the last one (success), or the record of the cancellation (cancel), or null (skip).
    """

    watched: tuple[int, ...]
    event: Literal["failure", "success", "skip", "cancel"] = "failure"


class WaitNode(NodeBase, tag="wait", frozen=True, kw_only=True):
    """Waits for the world, without a worker: the engine ends it."""

    #: sleep, until: a timer; its value is the time of its end. signal: a message into the run. event: something that
    #: happened outside. approval: somebody's decision. approved: such a decision, at once
    waits_for: Literal["sleep", "until", "signal", "event", "approval", "approved"]
    args: tuple[tuple[str, Expr], ...]
    #: index in Plan.settings: its timeout, and when it begins
    settings: int


class EachNode(NodeBase, tag="each", frozen=True, kw_only=True):
    """Instantiates `body` per item of `source`. Its value is the list of the items' results in order, or null.

    The body's parameters are the item's names (one, or as many as `unpack` says), then one per `captures`."""

    #: over the inputs; ["call", "range" | "chunk" | "zip" | "cross", …] is symbolic
    source: Expr
    body: int
    #: number of names the item is taken apart into; 0: the item is one parameter
    unpack: int = 0
    #: inputs that are handed to the body, by index in `inputs`
    captures: tuple[int, ...] = ()
    #: the body gives a value
    collects: bool = True
    #: the body is one TaskNode over its parameters, and its result is that node's: dispatched as ranges
    simple: bool = False
    max: int | None = None
    concurrency: int | None = None
    #: an item fails: those above it are cancelled, and the node fails; its record stands in its place; it is left out;
    #: "finish": all items run to their end, then the node fails. Its value has their records all the same
    on_error: Literal["fail", "collect", "skip", "finish"] = "fail"


class JoinNode(NodeBase, tag="join", frozen=True, kw_only=True):
    """Ends as success when n of `members` did; skipped when all were; else failed (JoinError) when that can no
    longer be. A member whose failure the join did not handle, because it failed itself, is an error of its own."""

    members: tuple[int, ...]
    n: int
    first: bool = False
    cancel_rest: bool = False
    #: of the members: the value is a record of the n first results, null for the others; (): a value or a list
    names: tuple[str, ...] = ()


class RepeatNode(NodeBase, tag="repeat", frozen=True, kw_only=True):
    """Rounds of `body`, whose first parameter is the last round's value (null first), then the captures.
    `until` is a block like `body`, whose result is a bool over (the round's value, captures…)."""

    body: int
    until: int
    every_ms: int
    max: int
    captures: tuple[int, ...] = ()


Node = (
    ParamNode
    | ValueNode
    | TaskNode
    | ChildNode
    | BranchNode
    | MergeNode
    | OutcomeNode
    | EachNode
    | JoinNode
    | RepeatNode
    | WaitNode
)


class PlanBlock(_Data, frozen=True, kw_only=True):
    nodes: tuple[Node, ...]
    #: how many of the nodes are parameters (they come first)
    params: int
    #: the node whose outcome is the block's; -1: no value
    result: int = -1


class HandlerDef(_Data, frozen=True, kw_only=True):
    """`on success`, `on failure`, `on cancel`, `on sla_miss` of the flow: block whose parameters are the event's value
    (the result, the error record, the record of the cancellation, or that of the miss), then the captured nodes of
    block 0 (null where they have no value). "sla_miss" runs while the flow does."""

    event: Literal["success", "failure", "cancel", "sla_miss"]
    block: int
    captures: tuple[int, ...] = ()


class ParamDef(_Data, frozen=True, kw_only=True):
    name: str
    #: index in Plan.types
    type: int
    required: bool = True
    #: over ["in", i] of earlier parameters of block 0
    default: Expr | None = None


class TaskParamDef(_Data, frozen=True, kw_only=True):
    name: str
    type: int
    optional: bool = False


class TaskDef(_Data, frozen=True, kw_only=True):
    name: str
    params: tuple[TaskParamDef, ...]
    #: index in Plan.types, or None: the result is dropped
    returns: int | None
    operator: Literal["python", "shell", "sql"]
    target: str = ""
    template: Expr | None = None
    #: indexes in Plan.connections
    uses: tuple[int, ...] = ()


class PoolDef(_Data, frozen=True, kw_only=True):
    name: str
    slots: int


class LimitDef(_Data, frozen=True, kw_only=True):
    """A rate that the whole environment keeps to: a bucket of `burst` tokens that fills at rate per per_ms."""

    name: str
    rate: int
    per_ms: int
    burst: int


class ConnectionDef(_Data, frozen=True, kw_only=True):
    name: str
    kind: str
    fields: tuple[tuple[str, Expr], ...]


class SlaDef(_Data, frozen=True, kw_only=True):
    """By when a run, or a step, is to begin and to end. Each fires once: a warning, a miss."""

    #: as `sla gold { … }` names it; "": written where it holds
    name: str = ""
    #: counted from the time that the run was scheduled for, or submitted; of a step: from when it might have begun
    finish_ms: int | None = None
    start_ms: int | None = None
    #: the finish is so many times this quantile (0.95) of how long earlier ones took, once there are enough of them;
    #: until then, or if it is None, `finish_ms`
    quantile: float | None = None
    factor: float = 1.0
    #: a warning comes after this part of the time to the finish; None: none comes
    warn: float | None = None


class VarDef(_Data, frozen=True, kw_only=True):
    """A variable of the environment, read once, when a run begins."""

    name: str
    #: index in Plan.types
    type: int
    #: a constant; None: it must have been set
    default: Expr | None = None


# ---- triggers -------------------------------------------------------------------------------------------------------


class SourceBase(_Data, frozen=True, kw_only=True, tag_field="kind"):
    """What a trigger waits for."""


class CronSource(SourceBase, tag="cron", frozen=True, kw_only=True):
    """Its ticks, and those of the other grids, are worked out by `schedules`."""

    #: five fields
    expression: str
    #: a name of the tz database
    tz: str = "UTC"
    #: a time of day that is not there (the clock is put forward) ticks at the end of the gap, or not at all
    gap: Literal["run", "skip"] = "run"
    #: one that comes twice ticks the first time, or both times
    overlap: Literal["once", "twice"] = "once"
    #: days on which it does not tick, in its time zone: "2026-12-25", in order
    holidays: tuple[str, ...] = ()


class IntervalSource(SourceBase, tag="interval", frozen=True, kw_only=True):
    every_ms: int
    #: one of the ticks; all others lie a whole number of intervals from it, milliseconds since 1970
    origin_ms: int = 0
    tz: str = "UTC"
    holidays: tuple[str, ...] = ()


class AtSource(SourceBase, tag="at", frozen=True, kw_only=True):
    #: milliseconds since 1970, in rising order
    at_ms: tuple[int, ...]
    tz: str = "UTC"


class CustomSource(SourceBase, tag="custom", frozen=True, kw_only=True):
    """A Python function of the project, `(after: datetime) -> datetime | None`, or a class whose instances have a
    method `next` that is one. A worker calls it."""

    #: "module:name"
    target: str
    tz: str = "UTC"


class EventSource(SourceBase, tag="event", frozen=True, kw_only=True):
    """A message of a NATS subject, or `flowc emit`. Expressions are over ["in", 0], the record `event`: { subject, key,
    id: string, at: datetime, body }."""

    #: may have the wildcards of NATS
    subject: str
    #: index in Plan.types of `event.body`
    body: int
    #: what it is about; None: the key that it came with
    key: Expr | None = None
    #: only where this holds
    filter: Expr | None = None
    #: another one of the same key within this time starts nothing; 0: each does
    dedupe_ms: int = 0


class WebhookSource(SourceBase, tag="webhook", frozen=True, kw_only=True):
    """An HTTP POST. Expressions as EventSource has them; the subject is the path."""

    #: begins with "/"
    path: str
    body: int
    auth: Literal["hmac", "bearer", "none"] = "hmac"
    #: key of the secret
    secret: str = ""
    #: the header with the signature, and how it is written: "hex", "sha256=hex" (GitHub), or "standard" (Standard
    #: Webhooks: webhook-id, webhook-timestamp, webhook-signature)
    scheme: Literal["standard", "sha256=hex", "hex"] = "standard"
    header: str = ""
    #: a signed time may be so far off
    tolerance_ms: int = 300_000
    max_bytes: int = 1_048_576
    key: Expr | None = None
    filter: Expr | None = None
    dedupe_ms: int = 0


class FileSource(SourceBase, tag="file", frozen=True, kw_only=True):
    """A file that comes or changes: `event.body` is { path: string, size: int, modified: datetime }."""

    #: a glob: of the project's folder, absolute, or of a store ("s3://bucket/in/*.csv")
    pattern: str
    body: int
    #: between two looks
    every_ms: int = 10_000


class FlowSource(SourceBase, tag="flow", frozen=True, kw_only=True):
    """The end of a run of another flow: `event.body` is { run: string, flow: string, state: string, result: json }."""

    flow: str
    body: int
    on: Literal["success", "failure", "done"] = "success"


class DatasetSource(SourceBase, tag="dataset", frozen=True, kw_only=True):
    """A step of any flow has updated it: `event.body` is { dataset, run, flow, step: string }."""

    name: str
    body: int


class AnySource(SourceBase, tag="any", frozen=True, kw_only=True):
    """Each of them starts a run."""

    sources: tuple[TriggerSource, ...]


class AllSource(SourceBase, tag="all", frozen=True, kw_only=True):
    """A run starts when each of them has come at least once since the last time."""

    sources: tuple[TriggerSource, ...]


TriggerSource = (
    CronSource
    | IntervalSource
    | AtSource
    | CustomSource
    | EventSource
    | WebhookSource
    | FileSource
    | FlowSource
    | DatasetSource
    | AnySource
    | AllSource
)


class TriggerDef(_Data, frozen=True, kw_only=True):
    """What starts runs of a deployed flow by itself."""

    #: unique in the flow
    name: str
    source: TriggerSource
    line: int = 0
    #: values of parameters, over ["in", 0], the record `event`, and ["in", 1], the run's facts
    args: tuple[tuple[str, Expr], ...] = ()
    #: of the times that went by while nobody was there: the last one starts a run, all do, or none
    missed: Literal["latest", "all", "skip"] = "latest"
    #: a tick is put off by up to so much: by a hash of it, the same each time
    jitter_ms: int = 0
    #: it starts nothing before, and nothing after, milliseconds since 1970
    start_ms: int | None = None
    end_ms: int | None = None


class SignalDef(_Data, frozen=True, kw_only=True):
    """A signal that steps of the flow wait for."""

    #: "": one whose name is worked out, so that any may come
    name: str
    #: index in Plan.types of what it brings
    type: int


class Plan(_Data, frozen=True, kw_only=True):
    """One flow. The parameters of block 0 are `run` (node 0), then the flow's parameters, then `vars`, in their
    order."""

    flow: str
    file: str
    params: tuple[ParamDef, ...]
    #: index in `types`, or None
    returns: int | None
    timeout_ms: int | None = None
    types: tuple[Type, ...]
    settings: tuple[StepSettings, ...]
    tasks: tuple[TaskDef, ...]
    blocks: tuple[PlanBlock, ...]
    handlers: tuple[HandlerDef, ...] = ()
    pools: tuple[PoolDef, ...] = ()
    limits: tuple[LimitDef, ...] = ()
    #: of runs of this flow
    concurrency: ConcurrencyDef | None = None
    #: runs of this flow at the same time in the whole environment; more wait in the order of their submission
    max_active_runs: int | None = None
    connections: tuple[ConnectionDef, ...] = ()
    #: those of child flows are in their plans
    signals: tuple[SignalDef, ...] = ()
    #: the child flows' plans by key, embedded; shared children are embedded once, in the outermost plan
    children: dict[str, Plan] = {}
    version: int
    #: when it failed or was cancelled, what succeeded in it is undone
    compensates: bool = False
    #: so often it may stand in the line of its own callers, itself counted; None: it never calls itself
    max_depth: int | None = None
    #: how long a run's record is kept; None: as long as the environment says. Without its value
    keep_ms: int | None = None
    drops_result: bool = False
    #: of a run that is submitted without one; over ["in", i] of the parameters of block 0
    idempotency_key: Expr | None = None
    debounce: DebounceDef | None = None
    #: the record of a run keeps the values of the steps of its body, too
    keeps_values: bool = False
    #: what starts it once it is deployed; of a child nothing does
    triggers: tuple[TriggerDef, ...] = ()
    #: of its runs
    sla: SlaDef | None = None
    vars: tuple[VarDef, ...] = ()
    #: the ticks since a trigger's start are due when it is deployed first
    catchup: bool = False
    #: a run of a trigger begins only after a success of the run of the time before
    depends_on_past: bool = False
    #: content hash of the code that its Python tasks are in; "": what is installed where they run. Set by a deployment
    code: str = ""


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Plan)


class _Header(msgspec.Struct):
    version: int = 0


_header_decoder = msgspec.msgpack.Decoder(_Header)


def encode(plan: Plan) -> bytes:
    """The canonical bytes of a plan: the same for the same plan."""
    return _encoder.encode(plan)


def decode(data: bytes) -> Plan:
    """A plan from its canonical bytes. Raises PlanError with what is wrong."""
    try:
        version = _header_decoder.decode(data).version
        if version > FORMAT:
            raise PlanError(
                f"the plan has format {version}, and this version reads up to format {FORMAT}: "
                "upgrade flowc, or compile the plan again with this version"
            )
        return _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise PlanError(f"the plan is damaged ({error}): compile it again") from error
    except RecursionError as error:
        raise PlanError("the plan is nested too deeply: compile it again") from error


def digest(data: bytes) -> str:
    """The content address of a plan's (or any value's) bytes: 32 hex digits of BLAKE2b."""
    import hashlib  # start-up time: it loads OpenSSL, and most executor processes need no digest

    return hashlib.blake2b(data, digest_size=16).hexdigest()


def write_file_bytes(plan: Plan) -> bytes:
    """The content of a `.flowplan` file: magic, digest, zstd-compressed canonical bytes."""
    data = encode(plan)
    return _MAGIC + digest(data).encode() + zstandard.ZstdCompressor(level=9).compress(data)


def read_file_bytes(content: bytes) -> Plan:
    """The plan in a `.flowplan` file's content. Raises PlanError when it is not one, is cut short or was changed."""
    head = len(_MAGIC)
    if not content.startswith(_MAGIC):
        raise PlanError("this is not a plan: compile the `.flow` file with `flowc compile`")
    expected = content[head : head + 32].decode("ascii", "replace")
    try:
        size = zstandard.frame_content_size(content[head + 32 :])
        if not 0 <= size <= MAX_PLAN_BYTES:
            raise PlanError("the plan is larger than a plan can be: compile it again")
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        data = decompressor.decompress(content[head + 32 :])
    except zstandard.ZstdError as error:
        raise PlanError(f"the plan is damaged ({error}): compile it again") from error
    if not decompressor.eof or len(data) != size:
        raise PlanError("the plan is cut short: compile it again")
    if decompressor.unused_data:
        raise PlanError("something was added behind the plan: compile it again")
    if digest(data) != expected:
        raise PlanError("the plan was changed after it was written (its digest does not match): compile it again")
    return decode(data)
