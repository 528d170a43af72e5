"""What was deployed is kept: the blobs of a project's last deployments are put again from time to time, since blobs
are collected by age (see `coordinator.collecting`).

Manifests of older deployments are kept for as long as the history names them: they say which plans were ever deployed.
Their plans and their code go with time, so they cannot be gone back to.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from flowrun.errors import StoreError
from flowrun.manifest import History, ManifestError, plans_of
from flowrun.transport import Transport

from .reading import read_histories, read_manifest

__all__ = ["KEPT", "blobs_of", "keep_deployments"]

log = logging.getLogger("flow.deployments")

#: so many of the last deployments of a project can be gone back to
KEPT = 20
#: blobs that are put again at the same time
_PARALLEL = 8


async def blobs_of(transport: Transport, name: str) -> dict[str, bytes]:
    """The manifest with this content hash and all that it names, by content hash. Raises StoreError if anything of it
    is gone, TransportError, ManifestError."""
    manifest = await read_manifest(transport, name)
    names = [name, *sorted(plans_of(manifest) | {manifest.code} - {""})]
    gate = asyncio.Semaphore(_PARALLEL)

    async def get(one: str) -> bytes:
        async with gate:
            return await transport.get_blob(one)

    return dict(zip(names, await asyncio.gather(*map(get, names)), strict=True))


async def keep_deployments(transport: Transport) -> None:
    """Puts again what the last deployments of each project need. What is lost is told, and no reason to keep the rest
    no longer. Raises TransportError."""
    plans: set[str] = set()
    codes: set[str] = set()
    for one in await read_histories(transport):
        plans |= {entry.manifest for entry in one.history.deployments if entry.manifest}
        for name in _last(one.history):
            try:
                manifest = await read_manifest(transport, name)
            except (StoreError, ManifestError) as error:
                log.warning("a deployment of project %s cannot be kept: %s", one.project, error)
                continue
            plans |= plans_of(manifest)
            codes |= {manifest.code} - {""}
    await _renew(transport, plans, _PARALLEL)
    await _renew(transport, codes, 1)


async def _renew(transport: Transport, names: Iterable[str], at_once: int) -> None:
    """So many of them are in memory at the same time."""
    pending = iter(sorted(names))

    async def renew_some() -> None:
        for name in pending:
            try:
                await transport.put_blob(name, await transport.get_blob(name))
            except StoreError as error:
                log.warning("what a deployment refers to cannot be kept: %s", error)

    await asyncio.gather(*(renew_some() for _ in range(at_once)))


def _last(history: History) -> set[str]:
    """The manifests of the last deployments."""
    return {entry.manifest for entry in history.deployments[-KEPT:] if entry.manifest}
