"""The state of a partition: runs, their scopes, and what each node kind remembers. Plain data.

Only `graph` and `tables` point to static tables; a snapshot writes them as (flow, block) and as the plan's hash.
Most scopes need few of their tables: one that was never written is `EMPTY`, which all share, and is written by
`scope.errors = entered(scope.errors, node, error)`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, TypeVar

import msgspec

from flowrun.messages import Again, AuditEntry, Failure, Scheduled, Submit, Terms

from .graph import Graph, Tables
from .levels import Levels
from .node_states import (
    BAD,
    CANCELLED,
    CLASS,
    DELAYED,
    EXPIRED,
    FAILED,
    GRANTED,
    NAMES,
    QUEUED,
    REMOVED,
    RETRYING,
    RUNNING,
    SKIPPED,
    SUCCESS,
    UPSTREAM_FAILED,
    WAITING,
)
from .opening import Gates

__all__ = [
    "Attempt", "Blocks", "Decided", "Fan", "FlowState", "Loop", "Marked", "Outcome", "Run", "Scope", "ScopeKind",
    "Timer", "Undos", "Wait",
    "EMPTY", "aside_rows", "attempt_of", "entered", "number_of", "put_seconds", "seconds_of",
    "BAD", "CLASS", "NAMES", "NULL",
    "WAITING", "DELAYED", "QUEUED", "GRANTED", "RETRYING", "RUNNING",
    "SUCCESS", "FAILED", "SKIPPED", "UPSTREAM_FAILED", "CANCELLED", "EXPIRED", "REMOVED",
    "ASIDE", "EARLY", "FLOW", "HANDLER", "ITEM", "MISSED", "ROUND", "UNDO", "UNDONE", "UNTIL",
]  # fmt: skip

#: msgpack null
NULL = b"\xc0"

K = TypeVar("K")
V = TypeVar("V")


class _Empty(dict[int, NoReturn]):
    """A table that nobody may write."""

    def __setitem__(self, key: int, value: object) -> NoReturn:
        raise TypeError("this table is shared: write it through `entered`")

    setdefault = update = __setitem__  # type: ignore[assignment]


EMPTY: Any = _Empty()


def entered(table: dict[K, V], key: K, value: V) -> dict[K, V]:
    """The table with one entry more; a new one instead of EMPTY."""
    if table is EMPTY:
        return {key: value}
    table[key] = value
    return table


class _Part(msgspec.Struct, array_like=True):
    """A part of the state that a snapshot writes as it is."""


class Attempt(_Part, gc=False):
    """What is remembered of a TaskNode's or ChildNode's attempts, where it is not the first one that just runs."""

    #: of the current attempt, from 1
    number: int = 1
    #: attempts that the retry policy does not count: a worker died that ran others too
    uncounted: int = 0
    #: so many workers died while they ran it
    crashes: int = 0
    #: dispatch it in a bundle of its own
    alone: bool = False
    #: quotas that it needs permits of, in order (see `permits`), and how many of them it has
    needs: list[tuple[str, Terms]] = []
    held: int = 0
    #: no other attempt may follow
    final: bool = False
    #: the bundle that handed it back last: the same report twice counts once
    returned_by: str = ""
    #: it ended without having run here: its end is that of an earlier run, or was set by hand before it began
    spared: bool = False


_BLOCK = struct.Struct("=4q")


class Blocks(_Part):
    """Values of items as they came: bytes in one buffer, and per block of them four numbers. No object per item."""

    data: bytearray = msgspec.field(default_factory=bytearray)
    #: first item, number of items that have a value, start in `data`, size; per block, as int64
    index: bytearray = msgspec.field(default_factory=bytearray)

    def add(self, first: int, count: int, value: bytes) -> None:
        self.index += _BLOCK.pack(first, count, len(self.data), len(value))
        self.data += value

    def only(self, states: bytearray) -> Blocks:
        """Those blocks whose first item has a state other than WAITING here."""
        found = Blocks()
        index = memoryview(self.index).cast("q")
        for i in range(0, len(index), 4):
            if states[index[i]] != WAITING:
                found.add(index[i], index[i + 1], bytes(self.data[index[i + 2] : index[i + 2] + index[i + 3]]))
        return found

    def gather(self) -> tuple[int, bytes]:
        """The number of values, and the values in the order of their items."""
        index = memoryview(self.index).cast("q")
        data = memoryview(self.data)
        starts = sorted(range(0, len(index), 4), key=index.__getitem__)
        parts = [data[index[i + 2] : index[i + 2] + index[i + 3]] for i in starts]
        return sum(index[1::4]), b"".join(parts)


class Fan(_Part):
    """An `each` that has started."""

    total: int
    #: state per item
    states: bytearray
    #: seconds per item, as float32 little-endian
    seconds: bytearray
    #: items from here on have not been started; never goes back
    cursor: int = 0
    #: items that are to be started again, in order
    again: list[int] = msgspec.field(default_factory=list)
    #: items that run, or wait in a scope of their own
    live: int = 0
    ended: int = 0
    succeeded: int = 0
    failed: int = 0
    #: the lowest item that failed; -1
    first_failed: int = -1
    #: items below are counted by the rules that look at items (`on_error: "fail"`)
    counted: int = 0
    failures: dict[int, Failure] = msgspec.field(default_factory=dict)
    #: number of the current attempt, where it is not 1
    attempts: dict[int, int] = msgspec.field(default_factory=dict)
    #: attempts that the retry policy does not count
    uncounted: dict[int, int] = msgspec.field(default_factory=dict)
    #: items to be dispatched in a bundle of their own
    alone: set[int] = msgspec.field(default_factory=set)
    #: ranges that wait for another attempt: first -> last
    waits: dict[int, int] = msgspec.field(default_factory=dict)
    #: (when, first, last) of what was started and has a deadline, in order of time
    deadlines: list[tuple[int, int, int]] = msgspec.field(default_factory=list)
    results: Blocks = msgspec.field(default_factory=Blocks)
    #: the last bundle that handed items back, by first item
    returned: dict[int, str] = msgspec.field(default_factory=dict)
    #: CANCELLED or REMOVED once it is being cancelled; else 0
    cancelled: int = 0
    #: from its start to its end, in seconds; None before
    took: float | None = None
    # of a general each only:
    #: item -> its scope
    scopes: dict[int, int] = msgspec.field(default_factory=dict)
    #: item -> the records of its steps, packed
    rows: dict[int, bytes] = msgspec.field(default_factory=dict)
    #: of a rerun: the states of the items as they were taken over; those that had ended are not run again
    kept: bytes = b""


class Loop(_Part):
    """A `repeat` that has started."""

    #: from 1
    round: int = 1
    #: the last round's value
    value: bytes = NULL
    #: the scope that runs now: the round or its `until`; -1 between rounds
    scope: int = -1
    #: CANCELLED or REMOVED once it is being cancelled; else 0
    cancelled: int = 0


class Marked(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How a node ends by hand, once what runs of it has been stopped."""

    state: int
    value: bytes | None = None
    error: Failure | None = None


