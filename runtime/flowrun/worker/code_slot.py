"""A slot that runs work of several codes, each in processes that see that one only.

It has a `ProcessSlot` per code, which knows nothing of the others, and so keeps all promises of one. A slot of kind
process lets one of them work at a time: a job of another code waits for the end of what runs, and is handed back if
that takes long. A slot of kind thread or async lets all work, as many units together as it has room for.

A process that has nothing to do stays warm, for its code may come again: a few per slot, and for a while. So work that
alternates between codes does not start a process each time.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flowc
import msgspec

import flowrun
from flowrun.messages import Event, Failure, LogNote

from .codes import Code
from .frames import Setup
from .job import Job
from .process_slot import ProcessSlot
from .slot import ExecutorBroken, Services, Slot
from .spawn import Spawned, spawn
from .unwanted import Unwanted

__all__ = ["CodeSlot"]

#: idle processes of other codes than the last one that are kept …
MOST_IDLE = 3
#: … for so long, in seconds
IDLE = 60.0
#: a job that waits longer for the end of another code's is handed back, in seconds
PATIENCE = 1.0


class _Waiting(NamedTuple):
    """A job that has not begun because another code's runs."""

    job: Job
    plan_data: Mapping[str, bytes]
    expected: float | None
    #: by the loop's clock
    since: float


class CodeSlot:
    """As `Slot` has it. `spawned`: a process for the worker's own code that was started already."""

    def __init__(self, setup: Setup, spawned: Spawned | None = None) -> None:
        self.kind, self.width = setup.kind, setup.width
        self._setup = setup
        #: by digest, "" the worker's own code; the one that was used last is the last
        self._slots: OrderedDict[str, ProcessSlot] = OrderedDict({"": ProcessSlot(setup, spawned)})
        #: the codes of those that are not the worker's own
        self._codes: dict[str, Code] = {}
        #: when each was used last, by the loop's clock
        self._used: dict[str, float] = {}
        self._waiting: deque[_Waiting] = deque()
        #: what could not be closed any more when the agent ended
        self._left: list[tuple[ProcessSlot, Code | None]] = []
        self._next_token = 0
        self._taking = True
        self._looking: asyncio.TimerHandle | None = None

    def start(self, services: Services, unwanted: Unwanted) -> None:
        self._services, self._unwanted = services, unwanted
        for digest, slot in self._slots.items():
            slot.start(_Inside(services, self, digest), unwanted)

    def make_job(self, make: Callable[[int], Job]) -> Job:
        job = make(self._next_token)
        self._next_token = job.end
        return job

    async def warm_up(self) -> None:
        await self._slots[next(reversed(self._slots))].warm_up()

    async def rest(self) -> None:
        for slot in list(self._slots.values()):
            await slot.rest()

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        for digest, slot in list(self._slots.items()):
            await self._close(slot, self._codes.pop(digest, None))
        while self._left:
            await self._close(*self._left.pop())

    # ---- jobs

    @property
    def jobs(self) -> list[Job]:
        if len(self._slots) == 1 and not self._waiting:
            return next(iter(self._slots.values())).jobs
        running = [job for slot in self._slots.values() for job in slot.jobs]
        return running + [one.job for one in self._waiting]

    def knows(self, code: str) -> bool:
        return code in self._slots

    def room(self) -> int:
        if not self._taking or self._waiting:
            return 0
        busy = [slot for slot in self._slots.values() if slot.jobs]
        if not busy:
            return self.width
        if len(busy) == 1:
            return busy[0].room()
        jobs = self.jobs
        units = sum(len(job.pending) for job in jobs)
        return max(0, self.width - units) // max(1, units // len(jobs))

    def begin(self, job: Job, plan_data: Mapping[str, bytes], expected: float | None) -> None:
        if not self._taking:
            job.hand_back([*job.pending])
            return
        if self.width == 1 and (self._waiting or self._others_run(_digest(job))):
            self._waiting.append(_Waiting(job, plan_data, expected, asyncio.get_running_loop().time()))
            self._look_later(PATIENCE)
            return
        self._run(job, plan_data, expected)

    def _run(self, job: Job, plan_data: Mapping[str, bytes], expected: float | None) -> None:
        digest = _digest(job)
        slot = self._slot_of(digest, job.code)
        if len(self._slots) > 1:
            self._used[digest] = asyncio.get_running_loop().time()
            self._slots.move_to_end(digest)
            self._end_idle()
        slot.begin(job, plan_data, expected)

    def _others_run(self, digest: str) -> bool:
        return any(slot.jobs for known, slot in self._slots.items() if known != digest)

    def _slot_of(self, digest: str, code: Code | None) -> ProcessSlot:
        slot = self._slots.get(digest)
        if slot is not None and self._codes.get(digest) is code:
            return slot
        if slot is not None:  # it was prepared anew, and the processes are those of the old environment
            self._end(digest)
        setup, start = self._setup, spawn
        if code is not None:
            code.holders += 1
            self._codes[digest] = code
            found = code.prepared
            setup = msgspec.structs.replace(setup, root=str(found.root), python=found.python, code=digest)
            if found.interpreter is not None:
                start = partial(spawn, str(found.interpreter), _worker_paths())
        slot = self._slots[digest] = ProcessSlot(setup, start=start)
        slot.start(_Inside(self._services, self, digest), self._unwanted)
        return slot

    def freed_by(self, digest: str) -> None:
        """Something of this code has ended."""
        if digest in self._used:
            self._used[digest] = asyncio.get_running_loop().time()
        self._freed()

    def _freed(self) -> None:
        while self._waiting and not any(slot.jobs for slot in self._slots.values()):
            one = self._waiting.popleft()
            self._run(one.job, one.plan_data, one.expected)
        self._services.freed(self)

    # ---- processes that are not needed

    def _end_idle(self, older_than: float = float("inf")) -> None:
        """Of the codes that have nothing to do, and were not used last: all but the latest few, and what is old."""
        idle = [digest for digest, slot in [*self._slots.items()][:-1] if not slot.jobs]
        now = asyncio.get_running_loop().time()
        for place, digest in enumerate(reversed(idle)):
            if place >= MOST_IDLE or now - self._used.setdefault(digest, now) > older_than:
                self._end(digest)
        if len(self._slots) > 1:
            self._look_later(IDLE)

    def _end(self, digest: str) -> None:
        self._used.pop(digest, None)
        self._close_later(self._slots.pop(digest), self._codes.pop(digest, None))

    def _close_later(self, slot: ProcessSlot, code: Code | None) -> None:
        if self._services.spawn(self._close(slot, code)) is None:
            self._left.append((slot, code))

    async def _close(self, slot: ProcessSlot, code: Code | None) -> None:
        await slot.close()
        if code is not None:
            code.holders -= 1

    def _look_later(self, seconds: float) -> None:
        if self._looking is not None:
            if self._looking.when() <= asyncio.get_running_loop().time() + seconds:
                return
            self._looking.cancel()
        self._looking = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self._looking = None
        now = asyncio.get_running_loop().time()
        late = [one for one in self._waiting if now - one.since >= PATIENCE]
        if late:
            self._give_back(late)
        if self._waiting:
            self._look_later(PATIENCE / 4)
        self._end_idle(IDLE)

    def broken(self, digest: str, error: ExecutorBroken) -> None:
        """Processes of this code do not start: what was to run there fails, and the worker goes on."""
        if digest not in self._codes:
            return
        slot, code = self._slots.pop(digest), self._codes.pop(digest)
        code.broke(error)
        failure = Failure("WorkerDied", f"the code {digest} cannot be run: {error}")
        for job in list(slot.jobs):
            while job.pending:
                job.fail(next(iter(job.pending)), failure, time.time(), 0.0)
        slot.jobs.clear()
        self._close_later(slot, code)
        self._freed()

    # ---- what is no longer wanted

    def _give_back(self, some: list[_Waiting]) -> None:
        for one in some:
            self._waiting.remove(one)
            one.job.hand_back([*one.job.pending])
        self._services.freed(self)

    def drop_unwanted(self) -> None:
        for slot in list(self._slots.values()):
            slot.drop_unwanted()
        for one in list(self._waiting):
            dropped = one.job.unwanted(self._unwanted, one.job.pending)
            if not one.job.units.batch or len(dropped) == len(one.job.pending):
                one.job.hand_back(dropped)
            if not one.job.pending:
                self._waiting.remove(one)

    def abandon(self, job: Job) -> None:
        for one in list(self._waiting):
            if one.job is job:
                self._waiting.remove(one)
                job.abandon()
                return
        for slot in list(self._slots.values()):
            slot.abandon(job)

    def finish(self) -> None:
        self._taking = False
        self._give_back([*self._waiting])
        for slot in list(self._slots.values()):
            slot.finish()

    def hand_back(self) -> None:
        self._taking = False
        self._give_back([*self._waiting])
        for slot in list(self._slots.values()):
            slot.hand_back()


