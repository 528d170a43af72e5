"""The step that a work item calls, and what is promised about it."""

from __future__ import annotations

from flowc.plan import EachNode, NodeBase, Plan, StepSettings, TaskNode

from flowrun.messages import WorkItem

__all__ = ["StepKey", "step_key", "step_of"]

#: a step of a plan: the plan's digest, flow, block, node
StepKey = tuple[str, str, int, int]


def step_key(item: WorkItem, plans: tuple[str, ...]) -> StepKey:
    """Items with the same key call the same step. `plans` are the digests of its bundle."""
    return plans[item.plan], item.flow, item.block, item.node


def step_of(item: WorkItem, plan: Plan) -> tuple[str, StepSettings | None]:
    """Name and settings of the step that an item calls; no settings for what is only evaluated."""
    plan = plan.children[item.flow] if item.flow else plan
    node: NodeBase = plan.blocks[item.block].nodes[item.node]
    if isinstance(node, EachNode) and item.first >= 0:
        node = next(n for n in plan.blocks[node.body].nodes if isinstance(n, TaskNode))
    if isinstance(node, TaskNode):
        return node.name or plan.tasks[node.task].name, plan.settings[node.settings]
    return node.name, None
