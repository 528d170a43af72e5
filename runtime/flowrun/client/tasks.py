"""Single Python functions as runs: a function becomes a plan of one task, whose arguments are the run's inputs.

So one plan, stored once, serves all calls of a function that give the same parameters; a parameter that is left to its
default in Python has no place in the plan. A function with `*args`, `**kwargs` or positional-only parameters, and one
that is only named ("shop.mail:send": its code need not be here), has one plan for all calls, whose inputs are the list
of the positional arguments and the map of the others.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from flowc import plan as plans
from flowc.plan import Input, ParamDef, ParamNode, Plan, PlanBlock, StepSettings, TaskDef, TaskNode, TaskParamDef
from flowc.types import JSON, RUN, ListOf, MapOf, Type

from flowrun import values, where
from flowrun.operator import NAMED, POSITIONAL, Context, settings_of
from flowrun.parameters import ArgumentError, encode_argument, join_arguments

from .annotations import is_plain, plain_types, type_of
from .stored import Blobs
from .task_settings import TaskSettings, read_settings

__all__ = ["Shape", "TaskSpec", "spec_of"]

_encode = msgspec.msgpack.Encoder().encode
_OPEN: dict[str, Type] = {POSITIONAL: ListOf(JSON), NAMED: MapOf(JSON)}


class Shape:
    """The calls of a function that give these parameters: their plan, and how their arguments are encoded."""

    __slots__ = ("_kinds", "_parts", "data", "digest", "names")

    def __init__(self, plan: Plan, kinds: Mapping[str, Type]) -> None:
        self.names = tuple(kinds)
        #: the plan's bytes, and their content hash
        self.data = plans.encode(plan)
        self.digest = plans.digest(self.data)
        self._kinds = kinds
        #: of each argument: its place, its name, and the types of objects that travel as they are
        self._parts = [(place, name, plain_types(kind)) for place, (name, kind) in enumerate(kinds.items())]

    def encode(self, given: Sequence[Any]) -> tuple[bytes, Blobs]:
        """The `args` of a submission, and the blobs that it refers to; `given` in the order of the names. Raises
        ArgumentError."""
        found = {}
        for place, name, plain in self._parts:
            value = given[place]
            if type(value) not in plain:
                return self._encode_each(given)
            found[name] = value
        try:
            data = _encode(found)
        except (OverflowError, ValueError):  # told with the argument's name
            return self._encode_each(given)
        return (data, ()) if len(data) <= values.INLINE_LIMIT else self._encode_each(given)

    def _encode_each(self, given: Sequence[Any]) -> tuple[bytes, Blobs]:
        pairs = zip(self.names, given, strict=True)
        return join_arguments([(name, encode_argument(name, value, self._kinds[name])) for name, value in pairs])


class TaskSpec:
    """A function as it is submitted, with settings. Made by `spec_of`."""

    def __init__(self, target: str, params: Sequence[inspect.Parameter] | None, settings: TaskSettings) -> None:
        #: what workers look for: "shop.mail:send"
        self.target = target
        #: the function's own name
        self.name = target.rpartition(":")[2].rpartition(".")[2]
        self._settings = settings
        self._params = None if params is None else {param.name: param for param in params}
        self._kinds: dict[str, Type] = {name: type_of(param.annotation) for name, param in (self._params or {}).items()}
        #: what the result is converted to; None: it is given as plain data
        self.returns: Any = None
        #: the function gives nothing back
        self.is_silent = False
        #: the type that the annotation of its result means
        self.result_kind: Type = JSON
        self._positional = tuple(
            name for name, param in (self._params or {}).items() if param.kind is not param.KEYWORD_ONLY
        )
        self._shapes: dict[tuple[str, ...], Shape] = {}
        #: those of calls that name no argument, by the number of arguments
        self._unnamed: dict[int, Shape] = {}
        for setting, param in settings.keys.items():
            if self._params is None or param not in self._params:
                raise ArgumentError(f"`{self.name}` has no parameter `{param}` to be the key of its `{setting}`")

    @property
    def params(self) -> Mapping[str, inspect.Parameter] | None:
        """The parameters by name; None: it is called with any arguments."""
        return self._params

    @property
    def kinds(self) -> Mapping[str, Type]:
        """The types of its parameters."""
        return self._kinds

    @property
    def settings(self) -> TaskSettings:
        return self._settings

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Shape, Sequence[Any]]:
        """The shape of a call, and its arguments in the shape's order. Raises ArgumentError."""
        known = None if kwargs else self._unnamed.get(len(args))
        if known is not None:
            return known, args
        if self._params is None:
            return self._shape((POSITIONAL, NAMED), _OPEN), (list(args), kwargs)
        names = self._positional[: len(args)]
        if kwargs or len(names) < len(args):
            args, names = self._with_named(args, kwargs)
        shape = self._shapes.get(names)
        if shape is None:
            self._refuse_missing(names)
            shape = self._shape(names, {name: self._kinds[name] for name in names})
        if not kwargs:
            self._unnamed[len(args)] = shape
        return shape, args

    def _with_named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], tuple[str, ...]]:
        """All arguments in the order of their names, which come sorted, so that equal calls have equal plans."""
        assert self._params is not None
        if len(args) > len(self._positional):
            raise ArgumentError(f"`{self.name}` takes {len(self._positional)} arguments by position, not {len(args)}")
        names = self._positional[: len(args)]
        for name in kwargs:
            if name in names:
                raise ArgumentError(f"`{self.name}` was given `{name}` twice")
            if name not in self._params:
                has = ", ".join(f"`{known}`" for known in self._params)
                raise ArgumentError(f"`{self.name}` has no parameter `{name}`: it has {has or 'none'}")
        later = tuple(sorted(kwargs))
        return (*args, *(kwargs[name] for name in later)), (*names, *later)

    def _refuse_missing(self, names: tuple[str, ...]) -> None:
        assert self._params is not None
        missing = [name for name, param in self._params.items() if param.default is param.empty and name not in names]
        if missing:
            raise ArgumentError(f"`{self.name}` needs {', '.join(f'`{name}`' for name in missing)}")

    def _shape(self, names: tuple[str, ...], kinds: Mapping[str, Type]) -> Shape:
        shape = self._shapes.get(names)
        if shape is None:
            shape = self._shapes[names] = Shape(self._plan(kinds), kinds)
        return shape

    def _plan(self, kinds: Mapping[str, Type]) -> Plan:
        """A plan whose parameters are those of the call, and whose one step is the task."""
        settings, names = self._settings, tuple(kinds)
        types: tuple[Type, ...] = (RUN, JSON, *kinds.values())
        step = self._keyed(names)
        task = TaskDef(
            name=self.name, operator="python", target=self.target,
            returns=None if self.is_silent or settings.drops_result else 1,
            params=tuple(TaskParamDef(name=name, type=i) for i, name in enumerate(names, 2)),
        )  # fmt: skip
        node = TaskNode(
            name=self.name, type=1, task=0, settings=0, inputs=tuple(Input(i) for i in range(1, len(names) + 1)),
            args=tuple((name, ["in", i]) for i, name in enumerate(names)),
        )  # fmt: skip
        parameters = (ParamNode(type=0), *(ParamNode(type=i) for i in range(2, len(names) + 2)))
        return Plan(
            flow=self.target, file=self.target, returns=1, types=types, settings=(step,), tasks=(task,),
            params=tuple(ParamDef(name=name, type=i) for i, name in enumerate(names, 2)),
            blocks=(PlanBlock(nodes=(*parameters, node), params=len(parameters), result=len(parameters)),),
            pools=settings.pools, limits=settings.limits, version=plans.FORMAT, code=where.code(),
        )  # fmt: skip

    def _keyed(self, names: tuple[str, ...]) -> StepSettings:
        """The settings of the step, with keys over its inputs. Raises ArgumentError."""
        step, changes = self._settings.step, dict[str, Any]()
        for setting, param in self._settings.keys.items():
            if param not in names:
                raise ArgumentError(f"`{self.name}` needs `{param}`: it is the key of its `{setting}`")
            key: Any = ["in", names.index(param)]
            known = getattr(step, setting)
            changes[setting] = key if known is None else msgspec.structs.replace(known, key=key)
        return msgspec.structs.replace(step, **changes) if changes else step


