"""The shell around `engine`: reads a partition's inbox, lets the engine decide, does what it asks for.

Take-over: clear the partition's work (whoever held it is gone), then fold the inbox up to its last message; nothing
is dispatched meanwhile. What then stands in the engine's state is what is still owed: outstanding work is dispatched,
timers are armed, records of ended runs are stored if they are not. From there it goes on live, in batches: decide
each event, store blobs, dispatch bundles, send notes. Dispatches are not waited for one by one; whatever fails in the
background ends the coordinator, and the next one starts from the inbox.

A damaged or unknown message is logged and skipped. A run whose events the engine cannot digest ends as failed, with an
error that says so, and the others go on; as `decide` is deterministic, a replay ends it the same way.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Iterable
from typing import TypeVar

from flowc import plan as plans
from flowc.plan import BranchNode, Plan, ValueNode

from .background import Background
from .dispatch import Cut, Dispatcher
from .engine import Engine
from .engine.commands import Changed, ClearTimer, Command, EndRun, PutBlob, Ready, Revoke, SetTimer
from .errors import FlowError, StoreError
from .messages import (
    Cancel,
    Event,
    Failure,
    Lost,
    MessageError,
    Outcome,
    Results,
    Revoked,
    RunRecord,
    StateNote,
    Submit,
    TimerFired,
    WorkItem,
    pack,
    unpack_event,
)
from .notes import Notes
from .records import renew_result, write_record
from .settings import Settings
from .timers import ServerClock, Timers
from .transport import Record, Transport

__all__ = ["Coordinator"]

log = logging.getLogger("flow.coordinator")

_OfRun = TypeVar("_OfRun", Outcome, WorkItem)

#: an expression takes about this long, in seconds
_EXPRESSION_SECONDS = 0.0005
#: msgpack null
_NULL = b"\xc0"
#: blobs and records that are stored at the same time
_STORES = 64


class Coordinator:
    """The coordinator of one partition. `slots`: how many items its workers run at the same time."""

    def __init__(self, transport: Transport, partition: str, slots: int, settings: Settings | None = None) -> None:
        self._transport, self._partition = transport, partition
        self._settings = settings or Settings()
        #: in the keys of what this coordinator writes: no other has it
        self._prefix = f"{partition}-{secrets.token_hex(4)}"
        self._engine = Engine()
        self._plans: dict[str, Plan] = {}
        #: run -> the hash of its plan
        self._plan_of: dict[str, str] = {}
        self._dispatcher = Dispatcher(partition, self._prefix, slots, self._settings)
        self._background = Background()
        self._stores = asyncio.Semaphore(_STORES)
        self._notes = Notes(self._settings.note_interval, self._send_note)
        self._clock = ServerClock()
        self._timers = Timers(self._clock, self._fire)
        #: (run, timer) -> loop time at which its event was sent
        self._fired: dict[tuple[str, str], float] = {}
        self._fired_count = 0
        #: the last time that the engine was told, milliseconds since 1970
        self._now = 0
        #: ended by an error of the engine
        self._broken: set[str] = set()
        self._live = False
        #: runs that the take-over saw end, with the record where the engine has none
        self._ended_before: dict[str, RunRecord | None] = {}
        #: set once the take-over is done
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Takes over and works until it is cancelled. Raises TransportError, StoreError."""
        try:
            await self._background.watch(self._work())
        finally:
            self._timers.stop()
            self._notes.stop()
            await self._background.stop()

    async def _work(self) -> None:
        transport, partition = self._transport, self._partition
        await transport.open_partition(partition)
        await transport.clear_work(partition)
        last = await transport.last_seq(partition)
        seen = 0
        if not last:
            self._go_live()
        async for batch in transport.read(partition, 0):
            old = [record for record in batch if record.seq <= last]
            new = [record for record in batch if record.seq > last]
            if old:
                await self._handle(old)
                seen = old[-1].seq
            if not self._live and (new or seen >= last):
                self._go_live()
            if new:
                self._clock.saw(new[-1].time_ms)
                await self._handle(new)

    def _go_live(self) -> None:
        """The take-over's end: does what the past still asks for."""
        self._live = True
        self._do(self._engine.outstanding())
        self._do(self._engine.timers())
        for run, record in self._ended_before.items():
            self._background.start(self._store_if_missing(run, record))
        self._ended_before.clear()
        self._dispatch()
        self._background.start(self._collect())
        self.ready.set()

    # ---- events

    async def _handle(self, records: Iterable[Record]) -> None:
        commands: list[Command] = []
        for record in records:
            self._now = max(self._now, record.time_ms)
            try:
                event = unpack_event(record.data)
            except MessageError as error:
                log.warning("message %d of partition %s is skipped: %s", record.seq, self._partition, error)
                continue
            if self._live:
                self._observe(event, record)
            for part in _by_run(event):
                commands += await self._decide(part, record.seq)
        await self._store_blobs(commands)
        self._do(commands)
        if self._live:
            self._dispatch()
            self._notes.flush()

    def _observe(self, event: Event, record: Record) -> None:
        """What the shell itself learns from an event."""
        match event:
            case Results(bundle, _, outcomes):
                self._dispatcher.outcomes(bundle, outcomes)
            case Lost(bundle):
                self._dispatcher.lost(bundle)
            case TimerFired(run, timer):
                sent = self._fired.pop((run, timer), None)
                if sent is not None:
                    self._clock.sent(sent, record.time_ms)

    async def _decide(self, event: Event, seq: int) -> list[Command]:
        run = _run_of(event)
        if run in self._broken:
            return []
        needed = self._engine.needs(event)
        if needed is not None:
            await self._load_plan(needed)
        if isinstance(event, Submit):
            self._plan_of[run] = event.plan
        try:
            return self._engine.decide(event, self._now, seq)
        except Exception as error:  # the engine has a defect: only this run pays for it
            log.exception("run %s ends as failed: the engine could not digest %s", run, type(event).__name__)
            return self._break(run, error)

    async def _load_plan(self, digest: str) -> None:
        """Makes a plan known to the engine, or why it cannot be had."""
        try:
            plan = plans.decode(await self._transport.get_blob(digest))
        except (StoreError, plans.PlanError) as error:
            log.warning("plan %s cannot be had: %s", digest, error)
            self._engine.add_plan_failure(digest, str(error))
            return
        self._plans[digest] = plan
        self._engine.add_plan(digest, plan)

    # ---- commands

    def _do(self, commands: Iterable[Command]) -> None:
        """What an event of the past asked for is done when the past is over, if it is still asked for then."""
        ended: list[str] = []
        for command in commands:
            match command:
                case EndRun(run):
                    ended.append(run)
                case _ if not self._live:
                    continue
                case Ready():
                    self._dispatcher.add(command, self._guess(command))
                case Changed(run, steps):
                    self._notes.changed(run, steps)
                case SetTimer(run, timer, at_ms):
                    self._timers.set(run, timer, at_ms)
                case ClearTimer(run, timer):
                    self._timers.clear(run, timer)
                case Revoke():
                    self._dispatcher.revoke(command)
                    self._tell_workers_of_step(command)
        for run in ended:  # after all else, so that the last note of a run holds its last changes
            self._end(run)

    async def _store_blobs(self, commands: Iterable[Command]) -> None:
        """Before anything is dispatched that refers to them. Also in a take-over: they may not have been stored."""
        blobs = {command.digest: command.data for command in commands if isinstance(command, PutBlob)}
        await asyncio.gather(*(self._store_blob(digest, data) for digest, data in blobs.items()))

    async def _store_blob(self, digest: str, data: bytes) -> None:
        async with self._stores:
            await self._transport.put_blob(digest, data)

    def _dispatch(self) -> None:
        for cut in self._dispatcher.cut():
            self._background.start(self._send_bundle(cut))

    async def _send_bundle(self, cut: Cut) -> None:
        bundle = cut.bundle
        await self._transport.dispatch(bundle.queue, cut.priority, bundle.partition, pack(bundle), bundle.id)

    def _guess(self, ready: Ready) -> float | None:
        """How long an item takes that was never measured: expressions are quick, of tasks nothing is known."""
        plan = self._plans[ready.plan]
        plan = plan.children[ready.flow] if ready.flow else plan
        node = plan.blocks[ready.block].nodes[ready.node]
        return _EXPRESSION_SECONDS if isinstance(node, ValueNode | BranchNode) else None

    # ---- timers and notes

    def _fire(self, run: str, timer: str) -> None:
        """The event's key is new each time, for a timer that was early is sent again."""
        self._fired[run, timer] = asyncio.get_running_loop().time()
        self._fired_count += 1
        key = f"timer/{self._prefix}/{self._fired_count}"
        self._background.start(self._append(TimerFired(run=run, timer=timer), key))

    async def _append(self, event: Event, key: str) -> None:
        await self._transport.append(self._partition, pack(event), key)

    def _send_note(self, note: StateNote) -> None:
        self._background.start(self._transport.notify("state", note.run, pack(note)))

    def _tell_workers(self, run: str) -> None:
        """The run ended: whatever they do for it, they may stop."""
        self._background.start(self._transport.notify("cancel", run, pack(Cancel(run=run))))

    def _tell_workers_of_step(self, revoke: Revoke) -> None:
        note = Revoked(
            run=revoke.run, scope=revoke.scope, node=revoke.node, attempt=revoke.attempt,
            first=revoke.first, last=revoke.last,
        )  # fmt: skip
        self._background.start(self._transport.notify("revoke", revoke.run, pack(note)))

    # ---- ends

    def _end(self, run: str, record: RunRecord | None = None) -> None:
        """A run ended: its record (the engine's, if none is given) is stored, and who waits for it is told."""
        self._forget(run)
        if not self._live:
            self._ended_before[run] = record
            return
        record = record or self._engine.record(run)
        self._notes.ended(run, record.state)
        self._background.start(self._store(record))

    def _forget(self, run: str) -> None:
        if self._dispatcher.end_run(run) and self._live:
            self._tell_workers(run)
        self._timers.clear_run(run)
        self._plan_of.pop(run, None)

    async def _store(self, record: RunRecord) -> None:
        async with self._stores:
            settings = self._settings
            if record.ended_ms - record.started_ms > settings.blob_renewal * 1000:
                await renew_result(self._transport, record)
            await write_record(self._transport, record, settings.keep_results, settings.record_inline)
        self._engine.forget(record.run)

    async def _collect(self) -> None:
        """Old blobs go. Nothing of this partition depends on it."""
        try:
            await self._transport.collect_blobs(self._settings.keep_results)
        except FlowError as error:
            log.warning("blobs are not collected: %s", error)

    async def _store_if_missing(self, run: str, record: RunRecord | None) -> None:
        """At a take-over most records are there, and some have been there for their time and are gone."""
        ended_ms = record.ended_ms if record else self._engine.runs[run].ended_ms
        async with self._stores:
            expired = self._now - ended_ms > self._settings.keep_results * 1000
            stored = expired or await self._transport.get_result(run) is not None
        if stored:
            self._engine.forget(run)
        else:
            await self._store(record or self._engine.record(run))

    def _break(self, run: str, error: Exception) -> list[Command]:
        """Ends a run that the engine cannot go on with; gives what that means for others."""
        self._broken.add(run)
        commands = self._engine.abandon(run)
        plan = self._plans.get(self._plan_of.get(run, ""))
        failure = Failure(
            type="InternalError",
            message=f"the engine failed on this run ({type(error).__name__}: {error}). This is a defect of flowc, "
            "not of your flow: please report it, with the lines that the log has about it",
            retryable=False,
        )
        record = RunRecord(
            run=run, flow=plan.flow if plan else "", state="failed", result=_NULL, error=failure, failed_step=None,
            started_ms=self._now, ended_ms=self._now, steps=(),
        )  # fmt: skip
        self._end(run, record)
        return commands


def _run_of(event: Event) -> str:
    """The run that an event is about; of results, of the first (they are of one run)."""
    match event:
        case Results(_, _, outcomes):
            return outcomes[0].run if outcomes else ""
        case Lost(_, items):
            return items[0].run if items else ""
        case _:
            return event.run


def _by_run(event: Event) -> list[Event]:
    """The event, taken apart if it is about several runs, so that none suffers from another."""
    match event:
        case Results(bundle, worker, outcomes) if len({outcome.run for outcome in outcomes}) > 1:
            return [Results(bundle, worker, tuple(of_run)) for of_run in _grouped(outcomes)]
        case Lost(bundle, items) if len({item.run for item in items}) > 1:
            return [Lost(bundle, tuple(of_run)) for of_run in _grouped(items)]
    return [event]


def _grouped(parts: Iterable[_OfRun]) -> Iterable[list[_OfRun]]:
    groups: dict[str, list[_OfRun]] = {}
    for part in parts:
        groups.setdefault(part.run, []).append(part)
    return groups.values()
