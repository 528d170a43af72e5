"""Prepares what is deployed before its first work comes: unpacks codes, installs their dependencies.

It only saves time: work of a code that is not ready waits for it (see `agent`). What the worker does not trust is not
touched, for whoever installs a package runs what is in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from flowrun.deployments.reading import Histories, read_histories, read_manifest
from flowrun.deployments.trust import Trust
from flowrun.errors import FlowError
from flowrun.manifest import KEY
from flowrun.transport import Transport

from .codes import Codes

__all__ = ["Ahead"]

log = logging.getLogger("flow.worker")

#: a worker begins so long after its start, in seconds: its first work comes first
BEGIN_AFTER = 1.0
#: changes may be missed: so often it looks without one, in seconds
LOOK = 60.0


class Ahead:
    """Of one worker. `trust`: whose deployments are accepted."""

    def __init__(self, transport: Transport, codes: Codes, env: str, trust: Trust) -> None:
        self._transport, self._codes, self._env, self._trust = transport, codes, env, trust
        self._changed = asyncio.Event()
        #: project -> number of the deployment that was looked at last
        self._seen: dict[str, int] = {}

    async def run(self) -> None:
        """Without end."""
        await asyncio.sleep(BEGIN_AFTER)
        listening = asyncio.create_task(self._listen())
        try:
            while True:
                self._changed.clear()
                try:
                    await self.look()
                except FlowError as error:
                    log.warning("what is deployed cannot be prepared: %s", error)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK):
                        await self._changed.wait()
        finally:
            listening.cancel()

    async def _listen(self) -> None:
        async for _ in await self._transport.listen_entries(KEY):
            self._changed.set()

    async def look(self) -> None:
        """Prepares what is deployed now. Raises TransportError, StoreError, ManifestError."""
        for one in await read_histories(self._transport):
            current = one.history.current
            if current is None or self._seen.get(one.project) == current.number:
                continue
            self._seen[one.project] = current.number
            if current.manifest and self._trust.refuses(self._env, one.project, current) is None:
                await self._prepare(one, current.manifest)

    async def _prepare(self, one: Histories, manifest: str) -> None:
        try:
            code = (await read_manifest(self._transport, manifest)).code
            if code:
                await self._codes.get(code)
        except FlowError as error:
            log.warning("the code of project %s is not ready, and its work will fail: %s", one.project, error)
