"""The real command line in subprocesses, in folders of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]
#: the console script of the environment that runs the tests
FLOWC = str(Path(sys.executable).with_name("flowc"))
SCHEMAS = {
    name: json.loads((ROOT / "specs/schemas" / f"{name}.schema.json").read_text())
    for name in ("answers", "compile", "run")
}


@dataclass(frozen=True)
class Ended:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def checked(self, schema: str) -> Any:
        """The output as JSON that follows a published schema."""
        jsonschema.validate(self.json, SCHEMAS[schema])
        return self.json

    def is_one_message(self) -> bool:
        """Wrong input was told as it should be: on standard error, once, without a traceback."""
        found = re.findall(r"^error\b", self.err, re.IGNORECASE | re.MULTILINE)
        return "Traceback" not in self.err + self.out and len(found) == 1 and len(self.err) < 3_000


class Project:
    """A folder with files, in which commands run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, **files: str) -> Project:
        """`hello_flow="…"` writes hello.flow."""
        for name, content in files.items():
            stem, _, suffix = name.rpartition("_")
            (self.folder / f"{stem}.{suffix}").write_text(textwrap.dedent(content))
        return self

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLOW_", "PYTEST"))}
        return kept | {"TERM": "xterm"} | dict(env or {})

    def flowc(self, *args: str, env: Mapping[str, str] | None = None, timeout: float = 60) -> Ended:
        done = subprocess.run(
            [FLOWC, *args], cwd=self.folder, env=self.environment(env), capture_output=True, text=True, timeout=timeout
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def start(self, *args: str) -> subprocess.Popen[str]:
        """A command that goes on meanwhile, in a process group of its own."""
        return subprocess.Popen(
            [FLOWC, *args], cwd=self.folder, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, process_group=0,
        )  # fmt: skip

    def processes_end(self, seconds: float = 10) -> bool:
        """Whether every process of this folder ends soon (those whose command line or environment names it)."""
        until = time.monotonic() + seconds
        while found := [pid for pid in Path("/proc").glob("[0-9]*") if str(self.folder) in _words(pid)]:
            if time.monotonic() > until:
                print("still there:", [_words(pid) for pid in found])
                return False
            time.sleep(0.05)
        return True


def _words(process: Path) -> str:
    """The command line of a process, and what a worker is told in its environment."""
    try:
        words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    except OSError:
        return ""
    return "" if int(process.name) == os.getpid() else words.decode(errors="replace")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


HELLO = """
use "tasks.py" { greet }

flow hello(name: string = "world") returns string {
  return greet(name)
}
"""
TASKS = """
def greet(name: str) -> str:
    return f"hello {name}"
"""


@pytest.fixture
def hello(project: Project) -> Project:
    """hello.flow with its task."""
    return project.write(hello_flow=HELLO, tasks_py=TASKS)
