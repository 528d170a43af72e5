"""Tasks whose only effect is a line in a journal: what began, what ended, and where.

A line is written by one `write` to a file that is open for appending, so that lines of many processes never mix, and
what was written stays when the process is killed. `gate` is the name of what limits the step: a pool, a key; it stands
in the line so that holders can be counted.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flowrun.operator import Context, Fail, task

#: in the project's folder, which is the working directory of tasks
JOURNAL = "journal.jsonl"


def _note(what: str, ctx: Context, gate: str = "") -> None:
    line = json.dumps(
        {
            "what": what, "run": ctx.run, "step": ctx.step, "index": ctx.index, "attempt": ctx.attempt,
            "id": ctx.attempt_id, "gate": gate, "pid": os.getpid(), "ppid": os.getppid(),
            "node": os.environ.get("FLOW_CHAOS_HOST", ""), "at_ms": time.time() * 1000,
        }
    )  # fmt: skip
    journal = os.open(JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(journal, line.encode() + b"\n")
    finally:
        os.close(journal)


@contextmanager
def _effect(ctx: Context, gate: str = "") -> Iterator[None]:
    _note("begin", ctx, gate)
    try:
        yield
    except BaseException:
        _note("failed", ctx, gate)
        raise
    _note("done", ctx, gate)


@task(retry={"max": 8, "backoff": "fixed", "first": "100ms", "only": ["WorkerDied"]})
def work(n: int, ms: int, ctx: Context) -> int:
    with _effect(ctx):
        time.sleep(ms / 1000)
        return (3 * n + 1) % 1009


def guarded(n: int, ms: int, gate: str, ctx: Context) -> int:
    """Limited by a pool, or a concurrency key, of the name `gate`."""
    with _effect(ctx, gate):
        time.sleep(ms / 1000)
        return (3 * n + 1) % 1009


def flaky(n: int, ms: int, fails: int, ctx: Context) -> int:
    """Its first attempts fail."""
    with _effect(ctx):
        time.sleep(ms / 1000)
        if ctx.attempt <= fails:
            raise ConnectionError(f"attempt {ctx.attempt}")
        return (3 * n + 1) % 1009


def broken(n: int, ctx: Context) -> int:
    with _effect(ctx):
        raise Fail(f"{n} is never right")


def total(xs: list[int], ctx: Context) -> int:
    with _effect(ctx):
        return sum(xs)


def tidy(n: int, ctx: Context) -> int:
    with _effect(ctx):
        return n


@task(retry={"max": 8, "backoff": "fixed", "first": "100ms", "only": ["WorkerDied"]})
async def nap(n: int, ms: int, ctx: Context) -> int:
    with _effect(ctx):
        await asyncio.sleep(ms / 1000)
        return (3 * n + 1) % 1009
