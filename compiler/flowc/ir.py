"""The IR: a checked program, as validated pydantic models with a published JSON schema.

The checker elaborates syntax into it: names are resolved, types known, chains filled, composites inlined, settings
merged. What is left is a tree of blocks of *steps*; an expression never holds a call of a task, only references to
steps. Lowering (`lower/`) flattens the blocks into the graph of a plan.

Ids. Every step, parameter and bound name of a flow has one id, unique in the flow. Id 0 is `run`, the record of the
run's own facts (`run.id`, `run.flow`, `run.date`, `run.triggered_at`, `run.window.start`, `run.window.end`).

Expressions are nested lists, `[op, operand, …]`, the same in the IR and in the plan:

    ["lit", null | bool | int | float | str]     ["date", iso]  ["datetime", iso]  ["duration", microseconds]
    ["decimal", text]                            ["bytes", base64]
    ["ref", id]      IR only: the value of a step; if it was skipped, whoever uses it is skipped
    ["opt", id]      IR only: the value of a step, or null if it was skipped
    ["in", i]        plan only: input i of the node
    ["arg", name]    an argument of the task, in the templates of its `run`
    ["var", name]    a name bound by an enclosing "for"
    ["list", e, …]   ["record", [[name, e], …]]   ["merge", record, record]      (spread: right wins)
    ["attr", e, name]  ["attr?", e, name]  ["index", e, i]  ["slice", e, first | null-lit, last | null-lit]
    ["op", o, a, b]  o of + - * / % == != < <= > >= in;  ["neg", e]  ["not", e]  ["and", a, b]  ["or", a, b]
    ["??", a, b]     ["if", c, a, b]     ["str", part, …]                        (interpolation)
    ["call", function, e, …]             a pure function of `builtins.FUNCTIONS`
    ["for", [names], source, body, condition | null]                             (comprehension)
    ["secret", key]                      resolved on the worker only; stands alone as an argument or a field
    ["ident", e]                         an SQL identifier, in a template of `sql` only

Chains of fields that the checker has typed (`"/"` of two ints is a float, dates plus durations, …) need no type
marks: operands carry their Python types when they are evaluated.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .ir_model import Expr, Model
from .ir_triggers import (
    AllOf,
    AnyOf,
    At,
    Cron,
    Custom,
    Dataset,
    Event,
    File,
    FlowEnd,
    Interval,
    Trigger,
    TriggerSource,
    Webhook,
)

__all__ = [
    "Arm", "Batch", "Block", "BranchStep", "Cache", "CallStep", "CatchStep", "ChildStep", "Concurrency", "Connection",
    "Debounce", "EachStep", "Expr", "Flow", "Handler", "JoinStep", "Key", "Limit", "Merge", "Param", "Pool", "Program",
    "Queue", "RepeatStep", "Retry", "Rule", "Settings", "Sla", "Step", "Task", "TaskParam", "Undo", "UsingStep",
    "ValueStep", "Variable", "WatchStep",
    # what starts runs
    "AllOf", "AnyOf", "At", "Cron", "Custom", "Dataset", "Event", "File", "FlowEnd", "Interval", "Trigger",
    "TriggerSource", "Webhook",
]  # fmt: skip

RuleName = Literal[
    "ok", "failed", "done", "any_ok", "any_failed", "any_done", "none_failed", "none_failed_any_ok", "none_skipped",
    "skipped", "done_any_ok", "always", "at_least", "not_yet",
]  # fmt: skip


class Retry(Model):
    #: attempts after the first
    max: int = Field(ge=0)
    backoff: Literal["fixed", "linear", "exponential"] = "exponential"
    #: the first wait
    first_ms: int = 1_000
    factor: float = 2.0
    cap_ms: int | None = None
    #: part of the wait that is spread by a hash of the attempt's id, 0 to 1
    jitter: float = Field(default=0.0, ge=0, le=1)
    #: error types (the class name, or its last part) that are retried; empty: all
    only: tuple[str, ...] = ()
    #: error types that are not
    never: tuple[str, ...] = ()


class Concurrency(Model):
    """How many run at the same time in the whole environment, of those with the same key."""

    limit: int = Field(ge=1)
    #: of a task over ["arg", name], else over ids; None: all have the same
    key: Expr | None = None
    on_conflict: Literal["queue", "cancel_running", "cancel_new", "skip"] = "queue"
    #: key in Program.tasks of the task that sets it, whose calls are counted together; "": a step's, or a flow's own
    task: str = ""


class Key(Model):
    """What tells apart: of a task over ["arg", name], else over ids."""

    expr: Expr
    of_task: bool = False


class Cache(Model):
    """A value is kept so long, and stands for the call as long as the key is the same."""

    ttl_ms: int = Field(ge=1)
    #: None: all arguments
    key: Key | None = None


class Batch(Model):
    """At most so many calls are executed together, those that come within a time of the first."""

    max: int = Field(ge=2)
    within_ms: int = Field(ge=1)


class Debounce(Model):
    """A run waits so long before it begins, and is replaced by a newer one of the same key."""

    wait_ms: int = Field(ge=1)
    #: over the parameters; None: all have the same
    key: Expr | None = None


class Sla(Model):
    """By when a run, or a step, is to begin and to end."""

    #: as `sla gold { … }` names it; "": written where it holds
    name: str = ""
    finish_ms: int | None = Field(default=None, ge=1)
    start_ms: int | None = Field(default=None, ge=1)
    #: the finish is so many times this quantile of how long earlier ones took; until that is known, `finish_ms`
    quantile: float | None = Field(default=None, gt=0, lt=1)
    factor: float = Field(default=1.0, gt=0)
    #: a warning comes after this part of the time to the finish
    warn: float | None = Field(default=None, gt=0, lt=1)


class Settings(Model):
    """The settings of one call, merged: flow.toml, flow, task, `with`."""

    queue: str = "default"
    #: 0 to 9, 9 first
    priority: int = Field(default=5, ge=0, le=9)
    pool: str | None = None
    slots: int = Field(default=1, ge=1)
    retry: Retry | None = None
    #: hard limit of one attempt
    timeout_ms: int | None = None
    #: limit of all attempts together, from the first time the step was ready
    deadline_ms: int | None = None
    #: not begun so long after it might have, it ends as expired
    expires_ms: int | None = None
    #: it begins so long after it might have, or not before a time (milliseconds since 1970)
    delay_ms: int | None = None
    at_ms: int | None = None
    #: a rate that its starts keep to
    limit: str | None = None
    concurrency: Concurrency | None = None
    #: of one attempt: then the task is asked to end
    soft_timeout_ms: int | None = None
    executor: Literal["process", "thread", "async"] = "process"
    #: an attempt whose process needs more is ended, in bytes
    memory: int | None = None
    #: its process is replaced after so many
    max_tasks_per_process: int | None = None
    env: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    idempotent: bool = False
    #: an attempt that may have begun and did not end is not followed by another
    at_most_once: bool = False
    #: the value is dropped where it is made
    ignore_result: bool = False
    #: what the task gets as its idempotency key
    idempotency_key: Key | None = None
    cache: Cache | None = None
    batch: Batch | None = None
    sla: Sla | None = None
    #: names of datasets that a success of it updates, and that it reads
    updates: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


class Rule(Model):
    """`after`: a trigger rule over steps (their ids)."""

    rule: RuleName
    steps: tuple[int, ...]
    #: how many, for at_least
    n: int | None = None


class Param(Model):
    """A parameter of a flow."""

    id: int
    name: str
    type: str
    #: over earlier parameters and `run`; None when required
    default: Expr | None = None


class Variable(Model):
    """A variable of the environment that a flow reads, with the id of its value there."""

    id: int
    name: str
    type: str
    #: a constant; None: it must have been set
    default: Expr | None = None


class StepModel(Model):
    id: int
    #: as the user sees it: the binding, or the task's name; unique in the flow (`#2`, `#3`); "" for a part of a
    #: construct that is no step of its own (a list of results, a condition)
    name: str
    #: line in the flow's file, from 1
    line: int
    #: canonical text of the value's type
    type: str
    after: tuple[Rule, ...] = ()
    #: the composites that it came from, outermost first
    box: tuple[str, ...] = ()


class Undo(Model):
    """`undo` of a task: the call that takes back what a call of it did."""

    #: key in Program.tasks
    task: str
    #: over ["arg", name] of the parameters of the task that is undone, and ["arg", "result"]
    args: dict[str, Expr]
    settings: Settings


class CallStep(StepModel):
    """A call of a task."""

    kind: Literal["call"] = "call"
    #: key in Program.tasks
    task: str
    #: every parameter of the task that has a value, defaults included
    args: dict[str, Expr]
    settings: Settings
    undo: Undo | None = None


class ChildStep(StepModel):
    """A call of another flow."""

    kind: Literal["child"] = "child"
    #: key in Program.flows
    flow: str
    args: dict[str, Expr]
    settings: Settings
    #: it starts a run of its own; the value is that run's id
    detached: bool = False


class ValueStep(StepModel):
    """A pure expression: `y = -x`, or the list of a group's results."""

    kind: Literal["value"] = "value"
    value: Expr


