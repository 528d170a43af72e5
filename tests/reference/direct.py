"""Runs a plan on the engine and the worker's own code, in this process, in random order and virtual time."""

from __future__ import annotations

import random
from array import array
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import msgspec
from flowc.plan import Plan, digest, encode
from flowrun import messages as m
from flowrun import values
from flowrun.compression import compressed
from flowrun.engine import ClearTimer, EndRun, Engine, PutBlob, Ready, SetTimer
from flowrun.worker.execute import Executions, Prepared, run
from flowrun.worker.failures import unpack_failure
from flowrun.worker.shared import FAILED, SUCCESS

__all__ = ["Direct"]

_START = 1_700_000_000_000
_STATES: tuple[Any, ...] = ("success", "failed", "skipped")


class Direct:
    """One run at a time; the same `seed` gives the same order of everything. With `renewed` the engine is packed and
    restored after every event, its runs frozen."""

    def __init__(self, plan: Plan, root: Path, seed: int = 0, *, renewed: bool = False) -> None:
        self.blobs: dict[str, bytes] = {}
        self._plan = digest(encode(plan))
        self._engine = Engine()
        self._engine.add_plan(self._plan, plan)
        self._tree, self._renewed = plan, renewed
        self._executions = Executions(root, self)
        self._executions.add(self._plan, encode(plan))
        self._random = random.Random(seed)
        self._ready: list[Ready] = []
        self._timers: dict[tuple[str, str], int] = {}
        self._ended = False
        self._now, self._seq = _START, 0

    def run(self, args: dict[str, Any] | None = None) -> m.RunRecord:
        """The record of a run with these arguments."""
        return self._ends(m.Submit("r", self._plan, values.encode(args or {})))

    def rerun(self, *steps: str) -> m.RunRecord:
        """The record of a rerun of that run, from these steps; of "r" itself, if there is nothing to run."""
        self._engine.add_image("image", compressed(self._engine.image("r")))
        self._ended = False
        record = self._ends(m.Submit("s", self._plan, values.encode({}), again=m.Again("r", "image", steps)))
        is_refused = record.error is not None and record.error.message.startswith("nothing of run r failed")
        return self._engine.record("r") if is_refused else record

    def _ends(self, submission: m.Submit) -> m.RunRecord:
        self._post(submission)
        for _ in range(100_000):
            if self._ended:
                return self._engine.record(submission.run)
            self._step()
        raise AssertionError("the run does not end")

    # ---- the worker's store

    def get(self, digest: str) -> bytes:
        return self.blobs[digest]

    def put(self, digest: str, data: bytes) -> None:
        self.blobs[digest] = data

    # ---- the loop

    def _post(self, event: m.Event) -> None:
        self._seq += 1
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
                case EndRun():
                    self._ended = True
        if self._renewed:
            self._renew()

    def _renew(self) -> None:
        engine = Engine()
        packed = [(name, self._engine.pack_run(name)) for name in ("r", *self._engine.take_touched())]
        engine.restore(self._engine.pack_rest(), packed)
        engine.add_plan(self._plan, self._tree)
        self._engine = engine

    def _step(self) -> None:
        self._ready = [work for work in self._ready if self._engine.wants(work)]
        if self._ready:
            work = self._ready.pop(self._random.randrange(len(self._ready)))
            self._post(m.Results("b", "w", tuple(self._execute(work))))
            return
        assert self._timers, "nothing is ready, no timer is set, and the run has not ended"
        (run_id, timer), at = min(self._timers.items(), key=lambda entry: (entry[1], entry[0]))
        del self._timers[run_id, timer]
        self._now = max(self._now, at)
        self._post(m.TimerFired(run_id, timer))

    def _execute(self, work: Ready) -> list[m.Outcome]:
        if work.last - work.first > 1 and self._random.random() < 0.5:
            cut = self._random.randrange(work.first + 1, work.last)
            return self._execute(_range(work, work.first, cut)) + self._execute(_range(work, cut, work.last))
        prepared = self._executions.prepare(work.item(0), self._plan)
        indexes = range(work.first, work.last) if work.first >= 0 else [-1]
        outcomes = [self._unit(work, prepared, index) for index in indexes]
        for then in work.then:
            if outcomes[-1].state != "success":
                break
            inputs = tuple(outcomes[given].value if isinstance(given, int) else given for given in then.inputs)
            follower = msgspec.structs.replace(work, node=then.node, attempt=1, inputs=inputs, then=())
            outcomes.append(self._unit(follower, self._executions.prepare(follower.item(0), self._plan), -1))
        return outcomes

    def _unit(self, work: Ready, prepared: Prepared, index: int) -> m.Outcome:
        ended = run(prepared, index, _wait)
        return m.Outcome(
            run=work.run,
            scope=work.scope,
            node=work.node,
            attempt=work.attempt,
            state=_STATES[ended.state],
            value=ended.payload if ended.state == SUCCESS else values.NULL,
            error=unpack_failure(ended.payload) if ended.state == FAILED else None,
            seconds=array("f", [0.0]).tobytes(),
            first=index,
            last=index + 1 if index >= 0 else -1,
        )


def _range(work: Ready, first: int, last: int) -> Ready:
    return msgspec.structs.replace(work, first=first, last=last)


def _wait(awaitable: Awaitable[Any]) -> Any:
    raise AssertionError("the tasks of the tests are plain functions")
