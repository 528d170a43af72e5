"""Microseconds of `decide` per transition, for every construct of the language, in a graph of 1,000 steps.

Each case is a `.flow` program in which one construct is repeated until there are so many steps. A transition is an
event that the engine takes: the end of an attempt (one per message), a timer, a signal. What is not a step of its own
(a branch, a join, a merge) is part of the transition that decides it. The same program with eight times as many steps
shows what grows with the graph: the last column is the ratio of the means, the last event (the end of the run) left
out; about 1 is right, 8 would be an operation that looks at the whole graph.

Target: p50 of every construct at most 40 µs.
"""

from __future__ import annotations

import gc
import statistics
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

from flowc.pipeline import compile_paths
from flowc.plan import EachNode, Plan, TaskNode
from flowc.project import find_project
from flowrun import messages as m
from flowrun import values
from flowrun.engine import ClearTimer, EndRun, Engine, Ready, Revoke, SetTimer
from measure import heading

STEPS, GROWN = 1_000, 8

TASKS = """\
task ok(x: int) returns int { run: python("work:ok"), timeout: 1m, idempotent: true }
task bad(x: int) returns int { run: python("work:bad"), timeout: 1m, idempotent: true }
task gone(x: int) returns int { run: python("work:gone"), timeout: 1m, idempotent: true }
task total(xs: list<int>) returns int { run: python("work:total"), timeout: 1m, idempotent: true }
task drop(x: int) { run: python("work:drop"), timeout: 1m, idempotent: true }
flow child(x: int) returns int {
  a = ok(x)
  return ok(a)
}
pool narrow { slots: 1_000 }
"""

_WAITS = "use std.wait { event, signal, sleep }\nuse std.human { approval }"

_TOLD = """\
task told(x: int) returns int {
  run: python("work:ok")
  on success(r) { drop(r) }
  on failure(e) { drop(1) }
  on cancel(c) { drop(2) }
}"""
_TRIP = """\
task book(x: int) returns int { run: python("work:ok"), undo: drop(result) }
flow trip(x: int) returns int {
  on_failure: "compensate"
  a = book(x)
  b = book(a)
  return bad(b)
}"""
_DOWN = """\
flow down(x: int) returns int {
  max_depth: 5
  y = if x > 0 then down(x - 1) else ok(x)
  return y
}"""

