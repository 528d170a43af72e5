"""What one manifest has that another one has not: what a deployment would change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec
from flowc.plan import TriggerDef

from flowrun.manifest import Manifest
from flowrun.source_text import source_text

__all__ = ["Change", "changes_between", "nothing_of"]

Kind = Literal["flow", "trigger", "pool", "limit", "connection", "variable", "secret", "code"]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that differs."""

    action: Literal["add", "change", "remove"]
    what: Kind
    #: of a trigger "flow.trigger"; of the code its content hash
    name: str
    #: what about it, a line each
    details: tuple[str, ...] = ()


def nothing_of(project: str) -> Manifest:
    """What a project has that is not deployed."""
    return Manifest(project=project, flows=())


def changes_between(old: Manifest, new: Manifest) -> list[Change]:
    """In the order in which they are shown. A flow whose code alone is another one has not changed."""
    found = [
        *_compared("flow", _flows(old), _flows(new)),
        *_trigger_changes(_triggers(old), _triggers(new)),
        *_compared("pool", _named(old.pools), _named(new.pools)),
        *_compared("limit", _named(old.limits), _named(new.limits)),
        *_compared("connection", _named(old.connections), _named(new.connections)),
        *_compared("variable", _named(old.variables), _named(new.variables)),
        *_compared("secret", dict.fromkeys(old.secrets), dict.fromkeys(new.secrets)),
    ]
    if old.code != new.code:
        action: Literal["add", "change", "remove"] = "change" if old.code and new.code else "add"
        found.append(Change(action=action if new.code else "remove", what="code", name=new.code or old.code))
    return found


def _flows(manifest: Manifest) -> dict[str, object]:
    """What a flow does, and where it is declared."""
    return {flow.name: (flow.logic or flow.plan, flow.file) for flow in manifest.flows}


def _triggers(manifest: Manifest) -> dict[str, tuple[TriggerDef, object]]:
    """Each with what else holds for it. Where it stands in its file is no part of it."""
    return {
        f"{flow.name}.{trigger.name}": (
            msgspec.structs.replace(trigger, line=0),
            (flow.types, flow.catchup, flow.depends_on_past),
        )
        for flow in manifest.flows
        for trigger in flow.triggers
    }


def _trigger_changes(
    old: Mapping[str, tuple[TriggerDef, object]], new: Mapping[str, tuple[TriggerDef, object]]
) -> Iterable[Change]:
    for change in _compared("trigger", old, new):
        before = source_text(old[change.name][0].source) if change.name in old else ""
        after = source_text(new[change.name][0].source) if change.name in new else ""
        told = " → ".join(part for part in dict.fromkeys((before, after)) if part)
        yield msgspec.structs.replace(change, details=(told,))


def _named(found: Iterable[object]) -> dict[str, object]:
    return {getattr(one, "name"): one for one in found}  # noqa: B009 - all of them have one


def _compared(what: Kind, old: Mapping[str, object], new: Mapping[str, object]) -> list[Change]:
    found: list[Change] = []
    for name in sorted({*old, *new}):
        if name not in old:
            found.append(Change(action="add", what=what, name=name))
        elif name not in new:
            found.append(Change(action="remove", what=what, name=name))
        elif old[name] != new[name]:
            found.append(Change(action="change", what=what, name=name, details=_details(old[name], new[name])))
    return found


def _details(old: object, new: object) -> tuple[str, ...]:
    """Of data with plain fields: each that differs, before and after."""
    if not isinstance(old, msgspec.Struct) or not isinstance(new, msgspec.Struct):
        return ()
    before, after = msgspec.structs.asdict(old), msgspec.structs.asdict(new)
    return tuple(
        f"{name}: {before[name]} → {after[name]}"
        for name in after
        if before[name] != after[name] and isinstance(after[name], int | str | None)
    )
