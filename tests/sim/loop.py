"""An event loop for many simulated processes: each can be killed, or paused, between any two of its steps.

All callbacks run in a context, and the context says which process they belong to: tasks and timers inherit it from
whoever made them. The callbacks of a paused process wait until it goes on; those of a dead one are never run again,
not even their `finally`: what `SIGKILL` and `SIGSTOP` do to a real one. The server's callbacks belong to nobody.

Time is virtual. There are no files and no threads here, and so nothing but the seed decides what happens next.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Process", "SimLoop", "Stuck", "current_process"]

_PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class Stuck(RuntimeError):
    """Everything waits, and no timer is set."""


def current_process() -> Process | None:
    """The process that this code runs in."""
    return _PROCESS.get()


class Process:
    """A simulated process. `run` starts a coroutine in it."""

    def __init__(self, name: str, loop: SimLoop) -> None:
        self.name = name
        self.alive = True
        self.paused = False
        #: steps that it may still do before `on_fatal_step` is called; -1: as many as it likes
        self.steps_left = -1
        self.on_fatal_step: Callable[[], None] | None = None
        #: its wall clock is so much ahead of the server's, in seconds
        self.clock_offset = 0.0
        self.pid, self.host = 0, ""
        self._loop = loop
        self._context = contextvars.copy_context()
        self._context.run(_PROCESS.set, self)
        self._waiting: deque[asyncio.Handle] = deque()
        #: kept, so that what a dead process was doing is not ended by the garbage collector in the middle of a run
        self._tasks: list[asyncio.Task[Any]] = []

    def run(self, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self._loop.create_task(coro, context=self._context.copy())

    def kill(self) -> None:
        """It does nothing any more."""
        self.alive = False
        self._waiting.clear()

    def pause(self) -> None:
        self.paused = True

    def wake(self) -> None:
        """Goes on; whatever came due meanwhile comes due at once."""
        self.paused = False
        if self.alive:
            self._loop.resume(self._waiting)
        self._waiting = deque()

    def owns(self, task: asyncio.Task[Any]) -> None:
        self._tasks.append(task)

    def accepts(self, handle: asyncio.Handle) -> bool:
        """The handle may run now; else it is kept, or dropped."""
        if not self.alive:
            return False
        if self.paused:
            self._waiting.append(handle)
            return False
        if self.steps_left >= 0:
            self.steps_left -= 1
            if self.steps_left < 0 and self.on_fatal_step is not None:
                act, self.on_fatal_step = self.on_fatal_step, None
                act()
                return self.accepts(handle)
        return True


class SimLoop(asyncio.BaseEventLoop):
    """Runs callbacks in the order in which they came due."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._ready: deque[asyncio.Handle]
        self._scheduled: list[asyncio.TimerHandle]
        self.set_task_factory(_make_task)
        self.set_exception_handler(self._unhandled)
        #: callbacks that were run
        self.steps = 0
        #: exceptions that nobody looked at
        self.failures: list[dict[str, Any]] = []

    def time(self) -> float:
        return self._now

    def resume(self, handles: deque[asyncio.Handle]) -> None:
        self._ready.extend(handles)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failures.append(context)

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled
        if not ready:
            while scheduled and scheduled[0].cancelled():
                heapq.heappop(scheduled)
            if not scheduled:
                raise Stuck("everything waits, and no timer is set")
            self._now = max(self._now, scheduled[0].when())
        while scheduled and scheduled[0].when() <= self._now:
            ready.append(heapq.heappop(scheduled))
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle.cancelled():
                continue
            process = handle._context.get(_PROCESS)  # type: ignore[attr-defined]
            if process is None or process.accepts(handle):
                self.steps += 1
                handle._run()

    def run(self, coro: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine to its end. What is unfinished then stays so: the loop is thrown away."""
        events.set_event_loop(self)
        try:
            return self.run_until_complete(coro)
        finally:
            events.set_event_loop(None)

    # ---- what BaseEventLoop leaves to its heirs

    def _process_events(self, event_list: Any) -> None:
        """There are no files."""

    def _write_to_self(self) -> None:
        """There are no threads."""


def _make_task(loop: Any, coro: Any, context: contextvars.Context | None = None) -> asyncio.Task[Any]:
    task = asyncio.Task(coro, loop=loop, context=context)
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    process = context.get(_PROCESS) if context is not None else _PROCESS.get()
    if process is not None:
        process.owns(task)
    return task
