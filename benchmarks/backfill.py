"""A year of hourly windows: `python benchmarks/backfill.py [concurrency …]`.

A flow of three steps, each the next one's argument, is deployed with an hourly trigger, and backfilled for 2013: 8,760
runs, 26,280 tasks. Target: at most 60 s. One node with its own server, on 127.0.0.1; each figure is of a new one. The
steps do nothing, so what is measured is the runtime: runs are started window by window, each has its record stored,
its window written into the ledger, and its end makes room for the next one.

A last line measures the engine alone, in this process: all windows are decided, with results that come at once.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flowc.pipeline import compile_paths
from flowc.plan import TriggerDef, digest, encode
from flowc.project import find_project
from flowrun.client import Client
from flowrun.engine import Engine
from flowrun.engine.commands import EndRun, Ready
from flowrun.manifest import DeployedFlow, Manifest
from flowrun.messages import Backfill, Deployed, Outcome, Results
from flowrun.windows import windows
from measure import FLOWC, heading

FLOW = """\
use "steps.py" { first, second, third }

flow hourly(out: string = "") returns int {
  trigger hour = cron("0 * * * *", tz: "America/New_York", start: 2013-01-01, missed: "skip")
  return first() -> second -> third
}
"""
STEPS = """\
def first() -> int:
    return 1


def second(n: int) -> int:
    return n + 1


def third(n: int) -> int:
    return n + 1
"""
DAYS = ("2013-01-01", "2013-12-31")
WINDOWS = 8_760
_LISTENS = re.compile(r"listens on (\S+)")


@contextmanager
def node(root: Path) -> Iterator[str]:
    """A node in the project's folder; its server's URL."""
    log = root / "node.log"
    with log.open("w") as output:
        process = subprocess.Popen([FLOWC, "node", "--port", "0"], cwd=root, stdout=output, stderr=output)
    try:
        until = time.monotonic() + 30
        port = root / ".flow" / "node"
        while not (found := _url(port, log)):
            if time.monotonic() > until or process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.05)
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _url(folder: Path, log: Path) -> str:
    found = _LISTENS.search(log.read_text())
    return found[1] if found else ""


def measured(concurrency: int) -> tuple[float, float]:
    """Seconds from the command to its end, and those that the node's processes computed."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "flow.toml").write_text('[project]\nname = "bench"\n')
        (root / "main.flow").write_text(FLOW)
        (root / "steps.py").write_text(STEPS)
        with node(root) as url:
            subprocess.run([FLOWC, "deploy", "--nats", url], cwd=root, check=True, stdout=subprocess.DEVNULL)
            before = os.times()
            seconds = asyncio.run(_backfilled(url, concurrency))
        after = os.times()
        return seconds, after.children_user + after.children_system - before.children_user - before.children_system


async def _backfilled(url: str, concurrency: int) -> float:
    async with Client.connect(url) as client:
        began = time.perf_counter()
        run = await client.backfill("hourly", *DAYS, concurrency=concurrency)
        state = await run.wait()
        assert (state.state, state.done) == ("success", WINDOWS), state
        return time.perf_counter() - began


def decided() -> float:
    """Seconds of the engine alone."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "main.flow").write_text(FLOW)
        (root / "steps.py").write_text(STEPS)
        [compiled] = compile_paths(find_project(root), [root / "main.flow"]).plans
    plan = compiled.plan
    name, definition = digest(encode(plan)), plan.triggers[0]
    engine, now = Engine(), int(dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp() * 1000)
    engine.watched = {}
    engine.add_plan(name, plan)
    flow = DeployedFlow(name="hourly", plan=name, triggers=plan.triggers)
    engine.add_manifest("m", Manifest(project="p", flows=(flow,)))
    engine.decide(Deployed("p", 1, "m", now), now, 1)
    times = tuple(windows("hourly.hour", definition.source, *_year(definition)))  # type: ignore[arg-type]
    start = time.perf_counter()
    commands = engine.decide(Backfill("hourly.hour", "q", times, 100, name="b"), now, 2)
    ready = [command for command in commands if isinstance(command, Ready)]
    seq = 2
    while ready:
        seq += 1
        outcomes = tuple(
            Outcome(work.run, work.scope, node, 1, "success", b"\x01")
            for work in ready
            for node in (work.node, *(then.node for then in work.then))
        )
        commands = engine.decide(Results("b", "w", outcomes), now + seq, seq)
        ready = [command for command in commands if isinstance(command, Ready)]
        for command in commands:
            if isinstance(command, EndRun):
                engine.record(command.run)
                engine.forget(command.run)
    seconds = time.perf_counter() - start
    assert engine.backfills.told("b")[0].done == len(times) == WINDOWS
    return seconds


def _year(definition: TriggerDef) -> tuple[int, int]:
    assert definition.start_ms is not None
    return definition.start_ms, definition.start_ms + 365 * 86_400_000


def main() -> None:
    heading(f"A backfill of {WINDOWS:,} hourly windows, runs of 3 steps (target: 60 s)")
    for concurrency in map(int, sys.argv[1:] or ("16", "100", "1000")):
        seconds, busy = measured(concurrency)
        print(
            f"{concurrency:>5} runs at a time: {seconds:6.1f} s, {WINDOWS / seconds:7,.0f} runs/s, "
            f"{3 * WINDOWS / seconds:7,.0f} tasks/s; all processes of the node computed for {busy:.1f} s",
            flush=True,
        )
    seconds = decided()
    print(f"engine alone: {seconds:6.2f} s, {WINDOWS / seconds:7,.0f} runs/s")


if __name__ == "__main__":
    main()
