"""How long tasks take: a moving average of the seconds that each took, learned from results."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from math import isfinite

from .backlog import Task
from .messages import Bundle, Outcome

__all__ = ["Durations"]

#: how much the last measurement counts in the moving average
_WEIGHT = 0.3
#: tasks that are remembered; more are of plans long gone
_MOST = 10_000
#: outcomes of what was executed
_RAN = frozenset({"success", "failed", "skipped"})


class Durations:
    """Of the tasks of a partition, in seconds."""

    def __init__(self) -> None:
        #: what an item takes of each task that was measured
        self.seconds: dict[Task, float] = {}

    def learn(self, bundle: Bundle, outcomes: Iterable[Outcome]) -> None:
        """From results of a bundle; what was handed back teaches nothing."""
        ran = [outcome for outcome in outcomes if outcome.state in _RAN]
        kinds = {(item.plan, item.flow, item.block, item.node, bool(item.then)) for item in bundle.items}
        if len(kinds) == 1:
            plan, flow, block, node, has_followers = kinds.pop()
            if not has_followers:
                self._average(_task(bundle, plan, flow, block, node), ran)
                return
        places = {(item.run, item.scope): (item.plan, item.flow, item.block) for item in bundle.items}
        by_task: dict[Task, list[Outcome]] = {}
        for outcome in ran:
            place = places.get((outcome.run, outcome.scope))
            if place is not None:
                by_task.setdefault(_task(bundle, *place, outcome.node), []).append(outcome)
        for task, of_task in by_task.items():
            self._average(task, of_task)

    def _average(self, task: Task, outcomes: Iterable[Outcome]) -> None:
        try:
            measured = array("f", b"".join([outcome.seconds for outcome in outcomes]))
        except ValueError:
            return  # no whole number of floats: a forged result
        mean = sum(measured) / len(measured) if measured else -1.0
        if mean < 0 or not isfinite(mean):
            return
        known = self.seconds.get(task)
        if known is None and len(self.seconds) >= _MOST:
            del self.seconds[next(iter(self.seconds))]
        self.seconds[task] = mean if known is None else known + (mean - known) * _WEIGHT


def _task(bundle: Bundle, plan: int, flow: str, block: int, node: int) -> Task:
    return (bundle.plans[plan], flow, block, node)