#: name -> (what stands at the top, one piece of the flow, steps in it); `{i}` is its number, `{p}` the one before
CASES: dict[str, tuple[str, str, int]] = {
    "chain": ("", "v{i} = ok(v{p})", 1),
    "steps without edges": ("", "v{i} = ok(n)", 1),
    "group and chord": ("", "v{i} = [ok(n), ok(n), ok(n)] -> total", 4),
    "if": ("", "if n == {i} {{ v{i} = ok(n) }} else {{ v{i} = ok(1) }}", 2),
    "match": ("", "v{i} = match n {{ {i}: ok(1), else: ok(2) }}", 2),
    "catch": ("", "v{i} = bad(n) catch(e) {{ return e.attempts }}", 1),
    "catch with a step": ("", "v{i} = bad(n) catch(e) {{ return ok(e.attempts) }}", 2),
    "after a rule of one": ("", "v{i} = ok(n) after done(v{p})", 1),
    "skip": ("", "v{i} = gone(n) catch(e) {{ return 0 }}", 1),
    "skipped and ??": ("", "v{i} = gone(n) ?? ok(n)", 2),
    "retry": ("", "v{i} = bad(n) with {{ retry: {{ max: 1, backoff: fixed(1s) }} }} catch(e) {{ return 0 }}", 2),
    "join first": ("", 'v{i} = [ok(n), ok(n), bad(n)] with {{ join: "first" }}', 3),
    "join first, cancel the rest": ("", 'v{i} = [ok(n), ok(n), ok(n)] with {{ join: "first", cancel_rest: true }}', 3),
    "at_least": ("", "a{i} = [ok(n), ok(n)]\n  v{i} = ok(n) after at_least(1, [a{i}])", 3),
    "on success": ("", "v{i} = ok(n) on success(r) {{ drop(r) }}", 2),
    "on failure": ("", "v{i} = bad(n) on failure(e) {{ drop(1) }} catch(e) {{ return 0 }}", 2),
    "on retry": (
        "",
        "v{i} = bad(n) with {{ retry: {{ max: 1, backoff: fixed(1s) }} }} on retry(e) {{ drop(1) }} "
        "catch(e) {{ return 0 }}",
        3,
    ),
    "handlers of a task": (_TOLD, "v{i} = told(n)", 4),
    "compensation": (_TRIP, "v{i} = trip(n) catch(e) {{ return 0 }}", 5),
    "using": ("", "using v{i} = ok(n) {{ drop(v{i}) }} finally {{ drop(v{i}) }}", 3),
    "repeat": ("", "v{i} = repeat with {{ every: 1ms, max: 3 }} {{ return ok(1) }} until _ == 1", 1),
    "child flow": ("", "v{i} = child(n)", 3),
    "child flow that calls itself": (_DOWN, "v{i} = down(1)", 3),
    "pool": ("", "v{i} = ok(n) with {{ pool: narrow }}", 1),
    "each of 8, simple": ("", "v{i} = each x in range(8) with {{ max: 8 }} {{ return ok(x) }}", 1),
    "each of 8, two steps": (
        "",
        "v{i} = each x in range(8) with {{ max: 8 }} {{\n    a = ok(x)\n    return ok(a)\n  }}",
        1,
    ),
    "signal": (_WAITS, 'v{i} = signal("s{i}")', 1),
    "signals of one name": (_WAITS, 'v{i} = signal("s")', 1),
    "event": (_WAITS, 'v{i} = event("e", key: "{i}")', 1),
    "approval": (_WAITS, "v{i} = approval()", 1),
    "sleep": (_WAITS, "v{i} = sleep(1ms)", 1),
    "first of a signal and a time": (
        _WAITS,
        'v{i} = {{ a: signal("s{i}"), b: sleep(1h) }} with {{ join: "first", cancel_rest: true }}',
        2,
    ),
    "milestone": (_WAITS, 'm{i} = signal("s{i}")\n  v{i} = signal("never") after not_yet(m{i})', 2),
}


