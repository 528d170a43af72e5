"""The variables of a run that the command line leads: `--var name=value`, FLOW_VAR_NAME, else those of the
environment on the server. They go into the run's own partition, before its submission."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches

from flowc.plan import Plan
from flowc.types import Type

from .errors import InputError

__all__ = ["encoded_variables", "kinds_of_variables", "variable_texts"]


def variable_texts(given: tuple[str, ...], plan: Plan, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What somebody typed, by name. Raises InputError for what is wrong with any."""
    kinds = kinds_of_variables(plan)
    found = {
        name: environment[variable] for name in kinds if (variable := f"FLOW_VAR_{name.upper()}") in environment
    }  # fmt: skip
    typed: dict[str, str] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals:
            raise InputError(f"`--var {one}` has no value", help="write --var name=value")
        if name in typed:
            raise InputError(f"the variable `{name}` is given twice", place=f"--var {one}")
        if name not in kinds:
            raise InputError(
                f"flow `{plan.flow}` reads no variable `{name}`", place=f"--var {one}", help=_hint(name, kinds)
            )
        typed[name] = text
    found |= typed
    encoded_variables(found, kinds)
    return found


def _hint(name: str, known: Mapping[str, Type]) -> str:
    close = get_close_matches(name, known, 1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"it reads {', '.join(f'`{one}`' for one in known)}" if known else "it reads none"


def kinds_of_variables(plan: Plan) -> dict[str, Type]:
    """The types of all variables that the flow and its child flows read."""
    return {one.name: part.types[one.type] for part in (plan, *plan.children.values()) for one in part.vars}


def encoded_variables(texts: Mapping[str, str], kinds: Mapping[str, Type]) -> dict[str, bytes]:
    """The values of what somebody typed. Raises InputError."""
    if not texts:
        return {}
    from flowrun.parameters import ArgumentError, encode_argument, parse_argument  # start-up time, as in `session`

    try:
        return {name: encode_argument(name, parse_argument(name, text, kinds[name]), kinds[name])
                for name, text in texts.items()}  # fmt: skip
    except ArgumentError as error:
        raise InputError(str(error), place="--var, FLOW_VAR_…") from error
