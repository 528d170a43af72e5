"""Which ids the steps of a block read and define, at every depth."""

from __future__ import annotations

from collections.abc import Iterable

from flowc import ir

from .expressions import parts
from .keys import keys_of

__all__ = ["Uses", "uses_of"]


class Uses:
    """What some steps read, and what they define."""

    def __init__(self) -> None:
        #: ids whose value is read, so that a skipped one skips the reader
        self.refs: set[int] = set()
        #: ids whose value is read, or null
        self.opts: set[int] = set()
        #: ids that a merge, a join or a watch looks at
        self.others: set[int] = set()
        self.rules: dict[ir.Rule, None] = {}
        self.defined: set[int] = set()
        #: names of the steps
        self.names: set[str] = set()

    @property
    def ids(self) -> set[int]:
        """Every id that is read in some way."""
        return self.refs | self.opts | self.others | {step for rule in self.rules for step in rule.steps}

    def outer_rules(self) -> list[ir.Rule]:
        """The rules whose steps all stand outside."""
        return [rule for rule in self.rules if rule.steps and not self.defined.intersection(rule.steps)]

    def captured(self) -> list[int]:
        """The ids that come from outside, `outer_rules` left out, in rising order."""
        outer = set(self.outer_rules())
        inner = {step for rule in self.rules if rule not in outer for step in rule.steps}
        return sorted((self.refs | self.opts | self.others | inner) - self.defined)

    def expr(self, expr: ir.Expr) -> None:
        """Adds what an expression reads."""
        pending = [expr]
        while pending:
            found = pending.pop()
            if found[0] == "ref":
                self.refs.add(found[1])
            elif found[0] == "opt":
                self.opts.add(found[1])
            else:
                pending.extend(parts(found))

    def block(self, block: ir.Block) -> None:
        self.steps(block.steps)
        if block.result is not None:
            self.expr(block.result)

    def steps(self, steps: Iterable[ir.Step]) -> None:
        for step in steps:
            self.defined.add(step.id)
            self.names.add(step.name)
            for rule in step.after:
                self.rules[rule] = None
            self._parts(step)

    def _parts(self, step: ir.Step) -> None:
        match step:
            case ir.CallStep() | ir.ChildStep():
                for arg in step.args.values():
                    self.expr(arg)
                for key in keys_of(step.settings).values():
                    self.expr(key.expr)
                if isinstance(step, ir.CallStep) and step.undo is not None:
                    for arg in step.undo.args.values():  # variables
                        self.expr(arg)
            case ir.ValueStep():
                self.expr(step.value)
            case ir.BranchStep():
                self._branch(step)
            case ir.EachStep():
                self.expr(step.source)
                self._inner(step.items, step.body)
            case ir.CatchStep():
                self._inner((step.error_id,), step.body, step.handler)
            case ir.WatchStep():
                self.others.add(step.step)
                self._inner((step.value_id,), step.body)
            case ir.JoinStep():
                self.others.update(step.members)
            case ir.UsingStep():
                self._inner((step.value_id,), step.setup, step.body, step.cleanup)
            case ir.RepeatStep():
                self._inner((step.previous_id,), step.body)
                self.expr(step.until)

    def _inner(self, defined: Iterable[int], *blocks: ir.Block) -> None:
        self.defined.update(defined)
        for block in blocks:
            self.block(block)

    def _branch(self, step: ir.BranchStep) -> None:
        self.expr(step.selector)
        self._inner((merge.id for merge in step.merges), *step.arms)
        for merge in step.merges:
            self.others.update(source for source in (*merge.sources, merge.otherwise) if source is not None)


def uses_of(*blocks: ir.Block) -> Uses:
    """What these blocks read and define."""
    uses = Uses()
    for block in blocks:
        uses.block(block)
    return uses
