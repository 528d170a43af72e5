"""Executes one unit of work: an attempt of a node, or one item of a range.

`Executions.prepare(item, digest)` takes a work item apart once, with what is known of its node already, and gives a
`Prepared`. Its `begin(index)` runs one unit and gives what the task returned, maybe an awaitable; its `end(value)`
checks and encodes that. `run` puts both together for a caller who can block. Whatever goes wrong becomes the unit's
`Ended`, never an exception. Most items of a step that is known need no preparation: `Executions.quick`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from flowc import plan as plans
from flowc.types import Optional, Type

from flowrun import expr, values, wire
from flowrun.messages import WorkItem
from flowrun.operator import DYNAMIC

from .arguments import Inputs
from .cache import Cached, note_hit
from .ended import NOTHING_RETURNED, Blobs, Ended, ended_by, stored, success
from .functions import Functions
from .given import Told
from .quick_call import QuickCall
from .ranges import item_parts, source_items
from .shared import SUCCESS
from .task_step import TaskStep, quick_call, task_step

__all__ = ["Blobs", "Call", "Ended", "Executions", "Prepared", "ended_by", "run"]


class Prepared(Protocol):
    """What the units of one work item share."""

    @property
    def env(self) -> Mapping[str, str]:
        """Environment variables that hold while a unit runs."""

    @property
    def blocks(self) -> bool:
        """`begin` may take its time: it does not only make a coroutine."""

    @property
    def soft(self) -> bool:
        """It has a soft time limit."""

    @property
    def step(self) -> str:
        """The name of the step, where it calls a task."""

    @property
    def blobs(self) -> Blobs:
        """Where large values are, and those that stand for calls."""

    def cached_as(self, index: int) -> Cached | None:
        """Where the value of the unit may be found before it runs; None: it always runs. May raise."""

    def begin(self, index: int) -> Any:
        """Runs the unit (its position in the range, or -1); gives its value, maybe as an awaitable. May raise."""

    def end(self, value: Any) -> Ended:
        """The value checked and encoded. May raise."""


def run(prepared: Prepared, index: int, wait: Callable[[Any], Any]) -> Ended:
    """One unit from begin to end; `wait` gives the result of an awaitable."""
    try:
        cached = prepared.cached_as(index)
        if cached is not None and (found := prepared.blobs.cached(cached.key)):
            note_hit(prepared.step)
            return Ended(SUCCESS, found)
        with _environment(prepared.env) if prepared.env else _NOTHING:
            value = prepared.begin(index)
            if hasattr(value, "__await__"):
                value = wait(value)
        ended = prepared.end(value)
        if cached is not None and ended.state == SUCCESS:
            prepared.blobs.keep(cached.key, ended.payload, cached.ttl_ms)
        return ended
    except BaseException as error:  # user code may raise anything, SystemExit and KeyboardInterrupt included
        return ended_by(error)


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

    #: plans that are kept: many, for what waits for its turn here needs its own
    ROOM = 1_024

    def __init__(self, root: Path, blobs: Blobs) -> None:
        self._functions = Functions(root)
        self._root = root
        self.blobs = blobs
        self._plans: dict[str, _PlanInUse] = {}
        #: secrets, and what the environment sets of connections
        self.told = Told()

    def add(self, digest: str, data: bytes) -> None:
        """Makes a plan known, from its canonical bytes. Raises PlanError."""
        known = self._plans.pop(digest, None)  # the one given last is dropped last
        self._plans[digest] = known or _PlanInUse(plans.decode(data))
        while len(self._plans) > self.ROOM:
            del self._plans[next(iter(self._plans))]

    def quick(self, item: WorkItem, digest: str) -> QuickCall | None:
        """What runs an item that needs no preparation, once another one of its step was prepared."""
        plan = self._plans.get(digest)
        step = None if plan is None else plan.steps.get((item.flow, item.block, item.node))
        return None if step is None else step.quick

    def prepare(self, item: WorkItem, digest: str, blobs: Blobs | None = None) -> Prepared:
        """Never raises: what is wrong becomes the failure of each unit. `blobs`: another store than the usual one."""
        blobs = blobs or self.blobs
        try:
            found = self._plans[digest]
            step = found.steps.get((item.flow, item.block, item.node))
            if step is not None:  # most often it is the same task again, with other inputs
                return Call(step.task, item, Inputs(item.inputs, step.types, blobs.get), blobs)
            plan = found.plan.children[item.flow] if item.flow else found.plan
            node = plan.blocks[item.block].nodes[item.node]
            types = _input_types(plan, item.block, node)
            inputs = Inputs(item.inputs, types, blobs.get)
            if isinstance(node, plans.ValueNode | plans.BranchNode):
                return _Expression(node, plan.types[node.type], inputs, blobs)
            if isinstance(node, plans.TaskNode):
                task = self._task(found, plan, item.flow, item.block, item.node)
                quick = quick_call(task, plan, item.block, item.node, self._functions)
                found.steps[item.flow, item.block, item.node] = _Step(task, types, quick)
                return Call(task, item, inputs, blobs)
            if isinstance(node, plans.ChildNode | plans.WaitNode):
                return _Arguments(node, inputs, blobs)
            assert isinstance(node, plans.EachNode), f"a {type(node).__name__} does not travel"
            if item.first < 0:
                return _Source(node, inputs, blobs)
            return self._range(found, plan, node, item, inputs, blobs)
        except BaseException as error:  # a module that is imported may raise anything
            return _Broken(error)

    def _range(
        self, found: _PlanInUse, plan: plans.Plan, node: plans.EachNode, item: WorkItem, whole: Inputs, blobs: Blobs
    ) -> Prepared:
        at, task = next((i, n) for i, n in enumerate(plan.blocks[node.body].nodes) if isinstance(n, plans.TaskNode))
        types = _input_types(plan, node.body, task)
        parts = item_parts(node, whole, item.first, item.last)
        captured = [item.inputs[i] for i in node.captures]

        def inputs(index: int) -> Inputs:
            params = parts(index) + captured
            return Inputs([params[i.node] for i in task.inputs], types, blobs.get)

        return _RangeCall(self._task(found, plan, item.flow, node.body, at), item, inputs, blobs)

    def _task(self, found: _PlanInUse, plan: plans.Plan, flow: str, block: int, node: int) -> TaskStep:
        key = (flow, block, node)
        if key not in found.tasks:
            found.tasks[key] = task_step(plan, block, node, self._functions, self._root, self.told)
        return found.tasks[key]


class _Step(NamedTuple):
    """A task node."""

    task: TaskStep
    #: of its inputs
    types: list[Type]
    quick: QuickCall | None


class _PlanInUse:
    """A plan, and what was used of it, by flow, block and node."""

    def __init__(self, plan: plans.Plan) -> None:
        self.plan = plan
        self.tasks: dict[tuple[str, int, int], TaskStep] = {}
        #: task nodes that are items by themselves
        self.steps: dict[tuple[str, int, int], _Step] = {}


def _input_types(plan: plans.Plan, block: int, node: plans.Node) -> list[Type]:
    nodes = plan.blocks[block].nodes
    kinds = [plan.types[nodes[given.node].type] for given in node.inputs]
    return [Optional(kind) if given.optional else kind for given, kind in zip(node.inputs, kinds, strict=True)]


class _Quick:
    """What has no function of the user's."""

    env: Mapping[str, str] = {}
    blocks = False
    soft = False
    step = ""
    blobs: Any = None

    def cached_as(self, index: int) -> Cached | None:
        return None