class Worker:
    """Ends every attempt as its task's name says, one per message; lets time pass when nothing else is left."""

    def __init__(self, plan: Plan) -> None:
        self.engine = Engine(max_fused=1)
        self.engine.watched = ()
        self.engine.add_plan("plan", plan)
        self.plan = plan
        self.now = 1_700_000_000_000
        self.ready: deque[Ready] = deque()
        self.timers: dict[tuple[str, str], int] = {}
        self.ended = False
        #: nanoseconds of each event
        self.spent: list[int] = []

    def post(self, event: m.Event) -> None:
        start = time.perf_counter_ns()
        commands = self.engine.decide(event, self.now, 1)
        self.spent.append(time.perf_counter_ns() - start)
        for command in commands:
            match command:
                case Ready():
                    self.ready.append(command)
                case SetTimer(run, timer, at_ms):
                    self.timers[run, timer] = at_ms
                case ClearTimer(run, timer):
                    self.timers.pop((run, timer), None)
                case EndRun():
                    self.ended = True
                case Revoke():
                    pass

    def run(self, name: str) -> None:
        self.spent, self.ended = [], False
        self.post(m.Submit(name, "plan", values.encode({"n": 1})))
        while not self.ended:
            if self.ready:
                work = self.ready.popleft()
                if self.engine.wants(work):
                    self.post(m.Results("b", "w", (self._outcome(work),)))
            elif said := self._said(name):
                self.post(said)
            elif self.timers:
                (run, timer), at = min(self.timers.items(), key=lambda entry: entry[1])
                del self.timers[run, timer]
                self.now = max(self.now, at)
                self.post(m.TimerFired(run, timer))
            else:
                raise SystemExit("nothing is ready, and no timer is set")

    def _said(self, run: str) -> m.Event | None:
        """What a step of the run waits for next; None if none waits for the world."""
        known = self.engine.peek(run)
        keys = known.awaits if known else ()
        kind, _, rest = next((key for key in keys if key != "signal/never"), "").partition("/")
        id = str(len(self.spent)) + run
        if kind == "signal":
            return m.Signal(run, rest, b"\x01", id, "c")
        if kind == "event":
            return m.Raised(*rest.split("\0"), b"\x01", id)
        return m.Decision(run, rest, True, None, id, "c", "ada") if kind == "approval" else None

    def _outcome(self, work: Ready) -> m.Outcome:
        plan = self.plan.children[work.flow] if work.flow else self.plan
        node = plan.blocks[work.block].nodes[work.node]
        if isinstance(node, EachNode):
            node = plan.blocks[node.body].nodes[plan.blocks[node.body].params]
        assert isinstance(node, TaskNode)
        count = max(1, work.last - work.first)
        name = plan.tasks[node.task].name
        state = {"bad": "failed", "gone": "skipped"}.get(name, "success")
        return m.Outcome(
            work.run,
            work.scope,
            work.node,
            work.attempt,
            state,  # type: ignore[arg-type]
            value=b"\x01" * count,
            error=m.Failure("ValueError", "no") if state == "failed" else None,
            seconds=b"\x00\x00\x00\x00" * count,
            first=work.first,
            last=work.last,
        )


def compiled(folder: Path, top: str, piece: str, count: int) -> Plan:
    lines = [f"  {piece.format(i=i, p=i - 1)}" for i in range(1, count + 1)]
    text = "\n".join([TASKS, top, "flow main(n: int) {", "  v0 = ok(n)", *lines, "}", ""])
    path = folder / "main.flow"
    path.write_text(text)
    found = compile_paths(find_project(folder), [path])
    if found.program is None:
        raise SystemExit(f"{piece}\n" + "\n".join(str(finding) for finding in found.diagnostics[:3]))
    return next(flow.plan for flow in found.plans if flow.flow == "main")


def measured(folder: Path, top: str, piece: str, count: int) -> list[int]:
    """Nanoseconds of each transition of a run, the first and the last event left out; the best of three by mean. A run
    before them has the tables of the plan made."""
    worker = Worker(compiled(folder, top, piece, count))
    worker.run("r")
    worker.engine.forget("r")
    best: list[int] = []
    for number in range(3):
        gc.collect()
        gc.disable()
        worker.run(f"r{number}")
        gc.enable()
        spent = worker.spent[1:-1]
        if not best or statistics.fmean(spent) < statistics.fmean(best):
            best = spent
    return best


def main() -> None:
    heading(f"decide per transition in a graph of {STEPS:,} steps: µs")
    wanted = sys.argv[1:]
    print(f"{'construct':<34} {'events':>7} {'p50':>7} {'p99':>7} {'mean':>7}   mean at {GROWN} times the size")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "work.py").write_text("def ok(x): return 1\nbad = gone = total = drop = ok\n")
        for case, (top, piece, steps) in CASES.items():
            if wanted and not any(word in case for word in wanted):
                continue
            spent = measured(folder, top, piece, STEPS // steps)
            grown = measured(folder, top, piece, GROWN * STEPS // steps)
            ordered = sorted(spent)
            p50, p99 = (ordered[int(len(ordered) * part)] / 1000 for part in (0.5, 0.99))
            mean = statistics.fmean(spent) / 1000
            ratio = statistics.fmean(grown) / 1000 / mean
            print(f"{case:<34} {len(spent):7} {p50:7.1f} {p99:7.1f} {mean:7.1f}   x {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
