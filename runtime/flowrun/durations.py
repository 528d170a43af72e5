"""How long work takes: a moving average of the seconds that it took, learned from results.

A step that was never measured takes as long as the function that it calls took elsewhere: in a graph of thousands of
steps each of which runs once, that is all there is to know.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterable
from math import isfinite
from typing import TypeVar

from .backlog import Task
from .messages import Bundle, Outcome

__all__ = ["EXPRESSION", "Durations"]

K = TypeVar("K", bound=Hashable)

#: how much the last measurement counts in the moving average
_WEIGHT = 0.3
#: tasks, and functions, that are remembered; more are of plans long gone
_MOST = 10_000
#: what evaluates an expression, as `function_of` names it; and about how long that takes, in seconds
EXPRESSION = "expression"
_EXPRESSION_SECONDS = 0.0005
#: outcomes of what was executed
_RAN = frozenset({"success", "failed", "skipped"})


class Durations:
    """Of the tasks of a partition, in seconds. `function_of` names what a task calls; "": it is not known."""

    def __init__(self, function_of: Callable[[Task], str]) -> None:
        self.function_of = function_of
        #: what an item takes of each task that was measured
        self._tasks: dict[Task, float] = {}
        #: the same of each function
        self._functions: dict[str, float] = {EXPRESSION: _EXPRESSION_SECONDS}

    def seconds(self, task: Task) -> float | None:
        """What an item of it takes; None: nobody knows."""
        found = self._tasks.get(task)
        return found if found is not None else self._functions.get(self.function_of(task))

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
        self.took(task, mean)

    def took(self, task: Task, seconds: float) -> None:
        """An item of it took so long."""
        _take(self._tasks, task, seconds)
        function = self.function_of(task)
        if function:
            _take(self._functions, function, seconds)


def _take(averages: dict[K, float], key: K, seconds: float) -> None:
    known = averages.get(key)
    if known is None and len(averages) >= _MOST:
        del averages[next(iter(averages))]
    averages[key] = seconds if known is None else known + (seconds - known) * _WEIGHT


def _task(bundle: Bundle, plan: int, flow: str, block: int, node: int) -> Task:
    return (bundle.plans[plan], flow, block, node)
