"""Microseconds per transition of `decide`, without any I/O: a chain, a group, an `each`, many small runs.

A transition is the end of one attempt: the event is taken, the state changed, what follows is asked for. Target:
at most 40 µs on this machine; of the items of a range far less.
"""

from __future__ import annotations

import gc
import statistics
import time
from array import array
from collections.abc import Callable

from flowc import plan as p
from flowc.types import JSON
from flowrun import messages as m
from flowrun.engine import Engine, Ready
from measure import heading

CHAIN, GROUP, ITEMS, BLOCK, RUNS = 1_000, 1_000, 100_000, 500, 5_000


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


def outcome(work: Ready) -> m.Outcome:
    return m.Outcome(work.run, work.scope, work.node, work.attempt, "success", b"\x01")


def drive(plan: p.Plan, runs: int, together: int) -> float:
    """Seconds until `runs` runs have ended, whose results come so many in one message."""
    engine = Engine()
    engine.add_plan("plan", plan)
    seq = 0
    work: list[Ready] = []
    start = time.perf_counter()
    for run in range(runs):
        work += [c for c in engine.decide(m.Submit(f"r{run}", "plan", b"\x80"), 1, seq) if isinstance(c, Ready)]
    while work:
        now, work = work[:together], work[together:]
        event = m.Results("b", "w", tuple(map(outcome, now)))
        work += [c for c in engine.decide(event, 1, seq) if isinstance(c, Ready)]
    seconds = time.perf_counter() - start
    assert len(list(engine.ended())) == runs
    return seconds


def chain() -> tuple[float, int]:
    plan = flow(task(), *(task(i) for i in range(1, CHAIN)), result=CHAIN)
    return drive(plan, 1, 1), CHAIN


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
    engine = Engine()
    engine.add_plan("plan", flow(each, result=1, blocks=(body,)))
    took = array("f", bytes(4 * BLOCK)).tobytes()
    start = time.perf_counter()
    engine.decide(m.Submit("r", "plan", b"\x80"), 1, 0)
    for first in range(0, ITEMS, BLOCK):
        part = m.Outcome("r", 0, 1, 1, "success", b"\x01" * BLOCK, None, 0, took, first, first + BLOCK)
        engine.decide(m.Results("b", "w", (part,)), 1, 0)
    seconds = time.perf_counter() - start
    assert engine.runs["r"].ended
    return seconds, ITEMS


def scopes() -> tuple[float, int]:
    """An each of two steps: every item is a scope of its own."""
    body = p.PlanBlock(nodes=(p.ParamNode(), task(0), task(1)), params=1, result=2)
    each = p.EachNode(name="e", source=["call", "range", ["lit", 5_000]], body=1)
    return drive(flow(each, result=1, blocks=(body,)), 1, 100), 10_000


def record() -> tuple[float, int]:
    body = p.PlanBlock(nodes=(p.ParamNode(), task(0)), params=1, result=1)
    each = p.EachNode(name="e", source=["call", "range", ["lit", ITEMS]], body=1, simple=True)
    engine = Engine()
    engine.add_plan("plan", flow(each, result=1, blocks=(body,)))
    engine.decide(m.Submit("r", "plan", b"\x80"), 1, 0)
    whole = m.Outcome("r", 0, 1, 1, "success", b"\x01" * ITEMS, None, 0, bytes(4 * ITEMS), 0, ITEMS)
    engine.decide(m.Results("b", "w", (whole,)), 1, 0)
    start = time.perf_counter()
    assert len(engine.record("r").steps) == ITEMS + 1
    return time.perf_counter() - start, ITEMS


def main() -> None:
    heading("decide: microseconds per transition (median of 5)")
    cases: dict[str, Callable[[], tuple[float, int]]] = {
        f"chain of {CHAIN:,} tasks, one result per message": chain,
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
        print(f"{name:<50} {statistics.median(figures):8.2f} µs")


if __name__ == "__main__":
    main()
