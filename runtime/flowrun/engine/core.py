"""The partition's state, and the few moves that all parts of the engine make: end a node, set a timer, store a value.

A part never calls another part. It ends nodes, and puts what follows on the agenda; `Engine.decide` works the
agenda off, first in, first out. So nothing recurses, however long a chain of nodes is that need no worker.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Container
from typing import Protocol

from flowrun.manifest import Manifest
from flowrun.messages import Failure, StepNote
from flowrun.sequences import Source
from flowrun.wire import externalise

from .answers import Answers, Asking
from .backfills import Backfills
from .claims import Claims
from .commands import ClearTimer, Command, Pause, PutBlob, Resume, SetTimer
from .early import Early
from .fuse import MAX_FUSED, detach
from .graph import Tables
from .history import History
from .listeners import Listeners
from .marks import Marks
from .past import Past
from .pauses import Pauses
from .quotas import Quotas
from .sla_counts import SlaCounts
from .snapshot import has_work, head_of, is_single, pack_run, unpack_run, unpack_single
from .state import FAILED, NAMES, NULL, SUCCESS, Run, Scope, Single, Timer, entered, number_of, seconds_of
from .triggered import Triggers
from .variables import Variables

__all__ = [
    "CANCEL",
    "CLOSE",
    "ENDED",
    "OPEN",
    "PROPAGATE",
    "START",
    "UPDATED",
    "Core",
    "Part",
    "fail",
    "finish",
    "inputs_of",
    "note",
    "store",
]

#: kinds of entries of the agenda
PROPAGATE, START, CLOSE, CANCEL, OPEN, ENDED, UPDATED = range(7)

#: runs that come before those that wait are packed
_CROWD = 10_000


class Part(Protocol):
    """A part of the state beside the runs. It refers to runs, scopes and nodes by their ids."""

    def pack(self) -> bytes: ...

    def restore(self, data: bytes) -> None: ...


class Core(ABC):
    """What the engine knows, and what it wants done."""

    def __init__(self, partition: str = "0", partitions: int = 1, *, max_fused: int = MAX_FUSED) -> None:
        #: its name, and how many partitions share what is limited: named "0", "1", …; 1: it shares nothing
        self.partition, self.partitions = partition, partitions
        #: most tasks that are dispatched as one; 1: none is fused
        self.max_fused = max_fused
        self.tables: dict[str, Tables] = {}
        #: plans that cannot be had, and why
        self.refused: dict[str, str] = {}
        self.runs: dict[str, Run] = {}
        #: runs that nothing happened to for a while, packed; `find` unpacks them again
        self.frozen: dict[str, bytes] = {}
        #: runs of one task, as long as that is all there is to know of them
        self.singles: dict[str, Single] = {}
        #: runs that something happened to: lately; before that, since the last snapshot; before that, since the last
        #: `freeze`; and in the time before it
        self._hot: set[str] = set()
        self._touched: set[str] = set()
        self._warm: set[str] = set()
        self._cooling: set[str] = set()
        #: with so many runs that are not packed, some are
        self._crowd = _CROWD
        #: runs that came since the last snapshot: of one that goes before the next, no snapshot knows
        self._new: set[str] = set()
        #: runs that ended
        self.past = Past()
        #: cancellations of runs that have not come yet
        self.marks = Marks()
        #: permits: what is asked for here, and what belongs to this partition
        self.claims = Claims()
        self.quotas = Quotas()
        #: what clients were answered lately
        self.answers = Answers()
        #: signals for runs that have not come yet
        self.early = Early()
        #: who waits for events, and for decisions; it follows from the runs
        self.listeners = Listeners()
        #: what a snapshot holds beside the runs: each packs and restores itself
        self.parts: dict[str, Part] = {
            "past": self.past,
            "marks": self.marks,
            "claims": self.claims,
            "quotas": self.quotas,
            "answers": self.answers,
            "early": self.early,
        }
        #: what is paused
        self.pauses = Pauses()
        self.parts["pauses"] = self.pauses
        #: what starts runs by itself; packed in pieces, as the past is
        self.triggers = Triggers()
        #: how long runs took lately, and what became of service levels
        self.history, self.sla_counts = History(), SlaCounts()
        self.parts["history"], self.parts["sla_counts"] = self.history, self.sla_counts
        self.backfills = Backfills()
        self.parts["backfills"] = self.backfills
        #: variables of the environment
        self.variables = Variables()
        self.parts["vars"] = self.variables
        #: images of earlier runs, for the reruns that are submitted next: content hash -> stored form
        self.images: dict[str, bytes] = {}
        #: manifests, for the deployments that are decided next
        self.manifests: dict[str, Manifest] = {}
        #: the largest time stamp seen, milliseconds since 1970
        self.now = 0
        #: the last events that changed nothing, and why
        self.ignored: deque[str] = deque(maxlen=100)
        self.ignored_count = 0
        #: runs whose changes are told to live views; None: all
        self.watched: Container[str] | None = None
        # of the event that is being decided:
        #: the run whose part of it is looked at: it is to blame if that fails
        self.deciding = ""
        self.commands: list[Command] = []
        #: its place in the inbox
        self.seq = 0
        #: (kind, scope, node, argument)
        self.agenda: deque[tuple[int, Scope, int, int]] = deque()
        #: sources of `each` that were cut up lately, by (run, scope, node); may be dropped at any time
        self.sources: dict[tuple[str, int, int], Source[bytes]] = {}
        self.changes: dict[str, dict[tuple[str, int | None], StepNote]] = {}

    # ---- runs

    def find(self, run: str) -> Run | None:
        """A run that lives, to be changed; None if there is none, or its plan cannot be had."""
        found = self.runs.get(run)
        if found is None:
            if run in self.singles:
                found = self.unfold(self.singles.pop(run))
            else:
                packed = self.frozen.get(run)
                if packed is None or (found := self._unpacked(packed)) is None:
                    return None
                del self.frozen[run]
            self.runs[run] = found
        self._hot.add(run)
        return found

    def peek(self, run: str) -> Run | None:
        """A run that lives, to be looked at only."""
        found = self.runs.get(run)
        if found is None:
            if run in self.singles:
                return self.unfold(self.singles[run])
            packed = self.frozen.get(run)
            return self._unpacked(packed) if packed is not None else None
        return found

    @abstractmethod
    def unfold(self, lone: Single) -> Run:
        """The run that it stands for."""

    def find_scope(self, run: str, scope: int) -> Scope | None:
        """A scope that lives, to be changed."""
        found = self.find(run)
        return found.scopes.get(scope) if found else None

    def is_known(self, run: str) -> bool:
        """The run was submitted here, whether it ended or not."""
        return self.is_live(run) or run in self.past

    def is_live(self, run: str) -> bool:
        """The run was submitted here, and its record is not stored."""
        return run in self.runs or run in self.singles or run in self.frozen

    def living(self) -> list[str]:
        """The ids of all of them."""
        return [*self.runs, *self.singles, *self.frozen]

    def add_run(self, run: Run) -> None:
        self.runs[run.id] = run
        self._hot.add(run.id)
        self._new.add(run.id)

    def add_single(self, single: Single) -> None:
        self.singles[single.event.run] = single
        self._hot.add(single.event.run)
        self._new.add(single.event.run)

    def drop_run(self, run: str) -> None:
        found = self.runs.pop(run, None)
        if found is not None:
            self.listeners.drop_run(run, found.awaits)
            found.body = None  # the body refers to its run: now both go at once, without the garbage collector
        elif self.singles.pop(run, None) is None:
            self.frozen.pop(run, None)
        if run in self._new:
            self._new.discard(run)
            self._hot.discard(run)
            self._touched.discard(run)
        else:
            self._hot.add(run)

    def touch(self, run: str) -> None:
        self._hot.add(run)

    def _cool(self) -> None:
        self._touched |= self._hot
        self._warm |= self._hot
        self._hot = set()

    def freeze(self) -> None:
        """Packs the runs that nothing happened to since the call before the last. O(runs that something did)."""
        self._freeze(without_work=False)

    def freeze_some(self) -> None:
        """Packs runs that wait for no worker if many came since the last time: so a flood of runs that wait takes no
        more memory than what it leaves."""
        if len(self.runs) >= self._crowd:
            self._freeze(without_work=True)
            self._crowd = len(self.runs) + max(_CROWD, len(self.runs) // 2)

    def _freeze(self, *, without_work: bool) -> None:
        self._cool()
        busy: set[str] = set()
        for name in self._cooling - self._warm:
            run = self.runs.get(name)
            if run is None:
                continue
            if without_work and has_work(run):
                busy.add(name)
                continue
            del self.runs[name]
            self.frozen[name] = pack_run(run)
            run.scopes.clear()
            run.body = None  # see drop_run
        self._cooling, self._warm = self._warm | busy, set()

    def take_touched(self) -> list[str]:
        """The runs that changed, came or went since the last call: what the next snapshot writes. Also the names of
        pieces of the past and of the triggers, which are written as runs are."""
        self._cool()
        touched, self._touched, self._new = self._touched, set(), set()
        return sorted(touched) + self.past.take_changed() + self.triggers.take_changed()

    def _unpacked(self, packed: bytes) -> Run | None:
        head = head_of(packed)
        tables = self.tables.get(head.plan)
        if not head.ended and (tables is None or any(plan not in self.tables for plan in head.plans)):
            return None
        if not is_single(packed):
            return unpack_run(packed, tables, self.tables)
        found = unpack_single(packed, tables)
        return self.unfold(found) if isinstance(found, Single) else found

    @abstractmethod
    def act(self, run: Run, timer: Timer) -> None:
        """The time of a timer has come."""

    # ---- paused runs

    def pause(self, run: Run) -> None:
        """Nothing new of the run is started, here or by the shell."""
        self.pauses.runs.add(run.id)
        self.commands.append(Pause(run.id))

    def resume(self, run: Run) -> None:
        self.pauses.runs.discard(run.id)
        self.commands.append(Resume(run.id))

    def put_off(self, scope: Scope, kind: str, node: int) -> None:
        """To be done when the run is not paused any more; kinds as in `control`."""
        run = scope.run
        if run.waiting is None:
            run.waiting = []
        run.waiting.append(Timer(kind, scope.id, node, -1, self.now))

    # ---- what happens

    def ignore(self, why: str) -> None:
        """An event, or a part of one, changes nothing."""
        self.ignored_count += 1
        self.ignored.append(why)

    def was_answered(self, event: Asking) -> bool:
        """The event came before: it is answered as then, and that is all."""
        before = self.answers.again(event)
        if before is not None and event.client:
            self.commands.append(before)
        return before is not None

    def answer(self, event: Asking, ok: bool, message: str = "", value: bytes = NULL) -> None:
        """Tells the client what became of its event (`ok`: it was not refused), now and whenever it comes again."""
        given = self.answers.give(event, self.now, ok, message, value)
        if event.client:
            self.commands.append(given)

    def set_timer(self, run: Run, kind: str, scope: Scope, node: int, delay_ms: int, index: int = -1) -> None:
        """Wakes a node, an item or a scope. Its id is the same after every replay."""
        name = timer_id(kind, scope.id, node, index)
        run.timers = entered(run.timers, name, Timer(kind, scope.id, node, index, self.now + delay_ms))
        self.commands.append(SetTimer(run.id, name, self.now + delay_ms))

    def clear_timer(self, run: Run, kind: str, scope: Scope, node: int, index: int = -1) -> None:
        if not run.timers:
            return
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
    if state != SUCCESS:
        if scope.out is not None:
            detach(scope, node, unsure=True)
        if scope.marks and (mark := scope.marks.pop(node, None)):
            state, value, error = mark.state, mark.value, mark.error
    scope.states[node] = state
    if value is not None:
        scope.values[node] = value
    if error is not None:
        scope.errors = entered(scope.errors, node, error)
    scope.open -= 1
    if scope.run.levels is not None:
        core.agenda.append((ENDED, scope, node, 0))
    if scope.graph.updates and state == SUCCESS and node in scope.graph.updates:
        core.agenda.append((UPDATED, scope, node, 0))
    if scope.graph.awaited[node]:
        core.agenda.append((PROPAGATE, scope, node, 0))
    if not scope.open:
        core.agenda.append((CLOSE, scope, 0, 0))
    if core.watched is None or scope.run.id in core.watched:
        note(core, scope, node)


def fail(core: Core, scope: Scope, node: int, kind: str, message: str) -> None:
    """Ends a node as failed, for a reason that the engine found."""
    finish(core, scope, node, FAILED, error=Failure(type=kind, message=message, retryable=False))


def inputs_of(scope: Scope, node: int) -> tuple[bytes, ...]:
    """The values of a node's inputs; null for what was skipped."""
    given = scope.graph.inputs[node]
    if not given:
        return ()
    values, states = scope.values, scope.states
    return tuple([(values[i] or NULL) if states[i] == SUCCESS else NULL for i in given])


def store(core: Core, value: bytes) -> bytes:
    """The value as it travels: a large one goes to the blob store, and a reference stands for it."""
    short, blob = externalise(value)
    if blob is not None:
        core.commands.append(PutBlob(*blob))
    return short


def note(core: Core, scope: Scope, node: int, message: str = "") -> None:
    """Tells those who watch the run what became of a step, with a message (else, its error). Steps inside an `each`
    are told as counts of the `each`."""
    if scope.label is None or (core.watched is not None and scope.run.id not in core.watched):
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
