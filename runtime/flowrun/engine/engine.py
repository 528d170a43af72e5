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
from functools import cached_property

from flowc.plan import ChildNode, EachNode, WaitNode

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
    SetVar,
    Signal,
    Submit,
    TakeOver,
    Tick,
    TimerFired,
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
from .commands import Changed, Command, SetTimer
from .core import CLOSE, ENDED, OPEN, PROPAGATE, START, UPDATED
from .fuse import is_out
from .outcome import outcome_of
from .past import digest_of
from .pauses import is_held
from .record import pack_rows
from .scopes import close_scope, propagate
from .state import (
    ASIDE,
    CANCELLED,
    EARLY,
    FLOW,
    HANDLER,
    ITEM,
    RUNNING,
    UNDO,
    WAITING,
    Run,
    Scope,
    Single,
    number_of,
)
from .told import Told, scope_with, suspect

__all__ = ["Engine"]


class Engine(Told):
    """The state of one partition: its runs, their steps, and what it owns of permits."""

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
        return scope_with(self.find(run), scope, node)

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
                tasks.lose(self, scope, *suspect(scope, item))
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

    def _deploy(self, event: Deployed) -> None:
        """What every part does that has to do with what is deployed."""
        manifest = self.manifests.pop(event.manifest, None)
        if self.is_outdated(event):
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

    # ---- defects

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


def _is_held(run: Run, timer: state.Timer) -> bool:
    """Of a run that is paused: what the timer is for waits."""
    scope = run.scopes.get(timer.scope)
    return scope is None or is_held(scope)
