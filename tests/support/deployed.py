"""Deployments for tests: an entry and a manifest, as `flowc deploy` leaves them."""

from __future__ import annotations

from flowc.plan import TriggerDef, digest, encode
from flowc.types import Type
from flowrun.manifest import DeployedFlow, Deployment, History, Manifest, encode_history, encode_manifest, key_of
from flowrun.transport import Transport

from tests.support.plans import call, flow_plan, task

__all__ = ["deploy", "flow_of", "manifest_of"]

_PLAN = encode(flow_plan((call("only", 0),), (task("noop", "tests.support.sample_tasks:noop"),)))


def flow_of(name: str, *triggers: TriggerDef, types: tuple[Type, ...] = ()) -> DeployedFlow:
    """A flow with triggers; what its plan does is of no importance."""
    return DeployedFlow(name=name, plan=digest(_PLAN), triggers=triggers, types=types)


def manifest_of(*flows: DeployedFlow, project: str = "shop") -> Manifest:
    return Manifest(project=project, flows=flows)


async def deploy(transport: Transport, manifest: Manifest, number: int = 1, at_ms: int = 0) -> None:
    """Makes it what the project has, whatever it had."""
    data = encode_manifest(manifest)
    for blob in (_PLAN, data):
        await transport.put_blob(digest(blob), blob)
    deployment = Deployment(number=number, manifest=digest(data), at_ms=at_ms)
    await transport.write_entry(key_of(manifest.project), encode_history(History(deployments=(deployment,))))
