"""Deployments by hand, for tests of what they start."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from flowc import plan as plans
from flowc.plan import Plan, TriggerDef
from flowc.types import JSON
from flowrun.errors import Conflict
from flowrun.manifest import (
    DeployedFlow,
    Deployment,
    Manifest,
    decode_history,
    encode_history,
    encode_manifest,
    key_of,
)
from flowrun.transport import Transport

__all__ = ["deploy", "deployed_flow"]


def deployed_flow(plan: Plan, *triggers: TriggerDef, name: str = "", **more: Any) -> tuple[Plan, DeployedFlow]:
    """A flow as a manifest has it; the bodies of its events are JSON."""
    if name:
        plan = msgspec.structs.replace(plan, flow=name)
    digest = plans.digest(plans.encode(plan))
    return plan, DeployedFlow(name=plan.flow, plan=digest, triggers=triggers, types=(JSON,), **more)


async def deploy(
    transport: Transport, *flows: tuple[Plan, DeployedFlow], at_ms: int, project: str = "shop",
    others: Sequence[Plan] = (),
) -> int:  # fmt: skip
    """Deploys a project with these flows (none: undeploys it); gives the deployment's number."""
    for plan in (*(plan for plan, _ in flows), *others):
        data = plans.encode(plan)
        await transport.put_blob(plans.digest(data), data)
    manifest = Manifest(project=project, flows=tuple(flow for _, flow in flows))
    data = encode_manifest(manifest)
    await transport.put_blob(plans.digest(data), data)
    while True:
        entry = await transport.read_entry(key_of(project))
        history = decode_history(entry.data if entry is not None else b"")
        number = len(history.deployments) + 1
        new = Deployment(number=number, manifest=plans.digest(data) if flows else "", at_ms=at_ms)
        history = msgspec.structs.replace(history, deployments=(*history.deployments, new))
        try:
            await transport.write_entry(key_of(project), encode_history(history), entry.revision if entry else 0)
        except Conflict:
            await asyncio.sleep(0.01)
            continue
        return number