class Merge(Model):
    """A name bound in the arms of a branch: per arm the id that gives its value, or None."""

    id: int
    name: str
    type: str
    sources: tuple[int | None, ...]
    #: where no arm was taken
    otherwise: int | None = None


class BranchStep(StepModel):
    """`if`, `match`, and `??`, `then`/`else` with calls: only the steps of the arm taken run."""

    kind: Literal["branch"] = "branch"
    #: gives the index of the arm; any other int takes none
    selector: Expr
    arms: tuple[Block, ...]
    merges: tuple[Merge, ...] = ()


class EachStep(StepModel):
    """`each`; its value is the list of the items' results (null without `return`)."""

    kind: Literal["each"] = "each"
    #: a list, a map (pairs), or ["call", "range" | "chunk" | "zip" | "cross", …], which is never built
    source: Expr
    #: one id per name of the pattern
    items: tuple[int, ...]
    item_types: tuple[str, ...]
    #: `each (a, b) in …`: an item is taken apart
    unpack: bool
    body: Block
    #: more items than this fail the step
    max: int | None = None
    concurrency: int | None = None
    #: "finish": as "fail", and the other items go on; of a group of the canvas
    on_error: Literal["fail", "collect", "skip", "finish"] = "fail"


class CatchStep(StepModel):
    """`expr catch(e) { … }`: the value of `body`, or that of `handler` if a step of `body` failed."""

    kind: Literal["catch"] = "catch"
    body: Block
    error_id: int
    handler: Block


