"""Plans by hand, for tests that must not depend on the compiler."""

from __future__ import annotations

from typing import Any

from flowc.plan import (
    FORMAT,
    EachNode,
    Input,
    Node,
    ParamDef,
    ParamNode,
    Plan,
    PlanBlock,
    StepSettings,
    TaskDef,
    TaskNode,
    TaskParamDef,
)
from flowc.types import INT, JSON, STRING, ListOf, Record

__all__ = ["ANY", "TYPES", "call", "each_plan", "flow_plan", "task"]

#: index in TYPES
RUN, INTEGER, INTEGERS, ANY = range(4)
TYPES = (Record((("id", STRING), ("date", STRING))), INT, ListOf(INT), JSON)


def task(name: str, target: str, *params: str, returns: int | None = ANY) -> TaskDef:
    return TaskDef(
        name=name,
        params=tuple(TaskParamDef(name=param, type=ANY) for param in params),
        returns=returns,
        operator="python",
        target=target,
    )


def call(name: str, task: int, inputs: tuple[int, ...] = (), *, settings: int = 0, **changes: Any) -> TaskNode:
    """A call of the task with this index, whose parameters are named a, b, …, over these nodes."""
    return TaskNode(
        name=name,
        task=task,
        inputs=tuple(Input(node) for node in inputs),
        args=tuple(("abcdef"[i], ["in", i]) for i in range(len(inputs))),
        settings=settings,
        type=ANY,
        **changes,
    )


def flow_plan(
    nodes: tuple[Node, ...],
    tasks: tuple[TaskDef, ...],
    *,
    params: tuple[str, ...] = (),
    blocks: tuple[PlanBlock, ...] = (),
    settings: tuple[StepSettings, ...] = (StepSettings(),),
    returns: int | None = ANY,
    **changes: Any,
) -> Plan:
    """A flow whose parameters are ints and whose last node is its result. Node 0 is `run`."""
    given = (ParamNode(name="", type=RUN), *(ParamNode(name="", type=INTEGER) for _ in params))
    body = PlanBlock(nodes=(*given, *nodes), params=len(given), result=len(given) + len(nodes) - 1)
    return Plan(
        flow="test",
        file="test.flow",
        params=tuple(ParamDef(name=name, type=INTEGER) for name in params),
        returns=returns,
        types=TYPES,
        settings=settings,
        tasks=tasks,
        blocks=(body, *blocks),
        version=FORMAT,
        **changes,
    )


def each_plan(target: str, *, settings: tuple[StepSettings, ...] = (StepSettings(),), **changes: Any) -> Plan:
    """`each i in range(n) { return f(i) }`, dispatched as ranges."""
    body = PlanBlock(
        nodes=(ParamNode(name="", type=INTEGER), call("f", 0, (0,))),
        params=1,
        result=1,
    )
    each = EachNode(
        name="each",
        inputs=(Input(1),),
        source=["call", "range", ["in", 0]],
        body=1,
        simple=True,
        type=ANY,
        **changes,
    )
    return flow_plan((each,), (task("f", target, "a"),), params=("n",), blocks=(body,), settings=settings)
