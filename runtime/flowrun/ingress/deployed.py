"""Follows what is deployed, for a process that leads no partition.

The entries of projects are read when one changes, and every few seconds, for a change may go unheard. A project whose
newest deployment cannot be used (its manifest is missing, damaged, or signed by a stranger) keeps the last one that
could.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable

from flowrun.deployments.reading import Histories, read_histories, read_manifest
from flowrun.deployments.trust import Trust
from flowrun.errors import FlowError
from flowrun.manifest import KEY, Manifest, ManifestError
from flowrun.transport import Entry, Transport

__all__ = ["Deployments"]

log = logging.getLogger("flow.ingress")

#: between two looks at the entries, in seconds
_LOOK_SECONDS = 5.0
#: changes that come together are one, in seconds
_SETTLE_SECONDS = 0.05


class Deployments:
    """`changed` gets all manifests after each change."""

    def __init__(
        self, transport: Transport, env: str, trust: Trust, changed: Callable[[Iterable[Manifest]], None]
    ) -> None:
        self._transport, self._env, self._trust, self._changed = transport, env, trust, changed
        #: project -> number of its deployment that was looked at last
        self._numbers: dict[str, int] = {}
        self._manifests: dict[str, Manifest] = {}
        self._wake = asyncio.Event()
        #: set once all was read
        self.ready = asyncio.Event()
        #: why it cannot be read at the moment; "": it can
        self.problem = "what is deployed is not known yet"

    async def run(self) -> None:
        """Without end."""
        changes = await self._transport.listen_entries(KEY)
        listening = asyncio.create_task(self._listen(changes))
        try:
            while True:
                self._wake.clear()
                await self._look()
                try:
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await self._wake.wait()
                    await asyncio.sleep(_SETTLE_SECONDS)
                except TimeoutError:
                    continue
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self, changes: AsyncIterator[Entry]) -> None:
        async for _ in changes:
            self._wake.set()

    async def _look(self) -> None:
        try:
            found = await read_histories(self._transport)
        except FlowError as error:
            log.warning("what is deployed cannot be read: %s", error)
            self.problem = "the message server does not answer"
            return
        self.problem = ""
        new = [one for one in found if self._is_new(one)]
        for one in new:
            await self._take(one)
        if new or not self.ready.is_set():
            self._changed(self._manifests.values())
        self.ready.set()

    def _is_new(self, one: Histories) -> bool:
        current = one.history.current
        return current is not None and self._numbers.get(one.project, 0) != current.number

    async def _take(self, one: Histories) -> None:
        current = one.history.current
        assert current is not None, "it is new"
        problem = self._trust.refuses(self._env, one.project, current)
        if problem is None and current.manifest:
            try:
                manifest = await read_manifest(self._transport, current.manifest)
                if manifest.project != one.project:
                    raise ManifestError(f"its manifest is that of `{manifest.project}`")
                self._manifests[one.project] = manifest
            except FlowError as error:
                log.error("deployment %d of `%s` is not taken: %s", current.number, one.project, error)
                return  # it may be there at the next look
        elif problem is None:
            self._manifests.pop(one.project, None)
        else:
            log.error("%s", problem)
        self._numbers[one.project] = current.number
