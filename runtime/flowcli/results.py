"""What `flowc run --json` prints, as data. Its schema is specs/schemas/run.schema.json."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from flowc.plan import Plan
from flowrun.messages import RunRecord, StepRecord

from .levels import Level, levels_of

__all__ = ["ErrorReport", "RunReport", "find_line", "report_of"]

StepState = Literal["success", "failed", "skipped", "upstream_failed", "cancelled", "expired"]
RunState = Literal["success", "failed", "cancelled", "expired"]


class StepError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a step failed."""

    #: the class of the error ("ValueError"), or Timeout, WorkerDied, TypeMismatch, …
    type: str
    message: str


class RunError(msgspec.Struct, frozen=True, kw_only=True):
    """Why the run failed."""

    type: str
    message: str
    #: the step that failed, or null
    step: str | None
    #: the flow's file, and the line of the step in it
    file: str
    line: int | None


class StepReport(msgspec.Struct, frozen=True, kw_only=True):
    """A step, or one item of an `each`."""

    #: its binding, or its task's name; a repeated name gets `#2`, `#3`
    step: str
    #: position in the enclosing `each` (a list where they nest), else null
    index: int | list[int] | None
    state: StepState
    attempts: int
    #: of the last attempt; null if there was none
    seconds: float | None
    error: StepError | None


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """An ended run."""

    run: str
    flow: str
    state: RunState
    #: the value of `return`: dates, decimals and durations are strings, bytes base64
    result: Any
    error: RunError | None
    #: from the submission to the end
    seconds: float
    steps: tuple[StepReport, ...]
    #: its service levels
    levels: tuple[Level, ...] = ()


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why no run was started, or could be watched to its end."""

    message: str
    #: a file, an option
    place: str | None
    #: what to do
    help: str | None


class ErrorReport(msgspec.Struct, frozen=True, kw_only=True):
    """Wrong input, or a server that does not answer. (Mistakes in sources are told as `flowc compile` does.)"""

    error: Problem


def report_of(record: RunRecord, result: object, plan: Plan) -> RunReport:
    """`result` is the run's value, plain."""
    error = None
    if record.error is not None:
        error = RunError(
            type=record.error.type,
            message=record.error.message,
            step=record.failed_step,
            file=plan.file,
            line=find_line(plan, record.failed_step),
        )
    return RunReport(
        run=record.run,
        flow=record.flow,
        state=_ended(record.state),
        result=result,
        error=error,
        seconds=(record.ended_ms - record.started_ms) / 1000,
        steps=tuple(_steps(record.steps)),
        levels=levels_of(record.slas),
    )


def _ended(state: str) -> Any:
    """A record is written at the end; what it calls unfinished was stopped."""
    return state if state in ("success", "failed", "skipped", "upstream_failed", "expired") else "cancelled"


def _steps(records: Iterable[StepRecord]) -> Iterable[StepReport]:
    for record in records:
        failure = record.error
        yield StepReport(
            step=record.step,
            index=list(record.index) if isinstance(record.index, tuple) else record.index,
            state=_ended(record.state),
            attempts=record.attempts,
            seconds=None if record.seconds is None else round(record.seconds, 6),
            error=None if failure is None else StepError(type=failure.type, message=failure.message),
        )


def find_line(plan: Plan, step: str | None) -> int | None:
    """The line of a step in the flow's file; None for one of a child flow, which has a file of its own."""
    names = (node for block in plan.blocks for node in block.nodes)
    return next((node.line or None for node in names if node.name and node.name == step), None)
