"""Chaos at ticks: deployed flows start by themselves, and nodes and the server are killed at just these moments.

Every time of every grid between the deployment and the end that the triggers have must have started exactly one run,
and every success of the first flow exactly one of the flow behind it. What ran is known from a journal that the tasks
write, what should have run from the grids alone: a run's id follows from its trigger and its time.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowc.plan import CronSource, FlowSource, Input, IntervalSource, RetryPolicy, StepSettings, TriggerDef
from flowc.schedules import Grid, ticks
from flowrun.errors import FlowError
from flowrun.messages import RunRecord, unpack
from flowrun.nats.transport import NatsTransport
from flowrun.run_ids import run_id_of_window
from flowrun.settings import Settings
from flowrun.sources import home_of
from flowrun.transport import Transport
from msgspec.structs import replace

from tests.support.deploying import deploy, deployed_flow
from tests.support.plans import call, flow_plan, task

from .history import Trouble
from .nodes import Node, linked
from .servers import Servers
from .troubles import Planned, Troublemaker
from .world import copy_source, ready

__all__ = ["Found", "Window", "as_text", "judged", "run_ticks"]

_PROJECT = Path(__file__).with_name("project")
_NODES = 3
_PARTITIONS = 4
_ENV = "chaos"
#: all that is due must have run so long after the last trouble, in seconds
_BOUND = 90.0
_KINDS = {"kill leader": 40, "kill server": 25, "kill node": 15, "kill worker": 12, "pause leader": 8}
#: where a kill falls, beside a time at which most triggers tick, in seconds
_BESIDE = (-0.05, -0.01, -0.003, 0.0, 0.0, 0.003, 0.01, 0.03, 0.1, 0.4)
#: most triggers tick every so many milliseconds
_BEAT_MS = 2_000
_FAST, _CHAINS = 12, 3


@dataclass(frozen=True)
class Window:
    """A time of a grid, and the run that it must have started."""

    trigger: str
    at_ms: int
    run: str


@dataclass
class Found:
    """What a run came to."""

    seed: int
    seconds: float
    windows: list[Window] = field(default_factory=list)
    #: run -> the runs that started it, as its calls say; a call may be repeated
    calls: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    records: dict[str, RunRecord] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def grids() -> dict[str, dict[str, Grid]]:
    """Flow -> its triggers with grids."""
    beats = {f"beat{i}": IntervalSource(every_ms=_BEAT_MS, origin_ms=0) for i in range(_FAST)}
    others = {
        "odd": IntervalSource(every_ms=7_000, origin_ms=1_234),
        "minute": CronSource(expression="* * * * *", tz="Europe/Berlin"),
        "even": CronSource(expression="*/2 * * * *", tz="America/New_York"),
    }
    chained = {f"link{i}": IntervalSource(every_ms=5_000, origin_ms=0) for i in range(_CHAINS)}
    return {"steady": {**beats, **others}, "chained": {"own": IntervalSource(every_ms=3_000)}, "past": chained}


async def run_ticks(
    seed: int, seconds: float, kills_per_minute: float, folder: Path, told: Callable[[str], None] = print
) -> Found:
    """`folder`: for stores, logs, the project and its journal."""
    chance, found = random.Random(seed), Found(seed, seconds)
    project = folder / "project"
    shutil.copytree(_PROJECT, project)
    source = copy_source(folder / "source")
    settings = Settings(env=_ENV, partitions=_PARTITIONS)
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(Servers(folder / "nats", 1))
        port = servers.servers[0].port
        transport = await NatsTransport.connect(servers.url, settings, "chaos of ticks")
        stack.push_async_callback(transport.close)
        links = [await stack.enter_async_context(linked([port])) for _ in range(_NODES)]
        nodes = [Node(f"n{i}", project, folder, source, link, _PARTITIONS, 1) for i, link in enumerate(links)]
        for node in nodes:
            node.start()
            stack.push_async_callback(node.stop)
        watching = [asyncio.create_task(node.watch()) for node in nodes]
        stack.callback(lambda: [task.cancel() for task in watching])
        await ready(nodes, _PARTITIONS)
        begin, end = await _deploy(transport, seconds)
        found.windows = list(windows(begin, end))
        told(f"{len(found.windows)} times are due in {seconds:g} s")
        troubles = Troublemaker(nodes, servers, transport)
        telling = asyncio.create_task(_tell(told, project, troubles))
        await troubles.run(_planned(chance, seconds, kills_per_minute))
        await asyncio.sleep(max(end / 1000 - time.time(), 0))
        told("all troubles are over")
        await _finish(transport, project, found)
        telling.cancel()
        found.calls, found.troubles = journal(project), troubles.troubles
        found.problems += troubles.problems
    return found


async def _deploy(transport: Transport, seconds: float) -> tuple[int, int]:
    """Between which moments times are due, milliseconds since 1970: after the first, up to the second."""
    begin = int(time.time() * 1000) + 1_500
    end = begin + int(seconds * 1000)
    flows = []
    for flow, triggers in grids().items():
        made = [
            TriggerDef(name=name, source=grid, missed="all", start_ms=begin, end_ms=end,
                       jitter_ms=300 if name == "odd" else 0)
            for name, grid in triggers.items()
        ]  # fmt: skip
        flows.append(deployed_flow(_plan(), *made, name=flow, depends_on_past=flow == "past"))
    cause = ["attr", ["attr", ["in", 0], "body"], "run"]
    behind = TriggerDef(name="after", source=FlowSource(flow="chained", body=0), args=(("cause", cause),))
    flows.append(deployed_flow(_plan(), behind, name="behind"))
    await deploy(transport, *flows, at_ms=begin - 1)
    return begin - 1, end


def _plan() -> Any:
    """One task, told what started its run."""
    noted = replace(call("note", 0, (1,)), args=(("cause", ["in", 0]),), inputs=(Input(1),))
    patient = StepSettings(retry=RetryPolicy(max=50, first_ms=200, cap_ms=2_000), executor="thread")
    plan = flow_plan((noted,), (task("note", "ticked:note", "cause"),), params=("cause",), settings=(patient,))
    cause = replace(plan.params[0], default=["lit", ""], required=False, type=3)
    return replace(plan, params=(cause,))


def windows(begin: int, end: int) -> Iterator[Window]:
    """All that must have started one run."""
    for flow, triggers in grids().items():
        for name, grid in triggers.items():
            trigger = f"{flow}.{name}"
            home = home_of(trigger, _PARTITIONS)
            for at_ms in ticks(grid, begin):
                if at_ms > end:
                    break
                yield Window(trigger, at_ms, run_id_of_window(trigger, at_ms, 1, home, _PARTITIONS))


def _planned(chance: random.Random, seconds: float, per_minute: float) -> list[Planned]:
    """Kills at, and closely beside, times at which most triggers tick."""
    now = time.time()
    first = now - now % (_BEAT_MS / 1000)
    beats = [first + i * _BEAT_MS / 1000 - now for i in range(2, int(seconds / (_BEAT_MS / 1000)))]
    count = min(max(round(per_minute * seconds / 60), 3), len(beats))
    kinds = chance.choices(list(_KINDS), list(_KINDS.values()), k=count)
    kinds[:3] = ["kill leader", "kill server", "kill node"]
    chance.shuffle(kinds)
    found = []
    for kind, beat in zip(kinds, sorted(chance.sample(beats, count)), strict=True):
        lasts = chance.choice((0.0, 0.5, 3.0)) if kind == "kill server" else chance.uniform(3.0, 6.0)
        found.append(Planned(kind, beat + chance.choice(_BESIDE), lasts, chance.random()))
    return found


async def _tell(told: Callable[[str], None], project: Path, troubles: Troublemaker) -> None:
    start = time.monotonic()
    while True:
        await asyncio.sleep(15)
        told(
            f"{time.monotonic() - start:4.0f} s: {len(journal(project))} runs, {len(troubles.troubles)} troubles, "
            f"load {os.getloadavg()[0]:.1f}"
        )


async def _finish(transport: Transport, project: Path, found: Found) -> None:
    """Until all that is due has a record, and what follows it has run; or the time is over."""
    until = time.monotonic() + _BOUND
    chained = {window.run for window in found.windows if window.trigger.startswith("chained.")}
    while time.monotonic() < until:
        for window in found.windows:
            if window.run not in found.records:
                try:
                    data = await transport.get_result(window.run)
                except FlowError:
                    break
                if data is not None:
                    found.records[window.run] = unpack(data, RunRecord)
        causes = {cause for calls in journal(project).values() for cause in calls}
        if len(found.records) == len(found.windows) and chained <= causes:
            return
        await asyncio.sleep(0.5)


def journal(project: Path) -> dict[str, set[str]]:
    """Run -> what its calls say that started it."""
    found: dict[str, set[str]] = defaultdict(set)
    path = project / "ticks.jsonl"
    for line in path.read_text().splitlines() if path.exists() else ():
        one = json.loads(line)
        found[one["run"]].add(one["cause"])
    return found


# ---- judging --------------------------------------------------------------------------------------------------------


def judged(found: Found) -> list[str]:
    """What is wrong: a time without its run, or with another one; a run without its follower, or with two."""
    wrong = list(found.problems)
    expected = {window.run: window for window in found.windows}
    for run, window in expected.items():
        record = found.records.get(run)
        if record is None:
            wrong.append(f"lost: {window.trigger} at {window.at_ms} started no run that ended")
        elif record.state != "success" or record.scheduled is None or record.scheduled.at_ms != window.at_ms:
            wrong.append(
                f"wrong: {window.trigger} at {window.at_ms}: run {run} ended as {record.state}: {record.error}"
            )
        elif run not in found.calls:
            wrong.append(f"lost: {window.trigger} at {window.at_ms}: run {run} ended, and its task was never called")
    followers: dict[str, list[str]] = defaultdict(list)
    for run, causes in found.calls.items():
        if run in expected:
            continue
        if causes == {""} or len(causes) != 1:
            wrong.append(f"doubled: run {run} is of no time that was due, or of several")
        else:
            followers[next(iter(causes))].append(run)
    for run in [window.run for window in found.windows if window.trigger.startswith("chained.")]:
        if len(followers.pop(run, ())) != 1:
            wrong.append(f"after: the end of run {run} did not start one run")
    wrong += [f"after: runs {runs} follow {cause}, which is none" for cause, runs in followers.items()]
    return wrong


def as_text(found: Found, wrong: Iterable[str]) -> str:
    """What is told of it."""
    late = sorted(
        record.started_ms - record.scheduled.at_ms for record in found.records.values() if record.scheduled is not None
    )
    kinds: dict[str, int] = defaultdict(int)
    for trouble in found.troubles:
        kinds[trouble.kind] += 1
    lines = [
        f"chaos at ticks, seed {found.seed}: {found.seconds:g} s, {len(found.windows)} times of "
        f"{len({window.trigger for window in found.windows})} triggers, {len(found.calls)} runs",
        "troubles: " + ", ".join(f"{count} × {kind}" for kind, count in sorted(kinds.items())),
    ]
    if late:
        lines.append(
            f"late: p50 {statistics.median(late):.0f} ms, p99 {late[int(len(late) * 0.99) - 1]:.0f} ms, "
            f"most {late[-1]:.0f} ms"
        )
    found_wrong = list(wrong)
    lines += found_wrong[:20] or ["no tick was lost, none doubled"]
    if len(found_wrong) > 20:
        lines.append(f"… {len(found_wrong)} in all")
    return "\n".join(lines)
