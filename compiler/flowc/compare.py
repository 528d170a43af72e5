"""Which steps of a new plan are the same work as steps of an old one, so that a run of the old plan can go on with it.

A node of the flow's body is described by parts: what kind of step it is, its name, its task, its arguments, what it
runs inside, its type, and when it runs. Where it refers to other nodes, their digests stand; so a node's digest, that
of its parts, covers all that it depends on. Two nodes are the same work if their digests are equal. What does not
change a result is left out: lines, queues, priorities, retries, times, handlers of failures.

Where a tear-down changed, its set-up is none of the same work: what the old tear-down took down must be set up again.

A plan says which function a task calls, not what stands in it: that a function was mended is for who forks to say.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import msgspec

from .plan import (
    BranchNode,
    ChildNode,
    EachNode,
    JoinNode,
    MergeNode,
    Node,
    OutcomeNode,
    ParamNode,
    Plan,
    PlanBlock,
    RepeatNode,
    TaskNode,
    ValueNode,
    WaitNode,
    digest,
)

__all__ = ["Comparison", "compare"]

_encoder = msgspec.msgpack.Encoder(order="deterministic")
#: what a part of a description is called where it differs
_REASONS = {
    "kind": "it is another kind of step",
    "task": "its task changed",
    "arguments": "its arguments changed",
    "inside": "what runs inside of it changed",
    "type": "its type changed",
    "rules": "when it runs changed",
    "inputs": "what it depends on changed",
}


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What of an old plan's run can be used under a new plan."""

    #: why nothing can
    problems: tuple[str, ...] = ()
    #: node of the new body -> the same work in the old one; of a parameter, the one of that name and type
    nodes: dict[int, int] = {}
    #: step of the new plan -> why it is not the same work as before
    changed: dict[str, str] = {}


def compare(old: Plan, new: Plan, given: Container[str] = ()) -> Comparison:
    """`given`: parameters that will have values of their own."""
    problems = _problems(old, new, given)
    if problems:
        return Comparison(problems=tuple(problems))
    before, after = _described(old), _described(new)
    nodes = _paired(before, after)
    for node in _torn_down(old.blocks[0], new.blocks[0], nodes):
        nodes.pop(node, None)
    return Comparison(nodes=nodes, changed=_changed(before, after, nodes))


def _problems(old: Plan, new: Plan, given: Container[str]) -> list[str]:
    if old.flow != new.flow:
        return [f"it was a run of flow `{old.flow}`, and the plan is of flow `{new.flow}`"]
    known = {param.name: old.types[param.type] for param in old.params}
    found: list[str] = []
    for param in new.params:
        if param.name in given:
            continue
        if param.name not in known:
            if param.required:
                found.append(f"it has no value for the new parameter `{param.name}`: give it one")
        elif known[param.name] != new.types[param.type]:
            found.append(f"the type of parameter `{param.name}` changed: give it a value")
    return found


# ---- descriptions ---------------------------------------------------------------------------------------------------


class _Described(msgspec.Struct, frozen=True):
    """A node."""

    name: str
    parts: dict[str, Any]
    digest: str


def _described(plan: Plan) -> list[_Described]:
    return _Describer(plan, plan.children).block(plan.blocks[0])


