"""What workers get, and what they give back."""

from __future__ import annotations

from typing import Literal

from .wire import Wire

__all__ = ["Bundle", "Failure", "Outcome", "Replacement", "Then", "WorkItem"]


class Failure(Wire, frozen=True):
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


class Then(Wire, frozen=True):
    """A task that the same worker runs right after another one, if that one succeeded: the next of a fused chain."""

    #: a TaskNode of the same block
    node: int
    #: the values of its inputs, in order; a number stands for the result of the chain's part of that place, 0: of the
    #: item itself
    inputs: tuple[bytes | int, ...]


class WorkItem(Wire, frozen=True):
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


class Bundle(Wire, frozen=True):
    id: str
    partition: str
    #: as `names.lane` has it: all items of a bundle need the same kind of executor
    lane: str
    #: content hashes in the blob store
    plans: tuple[str, ...]
    items: tuple[WorkItem, ...]
    #: all items are calls of one function that takes them together
    batch: bool = False


class Outcome(Wire, frozen=True):
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


class Replacement(Wire, frozen=True):
    """The value of an outcome "replaced", packed: a canvas."""

    #: content hash of its plan
    plan: str
    #: msgpack map from parameter to value
    args: bytes
    #: None: the canvas gives the value; else it adds members to the task's group, behind this value
    own: bytes | None = None
