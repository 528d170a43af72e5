"""The worker process's loop: pulls bundles, has them executed, writes the results to the inbox, acknowledges.

A bundle is acknowledged after its results are in the inbox. One that was handed out before is not executed, for its
worker may have died of it or may still run: it is reported as lost. While a bundle is executed its lease is kept
alive, and what has finished is written soon, so that a crash repeats little. A slot that is busy with something short
has its next bundle behind it already. What it needs to begin, its plans and its code, `provisions` gets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from flowrun.connections import ConnectionSettings
from flowrun.deployments.trusted_plans import TrustedPlans
from flowrun.messages import (
    Bundle,
    Cancel,
    Event,
    Failure,
    LogNote,
    Lost,
    MessageError,
    Outcome,
    Results,
    Revoked,
    pack,
    unpack,
)
from flowrun.secrets import Resolver
from flowrun.secrets.sources import Environment
from flowrun.transport import Delivery, Transport

from .cached_values import keep_value, stored_value
from .codes import Codes
from .giver import Giver
from .job import Job
from .leases import Lease, Leases
from .outbox import Outbox
from .pace import Pace
from .pool import Pool
from .provisions import Provisions, Supplies
from .slot import Slot
from .unwanted import Unwanted

__all__ = ["Agent"]

log = logging.getLogger("flow.worker")

#: executors that were not needed so far are started this long after the worker, in seconds
WARM_AFTER = 0.5
#: log notes that wait to be sent; more are dropped, for they are for looking on only
NOTES = 1000


class Agent:
    """One worker process. `run` works until `stop` is called; an error of the transport ends it.

    `worker` is unique for ever: two lives of a worker have different names. `trusted`: the plans that it executes;
    None: all. `codes`: those that it has ready; None: all work is of the worker's own project. `giver`: gets secrets;
    None: from the environment only. Both as in tests."""

    def __init__(
        self,
        transport: Transport,
        slots: Sequence[Slot],
        *,
        worker: str,
        group: str,
        queues: tuple[str, ...],
        ack_wait: float = 10.0,
        trusted: TrustedPlans | None = None,
        codes: Codes | None = None,
        giver: Giver | None = None,
    ) -> None:
        self._transport, self._worker, self._codes = transport, worker, codes
        self.pools = [
            Pool(transport, group, queues, kind, [slot for slot in slots if slot.kind == kind], self._deliver)
            for kind in dict.fromkeys(slot.kind for slot in slots)
        ]
        self._slots = tuple(slots)
        self._pool_of = {slot: pool for pool in self.pools for slot in pool.slots}
        self._unwanted = Unwanted()
        self._pace = Pace()
        self._notes: asyncio.Queue[LogNote] = asyncio.Queue(NOTES)
        self._leases = Leases(transport, worker, ack_wait, self._lose)
        self._jobs: dict[Job, tuple[Lease, Slot]] = {}
        self._outbox = Outbox(transport, worker, self._reported, self.spawn)
        self._group: asyncio.TaskGroup | None = None
        self._finishing, self._stopping, self._ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        giver = giver or Giver(Resolver([Environment()]), ConnectionSettings(transport))
        self._provisions = Provisions(
            transport, giver, trusted, codes,
            finishing=self._finishing, spawn=self.spawn, begin=self._execute, refuse=self._refuse,
        )  # fmt: skip

    async def run(self) -> None:
        """Raises a group of TransportError (the server stays away) or ExecutorBroken (no executor can be started)."""
        self._transport.on_reconnect.append(self._leases.reconnected)
        try:
            async with asyncio.TaskGroup() as self._group:
                for slot in self._slots:
                    slot.start(self, self._unwanted)
                pulling = [self._group.create_task(pool.pull()) for pool in self.pools]
                helpers = [
                    self._group.create_task(loop)
                    for loop in (
                        self._warm_up(),
                        self._follow("cancel", self._end_run),
                        self._follow("revoke", self._revoke),
                        self._send_notes(),
                        self._leases.keep(),
                        self._leases.announce(),
                        self._leases.listen(),
                    )
                ]
                await self._finishing.wait()
                for pool, task in zip(self.pools, pulling, strict=True):
                    await pool.stop(task)
                await self._finish()
                await self._outbox.drain()
                for task in helpers:
                    task.cancel()
        finally:
            self._transport.on_reconnect.remove(self._leases.reconnected)

    async def _finish(self) -> None:
        """Lets what runs end, until `stop`."""
        for slot in self._slots:
            slot.finish()
        ended = asyncio.create_task(self._ended.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        self._look_whether_ended()
        await asyncio.wait([ended, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for slot in self._slots:
            slot.hand_back()
        await ended

    def _look_whether_ended(self) -> None:
        """No bundle is left, once no more are taken."""
        if self._finishing.is_set() and not self._leases.held:
            self._ended.set()

    def finish(self) -> None:
        """Takes no more work, hands back what has not begun, and lets `run` return when the rest has ended."""
        self._finishing.set()

    def stop(self) -> None:
        """Takes no more work, hands back what is not finished, and lets `run` return."""
        self._finishing.set()
        self._stopping.set()

    async def close(self) -> None:
        """Ends the executors, whatever they do."""
        for slot in self._slots:
            await slot.close()
        if self._codes is not None:
            await self._codes.close()

    # ---- services for slots

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        assert self._group is not None
        try:
            return self._group.create_task(work)
        except RuntimeError:  # the agent ends, and nothing new begins
            work.close()
            return None

    def tell(self, partition: str, event: Event) -> None:
        self._outbox.tell(partition, event, _nothing)

    def freed(self, slot: Slot) -> None:
        self._pool_of[slot].has_room()

    async def get_blob(self, digest: str) -> bytes:
        return await self._transport.get_blob(digest)

    async def put_blob(self, digest: str, data: bytes) -> None:
        await self._transport.put_blob(digest, data)

    async def get_cached(self, key: str) -> bytes:
        return await stored_value(self._transport, key)

    async def put_cached(self, key: str, data: bytes, ttl_ms: int) -> None:
        await keep_value(self._transport, key, data, ttl_ms)

    def log(self, note: LogNote) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._notes.put_nowait(note)

    # ---- loops

    async def _warm_up(self) -> None:
        """A short run needs one executor, and not the time that it takes to start the others."""
        await asyncio.sleep(WARM_AFTER)
        for pool in self.pools:
            await pool.warm_up()

    async def _follow(self, topic: str, note: Callable[[bytes], None]) -> None:
        """Live notes about what is no longer wanted."""
        async for data in await self._transport.listen(topic, "*"):
            try:
                note(data)
            except MessageError as error:
                log.warning("%s", error)
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

    def _deliver(self, delivery: Delivery, pool: Pool) -> None:
        try:
            bundle = unpack(delivery.data, Bundle)
        except MessageError as error:
            log.warning("%s", error)
            return  # it is not acknowledged: a newer worker may be able to read it
        if self._leases.is_done(bundle.id):
            self.spawn(delivery.ack())
            return
        if self._leases.own(bundle.id, delivery):
            return
        if delivery.fresh:
            pool.reserved += 1
            self.spawn(self._after_a_word(delivery, bundle, pool))
        elif delivery.redelivered:
            self._report_lost(delivery, bundle)
        else:
            self._begin(delivery, bundle, pool)

    async def _after_a_word(self, delivery: Delivery, bundle: Bundle, pool: Pool) -> None:
        """The server may have forgotten that another worker holds it: that one says so now, if it lives."""
        elsewhere = await self._leases.is_elsewhere(bundle.id)
        pool.reserved -= 1
        pool.has_room()
        if elsewhere:
            return
        if delivery.redelivered:
            self._report_lost(delivery, bundle)
        else:
            self._begin(delivery, bundle, pool)

    def _report_lost(self, delivery: Delivery, bundle: Bundle) -> None:
        event = Lost(bundle.id, bundle.items)
        self._outbox.tell(bundle.partition, event, partial(self._told_lost, delivery, bundle.id))

    async def _told_lost(self, delivery: Delivery, bundle: str) -> None:
        self._leases.done(bundle)
        await delivery.ack()

    def _begin(self, delivery: Delivery, bundle: Bundle, pool: Pool) -> None:
        self._provisions.provide(self._leases.hold(delivery, bundle), pool)

    def _execute(self, lease: Lease, pool: Pool, supplies: Supplies) -> None:
        code = supplies.code
        slot = pool.slot("" if code is None else code.digest)
        make = partial(
            Job, lease.bundle, supplies.plans, data=lease.delivery.data, changed=self._changed, code=code,
            given=supplies.given,
        )  # fmt: skip
        job = slot.make_job(make)
        self._jobs[job] = (lease, slot)
        if returned := [*job.pending] if supplies.back else job.of_other_codes():
            job.hand_back(returned)
        if job.pending:
            slot.begin(job, supplies.data, self._pace.expected(job))

    def _changed(self, job: Job) -> None:
        held = self._jobs.get(job)
        if held is None:
            return
        lease = held[0]
        if job.abandoned:
            if not job.pending:
                self._jobs.pop(job, None)
                self._release(lease)
        elif self._leases.valid(lease):
            self._outbox.changed(job)
        else:
            self._leases.give_up(lease)

    async def _reported(self, job: Job) -> None:
        held = self._jobs.pop(job, None)
        if held is None:
            return  # its lease was lost meanwhile
        lease, _ = held
        self._pace.learn(job)
        self._leases.done(lease.bundle.id)
        await lease.delivery.ack()
        self._release(lease)

    def _lose(self, lease: Lease) -> None:
        """Another worker may have it: nothing that comes of it here counts."""
        log.warning("the lease of %s could not be renewed: it is given up", lease.bundle.id)
        for job, (held, slot) in list(self._jobs.items()):
            if held is lease:
                slot.abandon(job)
                self._jobs.pop(job, None)
        self._look_whether_ended()

    def _release(self, lease: Lease) -> None:
        self._leases.release(lease)
        self._look_whether_ended()

    def _refuse(self, lease: Lease, failure: Failure) -> None:
        bundle = lease.bundle
        outcomes = tuple(
            Outcome(i.run, i.scope, i.node, i.attempt, "failed", error=failure, first=n, last=n + 1 if n >= 0 else -1)
            for i in bundle.items
            for n in (range(i.first, i.last) if i.first >= 0 else (-1,))
        )
        self._outbox.tell(
            bundle.partition, Results(bundle.id, self._worker, outcomes), partial(self._dealt_with, lease)
        )

    async def _dealt_with(self, lease: Lease) -> None:
        self._leases.done(lease.bundle.id)
        await lease.delivery.ack()
        self._release(lease)


async def _nothing() -> None:
    """There is nothing to do when it is there."""