def spec_of(task: Callable[..., Any] | str, given: Mapping[str, Any]) -> TaskSpec:
    """What is submitted for a function, or for "module:function". `given` are settings, which win over those of
    `@task(...)`. Raises ArgumentError."""
    if isinstance(task, str):
        where, colon, name = task.partition(":")
        if not (where and colon and name):
            raise ArgumentError(f'a task is a function or "module:function", and {task!r} is neither')
        return TaskSpec(task, None, read_settings(given))
    settings: dict[str, Any] = {**settings_of(task), **given}
    if inspect.iscoroutinefunction(task):
        settings.setdefault("executor", "async")
    spec = TaskSpec(_target(task), _parameters(task), read_settings(settings))
    returns = _hints(task).get("return", Any)
    spec.is_silent = returns is type(None)
    spec.result_kind = type_of(returns)
    spec.returns = None if is_plain(returns) else returns
    return spec


def _target(function: Callable[..., Any]) -> str:
    """What a worker finds the function by."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not callable(function) or not module or not name or isinstance(function, type):
        raise ArgumentError(f'a task is a function or "module:function", and {function!r} is neither')
    if "<" in name or inspect.ismethod(function):
        raise ArgumentError(f"workers cannot find `{name}`: a task is a function at the top level of a module")
    if module != "__main__":
        return f"{module}:{name}"
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None:  # python -m package.module
        return f"{spec.name.removesuffix('.__main__')}:{name}"
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is None:
        raise ArgumentError(f"workers cannot find `{name}`, which was typed in: put it into a module and import it")
    return f"{_relative(Path(file))}:{name}"


def _relative(file: Path) -> str:
    """A script as workers see it: relative to the project's folder, which is the current one."""
    path = file.resolve()
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else path.name


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:  # an annotation may name what is not there, or raise anything
        return {}


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """The parameters with their evaluated annotations, but for a Context; None: the call is open."""
    hints = _hints(function)
    found = []
    for param in inspect.signature(function).parameters.values():
        if param.kind in (param.VAR_POSITIONAL, param.VAR_KEYWORD, param.POSITIONAL_ONLY):
            return None
        annotation = hints.get(param.name, Any)
        if annotation is not Context:
            found.append(param.replace(annotation=annotation))
    return found
