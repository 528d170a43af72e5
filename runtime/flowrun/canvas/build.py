"""From a signature to the IR: the same program that the checker makes of a `.flow` file, for the same lowering.

The walk gives each part its steps and says what its value is. A call is a `CallStep` whose arguments are the value of
what stands before it, and parameters of the flow. A chain is its parts in order. A group whose members are all alike is
an `EachStep` over one argument, and so are map, starmap and chunks; any other is its members and the list of their
values. What is called on success or failure is a `WatchStep`. What is said of a composite goes down to its parts: error
handlers to every call of it (behind a group, to the body, which handles the header's failures too), a countdown to its
first part, other options to all.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from flowc import ir
from flowc import plan as plans
from flowc.lower import lower
from flowc.plan import Plan, StepSettings
from flowc.types import INT, JSON, NULL, ListOf, Type, text

from flowrun.client.task_settings import TaskSettings, milliseconds
from flowrun.client.tasks import TaskSpec, spec_of
from flowrun.operator import NAMED, POSITIONAL
from flowrun.parameters import ArgumentError

from .options import call_settings
from .points import Point
from .shapes import Argument, Column, Rows, described
from .signatures import Call, FlowCall, Items, Signature, chain, chord, group

__all__ = ["Shape", "build"]

#: the flow's name is not longer
_LONGEST = 80
_FAILURE = "Failure"
_FIRST_ONLY = ("countdown", "eta")


class Shape(msgspec.Struct, kw_only=True, frozen=True):
    """Canvases that differ in their arguments only."""

    flow: str
    plan: Plan
    #: the plan's bytes, and their content hash
    data: bytes
    digest: str
    arguments: tuple[Argument, ...]
    point: Point
    #: the annotation that the result is converted to; None: it is given as plain data
    returns: Any = None
    #: flows that its key knows by their identity
    keeps: tuple[Any, ...] = ()


class _Value(NamedTuple):
    """What a part gives."""

    expr: ir.Expr
    kind: Type
    #: as messages name it
    producer: str
    point: Point
    #: the step that ends as the part does
    step: int
    #: annotation of the function that gives it; None: it is plain data
    returns: Any = None


class _Given(NamedTuple):
    """What stands before a part in a chain."""

    expr: ir.Expr
    kind: Type
    producer: str


class _Errback(NamedTuple):
    """An error handler, with its own arguments."""

    signature: Call
    spec: TaskSpec
    #: as messages name it
    name: str
    args: dict[str, ir.Expr]


class _Down(NamedTuple):
    """What composites say of their parts."""

    options: Mapping[str, Any] = {}
    errbacks: tuple[_Errback, ...] = ()
    #: the steps of the header that stands before: a failure there is one of the body
    header: tuple[int, ...] = ()

    def into(self, options: Mapping[str, Any], errbacks: tuple[_Errback, ...]) -> _Down:
        """What holds for a signature by itself, too."""
        return _Down({**self.options, **options}, (*self.errbacks, *errbacks), self.header)

    def behind_first(self) -> _Down:
        return self._replace(options={k: value for k, value in self.options.items() if k not in _FIRST_ONLY})


def build(signature: Signature) -> Shape:
    """The plan of canvases like this one. Raises ArgumentError: types that do not fit, arguments that are missing."""
    return _Builder().build(signature)


class _Builder:
    def __init__(self) -> None:
        self._ids = 0
        self._names: dict[str, int] = {}
        self._params: list[ir.Param] = []
        self._program_tasks: dict[str, ir.Task] = {}
        self._pools: dict[str, ir.Pool] = {}
        self._limits: dict[str, ir.Limit] = {}
        self._flows: dict[str, Plan] = {}
        self._specs: dict[Any, TaskSpec] = {}
        #: of the block that is filled
        self._steps: list[ir.Step] = []
        #: arguments of the flow; inside of a group whose members are alike, those of a member
        self._arguments: list[Argument] = []
        self._items: list[tuple[int, Type]] | None = None

    def build(self, signature: Signature) -> Shape:
        found = self._value(signature, None, _Down())
        name = _name(signature)
        flow = ir.Flow(
            name=name, file="", line=1, params=tuple(self._params), returns=text(found.kind), keeps_values=True,
            body=ir.Block(steps=tuple(self._steps), result=found.expr),
        )  # fmt: skip
        stubs = {key: _stub(plan) for key, plan in self._flows.items()}
        program = ir.Program(
            flows={"": flow, **stubs}, tasks=self._program_tasks, pools=self._pools, limits=self._limits
        )
        plan = self._with_flows(lower(program, ""))
        data = plans.encode(plan)
        return Shape(
            flow=name, plan=plan, data=data, digest=plans.digest(data), arguments=tuple(self._arguments),
            point=found.point, returns=found.returns, keeps=tuple(self._flows.values()),
        )  # fmt: skip

    def _with_flows(self, plan: Plan) -> Plan:
        """The compiled flows stand where their names stood."""
        children: dict[str, Plan] = {}
        for key, flow in self._flows.items():
            for name, inner in flow.children.items():
                if children.setdefault(name, inner) != inner:
                    raise ArgumentError(f"two flows of this canvas call different flows named `{name}`")
            children[key] = msgspec.structs.replace(flow, children={})
        return msgspec.structs.replace(plan, children=children) if children else plan

    # ---- parts

    def _value(self, signature: Signature, given: _Given | None, down: _Down) -> _Value:
        if isinstance(signature, chord):
            signature = signature.as_chain()
        with _Deferred(self) as deferred:  # arguments of error handlers come last, as `shapes` has them
            own = tuple(map(self._prepared, signature.errbacks))
        down = down.into(signature.options, own)
        if down.header:
            for errback in down.errbacks:
                self._errback(errback, down.header[0], down.header[1:])
            down = down._replace(header=())
        found = self._part(signature, None if signature.immutable else given, down)
        found.point.children += tuple(self._callback(link, found) for link in signature.links)
        deferred.take()
        return found

    def _part(self, signature: Signature, given: _Given | None, down: _Down) -> _Value:
        match signature:
            case Call():
                return self._call(signature, given, down)
            case FlowCall():
                return self._flow_call(signature, given, down)
            case chain():
                return self._chain(signature, given, down)
            case group():
                return self._group(signature, given, down)
            case Items():
                return self._map(signature, down)
        raise ArgumentError(f"{signature!r} is no signature")

    def _chain(self, signature: chain, given: _Given | None, down: _Down) -> _Value:
        if not signature.tasks:
            raise ArgumentError("a chain has one task or more, and this one is empty")
        found: _Value | None = None
        header: tuple[int, ...] = ()
        last = len(signature.tasks) - 1
        for i, task in enumerate(signature.tasks):
            is_header = i < last and isinstance(task, group | chord)
            inner = (down if i == 0 else down.behind_first())._replace(header=header)
            if is_header:
                inner = inner._replace(errbacks=())
            first = len(self._steps)
            value = self._value(task, given, inner)
            header = self._calls_from(first) if is_header else ()
            if found is not None:
                _first_of(value.point).parent = found.point
            found, given = value, _Given(value.expr, value.kind, value.producer)
        assert found is not None
        return found

    def _calls_from(self, first: int) -> tuple[int, ...]:
        """The steps from there on that can fail by themselves."""
        kinds = (ir.CallStep, ir.ChildStep, ir.EachStep)
        return tuple(step.id for step in self._steps[first:] if isinstance(step, kinds))

    def _group(self, signature: group, given: _Given | None, down: _Down) -> _Value:
        if not signature.tasks:
            return self._empty_group()
        if _are_alike(signature):
            return self._each(signature, given, down)
        found = [self._value(task, given, down) for task in signature.tasks]
        kinds = {value.kind for value in found}
        kind = ListOf(found[0].kind if len(kinds) == 1 else JSON)
        step = self._id()
        self._add(ir.ValueStep(
            id=step, name="", line=1, type=text(kind), value=["list", *(value.expr for value in found)]
        ))  # fmt: skip
        steps = tuple(name for value in found for name in value.point.steps)
        point = Point(members=tuple(value.point for value in found), steps=steps)
        return _Value(["ref", step], kind, "the group", point, step)

    def _empty_group(self) -> _Value:
        """Its value is [], and what comes after it is called."""
        name = self._step_name("group")
        self._argument(Rows(name, ()), INT)  # its length, which is 0
        step = self._id()
        self._add(ir.ValueStep(id=step, name="", line=1, type="list<json>", value=["list"]))
        return _Value(["ref", step], ListOf(JSON), "the group", Point(members=()), step)

    def _each(self, signature: group, given: _Given | None, down: _Down) -> _Value:
        """Members that are all alike: one body, called with a row of arguments each."""
        name = self._step_name("group")
        body = _Body(self, name)
        with body:
            inner = self._value(signature.tasks[0], given, down)
        return body.each(inner, (inner.point, None))

    def _map(self, signature: Items, down: _Down) -> _Value:
        name = self._step_name(type(signature).__name__.removeprefix("x"))
        width = 1 if not signature.unpack else len(tuple(signature.items[0])) if signature.items else 0
        call = Call(signature.task, (None,) * width, {})
        if signature.unpack and not signature.items:
            return self._empty_items(name, signature)
        body = _Body(self, name, chunked=bool(signature.size))
        with body:
            inner = self._call(call, None, down)
        return body.each(inner, (None, name))

    def _empty_items(self, name: str, signature: Items) -> _Value:
        self._argument(Rows(name, ()), INT)
        if signature.size:
            self._argument(Column(f"{name}.size", INT), INT)
        step = self._id()
        self._add(ir.ValueStep(id=step, name="", line=1, type="list<json>", value=["list"]))
        return _Value(["ref", step], ListOf(JSON), name, Point(step="", steps=()), step)

    # ---- calls

    def _call(self, signature: Call, given: _Given | None, down: _Down) -> _Value:
        spec = self._spec(signature.task)
        name = self._step_name(spec.name)
        args = self._arguments_of(spec, name, signature, given)
        step, kind = self._id(), _result_kind(spec)
        self._add(ir.CallStep(
            id=step, name=name, line=1, type=text(kind), task=self._task(spec), args=args,
            settings=self._settings(spec.settings, down.options, spec),
        ))  # fmt: skip
        for errback in down.errbacks:
            self._errback(errback, step)
        return _Value(["ref", step], kind, f"`{name}`", Point(step=name, steps=(name,)), step, spec.returns)

    def _spec(self, task: Any) -> TaskSpec:
        found = self._specs.get(task)
        if found is None:
            found = self._specs[task] = spec_of(task, {})
        return found

    def _arguments_of(self, spec: TaskSpec, step: str, signature: Any, given: _Given | None) -> dict[str, ir.Expr]:
        """The argument of each parameter: what stands before it comes first."""
        if spec.params is None:
            first = [] if given is None else [given.expr]
            listed = [self._argument(Column(f"{step}[{i}]", JSON), JSON) for i in range(len(signature.args))]
            named = [[name, self._argument(Column(f"{step}.{name}", JSON), JSON)] for name in sorted(signature.kwargs)]
            return {POSITIONAL: ["list", *first, *listed], NAMED: ["record", named]}
        kinds = {name: (spec.kinds[name], param) for name, param in spec.params.items()}
        return self._known_arguments(spec.name, kinds, step, signature, given)

    def _known_arguments(
        self, task: str, params: Mapping[str, tuple[Type, inspect.Parameter]], step: str, signature: Any,
        given: _Given | None,
    ) -> dict[str, ir.Expr]:  # fmt: skip
        positional = [name for name, (_, param) in params.items() if param.kind is not param.KEYWORD_ONLY]
        count = len(signature.args) + (given is not None)
        if count > len(positional):
            before = ", the value before it included" if given is not None else ""
            raise ArgumentError(f"`{task}` takes {len(positional)} arguments by position, not {count}{before}")
        names, found = positional[:count], {}
        if given is not None:
            name = names.pop(0)
            _refuse_misfit(task, name, params[name][0], given)
            found[name] = given.expr
        for name in (*names, *sorted(signature.kwargs)):
            if name not in params:
                has = ", ".join(f"`{known}`" for known in params)
                raise ArgumentError(f"`{task}` has no parameter `{name}`: it has {has or 'none'}")
            if name in found:
                raise ArgumentError(f"`{task}` was given `{name}` twice")
            found[name] = self._argument(Column(f"{step}.{name}", params[name][0]), params[name][0])
        missing = [
            f"`{name}`" for name, (_, param) in params.items() if param.default is param.empty and name not in found
        ]
        if missing:
            raise ArgumentError(f"`{task}` needs {', '.join(missing)}")
        return found

    def _task(self, spec: TaskSpec) -> str:
        """The key of a task. One that is called by its name only is another one than its function."""
        key = spec.target if spec.params is not None else f"{spec.target}(…)"
        if key not in self._program_tasks:
            params = [(POSITIONAL, "list<json>"), (NAMED, "map<json>")]
            if spec.params is not None:
                params = [(name, text(kind)) for name, kind in spec.kinds.items()]
            self._program_tasks[key] = ir.Task(
                name=spec.name, operator="python", target=spec.target,
                returns=None if spec.is_silent else text(spec.result_kind),
                params=tuple(ir.TaskParam(name=name, type=kind) for name, kind in params),
            )  # fmt: skip
        return key

    def _settings(self, settings: TaskSettings, options: Mapping[str, Any], spec: TaskSpec | None) -> ir.Settings:
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

    def _flow_call(self, signature: FlowCall, given: _Given | None, down: _Down) -> _Value:
        plan = signature.plan if isinstance(signature.plan, Plan) else _read(signature.plan)
        name, key = self._step_name(plan.flow), f"{plan.file}:{plan.flow}"
        if self._flows.setdefault(key, plan) != plan:
            raise ArgumentError(f"two flows of this canvas are named `{key}`")
        empty = inspect.Parameter.empty
        params = {
            param.name: (plan.types[param.type], inspect.Parameter(
                "p", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=empty if param.required else None
            ))
            for param in plan.params
        }  # fmt: skip
        args = self._known_arguments(plan.flow, params, name, signature, given)
        step, kind = self._id(), NULL if plan.returns is None else plan.types[plan.returns]
        settings = self._settings(TaskSettings(step=StepSettings()), down.options, None)
        self._add(ir.ChildStep(id=step, name=name, line=1, type=text(kind), flow=key, args=args, settings=settings))
        for errback in down.errbacks:
            self._errback(errback, step)
        return _Value(["ref", step], kind, f"`{name}`", Point(step=name, steps=(name,)), step)

    # ---- callbacks

    def _callback(self, link: Signature, found: _Value) -> Point:
        """Called with the result, once there is one."""
        value = self._id()
        with _Inside(self) as inside:
            point = self._value(link, _Given(["ref", value], found.kind, found.producer), _Down()).point
        self._add(ir.WatchStep(
            id=self._id(), name="", line=1, type="null", step=found.step, event="success", value_id=value,
            body=ir.Block(steps=tuple(inside.steps)),
        ))  # fmt: skip
        return point

    def _prepared(self, errback: Signature) -> _Errback:
        """An error handler, with its arguments. Raises ArgumentError."""
        if not isinstance(errback, Call) or errback.links or errback.errbacks:
            raise ArgumentError(f"an error handler is a single task without callbacks, and {errback!r} is none")
        spec = self._spec(errback.task)
        name = f"on_error.{spec.name}"
        given = [self._argument(Column(self._step_name(name), JSON), JSON) for _ in errback.args]
        named = [[key, self._argument(Column(self._step_name(name), JSON), JSON)] for key in sorted(errback.kwargs)]
        return _Errback(errback, spec, spec.name, {"given": ["list", *given], "named": ["record", named]})

    def _errback(self, errback: _Errback, step: int, also: tuple[int, ...] = ()) -> None:
        """Called with the failure, once there is one."""
        target, value = f"{errback.spec.target}.__flow_errback__", self._id()
        if target not in self._program_tasks:
            self._program_tasks[target] = ir.Task(
                name=errback.name, operator="python", target=target, returns="json",
                params=tuple(ir.TaskParam(name=name, type="json") for name in ("failure", "given", "named")),
            )  # fmt: skip
        call = ir.CallStep(
            id=self._id(), name=self._step_name(errback.name), line=1, type="json", task=target,
            args={"failure": ["ref", value], **errback.args},
            settings=self._settings(errback.spec.settings, errback.signature.options, errback.spec),
        )  # fmt: skip
        self._add(ir.WatchStep(
            id=self._id(), name="", line=1, type="null", step=step, also=also, event="failure", value_id=value,
            body=ir.Block(steps=(call,)),
        ))  # fmt: skip

    # ---- names, ids, arguments

    def _id(self) -> int:
        self._ids += 1
        return self._ids

    def _add(self, step: ir.Step) -> None:
        self._steps.append(step)

    def _step_name(self, base: str) -> str:
        number = self._names[base] = self._names.get(base, 0) + 1
        return base if number == 1 else f"{base}#{number}"

    def _argument(self, argument: Argument, kind: Type) -> ir.Expr:
        """A parameter of the flow, or a part of the item."""
        self._arguments.append(argument)
        id = self._id()
        if self._items is not None:
            self._items.append((id, kind))
        else:
            self._params.append(ir.Param(id=id, name=argument.name, type=text(kind)))
        return ["ref", id]


class _Deferred:
    """Arguments that are made meanwhile come after those that are made until `take`."""

    def __init__(self, builder: _Builder) -> None:
        self._builder = builder
        self._arguments: list[Argument] = []
        self._items: list[tuple[int, Type]] | None = None if builder._items is None else []

    def __enter__(self) -> _Deferred:
        builder = self._builder
        self._outer = builder._arguments, builder._items
        builder._arguments, builder._items = self._arguments, self._items
        return self

    def __exit__(self, *exc: object) -> None:
        self._builder._arguments, self._builder._items = self._outer

    def take(self) -> None:
        self._builder._arguments += self._arguments
        if self._builder._items is not None:
            self._builder._items += self._items or ()


class _Inside:
    """Steps that are added meanwhile stand in a block of their own."""

    def __init__(self, builder: _Builder) -> None:
        self._builder = builder
        self.steps: list[ir.Step] = []

    def __enter__(self) -> _Inside:
        self._outer, self._builder._steps = self._builder._steps, self.steps
        return self

    def __exit__(self, *exc: object) -> None:
        self._builder._steps = self._outer


class _Body:
    """The body of an `each`, whose items are rows of arguments."""

    def __init__(self, builder: _Builder, name: str, *, chunked: bool = False) -> None:
        self._builder, self._name, self._chunked = builder, name, chunked
        self._inside = _Inside(builder)
        self._columns: list[Argument] = []
        self._items: list[tuple[int, Type]] = []

    def __enter__(self) -> _Body:
        builder = self._builder
        self._inside.__enter__()
        self._outer = builder._arguments, builder._items
        builder._arguments, builder._items = self._columns, self._items
        return self

    def __exit__(self, *exc: object) -> None:
        self._inside.__exit__()
        self._builder._arguments, self._builder._items = self._outer

    def each(self, inner: _Value, shown: tuple[Point | None, str | None]) -> _Value:
        """The step over the items."""
        builder, columns = self._builder, tuple(self._columns)
        if not columns:
            counted = builder._argument(Rows(self._name, ()), INT)
            source: ir.Expr = ["call", "range", counted]
            self._items.append((builder._id(), INT))
            item: Type = INT
        else:
            item = self._items[0][1] if len(columns) == 1 else ListOf(JSON)
            source = builder._argument(Rows(self._name, columns), ListOf(item))
        kind: Type = ListOf(inner.kind)
        body = ir.Block(steps=tuple(self._inside.steps), result=inner.expr)
        step, name = builder._id(), self._name
        if self._chunked:
            size = builder._argument(Column(f"{name}.size", INT), INT)
            part = builder._id()
            one = self._step(step, builder._step_name(name), ["ref", part], kind, body)
            step, kind, outer = builder._id(), ListOf(kind), ListOf(item)
            builder._add(ir.EachStep(
                id=step, name=name, line=1, type=text(kind), source=["call", "chunk", source, size], items=(part,),
                item_types=(text(outer),), unpack=False, on_error="finish",
                body=ir.Block(steps=(one,), result=["ref", one.id]),
            ))  # fmt: skip
        else:
            builder._add(self._step(step, name, source, kind, body))
        point, _ = shown
        found = Point(step=name, steps=(name,)) if point is None else Point(step=name, each=point, steps=point.steps)
        return _Value(["ref", step], kind, f"`{name}`", found, step)

    def _step(self, id: int, name: str, source: ir.Expr, kind: Type, body: ir.Block) -> ir.EachStep:
        return ir.EachStep(
            id=id, name=name, line=1, type=text(kind), source=source, items=tuple(item for item, _ in self._items),
            item_types=tuple(text(item) for _, item in self._items), unpack=len(self._items) > 1, on_error="finish",
            body=body,
        )  # fmt: skip


# ---- what is needed of parts ----------------------------------------------------------------------------------------


def _are_alike(signature: group) -> bool:
    first, *rest = (described(task)[0] for task in signature.tasks)
    return all(key == first for key in rest)


def _first_of(point: Point) -> Point:
    """Where a chain begins that a point is the end of."""
    while point.parent is not None:
        point = point.parent
    return point


def _result_kind(spec: TaskSpec) -> Type:
    return NULL if spec.is_silent else spec.result_kind


def _refuse_misfit(task: str, parameter: str, wanted: Type, given: _Given) -> None:
    """Raises ArgumentError if a value can never be the argument of this parameter."""
    if given.kind == wanted or JSON in (given.kind, wanted):
        return
    from flowc.check.types import assignable  # takes long to import, and is seldom needed

    if not assignable(given.kind, wanted):
        raise ArgumentError(
            f"{given.producer} gives {text(given.kind)}, and `{task}` takes {text(wanted)} as its `{parameter}`"
        )


def _ir_settings(step: StepSettings, settings: TaskSettings, task: str) -> ir.Settings:
    fields = {name: getattr(step, name) for name in _COPIED}
    if step.retry is not None:
        fields["retry"] = ir.Retry(**msgspec.structs.asdict(step.retry))
    if step.pool is not None:
        fields["pool"] = settings.pools[step.pool].name
    if step.limit is not None:
        fields["limit"] = settings.limits[step.limit].name
    if step.concurrency is not None:
        key = None if settings.key is None else ["arg", settings.key]
        fields["concurrency"] = ir.Concurrency(
            limit=step.concurrency.limit, key=key, on_conflict=step.concurrency.on_conflict, task=task
        )
    return ir.Settings(**fields)


#: fields of settings that are the same in the plan and in the IR
_COPIED = ("queue", "priority", "slots", "timeout_ms", "deadline_ms", "expires_ms", "delay_ms", "at_ms",
           "soft_timeout_ms", "executor", "memory", "max_tasks_per_process", "env", "tags", "idempotent")  # fmt: skip


def _stub(plan: Plan) -> ir.Flow:
    """Stands for a compiled flow while its caller is lowered."""
    return ir.Flow(
        name=plan.flow, file=plan.file, line=1, params=(),
        returns=None if plan.returns is None else text(plan.types[plan.returns]), body=ir.Block(steps=()),
    )  # fmt: skip


def _read(path: Any) -> Plan:
    from flowrun.client.client import read_plan

    return read_plan(path)


def _name(signature: Signature) -> str:
    """How runs of it are listed."""
    found = _shown(signature)
    return found if len(found) <= _LONGEST else found[: _LONGEST - 1] + "…"


def _shown(signature: Signature) -> str:
    match signature:
        case Call():
            return signature.name
        case FlowCall():
            return "flow"
        case chord():
            return _shown(signature.as_chain())
        case chain():
            return f"chain({', '.join(map(_shown, signature.tasks))})"
        case group():  # of members that are alike, one stands for all: their number is no part of the shape
            return f"group({', '.join(dict.fromkeys(map(_shown, signature.tasks[:10])))})"
        case Items():
            task = signature.task
            return f"{task if isinstance(task, str) else task.name}.{type(signature).__name__.removeprefix('x')}"
    return ""
