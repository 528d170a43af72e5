"""An ended run as JSON and as text. The JSON is published as specs/schemas/run.schema.json."""

from __future__ import annotations

import msgspec
from flowc.plan import Plan
from flowrun.messages import Failure, RunRecord, StepRecord

__all__ = ["find_line", "run_json"]


def run_json(record: RunRecord, result: object, plan: Plan) -> str:
    """One line of JSON. `result` is plain: dates, decimals and durations are strings; bytes become base64."""
    return msgspec.json.encode(
        {
            "run": record.run,
            "flow": record.flow,
            "state": record.state,
            "result": result,
            "error": _run_error(record, plan),
            "seconds": round((record.ended_ms - record.started_ms) / 1000, 3),
            "steps": [_step(step) for step in record.steps],
        }
    ).decode()


def _run_error(record: RunRecord, plan: Plan) -> dict[str, object] | None:
    if record.error is None:
        return None
    line = find_line(plan, record.failed_step) if record.failed_step else None
    return {
        **_error(record.error),
        "step": record.failed_step,
        "file": plan.file,
        "line": line,
    }


def _error(error: Failure) -> dict[str, object]:
    return {"type": error.type, "message": error.message}


def _step(step: StepRecord) -> dict[str, object]:
    return {
        "step": step.step,
        "index": step.index,
        "state": step.state,
        "attempts": step.attempts,
        "seconds": None if step.seconds is None else round(step.seconds, 6),
        "error": None if step.error is None else _error(step.error),
    }


def find_line(plan: Plan, step: str) -> int | None:
    """The line of a step in the flow's file."""
    for block in plan.blocks:
        for node in block.nodes:
            if node.name == step:
                return node.line or None
    return None
