"""Declared connections with their secrets, as a task receives them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flowc.plan import ConnectionDef

from flowrun import expr
from flowrun.operator import Connection

from .given import Told

__all__ = ["connect_all"]


def connect_all(definitions: Iterable[ConnectionDef], told: Told) -> Mapping[str, Connection]:
    """Raises TaskFailed when a secret is missing."""
    env = expr.Env(secret=told.secret)
    return {
        one.name: Connection(
            name=one.name,
            kind=one.kind,
            fields={
                name: expr.evaluate(value, env) for name, value in {**dict(one.fields), **told.fields(one.name)}.items()
            },
        )
        for one in definitions
    }
