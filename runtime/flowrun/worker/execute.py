"""Executes one unit of work: an attempt of a node, or one item of a range.

`Executions.prepare(item, digest)` takes a work item apart once: it finds the node, decodes what all its units share,
and gives a `Prepared`. Its `begin(index)` runs one unit and gives what the task returned, maybe an awaitable; its
`end(value)` checks and encodes that. `run` puts both together for a caller who can block. Whatever goes wrong becomes
the unit's `Ended`, never an exception.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import GeneratorType
from typing import Any, Protocol

import msgspec
from flowc import plan as plans
from flowc.types import Type

from flowrun import expr, values, wire
from flowrun.messages import Failure, WorkItem
from flowrun.operator import Context, Skip

from .arguments import Inputs, argument_getters
from .connections import connect_all
from .failures import MAX_MESSAGE, TaskFailed, cut, from_exception, mismatch, pack_failure
from .functions import Functions
from .logs import Mask
from .operators import Operate, operator_of
from .ranges import item_parts
from .shared import FAILED, SKIPPED, SUCCESS

__all__ = ["Blobs", "Ended", "Executions", "Prepared", "ended_by", "run"]


class Ended(msgspec.Struct, frozen=True):
    """How a unit ended."""

    #: SUCCESS, FAILED or SKIPPED of `shared`
    state: int
    #: the value's bytes; FAILED: a packed Failure
    payload: bytes


class Blobs(Protocol):
    """Where large values are. Both raise FlowError."""

    def get(self, digest: str) -> bytes: ...

    def put(self, digest: str, data: bytes) -> None: ...


class Prepared(Protocol):
    """What the units of one work item share."""

    #: environment variables that hold while a unit runs
    env: Mapping[str, str]

    def begin(self, index: int) -> Any:
        """Runs the unit (its position in the range, or -1); gives its value, maybe as an awaitable. May raise."""

    def end(self, value: Any) -> Ended:
        """The value checked and encoded. May raise."""


def run(prepared: Prepared, index: int, wait: Callable[[Awaitable[Any]], Any]) -> Ended:
    """One unit from begin to end; `wait` gives the result of an awaitable."""
    try:
        with _environment(prepared.env) if prepared.env else _NOTHING:
            value = prepared.begin(index)
            if hasattr(value, "__await__"):
                value = wait(value)
        return prepared.end(value)
    except BaseException as error:  # user code may raise anything, SystemExit and KeyboardInterrupt included
        return ended_by(error)


def ended_by(error: BaseException) -> Ended:
    """The end of a unit that raised."""
    if isinstance(error, Skip):
        return Ended(SKIPPED, wire.NULL)
    failure, mask = from_exception(error), Mask()
    failure = msgspec.structs.replace(failure, message=mask(failure.message), detail=mask(failure.detail))
    return Ended(FAILED, pack_failure(failure))


_NOTHING = nullcontext()


@contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in env}
    os.environ.update(env)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# ---- work items ----------------------------------------------------------------------------------------------------


class Executions:
    """The plans and functions that this process knows."""

    #: plans that are kept
    ROOM = 32

    def __init__(self, root: Path, blobs: Blobs) -> None:
        self.functions = Functions(root)
        self.root = root
        self.blobs = blobs
        self._plans: dict[str, plans.Plan] = {}

    def add(self, digest: str, data: bytes) -> None:
        """Makes a plan known, from its canonical bytes. Raises PlanError."""
        self._plans[digest] = plans.decode(data)
        while len(self._plans) > self.ROOM:
            del self._plans[next(iter(self._plans))]

    def prepare(self, item: WorkItem, digest: str) -> Prepared:
        """Never raises: what is wrong becomes the failure of each unit."""
        try:
            plan = self._plans[digest] = self._plans.pop(digest)  # the one used last is dropped last
            plan = plan.children[item.flow] if item.flow else plan
            node = plan.blocks[item.block].nodes[item.node]
            if isinstance(node, plans.EachNode):
                return self._range(plan, node, item)
            inputs = self._inputs(plan, item, node)
            if isinstance(node, plans.ValueNode | plans.BranchNode):
                return _Expression(node, plan.types[node.type], inputs, self.blobs)
            if isinstance(node, plans.TaskNode):
                return _Call(self, plan, node, item, _names(plan, item.block, node), lambda index: inputs)
            raise AssertionError(f"a {type(node).__name__} does not travel")
        except BaseException as error:  # a module that is imported may raise anything
            return _Broken(error)

    def _inputs(self, plan: plans.Plan, item: WorkItem, node: plans.Node) -> Inputs:
        nodes = plan.blocks[item.block].nodes
        return Inputs(item.inputs, [plan.types[nodes[i.node].type] for i in node.inputs], self.blobs.get)

    def _range(self, plan: plans.Plan, node: plans.EachNode, item: WorkItem) -> Prepared:
        body = plan.blocks[node.body]
        task = next(n for n in body.nodes if isinstance(n, plans.TaskNode))
        types = [plan.types[body.nodes[i.node].type] for i in task.inputs]
        parts = item_parts(node, self._inputs(plan, item, node), item.first, item.last)
        captured = [item.inputs[i] for i in node.captures]

        def inputs(index: int) -> Inputs:
            params = parts(index) + captured
            return Inputs([params[i.node] for i in task.inputs], types, self.blobs.get)

        return _Call(self, plan, task, item, _names(plan, node.body, task), inputs)


def _names(plan: plans.Plan, block: int, node: plans.Node) -> list[str]:
    return [plan.blocks[block].nodes[i.node].name for i in node.inputs]


class _Broken:
    """A work item that cannot be executed at all."""

    env: Mapping[str, str] = {}

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def begin(self, index: int) -> Any:
        raise self._error

    def end(self, value: Any) -> Ended:
        raise self._error


class _Expression:
    """A ValueNode or a BranchNode."""

    env: Mapping[str, str] = {}

    def __init__(self, node: plans.ValueNode | plans.BranchNode, kind: Type, inputs: Inputs, blobs: Blobs) -> None:
        self._value = node.value if isinstance(node, plans.ValueNode) else node.selector
        self._kind = kind
        self._inputs = inputs
        self._blobs = blobs

    def begin(self, index: int) -> Any:
        return expr.evaluate(self._value, expr.Env(self._inputs))

    def end(self, value: Any) -> Ended:
        return _success(values.check(value, self._kind), self._blobs)


class _Call:
    """A call of a task; of a range, one per item."""

    def __init__(
        self,
        shared: Executions,
        plan: plans.Plan,
        node: plans.TaskNode,
        item: WorkItem,
        producers: list[str],
        inputs: Callable[[int], Inputs],
    ) -> None:
        task = plan.tasks[node.task]
        self.env: Mapping[str, str] = dict(plan.settings[node.settings].env)
        self._plan, self._item, self._inputs, self._blobs = plan, item, inputs, shared.blobs
        self._step = node.name or task.name
        self._getters = argument_getters(plan, node, producers)
        self._returns = None if task.returns is None else plan.types[task.returns]
        self._uses = tuple(plan.connections[i] for i in task.uses)
        self._operate: Operate = operator_of(task, self._returns, shared.functions, shared.root)

    def begin(self, index: int) -> Any:
        inputs = self._inputs(index)
        return self._operate({name: get(inputs) for name, get in self._getters}, lambda: self._context(index))

    def end(self, value: Any) -> Ended:
        if self._returns is None:
            return _NOTHING_RETURNED
        if type(value) is GeneratorType:
            value = list(value)
        try:
            return _success(values.check(value, self._returns), self._blobs)
        except values.TypeMismatch as error:
            raise TaskFailed(mismatch(f"the result of `{self._step}` does not have its type: {error}")) from None
        except values.NotSerialisable as error:
            message = cut(f"the result of `{self._step}`: {error}", MAX_MESSAGE)
            raise TaskFailed(Failure("NotSerialisable", message, retryable=False)) from None

    def _context(self, index: int) -> Context:
        item = self._item
        return Context(
            run=item.run,
            flow=self._plan.flow,
            step=self._step,
            index=None if index < 0 else index,
            attempt=item.attempt,
            attempt_id=item.id if index < 0 else f"{item.id}/{index}",
            connections=connect_all(self._uses),
        )


_NOTHING_RETURNED = Ended(SUCCESS, wire.NULL)


def _success(data: bytes, blobs: Blobs) -> Ended:
    data, stored = wire.externalise(data)
    if stored is not None:
        blobs.put(*stored)
    return Ended(SUCCESS, data)
