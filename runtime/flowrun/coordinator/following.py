"""Follows what is deployed: the entries of the projects' histories. What is new there is put into the inbox.

Every leader does so for its partition: when it takes over, when an entry changes, and every few seconds. A deployment
holds as soon as its entry is written; here it only becomes known. One that is not trusted, or whose manifest cannot be
had, is told in the log, and what was deployed before goes on.
"""

from __future__ import annotations

import asyncio
import logging

from flowrun.deployments.checking import problem_of
from flowrun.deployments.reading import read_manifest
from flowrun.deployments.trust import Trust
from flowrun.engine import Engine
from flowrun.errors import StoreError
from flowrun.manifest import KEY, Deployment, ManifestError, decode_history, project_of
from flowrun.messages import Deployed, pack_events
from flowrun.settings import Settings
from flowrun.transport import Transport

from .events import Complaints
from .follower import Follower

__all__ = ["Following"]

log = logging.getLogger("flow.coordinator")

#: between two looks, in times that nodes say that they live
_LOOKS = 5
#: what was put into the inbox and is not known after so long is put there again, in seconds
_AGAIN_SECONDS = 30.0


class Following(Follower):
    """Of one partition."""

    def __init__(
        self, transport: Transport, partition: str, engine: Engine, complaints: Complaints, settings: Settings
    ) -> None:
        super().__init__(transport, KEY, _LOOKS * settings.presence)
        self._partition, self._engine, self._complaints = partition, engine, complaints
        self._env, self._trust = settings.env, Trust(settings.trusted)
        #: project -> number that was put into the inbox, and when
        self._put: dict[str, tuple[int, float]] = {}

    async def look(self) -> None:
        """Puts what is new into the inbox."""
        for entry in await self._transport.entries(KEY):
            project = project_of(entry.key)
            try:
                current = decode_history(entry.data).current
                if current is not None and self._is_new(project, current):
                    await self._deploy(project, current)
            except ManifestError as error:
                self._complaints.say("project %s: %s", project, error)

    def _is_new(self, project: str, deployment: Deployment) -> bool:
        known = self._engine.triggers.projects.get(project)
        if known is not None and deployment.number <= known.number:
            return False
        number, at = self._put.get(project, (0, 0.0))
        return deployment.number > number or asyncio.get_running_loop().time() - at > _AGAIN_SECONDS

    async def _deploy(self, project: str, deployment: Deployment) -> None:
        problem = self._trust.refuses(self._env, project, deployment) or await self._problem(project, deployment)
        now = asyncio.get_running_loop().time()
        if problem is not None:
            self._complaints.say("%s; what was deployed of project %s before goes on", problem, project)
        else:
            event = Deployed(project, deployment.number, deployment.manifest, deployment.at_ms)
            key = f"deployed/{self._partition}/{project}/{deployment.number}/{int(now)}"
            await self._transport.append(self._partition, pack_events([event]), key)
        self._put[project] = deployment.number, now

    async def _problem(self, project: str, deployment: Deployment) -> str | None:
        """Why its manifest cannot be used."""
        if not deployment.manifest:
            return None
        try:
            manifest = await read_manifest(self._transport, deployment.manifest)
        except (StoreError, ManifestError) as error:
            return f"the manifest of deployment {deployment.number} of project {project} cannot be had: {error}"
        problem = await problem_of(self._transport, project, manifest)
        return None if problem is None else f"deployment {deployment.number} of project {project}: {problem}"
