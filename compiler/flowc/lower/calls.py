"""Steps that are one node: calls of tasks and flows, values, joins. What undoes a call is a block with one call."""

from __future__ import annotations

from flowc import ir, plan

from .block import ALONE, Block, Inputs, Place
from .expressions import map_parts, parts
from .fold import fold
from .keys import keys_of
from .loops import Captures, captures_of, inner_block
from .uses import uses_of

__all__ = ["attach", "lower_call", "lower_child", "lower_join", "lower_value"]


def lower_call(block: Block, step: ir.CallStep, place: Place) -> None:
    if block.tables.waits_for(step.task):
        _lower_wait(block, step, place)
        return
    inputs = Inputs(block)
    node = block.add(
        plan.TaskNode,
        place,
        step,
        inputs=inputs,
        args=_arguments(step.args, inputs),
        task=block.tables.task(step.task, drops_result=step.settings.ignore_result),
        settings=_settings(block, step, inputs),
    )
    if step.undo is not None and block.shared.is_undone:
        block.drafts[node].fields["undo"] = _undo(block, step, step.undo)


def _undo(block: Block, step: ir.CallStep, undo: ir.Undo) -> plan.Attached:
    """The block that undoes a call: over what was given to the call, and its result."""
    given = {**step.args, "result": ["opt", step.id]}
    args = {name: _over_arguments(expr, given) for name, expr in undo.args.items()}
    call = ir.CallStep(
        id=-1, name=f"undo {step.name}", line=step.line, type="null", task=undo.task, args=args, settings=undo.settings
    )
    captures = captures_of(block, uses_of(ir.Block(steps=(call,))), ALONE)
    inner = inner_block(block, [], captures)
    lower_call(inner, call, ALONE)
    return attach(block, inner, captures)


def attach(block: Block, inner: Block, captures: Captures) -> plan.Attached:
    """A finished block that runs beside the graph, for a node of this one."""
    block.shared.blocks.append(inner.finish())
    return plan.Attached(len(block.shared.blocks) - 1, captures.nodes(block))


def _lower_wait(block: Block, step: ir.CallStep, place: Place) -> None:
    """A step that the engine ends."""
    inputs, what = Inputs(block), block.tables.waits_for(step.task)
    args = _arguments(step.args, inputs)
    if what == "signal":
        block.tables.add_signal(dict(args)["name"], step.type)
    settings = block.tables.wait_setting(step.settings)
    block.add(plan.WaitNode, place, step, inputs=inputs, waits_for=what, args=args, settings=settings)


def lower_child(block: Block, step: ir.ChildStep, place: Place) -> None:
    inputs = Inputs(block)
    block.add(
        plan.ChildNode,
        place,
        step,
        inputs=inputs,
        args=_arguments(step.args, inputs),
        flow=step.flow,
        detached=step.detached,
        settings=_settings(block, step, inputs),
    )


def _settings(block: Block, step: ir.CallStep | ir.ChildStep, inputs: Inputs) -> int:
    """The step's settings; keys are over its inputs."""
    keys = {
        name: inputs.convert(fold(_over_arguments(key.expr, step.args) if key.of_task else key.expr))
        for name, key in keys_of(step.settings).items()
    }
    return block.tables.setting(step.settings, keys)


def _over_arguments(expr: ir.Expr, args: dict[str, ir.Expr]) -> ir.Expr:
    """A task's expression over its parameters, as one over what a call gives them."""
    if expr[0] == "arg":
        return args.get(expr[1], ["lit", None])
    return map_parts(expr, lambda part: _over_arguments(part, args))


def _arguments(args: dict[str, ir.Expr], inputs: Inputs) -> tuple[tuple[str, plan.Expr], ...]:
    return tuple((name, inputs.convert(fold(value))) for name, value in args.items())


def lower_value(block: Block, step: ir.ValueStep, place: Place) -> None:
    """A value that nobody reads, that is no step of its own and cannot fail is left out."""
    if step.name or step.id in block.shared.used or not _only_assembles(step.value):
        block.value(step.value, place, step.type, step)


def _only_assembles(expr: ir.Expr) -> bool:
    return expr[0] in ("lit", "ref", "opt", "list", "record") and all(map(_only_assembles, parts(expr)))


def lower_join(block: Block, step: ir.JoinStep, place: Place) -> None:
    """The join handles the failures of its members, and of the steps that belong to them, unless they are handled
    before."""
    members = tuple(block.where[member] for member in step.members)
    inside = {*members, *(node for part in step.parts for id in part for node in block.spans.get(id, ()))}
    join = block.add(
        plan.JoinNode, place, step, members=members, n=step.n, first=step.first, cancel_rest=step.cancel_rest,
        names=step.names,
    )  # fmt: skip
    block.set_handler((i for i in inside if block.drafts[i].fields.get("handler") == place.handler), join)
