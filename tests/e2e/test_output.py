"""Where the output goes: a reader that leaves, closed files, a full disk."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from .conftest import FLOWC, Project


def in_shell(project: Project, command: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of bash in which $FLOWC is the command."""
    return subprocess.run(
        ["bash", "-c", command], cwd=project.folder, env=project.environment({"FLOWC": FLOWC}), capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip


def states(project: Project) -> list[str]:
    return [json.loads(path.read_text())["state"] for path in (project.folder / ".flow/runs").glob("*.json")]


def test_a_run_goes_on_without_its_reader(hello: Project) -> None:
    ended = in_shell(hello, '"$FLOWC" run hello.flow | true; echo ${PIPESTATUS[0]}')
    assert (ended.stdout, ended.stderr) == ("0\n", "")
    assert states(hello) == ["success"]


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_run_does_without_a_standard_file(hello: Project, closed: str) -> None:
    assert in_shell(hello, f'"$FLOWC" run hello.flow {closed}').returncode == 0
    assert states(hello) == ["success"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a file that is always full")
def test_a_full_disk_under_standard_output(hello: Project) -> None:
    ended = in_shell(hello, '"$FLOWC" run hello.flow -q > /dev/full')
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: standard output cannot be written: No space left on device\n")
    assert in_shell(hello, '"$FLOWC" run hello.flow > /dev/full 2>&1').returncode == 2
