"""What `flowc connection` prints with `--json`, as data. Its schema is specs/schemas/answers.schema.json."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["ConnectionField", "ConnectionInfo", "ConnectionTried", "Connections"]


class ConnectionField(msgspec.Struct, frozen=True, kw_only=True):
    """A field, as tasks see it."""

    name: str
    #: a secret as "secret(key)"
    value: str
    source: Literal["file", "environment"]


class ConnectionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc connection show`, `set` and `unset`."""

    connection: str
    kind: str
    env: str
    fields: tuple[ConnectionField, ...]
    #: fields that its kind needs and that nobody sets, with their types
    missing: tuple[str, ...]
    #: projects; "" the one in this folder
    declared_by: tuple[str, ...]


class Connections(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc connection list`."""

    env: str
    connections: tuple[ConnectionInfo, ...]


class ConnectionTried(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc connection test`."""

    connection: str
    env: str
    ok: bool
    #: what was tried, or what is wrong
    message: str
