"""Findings: pools and fan-out."""

from __future__ import annotations

from . import Entry

__all__ = ["ENTRIES"]

_ONE = 'task number(x: int) returns int { run: shell("echo ${x}") }\n'

ENTRIES: tuple[Entry, ...] = (
    Entry(
        code="FL0701",
        name="slots-exceed-pool",
        message="the step takes {slots} slots, and the pool `{pool}` has {size}",
        help="lower `slots`, or give the pool more",
        explanation="A step that needs more slots than its pool has waits for ever.",
        bad=_ONE
        + "\npool api { slots: 2 }\n\nflow main returns int { return number(1) with { pool: api, slots: 3 } }\n",
        good=_ONE
        + "\npool api { slots: 2 }\n\nflow main returns int { return number(1) with { pool: api, slots: 2 } }\n",
    ),
)
