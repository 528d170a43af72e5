"""Watches a simulation: folds every inbox as it is written, and checks after each event what must hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec
from flowc.plan import LimitDef, Plan
from flowrun.dispatch import Dispatcher
from flowrun.engine import Engine, Ready
from flowrun.engine.snapshot import pack_run
from flowrun.engine.state import SUCCESS
from flowrun.engine.waits import signal_key
from flowrun.manifest import decode_manifest
from flowrun.memory import Effect, MemoryServer
from flowrun.messages import (
    Bundle,
    Deployed,
    Event,
    Lost,
    Outcome,
    Results,
    RunRecord,
    Signal,
    Submit,
    TimerFired,
    WorkItem,
    unpack,
    unpack_events,
)

from . import invariants
from .history import History
from .invariants import Violation
from .programs import settings_of

__all__ = ["Checker", "Fold"]

#: an attempt of an item: (WorkItem.id, position or -1)
_Unit = tuple[str, int]
#: a result may be underway to who runs it again for so long, in seconds
_GRACE = 40.0


class Fold:
    """A partition's state as the fold of all messages that its inbox ever had."""

    def __init__(
        self, partition: str, partitions: int, plan_of: Callable[[str], Plan | None], blobs: Mapping[str, bytes]
    ) -> None:
        self.partition = partition
        self.engine = Engine(partition, partitions)
        self.seq = 0
        self.now_ms = 0
        self._plan_of, self._blobs = plan_of, blobs

    def decide(self, event: Event, seq: int) -> list[object]:
        if isinstance(event, Deployed) and (name := self.engine.needs_manifest(event)) and name in self._blobs:
            self.engine.add_manifest(name, decode_manifest(self._blobs[name]))
        plans = [self.engine.needs(event), *self.engine.needs_plans(event)]
        plans += self.engine.needs_also(event) if isinstance(event, Results) else []
        for needed in filter(None, plans):
            plan = self._plan_of(needed)
            if plan is None:
                self.engine.add_plan_failure(needed, "it is not there")
            else:
                self.engine.add_plan(needed, plan)
        return [*self.engine.decide(event, self.now_ms, seq)]


