"""Broken engines: each is the real one with one defect, to see that the simulation finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from unittest import mock

import msgspec
from flowrun import dispatched
from flowrun.coordinator import Coordinator, takeover
from flowrun.coordinator.sends import Sends
from flowrun.engine import Engine, grants, slas, snapshot, tasks, triggers, undo
from flowrun.engine.answers import Answers
from flowrun.engine.claims import Claims
from flowrun.engine.core import Core
from flowrun.engine.past import Past
from flowrun.engine.quotas import Quotas
from flowrun.memory import MemoryTransport
from flowrun.memory.work import Work, WorkStream
from flowrun.messages import Grant

__all__ = ["MUTANTS", "broken"]


@contextmanager
def _fencing() -> Iterator[None]:
    """The server takes the dispatches of whoever led once."""
    dispatch = WorkStream.dispatch

    def unfenced(self: WorkStream, work: Work, fence: int) -> None:
        dispatch(self, work, self.fences.get(work.partition, fence))

    with mock.patch.object(WorkStream, "dispatch", unfenced):
        yield


@contextmanager
def _dedupe() -> Iterator[None]:
    """A second result of an attempt is taken as the first was."""
    take_outcome = tasks.take_outcome

    def takes_all(core: Any, scope: Any, node: int, bundle: str, outcome: Any) -> None:
        attempt = tasks.number_of(scope, node)
        if scope.states[node] >= tasks.SUCCESS and attempt == outcome.attempt:
            scope.states[node] = tasks.GRANTED
            scope.open += 1
        take_outcome(core, scope, node, bundle, outcome)

    with mock.patch.object(tasks, "take_outcome", takes_all):
        yield


@contextmanager
def _slots() -> Iterator[None]:
    """Whoever has slots of a pool never gives them back."""

    def keep(self: Claims, *args: Any) -> None:
        """Nobody is told."""

    with mock.patch.object(Claims, "give_back", keep), mock.patch.object(Claims, "close", keep):
        yield


@contextmanager
def _snapshot_timers() -> Iterator[None]:
    """A snapshot does not hold the timers of its runs."""
    pack_run = Engine.pack_run

    def without_timers(self: Engine, run: str) -> bytes:
        data = pack_run(self, run)
        if not data or self.past.owns(run):
            return data
        head: list[Any] = msgspec.msgpack.decode(data)
        head[4] = {}
        return msgspec.msgpack.encode(head)

    with mock.patch.object(Engine, "pack_run", without_timers):
        yield


@contextmanager
def _blind_takeover() -> Iterator[None]:
    """A new leader dispatches all that is owed, without a look at what stands in the work stream."""
    with mock.patch.object(takeover, "bundles_of", return_value=[]):
        yield


@contextmanager
def _purge() -> Iterator[None]:
    """The inbox is purged to its end whenever a snapshot is taken."""
    purge = MemoryTransport._purge

    def too_far(self: MemoryTransport, partition: str, before: int) -> None:
        purge(self, partition, self.server.inbox(partition).last_seq)

    with mock.patch.object(MemoryTransport, "_purge", too_far):
        yield


@contextmanager
def _grants() -> Iterator[None]:
    """A grant that comes twice counts twice."""
    take = grants._take

    def counts(core: Any, grant: Grant) -> None:
        claim = core.claims.find(grant.holder, grant.quota)
        if claim is not None and claim.granted >= grant.granted:
            grant = msgspec.structs.replace(grant, granted=claim.granted + 1)
        take(core, grant)

    with mock.patch.object(grants, "_take", counts):
        yield


@contextmanager
def _limits() -> Iterator[None]:
    """An owner of permits forgets what it granted when it restores a snapshot."""
    restore = Quotas.restore

    def forgets(self: Quotas, data: bytes) -> None:
        restore(self, data)
        for quota in self.by_name.values():
            quota.taken = 0

    with mock.patch.object(Quotas, "restore", forgets):
        yield


@contextmanager
def _sends() -> Iterator[None]:
    """A snapshot does not hold what is on its way to other partitions."""
    with mock.patch.object(Sends, "pending", property(lambda self: ())):
        yield


@contextmanager
def _early_timers() -> Iterator[None]:
    """A timer acts when its event comes, also when that is too early."""
    timer = Engine._timer

    def acts(self: Engine, event: Any) -> None:
        run = self.find(event.run)
        set_ = run.timers.get(event.timer) if run else None
        if run is not None and set_ is not None:
            run.timers[event.timer] = msgspec.structs.replace(set_, at_ms=0)
        timer(self, event)

    with mock.patch.object(Engine, "_timer", acts):
        yield


@contextmanager
def _past() -> Iterator[None]:
    """Nobody remembers which runs ended."""
    with mock.patch.object(Past, "__contains__", return_value=False):
        yield


@contextmanager
def _ends() -> Iterator[None]:
    """A new leader does not store the records of runs that ended before."""
    with mock.patch.object(Coordinator, "_end_again", return_value=None):
        yield


@contextmanager
def _losses() -> Iterator[None]:
    """That a bundle was lost is not acted upon."""
    with mock.patch.object(Engine, "_lose", return_value=None):
        yield


@contextmanager
def _hand_back() -> Iterator[None]:
    """What a worker handed back counts as being in its hands."""
    with mock.patch.object(dispatched._Out, "hand_back", return_value=None):
        yield


@contextmanager
def _signals() -> Iterator[None]:
    """An event that comes again is decided again."""
    with mock.patch.object(Answers, "again", return_value=None):
        yield


@contextmanager
def _pauses() -> Iterator[None]:
    """A paused run starts attempts."""
    ask = tasks._ask

    def asks(core: Any, scope: Any, node: int, settings: Any) -> None:
        paused, scope.run.paused = scope.run.paused, 0
        ask(core, scope, node, settings)
        scope.run.paused = paused

    with mock.patch.object(tasks, "_ask", asks):
        yield


@contextmanager
def _undos() -> Iterator[None]:
    """The call that ended last is not undone."""
    begin = undo.begin

    def forgets(core: Any, body: Any) -> bool:
        undos = body.flow.undos if body.flow is not None else None
        if undos is not None and body.graph.plan.compensates:
            undos.pop()
        return begin(core, body)

    with mock.patch.object(undo, "begin", forgets):
        yield


@contextmanager
def _patience() -> Iterator[None]:
    """What waits has no time-out."""
    set_timer = Core.set_timer

    def sets(self: Core, run: Any, kind: str, *args: Any, **more: Any) -> None:
        if kind != "patience":
            set_timer(self, run, kind, *args, **more)

    with mock.patch.object(Core, "set_timer", sets):
        yield


@contextmanager
def _waits() -> Iterator[None]:
    """A snapshot does not hold what its runs wait for."""
    pack = snapshot.pack_run

    def without_awaits(run: Any) -> bytes:
        awaits, run.awaits = run.awaits, {}
        data = pack(run)
        run.awaits = awaits
        return data

    with (
        mock.patch.object(snapshot, "pack_run", without_awaits),
        mock.patch("flowrun.engine.core.pack_run", without_awaits, create=True),
        mock.patch("flowrun.engine.engine.pack_run", without_awaits, create=True),
    ):
        yield


@contextmanager
def _ticks() -> Iterator[None]:
    """A new leader waits for the times of triggers to come, and forgets those that came while nobody led."""

    def forgets(self: Engine) -> Iterator[Any]:
        for arm in triggers.armed(self):
            yield msgspec.structs.replace(arm, after_ms=max(arm.after_ms, self.now))

    with mock.patch.object(Engine, "armed", forgets):
        yield


#: name -> what makes the defect
@contextmanager
def _levels() -> Iterator[None]:
    """After the warning of a service level nobody wakes it when it is due."""
    due = slas.due

    def once(core: Any, run: Any, number: int) -> None:
        due(core, run, number)
        level = run.levels.open.get(number)
        if level is not None and not level.missed_ms:
            core.drop_timer(run, f"sla/{number}")

    with mock.patch.object(slas, "due", once):
        yield


MUTANTS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "fencing": _fencing,
    "dedupe": _dedupe,
    "slots": _slots,
    "snapshot-timers": _snapshot_timers,
    "blind-takeover": _blind_takeover,
    "purge": _purge,
    "grants": _grants,
    "limits": _limits,
    "sends": _sends,
    "early-timers": _early_timers,
    "past": _past,
    "ends": _ends,
    "losses": _losses,
    "hand-back": _hand_back,
    "signals": _signals,
    "pauses": _pauses,
    "undos": _undos,
    "patience": _patience,
    "waits": _waits,
    "ticks": _ticks,
    "levels": _levels,
}


def broken(mutant: str | None) -> AbstractContextManager[None]:
    return MUTANTS[mutant]() if mutant else nullcontext()
