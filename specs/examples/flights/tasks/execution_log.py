"""Proof of what ran: `executions.log` in the output folder gets one line when a task starts, and one when it ends."""

import functools
import inspect
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def recorded(function: Callable[P, R]) -> Callable[P, R]:
    """Notes `<ms since 1970> <task> <facts as JSON> start|end|error`. The facts are the arguments that are numbers or names of things, not
    whole lists, so that a line stays a line. The wrapped function must have a parameter `out`."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs).arguments
        facts = {name: _short(value) for name, value in given.items() if name not in ("out", "ctx")}
        line = f"{function.__name__} {json.dumps(facts, sort_keys=True)}"
        _append(given["out"], f"{line} start")
        try:
            result = function(*args, **kwargs)
        except BaseException:
            _append(given["out"], f"{line} error")
            raise
        _append(given["out"], f"{line} end")
        return result

    return wrapper


def _short(value: object) -> object:
    """A value by which two calls of one task can be told apart."""
    if isinstance(value, dict):
        return value.get("name", sorted(value))
    if isinstance(value, list):
        return [_short(item) for item in value[:1]] + ([f"+{len(value) - 1}"] if len(value) > 1 else [])
    return value if isinstance(value, str | int | float | None) else str(value)


def _append(out: str, line: str) -> None:
    """One write of one line: appends of several processes do not mix."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / "executions.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, f"{round(time.time() * 1000)} {line}\n".encode())
    finally:
        os.close(file)
