"""The task of flows that start by themselves: a line per call, as `effects` writes it."""

from __future__ import annotations

import json
import os
import time

from flowrun.operator import Context, task

#: in the project's folder, which is the working directory of tasks
JOURNAL = "ticks.jsonl"


@task(retry=20)
def note(ctx: Context, cause: str) -> str:
    """`cause`: the run that started this one; "": a time did."""
    line = json.dumps({"run": ctx.run, "cause": cause, "at_ms": time.time() * 1000})
    journal = os.open(JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(journal, line.encode() + b"\n")
    finally:
        os.close(journal)
    return ctx.run
