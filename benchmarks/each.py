"""`each` over no-op items on the embedded server: items per second of the step itself, and the memory of each process.

Targets (median of 5, 2 cores): 20,000 items/s over 100,000 items; no process above 300 MB.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from measure import FLOWC, heading, median_of, run

FLOW = """\
use "tasks.py" {{ noop }}

flow main() returns int {{
  xs = each i in range({items}) with {{ max: 10_000_000 }} {{ return noop(i) }}
  return len(xs)
}}
"""
TASKS = """\
def noop(i: int) -> int:
    return i
"""


def main() -> None:
    items = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    heading(f"each over {items:,} no-op items")
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "main.flow").write_text(FLOW.format(items=items))
        (here / "tasks.py").write_text(TASKS)
        peaks: dict[str, int] = {}

        def once() -> float:
            sample = run([FLOWC, "run", "main.flow", "--json"], here, watch_memory=True)
            record = json.loads(sample.output)
            if (record["state"], record["result"]) != ("success", items):
                raise SystemExit(f"wrong outcome: {record['state']}, {record['result']}, {record['error']}")
            for key, size in sample.peaks.items():
                name = key.partition("[")[0]
                peaks[name] = max(peaks.get(name, 0), size)
            return items / float(record["seconds"])

        middle, low, high = median_of(5, once)
        print(f"{middle:10,.0f} items/s  ({low:,.0f}–{high:,.0f})  target 20,000   peaks in MB: {peaks}")


if __name__ == "__main__":
    main()
