"""A slot that has an executor process: runs jobs in it, and keeps the promises about time.

A slot of kind process runs one unit at a time, one of kind thread or async up to `width`. While there are jobs, it
looks every `TICK` at the shared memory: what has ended, which units run since when. Who breaks a promise, or is no
longer wanted, is ended (`judge`). When the process is gone, for whatever reason, all that had ended is kept, `blame`
says what becomes of the units that ran, and a new process goes on with the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Literal

from flowrun.errors import FlowError

from .blame import Blame
from .frames import (
    Bell,
    BlobReply,
    Drop,
    FromExecutor,
    GetBlob,
    GetCached,
    JobFrame,
    Log,
    PlanFrame,
    PutBlob,
    PutCached,
    Ready,
    Request,
    Setup,
)
from .job import Job
from .judge import Judge
from .output import Output
from .process import ExecutorProcess
from .shared import UnitResult
from .slot import ExecutorBroken, Services
from .spawn import Spawned, spawn
from .unwanted import Unwanted

__all__ = ["ProcessSlot"]

#: between two looks at running jobs, in seconds
TICK = 0.02
#: a job that takes longer gives back what it has not begun, in seconds …
SLOW = 1.0
#: … and one that waits longer behind another is given back whole
PATIENCE = 0.25
#: a job that is expected to end within this time may have the next one behind it, in seconds
SHORT = 0.05
#: plans that an executor is sure to have kept
PLANS = 512
#: so many processes in a row end before they are ready, and the worker ends
MOST_FAILED_STARTS = 3


class ProcessSlot:
    """A slot with a process of its own. `spawned`: a process that was started already; `start` starts others."""

    def __init__(self, setup: Setup, spawned: Spawned | None = None, start: Callable[[], Spawned] = spawn) -> None:
        self.kind, self.width = setup.kind, setup.width
        self.jobs: list[Job] = []
        self._setup = setup
        self._spawned, self._start_process = spawned, start
        self._process: ExecutorProcess | None = None
        #: one that takes over when the process has had its `max_tasks_per_process`
        self._spare: ExecutorProcess | None = None
        #: all that were started and are not released
        self._open: set[ExecutorProcess] = set()
        self._starting: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._next_token = 0
        self._plan_data: dict[str, bytes] = {}
        #: tokens that did not fit into the pipe yet
        self._waiting: deque[int] = deque()
        #: per job: when it came, its first unit began, and how long it is expected to take
        self._given: dict[Job, float] = {}
        self._began: dict[Job, float] = {}
        self._expected: dict[Job, float | None] = {}
        self._ticking: asyncio.TimerHandle | None = None
        self._requests: set[asyncio.Task[None]] = set()
        self._failed_starts = 0
        self._closing = False
        self._taking, self._stopping = True, False

    def start(self, services: Services, unwanted: Unwanted) -> None:
        self._services, self._unwanted = services, unwanted
        self._output = Output(services.log)
        self._judge = Judge(self.kind, unwanted)
        self._blame = Blame()

    def knows(self, code: str) -> bool:
        return code == self._setup.code

    def make_job(self, make: Callable[[int], Job]) -> Job:
        job = make(self._next_token)
        self._next_token = job.end
        return job

    # ---- the process

    async def warm_up(self) -> None:
        await self._start()

    async def _alive(self) -> ExecutorProcess:
        """A process that lives: the one that is there, or a new one."""
        async with self._lock:
            if self._process is not None and self._process.look():
                return self._process
            if self._process is not None:
                await self._settle(self._process)
                await self._end(self._process)
            spare, self._spare = self._spare, None
            self._process = spare if spare is not None and spare.look() else await self._new()
            return self._process

    async def _new(self) -> ExecutorProcess:
        try:
            spawned, self._spawned = self._spawned or self._start_process(), None
        except OSError as error:
            raise ExecutorBroken(f"an executor process cannot be started: {error}") from error
        process = ExecutorProcess(spawned, self._setup, self._frame, self._raw, self._gone)
        self._open.add(process)
        await process.attach()
        return process

    async def _end(self, process: ExecutorProcess) -> None:
        await process.close()
        self._open.discard(process)

    def _ensure(self) -> None:
        """Starts a process for the jobs, if none is being started."""
        if self._starting is None or self._starting.done():
            self._starting = self._services.spawn(self._start())

    async def _start(self) -> None:
        process = await self._alive()
        if not process.resumed:
            process.resumed = True
            self._resume(process)

    def _resume(self, process: ExecutorProcess) -> None:
        """Gives a new process all that is still to do."""
        self._waiting.clear()
        for job in list(self.jobs):
            job.hand_back([*job.pending] if self._stopping else job.unwanted(self._unwanted, job.pending))
            job.hand_back(job.orphans())
            if not self._taking and job not in self._began:
                job.hand_back([*job.pending])
            self._send(process, job)
        self._after_results()
        self._offer(process)

    def _gone(self, process: ExecutorProcess) -> None:
        if not self._closing:
            self._services.spawn(self._after_end(process))

    async def _after_end(self, process: ExecutorProcess) -> None:
        async with self._lock:
            await self._settle(process)
        if self.jobs:
            self._ensure()

    async def _settle(self, process: ExecutorProcess) -> None:
        """What becomes of the units of a process that is gone; once."""
        await process.drain()
        if process is not self._process or process.settled:
            return
        process.settled = True
        self._results(process, process.memory.take())
        if not process.ready:
            self._failed_starts += 1
            if self._failed_starts >= MOST_FAILED_STARTS:
                words = self._output.last_words[-2000:]
                raise ExecutorBroken(f"executor processes end before they are ready: {words}")
        else:
            self._failed_starts = 0
            self._blame.settle(process, self.jobs, self._judge)
            self._judge.clear()
        if self._stopping:
            for job in self.jobs:
                job.hand_back([*job.pending])
        self._after_results()

    async def close(self) -> None:
        self._closing = True
        for task in self._requests:
            task.cancel()
        if self._ticking is not None:
            self._ticking.cancel()
        async with self._lock:  # what is being started is there by then
            for process in list(self._open):
                await self._end(process)
            self._process = self._spare = None

    async def rest(self) -> None:
        if not self.jobs:
            await self.close()
            self._closing = False

    # ---- jobs

    def room(self) -> int:
        if not self._taking:
            return 0
        if self.width > 1:
            units = sum(len(job.pending) for job in self.jobs)
            size = max(1, units // max(1, len(self.jobs)))
            return max(0, self.width - units) // size
        if not self.jobs:
            return 1
        if len(self.jobs) > 1:
            return 0
        (job,) = self.jobs
        if job.end - job.base == 1:
            return 0  # it may be alone because a worker died of it: whoever is here with it is suspected too
        expected = self._expected[job]
        return 1 if expected is not None and expected < SHORT else 0

    def begin(self, job: Job, plan_data: Mapping[str, bytes], expected: float | None) -> None:
        self.jobs.append(job)
        self._given[job], self._expected[job] = time.monotonic(), expected
        self._plan_data.update(plan_data)
        self._arm()
        process = self._process
        if not self._taking:
            job.hand_back([*job.pending])
        else:
            job.hand_back(job.unwanted(self._unwanted, job.pending))
        if not job.pending:
            self._after_results()
        elif process is not None and process.resumed and process.code is None:
            self._send(process, job)
            self._offer(process)
        else:
            self._ensure()

    def _send(self, process: ExecutorProcess, job: Job) -> None:
        if not job.pending:
            return
        missing = [digest for digest in job.bundle.plans if digest not in process.plans]
        if len(process.plans) + len(missing) > PLANS:
            process.plans.clear()
            missing = [*job.bundle.plans]
        for digest in missing:
            process.plans.add(digest)
            process.send(PlanFrame(digest, self._plan_data[digest]))
        if job.given is not None:
            process.send(job.given)
        process.send(JobFrame(job.base, job.data))
        process.most_units = min(process.most_units, self._judge.most_units(job))
        self._waiting.extend(job.heads())

    def _offer(self, process: ExecutorProcess) -> None:
        """Moves waiting tokens into the pipe, as many as may run there."""
        if not self._waiting:
            return
        if not self._judge.has_room(process, self.jobs):
            process.kill()  # it holds so much memory already that the next attempt would be blamed for it
            return
        most = self._blame.most(self._waiting, process.most_units - process.given, self.jobs)
        if most < len(self._waiting):
            some = deque(islice(self._waiting, most))
            process.offer(some)
            for _ in range(most - len(some)):
                self._waiting.popleft()
        else:
            process.offer(self._waiting)
        if process.given * 2 >= process.most_units and self._spare is None and not self._closing:
            self._services.spawn(self._prepare_spare())

    async def _prepare_spare(self) -> None:
        async with self._lock:
            if self._spare is None and not self._closing:
                self._spare = await self._new()

    def _results(self, process: ExecutorProcess, results: list[UnitResult]) -> None:
        """Tells the jobs, which are in the order of their tokens."""
        if not results:
            return
        process.done += len(results)
        if len(self.jobs) == 1:
            self._tell(self.jobs[0], results)
            return
        of: dict[Job, list[UnitResult]] = {}
        first = 0
        while first < len(results):
            last, job = self._neighbours(results, first)
            if job is not None:
                of.setdefault(job, []).extend(results[first:last])
            first = last
        for job, some in of.items():
            self._tell(job, some)

    def _neighbours(self, results: list[UnitResult], first: int) -> tuple[int, Job | None]:
        """Up to where results belong to the same job as the one at `first`, and that job."""
        token = results[first].token
        job = next((j for j in self.jobs if j.base <= token < j.end), None)
        last = first + 1
        if job is not None:
            base, end = job.base, job.end
            while last < len(results) and base <= results[last].token < end:
                last += 1
        return last, job

    def _tell(self, job: Job, results: list[UnitResult]) -> None:
        self._began.setdefault(job, time.monotonic())
        job.ended(self._judge.corrected(results))

    def _after_results(self) -> None:
        """Forgets jobs that have ended."""
        ended = [job for job in self.jobs if not job.pending]
        if ended:
            self.jobs = [job for job in self.jobs if job.pending]
            for job in ended:
                self._given.pop(job, None)
                self._began.pop(job, None)
                self._expected.pop(job, None)
                self._output.ended(job)
        if not self.jobs:
            self._plan_data.clear()
        if ended or self.width > 1:
            self._services.freed(self)

    def _replace_if_used_up(self, process: ExecutorProcess) -> None:
        """It has had its `max_tasks_per_process`: the spare one goes on."""
        if process.done >= process.most_units and process.attached and not process.memory.running(self.width):
            process.settled = True
            self._process = None
            self._services.spawn(self._end(process))
            if self.jobs:
                self._ensure()

    # ---- looking

    def _arm(self) -> None:
        if self._ticking is None and not self._closing:
            self._ticking = asyncio.get_running_loop().call_later(TICK, self._tick)

    def _tick(self) -> None:
        self._ticking = None
        process = self._process
        if not self.jobs or self._closing:
            return
        self._arm()
        if process is None or not process.attached or process.code is not None:
            return
        self._results(process, process.memory.look())
        self._after_results()
        if process.look() and self.jobs:
            running = self._judge.look(process, self.jobs)
            for token, started in running:
                job = next((j for j in self.jobs if j.base <= token < j.end), None)
                if job is not None:
                    self._began.setdefault(job, started)
                    if (event := job.begun(token)) is not None:
                        self._services.tell(job.bundle.partition, event)
            self._hand_back_slow(process)
            self._offer(process)
            self._after_results()
        self._replace_if_used_up(process)

    def _hand_back_slow(self, process: ExecutorProcess) -> None:
        if self._blame.searches:
            return
        now = time.monotonic()
        slow = [job for i, job in enumerate(self.jobs) if self._is_slow(job, i, now)]
        if slow:
            self._hand_back_queued(process, self.jobs[self.jobs.index(slow[0]) :])

    def _is_slow(self, job: Job, place: int, now: float) -> bool:
        began = self._began.get(job)
        if began is not None:
            return now - began > SLOW and len(job.pending) > 1
        since = max(self._given[job], self._began.get(self.jobs[0], now))  # a process that starts is no reason
        return place > 0 and now - since > PATIENCE

    def _hand_back_queued(self, process: ExecutorProcess | None, jobs: list[Job]) -> None:
        """What these jobs have not begun."""
        tokens = deque([*(process.take_back() if process is not None else ()), *self._waiting])
        self._waiting.clear()
        for job in jobs:
            job.hand_back(job.queued(tokens))
        rest = [token for token in tokens if not any(job.base <= token < job.end for job in jobs)]
        self._waiting.extend(rest)
        if process is not None and rest:
            self._offer(process)
        self._after_results()

    # ---- what is no longer wanted

    def drop_unwanted(self) -> None:
        concerned = [job for job in self.jobs if any(map(self._unwanted.concerns, job.bundle.items))]
        process = self._process
        if not concerned or process is None or not process.attached:
            return
        tokens = [*process.take_back(), *self._waiting]
        for job in concerned:
            mine = job.queued(tokens)
            dropped = job.unwanted(self._unwanted, mine)
            if not job.units.batch or len(dropped) == len(mine):  # of a batch the others go on with it
                job.hand_back(dropped)
            if job.units.chains:
                self._drop_followers(process, job)
        self._waiting = deque(token for token in tokens if any(token in job.pending for job in self.jobs))
        self._offer(process)
        self._judge.look(process, self.jobs)
        self._after_results()

    def _drop_followers(self, process: ExecutorProcess, job: Job) -> None:
        followers = set(job.pending) - set(job.heads())
        dropped = job.unwanted(self._unwanted, followers)
        if dropped:
            process.send(Drop(tuple(dropped)))
            process.memory.ask_attention()

    def abandon(self, job: Job) -> None:
        process = self._process
        if job not in self.jobs:
            return
        tokens = [*(process.take_back() if process is not None and process.attached else ()), *self._waiting]
        self._waiting = deque(token for token in tokens if not job.base <= token < job.end)
        if process is not None and process.attached:
            self._judge.end_all(process, [job])
            self._offer(process)
        job.abandon()
        self._after_results()

    def finish(self) -> None:
        self._taking = False
        self._hand_back_queued(self._live(), list(self.jobs))

    def hand_back(self) -> None:
        self._taking, self._stopping = False, True
        process = self._live()
        self._hand_back_queued(process, list(self.jobs))
        if process is None:
            for job in self.jobs:
                job.hand_back([*job.pending])
            self._after_results()
        elif self.jobs:
            self._judge.hand_back_all(process)

    def _live(self) -> ExecutorProcess | None:
        process = self._process
        return process if process is not None and process.attached and process.code is None else None

    # ---- what comes from the executor

    def _frame(self, process: ExecutorProcess, frame: FromExecutor) -> None:
        if isinstance(frame, Bell):
            if process is self._process:
                self._results(process, process.memory.take())
                self._after_results()
                self._offer(process)
                if process.done >= process.most_units:
                    self._replace_if_used_up(process)
        elif isinstance(frame, Ready):
            process.ready = True
        elif isinstance(frame, Log):
            self._output.show(self.jobs, frame.token, frame.stream, frame.text)
        else:
            task = asyncio.ensure_future(self._answer(process, frame))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)

    def _raw(self, process: ExecutorProcess, stream: Literal["out", "err"], data: bytes) -> None:
        self._output.raw(process, self.jobs, stream, data)

    async def _answer(self, process: ExecutorProcess, frame: Request) -> None:
        data = b""
        try:
            match frame:
                case GetBlob(digest=digest):
                    data = await self._services.get_blob(digest)
                case PutBlob(digest=digest):
                    await self._services.put_blob(digest, frame.data)
                case GetCached(key=key):
                    data = await self._services.get_cached(key)
                case PutCached(key=key):
                    await self._services.put_cached(key, frame.data, frame.ttl_ms)
            process.send(BlobReply(frame.request, data))
        except FlowError as error:
            process.send(BlobReply(frame.request, error=str(error)))