class _Describer:
    """Of one plan; `children` are those of the outermost one."""

    def __init__(self, plan: Plan, children: dict[str, Plan], inside: tuple[str, ...] = ()) -> None:
        self._plan, self._children, self._inside = plan, children, inside

    def block(self, block: PlanBlock) -> list[_Described]:
        """The nodes, in order: what a node refers to stands before it."""
        found: list[_Described] = []
        for place, node in enumerate(block.nodes):
            parts = self._parts(node, place, [known.digest for known in found])
            found.append(_Described(node.name, parts, digest(_encoder.encode((node.name, parts)))))
        return found

    def _parts(self, node: Node, place: int, known: list[str]) -> dict[str, Any]:
        guard = node.guard
        return {
            "kind": [type(node).__name__, place if isinstance(node, ParamNode) and not node.name else 0],
            "inputs": [(known[given.node], given.optional) for given in node.inputs],
            "type": self._plan.types[node.type],
            "rules": [
                None if guard is None else (known[guard[0]], guard[1]),
                [
                    (rule.rule, [known[i] for i in rule.nodes], rule.n, [known[i] for i in rule.setups])
                    for rule in node.after
                ],
            ],
            **self._own(node, known),
        }

    def _own(self, node: Node, known: list[str]) -> dict[str, Any]:
        """What nodes of this kind have."""
        match node:
            case ValueNode():
                return {"arguments": node.value}
            case BranchNode():
                return {"arguments": node.selector}
            case TaskNode():
                return {"task": self._task(node.task), "arguments": node.args, "inside": self._env(node.settings)}
            case WaitNode():
                return {"task": node.waits_for, "arguments": node.args}
            case ChildNode():
                return {"arguments": [node.args, node.detached], "inside": self._child(node.flow)}
            case EachNode():
                own = (node.unpack, node.captures, node.collects, node.simple, node.on_error)
                return {"arguments": [node.source, own], "inside": self._inner(node.body)}
            case RepeatNode():
                return {"arguments": node.captures, "inside": [self._inner(node.body), self._inner(node.until)]}
            case MergeNode():
                sources = [None if source is None else known[source] for source in (*node.sources, node.otherwise)]
                return {"arguments": [known[node.branch], sources]}
            case OutcomeNode():
                return {"arguments": [node.event, [known[i] for i in node.watched]]}
            case JoinNode():
                rule = (node.n, node.first, node.cancel_rest, node.names)
                return {"arguments": [rule, [known[i] for i in node.members]]}
        return {}

    def _task(self, index: int) -> Any:
        task, types = self._plan.tasks[index], self._plan.types
        return [
            task.name,
            [(param.name, types[param.type], param.optional) for param in task.params],
            None if task.returns is None else types[task.returns],
            (task.operator, task.target, task.template),
            [self._plan.connections[i] for i in task.uses],
        ]

    def _env(self, settings: int) -> Any:
        return self._plan.settings[settings].env

    def _inner(self, block: int) -> Any:
        found = self._plan.blocks[block]
        return [[node.digest for node in self.block(found)], found.result]

    def _child(self, key: str) -> Any:
        """The flow that a call runs; of one that calls itself, its name is enough."""
        if key in self._inside:
            return key
        plan = self._children[key]
        inner = _Describer(plan, self._children, (*self._inside, key))
        params = [(param.name, plan.types[param.type], param.default) for param in plan.params]
        handlers = [(handler.event, inner._inner(handler.block), handler.captures) for handler in plan.handlers]
        return [plan.flow, params, plan.max_depth, plan.compensates, inner._inner(0), handlers]


# ---- pairs ----------------------------------------------------------------------------------------------------------


def _paired(before: list[_Described], after: list[_Described]) -> dict[int, int]:
    """New node -> old node of the same digest; equal ones in their order."""
    places: dict[str, list[int]] = {}
    for place, node in enumerate(before):
        places.setdefault(node.digest, []).append(place)
    found: dict[int, int] = {}
    for place, node in enumerate(after):
        if places.get(node.digest):
            found[place] = places[node.digest].pop(0)
    return found


def _torn_down(old: PlanBlock, new: PlanBlock, nodes: dict[int, int]) -> set[int]:
    """New nodes whose work was taken down by a tear-down that is another one now: those of its set-up."""
    kept = set(nodes.values())
    gone = {
        setup
        for place, node in enumerate(old.nodes)
        for trigger in node.after
        if trigger.rule == "teardown" and place not in kept
        for setup in _setup_nodes(old, trigger.nodes, trigger.setups)
    }
    return {node for node, before in nodes.items() if before in gone}


def _setup_nodes(block: PlanBlock, inside: tuple[int, ...], setups: tuple[int, ...]) -> set[int]:
    found: set[int] = set()
    stack = [*setups]
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack += [given.node for given in block.nodes[node].inputs if given.node in inside]
    return found


def _changed(before: list[_Described], after: list[_Described], nodes: dict[int, int]) -> dict[str, str]:
    known = {node.name: node for node in before if node.name}
    found: dict[str, str] = {}
    for place, node in enumerate(after):
        if node.name and place not in nodes:
            old = known.get(node.name)
            if old is None:
                found[node.name] = "it is new"
            elif old.digest == node.digest:
                found[node.name] = "its tear-down changed"
            else:
                found[node.name] = _reason(old, node)
    return found


def _reason(old: _Described, new: _Described) -> str:
    for part, reason in _REASONS.items():
        if _encoder.encode(old.parts.get(part)) != _encoder.encode(new.parts.get(part)):
            return reason
    return "it changed"
