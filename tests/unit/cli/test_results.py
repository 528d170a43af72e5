"""Records as reports: JSON and text."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import msgspec
import pytest
from flowc.plan import Plan, PlanBlock, TaskNode
from flowcli.results import report_of
from flowcli.screen.report import show_end
from flowrun.messages import Failure, RunRecord, StepRecord

PLAN = Plan(
    flow="main",
    file="main.flow",
    params=(),
    returns=None,
    types=(),
    settings=(),
    tasks=(),
    blocks=(PlanBlock(nodes=(TaskNode(name="boom", line=7, task=0, args=(), settings=0),), params=0),),
    version=1,
)
OOPS = Failure("ValueError", "oops", 'File "tasks.py", line 3, in boom')


def record(state: str = "failed", *more: StepRecord, error: Failure | None = OOPS) -> RunRecord:
    step = StepRecord("boom", None, "failed" if error else "success", 2, 0.5, error)
    return RunRecord(
        run="r1", flow="main", state=state, result=b"\xc0", error=error, failed_step="boom" if error else None,
        started_ms=1_000, ended_ms=3_500, steps=(step, *more),
    )  # fmt: skip


def shown(ended: RunRecord, result: object = None) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        show_end("screen", ended, result, PLAN)
    return out.getvalue()


def test_a_report_has_places_and_seconds() -> None:
    report = report_of(record(), None, PLAN)
    assert (report.state, report.seconds) == ("failed", 2.5)
    assert report.error is not None
    assert (report.error.file, report.error.line, report.error.step) == ("main.flow", 7, "boom")


def test_steps_that_a_cancelled_run_left_open_count_as_cancelled() -> None:
    steps = [StepRecord(name, None, name, 1, None) for name in ("waiting", "ready", "running", "retrying", "skipped")]
    states = [step.state for step in report_of(record("cancelled", *steps), None, PLAN).steps]
    assert states == ["failed", "cancelled", "cancelled", "cancelled", "cancelled", "skipped"]


def test_nested_positions_are_lists() -> None:
    step = StepRecord("x", (1, 2), "success", 1, 0.1)
    data = msgspec.json.decode(msgspec.json.encode(report_of(record("failed", step), b"hi", PLAN)))
    assert data["steps"][1]["index"] == [1, 2]
    assert data["result"] == "aGk="


def test_a_failure_names_step_place_attempt_and_the_users_frames() -> None:
    text = shown(record())
    assert "✗ main: failed (2.50 s)" in text
    assert "error: ValueError: oops\n  --> main.flow:7 (step boom, attempt 2)\n  | File" in text


def test_many_failures_are_cut() -> None:
    others = [StepRecord("item", i, "failed", 1, 0.1, OOPS) for i in range(50)]
    text = shown(record("failed", *others))
    assert text.count("also failed: item[") == 5
    assert "… and 45 more" in text


@pytest.mark.parametrize(
    ("result", "text"), [("plain", "plain\n"), ({"a": [1]}, '{\n  "a": [\n    1\n  ]\n}\n'), (None, "")]
)
def test_a_result_is_shown_as_text_or_json(result: object, text: str) -> None:
    assert shown(record("success", error=None), result).split("\n", 1)[1] == text
