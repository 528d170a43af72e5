"""Microseconds of processor time per transition of `decide`, without any I/O: a chain, a group, an `each`, many small
runs; and what a run that waits takes.

A transition is the end of one attempt: the event is taken, the state changed, what follows is asked for. Of a small
run all is counted: its submission, its result, its record and that it is forgotten. A plan's tables are made before
the clock starts. Targets on this machine: a small run 10 µs, a step of a chain 5, a member of a group 4; a run that
waits 1.2 KB.
"""

from __future__ import annotations

import gc
import resource
import time
from array import array
from collections.abc import Callable
from pathlib import Path

import msgspec
from flowc import plan as p
from flowc.types import JSON
from flowrun import messages as m
from flowrun.engine import EndRun, Engine, Ready
from measure import heading

CHAIN, GROUP, ITEMS, BLOCK, RUNS = 1_000, 1_000, 100_000, 500, 20_000


def task(*inputs: int) -> p.TaskNode:
    return p.TaskNode(name="t", task=0, args=(), settings=0, inputs=tuple(p.Input(i) for i in inputs))


def flow(*nodes: p.Node, result: int, blocks: tuple[p.PlanBlock, ...] = ()) -> p.Plan:
    return p.Plan(
        flow="bench",
        file="bench.flow",
        params=(),
        returns=None,
        types=(JSON,),
        settings=(p.StepSettings(),),
        tasks=(p.TaskDef(name="t", params=(), returns=0, operator="python"),),
        blocks=(p.PlanBlock(nodes=(p.ParamNode(), *nodes), params=1, result=result), *blocks),
        version=p.FORMAT,
    )


def outcomes(work: Ready) -> list[m.Outcome]:
    heads = [(work.node, work.attempt), *((then.node, 1) for then in work.then)]
    return [m.Outcome(work.run, work.scope, node, attempt, "success", b"\x01") for node, attempt in heads]


def made(plan: p.Plan, max_fused: int = 100) -> Engine:
    engine = Engine(max_fused=max_fused)
    engine.watched = ()
    engine.add_plan("plan", plan)
    for block in range(len(plan.blocks)):
        engine.tables["plan"].graph("", block)
    gc.collect()
    return engine


def drive(plan: p.Plan, runs: int, together: int, max_fused: int = 100) -> float:
    """Seconds until `runs` runs have ended, whose results come so many in one message, 2,000 at a time."""
    engine = made(plan, max_fused)
    ended = 0
    work: list[Ready] = []

    def decide(event: m.Event) -> None:
        nonlocal ended
        for command in engine.decide(event, 1, 0):
            if isinstance(command, Ready):
                work.append(command)
            elif isinstance(command, EndRun):
                m.pack(engine.record(command.run))
                engine.forget(command.run)
                ended += 1

    def finish_some() -> None:
        now, work[:] = work[:together], work[together:]
        decide(m.Results("b", "w", tuple(outcome for one in now for outcome in outcomes(one))))

    start = time.process_time()
    for run in range(runs):
        decide(m.Submit(f"r{run}", "plan", b"\x80"))
        if len(work) >= 2_000:
            finish_some()
    while work:
        finish_some()
    seconds = time.process_time() - start
    assert ended == runs
    return seconds


def chain(max_fused: int = 1) -> tuple[float, int]:
    plan = flow(task(), *(task(i) for i in range(1, CHAIN)), result=CHAIN)
    return drive(plan, 1, 1, max_fused), CHAIN


def group() -> tuple[float, int]:
    members = [task() for _ in range(GROUP)]
    gather = p.ValueNode(
        value=["list", *(["in", i] for i in range(GROUP))], inputs=tuple(p.Input(i + 1) for i in range(GROUP))
    )
    return drive(flow(*members, gather, result=GROUP + 1), 1, 100), GROUP


def small_runs() -> tuple[float, int]:
    return drive(flow(task(), result=1), RUNS, 100), RUNS


