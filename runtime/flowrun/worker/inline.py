"""A slot that runs tasks in the agent's own process and event loop: for tests on the in-memory transport.

The rules of execution are those of `execute`, as in a process; promises that need a process are not kept: a task that
blocks cannot be ended, and one that kills its process kills all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowc.plan import Plan

from flowrun import values
from flowrun.errors import StoreError
from flowrun.messages import Bundle, Failure

from .execute import Ended, Executions, Prepared, ended_by
from .failures import TaskFailed
from .job import Job
from .shared import UnitResult
from .slot import NOT_WANTED, Services
from .unwanted import Unwanted

__all__ = ["InlineSlot"]


class _Blobs:
    """What was fetched before a unit runs, and what is to be stored after it."""

    def __init__(self) -> None:
        self.fetched: dict[str, bytes] = {}
        self.stored: dict[str, bytes] = {}

    def get(self, digest: str) -> bytes:
        if digest not in self.fetched:
            raise StoreError(f"the blob {digest} was not fetched")
        return self.fetched[digest]

    def put(self, digest: str, data: bytes) -> None:
        self.stored[digest] = data


class InlineSlot:
    """A slot without a process."""

    def __init__(self, root: Path) -> None:
        self._blobs = _Blobs()
        self._executions = Executions(root, self._blobs)
        self._known: set[str] = set()
        self._next_token = 0
        self._job: Job | None = None
        self._stopping = False
        self._task: asyncio.Task[Ended] | None = None

    def job(self, bundle: Bundle, plans: Mapping[str, Plan]) -> Job:
        job = Job(bundle, plans, self._next_token)
        self._next_token = job.end
        return job

    def start(self, services: Services, unwanted: Unwanted) -> None:
        self._services, self._unwanted = services, unwanted

    async def warm_up(self) -> None:
        """There is nothing to start."""

    async def close(self) -> None:
        self.hand_back()

    async def run(self, job: Job, plan_data: Mapping[str, bytes]) -> None:
        self._job = job
        job.hand_back(job.pending if self._stopping else job.unwanted(self._unwanted, job.pending))
        for digest, data in plan_data.items():
            self._executions.add(digest, data)
        prepared: Prepared | None = None
        item = None
        try:
            while job.pending:
                token = job.pending[0]
                unit = job.unit(token)
                if prepared is None or unit.item is not item:
                    item = unit.item
                    self._blobs.fetched.clear()
                    await self._fetch(item.inputs)
                    prepared = self._executions.prepare(item, job.bundle.plans[item.plan])
                await self._unit(job, token, prepared)
        finally:
            self._job = None

    async def _fetch(self, data: tuple[bytes, ...]) -> None:
        """All that inputs refer to, and what that refers to."""
        for blob in values.references(data):
            if blob.digest not in self._blobs.fetched:
                found = await self._services.get_blob(blob.digest)
                self._blobs.fetched[blob.digest] = found
                await self._fetch((found,))

    async def _unit(self, job: Job, token: int, prepared: Prepared) -> None:
        loop = asyncio.get_running_loop()
        unit, started = job.unit(token), loop.time()
        limit = None if unit.timeout_ms is None else unit.timeout_ms / 1000
        self._task = loop.create_task(_attempt(prepared, unit.index))
        done, _ = await asyncio.wait([self._task], timeout=limit)
        if not done:
            self._task.cancel()
            await asyncio.wait([self._task])
            message = f"exceeded its timeout of {limit:g}s"
            ended = ended_by(TaskFailed(Failure("Timeout", message)))
        elif self._task.cancelled():
            self._end_cancelled(job, token)
            return
        else:
            ended = self._task.result()
        for digest, data in self._blobs.stored.items():
            await self._services.put_blob(digest, data)
        self._blobs.stored.clear()
        seconds = loop.time() - started
        job.ended([UnitResult(token, ended.state, started, seconds, ended.payload)])

    def _end_cancelled(self, job: Job, token: int) -> None:
        if token not in job.pending:
            return
        if job.unwanted(self._unwanted, [token]):
            job.fail(token, NOT_WANTED, 0.0, 0.0)
        else:
            job.hand_back([token])

    def drop_unwanted(self) -> None:
        job = self._job
        if job is None:
            return
        running, *waiting = job.pending or (-1,)
        job.hand_back(job.unwanted(self._unwanted, waiting))
        if running >= 0 and self._task is not None and job.unwanted(self._unwanted, [running]):
            self._task.cancel()

    def hand_back(self) -> None:
        self._stopping = True
        if self._job is None:
            return
        self._job.hand_back(list(self._job.pending)[1:])
        if self._task is not None:
            self._task.cancel()


async def _attempt(prepared: Prepared, index: int) -> Ended:
    try:
        value: Any = prepared.begin(index)
        if hasattr(value, "__await__"):
            value = await value
        return prepared.end(value)
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # as in `execute.run`
        return ended_by(error)
