"""Deploying 500 flows, each in a file of its own with six steps and a schedule: the first time, with one flow changed,
with all of them changed, with nothing changed, and the preview. From process start to end, on one server on this host.

Target: 5 s (medians of 3).
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from flowrun.server import find_nats_server
from measure import FLOWC, heading

FLOWS, TIMES, TARGET = 500, 3, 5.0

FLOW = """\
use "tasks/stages_{module}.py" {{ extract, transform, load }}

flow job_{number}(day: date = run.date) returns int {{
  trigger nightly = cron("{minute} {hour} * * *", tz: "Europe/Berlin")
  timeout: 2h

  rows = extract("table_{number}", day) with {{ retry: 3, timeout: 10m }}
  clean = transform(rows, {number})
  left = load(clean, "left") with {{ pool: warehouse }}
  right = load(clean, "right") with {{ pool: warehouse }}
  other = transform(left + right, {version})
  return load(other, "end")
}}
"""
TASKS = """\
import datetime


def extract(table: str, day: datetime.date) -> int:
    return len(table)


def transform(rows: int, by: int) -> int:
    return rows + by


def load(rows: int, target: str) -> int:
    return rows
"""


def main() -> None:
    heading(f"deploying {FLOWS} flows")
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        project = here / "jobs"
        (project / "tasks").mkdir(parents=True)
        (project / "flow.toml").write_text('[project]\nname = "jobs"\n')
        (project / "pools.flow").write_text("pool warehouse { slots: 4 }\n")
        for module in range(FLOWS // 10):
            (project / "tasks" / f"stages_{module}.py").write_text(TASKS)
        measured: dict[str, list[float]] = {}
        for _ in range(TIMES):
            with_server(here, lambda url: once(project, url, measured))
        for label, times in measured.items():
            spread = f"({min(times):.2f}–{max(times):.2f}, target {TARGET:.0f})"
            print(f"{label:28} {statistics.median(times):5.2f} s {spread}")


def once(project: Path, url: str, measured: dict[str, list[float]]) -> None:
    """All of it, into an empty environment."""

    def timed(label: str, *command: str) -> str:
        start = time.perf_counter()
        done = subprocess.run([FLOWC, *command, "--nats", url], cwd=project, capture_output=True, text=True)
        measured.setdefault(label, []).append(time.perf_counter() - start)
        if done.returncode != 0:
            raise SystemExit(f"{label} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    write(project, range(FLOWS), 1)
    timed("the first time", "deploy")
    assert "nothing" in timed("nothing changed", "deploy")
    write(project, [7], 2)
    timed("plan, one flow changed", "plan", "--deployed")
    assert timed("one flow changed", "deploy").count("~ flow") == 1
    write(project, range(FLOWS), 3)
    assert f"~ {FLOWS} flows: " in timed("all flows changed", "deploy")
    timed("roll back", "rollback")


def write(project: Path, numbers: range | list[int], version: int) -> None:
    for number in numbers:
        text = FLOW.format(
            number=number, module=number % (FLOWS // 10), minute=number % 60, hour=3 + number % 20, version=version
        )
        (project / f"job_{number}.flow").write_text('use "pools.flow" { warehouse }\n' + text)


def with_server(here: Path, work: Callable[[str], None]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = here / "store"
    server = subprocess.Popen(
        [str(find_nats_server()), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(store)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        work(f"nats://127.0.0.1:{port}")
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(store, ignore_errors=True)


if __name__ == "__main__":
    os.environ.pop("FLOW_ENV", None)
    main()
