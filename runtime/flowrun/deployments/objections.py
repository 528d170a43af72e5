"""What speaks against a deployment: what other projects of the environment have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flowc.plan import LimitDef, PoolDef, WebhookSource

from flowrun.manifest import Manifest
from flowrun.sources import leaves
from flowrun.transport import Transport

from .reading import read_all

__all__ = ["objections"]


async def objections(transport: Transport, manifest: Manifest) -> list[str]:
    """A sentence for each; none: it may be deployed. Raises TransportError, StoreError."""
    if not manifest.flows:
        return []
    deployed, problems = await read_all(transport)
    others = {project: one.manifest for project, one in deployed.items() if project != manifest.project}
    unknown = [
        f"what project `{project}` has deployed cannot be read, and may have the same flows ({problem}): deploy it "
        "again, or undeploy it"
        for project, problem in problems.items()
        if project != manifest.project
    ]
    return [*unknown, *_flows(manifest, others), *_quotas(manifest, others), *_paths(manifest, others)]


def _flows(manifest: Manifest, others: Mapping[str, Manifest]) -> Iterable[str]:
    owners = {flow.name: project for project, other in others.items() for flow in other.flows}
    for flow in manifest.flows:
        if flow.name in owners:
            yield (
                f"flow `{flow.name}` ({flow.file}) is deployed by project `{owners[flow.name]}`, too: rename one of "
                "them, or undeploy the other project"
            )


def _quotas(manifest: Manifest, others: Mapping[str, Manifest]) -> Iterable[str]:
    for project, other in others.items():
        known: dict[str, PoolDef | LimitDef] = {pool.name: pool for pool in other.pools}
        for pool in manifest.pools:
            if known.get(pool.name, pool) != pool:
                yield f"pool `{pool.name}` has another size in project `{project}`: give both the same, or rename one"
        known = {limit.name: limit for limit in other.limits}
        for limit in manifest.limits:
            if known.get(limit.name, limit) != limit:
                yield f"limit `{limit.name}` is another in project `{project}`: make both the same, or rename one"


def _paths(manifest: Manifest, others: Mapping[str, Manifest]) -> Iterable[str]:
    """A request's path says which trigger is meant."""
    owners = {path: f"`{name}` of project `{other.project}`" for other in others.values() for path, name in _of(other)}
    for path, name in _of(manifest):
        if path in owners:
            yield f"trigger `{name}` and trigger {owners[path]} have the same path {path}: change one of them"
        owners[path] = f"`{name}`"


def _of(manifest: Manifest) -> Iterable[tuple[str, str]]:
    """The paths of its webhooks, each with its trigger."""
    for flow in manifest.flows:
        for trigger in flow.triggers:
            for source in leaves(trigger.source):
                if isinstance(source, WebhookSource):
                    yield source.path, f"{flow.name}.{trigger.name}"
