"""std.flow: what a flow does to its environment."""

from __future__ import annotations

from typing import Any

from flowrun.operator import Context, Fail
from flowrun.variable_setting import VariableRefused, set_variable

__all__ = ["set_var"]


def set_var(name: str, value: Any, context: Context) -> None:
    """Sets a variable of the environment."""
    try:
        set_variable(name, value, by=f"{context.flow}.{context.step}")
    except VariableRefused as error:
        raise Fail(str(error)) from None
