"""Live notes on what the steps of runs do, joined so that a view gets a few per second and never a flood."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .messages import StateNote, StepNote

__all__ = ["Notes"]

#: steps of one note: a server takes a message of about a megabyte
_STEPS = 1_000

_Step = tuple[str, int | tuple[int, ...] | None]


class Notes:
    """Calls `send` with what changed in a run, at most once per `interval` seconds, the first time at once."""

    def __init__(self, interval: float, send: Callable[[StateNote], None]) -> None:
        self._interval, self._send = interval, send
        #: run -> the last state of each step that changed
        self._changed: dict[str, dict[_Step, StepNote]] = {}
        #: run -> what sends its next note; a run that is here was told of less than `interval` ago
        self._handles: dict[str, asyncio.TimerHandle] = {}

    def changed(self, run: str, steps: tuple[StepNote, ...]) -> None:
        self._changed.setdefault(run, {}).update(((step.step, step.index), step) for step in steps)

    def flush(self) -> None:
        """Sends what may be sent now."""
        for run in [run for run in self._changed if run not in self._handles]:
            self._tell(run)
            self._handles[run] = asyncio.get_running_loop().call_later(self._interval, self._next, run)

    def drop(self, run: str) -> None:
        """Nobody wants to know any more."""
        self._changed.pop(run, None)
        handle = self._handles.pop(run, None)
        if handle is not None:
            handle.cancel()

    def stop(self) -> None:
        for handle in self._handles.values():
            handle.cancel()

    def _next(self, run: str) -> None:
        del self._handles[run]
        if run in self._changed:
            self.flush()

    def _tell(self, run: str) -> None:
        steps = tuple(self._changed.pop(run, {}).values())
        for start in range(0, len(steps), _STEPS):
            self._send(StateNote(run=run, state="running", steps=steps[start : start + _STEPS]))
