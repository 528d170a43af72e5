"""What the commands of deployments print with `--json`, as data. Its schema is specs/schemas/answers.schema.json."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
from flowrun.deployments.changes import Change
from flowrun.deployments.reading import Deployed
from flowrun.deployments.signing import key_text
from flowrun.manifest import DeployedFlow, Deployment

__all__ = [
    "DeployedFlowInfo", "DeployedProject", "DeploymentChanged", "DeploymentEntry", "DeploymentHistory",
    "DeploymentPlanned", "Deployments", "SigningKeyInfo", "changed", "deployments_of", "history_of", "planned",
]  # fmt: skip


class DeploymentPlanned(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc plan --deployed`, `flowc deploy --dry-run`: what a deployment would change."""

    project: str
    env: str
    changes: tuple[Change, ...]


class DeploymentChanged(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc deploy`, `flowc rollback`, `flowc undeploy`."""

    project: str
    env: str
    #: "nothing": what is deployed is the same already
    action: Literal["deploy", "rollback", "undeploy", "nothing"]
    #: of the current deployment
    number: int
    #: content hash of what is deployed, or null: nothing is
    manifest: str | None
    #: rollback: the number of the deployment that it goes back to
    to: int | None = None
    changes: tuple[Change, ...] = ()


class DeploymentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a history."""

    number: int
    action: Literal["deploy", "rollback", "undeploy"]
    manifest: str | None
    at: dt.datetime
    by: str
    note: str
    #: the public key of who signed it, or null
    signer: str | None


class DeploymentHistory(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc history`: the newest first."""

    project: str
    env: str
    deployments: tuple[DeploymentEntry, ...]


class DeployedFlowInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A flow that is deployed."""

    flow: str
    file: str
    #: content hash
    plan: str
    triggers: tuple[str, ...]


class DeployedProject(msgspec.Struct, frozen=True, kw_only=True):
    """What a project has deployed."""

    project: str
    current: DeploymentEntry
    flows: tuple[DeployedFlowInfo, ...]
    pools: dict[str, int]
    #: content hash of its code, or null
    code: str | None


class Deployments(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc deployments`: by project."""

    env: str
    projects: tuple[DeployedProject, ...]


class SigningKeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc key`."""

    file: str
    #: the public key, as `trusted` takes it
    public: str


def planned(project: str, env: str, changes: Sequence[Change]) -> DeploymentPlanned:
    return DeploymentPlanned(project=project, env=env, changes=tuple(changes))


def changed(
    project: str,
    env: str,
    action: Literal["deploy", "rollback", "undeploy", "nothing"],
    current: Deployment,
    changes: Sequence[Change],
    to: int | None = None,
) -> DeploymentChanged:
    return DeploymentChanged(
        project=project, env=env, action=action, number=current.number, manifest=current.manifest or None, to=to,
        changes=tuple(changes),
    )  # fmt: skip


def history_of(project: str, env: str, deployments: Iterable[Deployment]) -> DeploymentHistory:
    """`deployments`: the newest last."""
    return DeploymentHistory(project=project, env=env, deployments=tuple(_entry(one) for one in deployments)[::-1])


def deployments_of(env: str, deployed: dict[str, Deployed]) -> Deployments:
    return Deployments(env=env, projects=tuple(_project(name, one) for name, one in sorted(deployed.items())))


def _entry(one: Deployment) -> DeploymentEntry:
    return DeploymentEntry(
        number=one.number, action=one.action, manifest=one.manifest or None,
        at=dt.datetime.fromtimestamp(one.at_ms / 1000, dt.UTC), by=one.by, note=one.note,
        signer=key_text(one.key) if one.key else None,
    )  # fmt: skip


def _project(name: str, one: Deployed) -> DeployedProject:
    manifest = one.manifest
    return DeployedProject(
        project=name, current=_entry(one.deployment), flows=tuple(map(_flow, manifest.flows)),
        pools={pool.name: pool.slots for pool in manifest.pools}, code=manifest.code or None,
    )  # fmt: skip


def _flow(flow: DeployedFlow) -> DeployedFlowInfo:
    return DeployedFlowInfo(
        flow=flow.name, file=flow.file, plan=flow.plan, triggers=tuple(trigger.name for trigger in flow.triggers)
    )
