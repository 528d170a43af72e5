"""What `ps` and its like print with --json."""

from __future__ import annotations

import datetime as dt

from flowcli.answers import runs_of, state_of
from flowrun.client import RunList, RunStatus
from flowrun.messages import Failure, RunRecord, RunSummary, StepNote, StepRecord

SUMMARY = RunSummary(run="r1", flow="f", submitted_ms=1_000, steps={"running": 2})
AT = dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC)


def test_a_list_of_runs() -> None:
    listed = runs_of(RunList(runs=(SUMMARY,), total=3, silent=("4",)))
    [run] = listed.runs
    assert (run.run, run.submitted, run.steps) == ("r1", AT, {"running": 2})
    assert (listed.total, listed.silent) == (3, ("4",))


def test_a_run_that_goes_on() -> None:
    note = StepNote(step="s", index=(1, 2), state="running", total=5, done=1)
    state = state_of(RunStatus(run="r1", state="running", summary=SUMMARY), (note,))
    assert (state.state, state.flow, state.submitted, state.ended) == ("running", "f", AT, None)
    assert (state.steps[0].index, state.steps[0].total, state.steps[0].message) == ([1, 2], 5, None)


def test_a_run_that_waits_for_its_time() -> None:
    state = state_of(RunStatus(run="r1", state="delayed", at_ms=1_000), ())
    assert (state.state, state.at, state.flow) == ("delayed", AT, "")


def test_a_run_that_ended() -> None:
    error = Failure(type="ValueError", message="boom")
    step = StepRecord(step="s", index=None, state="failed", attempts=2, seconds=0.5, error=error)
    record = RunRecord(
        run="r1", flow="f", state="failed", result=b"\xc0", error=error, failed_step="s", started_ms=1_000,
        ended_ms=3_000, steps=(step,),
    )  # fmt: skip
    state = state_of(RunStatus(run="r1", state="failed", record=record), ())
    assert state.error is not None
    assert (state.error.type, state.error.step) == ("ValueError", "s")
    assert (state.steps[0].message, state.steps[0].attempts) == ("boom", 2)
    assert state.submitted == AT
