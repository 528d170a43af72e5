"""Schedules that are Python functions of the project, `(after: datetime) -> datetime | None`.

They run where all code of the project does, on a worker: a deployment brings along a plan of one task which calls the
function for its next times (`schedule_plan`), and a trigger's partition runs it whenever it needs more of them.
"""

from __future__ import annotations

from flowc.plan import (
    FORMAT,
    CustomSource,
    Input,
    ParamDef,
    ParamNode,
    Plan,
    PlanBlock,
    RetryPolicy,
    StepSettings,
    TaskDef,
    TaskNode,
    TaskParamDef,
)
from flowc.types import DATETIME, INT, RUN, STRING, ListOf

__all__ = ["TIMES", "schedule_plan"]

#: times that are asked for at once
TIMES = 50

_TARGET = "flowrun.worker.next_times:next_times"
#: indexes in the plan's types
_RUN, _DATETIME, _STRING, _INT, _INTS = range(5)
#: a schedule that fails is tried again for a day or so; one call of it takes no longer than this, milliseconds
_RETRY = RetryPolicy(max=300, first_ms=1_000, cap_ms=300_000, jitter=0.1)
_TIMEOUT_MS = 60_000


def schedule_plan(flow: str, trigger: str, source: CustomSource, code: str = "") -> Plan:
    """The plan that gives the next times of a trigger's schedule as a list of milliseconds since 1970: its parameter is
    `after`. `code`: as Plan has it."""
    constants = {"target": source.target, "tz": source.tz, "count": TIMES}
    call = TaskNode(
        name="times",
        task=0,
        type=_INTS,
        inputs=(Input(1),),
        args=(("after", ["in", 0]), *((name, ["lit", value]) for name, value in constants.items())),
        settings=0,
    )
    kinds = {"after": _DATETIME, "target": _STRING, "tz": _STRING, "count": _INT}
    task = TaskDef(
        name="times",
        params=tuple(TaskParamDef(name=name, type=kind) for name, kind in kinds.items()),
        returns=_INTS,
        operator="python",
        target=_TARGET,
    )
    given = (ParamNode(name="run", type=_RUN), ParamNode(name="after", type=_DATETIME))
    return Plan(
        flow=f"{flow}.{trigger} (schedule)",
        file="",
        params=(ParamDef(name="after", type=_DATETIME),),
        returns=_INTS,
        types=(RUN, DATETIME, STRING, INT, ListOf(INT)),
        settings=(StepSettings(retry=_RETRY, timeout_ms=_TIMEOUT_MS),),
        tasks=(task,),
        blocks=(PlanBlock(nodes=(*given, call), params=2, result=2),),
        version=FORMAT,
        code=code,
    )
