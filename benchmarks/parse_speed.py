"""How fast files of 100 and of 10,000 tasks are parsed, and what memory it takes.

    python benchmarks/parse_speed.py [TASKS…]

Prints one line per size: seconds (the median of 5), tokens a second and the peak memory of the process.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time

from flowc.catalog import Findings
from flowc.parse import parse
from flowc.parse.lexer import scan
from flowc.source import Source

TASK = """## Number {n} of many.
task task_{n}(day: date, limit: int = {n}) returns list<string> {{
  run: python("etl.steps:step_{n}")
  timeout: 20m
  retry: {{ max: 3 }}
}}
"""


def main(sizes: list[int]) -> None:
    for size in sizes:
        text = "\n".join(TASK.format(n=n) for n in range(size))
        tokens = len(scan(text).tokens)
        seconds = statistics.median(_seconds(text) for _ in range(5))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"{size:>6} tasks  {tokens:>7} tokens  {seconds:.3f} s  {tokens / seconds:>9,.0f} tokens/s  {peak} MiB")


def _seconds(text: str) -> float:
    findings = Findings()
    start = time.perf_counter()
    parse(Source("speed.flow", text), findings)
    seconds = time.perf_counter() - start
    assert not findings.has_errors
    return seconds


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [100, 10_000])
