"""Leads a partition: reads its inbox, lets the engine decide, does what it asks for.

    lease → take-over → live, batch by batch → release

Take-over: from the last snapshot, the inbox is folded up to our own message at its end; nothing is dispatched
meanwhile. What then stands in the engine's state is what is still owed: outstanding work is dispatched unless it stands
in the work stream, timers are armed, records of ended runs are stored. From there it goes on live. Of a batch of
messages all events are decided; then blobs are stored, if there are any; then bundles go out, records are stored,
clients are told, each kind for the whole batch. Nothing of that is waited for; whatever fails in the background for
good ends the coordinator, and the next one starts from the inbox.

A coordinator that was replaced learns it when it renews its lease, or when a dispatch is refused: it ends with Fenced.
It decides nothing more once its lease may be another's (see `_read`). What it did meanwhile did no harm: it decided the
same as its successor does, and dispatched nothing.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any

from flowrun.background import Background
from flowrun.capacity import Capacity
from flowrun.dispatch import Dispatcher
from flowrun.dispatched import HandedBack
from flowrun.engine.commands import (
    Answer,
    Arm,
    Changed,
    ClearTimer,
    Command,
    Disarm,
    EndRun,
    Pause,
    PutBlob,
    Ready,
    Resume,
    Revoke,
    Send,
    SetTimer,
)
from flowrun.engine.triggered import Triggered
from flowrun.errors import StoreError, TransportError
from flowrun.lease import Lease, this_process
from flowrun.messages import (
    Arrived,
    Backfill,
    Control,
    Deployed,
    Event,
    Lost,
    Raised,
    Results,
    Submit,
    Tick,
    TimerFired,
    pack_events,
)
from flowrun.settings import Settings
from flowrun.snapshots import Snapshots
from flowrun.timers import ServerClock
from flowrun.transport import Record, Transport
from flowrun.watchers import Watchers

from .alarms import Alarms
from .audit import Audit
from .bundles import Bundles
from .collecting import collect
from .ends import Ends
from .events import Complaints, events_of, weight_of
from .fold import Fold
from .following import Following
from .leftovers import stop_leftovers
from .lineages import Lineages
from .notices import Notices
from .saving import Saving
from .sends import Sends
from .standing import adopt, missing, note_handed_back
from .takeover import Start, announce, take_over
from .ticking import Ticking
from .variables_following import VariablesFollowing

__all__ = ["Coordinator"]

log = logging.getLogger("flow.coordinator")

#: after so many outcomes, what was decided is done, and others get their turn
_SLICE = 1_000
#: blobs that are stored at the same time
_STORES = 64
#: between two looks whether anything is left to be done, in seconds
_IDLE_SECONDS = 0.1
#: a server that does not answer is not waited for longer to give a lease back, in seconds
_RELEASE_SECONDS = 0.5
#: events that may start runs by themselves
_STARTING = frozenset({Arrived, Backfill, Control, Deployed, Raised, Tick})


class Coordinator:
    """Of one partition. `group`: whose workers do its work; `capacity`: what these have; `partitions`: how many share
    the environment; `node`: who leads, in logs and leases; `fresh_workers`: those of an earlier leader ended with it,
    so what they held is dispatched anew at once; `private`: the partition is one run's own, and no triggers belong to
    it.

    `run` leads until it is cancelled (as if it were killed: nothing is tidied up) or `stop` is called. `ready` is set
    once the take-over is done.
    """

    def __init__(
        self,
        transport: Transport,
        partition: str,
        *,
        group: str,
        capacity: Capacity,
        settings: Settings | None = None,
        partitions: int = 1,
        node: str = "",
        fresh_workers: bool = False,
        private: bool = False,
    ) -> None:
        settings = settings or Settings()
        self._transport, self._partition, self._settings = transport, partition, settings
        #: in the keys of what this coordinator writes: no other has it
        prefix = f"{partition}-{secrets.token_hex(4)}"
        self._me = this_process(node or prefix, prefix)
        self._fresh_workers, self._alone, self._private = fresh_workers, partitions == 1, private
        background = self._background = Background()
        self._complaints = Complaints()
        self._stores = asyncio.Semaphore(_STORES)
        self._fold = Fold(transport, partition, partitions)
        self._engine = self._fold.engine
        #: runs of which nothing is dispatched
        self._paused = self._engine.pauses.runs
        self._dispatcher = Dispatcher(
            partition,
            prefix,
            capacity,
            settings,
            self._fold.function_of,
            self._fold.batch_of,
            self._fold.code_of,
        )
        self._bundles = Bundles(transport, group, background, self._dispatcher.stands)
        self._audit = Audit(transport, partition, prefix, self._dispatcher, self._complaints, settings, self._redo)
        self._clock = ServerClock()
        self._alarms = Alarms(transport, partition, prefix, background, self._clock)
        self._ticking = Ticking(transport, partition, prefix, background, self._clock)
        self._following = Following(transport, partition, self._engine, self._complaints, settings)
        self._variables = VariablesFollowing(transport, partition, self._engine, self._complaints)
        self._notices = Notices(transport, self._dispatcher, capacity, background, self._complaints, settings)
        self._watchers = Watchers(self._engine, partition, settings.note_interval, self._notices.tell)
        self._lineages = Lineages(transport, partition, prefix.rpartition("-")[2], settings)
        self._watchers.next_ms = self._ticking.next_ms
        self._ends = Ends(transport, self._fold, background, settings, self._lineages)
        self._sends = Sends(transport, background)
        self._snapshots = Snapshots(transport, partition, settings.sync_lag)
        self._saving = Saving(self._snapshots, self._fold, self._sends, self._dispatcher, background, settings)
        self._loop = asyncio.get_running_loop()
        self._live = False
        #: wakes what waits for others to be executed with
        self._due: asyncio.TimerHandle | None = None
        #: how often the server was away for long
        self._doubts = 0
        #: all of the message that was read last is done
        self._settled = True
        #: parts of events that changed nothing
        self._ignored = 0
        #: runs that the take-over saw end
        self._ended_before: dict[str, None] = {}
        #: what the take-over saw come back from workers, by bundle
        self._handed_back: dict[str, HandedBack] = {}
        self._stopping = asyncio.Event()
        #: set once the take-over is done
        self.ready = asyncio.Event()
        self._do: dict[type, Callable[[Any], None]] = {
            Ready: self._add_work,
            Changed: self._changed,
            EndRun: self._end,
            SetTimer: self._alarms.set,
            ClearTimer: self._alarms.clear,
            Revoke: self._revoke,
            Send: self._sends.add,
            PutBlob: _done_before,
            Answer: self._notices.answer,
            Pause: self._pause,
            Resume: self._resume,
            Arm: self._ticking.arm,
            Disarm: self._ticking.disarm,
        }

    # ---- its life

    async def run(self, lease: Lease | None = None) -> None:
        """Leads, under a lease that it has or waits for. Returns after `stop`; raises Fenced when another one leads,
        TransportError, StoreError."""
        if lease is None:
            await self._transport.open_partition(self._partition)
            lease = await Lease.acquire(self._transport, self._partition, self._me, self._settings)
        try:
            await self._background.watch(self._lead(lease))
        except (StoreError, TransportError):  # another try, or another node, may do better
            with suppress(TimeoutError):
                async with asyncio.timeout(_RELEASE_SECONDS):
                    await lease.release()
            raise
        finally:
            self._look_again(inf)
            self._alarms.stop()
            self._ticking.stop()
            self._watchers.stop()
            await self._background.stop()

    async def stop(self) -> None:
        """Lets `run` return, after a last snapshot; another one may lead at once. Removes nothing."""
        self._stopping.set()

    @property
    def triggers(self) -> Mapping[str, Triggered]:
        """The triggers of this partition by their ids, as its engine has them; those that are gone, too."""
        return self._engine.triggers.own

    async def idle(self) -> None:
        """Returns once no run lives here, and nothing that was sent is on its way: runs that others started, too."""
        while True:
            inbox = await self._transport.inbox(self._partition)
            is_quiet = self._settled and not self._sends.pending and not self._engine.living()
            if is_quiet and self._audit.position >= inbox.last_seq:
                return
            await asyncio.sleep(_IDLE_SECONDS)

    async def _lead(self, lease: Lease) -> None:
        self._background.start(lease.keep(lambda: self._doubt(lease)))
        start = await take_over(
            self._transport, self._partition, lease.holder, self._snapshots, self._settings, self._complaints,
            fresh_workers=self._fresh_workers,
        )  # fmt: skip
        await self._restore(start)
        if start.now_ms:
            self._clock.saw(start.now_ms + round((self._loop.time() - start.at) * 1000))
        reading, stopping = asyncio.create_task(self._read(start, lease)), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([reading, stopping], return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
        finally:
            for task in (reading, stopping):
                task.cancel()
            await asyncio.wait([reading, stopping])
        if self._settled and self._live:
            await self._saving.finish()
        await lease.release()

    def _doubt(self, lease: Lease) -> None:
        """The server was away for long, and may have lost what it had acknowledged: bundles, messages of holders."""
        self._audit.soon()
        if self._live:
            self._doubts += 1
            self._background.start(self._announce(lease))

    async def _announce(self, lease: Lease) -> None:
        await announce(self._transport, self._partition, lease.holder, self._settings, self._doubts)

    async def _restore(self, start: Start) -> None:
        self._bundles.fence = start.fence
        self._saving.start(start.created, start.snapshot)
        if start.snapshot is not None:
            await self._fold.restore(start.snapshot)
            self._sends.restore(start.snapshot.sends)
            self._handed_back.update(start.snapshot.handed_back)
            self._ended_before.update(dict.fromkeys([*self._engine.ended(), *self._fold.broken]))

    async def _read(self, start: Start, lease: Lease) -> None:
        """A batch counts only if nobody else led when it was read: another leader purges the inbox, and who was paused
        meanwhile would not see that messages are missing. Nor does it count if the inbox has lost messages that were
        read, and others stand in their places: so that is looked at whenever the server was away for long."""
        last: Record | None = None
        doubts = lease.doubts
        async for batch in self._transport.read(self._partition, start.after):
            await lease.confirm()
            if lease.doubts != doubts:
                doubts = lease.doubts
                await self._check_that_it_stands(last)
            last = batch[-1]
            new = batch
            if not self._live:
                old = [record for record in batch if record.seq <= start.until]
                new = [record for record in batch if record.seq > start.until]
                await self._handle([record for record in old if record.time_ms >= start.since_ms])
                if batch[-1].seq >= start.until:
                    self._go_live(start)
            if new:
                self._alarms.saw(new[-1])
                await self._handle(new)

    async def _check_that_it_stands(self, last: Record | None) -> None:
        """The message that was read last is still what it was. Raises StoreError."""
        if last is not None and await self._transport.read_one(self._partition, last.seq) != last:
            raise StoreError(
                f"the inbox of partition {self._partition} has lost messages: message {last.seq} is not what it was"
            )

    def _go_live(self, start: Start) -> None:
        """The take-over's end: does what the past still asks for."""
        self._live = True
        owed, standing = self._engine.outstanding(), start.standing
        for ready in adopt(self._dispatcher, owed, standing, self._loop.time(), self._handed_back):
            self._add_work(ready)
        self._handed_back.clear()
        for timer in self._engine.timers():
            self._alarms.set(timer)
        for arm in self._engine.armed():
            self._ticking.arm(arm)
        self._background.start(self._ticking.run())
        if not self._private:
            self._following.start(self._background)
        self._variables.start(self._background)
        for run in self._ended_before:
            self._end_again(run)
        self._ended_before.clear()
        self._flush()
        if self._partition == "0" or self._alone:  # one collects for all
            self._background.start(collect(self._transport, self._settings))
        if self._lineages.is_on:
            self._do[Ready] = self._add_work_and_tell
            self._background.start(self._lineages.run())
        self._background.start(self._audit.run())
        self._background.start(self._rest())
        self._notices.start(self._watchers)
        stop = stop_leftovers(
            self._transport, self._partition, start.standing, self._engine, self._complaints, self._notices.unwanted,
            self._settings.revoke_again,
        )  # fmt: skip
        self._background.start(stop)
        log.info("partition %s is led from here, since message %d", self._partition, start.until)
        self.ready.set()

    # ---- events

    async def _handle(self, records: Iterable[Record]) -> None:
        """A batch of the inbox, in slices, so that others get their turn."""
        commands: list[Command] = []
        weight = 0
        self._settled = False
        self._fold.forget_plans()
        for record in records:
            events = events_of(record, self._partition, self._complaints)
            if not _STARTING.isdisjoint(map(type, events)):
                await self._prepare(events)
            for event in events:
                if type(event) is Results and event.plans:
                    await self._fold.load(self._engine.needs_also(event))
                if type(event) is Submit:
                    needed = self._engine.needs(event)
                    if needed is not None:
                        await self._fold.load([needed])
                    if event.again is not None and (image := self._engine.needs_image(event)):
                        await self._fold.load_image(image)
                elif self._live:
                    self._observe(event, record)
                elif type(event) is Results:
                    note_handed_back(self._handed_back, event)
                commands += self._fold.decide(event, record.time_ms, record.seq)
                weight += weight_of(event)
                if weight >= _SLICE:
                    await self._act(commands)
                    commands, weight = [], 0
                    await asyncio.sleep(0)
            self._saving.seen(record, len(events))
            self._audit.read(record.seq)
        await self._act(commands)
        self._settled = True
        self._engine.freeze_some()
        if self._engine.ignored_count > self._ignored:
            if self._live:
                self._complaints.say("%s: it is ignored, and the rest goes on", self._engine.ignored[-1])
            self._ignored = self._engine.ignored_count
        if self._live and self._saving.is_due():
            self._saving.take()

    async def _prepare(self, events: Iterable[Event]) -> None:
        """Has all at hand that is needed to decide events that may start runs by themselves."""
        for event in events:
            if type(event) is Deployed and (manifest := self._engine.needs_manifest(event)):
                await self._fold.load_manifest(manifest)
        plans = {plan for event in events if type(event) in _STARTING for plan in self._engine.needs_plans(event)}
        if plans:
            await self._fold.load(sorted(plans))

    def _observe(self, event: Event, record: Record) -> None:
        """What the shell itself learns from an event."""
        kind = type(event)
        if kind is Results:
            self._dispatcher.outcomes(event.bundle, event.outcomes)  # type: ignore[union-attr]
        elif kind is Lost:
            self._dispatcher.gone(event.bundle)  # type: ignore[union-attr]
        elif kind is TimerFired:
            self._alarms.came(event, record)  # type: ignore[arg-type]
        elif kind is Tick:
            self._ticking.came(event, record)  # type: ignore[arg-type]

    async def _rest(self) -> None:
        """What is done when nothing comes: runs that wait are packed, and a snapshot is taken of what changed."""
        while True:
            await asyncio.sleep(self._settings.freeze_after)
            if self._settled:
                self._engine.freeze()
                if self._saving.is_due():
                    self._saving.take()

    # ---- commands

    async def _act(self, commands: list[Command]) -> None:
        """Does what was decided. Blobs come first: nothing is dispatched that refers to one that is not stored."""
        if PutBlob in set(map(type, commands)):
            blobs = {command.digest: command.data for command in commands if type(command) is PutBlob}
            await asyncio.gather(*(self._store_blob(digest, data) for digest, data in blobs.items()))
        if not self._live:
            self._note_past(commands)
            return
        do = self._do
        for command in commands:
            do[type(command)](command)
        self._flush()

    def _note_past(self, commands: Iterable[Command]) -> None:
        """What an event of the past asked for is done when the past is over, if it is still asked for then."""
        for command in commands:
            if type(command) is EndRun:
                self._ended_before[command.run] = None
            elif type(command) is Send:
                self._sends.add(command)

    def _flush(self) -> None:
        """Sends what the commands of a batch came to."""
        for cut in self._dispatcher.cut(self._loop.time()):
            self._bundles.send(cut)
        self._look_again(self._dispatcher.due())
        self._ends.flush()
        self._sends.flush()
        self._watchers.flush()

    def _look_again(self, at: float) -> None:
        """Calls that wait for others to be executed with go at this time at the latest."""
        if self._due is not None and (at == inf or at < self._due.when()):
            self._due.cancel()
            self._due = None
        if self._due is None and at != inf:
            self._due = self._loop.call_at(max(at, self._loop.time()), self._wait_is_over)

    def _wait_is_over(self) -> None:
        self._due = None
        self._flush()

    async def _store_blob(self, digest: str, data: bytes) -> None:
        async with self._stores:
            await self._transport.put_blob(digest, data)

    def _add_work(self, ready: Ready) -> None:
        """What waits or is out already is not taken twice: a report that work was handed back may come again, late."""
        if ready.run in self._paused and not ready.goes_on:
            return  # until `_resume`
        now = self._loop.time()
        if self._dispatcher.holds(ready.run):
            for part in missing(self._dispatcher, (ready,)):
                self._dispatcher.add(part, now)
        else:
            self._dispatcher.add(ready, now)

    def _add_work_and_tell(self, ready: Ready) -> None:
        self._lineages.begin(ready.run, partial(self._fold.beginning_of, ready.run))
        self._add_work(ready)

    def _changed(self, command: Changed) -> None:
        self._watchers.changed(command.run, command.steps)

    def _revoke(self, revoke: Revoke) -> None:
        if self._dispatcher.revoke(revoke, self._loop.time()):
            self._notices.unwanted(revoke)

    def _pause(self, command: Pause) -> None:
        """What waits of the run is forgotten: it follows from the engine's state again. Some goes on all the same."""
        self._dispatcher.withdraw(command.run)
        for ready in missing(self._dispatcher, self._engine.outstanding(command.run)):
            self._add_work(ready)

    def _resume(self, command: Resume) -> None:
        for ready in missing(self._dispatcher, self._engine.outstanding(command.run)):
            self._add_work(ready)

    def _redo(self, bundles: list[str]) -> None:
        """These are nowhere: what is still wanted of them is dispatched anew, or was lost for good."""
        found = [bundle for name in bundles if (bundle := self._dispatcher.gone(name)) is not None]
        runs = {item.run for bundle in found for item in bundle.items}
        owed = missing(self._dispatcher, (ready for ready in self._engine.outstanding() if ready.run in runs))
        if owed:
            log.warning("%d bundles of partition %s were lost and are dispatched anew", len(found), self._partition)
        once = [ready.item(0) for ready in owed if self._fold.runs_once(ready)]
        if once:
            self._background.start(self._report_lost(Lost("", tuple(once))))
        for ready in owed:
            if not self._fold.runs_once(ready):
                self._add_work(ready)
        self._flush()

    async def _report_lost(self, lost: Lost) -> None:
        """It may have run, and is to run at most once."""
        first = lost.items[0]
        key = f"lost/{self._me.token}/{first.id}/{first.first}"
        await self._transport.append(self._partition, pack_events([lost]), key)

    # ---- ends

    def _end(self, command: EndRun) -> None:
        """A run ended: its record is stored, who waits for it is told, and workers stop what they do for it."""
        run = command.run
        if self._dispatcher.holds(run) and self._dispatcher.end_run(run):
            self._notices.unwanted(run)
        self._alarms.clear_run(run)
        self._ends.add(self._fold.record(run), self._told(run, command.client), self._fold.image(run))

    def _end_again(self, run: str) -> None:
        """A run of the past: its record may be stored, and then is stored again; or was, and its time is over."""
        try:
            record = self._fold.record(run)
        except KeyError:
            return
        if self._fold.now_ms - record.ended_ms > self._settings.keep_results * 1000:
            self._fold.forget(run)
        else:
            self._ends.add(record, self._told(run, self._fold.client_of(run)), self._fold.image(run))

    def _told(self, run: str, client: str) -> Iterable[str]:
        """Who is told of a run's end: who submitted it, and those who look on."""
        watchers = self._watchers.ended(run)
        if watchers:
            return {client, *watchers} - {""}
        return (client,) if client else ()


def _done_before(_: PutBlob) -> None:
    """Blobs are stored before anything else is done."""
