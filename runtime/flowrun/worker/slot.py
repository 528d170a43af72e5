"""One slot of a worker: runs jobs in an executor process, one after another, and keeps the promises about time.

While a job runs, the slot looks every `TICK` at the shared memory: what has ended, which unit runs since when. A unit
beyond its time limit, or no longer wanted, is ended by killing the process; so is nothing else. When the process is
gone, for whatever reason, the unit that was running gets the failure, all that had ended is kept, and a new process
goes on with the rest.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import Literal, Protocol

from flowc.plan import Plan

from flowrun.errors import FlowError
from flowrun.messages import Bundle, Failure, LogNote

from .frames import Bell, BlobReply, FromExecutor, GetBlob, JobFrame, Log, PlanFrame, PutBlob, Ready, Setup
from .job import Job, Unit
from .logs import LogLimit, Mask
from .process import ExecutorProcess
from .spawn import Spawned, spawn
from .unwanted import Unwanted

__all__ = ["NOT_WANTED", "ExecutorBroken", "ProcessSlot", "Services", "Slot"]

#: the end of a unit that ran when its work became unwanted; nobody reads it
NOT_WANTED = Failure("Cancelled", "it was cancelled while it ran", retryable=False)
#: between two looks at a running job, in seconds
TICK = 0.02
#: a job that takes longer gives back what it has not begun, in seconds
SLOW = 1.0
#: what was held back of a flood of output is shown after this time, in seconds
_HELD = 0.25
#: plans that an executor is sure to have kept
PLANS = 32


class ExecutorBroken(FlowError):
    """Executor processes end before they are ready."""


class Services(Protocol):
    """What a slot needs of its agent."""

    async def get_blob(self, digest: str) -> bytes: ...

    async def put_blob(self, digest: str, data: bytes) -> None: ...

    def log(self, note: LogNote) -> None: ...


class Slot(Protocol):
    """Runs one job at a time."""

    def job(self, bundle: Bundle, plans: Mapping[str, Plan]) -> Job: ...

    def start(self, services: Services, unwanted: Unwanted) -> None:
        """Before all else."""

    async def warm_up(self) -> None:
        """Gets ready for a job, if it is not."""

    async def run(self, job: Job, plan_data: Mapping[str, bytes]) -> None:
        """Returns when every unit has ended or was handed back."""

    def drop_unwanted(self) -> None:
        """Ends what is unwanted by now."""

    def hand_back(self) -> None:
        """Gives back what has not begun, and what is running too, now and in future jobs."""

    async def close(self) -> None: ...


class ProcessSlot:
    """A slot with a process of its own. `spawned`: a process that was started already."""

    def __init__(self, setup: Setup, spawned: Spawned | None = None) -> None:
        self._setup = setup
        self._spawned = spawned
        self._process: ExecutorProcess | None = None
        self._starting = asyncio.Lock()
        self._next_token = 0
        self._job: Job | None = None
        #: it still speaks after its end
        self._last_job: Job | None = None
        #: tokens that did not fit into the pipe yet
        self._waiting: deque[int] = deque()
        #: why the process is killed: the unit, and its failure (None: it is handed back)
        self._verdict: tuple[int, Failure | None] | None = None
        self._wake = asyncio.Event()
        self._failed_starts = 0
        self._innocent_ends = 0
        self._mask = Mask()
        self._limits: dict[tuple[int, str], LogLimit] = {}
        self._requests: set[asyncio.Task[None]] = set()
        #: when the first unit of the job was seen to run
        self._began: float | None = None
        self._last_seen: tuple[int, float] | None = None
        self._stopping = False
        self._last_words = ""

    def job(self, bundle: Bundle, plans: Mapping[str, Plan]) -> Job:
        job = Job(bundle, plans, self._next_token)
        self._next_token = job.end
        return job

    def start(self, services: Services, unwanted: Unwanted) -> None:
        self._services, self._unwanted = services, unwanted

    async def warm_up(self) -> None:
        await self._alive()

    async def _alive(self) -> ExecutorProcess:
        """A process that lives: the one that is there, or a new one."""
        async with self._starting:
            if self._process is not None and self._process.look():
                return self._process
            if self._process is not None:
                await self._process.close()
            try:
                spawned, self._spawned = self._spawned or spawn(), None
            except OSError as error:
                raise ExecutorBroken(f"an executor process cannot be started: {error}") from error
            self._process = ExecutorProcess(spawned, self._frame, self._output, self._wake.set)
            await self._process.attach()
            self._process.send(self._setup)
            return self._process

    async def close(self) -> None:
        for task in self._requests:
            task.cancel()
        if self._process is not None:
            await self._process.close()

    # ---- running a job

    async def run(self, job: Job, plan_data: Mapping[str, bytes]) -> None:
        self._job = self._last_job = job
        self._began = None
        self._limits.clear()
        try:
            while job.pending:
                process = await self._alive()
                job.hand_back(job.pending if self._stopping else job.unwanted(self._unwanted, job.pending))
                if not job.pending:
                    break
                self._send(process, job, plan_data)
                await self._watch(process, job)
                if job.pending:
                    self._after_end(process, job)
        finally:
            self._job = None

    def _send(self, process: ExecutorProcess, job: Job, plan_data: Mapping[str, bytes]) -> None:
        for digest in job.bundle.plans:
            if digest not in process.plans:
                if len(process.plans) >= PLANS:
                    process.plans.clear()
                process.plans.add(digest)
                process.send(PlanFrame(digest, plan_data[digest]))
        process.send(JobFrame(job.base, job.bundle.plans, job.bundle.items))
        self._verdict = None
        self._waiting = deque(job.pending)
        process.offer(self._waiting)

    async def _watch(self, process: ExecutorProcess, job: Job) -> None:
        """Until nothing is pending or the process is gone."""
        loop = asyncio.get_running_loop()
        while job.pending and process.code is None:
            self._wake.clear()
            timer = loop.call_later(TICK, self._wake.set)
            await self._wake.wait()
            timer.cancel()
            job.ended(process.memory.look())
            process.offer(self._waiting)
            if process.look():
                self._judge(process, job)
        if process.code is not None:
            await process.drain()
            job.ended(process.memory.take())

    def _judge(self, process: ExecutorProcess, job: Job) -> None:
        """Time limits, what is unwanted, slow bundles."""
        running = process.memory.running()
        seen, self._last_seen = self._last_seen, running
        if running is None or running != seen or running[0] not in job.pending:
            return  # what is seen once may be half written
        unit, now = job.unit(running[0]), time.monotonic()
        self._began = self._began or running[1]
        if self._verdict is None:
            if self._unwanted.holds(unit.item, unit.index):
                self._end_unit(process, running[0], NOT_WANTED)
            elif unit.timeout_ms is not None and (now - running[1]) * 1000 > unit.timeout_ms:
                message = f"exceeded its timeout of {_duration(unit.timeout_ms)}"
                self._end_unit(process, running[0], Failure("Timeout", message))
        if now - self._began > SLOW and len(job.pending) > 1:
            self._hand_back_queued(process, job)

    def _end_unit(self, process: ExecutorProcess, token: int, failure: Failure | None) -> None:
        self._verdict = (token, failure)
        process.kill()

    def _after_end(self, process: ExecutorProcess, job: Job) -> None:
        """The process is gone: who is to blame?"""
        assert process.code is not None
        running = process.memory.running()
        if not process.ready:
            self._failed_starts += 1
            if self._failed_starts >= 3:
                raise ExecutorBroken(f"executor processes end before they are ready: {self._last_words[-2000:]}")
            return
        self._failed_starts = 0
        if self._verdict is not None:
            token, failure = self._verdict
        elif running is not None and running[0] in job.pending:
            token, failure = running[0], _died(process.code)
        else:
            self._innocent_ends += 1
            token, failure = job.pending[0], _died(process.code)
            if self._innocent_ends < 3:
                return  # it ended between two units: none is to blame, as long as that does not go on
        self._innocent_ends = 0
        if token not in job.pending:
            return
        if failure is None:
            job.hand_back([token])
            return
        seconds = time.monotonic() - running[1] if running is not None else 0.0
        job.fail(token, failure, time.time() - seconds, seconds)

    def _hand_back_queued(self, process: ExecutorProcess, job: Job) -> None:
        tokens = [*process.take_back(), *self._waiting]
        self._waiting.clear()
        if tokens:
            job.hand_back(tokens)

    def drop_unwanted(self) -> None:
        job, process = self._job, self._process
        if job is None or process is None or not any(map(self._unwanted.concerns, job.bundle.items)):
            return
        tokens = [*process.take_back(), *self._waiting]
        dropped = set(job.unwanted(self._unwanted, tokens))
        job.hand_back(dropped)
        self._waiting = deque(token for token in tokens if token not in dropped)
        process.offer(self._waiting)
        self._wake.set()

    def hand_back(self) -> None:
        self._stopping = True
        job, process = self._job, self._process
        if job is None or process is None:
            return
        self._hand_back_queued(process, job)
        if job.pending and self._verdict is None:
            self._end_unit(process, job.pending[-1], None)

    # ---- what comes from the executor

    def _frame(self, frame: FromExecutor) -> None:
        process = self._process
        assert process is not None
        if isinstance(frame, Bell):
            if self._job is not None:
                self._job.ended(process.memory.take())
                process.offer(self._waiting)
                if not self._job.pending:
                    self._wake.set()
        elif isinstance(frame, Ready):
            process.ready = True
        elif isinstance(frame, Log):
            self._log(frame.token, frame.stream, frame.text)
        else:
            task = asyncio.ensure_future(self._answer(process, frame))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)

    async def _answer(self, process: ExecutorProcess, frame: GetBlob | PutBlob) -> None:
        try:
            if isinstance(frame, GetBlob):
                process.send(BlobReply(await self._services.get_blob(frame.digest)))
            else:
                await self._services.put_blob(frame.digest, frame.data)
                process.send(BlobReply())
        except FlowError as error:
            process.send(BlobReply(error=str(error)))

    def _output(self, stream: Literal["out", "err"], data: bytes) -> None:
        """What children of the process wrote, and C code: belongs to the unit that runs, as far as one can say."""
        process = self._process
        text = self._mask(data.decode("utf-8", "replace"))
        if process is None or not process.ready:
            self._last_words += text
            return
        speaker = self._speaker(process)
        if speaker is None:
            sys.stderr.write(text)  # before the first job: what a library says when it is imported
            return
        now = time.monotonic()
        key = (speaker, stream)
        limit = self._limits.setdefault(key, LogLimit(now))
        self._log(speaker, stream, limit.feed(text, now))
        if limit.holds:
            asyncio.get_running_loop().call_later(_HELD, self._show_held, key)

    def _show_held(self, key: tuple[int, str]) -> None:
        limit = self._limits.get(key)
        if limit is not None and limit.holds:
            self._log(*key, limit.rest())

    def _speaker(self, process: ExecutorProcess) -> int | None:
        """The unit that runs; if none does, the last one: what it wrote may come after its end."""
        running = process.memory.running()
        if running is not None:
            return running[0]
        job = self._last_job
        return None if job is None else job.base if job.last_ended is None else job.last_ended

    def _log(self, token: int, stream: str, text: str) -> None:
        job = self._last_job
        if job is not None and text and job.base <= token < job.end:
            self._services.log(_note(job.unit(token), stream, text))


def _note(unit: Unit, stream: str, text: str) -> LogNote:
    index = unit.item.index_of(unit.index)
    return LogNote(unit.item.run, unit.step, index, unit.item.attempt, stream, text)  # type: ignore[arg-type]


def _died(code: int) -> Failure:
    if code >= 0:
        message = f"its process exited with code {code} (os._exit, or an exit handler of a library)"
    else:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else "a signal without a name"
        hint = "; was the machine out of memory?" if -code == signal.SIGKILL else ""
        message = f"its process was killed by signal {-code} ({name}){hint}"
    return Failure("WorkerDied", message)


def _duration(ms: int) -> str:
    """As the language writes it: 90s, 5m, 250ms."""
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if ms % size == 0:
            return f"{ms // size}{unit}"
    return f"{ms}ms"
