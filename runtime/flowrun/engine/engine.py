"""`decide`: the fold of a partition's inbox.

`Engine.decide(event, now, seq)` changes the engine's own state in place and returns what is wanted. It is still a
pure function in the sense that matters: nothing but the fold touches the state, it reads no clock, no file and no
random number, and the same plans and events in the same order give the same state and the same commands. Copying
the state per event would cost more than the decisions.

An event does one thing (a node ends, an attempt fails, a timer acts); what follows from it goes on an agenda that is
worked off in order. A part of the engine never calls a part that may call it back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import cached_property

import msgspec
from flowc.plan import ChildNode, EachNode, Plan, WaitNode

from flowrun.manifest import Manifest
from flowrun.messages import (
    Arrived,
    Backfill,
    Begun,
    Cancel,
    Control,
    Decision,
    Deployed,
    Event,
    Lost,
    Outcome,
    Raised,
    Results,
    RunRecord,
    SetVar,
    Signal,
    Submit,
    TakeOver,
    Tick,
    TimerFired,
    WorkItem,
)

from . import (
    arrivals,
    asides,
    backfill,
    child,
    control,
    deployed_quotas,
    fanout,
    flows,
    grants,
    hearing,
    items,
    ranges,
    repeat,
    replaced,
    run_ends,
    run_variables,
    runs,
    single,
    sla_handlers,
    slas,
    starting,
    starts,
    state,
    tasks,
    triggers,
    undo,
    waits,
)
from .cancel import cancel_named, cancel_node, cancel_scope
from .commands import Arm, Changed, Command, Ready, SetTimer
from .core import CLOSE, ENDED, OPEN, PROPAGATE, START, UPDATED, Core
from .fuse import followers, is_out
from .graph import Tables
from .image import encode_image, is_worth_an_image
from .outcome import outcome_of
from .past import digest_of
from .pauses import is_held
from .record import pack_rows, run_record
from .scopes import close_scope, propagate
from .snapshot import Head, head_of, pack_run, pack_single
from .state import (
    ASIDE,
    CANCELLED,
    EARLY,
    FLOW,
    GRANTED,
    HANDLER,
    ITEM,
    RUNNING,
    SUCCESS,
    UNDO,
    WAITING,
    Run,
    Scope,
    Single,
    number_of,
)

__all__ = ["Engine"]


class Engine(Core):
    """The state of one partition: its runs, their steps, and what it owns of permits."""

    # ---- plans ------------------------------------------------------------------------------------------------------

    def needs(self, event: Event) -> str | None:
        """The hash of the plan that must be added before this event is decided; None if none is missing. One that could
        not be had is asked for again: whoever submits puts it."""
        if not isinstance(event, Submit) or event.plan in self.tables:
            return None
        return None if self.is_known(event.run) else event.plan

    def needs_plans(self, event: Event) -> list[str]:
        """The same for the plans of runs that an event may start by itself."""
        found: set[str] = set()
        match event:
            case Tick() | Arrived() | Backfill():
                trigger = self.triggers.own.get(event.trigger)
                if trigger is not None:
                    found.update((trigger.plan, *trigger.schedules.values()))
            case Control() if event.trigger in self.triggers.own:
                found.update(self.triggers.own[event.trigger].schedules.values())
            case Raised():
                found.update(trigger.plan for trigger, _ in arrivals.heard_by(self, event.subject))
            case Deployed():
                manifest = self.manifests.get(event.manifest)
                flows = manifest.flows if manifest else ()
                found.update(plan for flow in flows for plan in flow.schedules.values())
                found.update(flow.plan for flow in flows if self.backfills.is_of(flow.name))
        return sorted(plan for plan in found if plan not in self.tables)

    def needs_manifest(self, event: Deployed) -> str | None:
        """The hash of the manifest that must be added before this event is decided; None if none is missing."""
        known = event.manifest in self.manifests or not event.manifest
        return None if known or self._is_outdated(event) else event.manifest

    def add_manifest(self, digest: str, manifest: Manifest) -> None:
        """For the next deployment of it; of one that cannot be had none is added: then what was deployed goes on."""
        self.manifests[digest] = manifest

    def needs_also(self, event: Results) -> list[str]:
        """The same for the plans that replaced tasks; one that could not be had is not asked for again."""
        return [plan for plan in event.plans if plan not in self.tables and plan not in self.refused]

    def add_plan(self, digest: str, plan: Plan) -> None:
        self.tables[digest] = Tables(digest, plan)
        self.refused.pop(digest, None)

    def forget_plans(self) -> set[str]:
        """Drops the plans that no living run is of; gives the others. O(runs)."""
        used = {single.tables.digest for single in self.singles.values()}
        for run in self.runs.values():
            used.update((run.plan, *run.plans))
        for head in map(head_of, self.frozen.values()):
            used.update((head.plan, *head.plans))
        used |= backfill.plans(self)
        self.tables = {digest: tables for digest, tables in self.tables.items() if digest in used}
        return used

    def add_plan_failure(self, digest: str, reason: str) -> None:
        """The plan cannot be had: a run of it ends as failed with this reason."""
        self.refused[digest] = reason

    def needs_image(self, event: Submit) -> str | None:
        """The hash of the image that must be added before this event is decided; None if none is missing."""
        again = event.again
        return None if again is None or again.image in self.images or self.is_known(event.run) else again.image

    def add_image(self, digest: str, data: bytes) -> None:
        """For the next rerun of it; of one that cannot be had none is added: the rerun fails, and says so."""
        self.images[digest] = data

    # ---- the fold ---------------------------------------------------------------------------------------------------

    def decide(self, event: Event, now_ms: int, seq: int) -> list[Command]:
        """What follows from an event of the inbox.

        `now_ms` is the event's time stamp (milliseconds since 1970), `seq` its place in the inbox. The commands are
        in the order in which they are to be done. An event about what is not known, or no longer current, gives
        none, and is told in `ignored`.
        """
        if now_ms > self.now:
            self.now = now_ms
        self.commands, self.seq = [], seq
        match event:
            case Submit():
                self.deciding = event.run
                self._submit(event, seq)
            case Results():
                singles = self.singles
                for outcome in event.outcomes:
                    self.deciding = outcome.run
                    lone = singles.get(outcome.run)
                    if lone is None or not single.succeed(self, lone, outcome):
                        self._take_outcome(event.bundle, outcome)
                        self._work_off()
            case TimerFired():
                self.deciding = event.run
                self._timer(event)
            case Begun():
                self.deciding = event.run
                self._begun(event)
            case Lost():
                self._lose(event)
            case Cancel():
                self.deciding = event.run
                self._cancel(event)
            case TakeOver():
                self.deciding = ""
                self.past.remember_ms, self.past.keep_ms = event.remember_ms, event.keep_ms
                grants.took_over(self)
            case Control() | Signal() | Decision() | Raised() | SetVar() | Deployed() | Tick() | Arrived() | Backfill():
                self._hear(event)
            case _:
                self.deciding = getattr(event, "run", "")
                grants.hear(self, event)
        return self._decided()

    def _hear(self, event: Event) -> None:
        """What is said to runs, and to what starts them."""
        self.deciding = getattr(event, "run", "")
        match event:
            case Control() if event.trigger:
                triggers.control(self, event)
            case Control():
                control.hear(self, event)
            case Signal() | Decision():
                hearing.hear(self, event)
            case Raised():
                self._raise(event)
            case SetVar():
                run_variables.hear(self, event)
            case Deployed():
                self._deploy(event)
            case Tick():
                triggers.ticked(self, event)
            case Arrived():
                arrivals.arrived(self, event)
            case Backfill():
                backfill.hear(self, self._ledgers, event)

    def _decided(self) -> list[Command]:
        """All commands, once everything has been followed up."""
        self._work_off()
        if self.changes:
            self.commands += [Changed(run, tuple(notes.values())) for run, notes in self.changes.items()]
            self.changes.clear()
        return self.commands

    def _work_off(self) -> None:
        agenda = self.agenda
        while agenda or grants.settle(self) or ((self.triggers.due or self.backfills.due) and self._starts()):
            while agenda:
                kind, scope, node, argument = agenda.popleft()
                if kind == PROPAGATE:
                    propagate(self, scope, node)
                elif kind == START:
                    if scope.states[node] == WAITING:
                        if scope.run.paused and not is_out(scope, node) and is_held(scope):
                            self.put_off(scope, "start", node)
                            starts.held(self, scope, node)
                        else:
                            starts.start(self, scope, node)
                elif kind == CLOSE:
                    if not scope.open:
                        self._close(scope)
                elif kind == UPDATED:
                    run_ends.step_updated(self, scope, node)
                elif kind == ENDED:
                    slas.node_ended(self, scope, node)
                elif kind == OPEN:
                    self._open(scope, node)
                elif node < 0:
                    cancel_scope(self, scope, argument)
                else:
                    cancel_node(self, scope, node, argument)

    def _starts(self) -> bool:
        """Goes on with runs that nobody submits. False: none is due any more."""
        if self.backfills.due:
            backfill.go_on(self, self._ledgers)
        return starting.go_on(self)

    @cached_property
    def _ledgers(self) -> backfill.Ledgers:
        return backfill.Ledgers(self)

    def _open(self, scope: Scope, node: int) -> None:
        """A node may have its scopes, or wait."""
        if scope.states[node] != RUNNING:
            return
        if is_held(scope):
            self.put_off(scope, "open", node)
        elif isinstance(scope.graph.nodes[node], ChildNode):
            child.open_child(self, scope, node)
        elif isinstance(scope.graph.nodes[node], WaitNode):
            waits.start(self, scope, node)
        else:
            fanout.start_evaluated(self, scope, node)

    def _close(self, scope: Scope) -> None:
        """All nodes of a scope have ended: tells whom it belongs to."""
        if scope.kind == FLOW:
            if scope.run.levels is not None:
                slas.body_ended(self, scope)
                if scope.open:
                    return  # a handler tells that it was late
            ended = flows.body_closed(self, scope)
            if ended is not None:
                self._end_flow(scope, ended)
            return
        outcome, rows = outcome_of(scope), pack_rows(scope)
        close_scope(scope)
        if scope.kind == EARLY:
            self._close_early(scope, rows)
            return
        parent = scope.run.scopes[scope.parent]
        if scope.kind == HANDLER:
            ended = flows.handler_closed(parent, scope, rows)
            if ended is not None:
                self._end_flow(parent, ended)
        elif scope.kind == ITEM:
            items.closed(self, parent, scope, outcome, rows)
        elif scope.kind == ASIDE:
            asides.closed(self, parent, scope, rows)
        elif scope.kind == UNDO:
            ended = flows.undo_closed(self, parent, outcome, rows)
            if ended is not None:
                self._end_flow(parent, ended)
        else:
            repeat.closed(self, parent, scope, outcome, rows)

    def _close_early(self, scope: Scope, rows: bytes) -> None:
        """A handler of a run that has not begun is done."""
        run = scope.run
        if sla_handlers.early_closed(run, scope, rows) and run.ending is not None:
            runs.end(self, run, run.ending)

    def _end_flow(self, body: Scope, outcome: state.Outcome) -> None:
        """The body of a flow and its handlers are done."""
        if body.parent < 0:
            runs.end(self, body.run, outcome)
            return
        if body.graph.plan.compensates:
            undo.hand_up(body)
        close_scope(body)
        scope, rows = body.run.scopes[body.parent], pack_rows(body)
        if isinstance(scope.graph.nodes[body.node], ChildNode):
            child.closed(self, scope, body.node, body, outcome, rows)
        else:
            replaced.closed(self, scope, body, outcome, rows)

    # ---- events -----------------------------------------------------------------------------------------------------

    def _find_node(self, run: str, scope: int, node: int) -> Scope | None:
        """The scope, if it lives and has such a node."""
        return _scope_with(self.find(run), scope, node)

    def _take_outcome(self, bundle: str, outcome: Outcome) -> None:
        run = self.find(outcome.run)
        scope = run.scopes.get(outcome.scope) if run is not None else None
        if scope is None or not 0 <= outcome.node < scope.graph.size:
            self.ignore(f"result of {outcome.run}/{outcome.scope}/{outcome.node}, which does not run")
        elif outcome.first < 0:
            tasks.take_outcome(self, scope, outcome.node, bundle, outcome)
        elif outcome.node in scope.fans and fanout.is_simple(scope, outcome.node):
            ranges.take_outcome(self, scope, outcome.node, bundle, outcome)
        else:
            self.ignore(f"result of items of {outcome.run}/{outcome.scope}/{outcome.node}, which runs none")

    def _begun(self, event: Begun) -> None:
        scope = self._find_node(event.run, event.scope, event.node)
        if scope is None or number_of(scope, event.node) != event.attempt or scope.run.levels is None:
            self.ignore(f"begin of {event.run}/{event.scope}/{event.node}/{event.attempt}, which has no level")
        else:
            slas.step_began(self, scope, event.node)

    def _lose(self, event: Lost) -> None:
        for item in event.items:
            self.deciding = item.run
            scope = self._find_node(item.run, item.scope, item.node)
            if scope is None:
                self.ignore(f"loss of {item.id}, which does not run")
            elif item.first < 0:
                tasks.lose(self, scope, *_suspect(scope, item))
            elif item.node in scope.fans and fanout.is_simple(scope, item.node):
                ranges.lose(self, scope, item.node, item.first, item.last, item.attempt)
            self._work_off()

    def _submit(self, event: Submit, seq: int) -> None:
        if event.scheduled is not None:
            starting.submitted(self, event)
        if not single.begin(self, event, seq):
            runs.submit(self, event, seq)
        if self.early:
            self._work_off()
            hearing.deliver_early(self, event.run)

    def _is_outdated(self, event: Deployed) -> bool:
        known = self.triggers.projects.get(event.project)
        return known is not None and event.number <= known.number

    def _deploy(self, event: Deployed) -> None:
        """What every part does that has to do with what is deployed."""
        manifest = self.manifests.pop(event.manifest, None)
        if self._is_outdated(event):
            self.ignore(f"deployment {event.number} of project {event.project}, which has a later one")
        elif event.manifest and manifest is None:
            self.ignore(f"deployment {event.number} of project {event.project}, whose manifest cannot be had")
        else:
            triggers.deployed(self, event, manifest)
            deployed_quotas.deploy(self, event.project, manifest, event.at_ms)

    def _raise(self, event: Raised) -> None:
        self.deciding = ""
        if self.triggers.hearing and not event.after and not (event.id and self.answers.again(event)):
            arrivals.raised(self, event)
        for run in hearing.listening(self, event):
            self.deciding = run
            hearing.take_event(self, run, event)
            self._work_off()

    def _timer(self, event: TimerFired) -> None:
        if not event.run:
            grants.timer(self, event.timer)
            return
        run = self.find(event.run)
        timer = run.timers.get(event.timer) if run else None
        if run is None or timer is None:
            self.ignore(f"timer {event.timer} of {event.run}, which was not set")
            return
        if timer.at_ms > self.now:
            self.commands.append(SetTimer(run.id, event.timer, timer.at_ms))
            return
        del run.timers[event.timer]
        if run.paused and timer.kind not in ("begin", "sla") and _is_held(run, timer):
            run.waiting = [*(run.waiting or ()), timer]
        else:
            self.act(run, timer)

    def act(self, run: Run, timer: state.Timer) -> None:
        scope, node = run.scopes.get(timer.scope), timer.node
        if timer.kind == "debounce":
            runs.debounced(self, run)
        if timer.kind == "begin":
            runs.expire(self, run)
        if timer.kind == "sla":
            slas.due(self, run, timer.index)
            return
        if scope is None:
            return
        match timer.kind:
            case "delay":
                starts.delay_over(self, scope, node)
            case "expires":
                self._expire(scope, node)
            case "retry":
                tasks.retry_due(self, scope, node)
            case "items":
                ranges.retry_due(self, scope, node, timer.index)
            case "deadline":
                self._deadline(scope, node)
            case "limit":
                child.out_of_time(self, scope, node)
            case "round":
                repeat.open_round(self, scope, node)
            case "wake":
                waits.wake(self, scope, node)
            case "patience":
                waits.out_of_time(self, scope, node)
            case _:
                limit = (scope.graph.plan.timeout_ms or 0) / 1000
                flows.time_out(self, scope, f"the run was not done within the flow's `timeout` of {limit:g} s")

    def _expire(self, scope: Scope, node: int) -> None:
        if isinstance(scope.graph.nodes[node], EachNode):
            ranges.expire_waiting(self, scope, node)
        else:
            tasks.expire_waiting(self, scope, node)

    def _deadline(self, scope: Scope, node: int) -> None:
        if isinstance(scope.graph.nodes[node], EachNode):
            ranges.deadline_passed(self, scope, node)
        else:
            child.expire(self, scope, node)

    def _cancel(self, event: Cancel) -> None:
        run = self.find(event.run)
        if run is not None and run.body is not None and not run.ended:
            control.audit(self, run, "cancel", "", "" if event.reason == "cancelled" else event.reason, event.step)
            if not event.step:
                flows.cancel_flow(self, run.body, reason=event.reason)
                sla_handlers.cancel_handlers(self, run)
                control.go_on(self, run)
            elif why := cancel_named(self, run.body, event.step):
                self.ignore(f"cancellation of {event.step} of {event.run}: {why}")
        elif run is not None and not run.ended and not event.step:
            runs.cancel(self, run)
        elif self.is_known(event.run) or event.step:
            self.ignore(f"cancellation of {event.run}, which does not run")
        else:
            self.marks.add(event.run, self.now, self.past.keep_ms)

    # ---- runs of one task

    def unfold(self, lone: Single) -> Run:
        return single.unfold(self, lone)

    # ---- what the shell asks ----------------------------------------------------------------------------------------

    def outstanding(self, run: str = "") -> Iterator[Ready]:
        """All work (of a run) that was asked for and has not ended: what a new coordinator dispatches, or finds
        dispatched."""
        for name in [run] if run else self.living():
            lone = self.singles.get(name)
            if lone is not None:
                if lone.value is None:
                    yield single.ready_of(self, lone)
                continue
            packed = self.frozen.get(name)
            if packed is not None and not head_of(packed).has_work:
                continue
            known = self.peek(name)
            for scope in known.scopes.values() if known else ():
                for node in _granted(scope.states):
                    yield tasks.ready(scope, node, followers(scope, node))
                for node in scope.fans:
                    if fanout.is_simple(scope, node):
                        yield from ranges.outstanding(scope, node)

    def timers(self) -> Iterator[SetTimer]:
        """All timers that are set."""
        yield from grants.timers(self)
        runs: list[Run | Head] = [*self.runs.values(), *map(head_of, self.frozen.values())]
        for run in runs:
            for name, timer in run.timers.items():
                yield SetTimer(run.id, name, timer.at_ms)

    def armed(self) -> Iterator[Arm]:
        """All grids whose times are waited for."""
        return triggers.armed(self)

    def wants(self, work: WorkItem | Outcome | Ready) -> bool:
        """The attempt is still the current one and has not ended; of a range, that of any of its items."""
        run = self.peek(work.run)
        scope = _scope_with(run, work.scope, work.node)
        if scope is None:
            return False
        if work.first < 0:
            node, attempt = (work.node, work.attempt) if isinstance(work, Outcome) else _suspect(scope, work)
            return scope.states[node] == GRANTED and number_of(scope, node) == attempt
        fan = scope.fans.get(work.node)
        if fan is None or not fanout.is_simple(scope, work.node):
            return False
        return next(ranges.fresh_ranges(fan, work.first, work.last, work.attempt), None) is not None

    def abandon(self, run: str) -> list[Command]:
        """Drops a run on whose event `decide` raised: a defect of the engine. What it holds is given back; the
        commands are those that other runs get of the event and of what was given back."""
        if not run:  # an event about permits only: it concerns no run of this partition
            return self._decided()
        lone = self.singles.pop(run, None)
        if lone is not None and run not in self.past:
            self.past.add(lone.mark, self.now, bool(lone.event.key))
        known = self.find(run)
        self.drop_run(run)
        if run not in self.past:
            self.past.add(digest_of(run), self.now, known is not None and known.keyed)
        for scope in known.scopes.values() if known else ():
            scope.states[:] = bytes((CANCELLED,)) * len(scope.states)  # so that nothing of it is started
        if known:
            known.scopes.clear()
        self.changes.pop(run, None)
        self.pauses.runs.discard(run)
        self.agenda = deque(entry for entry in self.agenda if entry[1].run.id != run)
        self.commands = [command for command in self.commands if getattr(command, "run", "") != run]
        self.claims.close_run(run)
        run_ends.run_lost(self, run, known)
        return self._decided()

    def ended(self) -> Iterable[str]:
        """Runs that ended and whose record is not yet stored."""
        runs: list[Run | Head] = [*self.runs.values(), *map(head_of, self.frozen.values())]
        ended = [run.id for run in runs if run.ended]
        return ended + [name for name, lone in self.singles.items() if lone.value is not None]

    def record(self, run: str) -> RunRecord:
        """The record of an ended run. Raises KeyError if it has not ended, or was forgotten."""
        lone = self.singles.get(run)
        if lone is not None and lone.value is not None:
            return single.record_of(lone)
        known = self.peek(run)
        if known is None or not known.ended:
            raise KeyError(run)
        return run_record(known)

    def image(self, run: str) -> bytes:
        """The encoded image of an ended run that was not forgotten; b"" if it needs none (see `image`)."""
        if run in self.singles:
            return b""
        known = self.peek(run)
        return encode_image(known) if known is not None and known.ended and is_worth_an_image(known) else b""

    def forget(self, run: str) -> None:
        """The record of an ended run is stored: only its id is kept, so that it is not started again."""
        known, lone = self.runs.get(run), self.singles.get(run)
        if lone is not None:
            ended = lone.value is not None
        elif known is not None:
            ended = known.ended
        else:
            packed = self.frozen.get(run)
            ended = packed is not None and head_of(packed).ended
        if ended:
            self.drop_run(run)

    # ---- snapshots --------------------------------------------------------------------------------------------------

    def pack_run(self, run: str) -> bytes:
        """The bytes of what `take_touched` names, a run or a piece of the past or of the triggers; b"" for what is no
        more: a snapshot writes that too."""
        if self.past.owns(run):
            return self.past.pack_piece(run)
        if self.triggers.owns(run):
            return self.triggers.pack_piece(run)
        if run in self.singles:
            return pack_single(self.singles[run])
        known = self.runs.get(run)
        return pack_run(known) if known is not None else self.frozen.get(run, b"")

    def pack_rest(self) -> bytes:
        """The bytes of what is no run's: the clock, and every part."""
        return _rest_encoder.encode(_Rest(self.now, {name: part.pack() for name, part in self.parts.items()}))

    def restore(self, rest: bytes, runs: Iterable[tuple[str, bytes]]) -> set[str]:
        """Makes a new engine what the packed one was. `runs` in the order in which they were packed: a later one
        replaces an earlier one. Gives the hashes of the plans that must be added before anything is decided. Raises
        msgspec.DecodeError for bytes of another version."""
        state = _rest_decoder.decode(rest)
        self.now = state.now
        for name, data in state.parts.items():
            self.parts[name].restore(data)
        self.frozen = {name: data for name, data in dict(runs).items() if data}
        pieces = {name: self.frozen.pop(name) for name in [*self.frozen] if self.past.owns(name)}
        self.past.restore_pieces(pieces)
        pieces = {name: self.frozen.pop(name) for name in [*self.frozen] if self.triggers.owns(name)}
        self.triggers.restore_pieces(pieces)
        heads = [head_of(data) for data in self.frozen.values()]
        for head in heads:
            self.listeners.add_run(head.id, head.heard)
        return {plan for head in heads for plan in (head.plan, *head.plans)} | backfill.plans(self)


