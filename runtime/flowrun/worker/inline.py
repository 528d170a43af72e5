"""A slot that runs tasks in the agent's own process and event loop: for tests on the in-memory transport.

The rules of execution are those of `execute`, as in a process; promises that need a process are not kept: a task that
blocks cannot be ended, and one that kills its process kills all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flowc.plan import StepSettings

from flowrun.messages import Failure, WorkItem

from .awaiting import Awaiting
from .batch import batch_of
from .cache import note_hit
from .execute import Ended, Executions, Prepared, ended_by
from .failures import TaskFailed
from .frames import ExecutorKind
from .job import Job
from .judge import NOT_WANTED
from .shared import EXPIRED, SUCCESS, UnitResult
from .slot import Services
from .unit_blobs import UnitBlobs, fetch_all
from .units import Units, follower
from .unwanted import Unwanted

__all__ = ["InlineSlot"]


class InlineSlot:
    """A slot without a process. `clock` gives the seconds since 1970."""

    def __init__(
        self, root: Path, kind: ExecutorKind = "process", width: int = 1, clock: Callable[[], float] = time.time
    ) -> None:
        self.kind, self.width, self._clock = kind, width, clock
        self.jobs: list[Job] = []
        self._executions = Executions(root, UnitBlobs())
        self._next_token = 0
        self._taking, self._stopping = True, False
        self._tasks: dict[int, asyncio.Task[Ended]] = {}
        #: those whose units run together
        self._batches: dict[Job, asyncio.Task[list[Ended]]] = {}

    def knows(self, code: str) -> bool:
        return True  # all that this process can import

    def make_job(self, make: Callable[[int], Job]) -> Job:
        job = make(self._next_token)
        self._next_token = job.end
        return job

    def start(self, services: Services, unwanted: Unwanted) -> None:
        self._services, self._unwanted = services, unwanted

    async def warm_up(self) -> None:
        """There is nothing to start."""

    async def rest(self) -> None:
        """There is nothing to end."""

    async def close(self) -> None:
        self.hand_back()

    def room(self) -> int:
        return max(0, self.width - len(self.jobs)) if self._taking else 0

    def begin(self, job: Job, plan_data: Mapping[str, bytes], expected: float | None) -> None:
        self.jobs.append(job)
        if job.given is not None:
            self._executions.told.take(job.given)
        for digest, data in plan_data.items():
            self._executions.add(digest, data)
        self._services.spawn(self._run(job))

    async def _run(self, job: Job) -> None:
        job.hand_back(job.unwanted(self._unwanted, job.pending) if self._taking else [*job.pending])
        payloads: list[bytes] = []
        if job.units.batch:
            await self._batch(job)
        while job.pending and not job.abandoned:
            token = next(iter(job.pending))
            item, place = job.units.find(token)
            if item.first < 0 and place > 0:
                inputs = [payloads[one] if isinstance(one, int) else one for one in item.then[place - 1].inputs]
                item = follower(item, place, tuple(inputs))
            else:
                payloads.clear()
            ended = await self._unit(job, token, item)
            if ended is not None and ended.state == SUCCESS:
                payloads.append(ended.payload)
        if job in self.jobs:
            self.jobs.remove(job)
        self._services.freed(self)

    async def _batch(self, job: Job) -> None:
        """All units that are left, together."""
        tokens = [*job.pending]
        if not tokens:
            return
        loop = asyncio.get_running_loop()
        started, begun = self._clock(), loop.time()
        settings = job.unit(tokens[0]).settings
        limit = None if settings is None or settings.timeout_ms is None else settings.timeout_ms / 1000
        task = self._batches[job] = loop.create_task(self._run_batch(job.units, tokens))
        done, _ = await asyncio.wait([task], timeout=limit)
        if not done:
            task.cancel()
            await asyncio.wait([task])
        del self._batches[job]
        seconds = loop.time() - begun
        if not done:
            job.fail(tokens[0], Failure("Timeout", f"exceeded its timeout of {limit:g}s"), started, seconds)
            return
        if task.cancelled():
            job.give_up(tokens[0], started, seconds)
            return
        ends = reversed([*zip(tokens, task.result(), strict=True)])  # the first is told last, as by a process
        job.ended([UnitResult(token, ended.state, started, seconds, ended.payload) for token, ended in ends])

    async def _run_batch(self, units: Units, tokens: list[int]) -> list[Ended]:
        blobs = UnitBlobs()
        for token in tokens:
            await fetch_all(units.find(token)[0].inputs, blobs, self._services.get_blob)
        batch = batch_of(self._executions, units, tokens, blobs)
        for at, cached in batch.look_up():
            if found := await self._services.get_cached(cached.key):
                batch.found(at, found)
        try:
            value = batch.begin()
            batch.end(await value if hasattr(value, "__await__") else value)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            batch.fail(error)
        for key, data in blobs.stored.items():
            await self._services.put_blob(key, data)
        for cached, data in batch.kept():
            await self._services.put_cached(cached.key, data, cached.ttl_ms)
        return batch.ended

    async def _unit(self, job: Job, token: int, item: WorkItem) -> Ended | None:
        """How it ended; None: it was given up."""
        loop = asyncio.get_running_loop()
        started, begun = self._clock(), loop.time()
        unit = job.unit(token)
        if item.expires_ms and started * 1000 > item.expires_ms:
            ended = Ended(EXPIRED, b"\xc0")
        else:
            if (event := job.begun(token)) is not None:
                self._services.tell(job.bundle.partition, event)
            task = self._tasks[token] = loop.create_task(self._attempt(item, job.bundle.plans[item.plan], unit.index))
            try:
                found = await self._limited(task, unit.settings)
            finally:
                del self._tasks[token]
            if found is None:
                self._end_cancelled(job, token)
                return None
            ended = found
        job.ended([UnitResult(token, ended.state, started, loop.time() - begun, ended.payload)])
        return ended

    async def _limited(self, task: asyncio.Task[Ended], settings: StepSettings | None) -> Ended | None:
        limit = None if settings is None or settings.timeout_ms is None else settings.timeout_ms / 1000
        done, _ = await asyncio.wait([task], timeout=limit)
        if not done:
            task.cancel()
            await asyncio.wait([task])
            return ended_by(TaskFailed(Failure("Timeout", f"exceeded its timeout of {limit:g}s")))
        return None if task.cancelled() else task.result()

    def _end_cancelled(self, job: Job, token: int) -> None:
        if token not in job.pending:
            return
        if job.unwanted(self._unwanted, [token]):
            job.fail(token, NOT_WANTED, 0.0, 0.0)
        else:
            job.give_up(token, 0.0, 0.0)

    async def _attempt(self, item: WorkItem, digest: str, index: int) -> Ended:
        blobs = UnitBlobs()
        try:
            await fetch_all(item.inputs, blobs, self._services.get_blob)
            prepared: Prepared = self._executions.prepare(item, digest, blobs)
            cached = prepared.cached_as(index)
            if cached is not None and (found := await self._services.get_cached(cached.key)):
                note_hit(prepared.step)
                return Ended(SUCCESS, found)
            value: Any = prepared.begin(index)
            if hasattr(value, "__await__"):
                value = await Awaiting(value)
            ended = prepared.end(value)
            for key, data in blobs.stored.items():
                await self._services.put_blob(key, data)
            if cached is not None and ended.state == SUCCESS:
                await self._services.put_cached(cached.key, ended.payload, cached.ttl_ms)
            return ended
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # as in `execute.run`
            return ended_by(error)

    def drop_unwanted(self) -> None:
        for job in [job for job in self.jobs if not job.units.batch]:
            waiting = [token for token in job.heads() if token not in self._tasks]
            job.hand_back(job.unwanted(self._unwanted, waiting))
            for token in job.unwanted(self._unwanted, [token for token in self._tasks if token in job.pending]):
                self._tasks[token].cancel()

    def abandon(self, job: Job) -> None:
        running = [token for token in self._tasks if token in job.pending]
        job.abandon()
        for token in running:
            self._tasks[token].cancel()

    def finish(self) -> None:
        self._taking = False
        for job in list(self.jobs):
            if job not in self._batches:
                job.hand_back(job.queued(token for token in job.heads() if token not in self._tasks))

    def hand_back(self) -> None:
        self.finish()
        for task in [*self._tasks.values(), *self._batches.values()]:
            task.cancel()
