"""What `delay` gives: the results of the parts of a canvas, by the record of its run.

A canvas is one run. Its result has the run's id; those of its parts have "run/step", and of members of a group that are
alike "run/step/position". All values come with the end of the run; until then `state` and `completed_count` say how far
it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from flowrun.client.results import converted
from flowrun.messages import Failure, RunRecord, StateNote, StepNote, StepRecord
from flowrun.parameters import ArgumentError

from .errors import raised_by
from .points import Point
from .signatures import Signature, chain, chord, group

if TYPE_CHECKING:
    from flowrun.client import SyncRun

    from .app import App

__all__ = ["AsyncResult", "GroupResult", "Result", "Source", "result_of"]

#: states of steps, under Celery's names
_STATES = {
    "waiting": "PENDING", "ready": "PENDING", "running": "STARTED", "retrying": "RETRY", "success": "SUCCESS",
    "failed": "FAILURE", "skipped": "IGNORED", "upstream_failed": "FAILURE", "cancelled": "REVOKED",
    "expired": "REVOKED",
}  # fmt: skip
_READY = frozenset({"SUCCESS", "FAILURE", "REVOKED", "IGNORED"})
#: of several steps, the first of these that one has
_WORST = ("failed", "expired", "cancelled", "upstream_failed", "retrying", "running", "ready", "waiting", "skipped")


class Source:
    """A run, and what is known of it. Results of one canvas share it."""

    def __init__(self, app: App, run: str, handle: SyncRun | None = None, *, is_ignored: bool = False) -> None:
        self.app, self.run = app, run
        self._handle = handle
        self.is_ignored = is_ignored
        self._record: RunRecord | None = None
        self._values: dict[str, Any] | None = None
        self._rows: dict[tuple[str, tuple[int, ...]], list[StepRecord]] | None = None

    def record(self, timeout: float | None = None) -> RunRecord:
        """Once the run has ended. Raises UnknownRun, WaitTimeout."""
        if self._record is None:
            if self._handle is not None:
                self._record = self._handle.wait(timeout)
            else:
                self._record = self.app.client.wait(self.run, timeout)
        return self._record

    def ended(self) -> RunRecord | None:
        """The record, if the run has ended."""
        if self._record is None:
            self._record = self.app.client.status(self.run).record
        return self._record

    def value(self, step: str) -> Any:
        """Of a step. That of the step which gives the run's value is the run's."""
        if self._values is None:
            record = self.record()
            self._values = {}
            if record.values:
                self._values = self.app.client.value(msgspec.structs.replace(record, result=record.values))
        return self._values[step] if step in self._values else self.result()

    def result(self) -> Any:
        """Of the run."""
        record = self.record()
        value = self.app.client.value(record)
        returns = None if self._handle is None else self._handle.returns
        return value if returns is None or record.state != "success" else converted(value, returns)

    def rows(self, steps: Sequence[str], path: tuple[int, ...]) -> list[StepRecord]:
        """What became of these steps, in a run that ended; in the items of groups, of those at `path`."""
        if self._rows is None:
            self._rows = {}
            for row in self.record().steps:
                first = _path(row.index)[:1]
                self._rows.setdefault((row.step, first), []).append(row)
                if first:
                    self._rows.setdefault((row.step, ()), []).append(row)
        found = [row for step in steps for row in self._rows.get((step, path[:1]), ())]
        return [row for row in found if _path(row.index)[: len(path)] == path]

    def live(self) -> dict[str, StepNote]:
        """How the steps stand of a run that has not ended; of one that waits for its time, nothing is told."""
        if self.app.client.status(self.run).state != "running":
            return {}
        with closing(self.app.client.events(self.run)) as notes:
            for note in notes:
                if isinstance(note, StateNote):
                    return {step.step: step for step in note.steps}
        return {}

    def cancel(self, step: str = "") -> None:
        self.app.client.cancel(self.run, step)


class _Place(NamedTuple):
    """Where the value of a part is."""

    #: the run's value is its value
    is_last: bool
    #: the step whose value it is, or is in; None: it is kept nowhere
    holder: str | None
    #: positions in that value
    path: tuple[int, ...] = ()


class Result(ABC):
    """What all results have in common."""

    def __init__(self, source: Source, point: Point, place: _Place) -> None:
        self._source, self._point, self._place = source, point, place
        self.parent: Result | None = None

    children: list[Result]

    @property
    def id(self) -> str:
        """Of the run; of a part, with the step."""
        if self._place.is_last:
            return self._source.run
        return "/".join((self._source.run, *self._point.steps[-1:], *map(str, self._place.path)))

    @property
    def task_id(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Result) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def revoke(self, terminate: bool = False, **options: Any) -> None:
        """Cancels it: what waits never begins, and what runs is ended. `terminate` changes nothing."""
        if self._place.is_last:
            self._source.cancel()
        elif self._place.path:
            raise ArgumentError("a member of a group of calls that are alike is cancelled with the group only")
        else:
            for step in self._point.steps:
                self._source.cancel(step)

    def forget(self) -> None:  # noqa: B027 - as in Celery it may be called, and there is nothing to be done
        """Results go by themselves, after a week."""

    def _rows(self) -> list[StepRecord]:
        """What became of the steps of this part."""
        return self._source.rows(self._point.steps, self._place.path)

    @property
    def state(self) -> str:
        """PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED or IGNORED."""
        record = self._source.ended()
        if record is not None and self._place.is_last:
            return _STATES[record.state]
        if record is not None:
            states = [row.state for row in self._rows()] or [record.state]
        else:
            live = self._source.live()
            states = [live[step].state for step in self._point.steps if step in live]
        worst = next((state for state in _WORST if state in states), "success" if states else "waiting")
        return _STATES[worst]

    @property
    def status(self) -> str:
        return self.state

    def ready(self) -> bool:
        """It has ended."""
        return self.state in _READY

    def successful(self) -> bool:
        return self.state == "SUCCESS"

    def failed(self) -> bool:
        return self.state in ("FAILURE", "REVOKED")

    @abstractmethod
    def get(self, timeout: float | None = None, propagate: bool = True, **options: Any) -> Any:
        """The value, once it has ended. Raises TimeoutError; with `propagate`, what it failed with."""


def _path(index: int | tuple[int, ...] | None) -> tuple[int, ...]:
    return () if index is None else index if isinstance(index, tuple) else (index,)


class AsyncResult(Result):
    """Of a call, a chain, or a chord: `add.delay(2, 2).get()`."""

    def __init__(
        self, id: str | Source, point: Point | None = None, place: _Place | None = None, *, app: App | None = None
    ) -> None:
        self.children = []
        if isinstance(id, str):
            from .app import current_app  # results know the app, and not the other way round

            run, *parts = id.split("/")
            point = Point(step=parts[0] if parts else "", steps=tuple(parts[:1]))
            place = _Place(not parts, parts[0] if parts else None, tuple(map(int, parts[1:])))
            id = Source(app or current_app(), run)
        assert point is not None
        assert place is not None
        super().__init__(id, point, place)

    def get(self, timeout: float | None = None, propagate: bool = True, **options: Any) -> Any:
        """Its value, once there is one. What the task raised is raised again, or given if it is not to `propagate`.
        `timeout` in seconds. Raises WaitTimeout, which is a TimeoutError."""
        self._source.record(timeout)
        state = self.state
        if state not in ("SUCCESS", "IGNORED"):
            error = raised_by(self._failure())
            if propagate:
                raise error
            return error
        if self._source.is_ignored or state == "IGNORED":
            return None
        return self._value()

    def _value(self) -> Any:
        if self._place.is_last:
            return self._source.result()
        if self._place.holder is None:
            raise ArgumentError(f"{self!r}: of the members of a group, only the last values are kept")
        found = self._source.value(self._place.holder)
        for position in self._place.path:
            found = found[position]
        return found

    def _failure(self) -> Failure | None:
        """Why it failed: of a run, why its step did, without the run's words about it."""
        record = self._source.record()
        errors = [row.error for row in self._rows() if row.error is not None]
        return errors[0] if errors else record.error

    @property
    def result(self) -> Any:
        """The value, or the exception; None as long as it has not ended."""
        return self.get(propagate=False) if self.ready() else None

    @property
    def traceback(self) -> str | None:
        """Of what the task raised, as text."""
        failure = self._failure() if self.ready() and not self.successful() else None
        if failure is None:
            return None
        return f"Traceback (most recent call last):\n{failure.detail}{failure.type}: {failure.message}"

    @property
    def retries(self) -> int:
        """Attempts after the first."""
        return max((row.attempts for row in self._rows()), default=1) - 1

    def collect(self, **options: Any) -> Iterator[tuple[Result, Any]]:
        """Itself and what was called with its result, with their values."""
        yield self, self.get()
        for child in self.children:
            yield (child, child.get())

    def wait(self, timeout: float | None = None, **options: Any) -> Any:
        return self.get(timeout, **options)


