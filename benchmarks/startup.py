"""From process start to result: `flowc --help`, `flowc run hello.flow`, and the same with a compiled plan.

Targets (medians of 5, 2 cores): 150 ms, 0.7 s, 0.5 s.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from measure import FLOWC, heading, median_of, run

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
            ("flowc run hello.flow", 0.7, [FLOWC, "run", "hello.flow"]),
            ("flowc run PLAN", 0.5, [FLOWC, "run", plan]),
        ):
            run(command, here)  # warms the caches of the file system
            middle, low, high = median_of(5, lambda command=command: run(command, here).seconds)
            spread = f"({low * 1000:.0f}–{high * 1000:.0f})"
            print(f"{label:24} {middle * 1000:6.0f} ms  {spread}  target {target * 1000:.0f} ms")


if __name__ == "__main__":
    main()
