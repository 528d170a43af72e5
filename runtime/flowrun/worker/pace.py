"""How long steps take, as this worker saw it: what is short may be fetched ahead."""

from __future__ import annotations

from collections import Counter, OrderedDict

from flowrun.messages import Bundle

from .job import Job
from .steps import StepKey, step_key

__all__ = ["Pace"]

#: steps that are remembered
ROOM = 1_000
#: the weight of the last bundle in the average
_WEIGHT = 0.3


class Pace:
    """Averages per step, in seconds."""

    def __init__(self) -> None:
        self._seconds: OrderedDict[StepKey, float] = OrderedDict()

    def expected(self, bundle: Bundle) -> float | None:
        """How long its units will take one after the other; None if one of its steps is not known."""
        total = 0.0
        for key, count in _counts(bundle).items():
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
        for key in _counts(job.bundle):
            before = self._seconds.pop(key, seconds)
            self._seconds[key] = before + _WEIGHT * (seconds - before)
            if len(self._seconds) > ROOM:
                self._seconds.popitem(last=False)


def _counts(bundle: Bundle) -> dict[StepKey, int]:
    """Units by step; a follower counts as its predecessor."""
    counts: Counter[StepKey] = Counter()
    for item in bundle.items:
        counts[step_key(item, bundle.plans)] += item.last - item.first if item.first >= 0 else 1 + len(item.then)
    return counts
