"""The worker process's loop: pulls bundles, has them executed, writes the results to the inbox, acknowledges.

A bundle is acknowledged after its results are in the inbox. One that was handed out before is not executed, for its
worker may have died of it or may still run: it is reported as lost. While a bundle is executed its lease is kept
alive, and what has finished is written soon, so that a crash repeats little. A slot takes the next bundle as soon as
its units have ended; results are written meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence

from flowc import plan as plans

from flowrun.errors import StoreError
from flowrun.messages import (
    Bundle,
    Cancel,
    Failure,
    LogNote,
    Lost,
    MessageError,
    Outcome,
    Results,
    Revoked,
    pack,
    pack_events,
    unpack,
)
from flowrun.names import lane
from flowrun.transport import Delivery, Transport

from .job import Job
from .slot import Slot
from .unwanted import Unwanted

__all__ = ["Agent"]

#: what has finished is written at most this much later, in seconds
FLUSH_AFTER = 0.03
#: executors that were not needed so far are started this long after the worker, in seconds
WARM_AFTER = 0.5
#: plans that are kept
PLANS = 64
#: log notes that wait to be sent; more are dropped, for they are for looking on only
NOTES = 1000


class Agent:
    """One worker process. `run` works until `stop` is called; an error of the transport ends it."""

    def __init__(
        self,
        transport: Transport,
        slots: Sequence[Slot],
        *,
        worker: str,
        group: str,
        queues: tuple[str, ...],
        ack_wait: float = 10.0,
    ) -> None:
        self._transport = transport
        self._slots = tuple(slots)
        self._worker, self._group, self._ack_wait = worker, group, ack_wait
        self._lanes = tuple(lane(queue, "process") for queue in queues)
        #: the slot that was used last is used first: it is warm
        self._free: asyncio.LifoQueue[Slot] = asyncio.LifoQueue()
        self._plans: OrderedDict[str, tuple[plans.Plan, bytes]] = OrderedDict()
        self._unwanted = Unwanted()
        self._notes: asyncio.Queue[LogNote] = asyncio.Queue(NOTES)
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Raises a group of TransportError (the server stays away) or ExecutorBroken (no executor can be started)."""
        async with asyncio.TaskGroup() as group:
            for slot in reversed(self._slots):
                slot.start(self, self._unwanted)
                self._free.put_nowait(slot)
            helpers = [
                group.create_task(self._pull(group)),
                group.create_task(self._warm_up()),
                group.create_task(self._follow("cancel", self._end_run)),
                group.create_task(self._follow("revoke", self._revoke)),
                group.create_task(self._send_notes()),
            ]
            await self._stopping.wait()
            for task in helpers:
                task.cancel()
            for slot in self._slots:
                slot.hand_back()

    def stop(self) -> None:
        """Takes no more work, hands back what is not finished, and lets `run` return."""
        self._stopping.set()

    async def close(self) -> None:
        """Ends the executors, whatever they do."""
        for slot in self._slots:
            await slot.close()

    # ---- services for slots

    async def get_blob(self, digest: str) -> bytes:
        return await self._transport.get_blob(digest)

    async def put_blob(self, digest: str, data: bytes) -> None:
        await self._transport.put_blob(digest, data)

    def log(self, note: LogNote) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._notes.put_nowait(note)

    # ---- loops

    async def _warm_up(self) -> None:
        """A short run needs one executor, and not the time that it takes to start the others."""
        await asyncio.sleep(WARM_AFTER)
        for slot in self._slots:
            await slot.warm_up()

    async def _pull(self, group: asyncio.TaskGroup) -> None:
        source = await self._transport.work(self._group, self._lanes)
        try:
            while True:
                slots = [await self._free.get()]
                while not self._free.empty():
                    slots.append(self._free.get_nowait())
                deliveries = await source.receive(len(slots))
                for delivery in deliveries:
                    group.create_task(self._handle(delivery, slots.pop()))
                for slot in slots:
                    self._free.put_nowait(slot)
        finally:
            await source.close()

    async def _follow(self, topic: str, note: Callable[[bytes], None]) -> None:
        """Live notes about what is no longer wanted."""
        async for data in await self._transport.listen(topic, "*"):
            try:
                note(data)
            except MessageError as error:
                print(f"worker: {error}", file=sys.stderr)
            for slot in self._slots:
                slot.drop_unwanted()

    def _end_run(self, data: bytes) -> None:
        self._unwanted.end_run(unpack(data, Cancel).run)

    def _revoke(self, data: bytes) -> None:
        self._unwanted.revoke(unpack(data, Revoked))

    async def _send_notes(self) -> None:
        while True:
            note = await self._notes.get()
            await self._transport.put_log(note.run, pack(note))

    # ---- one bundle

    async def _handle(self, delivery: Delivery, slot: Slot) -> None:
        try:
            bundle = unpack(delivery.data, Bundle)
        except MessageError as error:
            self._free.put_nowait(slot)
            print(f"worker: {error}", file=sys.stderr)
            return  # it is not acknowledged: a newer worker may be able to read it
        if delivery.redelivered:
            self._free.put_nowait(slot)
            await self._append(bundle, Lost(bundle.id, bundle.items), "lost")
            await delivery.ack()
            return
        keeper = asyncio.ensure_future(self._keep(delivery))
        try:
            await self._execute(bundle, slot)
        finally:
            keeper.cancel()
        await delivery.ack()

    async def _execute(self, bundle: Bundle, slot: Slot) -> None:
        try:
            known = {digest: await self._plan(digest) for digest in bundle.plans}
        except (StoreError, plans.PlanError) as error:
            self._free.put_nowait(slot)
            await self._refuse(bundle, Failure("NotFound", f"the plan cannot be had: {error}"))
            return
        job = slot.job(bundle, {digest: plan for digest, (plan, _) in known.items()})
        writer = asyncio.ensure_future(self._write(job))
        try:
            await slot.run(job, {digest: data for digest, (_, data) in known.items()})
        finally:
            self._free.put_nowait(slot)
            job.close()
        await writer

    async def _plan(self, digest: str) -> tuple[plans.Plan, bytes]:
        if digest not in self._plans:
            data = await self._transport.get_blob(digest)
            self._plans[digest] = (plans.decode(data), data)
            if len(self._plans) > PLANS:
                self._plans.popitem(last=False)
        self._plans.move_to_end(digest)
        return self._plans[digest]

    async def _keep(self, delivery: Delivery) -> None:
        """Extends the lease of a bundle for as long as it is worked on."""
        while True:
            await asyncio.sleep(self._ack_wait / 3)
            await delivery.progress()

    async def _write(self, job: Job) -> None:
        """Writes results to the inbox in order: soon, but many at once."""
        number = 0
        while True:
            await job.changed.wait()
            if not job.urgent.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(job.urgent.wait(), FLUSH_AFTER)
            outcomes = job.take_outcomes()
            if not outcomes and job.closed:
                return
            if outcomes:
                await self._append(job.bundle, Results(job.bundle.id, self._worker, outcomes), str(number))
                number += 1

    async def _refuse(self, bundle: Bundle, failure: Failure) -> None:
        outcomes = tuple(
            Outcome(i.run, i.scope, i.node, i.attempt, "failed", error=failure, first=n, last=n + 1 if n >= 0 else -1)
            for i in bundle.items
            for n in (range(i.first, i.last) if i.first >= 0 else (-1,))
        )
        await self._append(bundle, Results(bundle.id, self._worker, outcomes), "0")

    async def _append(self, bundle: Bundle, event: Results | Lost, part: str) -> None:
        await self._transport.append(bundle.partition, pack_events([event]), f"{bundle.id}/{part}/{self._worker}")
