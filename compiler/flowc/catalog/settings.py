"""Findings: settings and resources."""

from __future__ import annotations

from . import Entry

__all__ = ["ENTRIES"]

_ONE = 'task number(x: int) returns int { run: shell("echo ${x}") }\n'

ENTRIES: tuple[Entry, ...] = (
    Entry(
        code="FL0501",
        name="unknown-setting",
        message="{where} has no setting `{name}`",
        help="{hint}",
        explanation="A setting that nothing reads would be lost in silence; it is nearly always a misspelt one, or a "
        "binding written with `:` instead of `=`.",
        bad=_ONE + "\nflow main returns int {\n  rows: number(1)\n  return 1\n}\n",
        good=_ONE + "\nflow main returns int {\n  rows = number(1)\n  return rows\n}\n",
    ),
    Entry(
        code="FL0502",
        name="invalid-setting",
        message="`{name}` must be {wanted}, but it is {found}",
        help="{hint}",
        explanation="Settings are typed: durations have units, a queue is a declared queue, a number has bounds.",
        bad=_ONE + "\nflow main returns int { return number(1) with { timeout: 30 } }\n",
        good=_ONE + "\nflow main returns int { return number(1) with { timeout: 30s } }\n",
    ),
    Entry(
        code="FL0503",
        name="misplaced-setting",
        message="`{name}` cannot be set on {where}",
        help="{hint}",
        explanation="Each setting has its places: how a task runs belongs to the task, the bounds of a loop to the "
        "loop, `join` to a group.",
        bad=_ONE + "\nflow main returns int { return number(1) with { join: 1 } }\n",
        good=_ONE + '\nflow main returns int { return [number(1), number(2)] with { join: "first" } }\n',
    ),
    Entry(
        code="FL0504",
        name="missing-setting",
        message="{where} needs `{name}`",
        help="{hint}",
        explanation="Without it, it is not known what is run, or within which bounds.",
        bad="task number(x: int) returns int { timeout: 1m }\n\nflow main returns int { return number(1) }\n",
        good="task number(x: int) returns int {\n"
        '  run: shell("echo ${x}")\n  timeout: 1m\n}\n\nflow main returns int { return number(1) }\n',
    ),
    Entry(
        code="FL0505",
        name="unused-resource",
        severity="warning",
        message="nothing uses the {kind} `{name}`",
        help="name it in a setting, or remove it",
        explanation="A resource that nothing names is left over, or its setting was forgotten.",
        bad=_ONE + "\npool api { slots: 2 }\n\nflow main returns int { return number(1) }\n",
        good=_ONE + "\npool api { slots: 2 }\n\nflow main returns int { return number(1) with { pool: api } }\n",
    ),
    Entry(
        code="FL0506",
        name="executor-cannot",
        message='`{name}` cannot be kept with `executor: "{executor}"`: {reason}',
        help="{hint}",
        explanation="A setting is a promise. A task in an executor of kind process has a process of its own while it "
        "runs, so all settings hold. Coroutines and threads share one: what cannot be kept there is refused.",
        bad=_ONE + '\nflow main returns int { return number(1) with { executor: "thread", timeout: 5s } }\n',
        good=_ONE + "\nflow main returns int { return number(1) with { timeout: 5s } }\n",
    ),
)
