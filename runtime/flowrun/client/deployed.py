"""Finds the plans of deployed flows by their names, as they are deployed just now.

What is deployed is looked at again after a second: a client that submits thousands by name asks once a second. Whoever
submits gets the plan that was the deployed one within that second.
"""

from __future__ import annotations

import asyncio
from difflib import get_close_matches
from typing import NamedTuple

from flowc import plan as plans
from flowc.plan import Plan

from flowrun.deployments.reading import read_histories, read_manifest
from flowrun.errors import StoreError
from flowrun.manifest import Manifest
from flowrun.parameters import ArgumentError
from flowrun.transport import Transport

__all__ = ["DeployedFlows", "FoundPlan"]

#: in seconds
_FRESH = 1.0
#: plans that are kept
_MOST_PLANS = 1_000


class FoundPlan(NamedTuple):
    """A plan, its content hash, and its bytes as they were deployed."""

    plan: Plan
    digest: str
    data: bytes


class DeployedFlows:
    """Of one environment."""

    def __init__(self, transport: Transport, env: str) -> None:
        self._transport, self._env = transport, env
        #: flow -> content hash of its plan; true until `_until`, in loop time
        self._flows: dict[str, str] = {}
        self._until = 0.0
        self._manifests: dict[str, Manifest] = {}
        self._plans: dict[str, FoundPlan] = {}
        self._lock = asyncio.Lock()

    def known(self, flow: str) -> FoundPlan | None:
        """Without a question to the server, if that is not needed."""
        if asyncio.get_running_loop().time() >= self._until:
            return None
        return self._plans.get(self._flows.get(flow, ""))

    async def find(self, flow: str) -> FoundPlan:
        """Raises ArgumentError where no such flow is deployed, TransportError, StoreError, ManifestError."""
        async with self._lock:
            if asyncio.get_running_loop().time() >= self._until:
                await self._look()
            digest = self._flows.get(flow)
            if digest is None:
                raise ArgumentError(self._unknown(flow))
            found = self._plans.get(digest)
            if found is None:
                while len(self._plans) >= _MOST_PLANS:
                    del self._plans[next(iter(self._plans))]
                found = self._plans[digest] = await self._load(digest)
            return found

    async def _look(self) -> None:
        asked = asyncio.get_running_loop().time()
        current = [one.history.current for one in await read_histories(self._transport)]
        names = [last.manifest for last in current if last is not None and last.manifest]
        missing = [name for name in names if name not in self._manifests]
        loaded = await asyncio.gather(*(read_manifest(self._transport, name) for name in missing))
        known = self._manifests | dict(zip(missing, loaded, strict=True))
        self._manifests = {name: known[name] for name in names}
        self._flows = {flow.name: flow.plan for manifest in self._manifests.values() for flow in manifest.flows}
        self._until = asked + _FRESH

    async def _load(self, digest: str) -> FoundPlan:
        data = await self._transport.get_blob(digest)
        try:
            return FoundPlan(plans.decode(data), digest, data)
        except plans.PlanError as error:
            raise StoreError(f"the deployed plan {digest} cannot be used: {error}") from error

    def _unknown(self, flow: str) -> str:
        close = get_close_matches(flow, self._flows, 1)
        hint = f"did you mean `{close[0]}`?" if close else "`flowc deployments` shows what is"
        return f"no flow `{flow}` is deployed in the environment `{self._env}`: {hint}"