def items() -> tuple[float, int]:
    """An each whose items come back in blocks; and its record."""
    body = p.PlanBlock(nodes=(p.ParamNode(), task(0)), params=1, result=1)
    each = p.EachNode(name="e", source=["call", "range", ["lit", ITEMS]], body=1, simple=True)
    engine = made(flow(each, result=1, blocks=(body,)))
    took = array("f", bytes(4 * BLOCK)).tobytes()
    start = time.process_time()
    engine.decide(m.Submit("r", "plan", b"\x80"), 1, 0)
    for first in range(0, ITEMS, BLOCK):
        part = m.Outcome("r", 0, 1, 1, "success", b"\x01" * BLOCK, None, 0, took, first, first + BLOCK)
        engine.decide(m.Results("b", "w", (part,)), 1, 0)
    seconds = time.process_time() - start
    assert engine.runs["r"].ended
    return seconds, ITEMS


def scopes() -> tuple[float, int]:
    """An each of two steps: every item is a scope of its own."""
    body = p.PlanBlock(nodes=(p.ParamNode(), task(0), task(1)), params=1, result=2)
    each = p.EachNode(name="e", source=["call", "range", ["lit", 5_000]], body=1)
    return drive(flow(each, result=1, blocks=(body,)), 1, 100, 1), 10_000


def record() -> tuple[float, int]:
    body = p.PlanBlock(nodes=(p.ParamNode(), task(0)), params=1, result=1)
    each = p.EachNode(name="e", source=["call", "range", ["lit", ITEMS]], body=1, simple=True)
    engine = made(flow(each, result=1, blocks=(body,)))
    engine.decide(m.Submit("r", "plan", b"\x80"), 1, 0)
    whole = m.Outcome("r", 0, 1, 1, "success", b"\x01" * ITEMS, None, 0, bytes(4 * ITEMS), 0, ITEMS)
    engine.decide(m.Results("b", "w", (whole,)), 1, 0)
    start = time.process_time()
    assert len(engine.record("r").steps) == ITEMS + 1
    return time.process_time() - start, ITEMS


def waiting(runs: int = 100_000) -> float:
    """Bytes of this process per run that waits for another attempt."""
    settings = (p.StepSettings(retry=p.RetryPolicy(max=1, first_ms=3_600_000)),)
    engine = made(msgspec.structs.replace(flow(task(), task(1), result=2), settings=settings))
    failure = m.Failure("ConnectionError", "the other side does not answer")
    before = resident()
    for number in range(runs):
        run = f"0001hd8m2kq{number:010x}"
        engine.decide(m.Submit(run, "plan", b"\x80"), 1, number)
        engine.decide(m.Results("b", "w", (m.Outcome(run, 0, 1, 1, "failed", error=failure),)), 1, number)
        if number % 5_000 == 0:
            engine.freeze()
    engine.freeze()
    engine.freeze()
    gc.collect()
    assert sum(1 for _ in engine.timers()) == runs
    return (resident() - before) / runs


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    heading("decide: microseconds of processor time per transition (best of 5)")
    cases: dict[str, Callable[[], tuple[float, int]]] = {
        f"chain of {CHAIN:,} tasks, one result per message": chain,
        f"chain of {CHAIN:,} tasks, fused by 100": lambda: chain(100),
        f"group of {GROUP:,} tasks, gathered": group,
        f"{RUNS:,} runs of one task": small_runs,
        "each of 5,000 items of two steps": scopes,
        f"each of {ITEMS:,} items in blocks of {BLOCK}": items,
        f"record of {ITEMS:,} items": record,
    }
    for name, case in cases.items():
        figures = []
        for _ in range(5):
            gc.collect()
            seconds, transitions = case()
            figures.append(seconds / transitions * 1e6)
        print(f"{name:<50} {min(figures):8.2f} µs")
    print(f"{'a run that waits':<50} {waiting():8.0f} bytes")


if __name__ == "__main__":
    main()
