"""The codes that a worker has ready: each is prepared once, however much work of it comes meanwhile.

A code that could not be prepared is refused for a while without another try, so that a hundred bundles of it do not
install what cannot be installed a hundred times; then the next one tries again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flowrun.errors import FlowError, TransportError

if TYPE_CHECKING:  # what unpacks is not needed by a worker that has no such work
    from flowrun.code.store import CodeStore, PreparedCode

__all__ = ["Code", "Codes"]

#: after a failure, so long nothing is tried again, in seconds
TRY_AGAIN = 30.0
#: a code that no slot has a process of, and nobody asked for in this time, may be removed from the disk, in seconds
IDLE = 600.0


class Code:
    """One that can run. Who has a process of it holds it."""

    def __init__(self, prepared: PreparedCode) -> None:
        self.prepared = prepared
        self.holders = 0
        #: when it was asked for last, by the loop's clock
        self.used = asyncio.get_running_loop().time()
        #: why its processes do not start, and since when, by the loop's clock: then it is to be prepared anew
        self.broken: tuple[FlowError, float] | None = None

    @property
    def digest(self) -> str:
        return self.prepared.digest

    def broke(self, error: FlowError) -> None:
        """Its processes do not start."""
        self.broken = (error, asyncio.get_running_loop().time())


class Codes:
    """Of one worker. `folder` is the node's, shared with others; `env` is what installers get as environment."""

    def __init__(self, folder: Path, get_blob: Callable[[str], Awaitable[bytes]], env: Mapping[str, str]) -> None:
        self._folder, self._get_blob, self._env = folder, get_blob, env
        self._store: CodeStore | None = None
        self._ready: dict[str, Code] = {}
        self._preparing: dict[str, asyncio.Task[Code]] = {}
        #: why it cannot be had, and when that was found
        self._failed: dict[str, tuple[FlowError, float]] = {}

    def ready(self, digest: str) -> Code | None:
        """The code, if it can run at once."""
        code = self._ready.get(digest)
        if code is None or code.broken is not None:
            return None
        code.used = asyncio.get_running_loop().time()
        return code

    async def get(self, digest: str) -> Code:
        """Waits until it can run. Raises CodeError, StoreError, TransportError. Who gives up the wait does not stop
        the preparation: others wait, too, or will."""
        found = self.ready(digest)
        if found is not None:
            return found
        broken = self._ready[digest].broken if digest in self._ready else None
        failure = broken or self._failed.get(digest)
        if failure is not None and asyncio.get_running_loop().time() - failure[1] < TRY_AGAIN:
            raise failure[0]
        task = self._preparing.get(digest)
        if task is None:
            task = self._preparing[digest] = asyncio.create_task(self._prepare(digest))
            task.add_done_callback(lambda done: self._prepared(digest, done))
        return await asyncio.shield(task)

    async def _prepare(self, digest: str) -> Code:
        if self._store is None:
            from flowrun.code.store import CodeStore  # see above

            self._store = CodeStore(self._folder, self._get_blob, self._env)
        broken = self._ready.pop(digest, None)
        if broken is not None:
            await self._store.discard_environment(broken.prepared)
        return Code(await self._store.prepare(digest))

    def _prepared(self, digest: str, task: asyncio.Task[Code]) -> None:
        del self._preparing[digest]
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._failed.pop(digest, None)
            self._ready[digest] = task.result()
            self._forget_idle()
        elif isinstance(error, FlowError) and not isinstance(error, TransportError):
            self._failed = {known: one for known, one in self._failed.items() if known != digest}
            self._failed[digest] = (error, asyncio.get_running_loop().time())

    def _forget_idle(self) -> None:
        """The node may remove what nobody uses."""
        since = asyncio.get_running_loop().time() - IDLE
        for digest in [digest for digest, code in self._ready.items() if not code.holders and code.used < since]:
            self._ready.pop(digest).prepared.release()

    async def close(self) -> None:
        """Ends preparations; nothing is held any more."""
        tasks = [*self._preparing.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for code in self._ready.values():
            code.prepared.release()
        self._ready.clear()
