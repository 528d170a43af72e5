"""Arguments of a task call, from the values of the node's inputs: of the declared types, whatever they come from.

An argument that is an input as it is is decoded from the input's bytes as the parameter's type. A constant is made
once. Anything else is evaluated, and the result held against the parameter's type. Of most calls every argument is an
input as it is (`passed_inputs`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from flowc.plan import Expr, Plan, TaskNode
from flowc.types import Type

from flowrun import expr, values

from .failures import TaskFailed, mismatch
from .given import Told
from .plain_values import reader

__all__ = ["Getter", "Inputs", "PassedInput", "argument_getters", "passed_inputs"]


class Inputs(Sequence[Any]):
    """The values of a node's inputs, decoded when they are asked for."""

    __slots__ = ("_decoded", "data", "fetch", "types")

    def __init__(self, data: Sequence[bytes], types: Sequence[Type], fetch: values.Fetch) -> None:
        self.data = data
        self.types = types
        self.fetch = fetch
        self._decoded: dict[int, Any] | None = None

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self.data)))

    def __getitem__(self, i: Any) -> Any:
        if self._decoded is None:
            self._decoded = {}
        if i not in self._decoded:
            self._decoded[i] = values.decode(self.data[i], self.types[i], self.fetch)
        return self._decoded[i]


#: gives the argument from the inputs
Getter = Callable[[Inputs], Any]


def argument_getters(plan: Plan, node: TaskNode, producers: Sequence[str], told: Told) -> list[tuple[str, Getter]]:
    """How each argument of a call is made. `producers` are the names of the steps that give the inputs; `told` has the
    secrets."""
    kinds = {param.name: plan.types[param.type] for param in plan.tasks[node.task].params}
    return [(name, _getter(name, value, kinds[name], producers, told)) for name, value in node.args]


def _getter(name: str, value: Expr, kind: Type, producers: Sequence[str], told: Told) -> Getter:
    if value[0] == "secret":
        return lambda inputs: told.secret(value[1])
    if value[0] == "in":
        return _input_getter(PassedInput(name, value[1], reader(kind), producers[value[1]]))
    if value[0] == "lit":
        constant = values.decode(values.encode(value[1]), kind, _nothing_stored)
        return lambda inputs: constant

    compute = expr.compile_expr(value)

    def evaluated(inputs: Inputs) -> Any:
        result = compute(expr.Env(inputs))
        try:
            return values.decode(values.encode(result), kind, inputs.fetch)
        except (values.TypeMismatch, values.NotSerialisable) as error:
            raise TaskFailed(mismatch(f"the argument `{name}`: {error}")) from None

    return evaluated


class PassedInput(NamedTuple):
    """An argument that is an input as it is."""

    #: the argument's
    name: str
    #: the input
    at: int
    #: gives the object from the input's bytes, as `values.decode` does
    read: Callable[[bytes, values.Fetch], Any]
    #: name of the step that gives the input, or ""
    producer: str

    def misfit(self, error: values.TypeMismatch) -> TaskFailed:
        """What becomes of a call whose input does not have the parameter's type."""
        source = f", which comes from `{self.producer}`" if self.producer else ""
        return TaskFailed(mismatch(f"the argument `{self.name}`{source}: {error}"))


def passed_inputs(plan: Plan, node: TaskNode, producers: Sequence[str]) -> list[PassedInput] | None:
    """The arguments of a call, if all are inputs as they are."""
    if any(value[0] != "in" for _, value in node.args):
        return None
    kinds = {param.name: plan.types[param.type] for param in plan.tasks[node.task].params}
    return [PassedInput(name, value[1], reader(kinds[name]), producers[value[1]]) for name, value in node.args]


def _input_getter(passed: PassedInput) -> Getter:
    def decoded(inputs: Inputs) -> Any:
        try:
            return passed.read(inputs.data[passed.at], inputs.fetch)
        except values.TypeMismatch as error:
            raise passed.misfit(error) from None

    return decoded


def _nothing_stored(digest: str) -> bytes:
    raise AssertionError(f"a literal refers to the blob {digest}")
