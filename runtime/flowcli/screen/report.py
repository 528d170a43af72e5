"""The end of a run: its result, or what failed, where, and what to do."""

from __future__ import annotations

import json
import sys

import click
import msgspec
from flowc.plan import Plan
from flowrun.messages import RunRecord, StepRecord

from flowcli.output import say
from flowcli.results import find_line, report_of

from .style import COLOURS, ICONS, seconds_text
from .tree import shown_name
from .view import Output

__all__ = ["show_end"]

#: lines of a result that are shown on a terminal
_MOST_LINES = 40
#: lines of a traceback
_MOST_DETAIL = 20
#: failed steps beside the first
_MOST_STEPS = 5


def show_end(output: Output, record: RunRecord, result: object, plan: Plan) -> None:
    """`result` is the run's value, plain."""
    if output == "json":
        say(msgspec.json.encode(report_of(record, result, plan)))
        return
    if output == "screen":
        seconds = seconds_text((record.ended_ms - record.started_ms) / 1000)
        colour = COLOURS[record.state] if record.state in ("success", "failed", "cancelled") else "red"
        say(click.style(f"{ICONS[record.state]} {record.flow}: {record.state} ({seconds})", fg=colour))
    if record.state == "success":
        _show_result(result, bounded=output == "screen" and sys.stdout.isatty())
    else:
        say(_failure(record, plan), err=output == "quiet")


def _show_result(result: object, *, bounded: bool) -> None:
    if result is None:
        return
    plain = msgspec.to_builtins(result, builtin_types=())
    text = plain if isinstance(plain, str) else json.dumps(plain, indent=2, ensure_ascii=False)
    lines = text.splitlines()
    if bounded and len(lines) > _MOST_LINES:
        text = "\n".join([*lines[:_MOST_LINES], f"… {len(lines) - _MOST_LINES} more lines (all of it: --json)"])
    say(text)


def _failure(record: RunRecord, plan: Plan) -> str:
    failed = [step for step in record.steps if step.state in ("failed", "expired") and step.error is not None]
    first = next((step for step in failed if step.step == record.failed_step), None)
    blocks = []
    if record.error is not None:
        place = _place(plan, record.failed_step)
        step = shown_name(first.step, first.index) if first is not None else record.failed_step
        of = f" (step {step}{_attempts(first)})" if step else ""
        blocks.append(f"error: {record.error.type}: {record.error.message}\n  --> {place}{of}")
        blocks += [f"  | {line}" for line in record.error.detail.rstrip().splitlines()[-_MOST_DETAIL:]]
    others = [step for step in failed if step is not first]
    for other in others[:_MOST_STEPS]:
        assert other.error is not None
        blocks.append(f"also failed: {shown_name(other.step, other.index)}: {other.error.type}: {other.error.message}")
    if len(others) > _MOST_STEPS:
        blocks.append(f"… and {len(others) - _MOST_STEPS} more (all of them: --json)")
    return "\n".join(blocks) or f"run {record.run} was cancelled"


def _attempts(step: StepRecord | None) -> str:
    return f", attempt {step.attempts}" if step is not None and step.attempts > 1 else ""


def _place(plan: Plan, step: str | None) -> str:
    line = find_line(plan, step)
    return f"{plan.file}:{line}" if line is not None else plan.file
