"""Promises about running units: time limits, memory, and that what is no longer wanted stops.

The judge looks at the units that run and ends those that break a promise: in an executor of kind process by killing it;
of kind async by cancelling the unit, and by killing the process when it does not end within `END_WITHIN`; a thread
cannot be ended, so the compiler refuses limits there, and a unit that is unwanted is only given up. `verdicts` say what
becomes of the units that were ended.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec

from flowrun.messages import Failure

from .failures import pack_failure
from .frames import ExecutorKind, Interrupt
from .job import Job, Unit
from .process import ExecutorProcess
from .resident import resident_bytes
from .shared import FAILED, UnitResult
from .unwanted import Unwanted

__all__ = ["NOT_WANTED", "Judge"]

#: the end of a unit that ran when its work became unwanted; nobody reads it
NOT_WANTED = Failure("Cancelled", "it was cancelled while it ran", retryable=False)
#: a coroutine that was cancelled has this long to end, in seconds
END_WITHIN = 1.0


class Verdict(msgspec.Struct):
    """Why a unit was ended."""

    #: None: it is handed back
    failure: Failure | None
    #: time.monotonic()
    at: float


class Judge:
    """Of one slot."""

    def __init__(self, kind: ExecutorKind, unwanted: Unwanted) -> None:
        self._kind = kind
        self._unwanted = unwanted
        self.verdicts: dict[int, Verdict] = {}
        #: the process was killed by the judge
        self.killed = False
        #: units that were asked to end
        self._asked: set[int] = set()
        self._seen: dict[int, float] = {}
        #: what the process held when a unit began that has a memory limit, in bytes
        self._held: dict[int, int] = {}
        self._settings: dict[int, Unit] = {}

    def clear(self) -> None:
        """A new process begins."""
        self.verdicts.clear()
        self._asked.clear()
        self._seen.clear()
        self._held.clear()
        self._settings.clear()
        self.killed = False

    # ---- before units run

    def most_units(self, job: Job) -> float:
        """After so many units its process is replaced."""
        return min(
            (s.max_tasks_per_process for s in job.settings() if s.max_tasks_per_process is not None),
            default=float("inf"),
        )

    def has_room(self, process: ExecutorProcess, jobs: Iterable[Job]) -> bool:
        """False: the process was used, and holds more than half of what the next units may need."""
        if not process.done or process.given > process.done:
            return True
        limits = [s.memory for job in jobs for s in job.settings() if s.memory is not None]
        if not limits or resident_bytes(process.pid) <= min(limits) / 2:
            return True
        self.killed = True
        return False

    # ---- while they run

    def look(self, process: ExecutorProcess, jobs: list[Job]) -> list[tuple[int, float]]:
        """Ends what must end; gives the units that run for sure, and since when."""
        running = process.memory.running(process.width)
        seen, self._seen = self._seen, dict(running)
        now = time.monotonic()
        sure = []
        for token, started in running:
            if seen.get(token) != started:
                continue  # what is seen once may be half written
            job = next((j for j in jobs if j.base <= token < j.end), None)
            if job is not None and token in job.pending:
                sure.append((token, started))
                if not self.killed:
                    self._unit(process, job, token, now - started)
        return sure

    def _unit(self, process: ExecutorProcess, job: Job, token: int, seconds: float) -> None:
        verdict = self.verdicts.get(token)
        if verdict is not None:
            if time.monotonic() - verdict.at > END_WITHIN:
                self._kill(process)
            return
        unit = self._settings.get(token)
        if unit is None:
            unit = self._settings[token] = job.unit(token)
        settings = unit.settings
        if not job.units.batch and self._unwanted.holds(unit.item, unit.index):
            self._end(process, job, token, NOT_WANTED)
            return
        if settings is None:
            return
        if _over(seconds, settings.timeout_ms):
            message = f"exceeded its timeout of {_duration(settings.timeout_ms or 0)}"
            self._end(process, job, token, Failure("Timeout", message))
            return
        if settings.memory is not None:
            self._weigh(process, job, token, settings.memory)
        if _over(seconds, settings.soft_timeout_ms) and token not in self._asked and token not in self.verdicts:
            self._asked.add(token)
            process.ask_to_end(token)

    def _weigh(self, process: ExecutorProcess, job: Job, token: int, limit: int) -> None:
        held = resident_bytes(process.pid)
        before = self._held.setdefault(token, held)
        if held <= limit:
            return
        if process.done and held - before < limit / 2:
            self._end(process, job, token, None)  # others filled it: it has another chance in a new process
            return
        message = f"its process used {_size(held)}, and its `memory` is {_size(limit)}"
        self._end(process, job, token, Failure("MemoryLimit", message))

    def _end(self, process: ExecutorProcess, job: Job, token: int, failure: Failure | None) -> None:
        if self._kind == "thread":
            job.fail(token, failure or NOT_WANTED, time.time(), 0.0)
            return
        self.verdicts[token] = Verdict(failure, time.monotonic())
        if self._kind == "async":
            process.send(Interrupt(token, soft=False))
        else:
            self._kill(process)

    def _kill(self, process: ExecutorProcess) -> None:
        self.killed = True
        process.kill()

    def end_all(self, process: ExecutorProcess, jobs: Iterable[Job]) -> None:
        """Ends what runs of these jobs."""
        for job in jobs:
            for token, _ in process.memory.running(process.width):
                if token in job.pending and token not in self.verdicts:
                    self._end(process, job, token, NOT_WANTED)

    def hand_back_all(self, process: ExecutorProcess) -> None:
        """Ends what runs, to be handed back."""
        self._kill(process)

    def corrected(self, results: list[UnitResult]) -> list[UnitResult]:
        """Results, those of units that were cancelled with the reason for it."""
        if not self.verdicts and not self._settings:
            return results
        fixed = []
        for result in results:
            self._settings.pop(result.token, None)
            verdict = self.verdicts.pop(result.token, None)
            if verdict is not None and verdict.failure is not None:
                payload = pack_failure(verdict.failure)
                result = msgspec.structs.replace(result, state=FAILED, payload=payload)
            fixed.append(result)
        return fixed


def _over(seconds: float, limit_ms: int | None) -> bool:
    return limit_ms is not None and seconds * 1000 > limit_ms


def _duration(ms: int) -> str:
    """As the language writes it: 90s, 5m, 250ms."""
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if ms % size == 0:
            return f"{ms // size}{unit}"
    return f"{ms}ms"


def _size(count: int) -> str:
    return f"{count / (1 << 20):,.0f} MiB"
