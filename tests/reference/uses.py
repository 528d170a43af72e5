"""What the steps of a checked program are made of: who reads what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from flowc import ir

__all__ = ["RETURN", "Use", "computed_parts", "names_in", "outer_references", "references", "user_of", "uses_in"]

#: the id of what a block returns
RETURN = -1


@dataclass(frozen=True)
class Use:
    """A step, or a part of one, and what it is made of: ids."""

    id: int
    name: str
    reads: frozenset[int]


def references(expr: Any) -> Iterator[tuple[str, int]]:
    """("ref" | "opt", id), at any depth of lists and records of the tree."""
    if isinstance(expr, dict):
        for part in expr.values():
            yield from references(part)
    elif isinstance(expr, list | tuple):
        if len(expr) == 2 and expr[0] in ("ref", "opt") and isinstance(expr[1], int):
            yield expr[0], expr[1]
        else:
            for part in expr:
                yield from references(part)


def computed_parts(source: ir.Expr) -> Iterator[ir.Expr]:
    """What must be computed before an `each` can count its items: a part of its own, whose failure is not that of the
    `each`. Constants, values of steps and the symbolic functions over them need not be."""
    if source[0] == "call" and source[1] in ("range", "chunk", "zip", "cross"):
        for part in source[2:]:
            yield from computed_parts(part)
    elif source[0] not in ("lit", "ref", "opt"):
        yield source


def outer_references(step: ir.EachStep | ir.RepeatStep) -> list[ir.Expr]:
    """The references in the body of a loop; those to its own steps are among them."""
    whole = step.model_dump(exclude={"source"})
    own = set(_defined(whole))
    return [[op, id] for op, id in references(whole) if id not in own]


def _defined(part: Any) -> Iterator[int]:
    if isinstance(part, dict):
        for key, inner in part.items():
            if key in ("id", "error_id", "value_id", "previous_id"):
                yield inner
            elif key == "items":
                yield from inner
            else:
                yield from _defined(inner)
    elif isinstance(part, list | tuple):
        for inner in part:
            yield from _defined(inner)


def names_in(block: ir.Block, *, merges: bool = False) -> Iterator[str]:
    """The names of the steps of a block, at any depth; with `merges`, of what its branches bind too."""

    def walk(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            if part.get("name") and ("kind" in part or (merges and "sources" in part)):
                yield part["name"]
            for inner in part.values():
                yield from walk(inner)
        elif isinstance(part, list | tuple):
            for inner in part:
                yield from walk(inner)

    return walk(block.model_dump())


def uses_in(block: ir.Block) -> tuple[Use, ...]:
    """What the steps of a block are made of, those of inner blocks too, in written order; last, what it returns."""
    result = [Use(RETURN, "return", _ids(block.result))] if block.result is not None else []
    return (*_uses(block.steps, frozenset()), *result)


def _uses(steps: Iterable[ir.Step], guard: frozenset[int]) -> Iterator[Use]:
    for step in steps:
        match step:
            case ir.BranchStep():
                yield Use(step.id, step.name, guard | _ids(step.selector))
                for arm in step.arms:
                    yield from _uses(arm.steps, frozenset({step.id}))
                for merge in step.merges:
                    sources = {source for source in (*merge.sources, merge.otherwise) if source is not None}
                    yield Use(merge.id, merge.name, guard | sources | {step.id})
            case ir.CatchStep():
                yield from _uses(step.body.steps, guard)
                yield from _uses(step.handler.steps, frozenset())
                yield Use(step.id, step.name, guard | _ids(step.body.result) | _ids(step.handler.result))
            case ir.WatchStep():
                yield from _uses(step.body.steps, frozenset())
            case ir.UsingStep():
                yield from _uses(step.setup.steps, guard)
                yield Use(step.value_id, "", _ids(step.setup.result))
                yield from _uses((*step.body.steps, *step.cleanup.steps), frozenset())
                yield Use(step.id, "", _ids(step.body.result))
            case ir.JoinStep():
                yield Use(step.id, step.name, guard | set(step.members))
            case ir.EachStep() | ir.RepeatStep():
                outside = frozenset(int(expr[1]) for expr in outer_references(step))
                yield Use(step.id, step.name, guard | outside | _ids(getattr(step, "source", None)))
            case ir.CallStep() | ir.ChildStep():
                yield Use(step.id, step.name, guard | _ids(step.args))
            case ir.ValueStep():
                yield Use(step.id, step.name, guard | _ids(step.value))


def _ids(expr: Any) -> frozenset[int]:
    return frozenset(id for _, id in references(expr))


def user_of(id: int, uses: Iterable[Use]) -> str:
    """The first that has a name of what is made of a part, directly or through other parts."""
    users = {id}
    for use in uses:
        if use.id in users or use.reads & users:
            if use.name:
                return use.name
            users.add(use.id)
    return ""
