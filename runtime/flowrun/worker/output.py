"""What executors write, as notes of the attempts that wrote it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from flowrun.messages import LogNote

from .job import Job, Unit
from .logs import LogLimit
from .mask import process_mask
from .process import ExecutorProcess

__all__ = ["Output"]

#: what was held back of a flood of output is shown after this time, in seconds
_HELD = 0.25
#: jobs that have ended may still speak: so many are remembered
_REMEMBERED = 64


class Output:
    """Of one slot."""

    def __init__(self, emit: Callable[[LogNote], None]) -> None:
        self._emit = emit
        self._mask = process_mask()
        self._limits: dict[tuple[int, str], LogLimit] = {}
        self._past: deque[Job] = deque(maxlen=_REMEMBERED)
        #: ends of what processes wrote that may be the beginning of a secret, by process id and stream
        self._open: dict[tuple[int, str], str] = {}
        #: what processes said before they were ready
        self.last_words = ""

    def ended(self, job: Job) -> None:
        """It may still speak."""
        self._past.append(job)
        for key in [key for key in self._limits if job.base <= key[0] < job.end and not self._limits[key].holds]:
            del self._limits[key]

    def show(self, jobs: list[Job], token: int, stream: str, text: str) -> None:
        """Text that the unit of this token wrote, masked and limited already."""
        if not text:
            return
        for job in (*jobs, *reversed(self._past)):
            if job.base <= token < job.end:
                self._emit(_note(job.unit(token), stream, text))
                return

    def raw(self, process: ExecutorProcess, jobs: list[Job], stream: Literal["out", "err"], data: bytes) -> None:
        """What children of the process wrote, and C code: belongs to the unit that runs, as far as one can say."""
        whole = (process.pid, stream)
        text = self._open.pop(whole, "") + data.decode("utf-8", "replace")
        held = self._mask.unfinished(text)
        if held:
            self._open[whole] = text[len(text) - held :]
            asyncio.get_running_loop().call_later(_HELD, self._show_open, process, jobs, stream, self._open[whole])
        self._show_raw(process, jobs, stream, self._mask(text[: len(text) - held]))

    def _show_open(self, process: ExecutorProcess, jobs: list[Job], stream: Literal["out", "err"], held: str) -> None:
        """Nothing followed: it was no secret."""
        if self._open.get((process.pid, stream)) == held:
            self._show_raw(process, jobs, stream, self._open.pop((process.pid, stream)))

    def _show_raw(self, process: ExecutorProcess, jobs: list[Job], stream: Literal["out", "err"], text: str) -> None:
        """Text that is masked."""
        if not text:
            return
        if not process.ready:
            self.last_words += text
            return
        speaker = self._speaker(process, jobs)
        if speaker is None:
            sys.stderr.write(text)  # before the first job: what a library says when it is imported
            return
        now = time.monotonic()
        key = (speaker, stream)
        limit = self._limits.setdefault(key, LogLimit(now))
        self.show(jobs, speaker, stream, limit.feed(text, now))
        if limit.holds:
            asyncio.get_running_loop().call_later(_HELD, self._show_held, jobs, key)

    def _show_held(self, jobs: list[Job], key: tuple[int, str]) -> None:
        limit = self._limits.get(key)
        if limit is not None and limit.holds:
            self.show(jobs, *key, limit.rest())

    def _speaker(self, process: ExecutorProcess, jobs: list[Job]) -> int | None:
        """The unit that runs; if none does, the last one: what it wrote may come after its end."""
        running = process.memory.running(process.width)
        if running:
            return max(running, key=lambda one: one[1])[0]
        for job in (*reversed(jobs), *reversed(self._past)):
            if job.last_ended is not None:
                return job.last_ended
        return jobs[0].base if jobs else None


def _note(unit: Unit, stream: str, text: str) -> LogNote:
    index = unit.item.index_of(unit.index)
    return LogNote(unit.item.run, unit.step, index, unit.item.attempt, stream, text)  # type: ignore[arg-type]
