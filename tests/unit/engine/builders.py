"""Small plans, built by hand. Node 0 of block 0 is `run`; `flow(...)` numbers the nodes as they are given."""

from __future__ import annotations

from typing import Any

from flowc import plan as p
from flowc.types import JSON
from flowrun import values

__all__ = ["after", "block", "branch", "each", "flow", "merge", "outcome", "ref", "task", "value"]

RUN = p.ParamNode(name="run")


def ref(*nodes: int, optional: bool = False) -> tuple[p.Input, ...]:
    return tuple(p.Input(node, optional) for node in nodes)


def after(rule: str, *nodes: int, n: int = 0, setups: tuple[int, ...] = ()) -> p.Trigger:
    return p.Trigger(rule, nodes, n, setups)


def task(name: str, *inputs: int | p.Input, settings: int = 0, **more: Any) -> p.TaskNode:
    """A call whose arguments are its inputs; the fake worker knows it by its name."""
    edges = tuple(given if isinstance(given, p.Input) else p.Input(given) for given in inputs)
    args = tuple((f"a{i}", ["in", i]) for i in range(len(edges)))
    return p.TaskNode(name=name, task=0, args=args, settings=settings, inputs=edges, **more)


def value(expr: list[Any], *inputs: int | p.Input, name: str = "", **more: Any) -> p.ValueNode:
    edges = tuple(given if isinstance(given, p.Input) else p.Input(given) for given in inputs)
    return p.ValueNode(name=name, value=expr, inputs=edges, **more)


def branch(expr: list[Any], *inputs: int, **more: Any) -> p.BranchNode:
    return p.BranchNode(selector=expr, inputs=ref(*inputs), **more)


def merge(source: int, *sources: int | None, **more: Any) -> p.MergeNode:
    return p.MergeNode(branch=source, sources=sources, **more)


def outcome(*watched: int, **more: Any) -> p.OutcomeNode:
    return p.OutcomeNode(watched=watched, **more)


def each(body: int, source: list[Any], *inputs: int, name: str = "each", **more: Any) -> p.EachNode:
    return p.EachNode(name=name, body=body, source=source, inputs=ref(*inputs), **more)


def block(*nodes: Any, params: int = 0, result: int = -1) -> p.PlanBlock:
    given = tuple(p.ParamNode() for _ in range(params))
    return p.PlanBlock(nodes=given + nodes, params=params, result=result)


def flow(
    *nodes: Any,
    result: int = -1,
    params: tuple[p.ParamDef, ...] = (),
    blocks: tuple[p.PlanBlock, ...] = (),
    settings: tuple[p.StepSettings, ...] = (p.StepSettings(),),
    **more: Any,
) -> p.Plan:
    """Block 0 has `run`, the parameters, then these nodes; `blocks` are 1, 2, …"""
    given = (RUN, *(p.ParamNode(name=param.name) for param in params))
    body = p.PlanBlock(nodes=given + nodes, params=len(given), result=result)
    return p.Plan(
        flow=more.pop("name", "test"),
        file="test.flow",
        params=params,
        returns=None,
        types=(JSON,),
        settings=settings,
        tasks=(p.TaskDef(name="task", params=(), returns=0, operator="python"),),
        blocks=(body, *blocks),
        version=p.FORMAT,
        **more,
    )


def param(name: str, **more: Any) -> p.ParamDef:
    return p.ParamDef(name=name, type=0, **more)


def args(**given: object) -> bytes:
    return values.encode(given)


def settings(**more: Any) -> p.StepSettings:
    return p.StepSettings(**more)
