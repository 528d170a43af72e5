"""Follows what is deployed, for a process that leads no partition.

The entries of projects are read when one changes, and every few seconds, for a change may go unheard. A project whose
newest deployment cannot be used (something of it is missing or damaged, or it is signed by a stranger) keeps the last
one that could: leaders judge alike (see `coordinator.following`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable

from flowrun.deployments.checking import problem_of
from flowrun.deployments.reading import read_manifest
from flowrun.deployments.trust import Trust
from flowrun.errors import StoreError, TransportError
from flowrun.manifest import KEY, Deployment, Manifest, ManifestError, decode_history, project_of
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
        self._complaints: set[str] = set()
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
            entries = await self._transport.entries(KEY)
            new = [one for entry in entries if (one := self._new(entry)) is not None]
            for project, deployment in new:
                await self._take(project, deployment)
        except (TransportError, StoreError) as error:
            log.warning("what is deployed cannot be read: %s", error)
            self.problem = "the message server does not answer"
            return
        self.problem = ""
        if new or not self.ready.is_set():
            self._changed(self._manifests.values())
        self.ready.set()

    def _new(self, entry: Entry) -> tuple[str, Deployment] | None:
        """The project's deployment, if it has not been looked at."""
        project = project_of(entry.key)
        try:
            current = decode_history(entry.data).current
        except ManifestError as error:
            self._complain(f"project {project}: {error}")
            return None
        is_new = current is not None and current.number > self._numbers.get(project, 0)
        return (project, current) if current is not None and is_new else None

    async def _take(self, project: str, deployment: Deployment) -> None:
        """Where it cannot be had now, it may be at the next look; where it cannot be used, the one before goes on."""
        what = f"deployment {deployment.number} of `{project}` is not taken"
        problem = self._trust.refuses(self._env, project, deployment)
        manifest: Manifest | None = None
        if problem is None and deployment.manifest:
            try:
                manifest = await read_manifest(self._transport, deployment.manifest)
                problem = await problem_of(self._transport, project, manifest)
            except (StoreError, ManifestError) as error:
                self._complain(f"{what} yet: {error}")
                return
        self._numbers[project] = deployment.number
        if problem is not None:
            self._complain(f"{what}: {problem}")
        elif manifest is not None:
            self._manifests[project] = manifest
        else:
            self._manifests.pop(project, None)

    def _complain(self, text: str) -> None:
        """Once."""
        log.log(logging.DEBUG if text in self._complaints else logging.ERROR, "%s", text)
        self._complaints.add(text)
