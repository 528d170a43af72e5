"""The states of a node, and of an item of an `each`."""

from __future__ import annotations

from flowrun.messages import StepState

__all__ = [
    "BAD", "CLASS", "NAMES",
    "WAITING", "DELAYED", "QUEUED", "GRANTED", "RETRYING", "RUNNING",
    "SUCCESS", "FAILED", "SKIPPED", "UPSTREAM_FAILED", "CANCELLED", "EXPIRED", "REMOVED",
]  # fmt: skip

#: from SUCCESS on it has ended. DELAYED waits for its time, QUEUED for permits; GRANTED may be dispatched; RUNNING has
#: scopes of its own; REMOVED was cancelled by a join, and rules leave it out
WAITING, DELAYED, QUEUED, GRANTED, RETRYING, RUNNING = range(6)
SUCCESS, FAILED, SKIPPED, UPSTREAM_FAILED, CANCELLED, EXPIRED, REMOVED = range(6, 13)

#: how a state is shown. When a worker begins is not known here: what may be dispatched counts as running
NAMES: tuple[StepState, ...] = (
    "waiting", "waiting", "ready", "running", "retrying", "running",
    "success", "failed", "skipped", "upstream_failed", "cancelled", "expired", "cancelled",
)  # fmt: skip

#: how rules count an end: 0 success, 1 failed, 2 skipped, 3 upstream_failed
CLASS = (-1, -1, -1, -1, -1, -1, 0, 1, 2, 3, 1, 1, -1)

#: ends that are failures unless something handles them
BAD = (FAILED, CANCELLED, EXPIRED)
