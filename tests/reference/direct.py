"""Runs a plan on the engine and the worker's own code, in this process, in random order and virtual time."""

from __future__ import annotations

import os
import random
from array import array
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import msgspec
from flowc.compare import compare
from flowc.plan import EachNode, Plan, StepSettings, TaskNode, decode, digest, encode
from flowrun import messages as m
from flowrun import values
from flowrun.compression import compressed
from flowrun.engine import ClearTimer, EndRun, Engine, PutBlob, Ready, SetTimer
from flowrun.engine.commands import Send
from flowrun.engine.image import pack_image, unpack_image
from flowrun.engine.translate import translate
from flowrun.engine.view import approvals
from flowrun.worker.batch import Batch, run_batch
from flowrun.worker.ended import Blobs, Ended
from flowrun.worker.execute import Executions, Prepared, run
from flowrun.worker.failures import unpack_failure
from flowrun.worker.frames import Given
from flowrun.worker.shared import FAILED, REPLACED, SUCCESS

from .outside import Expected, agreed, brought

__all__ = ["Direct", "run_one"]

_START = 1_700_000_000_000
_STATES: dict[int, Any] = {0: "success", 1: "failed", 2: "skipped", REPLACED: "replaced"}


def _secrets() -> dict[str, str]:
    """Those of the environment, as the keys that tests use have them."""
    prefix = "FLOW_SECRET_"
    return {name.removeprefix(prefix).lower(): value for name, value in os.environ.items() if name.startswith(prefix)}


