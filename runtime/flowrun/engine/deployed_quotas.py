"""Pools and limits become what a deployment says, at once, and without a run of it.

Each partition keeps what it owns of them: until the project deploys something else, no plan says otherwise.
"""

from __future__ import annotations

from flowrun.manifest import Manifest
from flowrun.messages import QuotaDef
from flowrun.partitions import owner_of

from .core import Core

__all__ = ["deploy"]


def deploy(core: Core, project: str, manifest: Manifest | None, at_ms: int) -> None:
    """`manifest`: None: nothing of the project is deployed any more. `at_ms`: when it was deployed."""
    definitions: dict[str, QuotaDef] = {}
    if manifest is not None:
        definitions |= {f"pool/{pool.name}": QuotaDef(at_ms, pool.slots) for pool in manifest.pools}
        definitions |= {
            f"rate/{limit.name}": QuotaDef(at_ms, limit.burst, limit.rate, limit.per_ms) for limit in manifest.limits
        }
    core.quotas.deploy(project, {name: one for name, one in definitions.items() if _is_mine(core, name)}, core.now)


def _is_mine(core: Core, quota: str) -> bool:
    return core.partitions == 1 or owner_of(quota, core.partitions) == core.partition
