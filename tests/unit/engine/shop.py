"""A partition with triggers, for the tests: the engine, and of the shell what waits for times. In virtual time.

`Shop.restored()` goes on from a snapshot, `Shop.replayed()` from the inbox.
"""

from __future__ import annotations

from typing import Any

import msgspec
from flowc import plan as p
from flowc.types import JSON
from flowrun import messages as m
from flowrun import values
from flowrun.engine import Engine, Ready, Send
from flowrun.engine.commands import Answer, Arm, Disarm, EndRun
from flowrun.manifest import DeployedFlow, Manifest
from flowrun.windows import windows

from tests.unit.engine.builders import flow, task

__all__ = ["MINUTE", "START", "Shop", "flow_of"]

MINUTE = 60_000
START = 1_700_000_040_000  # a whole minute


def flow_of(name: str, *triggers: p.TriggerDef, plan: p.Plan | None = None, **more: Any) -> tuple[p.Plan, DeployedFlow]:
    """A flow with one step "work", unless a plan is given."""
    plan = msgspec.structs.replace(plan or flow(task("work")), flow=name)
    more.setdefault("types", (JSON,))
    return plan, DeployedFlow(name=name, plan=f"plan of {name}", triggers=triggers, **more)


class Shop:
    """`now` moves by `wait`. Runs that were started are in `started`, in their order."""

    def __init__(self, partition: str = "0", partitions: int = 1) -> None:
        self.engine = Engine(partition, partitions)
        self.engine.watched = ()
        self.now, self.seq, self.number = START, 0, 0
        self.plans: dict[str, p.Plan] = {}
        self.manifests: dict[str, Manifest] = {}
        self.log: list[tuple[m.Event, int, int]] = []
        self.arms: dict[tuple[str, int], Arm] = {}
        self.ready: list[Ready] = []
        self.started: dict[str, None] = {}
        self.ended: list[str] = []
        self.sends: list[Send] = []
        self.answers: list[Answer] = []
        self.parts: dict[str, bytes] = {}

    # ---- events -----------------------------------------------------------------------------------------------------

    def post(self, event: m.Event) -> list[Any]:
        self.seq += 1
        self.log.append((event, self.now, self.seq))
        commands = self._decide(self.engine, event, self.now, self.seq)
        for command in commands:
            self._do(command)
        return commands

    def _decide(self, engine: Engine, event: m.Event, now: int, seq: int) -> list[Any]:
        """As the coordinator does: what is needed is loaded before."""
        if isinstance(event, m.Deployed) and (name := engine.needs_manifest(event)) and name in self.manifests:
            engine.add_manifest(name, self.manifests[name])
        for digest in (*engine.needs_plans(event), *filter(None, [engine.needs(event)])):
            if digest in self.plans:
                engine.add_plan(digest, self.plans[digest])
            else:
                engine.add_plan_failure(digest, "it is not there")
        return engine.decide(event, now, seq)

    def _do(self, command: Any) -> None:
        match command:
            case Arm():
                self.arms[command.trigger, command.place] = command
            case Disarm(trigger):
                self.arms = {key: arm for key, arm in self.arms.items() if key[0] != trigger}
            case Ready():
                self.ready.append(command)
                self.started[command.run] = None
            case EndRun(run):
                self.ended.append(run)
                self.started[run] = None
            case Send():
                self.sends.append(command)
            case Answer():
                self.answers.append(command)

    def deploy(self, *flows: tuple[p.Plan, DeployedFlow], project: str = "shop", at_ms: int | None = None) -> None:
        self.number += 1
        name = f"manifest {self.number}" if flows else ""
        self.plans.update((deployed.plan, plan) for plan, deployed in flows)
        self.manifests[name] = Manifest(project=project, flows=tuple(deployed for _, deployed in flows))
        self.post(m.Deployed(project, self.number, name, self.now if at_ms is None else at_ms))

    def arrive(
        self, trigger: str, id: str, body: object = None, place: int = 0, key: str = "", client: str = "c"
    ) -> Any:
        """What came of it: the answer."""
        value = values.encode({"subject": "s", "key": key, "id": id, "at": "2026-01-01T00:00:00+00:00", "body": body})
        self.answers.clear()
        self.post(m.Arrived(trigger, id, value, place, key, client))
        return msgspec.msgpack.decode(self.answers[0].value) if self.answers else None

    # ---- the shell --------------------------------------------------------------------------------------------------

    def due(self, *, ahead: int = 0, most: int = 500) -> list[m.Tick]:
        """The messages about times that have come, by a clock that is so far ahead."""
        found = []
        for arm in sorted(self.arms.values(), key=lambda arm: (arm.trigger, arm.place)):
            times = tuple(windows(arm.trigger, arm.source, arm.after_ms, self.now + ahead))
            after_ms = arm.after_ms
            for start in range(0, len(times), most):
                part = times[start : start + most]
                found.append(m.Tick(arm.trigger, arm.version, part, arm.place, start + most < len(times), after_ms))
                after_ms = part[-1].at_ms
        return found

    def wait(self, minutes: float = 1) -> None:
        """Time passes, and then all that has come is sent at once."""
        self.now += int(minutes * MINUTE)
        for tick in self.due():
            self.post(tick)

    def minutes(self, count: int) -> None:
        """The same, minute by minute."""
        for _ in range(count):
            self.wait()

    def deliver(self) -> None:
        """Messages to this partition arrive."""
        sends, self.sends = self.sends, []
        for send in sends:
            assert send.partition == self.engine.partition
            self.post(send.event)

    def finish(self, run: str = "", state: str = "success", result: object = None) -> None:
        """What is ready of a run, or of all, ends."""
        ready, self.ready = self.ready, []
        for work in ready:
            if run and work.run != run:
                self.ready.append(work)
                continue
            error = m.Failure("ValueError", "no", retryable=False) if state == "failed" else None
            head = (work.run, work.scope, work.node, work.attempt, state)
            self.post(m.Results("b", "w", (m.Outcome(*head, values.encode(result), error),)))  # type: ignore[arg-type]

    # ---- looking ----------------------------------------------------------------------------------------------------

    def times(self, trigger: str) -> list[int]:
        """The minutes since START that runs of a trigger stand for, in the order of their starts."""
        known = [self.engine.peek(run) for run in self.started]
        found = [run.scheduled for run in known if run is not None and run.scheduled is not None]
        return [(one.at_ms - START) // MINUTE for one in found if one.trigger == trigger]

    def snapshot(self) -> None:
        """As the coordinator takes one: what changed is written over what was there."""
        for name in self.engine.take_touched():
            self.parts[name] = self.engine.pack_run(name)

    def restored(self) -> None:
        """Another leader goes on from a snapshot of this moment."""
        self.snapshot()
        engine = Engine(self.engine.partition, self.engine.partitions)
        needed = engine.restore(self.engine.pack_rest(), [(name, data) for name, data in self.parts.items() if data])
        self._lead(engine, needed)

    def replayed(self) -> None:
        """Another leader goes on from the inbox."""
        engine = Engine(self.engine.partition, self.engine.partitions)
        for event, now, seq in self.log:
            self._decide(engine, event, now, seq)
        self._lead(engine, set())

    def _lead(self, engine: Engine, needed: set[str]) -> None:
        for digest in needed:
            engine.add_plan(digest, self.plans[digest])
        self.engine = engine
        self.engine.watched = ()
        self.arms = {}
        for arm in engine.armed():
            self._do(arm)