class Direct:
    """One run at a time; the same `seed` gives the same order of everything. With `renewed` the engine is packed and
    restored after every event, its runs frozen. What a run is told from outside is what it `expected`, before or after
    somebody waits for it."""

    def __init__(
        self, plan: Plan, root: Path, seed: int = 0, *, renewed: bool = False, expected: Expected | None = None
    ) -> None:
        self.blobs: dict[str, bytes] = {}
        self._plan = digest(encode(plan))
        self._engine = Engine()
        self._renewed = renewed
        self._executions = Executions(root, self)
        self._executions.told.take(Given(secrets=_secrets()))
        self._plans: dict[str, Plan] = {}
        self._add_plan(self._plan, encode(plan))
        self._expected = expected or Expected()
        #: signals that were not sent yet
        self._signals: list[str] = []
        #: runs that have not ended
        self._open: set[str] = set()
        #: signals that were sent once more, for somebody still waited
        self.sent_again: list[str] = []
        #: submissions of runs that the run started
        self.sent: list[m.Submit] = []
        self._random = random.Random(seed)
        self._cache: dict[str, bytes] = {}
        self._ready: list[Ready] = []
        self._timers: dict[tuple[str, str], int] = {}
        self._now, self._seq = _START, 0

    def run(self, args: dict[str, Any] | None = None) -> m.RunRecord:
        """The record of a run with these arguments."""
        return self._ends(m.Submit("r", self._plan, values.encode(args or {})))

    def rerun(self, *steps: str) -> m.RunRecord:
        """The record of a rerun of that run, from these steps; of "r" itself, if there is nothing to run."""
        self._engine.add_image("image", compressed(self._engine.image("r")))
        record = self._ends(m.Submit("s", self._plan, values.encode({}), again=m.Again("r", "image", steps)))
        is_refused = record.error is not None and record.error.message.startswith("nothing of run r failed")
        return self._engine.record("r") if is_refused else record

    def fork(self, plan: Plan, args: dict[str, Any]) -> m.RunRecord:
        """The record of a run of another plan that goes on with that run."""
        image = unpack_image(compressed(self._engine.image("r")))
        compared, name = compare(self._plans[self._plan], plan), digest(encode(plan))
        assert not compared.problems, compared.problems
        self._add_plan(name, encode(plan))
        self._engine.add_image("image", pack_image(translate(image, compared, name, plan)))
        return self._ends(m.Submit("s", name, values.encode(args), again=m.Again("r", "image")))

    def _ends(self, submission: m.Submit) -> m.RunRecord:
        self._signals = list(self._expected.signals)
        self._post(submission)
        for _ in range(100_000):
            if not self._open:
                return self._engine.record(submission.run)
            self._step()
        raise AssertionError("the run does not end")

    def _add_plan(self, key: str, data: bytes) -> None:
        self._plans[key] = decode(data)
        self._engine.add_plan(key, self._plans[key])
        self._executions.add(key, data)

    # ---- the worker's store

    def get(self, digest: str) -> bytes:
        return self.blobs[digest]

    def put(self, digest: str, data: bytes) -> None:
        self.blobs[digest] = data

    def cached(self, key: str) -> bytes:
        return self._cache.get(key, b"")

    def keep(self, key: str, data: bytes, ttl_ms: int) -> None:
        self._cache[key] = data

    # ---- the loop

    def _post(self, event: m.Event) -> None:
        self._seq += 1
        if isinstance(event, m.Submit):
            self._open.add(event.run)
        needed = [self._engine.needs(event)] if isinstance(event, m.Submit) else []
        needed += self._engine.needs_also(event) if isinstance(event, m.Results) else []
        for plan in filter(None, needed):
            self._add_plan(plan, self.blobs[plan])
        sent: list[m.Event] = []
        for command in self._engine.decide(event, self._now, self._seq):
            match command:
                case Ready():
                    self._ready.append(command)
                case SetTimer(run_id, timer, at_ms):
                    self._timers[run_id, timer] = at_ms
                case ClearTimer(run_id, timer):
                    self._timers.pop((run_id, timer), None)
                case PutBlob(key, data):
                    self.blobs[key] = data
                case Send(_, sending):
                    sent.append(sending)
                case EndRun():
                    self._open.discard(command.run)
        if self._renewed:
            self._renew()
        for sending in sent:
            self.sent += [sending] if isinstance(sending, m.Submit) else []
            self._post(sending)

    def _renew(self) -> None:
        engine = Engine()
        names = dict.fromkeys(("r", *self._engine.living(), *self._engine.take_touched()))
        packed = [(name, self._engine.pack_run(name)) for name in names]
        engine.restore(self._engine.pack_rest(), packed)
        for key, plan in self._plans.items():
            engine.add_plan(key, plan)
        self._engine = engine

    def _step(self) -> None:
        self._ready = [work for work in self._ready if self._engine.wants(work)]
        if self._signals and (not self._ready or self._random.random() < 0.1):
            self._send_signal(self._signals.pop(self._random.randrange(len(self._signals))))
            return
        if self._ready:
            work = self._ready.pop(self._random.randrange(len(self._ready)))
            self._post(self._results(work))
            return
        if self._answer():
            return
        assert self._timers, "nothing is ready, no timer is set, and the run has not ended"
        (run_id, timer), at = min(self._timers.items(), key=lambda entry: (entry[1], entry[0]))
        del self._timers[run_id, timer]
        self._now = max(self._now, at)
        self._post(m.TimerFired(run_id, timer))

    def _results(self, work: Ready) -> m.Results:
        outcomes = tuple(self._execute(work))
        replaced = [
            msgspec.msgpack.decode(one.value, type=m.Replacement) for one in outcomes if one.state == "replaced"
        ]
        return m.Results("b", "w", outcomes, tuple(found.plan for found in replaced))

    def _send_signal(self, name: str) -> None:
        signal = m.Signal("r", name, values.encode(brought(name)), f"signal{self._seq}")
        for _ in range(self._random.choice((1, 1, 2))):  # the second time it is the same one
            self._post(signal)

    def _answer(self) -> bool:
        """Nothing else happens: whoever waits for an event or a decision gets it; False if nobody does."""
        run = self._engine.peek("r")
        for name in sorted(set(self._expected.signals)) if run else ():
            if f"signal/{name}" in run.awaits:  # one that was to be cancelled was quicker, and took it
                self.sent_again.append(name)
                self._send_signal(name)
                return True
        subjects = [key.removeprefix("event/").partition("\0")[0] for key in run.awaits] if run else []
        for subject in self._expected.events.intersection(subjects):
            self._post(m.Raised(subject, "", values.encode(brought(subject)), f"event{self._seq}"))
            return True
        for question in approvals(self._engine, "r"):
            yes = agreed(values.decode_plain(question.title, self.get))
            self._post(m.Decision("r", question.step, yes, None, f"decision{self._seq}"))
            return True
        return False

    def _execute(self, work: Ready) -> list[m.Outcome]:
        if work.last - work.first > 1 and self._random.random() < 0.5:
            cut = self._random.randrange(work.first + 1, work.last)
            return self._execute(_range(work, work.first, cut)) + self._execute(_range(work, cut, work.last))
        prepared = self._executions.prepare(work.item(0), work.plan)
        indexes = range(work.first, work.last) if work.first >= 0 else [-1]
        outcomes = [self._unit(work, prepared, index) for index in indexes]
        for then in work.then:
            if outcomes[-1].state != "success":
                break
            inputs = tuple(outcomes[given].value if isinstance(given, int) else given for given in then.inputs)
            follower = msgspec.structs.replace(work, node=then.node, attempt=1, inputs=inputs, then=())
            outcomes.append(self._unit(follower, self._executions.prepare(follower.item(0), work.plan), -1))
        return outcomes

    def _settings(self, work: Ready) -> StepSettings:
        """Of a step; of an `each`, of the task that is called for each item."""
        plan = self._plans[work.plan]
        plan = plan.children[work.flow] if work.flow else plan
        step = plan.blocks[work.block].nodes[work.node]
        if isinstance(step, EachNode):
            inner = [one for one in plan.blocks[step.body].nodes if isinstance(one, TaskNode)]
            return plan.settings[inner[0].settings]
        return plan.settings[step.settings] if isinstance(step, TaskNode) else StepSettings()

    def _unit(self, work: Ready, prepared: Prepared, index: int) -> m.Outcome:
        ended = run_one(prepared, index, self, is_batch=self._settings(work).batch is not None)
        return m.Outcome(
            run=work.run,
            scope=work.scope,
            node=work.node,
            attempt=work.attempt,
            state=_STATES[ended.state],
            value=ended.payload if ended.state in (SUCCESS, REPLACED) else values.NULL,
            error=unpack_failure(ended.payload) if ended.state == FAILED else None,
            seconds=array("f", [0.0]).tobytes(),
            first=index,
            last=index + 1 if index >= 0 else -1,
        )


def run_one(prepared: Prepared, index: int, blobs: Blobs, *, is_batch: bool) -> Ended:
    """One call; also one of those that may be executed together."""
    return run_batch(Batch([(prepared, index)], set()), blobs, _wait)[0] if is_batch else run(prepared, index, _wait)


def _range(work: Ready, first: int, last: int) -> Ready:
    return msgspec.structs.replace(work, first=first, last=last)


def _wait(awaitable: Awaitable[Any]) -> Any:
    raise AssertionError("the tasks of the tests are plain functions")
