"""Ctrl-C, SIGKILL and --resume."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from .conftest import Project
from .test_bad_input import wait_for

FLOW = """
use "tasks.py" { step, finish }

flow main(n: int = 6) returns int {
  first = step("first", 0.05)
  each i in range(n) with { concurrency: 2 } { return step("item ${i}", 0.25) }
  last = step("last", 0.05) after first
  return finish([first, last])
}
"""
TASKS = """
import os, time

def note(text):
    file = os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, (text + "\\n").encode())
    os.close(file)

def step(name: str, seconds: float) -> int:
    note(f"{name} start")
    time.sleep(seconds)
    note(f"{name} end")
    return 1

def finish(xs: list[int]) -> int:
    return sum(xs)
"""


@pytest.fixture
def slow(project: Project) -> Project:
    return project.write(main_flow=FLOW, tasks_py=TASKS)


def lines(project: Project) -> list[str]:
    log = project.folder / "log"
    return log.read_text().splitlines() if log.exists() else []


def wait_for_line(project: Project, text: str, count: int = 1) -> None:
    wait_for(project.folder / "log")
    until = time.monotonic() + 60
    while sum(text in line for line in lines(project)) < count:
        assert time.monotonic() < until, lines(project)
        time.sleep(0.01)


def test_ctrl_c_cancels_cleanly(slow: Project) -> None:
    process = slow.start("run", "main.flow", "-p", "n=50", "--json")
    wait_for_line(slow, "item", 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, (out, err)
    report = json.loads(out)
    assert report["state"] == "cancelled"
    assert "Traceback" not in err
    assert sum("item" in line for line in lines(slow)) < 50
    assert slow.processes_end()
    assert slow.flowc("run", "main.flow", "-p", "n=1", "-q").out == "2\n"  # the folder is as good as new


def test_ctrl_c_twice_kills(slow: Project) -> None:
    slow.write(tasks_py=TASKS.replace("time.sleep(seconds)", "time.sleep(seconds + 30 * name.startswith('item'))"))
    process = slow.start("run", "main.flow")
    wait_for_line(slow, "item")
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.02)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    _out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - began < 10
    assert "Traceback" not in err
    assert slow.processes_end()


def test_ctrl_c_while_starting(slow: Project) -> None:
    process = slow.start("run", "main.flow")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not children.read_text():  # before it starts its worker, Python itself is being started
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in err


@pytest.mark.parametrize("moment", ["first start", "item 0 start", "item 2 end", "last"])
def test_a_killed_run_is_resumed_without_repeating_finished_steps(slow: Project, moment: str) -> None:
    process = slow.start("run", "main.flow", "-p", "n=6")
    wait_for_line(slow, moment)
    time.sleep(0.1)  # what has just finished is acknowledged within this time
    known = lines(slow)
    process.kill()
    process.communicate(timeout=10)
    (run,) = (slow.folder / ".flow/runs").glob("*.json")
    assert json.loads(run.read_bytes())["state"] == "running"

    ended = slow.flowc("run", "--resume", run.stem, "--json", timeout=60)
    report = ended.checked("run")
    assert (ended.code, report["state"], report["result"], report["run"]) == (0, "success", 2, run.stem)
    starts = Counter(line for line in lines(slow) if line.endswith("start"))
    finished = {line.removesuffix(" end") for line in known if line.endswith(" end")}
    repeated = {name for name in finished if starts[f"{name} start"] > 1}
    assert repeated == set(), lines(slow)
    assert sum(line.endswith("end") for line in lines(slow)) >= 8
    assert json.loads(run.read_bytes())["state"] == "success"


def test_a_run_that_was_killed_twice(slow: Project) -> None:
    process = slow.start("run", "main.flow")
    wait_for_line(slow, "item 0 start")
    process.kill()
    process.communicate(timeout=10)
    process = slow.start("run", "--resume", "last")
    wait_for_line(slow, "item 2 start")
    process.kill()
    process.communicate(timeout=10)
    assert slow.flowc("run", "--resume", "last", "-q", timeout=60).out == "2\n"


def test_a_server_that_dies_is_told_and_the_run_goes_on_later(slow: Project) -> None:
    process = slow.start("run", "main.flow")
    wait_for_line(slow, "item 1 end")
    os.kill(int((slow.folder / ".flow/server.pid").read_text()), signal.SIGKILL)
    began = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - began < 15
    assert process.returncode == 2, (out, err)
    assert "error: nats-server ended" in err
    assert "--resume" in err
    assert "Traceback" not in err
    assert slow.flowc("run", "--resume", "last", "-q", timeout=60).out == "2\n"
