"""`each` and `repeat`: their bodies become blocks, and what a body uses from outside becomes its parameters.

A body that reads the value of a skipped step from outside is its user, so the whole loop is skipped, unless it reads
it as optional. A rule in a body over steps outside cannot look at them from there: a node before the loop stands for
the rule, and the body waits for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flowc import ir, plan

from .block import ALONE, Block, Inputs, Place
from .fold import fold
from .uses import Uses, uses_of

__all__ = ["Captures", "captures_of", "inner_block", "lower_each", "lower_repeat"]

#: of the sources that are not built: the positions of the arguments that are numbers; None: all
_SYMBOLIC: dict[str, tuple[int, ...] | None] = {"range": None, "chunk": (1,), "zip": (), "cross": ()}


class Captures(NamedTuple):
    """What a block inside uses from the block around."""

    #: (id, type, optional)
    values: list[tuple[int, int, bool]]
    #: the rule and the node that stands for it
    gates: list[tuple[ir.Rule, int]]

    def nodes(self, block: Block) -> tuple[int, ...]:
        """The nodes of the block around whose values they are."""
        return (*(block.where[id] for id, _, _ in self.values), *(node for _, node in self.gates))


def captures_of(block: Block, uses: Uses, place: Place) -> Captures:
    """The captures, by the uses of all the blocks inside; adds the nodes that stand for rules."""
    gates = [(rule, block.gate(rule, place)) for rule in uses.outer_rules()]
    types = {id: block.drafts[block.where[id]].fields["type"] for id in uses.captured()}
    return Captures([(id, type, id not in uses.refs) for id, type in types.items()], gates)


def inner_block(block: Block, own: Sequence[tuple[int | None, int]], captures: Captures) -> Block:
    """A new block with its own parameters, as (id, type), and then the captures."""
    inner = Block(block.shared)
    inner.line = block.line
    for id, type in own:
        inner.param(type, id)
    for id, type, _ in captures.values:
        inner.param(type, id)
    for rule, _ in captures.gates:
        inner.gates[rule] = inner.param(block.tables.type("null"))
    return inner


def _add_captures(block: Block, captures: Captures, inputs: Inputs) -> tuple[int, ...]:
    """The positions of the captured values in a loop's inputs."""
    values = [inputs.add(block.where[id], optional) for id, _, optional in captures.values]
    return (*values, *(inputs.add(node, True) for _, node in captures.gates))


def _close(inner: Block, result: ir.Expr | None, type: str, line: int = 0) -> int:
    """Finishes a block; gives its index in the plan."""
    inner.line = line or inner.line
    node = -1 if result is None else inner.node_of(result, ALONE, type)
    inner.shared.blocks.append(inner.finish(node))
    return len(inner.shared.blocks) - 1


def _item_type(list_type: str) -> str:
    """The type of a body's result, from that of the `each`; what is collected may be a Failure, too."""
    return list_type[5:-1] if list_type.startswith("list<") and list_type.endswith(">") else "json"


# ---- each -----------------------------------------------------------------------------------------------------------


def lower_each(block: Block, step: ir.EachStep, place: Place) -> None:
    inputs = Inputs(block)
    source = _source(block, fold(step.source), place, inputs)
    uses = uses_of(step.body)
    uses.defined.update(step.items)
    captures = captures_of(block, uses, place)
    items = zip(step.items, map(block.tables.type, step.item_types), strict=True)
    inner = inner_block(block, list(items), captures)
    inner.lower(step.body.steps, ALONE)
    body = _close(inner, step.body.result, _item_type(step.type), step.body.line)
    collects = step.body.result is not None
    block.add(
        plan.EachNode,
        place,
        step,
        inputs=inputs,
        source=source,
        body=body,
        unpack=len(step.items) if step.unpack else 0,
        captures=_add_captures(block, captures, inputs),
        collects=collects,
        simple=_is_simple(block, block.shared.blocks[body], collects),
        max=step.max,
        concurrency=step.concurrency,
        on_error=step.on_error,
    )


def _source(block: Block, expr: ir.Expr, place: Place, inputs: Inputs) -> plan.Expr:
    """What is walked, over inputs only: lists that must be computed are values before the each."""
    if expr[0] in ("ref", "opt"):
        return inputs.convert(expr)
    if expr[0] == "call" and expr[1] in _SYMBOLIC:
        numbers = _SYMBOLIC[expr[1]]
        return [
            *expr[:2],
            *(
                _number(block, arg, place, inputs)
                if numbers is None or i in numbers
                else _source(block, arg, place, inputs)
                for i, arg in enumerate(expr[2:])
            ),
        ]
    return ["in", inputs.add(block.value(expr, place, "json"), False)]


def _number(block: Block, expr: ir.Expr, place: Place, inputs: Inputs) -> plan.Expr:
    if expr[0] in ("lit", "ref", "opt"):
        return inputs.convert(expr)
    return ["in", inputs.add(block.value(expr, place, "int"), False)]


def _is_simple(block: Block, body: plan.PlanBlock | None, collects: bool) -> bool:
    """One call of a task, whose result is the item's, with nothing that each item needs for itself."""
    assert body is not None
    if len(body.nodes) != body.params + 1 or body.result != (body.params if collects else -1):
        return False
    node = body.nodes[-1]
    if not isinstance(node, plan.TaskNode) or node.after or node.handler != -1:
        return False
    if node.undo is not None or node.on_retry or node.on_sla_miss:
        return False
    settings = block.tables.settings.rows[node.settings]
    return settings.concurrency is None and settings.sla is None and not settings.updates


# ---- repeat ---------------------------------------------------------------------------------------------------------


def lower_repeat(block: Block, step: ir.RepeatStep, place: Place) -> None:
    uses = uses_of(step.body)
    uses.expr(step.until)
    uses.defined.add(step.previous_id)
    captures = captures_of(block, uses, place)
    inputs = Inputs(block)
    positions = _add_captures(block, captures, inputs)
    previous = block.tables.type(f"({step.type})?" if step.body.result is not None else "null")
    body = inner_block(block, [(step.previous_id, previous)], captures)
    body.lower(step.body.steps, ALONE)
    body_index = _close(body, step.body.result, step.type, step.body.line)
    until = inner_block(block, [(step.previous_id, block.tables.type(step.type))], captures)
    block.add(
        plan.RepeatNode,
        place,
        step,
        inputs=inputs,
        body=body_index,
        until=_close(until, step.until, "bool", step.until_line),
        every_ms=step.every_ms,
        max=step.max,
        captures=positions,
    )