class GroupResult(Result):
    """Of a group: a list of results."""

    def __init__(self, source: Source, point: Point, place: _Place, members: Callable[[], list[Result]]) -> None:
        super().__init__(source, point, place)
        self._members = members

    @cached_property
    def results(self) -> list[Result]:
        return self._members()

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, place: int) -> Result:
        return self.results[place]

    def __bool__(self) -> bool:
        return True

    def get(self, timeout: float | None = None, propagate: bool = True, **options: Any) -> list[Any]:
        """The values in order. The first failure is raised, or, if it is not to `propagate`, stands in its place."""
        self._source.record(timeout)
        if self._place.is_last and self._source.record().state == "success":
            found: list[Any] = self._source.result()  # with what its members added
            return found
        return [result.get(propagate=propagate) for result in self.results]

    join = join_native = get

    def completed_count(self) -> int:
        """How many members succeeded."""
        if self._source.ended() is None and not self._place.path and self._point.each is not None:
            found = self._source.live().get(self._point.step)
            return found.done if found is not None else 0
        return sum(result.successful() for result in self.results)

    def successful(self) -> bool:
        """All members are."""
        return all(result.successful() for result in self.results)

    def failed(self) -> bool:
        """One of them did."""
        return any(result.failed() for result in self.results)

    def ready(self) -> bool:
        """All have ended."""
        return self._source.ended() is not None or all(result.ready() for result in self.results)

    def waiting(self) -> bool:
        """One of them has not ended."""
        return not self.ready()

    @property
    def children(self) -> list[Result]:  # type: ignore[override]
        """Its members."""
        return self.results


