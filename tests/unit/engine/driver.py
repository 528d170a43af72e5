"""A shell around the engine for the tests: runs ready work with Python functions, in any order, in virtual time."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from flowc.plan import EachNode, Plan, TaskNode
from flowrun import messages as m
from flowrun import values
from flowrun.engine import ClearTimer, EndRun, Engine, PutBlob, Ready, Revoke, SetTimer
from flowrun.expr import Env, evaluate
from flowrun.sequences import of_values

__all__ = ["Driver", "Fail", "Replaced", "Skip"]

Function = Callable[..., object]
START = 1_700_000_000_000


class Fail(Exception):
    """The task fails with this error type."""

    def __init__(self, kind: str = "ValueError", message: str = "no", **more: Any) -> None:
        self.failure = m.Failure(kind, message, **more)


class Skip(Exception):
    """The task ends as skipped."""


class Replaced(Exception):
    """A run of this plan takes the task's place, or adds members behind its `own` value."""

    def __init__(self, plan: str, args: dict[str, Any] | None = None, own: Any = ...) -> None:
        packed = None if own is ... else values.encode(own)
        self.value = msgspec.msgpack.encode(m.Replacement(plan, values.encode(args or {}), packed))


class Driver:
    """`functions` by step name. `cut` is the largest range that is executed at once."""

    def __init__(
        self,
        plan: Plan,
        functions: dict[str, Function] | None = None,
        *,
        seed: int = 0,
        cut: int = 7,
        max_fused: int = 100,
        others: dict[str, Plan] | None = None,
    ) -> None:
        self.engine = Engine(max_fused=max_fused)
        self.plan = plan
        #: by digest; `others` are those that functions replace their tasks by
        self.plans = {"plan": plan, **(others or {})}
        for digest, known in self.plans.items():
            self.engine.add_plan(digest, known)
        self.functions = functions or {}
        self.random = random.Random(seed)
        self.cut = cut
        self.now = START
        self.seq = 0
        self.log: list[tuple[m.Event, int, int]] = []
        self.ready: list[Ready] = []
        self.timers: dict[tuple[str, str], int] = {}
        self.blobs: dict[str, bytes] = {}
        self.ended: list[str] = []
        self.revoked: list[Revoke] = []
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.delivered: list[m.Outcome] = []
        #: (scope, node, index) of what is being executed: the first argument of functions that are `keyed`
        self.key: tuple[int, int, int] = (0, 0, 0)

    # ---- events -----------------------------------------------------------------------------------------------------

    def post(self, event: m.Event) -> list[Any]:
        self.seq += 1
        self.log.append((event, self.now, self.seq))
        commands = self.engine.decide(event, self.now, self.seq)
        for command in commands:
            self._do(command)
        return commands

    def submit(self, run: str = "r", args: bytes = b"\x80") -> None:
        self.post(m.Submit(run, "plan", args))

    def _do(self, command: Any) -> None:
        match command:
            case Ready():
                self.ready.append(command)
            case SetTimer(run, timer, at_ms):
                self.timers[run, timer] = at_ms
            case ClearTimer(run, timer):
                self.timers.pop((run, timer), None)
            case PutBlob(digest, data):
                self.blobs[digest] = data
            case EndRun(run):
                self.ended.append(run)
            case Revoke():
                self.revoked.append(command)

    # ---- the worker -------------------------------------------------------------------------------------------------

    def run(self, run: str = "r", args: bytes = b"\x80", *, steps: int = 10_000) -> m.RunRecord:
        """Submits, executes everything in random order, and gives the record."""
        self.submit(run, args)
        return self.drain(run, steps=steps)

    def drain(self, run: str = "r", *, steps: int = 10_000) -> m.RunRecord:
        for _ in range(steps):
            if run in self.ended:
                return self.engine.record(run)
            assert self.step(), "nothing is ready, no timer is set, and the run has not ended"
        raise AssertionError("the run does not end")

    def step(self) -> bool:
        """Executes something that is ready, or lets time pass to the next timer."""
        self.ready = [work for work in self.ready if self.engine.wants(work)]
        if self.ready:
            at = self.random.randrange(len(self.ready))
            outcomes = self.execute(self._take(at))
            cut = self.random.randint(1, len(outcomes)) if outcomes[0].first < 0 else len(outcomes)
            for part in filter(None, (outcomes[:cut], outcomes[cut:])):
                self.post(m.Results("b", "w", tuple(part)))
            return True
        if not self.timers:
            return False
        self.fire()
        return True

    def fire(self) -> str:
        """The next timer."""
        (run, timer), at = min(self.timers.items(), key=lambda entry: (entry[1], entry[0]))
        del self.timers[run, timer]
        self.now = max(self.now, at)
        self.post(m.TimerFired(run, timer))
        return timer

    def _take(self, at: int) -> Ready:
        """A piece of ready work; of a long range a part, the rest stays."""
        work = self.ready.pop(at)
        if work.last - work.first > self.cut:
            part = work.first + self.random.randrange(1, self.cut + 1)
            self.ready.append(copy(work, first=part))
            work = copy(work, last=part)
        return work

    def execute(self, work: Ready) -> list[m.Outcome]:
        node = self._node(work)
        given = [values.decode_plain(data, self.blobs.__getitem__) for data in work.inputs]
        if isinstance(node, EachNode) and work.first >= 0:
            outcomes = self._items(work, node, given)
        elif isinstance(node, EachNode):
            outcomes = [self._outcome(work, lambda: evaluate(node.source, Env(given)))]
        elif isinstance(node, TaskNode):
            outcomes = self._chain(work, node, given)
        elif hasattr(node, "args"):
            made = {name: evaluate(expr, Env(given)) for name, expr in node.args}
            outcomes = [self._outcome(work, lambda: made)]
        else:
            expr = node.value if hasattr(node, "value") else node.selector
            outcomes = [self._outcome(work, lambda: evaluate(expr, Env(given)))]
        self.delivered += outcomes
        return outcomes

    def _chain(self, work: Ready, node: TaskNode, given: list[Any]) -> list[m.Outcome]:
        """A task and those that follow it, up to the first that does not succeed."""
        outcomes = [self._outcome(work, lambda: self.call(node.name, node, given))]
        for then in work.then:
            if outcomes[-1].state != "success":
                break
            inputs = tuple(outcomes[given].value if isinstance(given, int) else given for given in then.inputs)
            next_work = copy(work, node=then.node, attempt=1, inputs=inputs, then=())
            next_node = self._node(next_work)
            given = [values.decode_plain(data, self.blobs.__getitem__) for data in inputs]
            call = partial(self.call, next_node.name, next_node, given)
            outcomes.append(self._outcome(next_work, call))
        return outcomes

    def call(self, name: str, node: TaskNode, given: list[Any]) -> object:
        found = [evaluate(expr, Env(given)) for _, expr in node.args]
        self.calls.append((name, tuple(found)))
        function = self.functions.get(name)
        if getattr(function, "keyed", False):
            found.insert(0, self.key)
        return function(*found) if function else name

    def _node(self, work: Ready) -> Any:
        return self._plan(work).blocks[work.block].nodes[work.node]

    def _plan(self, work: Ready) -> Plan:
        plan = self.plans[work.plan]
        return plan.children[work.flow] if work.flow else plan

    def _outcome(self, work: Ready, make: Callable[[], object], first: int = -1, last: int = -1) -> m.Outcome:
        head = (work.run, work.scope, work.node, work.attempt)
        self.key = (work.scope, work.node, first)
        try:
            value, blob = values.externalise(values.encode(make()))
        except Fail as error:
            return m.Outcome(*head, "failed", error=error.failure, first=first, last=last)
        except Skip:
            return m.Outcome(*head, "skipped", first=first, last=last)
        except Replaced as replaced:
            return m.Outcome(*head, "replaced", replaced.value, first=first, last=last)
        if blob:
            self.blobs[blob[0]] = blob[1]
        seconds = array("f", [0.5]).tobytes()
        return m.Outcome(*head, "success", value, seconds=seconds, first=first, last=last)

    def _items(self, work: Ready, node: EachNode, given: list[Any]) -> list[m.Outcome]:
        body = self._plan(work).blocks[node.body]
        inner = body.nodes[body.params]
        assert isinstance(inner, TaskNode)
        source = of_values(node.source, given)
        found = []
        for index in range(work.first, work.last):
            params = source.parts(index, node.unpack) if node.unpack else [source.item(index)]
            params += [given[capture] for capture in node.captures]
            args = [params[edge.node] for edge in inner.inputs]
            found.append(self._outcome(work, lambda args=args: self.call(inner.name, inner, args), index, index + 1))
        return self._joined(found)

    def _joined(self, outcomes: list[m.Outcome]) -> list[m.Outcome]:
        """Neighbours that are successes, as one outcome."""
        joined: list[m.Outcome] = []
        for outcome in outcomes:
            last = joined[-1] if joined else None
            if last and last.state == outcome.state == "success":
                head = (outcome.run, outcome.scope, outcome.node, outcome.attempt, "success")
                value, seconds = last.value + outcome.value, last.seconds + outcome.seconds
                joined[-1] = m.Outcome(*head, value, None, 0, seconds, last.first, outcome.last)
            else:
                joined.append(outcome)
        return joined

    # ---- looking ----------------------------------------------------------------------------------------------------

    def value_of(self, data: bytes) -> Any:
        return values.decode_plain(data, self.blobs.__getitem__)

    def replayed(self) -> Engine:
        """Another engine that saw the same events."""
        engine = Engine()
        for digest, plan in self.plans.items():
            engine.add_plan(digest, plan)
        for event, now, seq in self.log:
            engine.decide(event, now, seq)
        return engine


def copy(work: Ready, **changes: Any) -> Ready:
    return msgspec.structs.replace(work, **changes)


def states(record: m.RunRecord) -> dict[Any, str]:
    """State by step, or by (step, index)."""
    return {(row.step if row.index is None else (row.step, row.index)): row.state for row in record.steps}
