"""What is undone, and what is started beside, from the command line: also when it is killed or interrupted."""

from __future__ import annotations

import json
import os
import signal

import pytest

from .conftest import Project
from .test_interrupt import lines, wait_for_line

FLOW = """
use "tasks.py" { book, cancel_booking, fail, wait_long, note }

task reserve(seat: int) returns int {
  run: python("tasks:book")
  undo: release(result)
}
task release(seat: int) {
  run: python("tasks:cancel_booking")
  retry: { max: 1, backoff: fixed(10ms) }
}

flow trip(how: string = "fails") {
  on_failure: "compensate"
  seats = each i in range(4) with { concurrency: 1 } { return reserve(i) }
  if how == "fails" { fail(seats) } else { wait_long(seats) }
  on failure(e) { note("failure: ${e.message}") }
  on cancel(c) { note("cancel: ${c.reason}") }
}
flow other(n: int) {
  wait = book(n)
  note("other ${n}") after wait
}
flow starts() returns string {
  id = other(7) with { detached: true }
  return id
}
"""
TASKS = """
import os, time

def note(text: str) -> None:
    file = os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, (text + "\\n").encode())
    os.close(file)

def book(seat: int) -> int:
    note(f"book {seat}")
    return seat

def cancel_booking(seat: int) -> None:
    if seat == 1:
        raise LookupError("no such seat")
    note(f"undo {seat}")
    time.sleep(0.3)

def fail(seats: list[int]) -> None:
    raise ValueError("no money")

def wait_long(seats: list[int]) -> None:
    note("waits")
    time.sleep(60)
"""


@pytest.fixture
def trip(project: Project) -> Project:
    return project.write(main_flow=FLOW.replace("{ book, cancel_booking,", "{ book,"), tasks_py=TASKS)


def undone(project: Project) -> list[str]:
    return [line for line in lines(project) if line.startswith("undo")]


MESSAGE = "no money; and 1 of 4 steps could not be undone (`undo reserve`: LookupError: no such seat)"


def test_a_run_that_fails_is_undone(trip: Project) -> None:
    ended = trip.flowc("run", "main.flow", "--flow", "trip", "--json")
    assert ended.code == 1
    report = ended.checked("run")
    assert report["error"]["message"] == MESSAGE
    assert undone(trip) == ["undo 3", "undo 2", "undo 0"]
    rows = {(row["step"], row["index"]): (row["state"], row["attempts"]) for row in report["steps"]}
    assert rows["undo reserve", 3] == ("success", 1)
    assert rows["undo reserve", 1] == ("failed", 2)
    assert lines(trip)[-1] == f"failure: {MESSAGE}"


def test_killed_while_it_undoes_it_goes_on(trip: Project) -> None:
    process = trip.start("run", "main.flow", "--flow", "trip")
    wait_for_line(trip, "undo 2")
    process.kill()
    process.communicate(timeout=10)
    ended = trip.flowc("run", "--resume", "last", "--json")
    assert ended.json["error"]["message"] == MESSAGE
    found = undone(trip)
    assert list(dict.fromkeys(found)) == ["undo 3", "undo 2", "undo 0"]
    assert found.count("undo 3") == found.count("undo 0") == 1  # the one that ran may run again
    assert lines(trip).count("book 0") == 1


def test_ctrl_c_undoes(trip: Project) -> None:
    process = trip.start("run", "main.flow", "--flow", "trip", "-p", "how=waits", "--json")
    wait_for_line(trip, "waits")
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, (out, err)
    report = json.loads(out)
    assert (report["state"], report["error"]["type"]) == ("cancelled", "CompensationFailed")
    assert undone(trip) == ["undo 3", "undo 2", "undo 0"]
    assert lines(trip)[-1] == "cancel: interrupted"


def test_a_run_that_starts_others_ends_when_they_have(trip: Project) -> None:
    ended = trip.flowc("run", "main.flow", "--flow", "starts", "--json")
    assert ended.code == 0
    assert ended.json["result"].startswith("k")
    assert lines(trip) == ["book 7", "other 7"]
    assert trip.processes_end()