class WatchStep(StepModel):
    """`on success(r)`, `on failure(e)`, … on one call: runs `body` when `step` ended so. Handles no failure.

    "retry" is about an attempt of the step, which must be a call: `body` runs when it failed and another one follows.
    "sla_miss" is about a call, too, and `body` runs when it is late, while it goes on.
    """

    kind: Literal["watch"] = "watch"
    step: int
    event: Literal["success", "failure", "skip", "cancel", "retry", "sla_miss"]
    value_id: int
    body: Block
    #: steps that are watched with it: once all have ended, "failure" holds if one of them failed
    also: tuple[int, ...] = ()


class JoinStep(StepModel):
    """A group with `join`: ends when `n` members are successes."""

    kind: Literal["join"] = "join"
    members: tuple[int, ...]
    #: per member, the steps that it consists of; a failure of these is handled when the join succeeds
    parts: tuple[tuple[int, ...], ...] = ()
    n: int
    #: the value is the first result itself, not a list of n in the order of their ends
    first: bool
    cancel_rest: bool
    #: of a group with names: the value is a record of optionals, with those of the n that were first; else empty
    names: tuple[str, ...] = ()


class UsingStep(StepModel):
    """`using c = create() { … } finally { … }`. The set-up's own steps stand in `setup`; its value is `value_id`."""

    kind: Literal["using"] = "using"
    setup: Block
    value_id: int
    body: Block
    cleanup: Block


class RepeatStep(StepModel):
    """`repeat … until`: a new round of `body` while `until` is false."""

    kind: Literal["repeat"] = "repeat"
    body: Block
    #: the last round's value, null in the first; also what `until` reads
    previous_id: int
    until: Expr
    #: of the condition; 0: that of the construct
    until_line: int = 0
    every_ms: int
    max: int