class Wait(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A node that waits for the world."""

    #: of what it waits for (see `waits`)
    key: str
    #: milliseconds since 1970
    since_ms: int


class Decided(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What became of an approval."""

    approved: bool
    by: str
    at_ms: int


class Outcome(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Of a scope that has ended."""

    #: SUCCESS, FAILED, SKIPPED or CANCELLED
    state: int
    value: bytes = NULL
    error: Failure | None = None
    #: the step that failed
    step: str | None = None
    #: of that step
    attempts: int = 1


_ENTRY = struct.Struct("=3q")


class Undos(_Part):
    """What may have to be undone in a flow, and what was (see `undo`). No object per entry."""

    #: packed entries, and per entry its place among the ends of the run, its start in `data` and its size, as int64
    data: bytearray = msgspec.field(default_factory=bytearray)
    index: bytearray = msgspec.field(default_factory=bytearray)
    #: the flow compensates: nothing is added any more
    is_started: bool = False
    #: the scope that undoes the last entry taken; where the call stood
    scope: int = -1
    prefix: str = ""
    place: tuple[int, ...] = ()
    #: entries that were undone, or tried, and those of them that failed; why the first of these did
    done: int = 0
    failed: int = 0
    why: str = ""
    #: packed records of the undoing steps, one after another
    rows: bytearray = msgspec.field(default_factory=bytearray)

    def add(self, order: int, entry: bytes) -> None:
        self.index += _ENTRY.pack(order, len(self.data), len(entry))
        self.data += entry

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """(place, entry), as they were added."""
        for order, start, size in _ENTRY.iter_unpack(self.index):
            yield order, bytes(self.data[start : start + size])

    def start(self) -> None:
        """The flow compensates: puts the entries in the order of their ends."""
        self.is_started = True
        self.index = bytearray().join(_ENTRY.pack(*entry) for entry in sorted(_ENTRY.iter_unpack(self.index)))

    def pop(self) -> bytes:
        """The last entry, which goes; b"" if there is none."""
        if not self.index:
            return b""
        _, start, size = _ENTRY.unpack_from(self.index, len(self.index) - _ENTRY.size)
        del self.index[-_ENTRY.size :]
        return bytes(self.data[start : start + size])


class FlowState(_Part, gc=False):
    """What is remembered of the run, or the child run, whose body a scope is."""

    #: scopes of handlers that run
    handlers: tuple[int, ...] = ()
    #: of the body: decided when it has ended, before the handlers
    outcome: Outcome | None = None
    #: it took too long: the message; "" while it did not
    timed_out: str = ""
    #: why it was cancelled; "" while it was not, or for another reason
    reason: str = ""
    #: of a flow that compensates, once something in it may have to be undone
    undos: Undos | None = None
    #: of one that adds members to a group: the value of the one that asked for that
    own: bytes | None = None


#: why a scope exists. EARLY: a handler of a run that has not begun
FLOW, HANDLER, ITEM, ROUND, UNTIL, UNDO, ASIDE, EARLY = range(8)
ScopeKind = int
#: number of the first `on sla_miss` of a node among the scopes beside it: before it come those of `on retry`
MISSED = 2
#: key in Scope.rows of the steps that undid others. Keys below zero that are above this are the handlers of the flow
UNDONE = -1_000_000


def aside_rows(node: int, number: int) -> int:
    """Key in Scope.rows of the steps of a node's last `on retry`: that of its task is 0, that behind the call 1, or 0
    if it is the only one. Those of `on sla_miss` are numbered from MISSED on."""
    return UNDONE - 1 - 2 * MISSED * node - number


class Scope(msgspec.Struct, eq=False):
    """An instance of a block."""

    run: Run
    graph: Graph
    id: int
    kind: ScopeKind
    #: the scope and its node that this one belongs to; -1 for the run's body
    parent: int
    node: int
    #: of an item its position; of a handler its number
    index: int
    #: what stands before the names of its steps in live views ("child."); None: they are told as counts only
    label: str | None
    states: bytearray
    values: list[bytes | None]
    #: nodes that have not ended
    open: int
    #: the conditions of its nodes; None: they are as when a scope of this block begins whose parameters have values
    gates: Gates | None = None
    #: arm taken, of branches and outcomes that ended
    arms: dict[int, int] = EMPTY
    errors: dict[int, Failure] = EMPTY
    #: of nodes whose attempts are more than the first
    attempts: dict[int, Attempt] = EMPTY
    #: seconds that the last attempt of each node took: float32 little-endian, NaN where it is not known; None if that
    #: is so of all
    seconds: bytearray | None = None
    #: when nodes began that have scopes of their own, or may expire, milliseconds since 1970
    began: dict[int, int] = EMPTY
    fans: dict[int, Fan] = EMPTY
    loops: dict[int, Loop] = EMPTY
    #: ChildNode -> the scope of its run
    children: dict[int, int] = EMPTY
    #: JoinNode -> members in the order of their successes
    joined: dict[int, list[int]] = EMPTY
    #: node with scopes of its own -> the packed records of the last of them
    rows: dict[int, bytes] = EMPTY
    #: per node: it is at a worker behind its predecessor, or was (see `fuse`); None: no node ever was
    out: bytearray | None = None
    #: CANCELLED or REMOVED once it is being cancelled; else 0
    cancelled: int = 0
    #: of a flow's body, once there is anything to remember
    flow: FlowState | None = None
    #: nodes that are being stopped, and end as somebody said
    marks: dict[int, Marked] = EMPTY
    #: scopes of `on retry` and `on sla_miss` that run -> the node (-1: of the flow); each counts in `open`
    asides: dict[int, int] = EMPTY
    #: WaitNodes that wait
    waits: dict[int, Wait] = EMPTY
    #: member of a group -> what it added: how many values, and these one after another (see `replace`)
    added: dict[int, tuple[int, bytes]] = EMPTY


def attempt_of(scope: Scope, node: int) -> Attempt:
    """What is remembered of a node's attempts, to be changed."""
    found = scope.attempts.get(node)
    if found is None:
        found = Attempt()
        scope.attempts = entered(scope.attempts, node, found)
    return found


def number_of(scope: Scope, node: int) -> int:
    """The number of a node's current attempt."""
    found = scope.attempts.get(node)
    return found.number if found else 1


_SECONDS = struct.Struct("<f")
_UNKNOWN_SECONDS = _SECONDS.pack(float("nan"))


def put_seconds(scope: Scope, node: int, seconds: bytes) -> None:
    """How long the node's last attempt took, as float32 little-endian."""
    if scope.seconds is None:
        scope.seconds = bytearray(_UNKNOWN_SECONDS * scope.graph.size)
    scope.seconds[4 * node : 4 * node + 4] = seconds


def seconds_of(scope: Scope, node: int) -> float | None:
    """How long the node's last attempt took; None if that is not known."""
    return None if scope.seconds is None else rounded(scope.seconds, 4 * node)


def rounded(data: bytes | bytearray, at: int = 0) -> float | None:
    """Seconds that are packed as float32 little-endian; None for NaN."""
    seconds: float = _SECONDS.unpack_from(data, at)[0]
    return None if seconds != seconds else round(seconds, 6)


class Timer(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a timer of a run is for."""

    #: "begin" (of the run itself: scope -1), "delay", "expires", "retry", "deadline", "items", "limit", "round",
    #: "flow", "wake", "patience", "sla" (its index: number of the level)
    kind: str
    scope: int
    node: int
    index: int
    at_ms: int


class Run(msgspec.Struct, eq=False):
    """A run that was submitted, and whose record is not yet stored."""

    id: str
    #: as the past knows it: `past.digest_of(id)`
    mark: bytes
    tables: Tables | None
    plan: str
    #: place of its submission in the inbox
    seq: int
    submitted_ms: int
    trigger: str = "manual"
    #: who is told of its end; "": nobody
    client: str = ""
    #: of its steps that do not set one themselves; None: the plan's
    priority: int | None = None
    #: its id was made of an idempotency key
    keyed: bool = False
    #: of plan and arguments, if it is keyed
    digest: bytes = b""
    #: not begun by then, it expires: milliseconds since 1970; 0: it never does
    expires_ms: int = 0
    #: while it has not begun
    args: bytes = b""
    #: quotas that it needs permits of, in order (see `permits`), and how many of them it has
    needs: Sequence[tuple[str, Terms]] = ()
    held: int = 0
    scopes: dict[int, Scope] = msgspec.field(default_factory=dict)
    next_scope: int = 0
    timers: dict[str, Timer] = EMPTY
    #: the body of the flow, kept for the record when the run has ended
    body: Scope | None = None
    flow: str = ""
    #: RUNNING, then SUCCESS, FAILED, CANCELLED or EXPIRED
    state: int = RUNNING
    result: bytes = NULL
    error: Failure | None = None
    failed_step: str | None = None
    ended_ms: int = 0
    #: why nothing new of it is started: BY_HAND, BY_FLOW, BY_PAST; 0: it is not paused
    paused: int = 0
    #: what is to be done as soon as it is not: in order; kinds as in `control`
    waiting: list[Timer] | None = None
    #: it is a rerun; while it has not begun, with the image of the earlier run
    again: Again | None = None
    image: bytes = b""
    #: what was done to it by hand, in order
    audit: tuple[AuditEntry, ...] = ()
    #: how many calls ended so far that may have to be undone
    undoable: int = 0
    #: so many detached calls, one of the other, stand before it
    depth: int = 0
    #: what its steps wait for -> which of them (see `awaiting`)
    awaits: dict[str, int | dict[int, None]] = EMPTY
    #: signals that no step has waited for yet, by name and in order
    signals: dict[str, list[bytes]] = EMPTY
    #: what became of the approvals of its steps, the last one of each
    decided: dict[str, Decided] = EMPTY
    #: other plans that scopes of it are of: content hashes
    plans: tuple[str, ...] = ()
    #: variables as it read them when it began; None: not set
    variables: dict[str, bytes | None] = EMPTY
    #: the time that it stands for; None: none in particular
    scheduled: Scheduled | None = None
    #: when it began, milliseconds since 1970; 0: it has not
    begun_ms: int = 0
    #: its service levels; None: it has none
    levels: Levels | None = None
    #: how it ends, without having begun, once handlers of it have
    ending: Outcome | None = None

    @property
    def ended(self) -> bool:
        return self.state != RUNNING

    def graph(self, flow: str, block: int) -> Graph:
        assert self.tables is not None, "a run without a plan has no scopes"
        return self.tables.graphs.get((flow, block)) or self.tables.graph(flow, block)


class Single(msgspec.Struct, eq=False, gc=False):
    """A run of one task of which nothing but its submission is known, or its result, too (see `single`)."""

    event: Submit
    tables: Tables
    #: as a run has them
    seq: int
    submitted_ms: int
    mark: bytes
    #: None: it has not ended
    value: bytes | None = None
    #: as an outcome has them
    seconds: bytes = b""
    ended_ms: int = 0
