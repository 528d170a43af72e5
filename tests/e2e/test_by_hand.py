"""`flowc pause`, `resume`, `mark` and `rerun` against a real node in its processes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from .conftest import Project
from .test_commands import Environment, running_node, wait_until

FLOWS = """
use "work.py" { extract, check, slow }

flow etl(day: string = "monday") returns int {
  rows = extract(day)
  n = check(rows)
  return n
}

flow slowly(seconds: float = 20.0) returns int {
  x = slow(seconds)
  y = slow(0.1) after x
  return x + y
}
"""
WORK = """
import time
from pathlib import Path

def extract(day: str) -> list[int]:
    with open("calls.txt", "a") as file:
        file.write("extract\\n")
    return [1, 2]

def check(rows: list[int]) -> int:
    if Path("broken").exists():
        raise ValueError("broken")
    return sum(rows)

def slow(seconds: float) -> int:
    time.sleep(seconds)
    return 1
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    yield from running_node(tmp_path_factory.mktemp("environment"), FLOWS, WORK)


def calls(here: Environment) -> int:
    return (here.folder / "calls.txt").read_text().count("extract")


def test_a_run_that_failed_goes_on(here: Environment) -> None:
    (here.folder / "broken").touch()
    run = here.submit("--flow", "etl")
    wait_until(lambda: here.state(run) == "failed")
    before = calls(here)
    dry = here.on("rerun", run, "--dry-run")
    assert (dry.code, dry.out) == (0, "  keeps: rows\n  runs:  n\n")
    refused = here.on("rerun", run, "--from", "m")
    assert (refused.code, refused.err) == (2, "error: flow `etl` has no step or group `m`: it has rows, n\n")
    (here.folder / "broken").unlink()
    again = here.on("rerun", run, "--note", "mended", "--by", "ada", "--json").checked("answers")
    assert (again["of"], again["kept"], again["runs"]) == (run, ["rows"], ["n"])
    wait_until(lambda: here.state(again["run"]) == "success")
    assert calls(here) == before
    shown = here.on("ps", again["run"]).out
    assert f"it goes on with run {run}" in shown
    assert re.search(r"rerun by ada: mended", shown)
    assert re.search(r"rows +success \(kept\)", shown)
    waited = here.on("rerun", again["run"], "--from", "rows", "--wait", "-q")
    assert (waited.code, waited.out) == (0, "3\n")
    changed = here.on("rerun", run, "-p", "day=tuesday", "--wait", "--json").checked("run")
    assert (changed["state"], calls(here)) == ("success", before + 2)
    nothing = here.on("rerun", again["run"])
    assert nothing.code == 2
    assert "nothing of run" in nothing.err


def test_a_new_plan(here: Environment) -> None:
    run = here.submit("--flow", "etl")
    wait_until(lambda: here.state(run) == "success")
    new = FLOWS.replace("  return n", "  m = check(rows)\n  return n + m")
    here.write(new_flow=new)
    dry = here.on("rerun", run, "--plan", "new.flow", "--dry-run")
    assert dry.out == "  keeps: rows, n\n  runs:  m\n  m: it is new\n"
    assert here.on("rerun", run, "--plan", "new.flow", "--wait", "-q").out == "6\n"
    assert here.flowc("compile", "new.flow").code == 0
    plan = next(here.folder.rglob("slowly.flowplan"))
    other = here.on("rerun", run, "--plan", str(plan))
    assert other.code == 2
    assert "it was a run of flow `etl`, and the plan is of flow `slowly`" in other.err


def test_pause_mark_resume(here: Environment) -> None:
    run = here.submit("--flow", "slowly")
    assert here.on("pause", run, "--note", "why not", "--by", "ada").code == 0
    assert here.on("ps", "--json").checked("answers")["runs"][0]["paused"]
    shown = here.on("ps", run).out
    assert f"run {run}: slowly: running, paused" in shown
    assert "pause by ada: why not" in shown
    refused = here.on("mark", run, "x", "success", "--value", '"text"')
    assert (refused.code, "step `x` gives int" in refused.err) == (2, True)
    assert here.on("mark", run, "x", "success", "--value", "41", "--reason", "seen").out.endswith("marked as success\n")
    resumed = here.on("resume", run, "--json").checked("answers")
    assert resumed == {"run": run, "flow": None, "paused": False}
    wait_until(lambda: here.state(run) == "success")
    audit = here.on("ps", run, "--json").checked("answers")["audit"]
    assert [entry["action"] for entry in audit] == ["pause", "mark success", "resume"]
    assert re.search(r"x +success \(by hand\)", here.on("ps", run).out)
    assert here.on("pause", run).code == 2
    assert here.on("pause", "nobody").code == 2
    assert here.on("pause").code == 2


def test_a_flow_is_paused(here: Environment) -> None:
    assert here.on("pause", "--flow", "etl", "--note", "incident").code == 0
    run = here.submit("--flow", "etl")
    assert re.match(r"flow etl is paused since .*: incident\n", here.on("ps").out)
    assert here.state(run) == "running"
    assert here.on("resume", "--flow", "etl").out == "flow etl goes on\n"
    wait_until(lambda: here.state(run) == "success")


def test_flowc_run_goes_on_with_a_run_of_its_folder(project: Project) -> None:
    project.write(flows_flow=FLOWS, work_py=WORK)
    (project.folder / "broken").touch()
    failed = project.flowc("run", "flows.flow", "--flow", "etl", "-q")
    assert failed.code == 1
    (project.folder / "broken").unlink()
    asked = project.flowc("rerun", "last")
    assert (asked.code, "`flowc run --rerun " in asked.err) == (2, True)
    again = project.flowc("run", "--rerun", "last", "--json").checked("run")
    assert (again["state"], [step["attempts"] for step in again["steps"]]) == ("success", [0, 1])
    nothing = project.flowc("run", "--rerun", "last", "-q")
    assert (nothing.code, "nothing of run" in nothing.err) == (2, True)
    assert project.flowc("run", "--from", "n").code == 2
    from_n = project.flowc("run", "--rerun", again["run"], "--from", "n", "-q")
    assert (from_n.code, from_n.out) == (0, "3\n")
    project.write(flows_flow=FLOWS.replace("  return n", "  m = check(rows)\n  return n + m"))
    new = project.flowc("run", "flows.flow", "--rerun", again["run"], "--json").checked("run")
    assert (new["result"], [step["attempts"] for step in new["steps"]]) == (6, [0, 0, 1])
    assert (project.folder / "calls.txt").read_text().count("extract") == 1
