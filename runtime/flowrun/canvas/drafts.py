"""A program while a canvas is made into it: its steps, parameters, tasks and resources, and at last its plan.

An argument of the canvas becomes a parameter of the flow; inside of a group whose members are alike (`Body`), a part of
the item, which is a row of the members' arguments. The arguments are kept in the order in which `shapes` takes them out
of a signature.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from flowc import ir
from flowc.lower import lower
from flowc.plan import Plan, StepSettings
from flowc.types import INT, JSON, ListOf, Type, text

from flowrun.client.task_settings import TaskSettings, milliseconds
from flowrun.client.tasks import TaskSpec, spec_of
from flowrun.operator import NAMED, POSITIONAL
from flowrun.parameters import ArgumentError

from .options import call_settings
from .shapes import Argument, Column, Rows

__all__ = ["Body", "Deferred", "Draft", "Inside"]

#: settings that are not the same in the plan and in the IR
_APART = frozenset(
    {"pool", "limit", "retry", "concurrency", "batch", "cache", "idempotency_key", "sla", "updates", "reads"}
)


class Draft:
    def __init__(self) -> None:
        #: of the block that is filled
        self.steps: list[ir.Step] = []
        #: arguments of the flow; inside of a group whose members are alike, those of a member
        self.arguments: list[Argument] = []
        #: ids and types of the parts of the item, inside of such a group
        self.items: list[tuple[int, Type]] | None = None
        #: compiled flows, by the key that the plan has for them
        self.flows: dict[str, Plan] = {}
        self.tasks: dict[str, ir.Task] = {}
        self._ids = 0
        self._names: dict[str, int] = {}
        self._params: list[ir.Param] = []
        self._pools: dict[str, ir.Pool] = {}
        self._limits: dict[str, ir.Limit] = {}
        self._specs: dict[Any, TaskSpec] = {}

    # ---- names, ids, arguments

    def id(self) -> int:
        self._ids += 1
        return self._ids

    def add(self, step: ir.Step) -> None:
        self.steps.append(step)

    def step_name(self, base: str) -> str:
        """A name that no other step has."""
        number = self._names[base] = self._names.get(base, 0) + 1
        return base if number == 1 else f"{base}#{number}"

    def argument(self, argument: Argument, kind: Type) -> ir.Expr:
        """A parameter of the flow, or a part of the item."""
        self.arguments.append(argument)
        id = self.id()
        if self.items is not None:
            self.items.append((id, kind))
        else:
            self._params.append(ir.Param(id=id, name=argument.name, type=text(kind)))
        return ["ref", id]

    def calls_from(self, first: int) -> tuple[int, ...]:
        """The steps of the block, from there on, that can fail by themselves."""
        kinds = (ir.CallStep, ir.ChildStep, ir.EachStep)
        return tuple(step.id for step in self.steps[first:] if isinstance(step, kinds))

    # ---- tasks

    def spec(self, task: Any) -> TaskSpec:
        """What is known of a task. Raises ArgumentError."""
        found = self._specs.get(task)
        if found is None:
            found = self._specs[task] = spec_of(task, {})
        return found

    def task(self, spec: TaskSpec) -> str:
        """The key of a task. One that is called by its name only is another one than its function."""
        key = spec.target if spec.params is not None else f"{spec.target}(…)"
        if key not in self.tasks:
            params = [(POSITIONAL, "list<json>"), (NAMED, "map<json>")]
            if spec.params is not None:
                params = [(name, text(kind)) for name, kind in spec.kinds.items()]
            self.tasks[key] = ir.Task(
                name=spec.name, operator="python", target=spec.target,
                returns=None if spec.is_silent else text(spec.result_kind),
                params=tuple(ir.TaskParam(name=name, type=kind) for name, kind in params),
            )  # fmt: skip
        return key

    def settings(self, settings: TaskSettings, options: Mapping[str, Any], spec: TaskSpec | None) -> ir.Settings:
        """Those of a task, and over them the options of a call. Raises ArgumentError."""
        step = settings.step
        changed = call_settings(options, milliseconds)
        if changed:
            step = msgspec.structs.replace(step, **changed)
        for pool in settings.pools:
            self._pools[pool.name] = ir.Pool(name=pool.name, slots=pool.slots)
        for limit in settings.limits:
            self._limits[limit.name] = ir.Limit(
                name=limit.name, rate=limit.rate, per_ms=limit.per_ms, burst=limit.burst
            )  # fmt: skip
        return _ir_settings(step, settings, "" if spec is None else spec.target)

    # ---- the plan

    def plan(self, name: str, returns: Type, result: ir.Expr) -> Plan:
        """Raises ArgumentError where flows of the same name differ."""
        flow = ir.Flow(
            name=name, file="", line=1, params=tuple(self._params), returns=text(returns), keeps_values=True,
            body=ir.Block(steps=tuple(self.steps), result=result),
        )  # fmt: skip
        stubs = {key: _stub(plan) for key, plan in self.flows.items()}
        program = ir.Program(flows={"": flow, **stubs}, tasks=self.tasks, pools=self._pools, limits=self._limits)
        return self._with_flows(lower(program, ""))

    def _with_flows(self, plan: Plan) -> Plan:
        """The compiled flows stand where their names stood."""
        children: dict[str, Plan] = {}
        for key, flow in self.flows.items():
            for name, inner in flow.children.items():
                if children.setdefault(name, inner) != inner:
                    raise ArgumentError(f"two flows of this canvas call different flows named `{name}`")
            children[key] = msgspec.structs.replace(flow, children={})
        return msgspec.structs.replace(plan, children=children) if children else plan


class Deferred:
    """Arguments that are made meanwhile come after those that are made until `take`."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._arguments: list[Argument] = []
        self._items: list[tuple[int, Type]] | None = None if draft.items is None else []

    def __enter__(self) -> Deferred:
        draft = self._draft
        self._outer = draft.arguments, draft.items
        draft.arguments, draft.items = self._arguments, self._items
        return self

    def __exit__(self, *exc: object) -> None:
        self._draft.arguments, self._draft.items = self._outer

    def take(self) -> None:
        self._draft.arguments += self._arguments
        if self._draft.items is not None:
            self._draft.items += self._items or ()


