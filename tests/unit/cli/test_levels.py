"""Service levels on the screen and in reports."""

from __future__ import annotations

import datetime as dt
import io

import pytest
from flowcli.answers import runs_of, state_of
from flowcli.errors import InputError
from flowcli.screen.levels import clock_text, expected_text, level_text
from flowcli.screen.live import LiveView
from flowcli.screen.plain import PlainView
from flowcli.screen.tree import Tree
from flowcli.sla_report import levels_of, since_ms
from flowrun.client import RunList, RunStatus
from flowrun.client.slas import report_of
from flowrun.messages import Listing, RunSummary, SlaCount, SlaMark, SlaMiss, StateNote
from rich.console import Console

from tests.unit.cli.test_screen import PLAN

DUE = 1_700_000_000_000
MISSED = SlaMark("", "finish", DUE, DUE - 1_000, DUE, "gold")


def test_words() -> None:
    due = clock_text(DUE)
    assert level_text(MISSED) == f"late: the run was to end by {due} (sla gold), and has not yet"
    came = SlaMark("x", "start", DUE, 0, DUE, "", DUE + 2_500)
    assert level_text(came) == f"late: x was to begin by {due}, and began 2.50 s later"
    assert level_text(SlaMark("", "finish", DUE, DUE - 5)) == f"soon late: the run is to end by {due}"
    assert level_text(SlaMark("", "finish", DUE)) == f"due: the run is to end by {due}"
    assert (
        level_text(SlaMark("", "finish", DUE, DUE - 5, 0, "", DUE))
        == f"in time: the run was to end by {due}, and ended"
    )
    assert expected_text(0, DUE) == ""
    assert expected_text(DUE, DUE + 500) == f"at {due}"
    assert expected_text(DUE, DUE + 3_000) == f"at {due}, late by 3.00 s"


def test_plain_lines_say_once_that_a_run_is_late() -> None:
    lines: list[str] = []
    view = PlainView(Tree(PLAN), lines.append)
    for _ in range(2):
        view.state(StateNote("r", "running", (), (MISSED, SlaMark("x", "finish", DUE)), DUE), 0.0)
    assert lines == [level_text(MISSED)]


def test_the_live_picture_shows_what_is_late_and_when_the_run_should_end() -> None:
    console = Console(file=io.StringIO(), width=120, height=40, force_terminal=True, color_system=None)
    view = LiveView(Tree(PLAN), console)
    view.start("r1", False)
    view.state(StateNote("r1", "running", (), (MISSED,), DUE), 0.0)
    view.message("")
    view.stop()
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "late: the run was to end by" in shown
    assert f"expected to end at {clock_text(DUE)}, late by" in shown


def test_json() -> None:
    summary = RunSummary("r1", "f", 1_000, {}, slas=(MISSED,), begun_ms=2_000, expected_ms=3_000)
    state = state_of(RunStatus(run="r1", state="running", summary=summary), ())
    due = dt.datetime.fromtimestamp(DUE / 1000, dt.UTC)
    [level] = state.levels
    assert (level.step, level.name, level.due, level.missed, level.came) == (None, "gold", due, due, None)
    assert state.expected == dt.datetime.fromtimestamp(3, dt.UTC)
    [run] = runs_of(RunList(runs=(summary,), total=1, silent=())).runs
    assert (run.levels, run.began) == (state.levels, dt.datetime.fromtimestamp(2, dt.UTC))


def test_a_report_is_the_sum_of_all_partitions() -> None:
    def answer(partition: str, met: int, at: int) -> Listing:
        count = SlaCount("f", "", "finish", "gold", met, 1, 2, 3)
        miss = SlaMiss("f", f"r{partition}", "", "finish", DUE, at, 0, "gold")
        return Listing("q", partition, (), 0, slas=(count,), misses=(miss,))

    report = report_of([answer("0", 5, DUE), answer("1", 7, DUE + 1)], ("2",), 1)
    assert report.counts == (SlaCount("f", "", "finish", "gold", 12, 2, 4, 6),)
    assert [miss.run for miss in report.misses] == ["r1"]
    found = levels_of(report)
    assert (found.levels[0].met, found.levels[0].neither, found.misses[0].came, found.silent) == (12, 6, None, ("2",))


def test_since_when() -> None:
    hour = 3_600_000
    assert since_ms("12h", DUE) == DUE - 12 * hour
    assert since_ms("4w", DUE) == DUE - 4 * 7 * 24 * hour
    assert since_ms("2023-11-14", DUE) == 1_699_920_000_000
    assert since_ms("9999w", DUE) == 0
    for wrong in ("", "x", "12", "2023-13-01", "-1h", "12m"):
        with pytest.raises(InputError, match="no time"):
            since_ms(wrong, DUE)
