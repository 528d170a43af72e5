"""Calls of a task with `batch` that are executed together: the function gets lists, and gives a list.

The calls may be of many runs and steps, but all are of one function. Each has its own arguments, its own end and its
own place in the cache; what raises before the function is called (an argument of the wrong type) ends only its own
call, and so does an exception that the function puts into the list instead of a value. What the function itself raises
ends all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flowrun.messages import Failure

from .cache import Cached, note_hit
from .ended import HAS_EXPIRED, Blobs, Ended, ended_by
from .execute import Call, Executions, Prepared
from .failures import TaskFailed
from .shared import SUCCESS
from .units import Units

__all__ = ["Batch", "batch_of", "run_batch"]


def batch_of(executions: Executions, units: Units, tokens: Sequence[int], blobs: Blobs | None = None) -> Batch:
    """The calls that some tokens of a bundle stand for."""
    calls: list[tuple[Prepared, int]] = []
    now_ms = time.time() * 1000
    late: set[int] = set()
    for token in tokens:
        item, place = units.find(token)
        if 0 < item.expires_ms < now_ms:
            late.add(len(calls))
        digest = units.bundle.plans[item.plan]
        calls.append((executions.prepare(item, digest, blobs), place if item.first >= 0 else -1))
    return Batch(calls, late)


def run_batch(batch: Batch, blobs: Blobs, wait: Callable[[Any], Any]) -> list[Ended]:
    """How the calls ended; `wait` gives the result of an awaitable."""
    try:
        for at, cached in batch.look_up():
            if data := blobs.cached(cached.key):
                batch.found(at, data)
        value = batch.begin()
        if hasattr(value, "__await__"):
            value = wait(value)
        batch.end(value)
        for cached, data in batch.kept():
            blobs.keep(cached.key, data, cached.ttl_ms)
    except BaseException as error:  # as in `execute.run`
        batch.fail(error)
    return batch.ended


class Batch:
    """Some calls, by their place in the batch."""

    def __init__(self, prepared: Sequence[tuple[Prepared, int]], late: set[int]) -> None:
        """`prepared`: with the position in a range; `late`: those that did not begin in time."""
        self._calls: list[tuple[Call, int]] = []
        self._ends: list[Ended | None] = []
        for at, (one, index) in enumerate(prepared):
            self._ends.append(HAS_EXPIRED if at in late else None if isinstance(one, Call) else _broken(one, index))
            self._calls.append((one, index))  # type: ignore[arg-type]  # what is no call has ended
        #: where their values may be, or are to be kept
        self.cached: dict[int, Cached] = {}
        #: the places of those that the function was called for
        self._called: list[int] = []

    @property
    def ended(self) -> list[Ended]:
        """How each call ended, once all have."""
        return [ended for ended in self._ends if ended is not None]

    @property
    def blocks(self) -> bool:
        """`begin` may take its time."""
        return any(call.blocks for call, _ in self._calls)

    @property
    def open(self) -> list[int]:
        """The places of those that have not ended."""
        return [at for at, ended in enumerate(self._ends) if ended is None]

    def look_up(self) -> Iterator[tuple[int, Cached]]:
        """What may be found instead of being called for; `found` takes it."""
        for at in self.open:
            call, index = self._calls[at]
            try:
                cached = call.cached_as(index)
            except BaseException as error:  # as in `execute.run`
                self._ends[at] = ended_by(error)
                continue
            if cached is not None:
                self.cached[at] = cached
                yield at, cached

    def found(self, at: int, data: bytes) -> None:
        note_hit(self._calls[at][0].step)
        del self.cached[at]
        self._ends[at] = Ended(SUCCESS, data)

    def begin(self) -> Any:
        """Calls the function; gives its value, maybe as an awaitable. None: there is nothing to call it for. Raises
        whatever the function does."""
        columns: dict[str, list[Any]] = {}
        for at in self.open:
            call, index = self._calls[at]
            try:
                arguments = call.arguments(index)
            except BaseException as error:
                self._ends[at] = ended_by(error)
                continue
            self._called.append(at)
            for name, value in arguments.items():
                columns.setdefault(name, []).append(value)
        if not self._called:
            return None
        first, index = self._calls[self._called[0]]
        return first.call_with(columns, index)

    def end(self, value: Any) -> None:
        """The function has given its list."""
        if not self._called:
            return
        count = len(self._called)
        if not isinstance(value, list | tuple) or len(value) != count:
            given = f"{len(value)} values" if isinstance(value, list | tuple) else f"a {type(value).__name__}"
            message = f"{count} calls were made together (`batch`): it must give a list of {count}, and gave {given}"
            raise TaskFailed(Failure("TypeMismatch", message, retryable=False))
        for at, one in zip(self._called, value, strict=True):
            self._ends[at] = self._ended(at, one)

    def _ended(self, at: int, value: Any) -> Ended:
        if isinstance(value, BaseException):
            return ended_by(value)
        try:
            return self._calls[at][0].end(value)
        except BaseException as error:
            return ended_by(error)

    def kept(self) -> Iterator[tuple[Cached, bytes]]:
        """What is to be kept of the values that were just made."""
        for at, cached in self.cached.items():
            ended = self._ends[at]
            if ended is not None and ended.state == SUCCESS:
                yield cached, ended.payload

    def fail(self, error: BaseException) -> None:
        """What was called together ends together."""
        for at in self.open:
            self._ends[at] = ended_by(error)


def _broken(prepared: Prepared, index: int) -> Ended:
    """The end of what cannot be called at all."""
    try:
        prepared.begin(index)
    except BaseException as error:
        return ended_by(error)
    raise AssertionError("only calls of tasks are in batches")
