"""The engine, with the plans that it needs, and what is done when it fails.

A run whose event the engine cannot digest ends as failed, with an error that says so, and the others go on. As `decide`
is deterministic, a replay ends it the same way; what was taken into a snapshot stays ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import msgspec
from flowc import plan as plans
from flowc.plan import BatchDef, EachNode, Plan, TaskNode

from flowrun.backlog import Task
from flowrun.deployments.reading import read_manifest
from flowrun.durations import EXPRESSION
from flowrun.engine import Engine
from flowrun.engine.commands import Command, EndRun, Ready
from flowrun.errors import StoreError
from flowrun.lineage import datasets_of_run
from flowrun.lineage_reports import RunReport, StepReport
from flowrun.manifest import DatasetUse, ManifestError
from flowrun.messages import Event, Failure, RunRecord
from flowrun.snapshots import Snapshot
from flowrun.transport import Transport

from .events import weight_of

__all__ = ["Fold"]

log = logging.getLogger("flow.coordinator")

#: plans that are kept whether a run is of them or not
_MOST_PLANS = 1_000
#: tasks whose function is remembered
_MOST_FUNCTIONS = 100_000
#: msgpack null
_NULL = b"\xc0"


class Fold:
    """State of a partition. `decide` may be called for a Submit only after `prepare`."""

    def __init__(self, transport: Transport, partition: str, partitions: int) -> None:
        self._transport = transport
        self.engine = Engine(partition, partitions)
        self._plans: dict[str, Plan] = {}
        #: when there are so many, those that no run is of are forgotten
        self._most_plans = _MOST_PLANS
        #: what `function_of` says
        self._functions: dict[Task, str] = {}
        #: what `batch_of` says
        self._batches: dict[Task, BatchDef | None] = {}
        #: what `uses_of` says, by plan
        self._uses: dict[str, tuple[DatasetUse, ...]] = {}
        #: run that the engine failed on -> its record; until that is stored
        self.broken: dict[str, RunRecord] = {}
        #: run that the engine failed on -> who is told of its end
        self._clients: dict[str, str] = {}
        #: the last time that the engine was told, milliseconds since 1970
        self.now_ms = 0

    # ---- plans

    async def load(self, digests: Iterable[str]) -> None:
        """Makes plans known to the engine, or why they cannot be had. Raises TransportError."""
        await asyncio.gather(*(self._load(digest) for digest in digests))

    def forget_plans(self) -> None:
        """Drops those that no run is of, when there are many; not while an event is to be decided that needs one."""
        if len(self._plans) >= self._most_plans:
            used = self.engine.forget_plans()
            self._plans = {digest: plan for digest, plan in self._plans.items() if digest in used}
            self._most_plans = max(_MOST_PLANS, 2 * len(self._plans))
            self._uses.clear()

    async def load_image(self, digest: str) -> None:
        """Makes what is left of an earlier run known to the engine, if it can be had. Raises TransportError."""
        try:
            self.engine.add_image(digest, await self._transport.get_blob(digest))
        except StoreError as error:
            log.warning("the image %s of a run cannot be had: %s", digest, error)

    async def load_manifest(self, digest: str) -> None:
        """Makes what is deployed of a project known to the engine, if it can be had. Raises TransportError."""
        try:
            self.engine.add_manifest(digest, await read_manifest(self._transport, digest))
        except (StoreError, ManifestError) as error:
            log.warning("the manifest %s of a deployment cannot be had: %s", digest, error)

    async def _load(self, digest: str) -> None:
        try:
            plan = plans.decode(await self._transport.get_blob(digest))
        except (StoreError, plans.PlanError) as error:
            log.warning("plan %s cannot be had: %s", digest, error)
            self.engine.add_plan_failure(digest, str(error))
            return
        self._plans[digest] = plan
        self.engine.add_plan(digest, plan)

    def function_of(self, task: Task) -> str:
        """What a task calls, the same for all that call the same; "" if that is not known."""
        found = self._functions.get(task)
        if found is None:
            if len(self._functions) >= _MOST_FUNCTIONS:
                self._functions.clear()
                self._batches.clear()
            found = self._functions[task] = self._function(*task)
        return found

    def batch_of(self, task: Task) -> BatchDef | None:
        """How calls of it are executed together, if they are."""
        try:
            return self._batches[task]
        except KeyError:
            node, plan = self._task_node(*task)
            found = None if node is None or plan is None else plan.settings[node.settings].batch
            if plan is not None:
                self._batches[task] = found
            return found

    def code_of(self, digest: str) -> str:
        """The code that the tasks of a plan are in; "": that of the workers' own projects, or the plan is not known."""
        plan = self._plans.get(digest)
        return "" if plan is None else plan.code

    def runs_once(self, ready: Ready) -> bool:
        """It is not to be begun again when it may have begun."""
        node, plan = self._task_node(ready.plan, ready.flow, ready.block, ready.node)
        return node is not None and plan is not None and plan.settings[node.settings].at_most_once

    def _function(self, digest: str, flow: str, block: int, number: int) -> str:
        node, plan = self._task_node(digest, flow, block, number)
        if plan is None:
            return ""  # it stands in the work stream for a run that is gone
        if node is None:
            return EXPRESSION
        called = plan.tasks[node.task]
        return f"{called.operator} {called.target or f'{digest} {flow} {called.name}'}{self.code_of(digest)}"

    def _task_node(self, digest: str, flow: str, block: int, number: int) -> tuple[TaskNode | None, Plan | None]:
        """The call that a task is, and its plan; of what is no call only the plan; nothing of a plan that is not
        known."""
        plan = self._plans.get(digest)
        if plan is None:
            return None, None
        plan = plan.children[flow] if flow else plan
        node = plan.blocks[block].nodes[number]
        if isinstance(node, EachNode) and node.simple:
            body = plan.blocks[node.body]
            node = body.nodes[body.params]
        return (node if isinstance(node, TaskNode) else None), plan

    # ---- events

    def decide(self, event: Event, time_ms: int, seq: int) -> list[Command]:
        """What follows. `time_ms`: the message's stamp; decisions never go back in time."""
        if time_ms > self.now_ms:
            self.now_ms = time_ms
        try:
            return self.engine.decide(event, self.now_ms, seq)
        except Exception as error:  # the engine has a defect: only this run pays for it
            return self._without(event, error, seq)

    def _without(self, event: Event, error: Exception, seq: int) -> list[Command]:
        """What follows from an event without the runs that the engine cannot go on with. What it did decide before it
        failed stays, and is not decided again: to do what was done before changes nothing."""
        commands: list[Command] = []
        for _ in range(weight_of(event)):
            run = self.engine.deciding
            log.error(
                "run %s ends as failed: the engine could not digest %s", run, type(event).__name__, exc_info=error
            )
            commands += self._give_up(run, event, error)
            try:
                return commands + self.engine.decide(event, self.now_ms, seq)
            except Exception as another:  # of another run
                error = another
        return commands

    def _give_up(self, run: str, event: Event, error: Exception) -> list[Command]:
        """Ends a run that the engine cannot go on with; gives what that means for others."""
        known = self.engine.peek(run)
        plan = self._plans.get(known.plan if known else getattr(event, "plan", ""))
        commands = self.engine.abandon(run)
        failure = Failure(
            type="InternalError",
            message=f"the engine failed on this run ({type(error).__name__}: {error}). This is a defect of flowc, "
            "not of your flow: please report it, with the lines that the log has about it",
            retryable=False,
        )
        if run:
            self.broken[run] = RunRecord(
                run=run, flow=plan.flow if plan else "", state="failed", result=_NULL, error=failure, failed_step=None,
                started_ms=self.now_ms, ended_ms=self.now_ms, steps=(),
            )  # fmt: skip
            self._clients[run] = known.client if known else getattr(event, "client", "")
            commands.append(EndRun(run, self._clients[run]))
        return commands

    # ---- runs that ended

    def record(self, run: str) -> RunRecord:
        """Of a run that ended and was not forgotten."""
        broken = self.broken.get(run) if self.broken else None
        return broken or self.engine.record(run)

    def image(self, run: str) -> bytes:
        """What is left of a run that ended, encoded; b"": nothing of use."""
        return b"" if run in self.broken else self.engine.image(run)

    def uses_of(self, run: str) -> tuple[DatasetUse, ...]:
        """The datasets that the steps of a run read and update."""
        lone = self.engine.singles.get(run)
        known = self.engine.peek(run) if lone is None and run not in self.broken else None
        tables = lone.tables if lone is not None else known.tables if known is not None else None
        if tables is None:
            return ()
        found = self._uses.get(tables.digest)
        if found is None:
            found = self._uses[tables.digest] = datasets_of_run(tables.plan)
        return found

    def beginning_of(self, run: str) -> RunReport | None:
        """What is told of a run that begins; None if its steps use no datasets."""
        uses, known = self.uses_of(run), self.engine.peek(run)
        if not uses or known is None:
            return None
        reads = tuple(dict.fromkeys(use.dataset for use in uses if use.use == "reads"))
        return RunReport(
            run, known.flow, "running", known.submitted_ms, 0, known.trigger, known.scheduled, "",
            (StepReport("", True, reads),),
        )  # fmt: skip

    def client_of(self, run: str) -> str:
        """Who submitted it and is to be told; "": nobody."""
        if run in self.broken:
            return self._clients.get(run, "")
        known = self.engine.peek(run)
        return known.client if known else ""

    def forget(self, run: str) -> None:
        """Its record is stored."""
        if self.broken:
            self.broken.pop(run, None)
            self._clients.pop(run, None)
        self.engine.forget(run)

    # ---- snapshots

    async def restore(self, snapshot: Snapshot) -> None:
        """Begins with the state of a snapshot. Raises TransportError, and StoreError if it cannot be read."""
        try:
            needed = self.engine.restore(snapshot.engine, snapshot.parts)
        except msgspec.DecodeError as error:
            raise StoreError(f"a snapshot cannot be read ({error}): another version wrote it") from error
        self.now_ms = snapshot.time_ms
        await self.load(needed)
        self.broken.update((record.run, record) for record in snapshot.broken)
