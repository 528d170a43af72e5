"""A graph of 50,000 distinct steps: compiled, and run on the embedded server.

The flow has chains of ten, groups with a gathering step, branches and rules, over 500 tasks of their own. Targets on
this machine: compiled in 20 s, run in 10 s (the step's own time, as the run's record has it).
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from measure import FLOWC, heading, median_of, run

TASKS = 500
#: a piece of 20 steps over the value `s{i}` of the piece before; {a} … are tasks
PIECE = """\
  a{i} = t{a}(s{p}) -> t{b} -> t{c} -> t{d} -> t{e} -> t{f} -> t{g} -> t{h} -> t{a} -> t{b}
  g{i} = [t{c}(s{p}), t{d}(s{p}), t{e}(s{p}), t{f}(s{p})] -> t_sum
  if s{p} >= 0 {{
    b{i} = t{g}(s{p})
  }} else {{
    b{i} = t{h}(s{p})
  }}
  c{i} = t{a}(s{p}) after g{i}
  d{i} = t{b}(s{p}) after done([a{i}, b{i}])
  s{i} = t{c}(n)"""


def source(steps: int) -> str:
    lines = [f'task t{i}(x: int) returns int {{ run: python("work:step"), timeout: 1m }}' for i in range(TASKS)]
    lines.append('task t_sum(xs: list<int>) returns int { run: python("work:total"), timeout: 1m }')
    lines += ["flow main(n: int = 1) returns int {", "  s0 = t0(n)"]
    for i in range(1, steps // 20 + 1):
        names = {letter: (i * 8 + place) % TASKS for place, letter in enumerate("abcdefgh")}
        lines.append(PIECE.format(i=i, p=i - 1, **names))
    return "\n".join([*lines, f"  return s{steps // 20}", "}", ""])


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    heading(f"a graph of {steps:,} distinct steps")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "main.flow").write_text(source(steps))
        (folder / "work.py").write_text(
            "def step(x: int) -> int:\n    return x\n\n\ndef total(xs: list[int]) -> int:\n    return sum(xs)\n"
        )
        peaks: dict[str, int] = {}

        def compiled() -> float:
            sample = run([FLOWC, "compile", "main.flow"], folder, watch_memory=True)
            peaks["compile"] = max(peaks.get("compile", 0), *sample.peaks.values())
            return sample.seconds

        def executed() -> float:
            plan = next((folder / ".flow" / "build").glob("*.flowplan"))
            sample = run([FLOWC, "run", str(plan), "--json"], folder, watch_memory=True)
            record = json.loads(sample.output)
            if record["state"] != "success":
                raise SystemExit(f"it ended as {record['state']}: {record['error']}")
            peaks["run"] = max(peaks.get("run", 0), *sample.peaks.values())
            return float(record["seconds"])

        for what, measure, target in (("compile", compiled, 20), ("run", executed, 10)):
            middle, low, high = median_of(3, measure)
            print(
                f"{what:<8} {middle:7.2f} s  ({low:.2f}–{high:.2f})  target {target} s  peak {peaks[what]} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
