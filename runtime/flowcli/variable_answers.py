"""What `flowc var` prints with `--json`, as data. Its schema is specs/schemas/answers.schema.json."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from flowrun.client import VariableInfo

__all__ = ["VariableChanged", "VariableEntry", "Variables", "entry_of", "variables_of"]


class VariableChanged(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc var set`, `flowc var unset`."""

    variable: str
    env: str
    action: Literal["set", "unset"]
    #: as runs that begin from now on see it
    value: Any


class VariableEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A variable; `flowc var get` prints one."""

    name: str
    #: "": nobody declares it
    type: str
    #: as runs that begin now see it; null also where it has neither a value nor a default
    value: Any
    #: "set", "default", or "missing": a run that reads it fails
    state: Literal["set", "default", "missing"]
    #: when it was set or unset last, and by whom; null: never
    at: dt.datetime | None
    by: str
    #: projects
    declared_by: tuple[str, ...]


class Variables(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc var list`."""

    env: str
    variables: tuple[VariableEntry, ...]


def entry_of(info: VariableInfo) -> VariableEntry:
    return VariableEntry(
        name=info.name, type=info.type, value=info.value,
        state="set" if info.is_set else "default" if info.has_value else "missing",
        at=dt.datetime.fromtimestamp(info.at_ms / 1000, dt.UTC) if info.at_ms else None, by=info.by,
        declared_by=info.declared_by,
    )  # fmt: skip


def variables_of(env: str, found: Iterable[VariableInfo]) -> Variables:
    return Variables(env=env, variables=tuple(map(entry_of, found)))
