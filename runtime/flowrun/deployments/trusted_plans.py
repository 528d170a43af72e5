"""Which plans a worker executes that trusts only some signers: those that one of their deployments names.

A run stays on the plan that it began with, so all deployments of the history count, not only the current ones. A plan
that is not known is looked for in the histories as they are now, from the newest manifest to the oldest; what was found
stays known. That is the whole way from a key to what is executed: the signature covers the manifest's hash, the
manifest has the hashes of plans, a plan that of its code, and each is compared with what the blob store gives.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from flowrun.errors import FlowError, StoreError
from flowrun.manifest import ManifestError, plans_of
from flowrun.transport import Transport

from .reading import Histories, read_histories, read_manifest
from .trust import Trust

__all__ = ["TrustedPlans", "UntrustedPlan"]

log = logging.getLogger("flow.deployments")

#: who asks for what was not found is given the same answer for so long, in seconds
_AGAIN = 1.0


class UntrustedPlan(FlowError):
    """The plan is not part of a deployment that a trusted signer made."""


class TrustedPlans:
    """Of one environment, with the keys that count there."""

    def __init__(self, transport: Transport, env: str, trust: Trust) -> None:
        self._transport, self._env, self._trust = transport, env, trust
        self._plans: set[str] = set()
        #: content hashes of manifests that were read
        self._manifests: set[str] = set()
        #: plan -> the loop's time until which it counts as not found
        self._unknown: dict[str, float] = {}
        self._lock = asyncio.Lock()

    async def check(self, plan: str) -> None:
        """Raises UntrustedPlan, TransportError, StoreError."""
        if plan in self._plans:
            return
        async with self._lock:
            if plan not in self._plans and not await self._find(plan):
                raise UntrustedPlan(
                    f"plan {plan} is not part of a deployment that a trusted signer made: this worker executes only "
                    "what was deployed with `flowc deploy --key`, by one of those that it trusts"
                )

    async def _find(self, plan: str) -> bool:
        now = asyncio.get_running_loop().time()
        if self._unknown.get(plan, 0.0) > now:
            return False
        self._unknown = {name: until for name, until in self._unknown.items() if until > now}
        for name in self._accepted(await read_histories(self._transport)):
            try:
                self._plans |= plans_of(await read_manifest(self._transport, name))
            except (StoreError, ManifestError) as error:
                log.warning("a deployment cannot be looked at: %s", error)
                continue
            self._manifests.add(name)
            if plan in self._plans:
                return True
        self._unknown[plan] = now + _AGAIN
        return False

    def _accepted(self, histories: Iterable[Histories]) -> list[str]:
        """Manifests of trusted deployments that were not read yet, the newest first."""
        entries = [
            (entry.at_ms, entry.manifest)
            for one in histories
            for entry in one.history.deployments
            if entry.manifest
            and entry.manifest not in self._manifests
            and self._trust.refuses(self._env, one.project, entry) is None
        ]
        return list(dict.fromkeys(name for _, name in sorted(entries, reverse=True)))
