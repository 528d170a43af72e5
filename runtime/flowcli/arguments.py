"""The arguments of a run, from `-p name=value` to values."""

from __future__ import annotations

from flowc.plan import Plan

from .errors import InputError

__all__ = ["argument_texts", "argument_values", "changed_values"]


def argument_texts(given: tuple[str, ...]) -> dict[str, str]:
    """The text of each parameter. Raises InputError."""
    found: dict[str, str] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals:
            raise InputError(f"`-p {one}` has no value", help="write -p name=value")
        if name in found:
            raise InputError(f"the parameter `{name}` is given twice", place=f"-p {one}")
        found[name] = text
    return found


def changed_values(plan: Plan, texts: dict[str, str]) -> dict[str, object]:
    """The values that are given; the others stay as they were. Raises ArgumentError for what is wrong with any."""
    from flowrun.parameters import parse_argument  # start-up time, as in `session`

    kinds = {param.name: plan.types[param.type] for param in plan.params}
    return {name: parse_argument(name, text, kinds[name]) if name in kinds else text for name, text in texts.items()}


def argument_values(plan: Plan, texts: dict[str, str]) -> dict[str, object]:
    """The values of the arguments. Raises ArgumentError for what is wrong with any of them."""
    from flowrun.parameters import encode_arguments  # start-up time, as in `session`

    given = changed_values(plan, texts)
    encode_arguments(plan, given)
    return given
