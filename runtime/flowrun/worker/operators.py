"""How a task runs, by its operator: a Python function, a shell command or SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flowc.plan import TaskDef
from flowc.types import Type

from flowrun.operator import NAMED, POSITIONAL, Context

from .failures import TaskFailed, mismatch
from .functions import Function, Functions

__all__ = ["Operate", "operator_of", "plain_function"]

#: runs the task on its arguments; the second gives the facts of the attempt. Gives the value, maybe an awaitable
Operate = Callable[[Mapping[str, Any], Callable[[], Context]], Any]


def operator_of(task: TaskDef, returns: Type | None, functions: Functions, root: Path) -> tuple[Operate, bool]:
    """How the task is run, and whether that blocks whoever calls it. Raises TaskFailed when the task's function cannot
    be had."""
    if task.operator == "python":
        return _python(task, functions)
    if task.operator == "shell":
        from .shell import shell_operator  # shell and SQL cost start-up time, and most executors need neither

        return shell_operator(task, returns), True
    from .sql import sql_operator

    return sql_operator(task, returns, root), True


def plain_function(task: TaskDef, functions: Functions) -> Function | None:
    """The function, if it is called with the task's arguments by their names and nothing else. Raises as
    `operator_of`."""
    if task.operator != "python" or _is_open(task):
        return None
    function = functions.get(task.target)
    return function if function.context is None else None


def _is_open(task: TaskDef) -> bool:
    return [param.name for param in task.params] == [POSITIONAL, NAMED]


def _python(task: TaskDef, functions: Functions) -> tuple[Operate, bool]:
    function = functions.get(task.target)
    call, context = function.call, function.context
    if _is_open(task):
        return _open(function), not function.is_async

    def operate(args: Mapping[str, Any], facts: Callable[[], Context]) -> Any:
        if function.wanted:
            args = {name: function.convert(name, value) for name, value in args.items()}
        if context is not None:
            return call(**args, **{context: facts()})
        return call(**args)

    return operate, not function.is_async


def _open(function: Function) -> Operate:
    """A call by position and by name, as Python has it: what a client submits that does not know the function."""
    import inspect  # few tasks are called so

    call, context = function.call, function.context
    signature = inspect.signature(call)

    def operate(args: Mapping[str, Any], facts: Callable[[], Context]) -> Any:
        known = {} if context is None else {context: facts()}
        try:
            bound = signature.bind(*args[POSITIONAL], **args[NAMED], **known)
        except TypeError as error:
            raise TaskFailed(mismatch(f"`{function.target}` does not take these arguments: {error}")) from None
        for name in bound.arguments.keys() - known.keys():
            if signature.parameters[name].kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
                bound.arguments[name] = function.convert(name, bound.arguments[name])
        return call(*bound.args, **bound.kwargs)

    return operate