def result_of(signature: Signature, point: Point, source: Source) -> Result:
    """The result of a canvas, with those of its parts."""
    return _result(signature, point, source, _Place(True, point.step or None))


def _result(signature: Signature, point: Point, source: Source, place: _Place) -> Result:
    if isinstance(signature, chord):
        signature = signature.as_chain()
    if isinstance(signature, chain):
        *before, last = signature.tasks
        found = _result(last, point, source, place)
        _first(found).parent = _parents(before, _begin(last, point), source, place)
        return found
    if isinstance(signature, group):
        return GroupResult(source, point, place, lambda: _members(signature, point, source, place))
    result = AsyncResult(source, point, place)
    for link, child in zip(signature.links, point.children, strict=False):
        result.children.append(_result(link, child, source, _beside(child, place)))
    return result


def _beside(point: Point, place: _Place) -> _Place:
    """Another part of the same body."""
    return _Place(False, None if place.path else point.step, place.path)


def _parents(before: Sequence[Signature], point: Point, source: Source, place: _Place) -> Result | None:
    """The results of what stands before the last part of a chain."""
    if not before or point.parent is None:
        return None
    *earlier, last = before
    found = _result(last, point.parent, source, _beside(point.parent, place))
    _first(found).parent = _parents(earlier, _begin(last, point.parent), source, place)
    return found


def _begin(signature: Signature, point: Point) -> Point:
    """Where a part begins that ends at this point."""
    if isinstance(signature, chord):
        signature = signature.as_chain()
    if not isinstance(signature, chain):
        return point
    for task in reversed(signature.tasks[1:]):
        point = _begin(task, point).parent or point
    return _begin(signature.tasks[0], point)


def _first(result: Result) -> Result:
    while result.parent is not None:
        result = result.parent
    return result


def _members(signature: group, point: Point, source: Source, place: _Place) -> list[Result]:
    if point.each is None:
        pairs = zip(signature.tasks, point.members or (), strict=True)
        return [_result(task, member, source, _beside(member, place)) for task, member in pairs]
    holder = place.holder if place.path else point.step
    return [
        _result(task, point.each, source, _Place(False, holder, (*place.path, i)))
        for i, task in enumerate(signature.tasks)
    ]
