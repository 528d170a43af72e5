"""The client: what a program does with runs. Submit, wait, cancel, watch, list.

    async with Client.connect() as client:
        run = await client.submit_task(send_mail, "ada@example.org")    # the server has it: it cannot be lost
        print(await run.result())

A submission is a future: it is done, with the `Run`, once the server has it. Futures are cheaper than coroutines, and
what is submitted in the same moment travels together (`outbox`): so `asyncio.gather` over many of them is quick.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from flowc import plan as plans
from flowc.plan import Plan

from flowrun import messages, where
from flowrun.errors import FlowError
from flowrun.manifest import Variable
from flowrun.messages import (
    Again,
    BackfillState,
    Cancel,
    Control,
    Event,
    LogNote,
    Presence,
    RunRecord,
    Scheduled,
    Submit,
    TriggerState,
    pack,
    pack_events,
)
from flowrun.parameters import ArgumentError, encode_arguments
from flowrun.partitions import config, partition_of
from flowrun.records import read_record
from flowrun.run_ids import RunIds
from flowrun.settings import Settings
from flowrun.sources import home_of
from flowrun.transport import Transport
from flowrun.where import server_url

from .by_hand import ByHand, StepEnd, mark_of
from .clock import Clock
from .deployed import DeployedFlows
from .errors import Refused, UnknownRun
from .events import RunEvents, run_lines
from .mailbox import Mailbox
from .options import OPTIONS, Options, with_flow_key
from .outbox import Outbox
from .prepared import Canvas
from .questions import Questions
from .requests import Requests
from .results import plain_value
from .run import Run
from .slas import SlaReport
from .status import Approval, ApprovalList, Rerun, RunList, RunStatus, TriggerList
from .stored import Blobs, Stored
from .tasks import TaskSpec, spec_of
from .variables import VariableInfo, Variables
from .waits import Waits
from .world import World, user_name

if TYPE_CHECKING:
    from flowrun.ingress.refusals import Refused as RefusedEvents

    from .backfills import Arguments, BackfillRun, Backfills, Only, PlannedWindow
    from .reruns import Prepared
    from .window_range import Moment

__all__ = ["Client", "TaskCall", "read_plan"]

T = TypeVar("T")

_PLAN_FILE = ".flowplan"
#: plans of flows, and functions, whose encoded form is kept
_MOST_KEPT = 1_000
#: submissions of `submit_many` that are made before the first of them are waited for
_CHUNK = 10_000
#: between two looks for a run that nobody knows, in seconds: its submission may be on its way
_UNKNOWN_SECONDS = 1.0
#: nodes say that they live every second; so long is listened to them
_NODES_SECONDS = 1.3


class Client:
    """Made by `Client.connect`, or by `Client.over` a transport. Belongs to the event loop that made it. Methods raise
    TransportError when the server does not answer, and StoreError when it cannot store."""

    def __init__(self, transport: Transport, settings: Settings, count: int, partition: str | None) -> None:
        self._transport, self._settings = transport, settings
        self.loop = asyncio.get_running_loop()
        #: partitions of the environment, and the one that all runs of this client belong to, if there is only one
        self._count, self._partition = count, "0" if partition is None and count == 1 else partition
        #: the connection ends with the client
        self._owns_transport = False
        self._mailbox = Mailbox(transport)
        self._ids = RunIds()
        self._clock = Clock()
        self._stored = Stored(transport)
        self._outbox = Outbox(transport, settings, self._stored, self._clock)
        #: who waits for what; of use to handles only
        self.waits = Waits(transport, self._mailbox.id)
        self._questions = Questions(transport, self._mailbox.id, count)
        self._requests = Requests(self._outbox, self._mailbox.id)
        self._world = World(self._outbox, self._requests, count, partition)
        self._by_hand = ByHand(self._requests, count, partition)
        self._deployed = DeployedFlows(transport, settings.env)
        self._variables = Variables(transport, self._outbox, count, partition)
        #: what was submitted lately: the tasks by function, the plans by identity
        self._specs: dict[Any, TaskSpec] = {}
        self._plans: dict[int, tuple[Plan, str, bytes]] = {}

    @classmethod
    def connect(
        cls, url: str | None = None, env: str = "dev", *, settings: Settings | None = None, partition: str | None = None
    ) -> Connecting:
        """`async with Client.connect() as client:`, or `client = await Client.connect()` and `close` at the end.

        `url`: one server or more, with commas; None: FLOW_NATS_URL, within a task the worker's, else
        nats://127.0.0.1:4222. `partition`: as `over` has it.
        """
        url = url or server_url()
        return Connecting(cls, url, settings or Settings(env=env), partition)

    @classmethod
    async def over(cls, transport: Transport, settings: Settings | None = None, partition: str | None = None) -> Client:
        """A client on a connection that exists, which it does not close. All its runs belong to `partition`, if given,
        else to those of the environment."""
        settings = settings or Settings()
        count = 1
        if partition is None:
            await transport.open_partition("0")  # the first of all may be this client
            count = (await config(transport, settings)).partitions
        self = cls(transport, settings, count, partition)
        await self._mailbox.open(self.waits.ended, self.waits.state, self._questions.listing, self._requests.answered)
        if partition is None:
            await self._outbox.open("0")  # which tells the server's clock
        return self

    async def close(self) -> None:
        """Returns when all submissions have arrived, or the server does not take them."""
        await self._outbox.drain()
        await self._outbox.close()
        await self.waits.close()
        await self._mailbox.close()
        self._stored.close()
        if self._owns_transport:
            await self._transport.close()

    # ---- submit

    def submit(
        self, flow: Plan | str | Path | Canvas, args: Mapping[str, object] | None = None, /, **options: Any
    ) -> asyncio.Future[Run]:
        """Starts a run of a flow: of a plan, a `.flowplan` file, a canvas, or a deployed flow by its name. Options are
        those of `Options`.

        Raises ArgumentError at once, and Busy; the future raises what refuses the submission. Of a deployed flow the
        future raises all of it.
        """
        if not isinstance(flow, Plan | str | Path):
            return self._submit_canvas(flow, options).accepted()
        if isinstance(flow, str) and not flow.endswith(_PLAN_FILE):
            return asyncio.ensure_future(self._submit_deployed(flow, args or {}, options))
        return self._submit_flow(flow, args or {}, _read_options(options)).accepted()

    async def _submit_deployed(self, flow: str, args: Mapping[str, object], options: Mapping[str, Any]) -> Run:
        plan = await self.deployed(flow)
        return await self._submit_flow(plan, args, _read_options(options)).accepted()

    async def deployed(self, flow: str) -> Plan:
        """The plan of a flow that is deployed in the environment. Raises ArgumentError if none of that name is."""
        found = await self._deployed.find(flow)
        if id(found.plan) not in self._plans:  # it is submitted as it was deployed, byte for byte
            _keep(self._plans, id(found.plan), (found.plan, found.digest, found.data))
        return found.plan

    def _submit_canvas(self, canvas: Canvas, options: Mapping[str, Any]) -> Run:
        made = canvas.__flow_submission__()
        found = _read_options({**made.options, **options})
        if found is not None:
            return self._submit_with(found, made.flow, made.digest, made.data, made.args, made.blobs, made.returns)
        return self._submit(made.digest, made.data, made.args, made.blobs, made.returns)

    def _submit_flow(self, flow: Plan | str | Path, args: Mapping[str, object], options: Options | None) -> Run:
        plan, digest, data = self._plan(flow)
        encoded, blobs = encode_arguments(plan, args)
        if plan.idempotency_key is not None:
            options = with_flow_key(options, plan, encoded)
        if options is not None:
            return self._submit_with(options, plan.flow, digest, data, encoded, blobs, None)
        return self._submit(digest, data, encoded, blobs, None)

    def submit_task(self, task: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> asyncio.Future[Run]:
        """Starts a run of a single Python function, or of "module:function". The arguments are those of the function;
        for settings and options see `task`. Raises as `submit`."""
        return self._call(self._spec(task), None, args, kwargs).accepted()

    def submit_task_nowait(self, task: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Run:
        """The same, for who will look later: the handle at once. Its `accepted()` says that the server has it."""
        return self._call(self._spec(task), None, args, kwargs)

    def task(self, task: Callable[..., Any] | str, /, **settings: Any) -> TaskCall:
        """A function with settings: `client.task(send_mail, queue="mail", retry=3, delay="10s")("ada@example.org")`.

        The settings are those of a task (queue, retry, timeout, executor, pool, …; see `task_settings`), over those of
        `@task(...)`, and the options of a submission. Raises ArgumentError.
        """
        options = {name: settings.pop(name) for name in OPTIONS if name in settings}
        return TaskCall(self, self._spec(task, settings), _read_options(options) if options else None)

    async def submit_many(
        self, work: Callable[..., Any] | str | TaskCall | Plan | Path, calls: Iterable[Any], **options: Any
    ) -> list[Run]:
        """Many runs of one task or flow; returns when the server has all. Of a flow, each call is a mapping; of a task
        it is a tuple of arguments, a mapping of named ones, or the only argument. A text is a `.flowplan` file, a
        "module:function", or the name of a deployed flow."""
        work = await self.deployed(name) if (name := _flow_name(work)) else work
        submit = self._submitter(work, options)
        runs: list[Run] = []
        for call in calls:
            runs.append(submit(call))
            if len(runs) % _CHUNK == 0:
                await runs[-_CHUNK // 2].accepted()  # no more than so many wait at the same time
        await self._outbox.arrived({run.letter for run in runs if run.letter is not None})
        return runs

    def _submitter(
        self, work: Callable[..., Any] | str | TaskCall | Plan | Path, options: Mapping[str, Any]
    ) -> Callable[[Any], Run]:
        """What makes a run of each call of `submit_many`."""
        if isinstance(work, Plan | Path) or (isinstance(work, str) and work.endswith(_PLAN_FILE)):
            flow = self._plan(work)[0]  # a file is read once
            read = _read_options(options)
            return lambda call: self._submit_flow(flow, call, read)
        if not isinstance(work, TaskCall):
            return self.task(work, **options).submit_one
        if options:
            raise ArgumentError("a task that `client.task` made has its settings: give all of them there")
        return work.submit_one

    def _call(self, spec: TaskSpec, options: Options | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Run:
        shape, given = spec.call(args, kwargs)
        encoded, blobs = shape.encode(given)
        if options is not None:
            return self._submit_with(options, spec.target, shape.digest, shape.data, encoded, blobs, spec.returns)
        return self._submit(shape.digest, shape.data, encoded, blobs, spec.returns)

    def _submit(self, digest: str, data: bytes, args: bytes, blobs: Blobs, returns: Any) -> Run:
        id = self._ids.new()
        event = Submit(id, digest, args, "manual", self._mailbox.id)
        letter = self._outbox.put(self._partition or partition_of(id, self._count), event, data, blobs)
        run = Run(self, id, letter, returns, True)
        self.waits.add(run)
        return run

    def _submit_with(
        self, options: Options, flow: str, digest: str, data: bytes, args: bytes, blobs: Blobs, returns: Any,
        again: Again | None = None, scheduled: Scheduled | None = None,
    ) -> Run:  # fmt: skip
        now_ms = self._clock.now_ms()
        if again is not None and options.run is None and options.key is None:
            options = msgspec.structs.replace(options, run=self.new_id_beside(again.run))
        id, at_ms = options.run_id(flow, self._ids), options.at_ms(now_ms)
        trigger = "manual" if again is None else f"rerun:{again.run}"
        submit = Submit(id, digest, args, trigger, self._mailbox.id, again=again, scheduled=scheduled)
        event = options.apply(submit, at_ms or now_ms)
        partition = self.partition_of(id)
        if at_ms is None:
            letter = self._outbox.put(partition, event, data, blobs)
        else:
            letter = self._outbox.put_at(partition, event, at_ms, data, blobs)
        told, known = options.key is None, self.waits.get(id)
        if known is not None and known.record is None:  # the same key, again
            known.letter, known.told = letter, known.told or told
            return known
        run = Run(self, id, letter, returns, told)
        self.waits.add(run)
        return run

    def _plan(self, flow: Plan | str | Path) -> tuple[Plan, str, bytes]:
        """A plan, its content hash and its bytes."""
        if not isinstance(flow, Plan):
            flow = read_plan(flow)
        known = self._plans.get(id(flow))
        if known is None:
            made = flow if flow.code else msgspec.structs.replace(flow, code=where.code())  # its tasks are found here
            data = plans.encode(made)
            known = _keep(self._plans, id(flow), (flow, plans.digest(data), data))
        return known

    def _spec(self, task: Callable[..., Any] | str, settings: Mapping[str, Any] | None = None) -> TaskSpec:
        key = (task, repr(sorted(settings.items()))) if settings else task
        try:
            spec = self._specs.get(key)
        except TypeError:  # no function that was ever defined
            raise ArgumentError(f'a task is a function or "module:function", and {task!r} is neither') from None
        return spec or _keep(self._specs, key, spec_of(task, settings or {}))

    # ---- runs

    # Where a run is wanted, its handle does as well as its id.

    def run(self, run: Run | str) -> Run:
        """A handle of a run that anybody submitted. (Whether there is such a run, `status` tells.)"""
        if isinstance(run, Run):
            return run
        handle = self.waits.get(run)
        if handle is None:
            handle = Run(self, run, None, None, told=False)
            self.waits.add(handle)
        return handle

    async def wait(self, run: Run | str, timeout: float | None = None) -> RunRecord:
        """The record of a run once it has ended. `timeout` in seconds. Raises UnknownRun, WaitTimeout."""
        handle = self.run(run)
        if handle.letter is None:  # it is not ours: is there such a run?
            await self.status(handle)
        return await handle.wait(timeout)

    async def result(self, run: Run | str, timeout: float | None = None) -> Any:
        """The value of a run once it has ended, as plain data. Raises UnknownRun, RunFailed, WaitTimeout."""
        handle = self.run(run)
        if handle.letter is None:
            await self.status(handle)
        return await handle.result(timeout)

    async def record(self, run: Run | str) -> RunRecord | None:
        """The record of a run if it has ended."""
        data = await self._transport.get_result(_id(run))
        return None if data is None else await read_record(self._transport, data)

    async def value(self, record: RunRecord) -> Any:
        """A run's value as plain data: dates and the like are strings, as in JSON (and bytes are bytes)."""
        return await plain_value(self._transport, record.result)

    async def cancel(self, run: Run | str, step: str = "", reason: str = "cancelled") -> None:
        """Asks for a run's end, or for that of a step or a box of steps; returns when that cannot be lost. A run that
        waits for its time never begins. It is cancelled when its record says so."""
        run = _id(run)
        partition = self.partition_of(run)
        await self._outbox.open(partition)
        if not step and await self._transport.cancel_delayed(partition, run):
            await self._end_unborn(run, reason)
        event = Cancel(run=run, reason=reason, step=step)
        await self._transport.append(partition, pack_events([event]), f"cancel/{self._ids.new()}")

    async def _end_unborn(self, run: str, reason: str) -> None:
        """Nobody but us can write the record of a run that never began."""
        now = self._clock.now_ms()
        record = RunRecord(
            run=run, flow="", state="cancelled", result=b"\xc0", error=None, failed_step=None, started_ms=now,
            ended_ms=now, steps=(),
        )  # fmt: skip
        await self._transport.put_results([(run, pack(record))], self._settings.keep_results)
        self.waits.end(record)

    async def status(self, run: Run | str) -> RunStatus:
        """How a run stands. Raises UnknownRun if nobody knows it (any more)."""
        run = _id(run)
        partition = self.partition_of(run)
        for is_last in (False, True):
            record = await self.record(run)
            if record is not None:
                self.waits.end(record)
                return RunStatus(run=run, state=record.state, record=record)
            known = await self._questions.run(run, partition)
            if known is not None and known.runs:
                return RunStatus(run=run, state="running", summary=known.runs[0])
            at_ms = await self._delayed_until(run, partition)
            if at_ms is not None:
                return RunStatus(run=run, state="delayed", at_ms=at_ms)
            if known is None:
                return RunStatus(run=run, state="unseen")
            if not is_last:
                await asyncio.sleep(_UNKNOWN_SECONDS)  # it may have begun, or ended, in between
        raise UnknownRun(
            f"there is no run `{run}` in the environment `{self._settings.env}`: it was never submitted, or it ended "
            "so long ago that its record is gone"
        )

    async def _delayed_until(self, run: str, partition: str) -> int | None:
        with suppress(FlowError):  # there is no such partition yet
            for delayed in await self._transport.delayed(partition):
                if delayed.name == run:
                    return delayed.at_ms
        return None

    def events(self, run: Run | str) -> RunEvents:
        """As `Run.events`. May be opened before the run is submitted: then nothing of it is missed."""
        return RunEvents(self._transport, self.waits, self.run(run))

    def lines(self, run: Run | str, follow: bool = False) -> AsyncIterator[LogNote]:
        """What the tasks of a run wrote, as far as it is kept; with `follow`, also what they write until it ends."""
        return run_lines(self._transport, self.waits, self.run(run), follow)

    # ---- what runs wait for

    async def signal(self, run: Run | str, name: str, value: object = None, *, by: str = "") -> None:
        """Sends a signal into a run; returns when it was taken, or is kept until a step waits for it (also where the
        run itself waits for its time). `by`: who says so, else the user of this process. Raises Refused where the
        signal is not one of the flow's, its value not of the declared type, or the run has ended; UnknownRun."""
        run = _id(run)
        partition = self.partition_of(run)
        try:
            await self._world.signal(partition, run, name, value, by, False)
        except Refused as error:
            if error.code != "unknown":
                raise
            if await self._delayed_until(run, partition) is None:
                raise UnknownRun(str(error)) from None
            await self._world.signal(partition, run, name, value, by, True)

    async def emit(self, subject: str, value: object = None, *, key: str = "") -> None:
        """Says that something happened: all steps that wait for this subject and key go on, with the value. Returns
        when that cannot be lost. Who begins to wait later waits for the next one."""
        await self._world.emit(subject, key, value)

    async def approve(self, run: Run | str, step: str = "", *, note: str | None = None, by: str = "") -> str:
        """Approves what a step waits for: of the only one that does, or "step", "step[3]" in an `each`, "call.step" in
        a child run. Gives the step's name. `by`: as `signal`. Raises Refused, also where somebody decided before."""
        return await self._world.decide(self.partition_of(_id(run)), _id(run), step, True, note, by)

    async def reject(self, run: Run | str, step: str = "", *, note: str | None = None, by: str = "") -> str:
        """As `approve`, with the other answer."""
        return await self._world.decide(self.partition_of(_id(run)), _id(run), step, False, note, by)

    async def approvals(self, run: Run | str = "", limit: int = 1_000) -> ApprovalList:
        """What waits for somebody's decision, the oldest first: in a run, or in all."""
        run = _id(run)
        partition = self.partition_of(run) if run else self._partition or ""
        found, silent = await self._questions.approvals(run, partition, limit)
        return ApprovalList(approvals=tuple([await self._approval(one) for one in found]), silent=silent)

    async def _approval(self, found: messages.Approval) -> Approval:
        group, title, show = [
            await plain_value(self._transport, data) for data in (found.group, found.title, found.show)
        ]
        return Approval(
            run=found.run, flow=found.flow, step=found.step, group=group or "", title=title or "", show=show,
            since_ms=found.since_ms, until_ms=found.until_ms or None,
        )  # fmt: skip

    # ---- by hand

    async def pause(self, run: Run | str, *, note: str = "", by: str = "") -> None:
        """Starts nothing new of a run until it is resumed; what runs goes on to its end. `note`: why; `by`: as
        `signal`; both stand in the run's record. Raises Refused if it has ended, UnknownRun."""
        run = _id(run)
        await self._by_hand.of_run(self.partition_of(run), Control("pause", run, by=by, note=note))

    async def resume(self, run: Run | str, *, note: str = "", by: str = "") -> str:
        """Lets a paused run go on; gives what is worth knowing (it was not paused; its flow is). Raises as `pause`."""
        run = _id(run)
        return await self._by_hand.of_run(self.partition_of(run), Control("resume", run, by=by, note=note))

    async def pause_flow(self, flow: str, *, note: str = "", by: str = "") -> None:
        """Pauses all runs of a flow in the environment; those that are submitted from now on wait to begin."""
        await self._by_hand.of_flow(Control("pause", flow=flow, by=by, note=note))

    async def resume_flow(self, flow: str, *, note: str = "", by: str = "") -> None:
        """Lets the runs of a flow go on, but for those that were paused by themselves."""
        await self._by_hand.of_flow(Control("resume", flow=flow, by=by, note=note))

    async def mark(
        self, run: Run | str, step: str, end: StepEnd = "success", value: object = None, *, note: str = "", by: str = ""
    ) -> None:
        """Ends a step that has not ended ("call.step" in a child run); what it does is given up. `value`: of a step
        that is marked as success. Raises Refused, with the reason, UnknownRun, ArgumentError."""
        run = _id(run)
        await self._by_hand.of_run(self.partition_of(run), mark_of(run, step, end, value, note, by))

    async def rerun(
        self,
        run: Run | str,
        /,
        from_steps: Sequence[str] = (),
        args: Mapping[str, object] | None = None,
        *,
        plan: Plan | str | Path | None = None,
        whole: bool = False,
        note: str = "",
        by: str = "",
        **options: Any,
    ) -> Run:
        """Starts a run that takes over the results of an ended one, and runs again what failed, `from_steps`, what
        depends on other `args`, and all that comes after these; `whole`: everything. With another `plan`, what is not
        the same work there runs, too. Options are those of `Options`. Raises Refused, with the reason, UnknownRun,
        ArgumentError."""
        prepared = await self._prepared(_id(run), from_steps, args or {}, plan, whole, note, by)
        await prepared.renew(self._transport)
        again = self._submit_with(
            _read_options(options) or Options(), prepared.plan.flow, prepared.digest, prepared.data, prepared.args,
            prepared.blobs, None, prepared.again, prepared.scheduled,
        )  # fmt: skip
        return await again.accepted()

    async def preview_rerun(
        self,
        run: Run | str,
        /,
        from_steps: Sequence[str] = (),
        args: Mapping[str, object] | None = None,
        *,
        plan: Plan | str | Path | None = None,
        whole: bool = False,
    ) -> Rerun:
        """What `rerun` would do. Raises what it raises."""
        return (await self._prepared(_id(run), from_steps, args or {}, plan, whole, "", "")).what

    async def _prepared(
        self, run: str, steps: Sequence[str], args: Mapping[str, object], plan: Plan | str | Path | None, whole: bool,
        note: str, by: str,
    ) -> Prepared:  # fmt: skip
        from .reruns import prepare  # start-up time: it needs the engine

        again = Again(run, "", tuple(steps), whole, by or user_name(), note)
        record = await self._ended_record(run)
        return await prepare(self._transport, record, again, args, None if plan is None else self._plan(plan))

    async def plan_of(self, run: Run | str) -> Plan:
        """The plan of an ended run that can be run again. Raises Refused, UnknownRun."""
        from .reruns import plan_of  # start-up time: it needs the engine

        return await plan_of(self._transport, await self._ended_record(_id(run)))

    async def _ended_record(self, run: str) -> RunRecord:
        status = await self.status(run)
        if status.record is None:
            raise Refused(f"run {run} has not ended ({status.state}): cancel it, or wait for its end")
        return status.record

    # ---- triggers

    async def triggers(self, flow: str = "", limit: int = 1_000) -> TriggerList:
        """What is deployed and starts runs by itself (of a flow), by name."""
        return await self._questions.triggers("", flow, self._partition or "", limit)

    async def trigger(self, name: str) -> TriggerState:
        """How "flow.trigger" stands, with its last runs. Raises Refused if it is not deployed, or nobody leads its
        partition."""
        home = self._partition or home_of(name, self._count)
        found = await self._questions.triggers(name, "", home, 1)
        if found.triggers:
            return found.triggers[0]
        if found.silent:
            raise Refused(f"nobody leads the partition of trigger `{name}` just now: is a node running?")
        raise Refused(f"no trigger `{name}` is deployed")

    async def pause_trigger(self, name: str, *, note: str = "", by: str = "") -> str:
        """Starts nothing of "flow.trigger" until it is resumed; runs go on. Gives what is worth knowing. Raises
        Refused if it is not deployed."""
        return await self._of_trigger(Control("pause", trigger=name, by=by, note=note))

    async def resume_trigger(self, name: str, *, note: str = "", by: str = "") -> str:
        """Lets it tick again; what becomes of the times that went by its `missed` says. As `pause_trigger`."""
        return await self._of_trigger(Control("resume", trigger=name, by=by, note=note))

    async def refused_by(self, trigger: str) -> RefusedEvents:
        """What came for a trigger from outside, and started nothing since it did not fit."""
        from flowrun.ingress.refusals import read_refusals  # start-up time

        return await read_refusals(self._transport, trigger)

    async def _of_trigger(self, control: Control) -> str:
        home = self._partition or home_of(control.trigger, self._count)
        return await self._by_hand.of_trigger(home, control)

    # ---- backfills

    async def backfill(
        self,
        target: str,
        first: Moment,
        last: Moment,
        /,
        args: Arguments | None = None,
        *,
        reverse: bool = False,
        only: Only = "open",
        concurrency: int = 16,
        by: str = "",
    ) -> BackfillRun:
        """Runs a deployed flow for the windows of its trigger ("flow", or "flow.trigger" where it has several) that
        begin between two days of the trigger's zone, both counted; gives a handle once the server has them. What has
        succeeded is kept, what runs is not started again; what asks for the same is the same backfill. `only`:
        "failed" runs what failed, but not what never ran. Raises ArgumentError, Refused."""
        return await self._backfills().start(
            target, first, last, reverse=reverse, only=only, concurrency=concurrency, args=args or {}, by=by
        )

    async def preview_backfill(
        self, target: str, first: Moment, last: Moment, /, *, reverse: bool = False, only: Only = "open"
    ) -> list[PlannedWindow]:
        """What `backfill` would do, window by window. Raises what it raises."""
        return await self._backfills().preview(target, first, last, reverse=reverse, only=only)

    async def find_backfill(self, name: str) -> BackfillRun:
        """A handle of a backfill that anybody began. Raises Refused if there is none."""
        return await self._backfills().handle(name)

    async def backfills(self, limit: int = 100) -> tuple[BackfillState, ...]:
        """Backfills that run, and the latest that ended; what began last comes first."""
        return await self._backfills().all(limit)

    def _backfills(self) -> Backfills:
        from .backfills import Backfills  # start-up time: it needs calendars

        return Backfills(self._transport, self._requests, self._questions, self._clock, self._count)

    async def ask(self, partition: str, event: Callable[[str, str], Event], size: int = 0) -> bytes:
        """Sends an event that wants an answer; see `Requests.ask`."""
        return await self._requests.ask(partition, event, size)

    # ---- all of them

    async def list(self, flow: str = "", limit: int = 100) -> RunList:
        """Runs that have not ended, the newest first; only those of a flow, if it is given."""
        return await self._questions.runs(flow, limit)

    async def service_levels(self, flow: str = "", since_ms: int = 0, misses: int = 100) -> SlaReport:
        """How often service levels were met and missed (those of a flow) since the day of this time (milliseconds since
        1970), and the last misses."""
        return await self._questions.slas(flow, since_ms, misses)

    async def set_var(self, name: str, value: object, *, by: str = "", declared: Iterable[Variable] = ()) -> None:
        """Sets a variable of the environment, for all runs that begin from now on. `declared`: declarations that count
        besides those of what is deployed. Raises ArgumentError (nobody declares it, or with another type), Conflict."""
        await self._variables.set(name, value, by, declared)

    async def unset_var(self, name: str, *, by: str = "") -> None:
        """From now on its default holds. Raises ArgumentError if it is not set, Conflict."""
        await self._variables.unset(name, by)

    async def get_var(self, name: str) -> Any:
        """What runs that begin now see, as plain data; None if it has neither a value nor a default. Raises
        ArgumentError for a name that nobody declares."""
        return (await self._variables.get(name)).value

    async def var(self, name: str) -> VariableInfo:
        """What is known of a variable. Raises ArgumentError for a name that nobody declares."""
        return await self._variables.get(name)

    async def vars(self) -> tuple[VariableInfo, ...]:
        """All variables that are declared or set, by name."""
        return await self._variables.all()

    async def nodes(self) -> tuple[Presence, ...]:
        """The nodes that live. Takes a second or so: each says so once a second."""
        return await self._questions.nodes(_NODES_SECONDS)

    def new_id_beside(self, run: str) -> str:
        """An id for a run that belongs to the same partition as another one: a rerun counts there for the window that
        both stand for."""
        wanted = self.partition_of(run)
        while True:
            id = self._ids.new()
            if self.partition_of(id) == wanted:
                return id

    def partition_of(self, run: str) -> str:
        """The partition that a run belongs to."""
        return partition_of(run, self._count) if self._partition is None else self._partition


