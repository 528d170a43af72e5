"""Variables of the environment, and what a run sees of them.

A run reads its variables once, when it begins: all that its plan and the plans of its child flows name. Child runs see
the same values, whenever they begin. What replaces a task (a canvas) may bring plans that were not known then: their
variables are read when the first of them opens.

Every partition has all variables. What was set comes as `SetVar` with a version that grows, maybe more than once and
in any order: the largest version counts.
"""

from __future__ import annotations

from typing import NoReturn

from flowc.plan import Plan, VarDef
from flowc.types import Type, text

from flowrun import values
from flowrun.messages import SetVar

from .core import Core
from .evaluate import ArgumentError, compute_default
from .state import Run, entered

__all__ = ["given", "hear", "take"]


def hear(core: Core, event: SetVar) -> None:
    """A variable has another value."""
    if not core.variables.set(event.name, event.version, event.value) and (
        event.version < core.variables.version(event.name)
    ):  # the same change comes from its author, and from the leader
        core.ignore(f"variable {event.name}: version {event.version} is outdated")
    if event.client:
        core.answer(event, True)


def take(core: Core, run: Run) -> None:
    """The run begins: from now on its variables have these values."""
    names = run.tables.variables if run.tables is not None else ()
    if names:
        run.variables = {name: core.variables.get(name) for name in names}


def given(core: Core, run: Run, plan: Plan) -> list[bytes]:
    """The values of the variables of a flow of the run. Raises ArgumentError where one was never set, or does not have
    the type that the flow declares."""
    return [_value(core, run, plan, variable) for variable in plan.vars]


def _value(core: Core, run: Run, plan: Plan, variable: VarDef) -> bytes:
    name = variable.name
    if name not in run.variables:
        run.variables = entered(run.variables, name, core.variables.get(name))
    value = run.variables[name]
    if value is not None:
        _check(name, value, plan.types[variable.type])
        return value
    if variable.default is None:
        how = f"`flowc var set {name} VALUE` sets it, and `--var {name}=VALUE` for one `flowc run`"
        raise ArgumentError(f"variable `{name}` is not set: {how}")
    return compute_default(plan, variable.default, [])


def _check(name: str, value: bytes, kind: Type) -> None:
    try:
        values.decode(value, kind, _nothing_stored)
    except values.TypeMismatch as error:
        raise ArgumentError(
            f"variable `{name}` has a value that is no {text(kind)} ({error}): set it anew with `flowc var set {name}`"
        ) from None


def _nothing_stored(digest: str) -> NoReturn:
    raise values.TypeMismatch(f"it refers to the blob {digest}, and variables hold no large values")
