"""A call of a task in a plan: what is the same for every attempt and every item of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import GeneratorType
from typing import Any

import msgspec
from flowc.plan import ConnectionDef, Expr, Plan, TaskNode
from flowc.types import JSON, Type

from flowrun import expr, values
from flowrun.messages import Failure, WorkItem
from flowrun.operator import Context, Extend, Replace

from .arguments import Getter, Inputs, argument_getters, passed_inputs
from .cache import Cached, cached_as
from .connections import connect_all
from .ended import Blobs, Ended
from .failures import MAX_MESSAGE, TaskFailed, cut, mismatch
from .functions import Functions
from .given import Told
from .operators import Operate, operator_of, plain_function
from .plain_values import writer
from .quick_call import QuickCall

__all__ = ["TaskStep", "quick_call", "task_step"]


class TaskStep(msgspec.Struct, frozen=True, kw_only=True):
    """How one task node is executed."""

    flow: str
    #: the step's name
    name: str
    #: environment variables that hold while it runs
    env: Mapping[str, str]
    #: how each argument is made
    arguments: list[tuple[str, Getter]]
    #: type of the result, or None: it is dropped
    returns: Type | None
    connections: tuple[ConnectionDef, ...]
    operate: Operate
    #: calling it may take its time, for it is no `async def`
    blocks: bool
    #: it has a soft time limit
    soft: bool
    #: the result as bytes, as `values.check` gives them
    write: Callable[[Any], bytes]
    #: what the setting gives; None: the id of the step
    idempotency_key: Callable[[Inputs], Any] | None
    #: where the value of a call may be found; None: it always runs
    cached_as: Callable[[Inputs], Cached] | None
    #: those that this process has imported
    functions: Functions
    #: secrets, and what the environment sets of connections
    told: Told

    def call(self, inputs: Inputs, item: WorkItem, index: int) -> Any:
        """Runs one unit (its position in a range, or -1). Raises whatever the task does."""
        return self.operate(self.made(inputs), lambda: self.context(item, index, inputs))

    def made(self, inputs: Inputs) -> dict[str, Any]:
        """The arguments of a call. May raise."""
        return {name: get(inputs) for name, get in self.arguments}

    def replaced(self, value: Replace | Extend, blobs: Blobs) -> Ended:
        """The end of a unit that gave no value, but what replaces it, or adds members to its group. Raises TaskFailed
        where that cannot be."""
        from .replacing import replaced  # few tasks do; the compiler is loaded for it

        return replaced(value, self, blobs)

    def checked(self, value: Any) -> bytes:
        """A result as bytes. Raises TaskFailed when it does not have its type or cannot be stored."""
        if type(value) is GeneratorType:
            value = list(value)
        try:
            return self.write(value)
        except values.TypeMismatch as error:
            raise TaskFailed(mismatch(f"the result of `{self.name}` does not have its type: {error}")) from None
        except values.NotSerialisable as error:
            message = cut(f"the result of `{self.name}`: {error}", MAX_MESSAGE)
            raise TaskFailed(Failure("NotSerialisable", message, retryable=False)) from None

    def context(self, item: WorkItem, index: int, inputs: Inputs) -> Context:
        if self.idempotency_key is not None:
            key = str(self.idempotency_key(inputs))
        else:
            key = f"{item.run}/{item.scope}/{item.node}" + (f"/{index}" if index >= 0 else "")
        return Context(
            run=item.run,
            flow=self.flow,
            step=self.name,
            index=item.index_of(index),
            attempt=item.attempt,
            attempt_id=item.id if index < 0 else f"{item.id}/{index}",
            connections=connect_all(self.connections, self.told),
            idempotency_key=key,
        )


def task_step(plan: Plan, block: int, at: int, functions: Functions, root: Path, told: Told) -> TaskStep:
    """The task node at a place of a plan. Raises TaskFailed when the task's function cannot be had."""
    nodes = plan.blocks[block].nodes
    node = nodes[at]
    assert isinstance(node, TaskNode), node
    task = plan.tasks[node.task]
    returns = None if task.returns is None else plan.types[task.returns]
    operate, blocks = operator_of(task, returns, functions, root)
    settings = plan.settings[node.settings]
    arguments = argument_getters(plan, node, [nodes[i.node].name for i in node.inputs], told)
    return TaskStep(
        flow=plan.flow,
        name=node.name or task.name,
        env=dict(settings.env),
        arguments=arguments,
        returns=returns,
        connections=tuple(plan.connections[i] for i in task.uses),
        operate=operate,
        blocks=blocks,
        soft=settings.soft_timeout_ms is not None,
        write=writer(JSON if returns is None else returns),
        functions=functions,
        told=told,
        idempotency_key=None if settings.idempotency_key is None else _evaluated(settings.idempotency_key),
        cached_as=None if settings.cache is None else cached_as(settings.cache, task, returns, arguments),
    )


def _evaluated(value: Expr) -> Callable[[Inputs], Any]:
    compute = expr.compile_expr(value)
    return lambda inputs: compute(expr.Env(inputs))


def quick_call(step: TaskStep, plan: Plan, block: int, at: int, functions: Functions) -> QuickCall | None:
    """The same step for units of which nothing but their inputs matters; None: more does."""
    nodes = plan.blocks[block].nodes
    node = nodes[at]
    assert isinstance(node, TaskNode), node
    function = plain_function(plan.tasks[node.task], functions)
    arguments = passed_inputs(plan, node, [nodes[i.node].name for i in node.inputs])
    if function is None or arguments is None or step.env or step.cached_as is not None:
        return None
    write = None if step.returns is None else writer(step.returns, step.checked)
    return QuickCall(function, arguments, write, step.replaced)