class _Broken(_Quick):
    """A work item that cannot be executed at all."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def begin(self, index: int) -> Any:
        raise self._error

    def end(self, value: Any) -> Ended:
        raise self._error


class _Expression(_Quick):
    """A ValueNode or a BranchNode."""

    def __init__(self, node: plans.ValueNode | plans.BranchNode, kind: Type, inputs: Inputs, blobs: Blobs) -> None:
        self._value = node.value if isinstance(node, plans.ValueNode) else node.selector
        self._kind = kind
        self._inputs = inputs
        self._blobs = blobs

    def begin(self, index: int) -> Any:
        return expr.evaluate(self._value, expr.Env(self._inputs))

    def end(self, value: Any) -> Ended:
        return success(values.check(value, self._kind), self._blobs)


class _Source(_Quick):
    """The items of an EachNode whose number only the content of a blob tells, as one list."""

    def __init__(self, node: plans.EachNode, inputs: Inputs, blobs: Blobs) -> None:
        self._node = node
        self._inputs = inputs
        self._blobs = blobs

    def begin(self, index: int) -> Any:
        return source_items(self._node, self._inputs)

    def end(self, value: Any) -> Ended:
        return success(value, self._blobs)


class _Arguments(_Quick):
    """The arguments of a ChildNode or a WaitNode as a map. Large ones are stored one by one, for the coordinator reads
    the map."""

    def __init__(self, node: plans.ChildNode | plans.WaitNode, inputs: Inputs, blobs: Blobs) -> None:
        self._args = node.args
        #: of a wait: that is only looked at, by who decides
        self._left_out = "show" if isinstance(node, plans.WaitNode) else ""
        self._inputs = inputs
        self._blobs = blobs

    def begin(self, index: int) -> Any:
        return [(name, self._argument(value)) for name, value in self._args if name != self._left_out]

    def _argument(self, value: plans.Expr) -> bytes:
        if value[0] == "in":
            return self._inputs.data[value[1]]
        return values.encode(expr.evaluate(value, expr.Env(self._inputs)))

    def end(self, value: Any) -> Ended:
        return Ended(SUCCESS, wire.make_map([(name, stored(data, self._blobs)) for name, data in value]))


class Call:
    """A call of a task."""

    __slots__ = ("_blobs", "_inputs", "_item", "_task")

    def __init__(self, task: TaskStep, item: WorkItem, inputs: Inputs, blobs: Blobs) -> None:
        self._task, self._item, self._inputs, self._blobs = task, item, inputs, blobs

    @property
    def env(self) -> Mapping[str, str]:
        return self._task.env

    @property
    def blocks(self) -> bool:
        return self._task.blocks

    @property
    def soft(self) -> bool:
        return self._task.soft

    @property
    def step(self) -> str:
        return self._task.name

    @property
    def blobs(self) -> Blobs:
        return self._blobs

    def inputs(self, index: int) -> Inputs:
        return self._inputs

    def cached_as(self, index: int) -> Cached | None:
        return None if self._task.cached_as is None else self._task.cached_as(self.inputs(index))

    def begin(self, index: int) -> Any:
        return self._task.call(self.inputs(index), self._item, index)

    def arguments(self, index: int) -> dict[str, Any]:
        """Of a call in a batch. May raise."""
        return self._task.made(self.inputs(index))

    def call_with(self, arguments: Mapping[str, Any], index: int) -> Any:
        """Calls the function with other arguments, for others too, with the facts of this one's attempt."""
        return self._task.operate(arguments, lambda: self._task.context(self._item, index, self.inputs(index)))

    def end(self, value: Any) -> Ended:
        if type(value) in DYNAMIC:
            return self._task.replaced(value, self._blobs)
        if self._task.returns is None:
            return NOTHING_RETURNED
        return success(self._task.checked(value), self._blobs)


class _RangeCall(Call):
    """Calls of a task, one per item of a range."""

    __slots__ = ("_of",)

    def __init__(self, task: TaskStep, item: WorkItem, inputs: Callable[[int], Inputs], blobs: Blobs) -> None:
        super().__init__(task, item, _NO_INPUTS, blobs)
        self._of = inputs

    def inputs(self, index: int) -> Inputs:
        return self._of(index)


_NO_INPUTS = Inputs((), (), lambda digest: b"")
