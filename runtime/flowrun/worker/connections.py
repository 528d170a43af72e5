"""Declared connections with their secrets, as a task receives them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from flowc.plan import ConnectionDef

from flowrun import expr
from flowrun.operator import Connection

from .failures import not_found

__all__ = ["connect_all", "secret"]


def secret(key: str) -> str:
    """The value of `secret("key")`: the environment variable FLOW_SECRET_KEY. Raises TaskFailed (NotFound)."""
    variable = "FLOW_SECRET_" + "".join(c if c.isalnum() else "_" for c in key).upper()
    value = os.environ.get(variable)
    if value is None:
        raise not_found(f"there is no secret `{key}`: set the environment variable {variable} for the workers")
    return value


def connect_all(definitions: Iterable[ConnectionDef]) -> Mapping[str, Connection]:
    """Raises TaskFailed (NotFound) when a secret is missing."""
    return {
        one.name: Connection(
            name=one.name,
            kind=one.kind,
            fields={name: expr.evaluate(value, expr.Env(secret=secret)) for name, value in one.fields},
        )
        for one in definitions
    }