class TaskCall:
    """A function with settings and options. Made by `Client.task`; calling it submits."""

    __slots__ = ("_client", "_options", "_spec")

    def __init__(self, client: Client, spec: TaskSpec, options: Options | None) -> None:
        self._client, self._spec, self._options = client, spec, options

    def __call__(self, *args: Any, **kwargs: Any) -> asyncio.Future[Run]:
        """Starts a run with these arguments of the function. As `Client.submit_task`."""
        return self._client._call(self._spec, self._options, args, kwargs).accepted()

    def nowait(self, *args: Any, **kwargs: Any) -> Run:
        """As `Client.submit_task_nowait`."""
        return self._client._call(self._spec, self._options, args, kwargs)

    def submit_one(self, call: Any) -> Run:
        """One call of `Client.submit_many`."""
        if isinstance(call, tuple):
            return self.nowait(*call)
        return self.nowait(**call) if isinstance(call, Mapping) else self.nowait(call)


class Connecting(Awaitable[Client]):
    """What `Client.connect` gives: awaited or entered, it connects."""

    def __init__(self, kind: type[Client], url: str, settings: Settings, partition: str | None) -> None:
        self._kind, self._url, self._settings, self._partition = kind, url, settings, partition
        self._client: Client | None = None

    def __await__(self) -> Generator[Any, None, Client]:
        return self._open().__await__()

    async def _open(self) -> Client:
        from flowrun.nats.transport import NatsTransport  # start-up time: whoever only names the client needs no NATS

        transport = await NatsTransport.connect(self._url, self._settings, "flow client")
        try:
            client = await self._kind.over(transport, self._settings, self._partition)
        except BaseException:
            await transport.close()
            raise
        client._owns_transport = True
        return client

    async def __aenter__(self) -> Client:
        self._client = await self._open()
        return self._client

    async def __aexit__(self, *exc: object) -> None:
        assert self._client is not None
        await self._client.close()


