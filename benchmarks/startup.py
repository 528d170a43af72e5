"""From process start to result: `flowc --help`, `flowc run hello.flow`, and the same with a compiled plan.

Targets (medians of 5, 2 cores): 150 ms, 0.7 s, 0.5 s. Measured to the first byte of the result on a pipe, and to the
end of the process, which also stops the server.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from measure import FLOWC, heading, run

HELLO = """\
use "tasks.py" { greet }

flow hello(name: string = "world") returns string {
  return greet(name)
}
"""
TASKS = """\
def greet(name: str) -> str:
    return f"hello {name}"
"""


def main() -> None:
    heading("start-up, process start to result")
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "hello.flow").write_text(HELLO)
        (here / "tasks.py").write_text(TASKS)
        (here / "flow.toml").write_text('[project]\nname = "hello"\n')
        run([FLOWC, "compile"], here)
        plan = str(next((here / ".flow" / "build").glob("*.flowplan")))
        for label, target, command in (
            ("flowc --help", 0.150, [FLOWC, "--help"]),
            ("flowc run hello.flow", 0.7, [FLOWC, "run", "--quiet", "hello.flow"]),
            ("flowc run PLAN", 0.5, [FLOWC, "run", "--quiet", plan]),
        ):
            timed(command, here)  # warms the caches of the file system
            results, ends = zip(*(timed(command, here) for _ in range(5)), strict=True)
            shown = f"{statistics.median(results) * 1000:5.0f} ms to the result"
            spread = f"({min(results) * 1000:.0f}–{max(results) * 1000:.0f}, target {target * 1000:.0f})"
            print(f"{label:24} {shown} {spread}, {statistics.median(ends) * 1000:.0f} ms to the end")


def timed(command: list[str], cwd: Path) -> tuple[float, float]:
    """Seconds to the first output and to the end of a command."""
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        first = time.perf_counter() - start
        process.stdout.read()
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")
    return first, time.perf_counter() - start


if __name__ == "__main__":
    main()
