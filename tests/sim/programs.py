"""What simulated clients submit: random programs of the reference tests, and how each must end.

Programs are numbered, compiled when they are first needed, and kept: thousands of seeds share some hundreds. What makes
no difference to their results is added to the compiled plan: pools, rates, concurrency keys, delays, time limits.
"""

from __future__ import annotations

import atexit
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from flowc.pipeline import compile_paths
from flowc.plan import (
    ChildNode,
    ConcurrencyDef,
    EachNode,
    LimitDef,
    Plan,
    PoolDef,
    RetryPolicy,
    SlaDef,
    StepSettings,
    TaskNode,
    WaitNode,
    digest,
    encode,
)
from flowc.project import find_project
from flowrun import values

from tests.reference.behaviours import DECLARATIONS, TASKS
from tests.reference.interpreter import interpret
from tests.reference.outcomes import Report
from tests.reference.programs import BEHAVIOURS, Source, write_program

__all__ = [
    "COUNT",
    "LIMITS",
    "POOLS",
    "ROOT",
    "TRANSIENT",
    "NotCompiled",
    "Program",
    "compiled",
    "program",
    "settings_of",
]

#: of all programs, so that a name means the same everywhere
POOLS = (PoolDef(name="narrow", slots=2), PoolDef(name="one", slots=1))
LIMITS = (LimitDef(name="slow", rate=10, per_ms=1000, burst=2),)
#: programs that there are
COUNT = 400
#: type of a failure that workers make up; steps that may have it try again until they have not
TRANSIENT = "Transient"


class NotCompiled(Exception):
    """The compiler found errors in a program."""


@dataclass(frozen=True)
class Program:
    plan: Plan
    digest: str
    #: the plan's bytes
    data: bytes
    args: Mapping[str, Any]
    #: the arguments' bytes
    packed_args: bytes
    #: how it must end
    report: Report
    text: str
    #: how a run of another of its flows ends, that it starts, by the flow's name and the arguments
    report_of: Callable[[str, Mapping[str, Any]], Report]

    @property
    def stores(self) -> bool:
        """Workers store something for it, which results refer to that come later."""
        return any(f"{task}(" in self.text.removeprefix(DECLARATIONS) for task in ("detour", "spread"))

    @property
    def steps(self) -> list[str]:
        """Those that may be cancelled: what then happens instead waits for nobody."""
        waits = any(
            f"{task}(" in self.text.removeprefix(DECLARATIONS) for task in ("nap", "answer", "happened", "asked")
        )
        return [] if waits else sorted({row.step for row in self.report.rows})


#: where the tasks of the programs are
ROOT = BEHAVIOURS.parent


