"""Several engines, one per partition, over a network that delays, doubles and reorders, with leaders that die.

Time is virtual. What a leader asked for and had not sent when it died is sent by its successor, which starts from
the last snapshot and reads the rest of the inbox. The fake workers run work in any order.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from flowc.plan import EachNode, Plan
from flowrun import messages as m
from flowrun.engine import ClearTimer, EndRun, Engine, Ready, Send, SetTimer
from flowrun.engine.state import GRANTED, RUNNING
from flowrun.partitions import partition_of

__all__ = ["START", "Cluster", "Partition"]

START = 1_700_000_000_000
NULL = b"\xc0"


class Partition:
    """A partition: its inbox, its engine, its last snapshot."""

    def __init__(self, name: str, count: int, plan: Plan) -> None:
        self.name, self.count, self.plan = name, count, plan
        self.inbox: list[tuple[m.Event, int]] = []
        self.engine = self._new()
        self.packed: dict[str, bytes] = {}
        self.rest = self.engine.pack_rest()
        #: events that the snapshot holds
        self.seen = 0
        self.ready: list[Ready] = []
        self.timers: dict[tuple[str, str], int] = {}

    def _new(self) -> Engine:
        return Engine(self.name, self.count)

    def decide(self, at: int) -> list[Any]:
        event, now = self.inbox[at]
        self.engine.add_plan("plan", self.plan)
        return self.engine.decide(event, now, at + 1)

    def snapshot(self) -> None:
        self.packed.update((name, self.engine.pack_run(name)) for name in self.engine.take_touched())
        self.rest, self.seen = self.engine.pack_rest(), len(self.inbox)

    def restart(self) -> list[Any]:
        """Another leader: gives what the events since the snapshot ask for."""
        self.engine = self._new()
        self.engine.add_plan("plan", self.plan)
        self.engine.restore(self.rest, self.packed.items())
        commands = [command for at in range(self.seen, len(self.inbox)) for command in self.decide(at)]
        self.ready = list(self.engine.outstanding())
        self.timers = {(timer.run, timer.timer): timer.at_ms for timer in self.engine.timers()}
        return commands


class Cluster:
    """`outcome` says how the attempt of a step ends, by its name: "success", "failed"."""

    def __init__(self, plan: Plan, count: int, seed: int, outcome: Callable[[str], str] | None = None) -> None:
        self.plan, self.count = plan, count
        self.random = random.Random(seed)
        self.outcome = outcome or (lambda name: "success")
        self.partitions = {str(i): Partition(str(i), count, plan) for i in range(count)}
        self.now = START
        #: (sender, position in its inbox, what)
        self.network: list[tuple[str, int, Send]] = []
        self.sent: dict[str, Send] = {}
        self.ended: list[str] = []
        self.started: Counter[str] = Counter()
        self.most_messages = 0

    # ---- what happens -----------------------------------------------------------------------------------------------

    def submit(self, run: str, args: bytes = b"\x80", **more: Any) -> None:
        self.post(partition_of(run, self.count), m.Submit(run, "plan", args, **more))

    def post(self, name: str, event: m.Event) -> None:
        partition = self.partitions[name]
        partition.inbox.append((event, self.now))
        for command in partition.decide(len(partition.inbox) - 1):
            self._do(partition, command)

    def _do(self, partition: Partition, command: Any) -> None:
        match command:
            case Ready():
                partition.ready.append(command)
            case SetTimer(run, timer, at_ms):
                partition.timers[run, timer] = at_ms
            case ClearTimer(run, timer):
                partition.timers.pop((run, timer), None)
            case Send():
                self._send(partition, command)
            case EndRun(run):
                self.ended.append(run)
                partition.engine.forget(run)

    def _send(self, partition: Partition, command: Send) -> None:
        assert self.sent.setdefault(command.id, command) == command, "an id is unique, and the same after a replay"
        self.network.append((partition.name, len(partition.inbox), command))

    # ---- a step of the world ----------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Something happens; False: nothing is left that could."""
        kinds = [self._deliver] * bool(self.network) + [self._work] * any(p.ready for p in self.partitions.values())
        if kinds:
            self.random.choice(kinds)()
            self.now += self.random.choice((0, 0, 1, 3))
            return True
        return self._let_time_pass()

    def _deliver(self) -> None:
        at = self.random.randrange(len(self.network))
        command = self.network[at][2]
        if self.random.random() < 0.9:
            del self.network[at]
        self.post(command.partition, command.event)

    def _work(self) -> None:
        partition = self.random.choice([p for p in self.partitions.values() if p.ready])
        work = partition.ready.pop(self.random.randrange(len(partition.ready)))
        if not partition.engine.wants(work):
            return
        first, last = work.first, work.last
        if last - first > 1:
            last = first + self.random.randint(1, last - first)
            if last < work.last:
                rest = {name: getattr(work, name) for name in work.__struct_fields__}
                partition.ready.append(Ready(**{**rest, "first": last}))
        state = self.outcome(self._name(work))
        value = NULL * max(1, last - first) if state == "success" else NULL
        head = (work.run, work.scope, work.node, work.attempt)
        error = m.Failure("ValueError", "no") if state == "failed" else None
        outcome = m.Outcome(*head, state, value, error, first=first, last=last)  # type: ignore[arg-type]
        self.post(partition.name, m.Results("b", "w", (outcome,)))

    def _name(self, work: Ready) -> str:
        plan = self.plan.children[work.flow] if work.flow else self.plan
        return plan.blocks[work.block].nodes[work.node].name

    def _let_time_pass(self) -> bool:
        due = [(at, p.name, key) for p in self.partitions.values() for key, at in p.timers.items()]
        due = [one for one in due if one[2] != ("", "check")] or (due if self.holders() else [])
        if not due:
            return False
        at, name, (run, timer) = min(due)
        del self.partitions[name].timers[run, timer]
        self.now = max(self.now, at)
        self.post(name, m.TimerFired(run, timer))
        return True

    def crash(self) -> None:
        """A leader dies, and what it had not sent with it; another one takes over."""
        partition = self.random.choice(list(self.partitions.values()))
        lost = [
            one for one in self.network
            if one[0] == partition.name and one[1] > partition.seen and self.random.random() < 0.5
        ]  # fmt: skip
        self.network = [one for one in self.network if one not in lost]
        for command in partition.restart():
            if isinstance(command, Send):
                self._send(partition, command)

    def snapshot(self) -> None:
        """Of a partition all of whose messages are sent."""
        partition = self.random.choice(list(self.partitions.values()))
        partition.snapshot()

    # ---- looking ----------------------------------------------------------------------------------------------------

    def holders(self) -> bool:
        return any(p.engine.quotas.by_name or list(p.engine.claims) for p in self.partitions.values())

    def running(self, names: set[str]) -> int:
        """Attempts and items of these steps that may run now, in all partitions."""
        found = 0
        for partition in self.partitions.values():
            for run in partition.engine.runs.values():
                for scope in run.scopes.values():
                    for node, definition in enumerate(scope.graph.nodes):
                        if definition.name in names and scope.states[node] == GRANTED:
                            found += 1
                        elif definition.name in names and scope.states[node] == RUNNING:
                            fan = isinstance(definition, EachNode)
                            found += scope.fans[node].live if fan else 1
        return found

    def drain(self, check: Callable[[], None] = lambda: None, steps: int = 20_000) -> None:
        """Until nothing is left to do."""
        for _ in range(steps):
            check()
            if not self.step():
                return
        raise AssertionError("it does not end")
