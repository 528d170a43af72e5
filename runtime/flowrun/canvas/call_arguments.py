"""What the parameters of a task are given by a call of a canvas: what stands before it comes first."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from flowc.ir import Expr
from flowc.types import JSON, Type, text

from flowrun.client.tasks import TaskSpec
from flowrun.operator import NAMED, POSITIONAL
from flowrun.parameters import ArgumentError

from .drafts import Draft
from .shapes import Column

__all__ = ["Given", "arguments_of", "known_arguments"]


class Given(NamedTuple):
    """What stands before a part in a chain."""

    expr: Expr
    kind: Type
    #: as messages name it
    producer: str


def arguments_of(draft: Draft, spec: TaskSpec, step: str, call: Any, given: Given | None) -> dict[str, Expr]:
    """The argument of each parameter of a task. Raises ArgumentError."""
    if spec.params is None:
        first = [] if given is None else [given.expr]
        listed = [draft.argument(Column(f"{step}[{i}]", JSON), JSON) for i in range(len(call.args))]
        named = [[name, draft.argument(Column(f"{step}.{name}", JSON), JSON)] for name in sorted(call.kwargs)]
        return {POSITIONAL: ["list", *first, *listed], NAMED: ["record", named]}
    kinds = {name: (spec.kinds[name], param) for name, param in spec.params.items()}
    return known_arguments(draft, spec.name, kinds, step, call, given)


def known_arguments(
    draft: Draft, task: str, params: Mapping[str, tuple[Type, inspect.Parameter]], step: str, call: Any,
    given: Given | None,
) -> dict[str, Expr]:  # fmt: skip
    """The same, by the parameters' types. Raises ArgumentError."""
    positional = [name for name, (_, param) in params.items() if param.kind is not param.KEYWORD_ONLY]
    count = len(call.args) + (given is not None)
    if count > len(positional):
        before = ", the value before it included" if given is not None else ""
        raise ArgumentError(f"`{task}` takes {len(positional)} arguments by position, not {count}{before}")
    names, found = positional[:count], {}
    if given is not None:
        name = names.pop(0)
        _refuse_misfit(task, name, params[name][0], given)
        found[name] = given.expr
    for name in (*names, *sorted(call.kwargs)):
        if name not in params:
            has = ", ".join(f"`{known}`" for known in params)
            raise ArgumentError(f"`{task}` has no parameter `{name}`: it has {has or 'none'}")
        if name in found:
            raise ArgumentError(f"`{task}` was given `{name}` twice")
        found[name] = draft.argument(Column(f"{step}.{name}", params[name][0]), params[name][0])
    missing = [f"`{name}`" for name, (_, param) in params.items() if param.default is param.empty and name not in found]
    if missing:
        raise ArgumentError(f"`{task}` needs {', '.join(missing)}")
    return found


def _refuse_misfit(task: str, parameter: str, wanted: Type, given: Given) -> None:
    """Raises ArgumentError if a value can never be the argument of this parameter."""
    if given.kind == wanted or JSON in (given.kind, wanted):
        return
    from flowc.check.types import assignable  # takes long to import, and is seldom needed

    if not assignable(given.kind, wanted):
        raise ArgumentError(
            f"{given.producer} gives {text(given.kind)}, and `{task}` takes {text(wanted)} as its `{parameter}`"
        )