class _Rest(msgspec.Struct, array_like=True):
    """What a snapshot holds beside the runs."""

    now: int
    parts: dict[str, bytes]


_rest_encoder = msgspec.msgpack.Encoder()
_rest_decoder = msgspec.msgpack.Decoder(_Rest)


def _suspect(scope: Scope, work: WorkItem | Ready) -> tuple[int, int]:
    """The part of a chain that its worker is at, as node and attempt: the first that has not ended."""
    node, attempt = work.node, work.attempt
    for then in work.then:
        if scope.states[node] != SUCCESS or number_of(scope, node) != attempt or not 0 <= then.node < scope.graph.size:
            break
        if not is_out(scope, then.node):
            break
        node, attempt = then.node, 1
    return node, attempt


def _scope_with(run: Run | None, scope: int, node: int) -> Scope | None:
    """The scope, if it lives and has such a node."""
    found = run.scopes.get(scope) if run else None
    return found if found is not None and 0 <= node < found.graph.size else None


def _is_held(run: Run, timer: state.Timer) -> bool:
    """Of a run that is paused: what the timer is for waits."""
    scope = run.scopes.get(timer.scope)
    return scope is None or is_held(scope)


def _granted(states: bytearray) -> Iterator[int]:
    node = states.find(GRANTED)
    while node >= 0:
        yield node
        node = states.find(GRANTED, node + 1)
