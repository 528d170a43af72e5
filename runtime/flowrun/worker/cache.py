"""Values that stand for calls: a step with `cache` looks for one before it runs, and leaves one when it succeeded.

The key is made of what runs (the function, or the text of a command or a query) and of what the setting says, else
of all arguments. Nothing is locked: two calls at the same time may both run. `cached_values` knows where the values
are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from flowc.plan import CacheDef, TaskDef
from flowc.types import Type

from flowrun import expr, values

from .arguments import Getter, Inputs

__all__ = ["Cached", "cached_as", "note_hit"]

#: bytes of the hash
_KEY_BYTES = 20


class Cached(NamedTuple):
    """Where a call's value is, and for how long."""

    key: str
    ttl_ms: int


def cached_as(
    cache: CacheDef, task: TaskDef, returns: Type | None, arguments: Sequence[tuple[str, Getter]]
) -> Callable[[Inputs], Cached]:
    """Where the values of a step's calls are."""
    import hashlib  # start-up time: it loads OpenSSL, and most executor processes need none

    what = msgspec.msgpack.encode((task.operator, task.target, task.template, returns))
    compute = None if cache.key is None else expr.compile_expr(cache.key)

    def found(inputs: Inputs) -> Cached:
        hash = hashlib.blake2b(what, digest_size=_KEY_BYTES)
        for name, value in _parts(compute, arguments, inputs):
            hash.update(name.encode() + b"\0" + values.encode(value))
        return Cached(f"cache-{hash.hexdigest()}", cache.ttl_ms)

    return found


def _parts(
    compute: Callable[[expr.Env], Any] | None, arguments: Sequence[tuple[str, Getter]], inputs: Inputs
) -> list[tuple[str, Any]]:
    """What tells calls apart."""
    if compute is not None:
        return [("", compute(expr.Env(inputs)))]
    return [(name, get(inputs)) for name, get in sorted(arguments, key=lambda argument: argument[0])]


def note_hit(step: str) -> None:
    """Says in the attempt's log that it was spared."""
    logging.getLogger(f"flow.{step}").info("the value is from the cache")