@cache
def _project() -> Path:
    """A folder to compile programs in."""
    folder = Path(tempfile.mkdtemp(prefix="flow-sim-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copy(BEHAVIOURS, folder)
    sys.path.insert(0, str(ROOT))
    return folder


@cache
def program(number: int) -> Program:
    """One of COUNT; the same number is the same program in every run."""
    chance = random.Random(number)
    source = _source(chance)
    return compiled(source, lambda plan: _decorated(plan, f"main{number}", chance))


def compiled(source: Source, change: Callable[[Plan], Plan] = lambda plan: plan) -> Program:
    """The program of a source, its plan changed. Raises NotCompiled."""
    path = _project() / "program.flow"
    path.write_text(source.text)
    found = compile_paths(find_project(path.parent), [path])
    errors = [diagnostic for diagnostic in found.diagnostics if diagnostic.severity == "error"]
    if errors or found.program is None:
        raise NotCompiled(f"{errors}")
    key = next((key for key, flow in found.program.flows.items() if flow.name == "main"), None)
    if key is None:
        raise NotCompiled("there is no flow `main`")
    checked = found.program
    report = interpret(checked, key, TASKS, source.args)

    def report_of(flow: str, args: Mapping[str, Any]) -> Report:
        return interpret(checked, next(key for key, one in checked.flows.items() if one.name == flow), TASKS, args)

    plan = change(next(one.plan for one in found.plans if one.flow == "main"))
    data = encode(plan)
    return Program(
        plan, digest(data), data, source.args, values.encode(dict(source.args)), report, source.text, report_of
    )


def _source(chance: random.Random) -> Source:
    if chance.random() < 0.15:  # one task, as a task queue has it
        name = chance.choice(("inc", "risky", "broken", "moody", "make", "name"))
        returns = {"make": "list<int>", "name": "string"}.get(name, "int")
        text = f"{DECLARATIONS}\nflow main(n: int) returns {returns} {{\n  x = {name}(n)\n  return x\n}}\n"
        return Source(text, {"n": chance.randrange(20)})
    return write_program(chance.randint, most=chance.choice((1, 2, 4, 8)), counts=False)


def _decorated(plan: Plan, name: str, chance: random.Random) -> Plan:
    """The plan under a name of its own, with limits that change nothing but when its steps run, and service levels."""
    return _with_levels(_renamed(plan, name, chance), random.Random(f"levels of {name}"))


def _with_levels(plan: Plan, chance: random.Random) -> Plan:
    """Service levels of the run and of some steps, which change nothing."""
    if chance.random() < 0.6:
        return plan
    nodes = [node for block in plan.blocks for node in block.nodes]
    bodies = {node.body for node in nodes if isinstance(node, EachNode) and node.simple}
    of_items = {node.settings for body in bodies for node in plan.blocks[body].nodes if isinstance(node, TaskNode)}
    settings = tuple(
        msgspec.structs.replace(one, sla=_level(chance)) if place not in of_items and chance.random() < 0.4 else one
        for place, one in enumerate(plan.settings)
    )
    return msgspec.structs.replace(plan, settings=settings, sla=_level(chance))


def _level(chance: random.Random) -> SlaDef:
    warn = chance.choice((None, 0.1, 0.5, 0.9))
    finish_ms, start_ms = chance.choice((1, 300, 2_000, 30_000)), chance.choice((None, 100, 1_000))
    return SlaDef(finish_ms=finish_ms, start_ms=start_ms, warn=warn)


def _renamed(plan: Plan, name: str, chance: random.Random) -> Plan:
    """The plan under a name of its own, with limits."""
    if chance.random() < 0.3:
        return msgspec.structs.replace(plan, flow=name)
    children = {
        key: msgspec.structs.replace(_with_limits(child, chance), flow=f"{name}/{key}")
        for key, child in plan.children.items()
    }
    concurrency = ConcurrencyDef(limit=chance.choice((1, 2))) if chance.random() < 0.2 else None
    return msgspec.structs.replace(
        _with_limits(plan, chance),
        flow=name,
        children=children,
        max_active_runs=chance.choice((None, None, None, 1, 2)),
        concurrency=concurrency,
    )


def _with_limits(plan: Plan, chance: random.Random) -> Plan:
    # a child that holds slots which its own steps wait for would wait for ever; and what waits for the world holds none
    nodes = [node for block in plan.blocks for node in block.nodes]
    of_children = {node.settings for node in nodes if isinstance(node, ChildNode | WaitNode)}
    # what a simple `each` calls has no concurrency key: with one, the compiler would have made it a general one
    bodies = {node.body for node in nodes if isinstance(node, EachNode) and node.simple}
    of_items = {node.settings for body in bodies for node in plan.blocks[body].nodes if isinstance(node, TaskNode)}
    # another attempt is told to somebody
    are_told = {node.settings for node in nodes if isinstance(node, TaskNode) and node.on_retry}
    settings = tuple(
        one if place in of_children else _limited(one, chance, place not in of_items, place not in are_told)
        for place, one in enumerate(plan.settings)
    )
    return msgspec.structs.replace(plan, settings=settings, pools=POOLS, limits=LIMITS)


def _limited(settings: StepSettings, chance: random.Random, may_have_key: bool, may_retry: bool) -> StepSettings:
    changes: dict[str, Any] = {"pool": None, "slots": 1}
    match chance.randrange(9):
        case 0:
            changes["pool"] = 0
        case 1:
            changes |= {"pool": 0, "slots": 2}
        case 2:
            changes["pool"] = 1
        case 3:
            changes["limit"] = 0
        case 4:
            changes["delay_ms"] = chance.choice((1, 400, 1500))
        case 5 if may_have_key:
            changes["concurrency"] = ConcurrencyDef(limit=chance.choice((1, 2)), key=chance.choice((None, ["lit", 1])))
    if settings.retry is None and may_retry and chance.random() < 0.5:
        first_ms = chance.choice((0, 50, 1_200))
        changes["retry"] = RetryPolicy(max=1_000, backoff="fixed", first_ms=first_ms, only=(TRANSIENT,))
    if chance.random() < 0.3:
        changes["priority"] = chance.randrange(10)
    return msgspec.structs.replace(settings, **changes)


def settings_of(plan: Plan, block: int, node: int) -> StepSettings:
    """Of a step; of an `each`, of the task that is called for each item. Those of others are the usual ones."""
    step = plan.blocks[block].nodes[node]
    if isinstance(step, EachNode):
        inner = [one for one in plan.blocks[step.body].nodes if isinstance(one, TaskNode)]
        return plan.settings[inner[0].settings] if step.simple and inner else StepSettings()
    return plan.settings[step.settings] if isinstance(step, TaskNode) else StepSettings()
