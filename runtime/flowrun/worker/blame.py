"""When an executor is gone: what becomes of the units that ran in it.

Those that were ended on purpose get the reason. If one other ran, it is to blame. If several did, nobody knows which:
they are *suspects*, and are run again in smaller and smaller batches, alone at last, before anything else is begun. So
a unit that ends its process fails, and its neighbours do not.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable

from flowrun.messages import Failure

from .job import Job
from .judge import Judge
from .process import ExecutorProcess

__all__ = ["Blame"]

#: a process that ended so often while no unit ran ends because of the next one
MOST_INNOCENT_ENDS = 3


class Blame:
    """Of one slot."""

    def __init__(self) -> None:
        self._innocent_ends = 0
        self._suspects: set[int] = set()
        self._batch: set[int] = set()
        self._size = 1

    @property
    def searches(self) -> bool:
        """There are suspects, who must not get away."""
        return bool(self._suspects)

    def most(self, waiting: Iterable[int], allowed: float, pending: Iterable[Job]) -> int:
        """How many of the waiting tokens, from the first, may be handed out."""
        tokens = list(waiting)
        most = int(min(len(tokens), max(0, allowed)))
        if not self._suspects:
            return most
        open_ = {token for job in pending for token in job.pending}
        self._suspects &= open_
        if not self._suspects:
            return most
        if self._batch & open_:
            return 0
        self._batch = set(sorted(self._suspects)[: self._size])
        return sum(1 for token in tokens[:most] if token in self._batch)

    def settle(self, process: ExecutorProcess, jobs: list[Job], judge: Judge) -> None:
        """Tells the jobs what became of the units that ran in a process that is gone."""
        self._batch = set()  # what it had not begun waits again
        running = dict(process.memory.running(process.width))
        for token, verdict in judge.verdicts.items():
            job = _job_of(jobs, token)
            if job is not None and token in job.pending:
                _end(job, token, verdict.failure, running.get(token))
        ran = [(job, t) for t in running if (job := _job_of(jobs, t)) is not None and t in job.pending]
        if judge.killed:
            for job, token in ran:
                _end(job, token, None, running[token])
            return
        if ran:
            self._innocent_ends = 0
            self._accuse(process, jobs, ran, running)
            return
        self._innocent_ends += 1
        first = next((job for job in jobs if job.pending), None)
        if self._innocent_ends >= MOST_INNOCENT_ENDS and first is not None:
            self._innocent_ends = 0
            _end(first, next(iter(first.pending)), _died(process), None)

    def _accuse(
        self, process: ExecutorProcess, jobs: list[Job], ran: list[tuple[Job, int]], running: dict[int, float]
    ) -> None:
        if len(ran) == 1:
            job, token = ran[0]
            _end(job, token, _died(process), running[token])
            return
        for job, token in ran:
            settings = job.unit(token).settings
            if settings is not None and settings.at_most_once:
                _end(job, token, None, running[token])
        ran = [(job, token) for job, token in ran if token in job.pending]
        heads = [(job, token) for job, token in ran if token in set(job.heads())]
        for job, token in ran:
            if (job, token) not in heads:
                job.hand_back([token])  # what it needs was in the process
        self._suspects |= {token for _, token in heads}
        # tokens go out in their order: what stands before a suspect, and was about to begin, is tried with them
        last = max(self._suspects, default=-1)
        self._suspects |= {token for job in jobs if job.base < last for token in job.heads() if token < last}
        self._size = max(1, len(heads) // 2)


def _job_of(jobs: list[Job], token: int) -> Job | None:
    return next((job for job in jobs if job.base <= token < job.end), None)


def _end(job: Job, token: int, failure: Failure | None, started: float | None) -> None:
    seconds = time.monotonic() - started if started is not None else 0.0
    if failure is None:
        job.give_up(token, time.time() - seconds, seconds)
        return
    job.fail(token, failure, time.time() - seconds, seconds)


def _died(process: ExecutorProcess) -> Failure:
    code = process.code or 0
    if code >= 0:
        message = f"its process exited with code {code} (os._exit, or an exit handler of a library)"
    else:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else "a signal without a name"
        hint = "; was the machine out of memory?" if -code == signal.SIGKILL else ""
        message = f"its process was killed by signal {-code} ({name}){hint}"
    return Failure("WorkerDied", message)
