"""Compile time past imports and peak memory, for files of 100 and 10,000 tasks that are all called in one flow.

Targets (medians of 5, 2 cores): 150 ms for 100 tasks; 4 s and 600 MB for 10,000.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import heading, median_of

_CHILD = """
import json, resource, sys, time
from pathlib import Path
from flowc.pipeline import compile_paths
from flowc.project import find_project
import flowc.parse, flowc.check, flowc.lower
path = Path(sys.argv[1])
start = time.perf_counter()
compiled = compile_paths(find_project(path.parent), [path])
seconds = time.perf_counter() - start
assert compiled.plans, compiled.diagnostics[:3]
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024]))
"""


def source(tasks: int) -> str:
    """A file of `tasks` task declarations and a flow that calls each, in chains of ten."""
    lines = []
    for i in range(tasks):
        lines.append(f'task step_{i}(value: int, label: string = "x{i}") returns int {{')
        lines.append('  run: python("work.steps:step")')
        lines.append("  timeout: 5m")
        lines.append("  retry: { max: 3, backoff: exponential(1s, cap: 1m) }")
        lines.append("}")
    lines.append("flow main(seed: int = 1) returns int {")
    for i in range(tasks):
        lines.append(f"  v{i} = step_{i}({'seed' if i % 10 == 0 else f'v{i - 1}'})")
    lines.append(f"  return v{tasks - 1}")
    lines.append("}")
    return "\n".join(lines) + "\n"


def main() -> None:
    heading("compile, past imports")
    for tasks, target in ((100, 0.150), (10_000, 4.0)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "big.flow"
            path.write_text(source(tasks))
            work = Path(folder) / "work"
            work.mkdir()
            (work / "steps.py").write_text("def step(value: int, label: str) -> int:\n    return value\n")
            peaks = []

            def once(path: Path = path, peaks: list[int] = peaks) -> float:
                done = subprocess.run(
                    [sys.executable, "-c", _CHILD, str(path)], check=True, capture_output=True, text=True
                )
                seconds, peak = json.loads(done.stdout)
                peaks.append(peak)
                return float(seconds)

            middle, low, high = median_of(5, once)
            print(
                f"{tasks:6} tasks  {middle * 1000:7.0f} ms  ({low * 1000:.0f}–{high * 1000:.0f})  "
                f"target {target * 1000:.0f} ms   peak {max(peaks)} MB"
            )


if __name__ == "__main__":
    main()
