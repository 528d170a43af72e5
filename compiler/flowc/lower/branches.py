"""`if` and `match`, `catch`, `on …` at a step, `using`: nodes that run only if a branch or an outcome says so."""

from __future__ import annotations

from collections.abc import Iterable

from flowc import ir, plan
from flowc.types import CANCELLATION, SLA_MISS, text

from .block import ALONE, Block, Inputs, Place
from .calls import attach
from .fold import fold
from .loops import captures_of, inner_block
from .uses import uses_of

__all__ = ["lower_branch", "lower_catch", "lower_using", "lower_watch"]

#: nodes that never fail by themselves
_NEVER_FAIL = (plan.OutcomeNode, plan.MergeNode, plan.ParamNode)
#: events of a step that goes on: the field of its node, and the type of what is told
_MEANWHILE = {"retry": ("on_retry", "Failure"), "sla_miss": ("on_sla_miss", text(SLA_MISS))}


def lower_branch(block: Block, step: ir.BranchStep, place: Place) -> None:
    """The arms stand under the branch; a name bound in them is a merge. The branch's id means its end.

    A merge is shown as a step only where it is the one that has its name (`x = if c then a() else b()`), and not
    where the arms have a step of that name each."""
    inputs = Inputs(block)
    selector = inputs.convert(fold(step.selector))
    named = step.model_copy(update={"type": "int"})
    branch = block.add(plan.BranchNode, place, named, inputs=inputs, selector=selector)
    inside = [branch]
    for arm, steps in enumerate(step.arms):
        inside.extend(block.lower(steps.steps, Place((branch, arm), place.handler)))
    for merge in step.merges:
        sources = tuple(None if source is None else block.where[source] for source in merge.sources)
        otherwise = None if merge.otherwise is None else block.where[merge.otherwise]
        block.add(
            plan.MergeNode,
            place,
            type=merge.type,
            id=merge.id,
            name="" if merge.name in block.shared.names else merge.name,
            line=step.line,
            box=step.box,
            branch=branch,
            sources=sources,
            otherwise=otherwise,
        )
    if step.id in block.shared.used:
        block.after_all(inside, place, id=step.id)


def lower_catch(block: Block, step: ir.CatchStep, place: Place) -> None:
    """The body's nodes are handled by an outcome node that watches them; the handler is its arm 1."""
    place = block.behind(block.triggers(step.after), place)
    mark = block.open_mark()
    covered = Place(place.guard, mark)
    first = len(block.drafts)
    body = _result(block, step.body, covered, step.type)
    nodes = block.marked(mark, range(first, len(block.drafts)))
    watched = tuple(i for i in nodes if not issubclass(block.drafts[i].kind, _NEVER_FAIL))
    outcome = block.add(plan.OutcomeNode, place, type="Failure", id=step.error_id, line=step.line, watched=watched)
    block.set_handler(nodes, outcome)
    handler = _result(block, step.handler, Place((outcome, 1), place.handler), step.type)
    unruled = step.model_copy(update={"after": ()})
    block.add(plan.MergeNode, place, unruled, branch=outcome, sources=(body, handler))


def _result(block: Block, steps: ir.Block, place: Place, type: str) -> int:
    """Adds the nodes of a block; gives the one whose outcome is the block's: null once all its steps have ended well
    where it returns nothing."""
    nodes = block.lower(steps.steps, place)
    if steps.result is None or steps.result == ["lit", None]:
        return block.after_all(nodes, place)
    return block.node_of(steps.result, place, type)


def lower_watch(block: Block, step: ir.WatchStep, place: Place) -> None:
    """The body is arm 1 of an outcome node that watches the one step. It handles nothing, and never fails the run. What
    is done at a retry, or when it is late, is a block of its own, for the step goes on."""
    watched = block.where[step.step]
    if step.event in _MEANWHILE:
        name, type = _MEANWHILE[step.event]
        fields = block.drafts[watched].fields
        fields[name] = (*fields.get(name, ()), _meanwhile(block, step, type))
        return
    around = block.behind(block.triggers(step.after), place)
    outcome = block.add(
        plan.OutcomeNode,
        # a join that cancels the step must leave the one who watches for that alone
        Place(around.guard, -2) if step.event == "cancel" else around,
        id=step.value_id,
        line=step.line,
        watched=(watched, *(block.where[other] for other in step.also)),
        event=step.event,
    )
    if step.event == "failure":
        block.drafts[outcome].fields["type"] = block.tables.type("Failure")
    elif step.event == "cancel":
        block.drafts[outcome].fields["type"] = block.tables.type(text(CANCELLATION))
    elif step.event == "success":
        block.drafts[outcome].fields["type"] = block.drafts[watched].fields["type"]
    inside = block.lower(step.body.steps, Place((outcome, 1), -2))
    if step.id in block.shared.used:
        block.after_all((outcome, *inside), place, id=step.id)


def _meanwhile(block: Block, step: ir.WatchStep, type: str) -> plan.Attached:
    uses = uses_of(step.body)
    uses.defined.add(step.value_id)
    captures = captures_of(block, uses, ALONE)
    inner = inner_block(block, [(step.value_id, block.tables.type(type))], captures)
    inner.lower(step.body.steps, Place(None, -2))
    return attach(block, inner, captures)


def lower_using(block: Block, step: ir.UsingStep, place: Place) -> None:
    """The body starts when the set-up has succeeded, the clean-up by the tear-down rule. The step's id means what the
    body returns, or, where it returns nothing, the end of all."""
    place = block.behind(block.triggers(step.after), place)
    first = len(block.drafts)
    setup = block.where[step.value_id] = _result(block, step.setup, place, "json")
    before = range(first, len(block.drafts))
    inside = block.behind((plan.Trigger("ok", (setup,)),), place)
    body = block.lower(step.body.steps, inside)
    watched = _unique((setup, *before, *body))
    teardown = plan.Trigger("teardown", watched, setups=(setup,))
    cleanup = block.lower(step.cleanup.steps, block.behind((teardown,), Place(place.guard, -2)))
    if step.body.result is not None:
        block.where[step.id] = block.node_of(step.body.result, inside, step.type)
    elif step.id in block.shared.used:
        block.after_all(watched, place, cleanup, id=step.id)


def _unique(nodes: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(nodes)))
