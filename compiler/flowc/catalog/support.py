"""Findings: what this version does not run yet."""

from __future__ import annotations

from . import Entry

__all__ = ["ENTRIES"]

_ONE = 'task number(x: int) returns int { run: shell("echo ${x}") }\n'

_CHILD = "\nflow child returns int { return number(1) }\n"

ENTRIES: tuple[Entry, ...] = (
    Entry(
        code="FL0901",
        name="not-supported-yet",
        message="this version cannot run {construct} yet",
        help="remove it: ignoring it would change what a run does",
        explanation="The language has it, and the engine of this version does not. It is refused rather than ignored.",
        bad=_ONE + _CHILD + '\nflow main returns int { return child() with { env: { LANG: "C" } } }\n',
        good=_ONE + _CHILD + "\nflow main returns int { return child() }\n",
    ),
    Entry(
        code="FL0902",
        name="not-active-yet",
        severity="warning",
        message="{construct} has no effect in this version",
        help="a run that is started by hand is complete without it",
        explanation="It matters to deployed nodes: how much may wait in a queue, which calls go first. It is "
        "checked, and told here, so that nobody relies on it.",
        bad=_ONE + "\nqueue media { max_inflight: 200 }\n"
        "\nflow main returns int { return number(1) with { queue: media } }\n",
        good=_ONE + "\nqueue media { priority: 3 }\n"
        "\nflow main returns int { return number(1) with { queue: media } }\n",
    ),
)
