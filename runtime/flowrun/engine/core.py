"""The partition's state, and the few moves that all parts of the engine make: end a node, set a timer, store a value.

A part never calls another part. It ends nodes, and puts what follows on the agenda; `Engine.decide` works the
agenda off, first in, first out. So nothing recurses, however long a chain of nodes is that need no worker.
"""

from __future__ import annotations

from collections import deque

from flowrun.messages import Failure, StepNote
from flowrun.sequences import Source
from flowrun.wire import externalise

from .commands import ClearTimer, Command, PutBlob, SetTimer
from .graph import Tables
from .pools import Pools
from .state import FAILED, NAMES, NULL, SUCCESS, Run, Scope, Timer, entered, number_of, seconds_of

__all__ = [
    "CANCEL",
    "CLOSE",
    "OPEN",
    "PROPAGATE",
    "SERVE",
    "START",
    "Core",
    "fail",
    "finish",
    "inputs_of",
    "note",
    "store",
]

#: kinds of entries of the agenda
PROPAGATE, START, CLOSE, CANCEL, SERVE, OPEN = range(6)


class Core:
    """What the engine knows, and what it wants done."""

    def __init__(self) -> None:
        self.tables: dict[str, Tables] = {}
        #: plans that cannot be had, and why
        self.refused: dict[str, str] = {}
        self.runs: dict[str, Run] = {}
        #: runs that ended and whose record was stored
        self.past: set[str] = set()
        self.pools = Pools()
        #: the largest time stamp seen, milliseconds since 1970
        self.now = 0
        #: the last events that changed nothing, and why
        self.ignored: deque[str] = deque(maxlen=100)
        self.ignored_count = 0
        # of the event that is being decided:
        self.commands: list[Command] = []
        #: (kind, scope, node, argument)
        self.agenda: deque[tuple[int, Scope, int, int]] = deque()
        #: sources of `each` that were cut up lately, by (run, scope, node); may be dropped at any time
        self.sources: dict[tuple[str, int, int], Source[bytes]] = {}
        self.changes: dict[str, dict[tuple[str, int | None], StepNote]] = {}

    def ignore(self, why: str) -> None:
        """An event, or a part of one, changes nothing."""
        self.ignored_count += 1
        self.ignored.append(why)

    def set_timer(self, run: Run, kind: str, scope: Scope, node: int, delay_ms: int, index: int = -1) -> None:
        """Wakes a node, an item or a scope. Its id is the same after every replay."""
        name = timer_id(kind, scope.id, node, index)
        run.timers[name] = Timer(kind, scope.id, node, index, self.now + delay_ms)
        self.commands.append(SetTimer(run.id, name, self.now + delay_ms))

    def clear_timer(self, run: Run, kind: str, scope: Scope, node: int, index: int = -1) -> None:
        name = timer_id(kind, scope.id, node, index)
        if name in run.timers:
            self.drop_timer(run, name)

    def drop_timer(self, run: Run, name: str) -> None:
        del run.timers[name]
        self.commands.append(ClearTimer(run.id, name))


def timer_id(kind: str, scope: int, node: int, index: int) -> str:
    return f"{kind}/{scope}/{node}" if index < 0 else f"{kind}/{scope}/{node}/{index}"


def finish(
    core: Core, scope: Scope, node: int, state: int, value: bytes | None = None, error: Failure | None = None
) -> None:
    """Ends a node, once: whoever ends it again changes nothing."""
    if scope.states[node] >= SUCCESS:
        return
    scope.states[node] = state
    if value is not None:
        scope.values[node] = value
    if error is not None:
        scope.errors = entered(scope.errors, node, error)
    scope.open -= 1
    core.agenda.append((PROPAGATE, scope, node, 0))
    if not scope.open:
        core.agenda.append((CLOSE, scope, 0, 0))
    if scope.label is not None and scope.graph.nodes[node].name:
        note(core, scope, node)


def fail(core: Core, scope: Scope, node: int, kind: str, message: str) -> None:
    """Ends a node as failed, for a reason that the engine found."""
    finish(core, scope, node, FAILED, error=Failure(type=kind, message=message, retryable=False))


def inputs_of(scope: Scope, node: int) -> tuple[bytes, ...]:
    """The values of a node's inputs; null for what was skipped."""
    values, states = scope.values, scope.states
    return tuple(
        (values[given.node] or NULL) if states[given.node] == SUCCESS else NULL
        for given in scope.graph.nodes[node].inputs
    )


def store(core: Core, value: bytes) -> bytes:
    """The value as it travels: a large one goes to the blob store, and a reference stands for it."""
    short, blob = externalise(value)
    if blob is not None:
        core.commands.append(PutBlob(*blob))
    return short


def note(core: Core, scope: Scope, node: int, message: str = "") -> None:
    """Tells live views what became of a step, with a message (else, its error). Steps inside an `each` are told as
    counts of the `each`."""
    if scope.label is None:
        return
    name = scope.graph.nodes[node].name
    if not name:
        return
    name = scope.label + name
    error = scope.errors.get(node)
    fan = scope.fans.get(node)
    state = scope.states[node]
    core.changes.setdefault(scope.run.id, {})[name, None] = StepNote(
        step=name,
        index=None,
        state=NAMES[state],
        attempt=number_of(scope, node),
        seconds=fan.took if fan else seconds_of(scope, node),
        message=message or (f"{error.type}: {error.message}" if error else ""),
        total=fan.total if fan else 0,
        done=fan.succeeded if fan else 0,
        failed=fan.failed if fan else 0,
    )
