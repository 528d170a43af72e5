"""Awaits what a task gives, so that a soft time limit can reach it.

The limit cancels the asyncio task. On its way in, the cancellation is exchanged for a SoftTimeout that is a
CancelledError too: a task may catch it as either, and what only knows cancellation (a TaskGroup) does what it would.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any

from flowrun.operator import SoftTimeout

__all__ = ["Awaiting", "run_in_own_loop"]


class _SoftCancel(SoftTimeout, asyncio.CancelledError):
    """The time that the task may take is nearly over."""

    def __init__(self) -> None:
        SoftTimeout.__init__(self)


class Awaiting:
    """One awaitable of a task."""

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        self._awaitable = awaitable
        self._task: asyncio.Task[Any] | None = None
        self._soft = False

    def interrupt(self) -> None:
        """Raises SoftTimeout where it waits; called on its loop."""
        if self._task is not None and not self._task.done():
            self._soft = True
            self._task.cancel()

    def interrupt_soon(self) -> None:
        """The same, from elsewhere."""
        if self._task is not None:
            self._task.get_loop().call_soon_threadsafe(self.interrupt)

    def __await__(self) -> Generator[Any, Any, Any]:
        self._task = asyncio.current_task()
        inner = _as_coroutine(self._awaitable)
        try:
            waited = inner.send(None)
            while True:
                try:
                    answer = yield waited
                except asyncio.CancelledError as error:
                    waited = inner.throw(self._exchanged(error))
                except GeneratorExit:
                    inner.close()
                    raise
                except BaseException as error:
                    waited = inner.throw(error)
                else:
                    waited = inner.send(answer)
        except StopIteration as end:
            return end.value

    def _exchanged(self, error: BaseException) -> BaseException:
        if not self._soft:
            return error
        self._soft = False
        if self._task is not None:
            self._task.uncancel()
        return _SoftCancel()


async def _as_coroutine(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


_loops = threading.local()


def run_in_own_loop(awaiting: Awaiting) -> Any:
    """Blocks; the loop lives as long as its thread."""
    loop: asyncio.AbstractEventLoop | None = getattr(_loops, "loop", None)
    if loop is None:
        loop = _loops.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
    coroutine: Coroutine[Any, Any, Any] = _as_coroutine(awaiting)
    return loop.run_until_complete(coroutine)
