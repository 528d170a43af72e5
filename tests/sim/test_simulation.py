"""A short run of the simulation, and broken engines that it must find. The long one is `python -m tests.sim`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In processes of its own: what a simulation leaves behind goes with them."""
    command = [sys.executable, "-m", "tests.sim", *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ, text=True, capture_output=True, check=False)


def test_nothing_is_violated() -> None:
    done = _simulate("--seeds", "60")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "60 seeds, 0 violations" in done.stdout


@pytest.mark.parametrize("mutant", ["fencing", "dedupe", "slots", "ticks"])
def test_a_broken_engine_is_caught(mutant: str) -> None:
    done = _simulate("--seeds", "200", "--break", mutant)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"`{mutant}` was caught" in done.stdout


def test_a_seed_can_be_run_again() -> None:
    first, again = _simulate("--seed", "2", "--verbose"), _simulate("--seed", "2", "--verbose")
    *lines, _ = first.stdout.splitlines()
    assert lines == again.stdout.splitlines()[:-1]
    assert any("dispatch" in line for line in lines)
