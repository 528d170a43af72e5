"""The live tree on a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios

import pytest

from .conftest import FLOWC, Project

FLOW = """
use "tasks.py" { work, publish }

flow main() returns int {
  parts = each i in range(6) with { concurrency: 2 } { return work(i) }
  done = publish(len(parts)) with { retry: { max: 2, backoff: fixed(300ms) } }
  return done
}
"""
TASKS = """
import time
from flowrun.operator import Context

def work(i: int) -> int:
    print(f"working on {i}")
    time.sleep(0.15)
    return i

def publish(n: int, ctx: Context) -> int:
    if ctx.attempt == 1:
        raise ConnectionError("host is busy")
    return n
"""


def on_terminal(project: Project, *args: str, height: int = 30) -> tuple[int, str]:
    """The exit code, and all that was written to the terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(project.folder)
        os.execve(FLOWC, [FLOWC, *args], project.environment())
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, 100, 0, 0))
    seen = b""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), seen.decode()


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.fixture
def job(project: Project) -> Project:
    return project.write(main_flow=FLOW, tasks_py=TASKS)


def test_the_tree_draws_and_ends(job: Project) -> None:
    code, raw = on_terminal(job, "run", "main.flow")
    text = plain(raw)
    assert code == 0
    assert "\x1b[?25l" in raw
    assert raw.count("\x1b[?25h") >= 1
    assert "━" in text  # a progress bar
    assert "working on" in text
    assert "↻ done" in text
    assert "attempt 2" in text
    last = text[text.rindex("✓ parts") :]
    assert "6/6" in last
    assert "✓ done" in last
    assert "✓ main: success (" in last
    assert last.rstrip().endswith("6")


def test_a_failure_on_the_terminal(job: Project) -> None:
    job.write(tasks_py=TASKS.replace("ctx.attempt == 1", "True"))
    code, raw = on_terminal(job, "run", "main.flow")
    text = plain(raw)
    assert code == 1
    assert "✗ done" in text
    assert "error: ConnectionError: host is busy" in text
    assert "main.flow:6 (step done, attempt 3)" in text


def test_a_small_terminal(job: Project) -> None:
    code, raw = on_terminal(job, "run", "main.flow", height=6)
    assert code == 0
    assert "main: success" in plain(raw)


def test_findings_have_colours(job: Project) -> None:
    job.write(main_flow="flow main() { nothing() }\n")
    code, raw = on_terminal(job, "compile")
    assert code == 2
    assert "\x1b[1;31m" in raw
