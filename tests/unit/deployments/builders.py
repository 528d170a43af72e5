"""Deployments by hand, for tests that need no sources."""

from __future__ import annotations

from typing import Any

import msgspec
from flowc.plan import LimitDef, Plan, PoolDef, TriggerDef, WebhookSource, digest
from flowrun.deployments.building import Built, build
from flowrun.deployments.committing import Action, Order, commit, put_blobs
from flowrun.deployments.objections import objections
from flowrun.deployments.reading import Histories, read_history
from flowrun.deployments.signing import SigningKey
from flowrun.manifest import Deployment
from flowrun.transport import Transport

from tests.support.plans import call, flow_plan, task

__all__ = ["built", "change", "deploy", "flow", "webhook"]


def flow(name: str = "nightly", target: str = "tasks:work", **changes: Any) -> Plan:
    """A flow of one step."""
    plan = flow_plan((call("work", 0),), (task("work", target),), **changes)
    return msgspec.structs.replace(plan, flow=name, file=f"{name}.flow")


def webhook(name: str, path: str) -> TriggerDef:
    return TriggerDef(name=name, source=WebhookSource(path=path, body=0, secret="hook"))


def built(project: str, *flows: Plan, slots: int = 0, rate: int = 0, code: bytes = b"") -> Built:
    return build(
        project,
        flows,
        pools=[PoolDef(name="db", slots=slots)] if slots else [],
        limits=[LimitDef(name="api", rate=rate, per_ms=1_000, burst=rate)] if rate else [],
        code=digest(code) if code else "",
        code_blobs={digest(code): code} if code else {},
    )


async def deploy(
    transport: Transport,
    what: Built,
    *,
    env: str = "dev",
    by: str = "ada",
    key: SigningKey | None = None,
    read: Histories | None = None,
) -> Deployment:
    """As `flowc deploy` does it, without a look at what changes."""
    read = read or await read_history(transport, what.manifest.project)
    await put_blobs(transport, what.blobs)
    order = Order(env=env, manifest=what.digest, by=by, key=key)
    return await commit(transport, read, order, lambda: objections(transport, what.manifest))


async def change(transport: Transport, project: str, action: Action, manifest: str) -> Deployment:
    """A rollback, or an undeploy (manifest "")."""

    async def nothing() -> list[str]:
        return []

    order = Order(env="dev", manifest=manifest, action=action)
    return await commit(transport, await read_history(transport, project), order, nothing)
