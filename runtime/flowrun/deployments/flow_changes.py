"""What is different in a flow, in words: its parameters, its steps, their settings, and what holds for its runs.

Steps are compared by `flowc.compare`, as a rerun under a new plan does: that says which steps do other work. Settings
(queues, retries, times) do not change what a step does, and are compared by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from flowc import plan as plans
from flowc.compare import compare
from flowc.plan import Plan, PlanError, StepSettings

from flowrun.errors import StoreError
from flowrun.manifest import Manifest
from flowrun.transport import Transport

from .changes import Change

__all__ = ["differences", "with_differences"]

_PLACE = "only where it stands in its file changed"
#: what holds for the runs of a flow
_OF_RUNS = {
    "timeout_ms": "timeout", "concurrency": "concurrency", "max_active_runs": "max_active_runs", "sla": "sla",
    "compensates": "on_failure", "keep_ms": "keep_result", "idempotency_key": "idempotency_key",
    "debounce": "debounce", "catchup": "catchup", "depends_on_past": "depends_on_past",
}  # fmt: skip
_encoder = msgspec.msgpack.Encoder(order="deterministic")


async def with_differences(
    transport: Transport, changes: Iterable[Change], old: Manifest, new: Manifest, blobs: Mapping[str, bytes]
) -> list[Change]:
    """The changes, each changed flow with what is different in it, as far as its old plan can be had. `blobs` has the
    plans of `new`. Raises TransportError."""
    before = {flow.name: flow.plan for flow in old.flows}
    after = {flow.name: flow.plan for flow in new.flows}

    async def explained(change: Change) -> Change:
        if change.what != "flow" or change.action != "change":
            return change
        try:
            plan = plans.decode(await transport.get_blob(before[change.name]))
        except (StoreError, PlanError):
            return change
        found = differences(plan, plans.decode(blobs[after[change.name]]))
        return msgspec.structs.replace(change, details=found)

    return list(await asyncio.gather(*map(explained, changes)))


def differences(old: Plan, new: Plan) -> tuple[str, ...]:
    """A line for each; of plans that are not the same, at least one."""
    if _plain(old) == _plain(new):
        return (_PLACE,) if old.file == new.file else (f"it stands in {new.file} now",)
    found = [*_parameters(old, new), *_runs(old, new), *_steps(old, new), *_settings(old, new), *_handlers(old, new)]
    return tuple(found) or ("what surrounds its steps changed",)


def _plain(plan: Plan) -> bytes:
    """All of it but its places and its code."""
    return _encoder.encode(_without_places(msgspec.to_builtins(plan)))


def _without_places(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _without_places(value) for name, value in part.items() if name not in ("line", "file", "code")}
    if isinstance(part, list | tuple):
        return [_without_places(value) for value in part]
    return part


def _parameters(old: Plan, new: Plan) -> Iterable[str]:
    before = {param.name: (old.types[param.type], param.required, param.default) for param in old.params}
    after = {param.name: (new.types[param.type], param.required, param.default) for param in new.params}
    yield from _lines("parameter", before, after)


def _runs(old: Plan, new: Plan) -> Iterable[str]:
    for field, name in _OF_RUNS.items():
        if getattr(old, field) != getattr(new, field):
            yield f"{name} of its runs changed"
    before = {var.name: (old.types[var.type], var.default) for var in old.vars}
    yield from _lines("variable", before, {var.name: (new.types[var.type], var.default) for var in new.vars})


def _steps(old: Plan, new: Plan) -> Iterable[str]:
    found = compare(old, new, {param.name for param in new.params})
    for step, why in found.changed.items():
        yield f"step {step}: {why}"
    there = {node.name for node in new.blocks[0].nodes}
    for node in old.blocks[0].nodes:
        if node.name and node.name not in there:
            yield f"step {node.name}: it is gone"


def _settings(old: Plan, new: Plan) -> Iterable[str]:
    before, after = _settings_of(old), _settings_of(new)
    for step in before.keys() & after.keys():
        names = [name for name in after[step] if before[step][name] != after[step][name]]
        if names:
            yield f"step {step}: {', '.join(names)} changed"


def _settings_of(plan: Plan) -> dict[str, dict[str, object]]:
    """By step, also those inside of others; what settings refer to by its place stands there itself."""
    return {
        node.name: _spelt(plan, plan.settings[settings])
        for block in plan.blocks
        for node in block.nodes
        if node.name and (settings := getattr(node, "settings", None)) is not None
    }


def _spelt(plan: Plan, settings: StepSettings) -> dict[str, object]:
    spelt: dict[str, object] = {
        name.removesuffix("_ms"): value for name, value in msgspec.structs.asdict(settings).items()
    }
    spelt["pool"] = None if settings.pool is None else plan.pools[settings.pool].name
    spelt["limit"] = None if settings.limit is None else plan.limits[settings.limit].name
    return spelt


def _handlers(old: Plan, new: Plan) -> Iterable[str]:
    before, after = ([_without_places(msgspec.to_builtins(one)) for one in plan.triggers] for plan in (old, new))
    if before != after:
        yield "what starts it changed"
    if _bodies(old) != _bodies(new):
        yield "what it does at its end, or when it is late, changed"


def _bodies(plan: Plan) -> Sequence[object]:
    found = [(handler.event, plan.blocks[handler.block], handler.captures) for handler in plan.handlers]
    return [_without_places(msgspec.to_builtins(one)) for one in found]


def _lines(what: str, before: dict[str, Any], after: dict[str, Any]) -> Iterable[str]:
    for name in {**before, **after}:
        if name not in before:
            yield f"{what} {name}: it is new"
        elif name not in after:
            yield f"{what} {name}: it is gone"
        elif before[name] != after[name]:
            yield f"{what} {name}: it changed"
