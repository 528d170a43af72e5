"""How long steps take, as this worker saw it: what is short may be fetched ahead."""

from __future__ import annotations

from collections import OrderedDict

from .job import Job
from .steps import StepKey

__all__ = ["Pace"]

#: steps that are remembered
ROOM = 1_000
#: the weight of the last bundle in the average
_WEIGHT = 0.3


class Pace:
    """Averages per step, in seconds."""

    def __init__(self) -> None:
        self._seconds: OrderedDict[StepKey, float] = OrderedDict()

    def expected(self, job: Job) -> float | None:
        """How long its units will take one after the other; None if one of its steps is not known."""
        total = 0.0
        for key, count in job.steps().items():
            seconds = self._seconds.get(key)
            if seconds is None:
                return None
            total += seconds * count
        return total

    def learn(self, job: Job) -> None:
        """From a job that has ended."""
        if not job.count:
            return
        seconds = job.seconds / job.count
        for key in job.steps():
            before = self._seconds.pop(key, seconds)
            self._seconds[key] = before + _WEIGHT * (seconds - before)
            if len(self._seconds) > ROOM:
                self._seconds.popitem(last=False)