class Inside:
    """Steps that are added meanwhile stand in a block of their own."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self.steps: list[ir.Step] = []

    def __enter__(self) -> Inside:
        self._outer, self._draft.steps = self._draft.steps, self.steps
        return self

    def __exit__(self, *exc: object) -> None:
        self._draft.steps = self._outer


class Body:
    """The body of an `each`, whose items are rows of arguments."""

    def __init__(self, draft: Draft, name: str, *, chunked: bool = False) -> None:
        self._draft, self._name, self._chunked = draft, name, chunked
        self._inside = Inside(draft)
        self._columns: list[Argument] = []
        self._items: list[tuple[int, Type]] = []

    def __enter__(self) -> Body:
        draft = self._draft
        self._inside.__enter__()
        self._outer = draft.arguments, draft.items
        draft.arguments, draft.items = self._columns, self._items
        return self

    def __exit__(self, *exc: object) -> None:
        self._inside.__exit__()
        self._draft.arguments, self._draft.items = self._outer

    def each(self, kind: Type, result: ir.Expr, after: tuple[ir.Rule, ...]) -> tuple[int, Type]:
        """The step over the items, and its type; `kind` and `result` are those of an item."""
        draft, columns = self._draft, tuple(self._columns)
        if not columns:
            counted = draft.argument(Rows(self._name, ()), INT)
            source: ir.Expr = ["call", "range", counted]
            self._items.append((draft.id(), INT))
            item: Type = INT
        else:
            item = self._items[0][1] if len(columns) == 1 else ListOf(JSON)
            source = draft.argument(Rows(self._name, columns), ListOf(item))
        kind = ListOf(kind)
        body = ir.Block(steps=tuple(self._inside.steps), result=result)
        step, name = draft.id(), self._name
        if self._chunked:
            size = draft.argument(Column(f"{name}.size", INT), INT)
            part = draft.id()
            one = self._step(step, draft.step_name(name), ["ref", part], kind, body)
            step, kind, outer = draft.id(), ListOf(kind), ListOf(item)
            draft.add(ir.EachStep(
                id=step, name=name, line=1, type=text(kind), source=["call", "chunk", source, size], items=(part,),
                item_types=(text(outer),), unpack=False, on_error="finish", after=after,
                body=ir.Block(steps=(one,), result=["ref", one.id]),
            ))  # fmt: skip
        else:
            draft.add(self._step(step, name, source, kind, body, after))
        return step, kind

    def _step(
        self, id: int, name: str, source: ir.Expr, kind: Type, body: ir.Block, after: tuple[ir.Rule, ...] = ()
    ) -> ir.EachStep:
        return ir.EachStep(
            id=id, name=name, line=1, type=text(kind), source=source, items=tuple(item for item, _ in self._items),
            item_types=tuple(text(item) for _, item in self._items), unpack=len(self._items) > 1, on_error="finish",
            body=body, after=after,
        )  # fmt: skip


def _ir_settings(step: StepSettings, settings: TaskSettings, task: str) -> ir.Settings:
    fields = {name: getattr(step, name) for name in StepSettings.__struct_fields__ if name not in _APART}
    if step.retry is not None:
        fields["retry"] = ir.Retry(**msgspec.structs.asdict(step.retry))
    if step.pool is not None:
        fields["pool"] = settings.pools[step.pool].name
    if step.limit is not None:
        fields["limit"] = settings.limits[step.limit].name
    if step.batch is not None:
        fields["batch"] = ir.Batch(**msgspec.structs.asdict(step.batch))
    if step.cache is not None:
        fields["cache"] = ir.Cache(ttl_ms=step.cache.ttl_ms, key=_key(settings.cache_key))
    fields["idempotency_key"] = _key(settings.idempotency_key)
    fields["ignore_result"] = settings.drops_result
    if step.concurrency is not None:
        key = None if settings.key is None else ["arg", settings.key]
        fields["concurrency"] = ir.Concurrency(
            limit=step.concurrency.limit, key=key, on_conflict=step.concurrency.on_conflict, task=task
        )
    return ir.Settings(**fields)


def _key(parameter: str | None) -> ir.Key | None:
    """What tells calls of a task apart."""
    return None if parameter is None else ir.Key(expr=["arg", parameter], of_task=True)


def _stub(plan: Plan) -> ir.Flow:
    """Stands for a compiled flow while its caller is lowered."""
    return ir.Flow(
        name=plan.flow, file=plan.file, line=1, params=(),
        returns=None if plan.returns is None else text(plan.types[plan.returns]), body=ir.Block(steps=()),
    )  # fmt: skip
