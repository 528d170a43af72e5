"""The state of a partition as the fold of its recorded inbox: what every leader must have decided, whoever led.

No snapshot, purge or take-over stands in between. Beside the records of ended runs it notes what the checker holds the
journal against: which attempts' results were the ones that count, and when an attempt may begin at the earliest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flowc import plan as plans
from flowc.plan import EachNode, Plan, TaskNode
from flowrun.engine import Engine
from flowrun.engine.commands import EndRun, SetTimer
from flowrun.engine.state import Scope, number_of
from flowrun.messages import Lost, MessageError, Outcome, Results, RunRecord, Submit, unpack_known_events
from msgspec.structs import replace

from tests.sim.invariants import Violation, a_terminal_state_is_final

from .history import Message

__all__ = ["Accepted", "Fold", "Unit", "fold"]

#: run, scope, node, item (-1: of no range)
Unit = tuple[str, int, int, int]


@dataclass(frozen=True)
class Accepted:
    """The result that counts of a unit of work."""

    attempt: int
    state: str
    #: the stamp of its message
    at_ms: int
    #: what was called; "": an expression
    target: str


@dataclass
class Fold:
    """What the messages of all inboxes come to."""

    #: as they must be stored
    records: dict[str, RunRecord] = field(default_factory=dict)
    #: run -> when its submission came, and its partition
    submitted: dict[str, tuple[int, str]] = field(default_factory=dict)
    #: of units that ended by a result of a worker
    accepted: dict[Unit, Accepted] = field(default_factory=dict)
    #: how often a worker of a unit died, as the engine took it
    crashes: Counter[Unit] = field(default_factory=Counter)
    #: run -> when a worker told that the process of an attempt died, milliseconds since 1970
    died: dict[str, list[int]] = field(default_factory=dict)
    #: unit -> (attempt from which on this holds, when it may begin, milliseconds since 1970)
    not_before: dict[Unit, list[tuple[int, int]]] = field(default_factory=dict)
    #: (run, what is wrong)
    problems: list[tuple[str, str]] = field(default_factory=list)


def fold(messages: Iterable[Message], partitions: int, data: Mapping[str, bytes]) -> Fold:
    """`messages` of each inbox in order; `data`: plans by their hashes."""
    found = Fold()
    known = {digest: plans.decode(plan) for digest, plan in data.items() if plan}
    shadows: dict[str, _Shadow] = {}
    for message in messages:
        shadow = shadows.get(message.partition)
        if shadow is None:
            shadow = shadows[message.partition] = _Shadow(message.partition, partitions, known, found)
        shadow.take(message)
    return found


class _Shadow:
    def __init__(self, partition: str, partitions: int, known: Mapping[str, Plan], found: Fold) -> None:
        self._engine, self._partition = Engine(partition, partitions), partition
        self._known, self._found = known, found
        self._now = 0
        #: run -> its nodes' states by scope
        self._states: dict[str, dict[int, bytes]] = {}
        self._broken = False

    def take(self, message: Message) -> None:
        if self._broken:
            return
        self._now = max(self._now, message.time_ms)
        try:
            events, problems = unpack_known_events(message.data)
        except MessageError as error:
            events, problems = [], [str(error)]
        self._found.problems += [("", f"message {message.seq} of inbox {self._partition}: {one}") for one in problems]
        for event in events:
            self._note(event)
            if isinstance(event, Submit):
                self._found.submitted.setdefault(event.run, (self._now, self._partition))
                self._add_plans(filter(None, [self._engine.needs(event)]))
            elif isinstance(event, Results):
                self._add_plans(self._engine.needs_also(event))
            try:
                commands = self._engine.decide(event, self._now, message.seq)
            except Exception as error:  # a defect of the engine is what is looked for
                what = f"the engine fails on message {message.seq} of inbox {self._partition}: {error!r}"
                self._found.problems.append((self._engine.deciding, what))
                self._broken = True
                return
            for command in commands:
                if isinstance(command, SetTimer):
                    self._note_timer(command)
                elif isinstance(command, EndRun):
                    self._end(command.run)
            self._check_states()

    def _add_plans(self, needed: Iterable[str]) -> None:
        for name in needed:
            if name in self._known:
                self._engine.add_plan(name, self._known[name])
            else:
                self._engine.add_plan_failure(name, "it was not recorded")

    def _end(self, run: str) -> None:
        record = self._engine.record(run)
        if run in self._found.records:
            self._found.problems.append((run, "it ended twice"))
        self._found.records[run] = record
        self._engine.forget(run)
        self._states.pop(run, None)

    def _check_states(self) -> None:
        for name in self._engine.take_touched():
            run = self._engine.runs.get(name)
            if run is None:
                continue
            try:
                a_terminal_state_is_final(self._states.get(name, {}), run)
            except Violation as violation:
                self._found.problems.append((name, str(violation)))
            self._states[name] = {scope.id: bytes(scope.states) for scope in run.scopes.values()}

    # ---- what the journal is held against

    def _note(self, event: object) -> None:
        """Before it is decided: does it count?"""
        if isinstance(event, Results):
            for outcome in event.outcomes:
                self._note_outcome(outcome)
        elif isinstance(event, Lost):
            for item in event.items:
                for place in range(item.first, item.last) if item.first >= 0 else (-1,):
                    one = replace(item, first=place, last=place + 1) if place >= 0 else item
                    if self._engine.wants(one):
                        self._found.crashes[item.run, item.scope, item.node, place] += 1

    def _note_outcome(self, outcome: Outcome) -> None:
        if outcome.state == "returned":
            return
        if outcome.error is not None and outcome.error.type == "WorkerDied":
            self._found.died.setdefault(outcome.run, []).append(self._now)
        for place in range(outcome.first, outcome.last) if outcome.first >= 0 else (-1,):
            one = replace(outcome, first=place, last=place + 1) if place >= 0 else outcome
            if outcome.state == "success" and self._engine.wants(one):
                unit = (outcome.run, outcome.scope, outcome.node, place)
                self._found.accepted[unit] = Accepted(
                    outcome.attempt, outcome.state, self._now, self._target(outcome.run, outcome.scope, outcome.node)
                )

    def _target(self, run: str, scope: int, node: int) -> str:
        found = self._engine.peek(run)
        where = found.scopes.get(scope) if found else None
        return _target(where, node) if where is not None else ""

    def _note_timer(self, command: SetTimer) -> None:
        kind, *place = command.timer.split("/")
        if kind not in ("delay", "retry", "items") or not command.run:
            return
        scope, node, item = (int(place[0]), int(place[1]), int(place[2]) if len(place) > 2 else -1)
        run = self._engine.peek(command.run)
        where = run.scopes.get(scope) if run else None
        if where is None:
            return
        attempt = 1
        if kind == "retry":
            attempt = number_of(where, node)
        elif kind == "items":
            attempt = where.fans[node].attempts.get(item, 1)
        self._found.not_before.setdefault((command.run, scope, node, item), []).append((attempt, command.at_ms))


def _target(scope: Scope, node: int) -> str:
    """What a node calls."""
    step, plan = scope.graph.nodes[node], scope.graph.plan
    if isinstance(step, EachNode) and step.simple:
        block = plan.blocks[step.body]
        step = block.nodes[block.params]
    return plan.tasks[step.task].target if isinstance(step, TaskNode) else ""
