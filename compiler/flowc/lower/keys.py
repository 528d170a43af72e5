"""The keys in the settings of a call: expressions of which each call has its own, over its inputs."""

from __future__ import annotations

from flowc import ir

__all__ = ["keys_of"]


def keys_of(settings: ir.Settings) -> dict[str, ir.Key]:
    """By the name of the setting."""
    concurrency, cache, idempotency = settings.concurrency, settings.cache, settings.idempotency_key
    if concurrency is None and cache is None and idempotency is None:
        return {}
    found: dict[str, ir.Key] = {}
    if concurrency is not None and concurrency.key is not None:
        found["concurrency"] = ir.Key(expr=concurrency.key, of_task=bool(concurrency.task))
    if cache is not None and cache.key is not None:
        found["cache"] = cache.key
    if idempotency is not None:
        found["idempotency_key"] = idempotency
    return found
