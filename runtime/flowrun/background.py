"""Tasks that nobody waits for one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

__all__ = ["Background"]


class Background:
    """Starts tasks; the first that fails ends what is watched."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] | None = None

    def start(self, coro: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coro)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def watch(self, main: Coroutine[Any, Any, None]) -> None:
        """Runs `main` until it ends or something in the background fails."""
        self._failed = asyncio.get_running_loop().create_future()
        work = asyncio.create_task(main)
        try:
            await asyncio.wait([work, self._failed], return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
            work.result()
        finally:
            self._failed.cancel()
            work.cancel()
            await asyncio.wait([work])

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