class Checker:
    """`plans`: those of the simulation by digest."""

    def __init__(self, server: MemoryServer, history: History, plans: dict[str, Plan]) -> None:
        self._server, self._history, self._plans = server, history, plans
        self.folds: dict[str, Fold] = {}
        #: the first violation; nothing is checked after it
        self.violation: Violation | None = None
        #: partition -> (connection, fence)
        self._leaders: dict[str, tuple[str, int]] = {}
        #: unit -> loop time of its first result that ends it
        self._ended: dict[_Unit, float] = {}
        #: unit -> the bundle that stands and holds it
        self._standing: dict[_Unit, str] = {}
        #: the first unit of a chain -> those behind it
        self._behind: dict[_Unit, list[_Unit]] = {}
        #: bundle -> its units
        self._units: dict[str, list[_Unit]] = {}
        #: run -> its nodes' states by scope
        self._states: dict[str, dict[int, bytes]] = {}
        #: run -> number of a service level -> when it fired: as a warning, and as a miss
        self._fired: dict[str, dict[int, tuple[int, int]]] = {}
        #: run -> what it uses of what is limited; and all runs together
        self._usage: dict[str, dict[str, tuple[int, int]]] = {}
        self._used: dict[str, int] = {}
        self._limits: dict[str, int] = {}
        #: of a rate: when something that needs a token of it began to be wanted, and what did
        self._starts: dict[LimitDef, list[int]] = {}
        self._begun: set[_Unit] = set()
        #: the server lost something that it had acknowledged: only the ends of runs are checked from then on
        self.disaster = False
        #: run -> loop time at which its submission was stored first
        self.written: dict[str, float] = {}
        #: runs whose record was stored
        self.stored: set[str] = set()
        #: runs that runs started
        self.detached: dict[str, Submit] = {}
        #: (run, step) of what workers began
        self._seen: set[tuple[str, str]] = set()
        #: what a fold ever wanted to be run
        self._wanted: set[_Unit] = set()
        #: ids of signals
        self._signals: set[str] = set()
        #: partition -> all that was appended: (seq, time, data)
        self.inboxes: dict[str, list[tuple[int, int, bytes]]] = {}

    @property
    def ended(self) -> int:
        """Attempts of items that have a result."""
        return len(self._ended)

    def _plan_of(self, digest: str) -> Plan | None:
        try:
            return self._plans[digest]
        except KeyError:
            return None

    # ---- what is told

    def effect(self, effect: Effect) -> None:
        """The server did something."""
        self._history.effect(effect)
        if effect.what == "put_result":
            self.stored.add(effect.where)
        if effect.what in ("append", "append_at"):
            for event in unpack_events(effect.data):
                if isinstance(event, Submit):
                    if event.client.startswith("run "):
                        self.detached[event.run] = event
                    self.written.setdefault(event.run, self._server.now())
        if self.violation is None and not self.disaster:
            try:
                self._check(effect)
            except Violation as violation:
                self.violation = violation

    def begins(self, worker: str, bundle: Bundle, item: WorkItem, index: int, chained: tuple[int, ...]) -> None:
        """A worker begins to run something."""
        where = f"{item.id}[{index}] of {bundle.id}" + " in a chain" * bool(chained)
        self._history.note(worker, "begins", where)
        plan = self._plans[bundle.plans[item.plan]]
        self._seen.add((item.run, _name_of(plan, item)))
        if self.violation is not None or self.disaster:
            return
        try:
            fold = self.folds[bundle.partition]
            invariants.no_step_runs_before_its_inputs(fold.engine.peek(item.run), item, plan, chained)
            since = self._server.now() - self._ended.get((item.id, index), math.inf)
            invariants.no_result_runs_again(item, index, since if since > _GRACE else None)
        except Violation as violation:
            self.violation = violation

    # ---- the server's doings

    def _check(self, effect: Effect) -> None:
        match effect.what:
            case "append":
                self._append(effect.where, effect.number, effect.data)
            case "fence":
                self._leaders[effect.where] = (effect.who, effect.number)
            case "dispatch":
                leader = self._leaders.get(effect.where)
                invariants.only_the_leader_dispatches(effect.where, effect.who, effect.number, leader)
                self._dispatched(unpack(effect.data, Bundle))
            case "ack":
                self._gone(unpack(effect.data, Bundle).id)
            case "put_result":
                for fold in self.folds.values():
                    fold.engine.forget(effect.where)
                self._count_usage(effect.where, {})
                self._states.pop(effect.where, None)

    def _dispatched(self, bundle: Bundle) -> None:
        invariants.nothing_is_dispatched_twice(bundle, self._standing)
        units = self._units[bundle.id] = [unit for item in bundle.items for unit in _units(item)]
        self._standing.update(dict.fromkeys(units, bundle.id))
        for item in bundle.items:
            if item.then:
                chain = list(_units(item))
                self._behind.update((unit, chain[place + 1 :]) for place, unit in enumerate(chain))

    def _gone(self, bundle: str) -> None:
        for unit in self._units.pop(bundle, ()):
            if self._standing.get(unit) == bundle:
                del self._standing[unit]

    # ---- the inbox

    def _append(self, partition: str, seq: int, data: bytes) -> None:
        record = self._server.inboxes[partition].find(seq)
        assert record is not None
        self.inboxes.setdefault(partition, []).append((seq, record.time_ms, data))
        fold = self.folds.get(partition)
        if fold is None:
            fold = self.folds[partition] = Fold(
                partition, self._server.settings.partitions, self._plan_of, self._server.blobs
            )
        fold.seq, fold.now_ms = seq, max(fold.now_ms, record.time_ms)
        for event in unpack_events(data):
            self._decide(fold, event, seq)
            self._note_results(event)

    def _note_results(self, event: Event) -> None:
        """Who has a result, and what is no longer out."""
        match event:
            case Results(bundle, _, outcomes):
                for outcome in outcomes:
                    for unit in _units_of(outcome):
                        if outcome.state != "returned":
                            self._ended.setdefault(unit, self._server.now())
                        # those behind the first of a chain that did not succeed are not run
                        behind = self._behind.get(unit, ()) if outcome.state != "success" else ()
                        for done in (unit, *behind):
                            if self._standing.get(done) == bundle:
                                del self._standing[done]
            case Lost(bundle):
                self._gone(bundle)

    def _decide(self, fold: Fold, event: Event, seq: int) -> None:
        engine = fold.engine
        before = self._second_time(engine, event)
        run = engine.peek(event.run) if isinstance(event, TimerFired) else None
        timer = run.timers.get(event.timer) if run and isinstance(event, TimerFired) else None
        kept, waited = _signals(engine, event) if isinstance(event, Signal) else (0, set())
        paused = {name: known.paused for name in engine.pauses.runs if (known := engine.peek(name))}
        commands = fold.decide(event, seq)
        self._note_starts(fold, commands)
        if isinstance(event, Signal):
            is_new = event.id not in self._signals
            self._signals.add(event.id)
            more, took = _signals(engine, event)[0] - kept, _took(engine, event.run, waited)
            invariants.a_signal_counts_once(event.run, more, took, is_new, event.name)
        for command in commands:
            if isinstance(command, Ready):
                units = set(_units(msgspec.structs.replace(command.item(0), then=()))) - self._wanted
                self._wanted |= units
                if units and command.run in paused and (known := engine.peek(command.run)):
                    invariants.a_paused_run_starts_nothing(known, paused[command.run], command.item(0).id)
        for name, packed in before.items():
            invariants.a_second_result_changes_nothing(name, packed, engine.pack_run(name), str(event))
        if isinstance(event, TimerFired) and run is not None:
            invariants.no_timer_is_early(timer, event.run, event.timer, fold.now_ms, run.timers)
        for touched in engine.take_touched():
            self._check_run(fold, touched)
        invariants.limits_are_kept(self._used, self._limits)

    def _note_starts(self, fold: Fold, commands: Iterable[object]) -> None:
        """When what needs a token of a rate began to be wanted. Of several partitions, the holder's clock says nothing
        about when the owner granted it."""
        if self._server.settings.partitions > 1:
            return
        for command in commands:
            if type(command) is not Ready:
                continue
            plan = self._plans[command.plan]
            plan = plan.children[command.flow] if command.flow else plan
            limit = settings_of(plan, command.block, command.node).limit
            if limit is None:
                continue
            for unit in _units(command.item(0)):
                if unit not in self._begun:
                    self._begun.add(unit)
                    self._starts.setdefault(plan.limits[limit], []).append(fold.now_ms)

    def check_undone(self, run: str, record: RunRecord) -> None:
        """At the end. Raises Violation."""
        invariants.what_was_undone_was_run(run, record, self._seen)

    def check_rates(self) -> None:
        """At the end."""
        for definition, times_ms in self._starts.items():
            invariants.a_rate_is_kept(definition, times_ms)

    def _check_run(self, fold: Fold, name: str) -> None:
        run = fold.engine.runs.get(name)
        self._count_usage(name, invariants.usage_of(run) if run is not None else {})
        if run is None:
            return
        invariants.a_terminal_state_is_final(self._states.get(name, {}), run)
        self._states[name] = {scope.id: bytes(scope.states) for scope in run.scopes.values()}
        invariants.all_that_waits_will_be_woken(run)
        if run.levels is not None:
            invariants.levels_fire_once(self._fired.setdefault(name, {}), run)

    def _count_usage(self, run: str, usage: dict[str, tuple[int, int]]) -> None:
        used = self._used
        for name, (count, _) in self._usage.pop(run, {}).items():
            used[name] -= count
        for name, (count, limit) in usage.items():
            used[name] = used.get(name, 0) + count
            self._limits[name] = limit
        if usage:
            self._usage[run] = usage

    def _second_time(self, engine: Engine, event: Event) -> dict[str, bytes]:
        """If all of an event are results of what has one: the runs, packed."""
        if not isinstance(event, Results):
            return {}
        if any(outcome.state == "returned" for outcome in event.outcomes):
            return {}
        if not all(unit in self._ended for outcome in event.outcomes for unit in _units_of(outcome)):
            return {}
        return {outcome.run: engine.pack_run(outcome.run) for outcome in event.outcomes}

    # ---- leaders

    def leads(self, who: str, partition: str) -> bool:
        """It is the last one that took the partition over."""
        return self._leaders.get(partition, ("", 0))[0] == who

    def check_work(self, partition: str, seq: int, owed: Iterable[Ready], dispatcher: Dispatcher) -> None:
        """A leader that did all that message `seq` asked for owes this work."""
        fold = self.folds.get(partition)
        if self.violation is not None or self.disaster or fold is None or fold.seq != seq:
            return
        backlog, bundles = dispatcher._backlog, dispatcher._dispatched._out.values()
        somewhere = {
            unit for out in bundles if out.since == math.inf for item in out.bundle.items for unit in _units(item)
        }
        somewhere |= self._standing.keys()
        for bundle, units in self._units.items():  # it will be handed out again, and reported as lost
            if all(self._standing.get(unit) != bundle for unit in units):
                somewhere.update(units)
        try:
            for ready in owed:
                if ready.run in fold.engine.pauses.runs:
                    continue  # it waits until somebody resumes its run
                item = ready.item(0)
                for entry in backlog.of(ready.run, ready.scope, ready.node):
                    part = msgspec.structs.replace(entry.ready.item(0), first=entry.first, last=entry.last)
                    somewhere.update(_units(part))
                invariants.work_is_on_its_way(item.id, set(_units(item)) - somewhere)
        except Violation as violation:
            self.violation = violation

    def compare(self, partition: str, seq: int, engine: Engine) -> None:
        """A leader has this state after message `seq`."""
        if self.violation is not None or self.disaster:
            return
        fold = Fold(partition, self._server.settings.partitions, self._plan_of, self._server.blobs)
        for number, time_ms, data in self.inboxes.get(partition, ()):
            if number > seq:
                break
            fold.now_ms = max(fold.now_ms, time_ms)
            for event in unpack_events(data):
                fold.decide(event, number)
        try:
            invariants.state_is_the_fold(partition, _packed(engine), _packed(fold.engine), seq)
        except Violation as violation:
            self.violation = violation