def _digest(job: Job) -> str:
    return "" if job.code is None else job.code.digest


def _worker_paths() -> list[str]:
    """Where a process with the interpreter of an environment finds what is installed here, ourselves included."""
    import sysconfig  # few workers have such codes

    standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    standard |= {f"{folder}/lib-dynload" for folder in standard}
    ours = [str(Path(module.__path__[0]).parent) for module in (flowrun, flowc)]
    installed = [path for path in sys.path if path and not path.endswith(".zip") and path not in standard]
    return list(dict.fromkeys([*installed, *ours]))


class _Inside:
    """The services for the slot of one code."""

    def __init__(self, services: Services, outer: CodeSlot, digest: str) -> None:
        self._services, self._outer, self._digest = services, outer, digest

    async def get_blob(self, digest: str) -> bytes:
        return await self._services.get_blob(digest)

    async def put_blob(self, digest: str, data: bytes) -> None:
        await self._services.put_blob(digest, data)

    async def get_cached(self, key: str) -> bytes:
        return await self._services.get_cached(key)

    async def put_cached(self, key: str, data: bytes, ttl_ms: int) -> None:
        await self._services.put_cached(key, data, ttl_ms)

    def log(self, note: LogNote) -> None:
        self._services.log(note)

    def tell(self, partition: str, event: Event) -> None:
        self._services.tell(partition, event)

    def freed(self, slot: Slot) -> None:
        self._outer.freed_by(self._digest)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        if not self._digest:
            return self._services.spawn(work)
        task = self._services.spawn(self._guarded(work))
        if task is None:
            work.close()
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ExecutorBroken as error:
            self._outer.broken(self._digest, error)
