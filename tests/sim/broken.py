"""Broken engines: each is the real one with one defect, to see that the simulation finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from unittest import mock

from flowrun.engine import tasks
from flowrun.memory.work import Work, WorkStream

__all__ = ["MUTANTS", "broken"]


@contextmanager
def _fencing() -> Iterator[None]:
    """The server takes the dispatches of whoever led once."""
    dispatch = WorkStream.dispatch

    def unfenced(self: WorkStream, work: Work, fence: int) -> None:
        dispatch(self, work, self.fences.get(work.partition, fence))

    with mock.patch.object(WorkStream, "dispatch", unfenced):
        yield


@contextmanager
def _dedupe() -> Iterator[None]:
    """A second result of an attempt is taken as the first was."""
    take_outcome = tasks.take_outcome

    def takes_all(core: Any, scope: Any, node: int, bundle: str, outcome: Any) -> None:
        attempt = tasks.number_of(scope, node)
        if scope.states[node] >= tasks.SUCCESS and attempt == outcome.attempt:
            scope.states[node] = tasks.GRANTED
            scope.open += 1
        take_outcome(core, scope, node, bundle, outcome)

    with mock.patch.object(tasks, "take_outcome", takes_all):
        yield


#: name -> what makes the defect
MUTANTS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "fencing": _fencing,
    "dedupe": _dedupe,
}


def broken(mutant: str | None) -> AbstractContextManager[None]:
    return MUTANTS[mutant]() if mutant else nullcontext()
