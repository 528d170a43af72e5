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
        explanation="It matters to deployed nodes: when a flow starts by itself, how many runs there are, when it "
        "should be done. It is checked, and told here, so that nobody relies on it.",
        bad=_ONE + '\nflow main returns int {\n  trigger nightly = cron("0 4 * * *", tz: "UTC")\n'
        "  return number(1)\n}\n",
        good=_ONE + "\nflow main returns int {\n  return number(1)\n}\n",
    ),
)