Step = Annotated[
    CallStep
    | ChildStep
    | ValueStep
    | BranchStep
    | EachStep
    | CatchStep
    | WatchStep
    | JoinStep
    | UsingStep
    | RepeatStep,
    Field(discriminator="kind"),
]


class Block(Model):
    """Steps in written order, which is an order of their dependencies too; and the value, if it has one."""

    steps: tuple[Step, ...]
    result: Expr | None = None
    #: of its `return`, where one gives the result; 0: that of the construct
    line: int = 0


Arm = Block


class Handler(Model):
    """`on success(r)`, `on failure(e)`, `on cancel(c)` of a flow: runs when all its steps have ended; `on sla_miss(m)`:
    when it is late."""

    event: Literal["success", "failure", "cancel", "sla_miss"]
    value_id: int
    body: Block


class Flow(Model):
    name: str
    file: str
    line: int
    doc: str | None = None
    params: tuple[Param, ...]
    #: canonical text, or None without `returns`
    returns: str | None
    #: of the whole run
    timeout_ms: int | None = None
    #: of its runs; the key is over the parameters
    concurrency: Concurrency | None = None
    max_active_runs: int | None = Field(default=None, ge=1)
    body: Block
    handlers: tuple[Handler, ...] = ()
    #: what succeeded is undone when the flow failed or was cancelled
    on_failure: Literal["compensate"] | None = None
    #: how deep it may call itself, the first call counted; None: not at all
    max_depth: int | None = Field(default=None, ge=1, le=1_000)
    #: how long a run's record is kept; None: as long as the environment says. Without its value
    keep_ms: int | None = None
    ignore_result: bool = False
    #: of a run that is submitted without one; over the parameters
    idempotency_key: Expr | None = None
    debounce: Debounce | None = None
    #: the record of a run keeps the values of its steps, too; of a canvas
    keeps_values: bool = False
    #: what starts it once it is deployed
    triggers: tuple[Trigger, ...] = ()
    #: of its runs
    sla: Sla | None = None
    #: that it reads, in the order of their first use
    variables: tuple[Variable, ...] = ()
    #: the times since a trigger's start are due when it is deployed first
    catchup: bool = False
    #: a run of a trigger begins only after a success of the run of the time before
    depends_on_past: bool = False


class TaskParam(Model):
    name: str
    type: str
    optional: bool = False


class Task(Model):
    name: str
    doc: str | None = None
    #: its own, and behind them the variables that its text reads
    params: tuple[TaskParam, ...]
    returns: str | None
    #: python, shell, sql: how it runs. A library task is `python` with the target "flowstd.http:get". wait: it runs
    #: nowhere, and ends when what it waits for happens
    operator: Literal["python", "shell", "sql", "wait"]
    #: python: "module:function", or "path/to/file.py:function" relative to the project's root. wait: what for
    target: str = ""
    #: shell and sql: the template (["str", …] or ["lit", …] over ["arg", name])
    template: Expr | None = None
    #: names of connections that the task may use; for sql the first is the database
    uses: tuple[str, ...] = ()


class Pool(Model):
    name: str
    slots: int = Field(ge=1)


class Limit(Model):
    """A rate: a bucket of `burst` tokens that fills at `rate` per `per_ms`."""

    name: str
    rate: int = Field(ge=1)
    per_ms: int = Field(ge=1)
    burst: int = Field(ge=1)


class Queue(Model):
    name: str
    priority: int | None = None
    max_inflight: int | None = None


class Connection(Model):
    name: str
    kind: str
    #: constants and ["secret", key]
    fields: dict[str, Expr]


class Program(Model):
    """Everything that one compilation checked."""

    version: Literal[1] = 1
    flows: dict[str, Flow]
    tasks: dict[str, Task]
    pools: dict[str, Pool] = Field(default={})
    limits: dict[str, Limit] = Field(default={})
    queues: dict[str, Queue] = Field(default={})
    connections: dict[str, Connection] = Field(default={})