def _name_of(plan: Plan, item: WorkItem) -> str:
    plan = plan.children[item.flow] if item.flow else plan
    return plan.blocks[item.block].nodes[item.node].name


def _signals(engine: Engine, event: Signal) -> tuple[int, set[tuple[int, int]]]:
    """How many of a name a run keeps, and its steps that wait for one: scope and node."""
    run = engine.peek(event.run)
    if run is None:
        return 0, set()
    waits = {
        (scope.id, node)
        for scope in run.scopes.values()
        for node, wait in scope.waits.items()
        if wait.key == signal_key(event.name)
    }
    return len(run.signals.get(event.name, ())), waits


def _took(engine: Engine, run: str, waited: set[tuple[int, int]]) -> int:
    """Of steps that waited: how many are successes now."""
    known = engine.peek(run)
    scopes = known.scopes if known is not None else {}
    return sum(scope in scopes and scopes[scope].states[node] == SUCCESS for scope, node in waited)


def _packed(engine: Engine) -> dict[str, bytes]:
    """Runs that have not ended, and what belongs to no run. (What ended is forgotten at different times.)"""
    known = [run for name in engine.living() if (run := engine.peek(name))]
    found = {f"run {run.id}": pack_run(run) for run in known if not run.ended}
    triggers = engine.triggers
    found |= {f"trigger {name}": triggers.pack_piece(f"\0trigger/t/{name}") for name in triggers.own}
    return found | {name: part.pack() for name, part in engine.parts.items() if name != "past"}


def _units(item: WorkItem) -> Iterator[_Unit]:
    if item.first >= 0:
        for index in range(item.first, item.last):
            yield item.id, index
        return
    yield item.id, -1
    for then in item.then:
        yield f"{item.run}/{item.scope}/{then.node}/1", -1


def _units_of(outcome: Outcome) -> Iterator[_Unit]:
    name = f"{outcome.run}/{outcome.scope}/{outcome.node}/{outcome.attempt}"
    for index in range(outcome.first, outcome.last) if outcome.first >= 0 else (-1,):
        yield name, index
