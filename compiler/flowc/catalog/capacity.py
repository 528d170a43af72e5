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
    Entry(
        code="FL0702",
        name="pool-deadlock",
        message="the call of `{flow}` can wait for ever: the pool `{pool}` waits for itself ({way})",
        help="take the `pool` off the call: the steps inside take slots of their own",
        explanation="The call of a flow with a `pool` holds its slots until the child run has ended. If the steps "
        "inside need the same pool, or a pool whose holders wait for this one, enough calls at once hold all the slots "
        "that each other's steps wait for, and none goes on.",
        bad=_ONE
        + "\npool api { slots: 2 }\n\nflow part returns int { return number(1) with { pool: api } }\n"
        + "\nflow main returns int { return part() with { pool: api } }\n",
        good=_ONE
        + "\npool api { slots: 2 }\n\nflow part returns int { return number(1) with { pool: api } }\n"
        + "\nflow main returns int { return part() }\n",
    ),
)
