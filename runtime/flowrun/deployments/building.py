"""From the plans of a project's flows to its manifest, and the blobs that must be stored for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec
from flowc.plan import ConnectionDef, CustomSource, LimitDef, Plan, PoolDef, WebhookSource, digest, encode

from flowrun.custom_schedule import schedule_plan
from flowrun.lineage import datasets_of
from flowrun.manifest import DeployedFlow, Manifest, Variable, encode_manifest
from flowrun.sources import leaves

__all__ = ["Built", "build"]

T = TypeVar("T", PoolDef, LimitDef, ConnectionDef, Variable)
#: how an expression that reads a secret begins, as msgpack: a list of two with this text
_SECRET = b"\x92\xa6secret"


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest, and all that it refers to."""

    manifest: Manifest
    #: content hash of the manifest
    digest: str
    #: bytes by content hash: plans, code, the manifest itself
    blobs: dict[str, bytes]
    #: by flow
    plans: dict[str, Plan]


def build(
    project: str,
    flows: Iterable[Plan],
    *,
    pools: Iterable[PoolDef] = (),
    limits: Iterable[LimitDef] = (),
    connections: Iterable[ConnectionDef] = (),
    code: str = "",
    code_blobs: Mapping[str, bytes] | None = None,
) -> Built:
    """The manifest of plans, whose flows have different names. `pools` and the like: those that the sources declare,
    besides those that the plans use. `code`: content hash of the code of their tasks, which `code_blobs` has."""
    plain = {plan.flow: plan for plan in flows}
    plans = {name: msgspec.structs.replace(plan, code=code) if code else plan for name, plan in plain.items()}
    encoded = {name: encode(plan) for name, plan in sorted(plans.items())}
    schedules = {name: _schedules(plan) for name, plan in plans.items()}
    every = [part for plan in plans.values() for part in (plan, *plan.children.values())]
    manifest = Manifest(
        project=project,
        flows=tuple(
            _flow(plans[name], data, digest(encode(plain[name])) if code else "", schedules[name])
            for name, data in encoded.items()
        ),
        pools=_by_name([*pools, *(pool for plan in every for pool in plan.pools)]),
        limits=_by_name([*limits, *(limit for plan in every for limit in plan.limits)]),
        connections=_by_name([*connections, *(used for plan in every for used in plan.connections)]),
        variables=_by_name(
            [
                Variable(name=var.name, type=plan.types[var.type], default=var.default)
                for plan in every
                for var in plan.vars
            ]
        ),
        secrets=tuple(sorted({key for name, data in encoded.items() for key in _secrets(data, plans[name])})),
        code=code,
    )
    data = encode_manifest(manifest)
    stored = [*encoded.values(), *(plan for found in schedules.values() for plan in found.values()), data]
    blobs = {digest(one): one for one in stored} | dict(code_blobs or {})
    return Built(manifest=manifest, digest=digest(data), blobs=blobs, plans=plans)


def _flow(plan: Plan, data: bytes, logic: str, schedules: dict[str, bytes]) -> DeployedFlow:
    return DeployedFlow(
        name=plan.flow,
        plan=digest(data),
        file=plan.file,
        triggers=plan.triggers,
        types=plan.types if plan.triggers else (),
        catchup=plan.catchup,
        depends_on_past=plan.depends_on_past,
        datasets=datasets_of(plan),
        calls=tuple(sorted({child.flow for child in plan.children.values()})),
        logic=logic or digest(data),
        schedules={place: digest(one) for place, one in schedules.items()},
    )


def _schedules(plan: Plan) -> dict[str, bytes]:
    """The plans that work out the times of its custom schedules, by "trigger/place"."""
    return {
        f"{trigger.name}/{place}": encode(schedule_plan(plan.flow, trigger.name, source, plan.code))
        for trigger in plan.triggers
        for place, source in enumerate(leaves(trigger.source))
        if isinstance(source, CustomSource)
    }


def _by_name(found: Iterable[T]) -> tuple[T, ...]:
    """Each once, in the order of the names."""
    known = {one.name: one for one in found}
    return tuple(known[name] for name in sorted(known))


def _secrets(data: bytes, plan: Plan) -> set[str]:
    """Keys of the secrets that a plan's steps, connections and triggers read. `data`: the plan's bytes."""
    if b"secret" not in data:
        return set()
    sources = [source for trigger in plan.triggers for source in leaves(trigger.source)]
    found = {source.secret for source in sources if isinstance(source, WebhookSource) and source.secret}
    return found | (set(_read_by(msgspec.to_builtins(plan))) if _SECRET in data else set())


def _read_by(part: object) -> Iterable[str]:
    """Keys in the expressions of a plan's part."""
    if isinstance(part, dict):
        part = [*part.values()]
    if not isinstance(part, list | tuple) or (part and part[0] == "lit"):
        return
    if len(part) == 2 and part[0] == "secret" and isinstance(part[1], str):
        yield part[1]
        return
    for inner in part:
        yield from _read_by(inner)
