"""One block of the plan while it is filled: ids to positions, references to input edges, rules to triggers.

A node is kept as its class and its fields until the block is complete, because the handler of a step inside a `catch`
is known only after it. `Place` says where the next nodes stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from flowc import ir, plan

from .expressions import map_parts
from .fold import fold
from .tables import Tables

__all__ = ["ALONE", "Block", "Draft", "Inputs", "LowerSteps", "Place", "Shared"]


class Place(NamedTuple):
    """Where nodes stand."""

    #: (branch or outcome node, arm)
    guard: tuple[int, int] | None = None
    #: see NodeBase.handler; below -2: a `catch` whose outcome node is not there yet
    handler: int = -1


#: a block's own place
ALONE = Place()


class Draft(NamedTuple):
    """A node that is not finished."""

    kind: type[plan.NodeBase]
    fields: dict[str, Any]


LowerSteps = Callable[["Block", Iterable[ir.Step], Place], None]


class Shared(NamedTuple):
    """What all blocks of one plan share."""

    tables: Tables
    #: the finished blocks, by index
    blocks: list[plan.PlanBlock | None]
    #: ids that are read anywhere in the flow
    used: set[int]
    #: the names of all steps
    names: set[str]
    lower_steps: LowerSteps
    #: what its tasks did may have to be undone
    is_undone: bool = False


class Block:
    """A block that is being filled."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.tables = shared.tables
        self.drafts: list[Draft] = []
        #: id -> the node that gives its value
        self.where: dict[int, int] = {}
        #: step -> the nodes that it became
        self.spans: dict[int, range] = {}
        #: rule over steps outside -> the parameter that stands for it
        self.gates: dict[ir.Rule, int] = {}
        self.params = 0
        #: of the step that is lowered, for its parts
        self.line = 0
        self._marks = 0

    # ---- nodes

    def param(self, type_index: int, id: int | None = None) -> int:
        """A parameter, which stands before all other nodes."""
        assert self.params == len(self.drafts)
        self.params += 1
        self.drafts.append(Draft(plan.ParamNode, {"type": type_index}))
        return self._placed(id)

    def add(
        self,
        kind: type[plan.NodeBase],
        place: Place,
        step: ir.Step | None = None,
        *,
        type: str = "null",
        inputs: Inputs | None = None,
        after: tuple[plan.Trigger, ...] = (),
        id: int | None = None,
        **fields: Any,
    ) -> int:
        """A node. With `step` it is that step: its name, line, box and type, and its rules unless `after` has some;
        without, a part of a construct."""
        if step is None:
            fields.setdefault("line", self.line)
        else:
            fields.update(name=step.name, line=step.line, box=step.box)
            type, after, id = step.type, after or self.triggers(step.after), step.id if id is None else id
        fields.update(
            type=self.tables.type(type),
            inputs=() if inputs is None else tuple(inputs.edges),
            after=after,
            guard=place.guard,
            handler=place.handler,
        )
        self.drafts.append(Draft(kind, fields))
        return self._placed(id)

    def _placed(self, id: int | None) -> int:
        position = len(self.drafts) - 1
        if id is not None:
            self.where[id] = position
        return position

    def lower(self, steps: Iterable[ir.Step], place: Place) -> range:
        """Adds the nodes of these steps; gives their positions."""
        first = len(self.drafts)
        self.shared.lower_steps(self, steps, place)
        return range(first, len(self.drafts))

    # ---- catch

    def open_mark(self) -> int:
        """A handler that is not there yet: `close_mark` puts the real one in its place."""
        self._marks += 1
        return -2 - self._marks

    def marked(self, mark: int, nodes: range) -> list[int]:
        return [i for i in nodes if self.drafts[i].fields["handler"] == mark]

    def set_handler(self, nodes: Iterable[int], handler: int) -> None:
        for i in nodes:
            self.drafts[i].fields["handler"] = handler

    # ---- values

    def value(self, expr: ir.Expr, place: Place, type: str, step: ir.Step | None = None) -> int:
        """A node that computes an expression."""
        inputs = Inputs(self)
        value = inputs.convert(fold(expr))
        return self.add(plan.ValueNode, place, step, type=type, inputs=inputs, value=value)

    def node_of(self, expr: ir.Expr, place: Place, type: str) -> int:
        """The node whose outcome is that of an expression: the producer itself for a plain reference."""
        return self.where[expr[1]] if expr[0] == "ref" else self.value(expr, place, type)

    def after_all(self, nodes: Iterable[int], place: Place, cleanup: Iterable[int] = (), id: int | None = None) -> int:
        """A null value that is there when all `nodes` have ended and none failed, and all of `cleanup` have ended.
        A failure that is handled inside, or never fails the run, is none."""
        exposed = (i for i in nodes if self.drafts[i].fields["handler"] == place.handler)
        rules = (("none_failed", tuple(exposed)), ("done", tuple(cleanup)))
        after = tuple(plan.Trigger(rule, upstreams) for rule, upstreams in rules if upstreams)
        return self.add(plan.ValueNode, place, after=after, id=id, value=["lit", None])

    def behind(self, triggers: tuple[plan.Trigger, ...], place: Place) -> Place:
        """A place whose nodes wait for these rules, and share their verdict."""
        if not triggers:
            return place
        gate = self.add(plan.BranchNode, place, type="int", after=triggers, selector=["lit", 0])
        return Place((gate, 0), place.handler)

    # ---- rules

    def triggers(self, rules: Iterable[ir.Rule]) -> tuple[plan.Trigger, ...]:
        return tuple(self._trigger(rule) for rule in rules)

    def _trigger(self, rule: ir.Rule) -> plan.Trigger:
        gate = self.gates.get(rule)
        if gate is not None:
            return plan.Trigger("ok", (gate,))
        return plan.Trigger(rule.rule, tuple(self.where[step] for step in rule.steps), rule.n or 0)

    def gate(self, rule: ir.Rule, place: Place) -> int:
        """A node that stands for a rule in a block inside: it ends as a step with that rule would start."""
        if rule in self.gates:
            return self.gates[rule]
        return self.add(plan.ValueNode, place, after=(self._trigger(rule),), value=["lit", None])

    # ---- the end

    def finish(self, result: int = -1) -> plan.PlanBlock:
        nodes: Any = tuple(kind(**fields) for kind, fields in self.drafts)
        return plan.PlanBlock(nodes=nodes, params=self.params, result=result)


class Inputs:
    """The data edges of one node, and its expressions over them."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self.edges: list[plan.Input] = []
        self._position: dict[int, int] = {}

    def add(self, node: int, optional: bool) -> int:
        """The position of the edge from a node. Where it is read both ways, it is not optional."""
        position = self._position.setdefault(node, len(self.edges))
        if position == len(self.edges):
            self.edges.append(plan.Input(node, optional))
        elif not optional:
            self.edges[position] = plan.Input(node)
        return position

    def convert(self, expr: ir.Expr) -> plan.Expr:
        """The expression over ["in", i]."""
        op = expr[0]
        if op in ("ref", "opt"):
            return ["in", self.add(self._block.where[expr[1]], op == "opt")]
        return map_parts(expr, self.convert)