def read_plan(file: str | Path) -> Plan:
    """The plan in a `.flowplan` file. Raises ArgumentError."""
    if isinstance(file, str) and not file.endswith(_PLAN_FILE):
        raise ArgumentError(f"`{file}` is no plan: compile the flow (`flowc compile`) and give its .flowplan file")
    try:
        return plans.read_file_bytes(Path(file).read_bytes())
    except OSError as error:
        raise ArgumentError(f"the plan {file} cannot be read: {(error.strerror or str(error)).lower()}") from error
    except plans.PlanError as error:
        raise ArgumentError(f"{file}: {error}") from error


def _flow_name(work: object) -> str:
    """Of a deployed flow, where a text is neither a plan's file nor a function; else ""."""
    return work if isinstance(work, str) and ":" not in work and not work.endswith(_PLAN_FILE) else ""


def _id(run: Run | str) -> str:
    return run.id if isinstance(run, Run) else run


def _read_options(given: Mapping[str, Any]) -> Options | None:
    if not given:
        return None
    for name in given:
        if name not in OPTIONS:
            raise ArgumentError(f"a submission has no option `{name}`: there are {', '.join(OPTIONS)}")
    return Options(**given)


def _keep(kept: dict[Any, T], key: object, value: T) -> T:
    """Remembers a value, and forgets the oldest of too many."""
    while len(kept) >= _MOST_KEPT:
        del kept[next(iter(kept))]
    kept[key] = value
    return value
