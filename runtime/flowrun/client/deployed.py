"""Finds the plans of deployed flows by their names, as they are deployed just now.

Each time the entry of the flow's project is read: who submits after a deployment submits what was deployed. Those who
ask at the same moment share one look.
"""

from __future__ import annotations

import asyncio
from difflib import get_close_matches
from typing import NamedTuple

from flowc import plan as plans
from flowc.plan import Plan

from flowrun.deployments.reading import Histories, read_histories, read_history, read_manifest
from flowrun.errors import StoreError
from flowrun.manifest import ManifestError
from flowrun.parameters import ArgumentError
from flowrun.transport import Transport

__all__ = ["DeployedFlows", "FoundPlan"]

#: plans that are kept
_MOST_PLANS = 1_000
#: a look at all projects
_ALL = ""


class FoundPlan(NamedTuple):
    """A plan, its content hash, and its bytes as they were deployed."""

    plan: Plan
    digest: str
    data: bytes


class _Current(NamedTuple):
    """What a project has deployed."""

    revision: int
    #: flow -> content hash of its plan
    flows: dict[str, str]
    #: why that is not known; "": it is
    problem: str = ""


class DeployedFlows:
    """Of one environment."""

    def __init__(self, transport: Transport, env: str) -> None:
        self._transport, self._env = transport, env
        self._projects: dict[str, _Current] = {}
        self._plans: dict[str, FoundPlan] = {}
        #: looks that have not begun, by project: who comes before that shares them
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._lock = asyncio.Lock()

    async def find(self, flow: str) -> FoundPlan:
        """Raises ArgumentError where no such flow is deployed, TransportError, StoreError, ManifestError."""
        project = next((name for name, one in self._projects.items() if flow in one.flows), _ALL)
        await self._look(project)
        if project and flow not in self._projects[project].flows:
            await self._look(_ALL)  # another project may have it now
        digest = next((one.flows[flow] for one in self._projects.values() if flow in one.flows), None)
        if digest is None:
            raise ArgumentError(self._unknown(flow))
        found = self._plans.get(digest)
        return found if found is not None else await self._load(digest)

    async def _look(self, project: str) -> None:
        task = self._looks.get(project)
        if task is None:
            task = self._looks[project] = asyncio.create_task(self._look_now(project))
        await asyncio.shield(task)

    async def _look_now(self, project: str) -> None:
        async with self._lock:
            del self._looks[project]
            if project:
                found = [await read_history(self._transport, project)]
            else:
                found = await read_histories(self._transport)
                self._projects = {one.project: self._projects.get(one.project, _Current(-1, {})) for one in found}
            await asyncio.gather(*(self._update(one) for one in found))

    async def _update(self, read: Histories) -> None:
        if self._projects[read.project].revision == read.revision:
            return
        last, flows, problem = read.history.current, {}, ""
        if last is not None and last.manifest:
            try:
                manifest = await read_manifest(self._transport, last.manifest)
                flows = {flow.name: flow.plan for flow in manifest.flows}
            except (StoreError, ManifestError) as error:  # other projects have nothing to do with it
                problem = f"what project `{read.project}` has deployed cannot be read ({error})"
        self._projects[read.project] = _Current(read.revision, flows, problem)

    async def _load(self, digest: str) -> FoundPlan:
        data = await self._transport.get_blob(digest)
        try:
            found = FoundPlan(plans.decode(data), digest, data)
        except plans.PlanError as error:
            raise StoreError(f"the deployed plan {digest} cannot be used: {error}") from error
        while len(self._plans) >= _MOST_PLANS:
            del self._plans[next(iter(self._plans))]
        return self._plans.setdefault(digest, found)

    def _unknown(self, flow: str) -> str:
        known = [name for one in self._projects.values() for name in one.flows]
        close = get_close_matches(flow, known, 1)
        hint = f"did you mean `{close[0]}`?" if close else "`flowc deployments` shows what is"
        hint = "; ".join([one.problem for one in self._projects.values() if one.problem] or [hint])
        return f"no flow `{flow}` is deployed in the environment `{self._env}`: {hint}"
