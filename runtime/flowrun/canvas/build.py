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
from flowc.plan import Plan, StepSettings
from flowc.types import INT, JSON, NULL, ListOf, Type, text

from flowrun import where
from flowrun.client.client import read_plan
from flowrun.client.task_settings import TaskSettings
from flowrun.client.tasks import TaskSpec
from flowrun.parameters import ArgumentError

from .call_arguments import Given, arguments_of, known_arguments
from .drafts import Body, Deferred, Draft, Inside
from .points import Point
from .shapes import Argument, Column, Rows, described
from .signatures import Call, FlowCall, Items, Signature, chain, chord, group

__all__ = ["Shape", "build"]

#: the flow's name is not longer
_LONGEST = 80
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
    #: what stands before must have succeeded, whether its value is taken or not
    behind: tuple[ir.Rule, ...] = ()

    def into(self, options: Mapping[str, Any], errbacks: tuple[_Errback, ...]) -> _Down:
        """What holds for a signature by itself, too."""
        return self._replace(options={**self.options, **options}, errbacks=(*self.errbacks, *errbacks))

    def behind_first(self) -> _Down:
        return self._replace(options={k: value for k, value in self.options.items() if k not in _FIRST_ONLY})


def build(signature: Signature) -> Shape:
    """The plan of canvases like this one. Raises ArgumentError: types that do not fit, arguments that are missing."""
    return _Builder().build(signature)


class _Builder:
    def __init__(self) -> None:
        self._draft = Draft()

    def build(self, signature: Signature) -> Shape:
        found, draft, name = self._value(signature, None, _Down()), self._draft, _name(signature)
        plan = msgspec.structs.replace(draft.plan(name, found.kind, found.expr), code=where.code())
        data = plans.encode(plan)
        return Shape(
            flow=name, plan=plan, data=data, digest=plans.digest(data), arguments=tuple(draft.arguments),
            point=found.point, returns=found.returns, keeps=tuple(draft.flows.values()),
        )  # fmt: skip

    # ---- parts

    def _value(self, signature: Signature, given: Given | None, down: _Down) -> _Value:
        if isinstance(signature, chord):
            signature = signature.as_chain()
        with Deferred(self._draft) as deferred:  # arguments of error handlers come last, as `shapes` has them
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

    def _part(self, signature: Signature, given: Given | None, down: _Down) -> _Value:
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

    def _chain(self, signature: chain, given: Given | None, down: _Down) -> _Value:
        if not signature.tasks:
            raise ArgumentError("a chain has one task or more, and this one is empty")
        found: _Value | None = None
        header: tuple[int, ...] = ()
        last = len(signature.tasks) - 1
        for i, task in enumerate(signature.tasks):
            is_header = i < last and isinstance(task, group | chord)
            inner = (down if i == 0 else down.behind_first())._replace(header=header)
            if found is not None:
                inner = inner._replace(behind=(ir.Rule(rule="ok", steps=(found.step,)),))
            if is_header:
                inner = inner._replace(errbacks=())
            first = len(self._draft.steps)
            value = self._value(task, given, inner)
            header = self._draft.calls_from(first) if is_header else ()
            if found is not None:
                _first_of(value.point).parent = found.point
            found, given = value, Given(value.expr, value.kind, value.producer)
        assert found is not None
        return found

    def _group(self, signature: group, given: Given | None, down: _Down) -> _Value:
        if not signature.tasks:
            name = self._draft.step_name("group")
            self._draft.argument(Rows(name, ()), INT)  # their number, which is 0
            return self._nothing(name, down)
        if _are_alike(signature):
            return self._each(signature, given, down)
        found = [self._value(task, given, down) for task in signature.tasks]
        kinds = {value.kind for value in found}
        kind = ListOf(found[0].kind if len(kinds) == 1 else JSON)
        step = self._draft.id()
        self._draft.add(ir.ValueStep(
            id=step, name="", line=1, type=text(kind), value=["list", *(value.expr for value in found)]
        ))  # fmt: skip
        steps = tuple(name for value in found for name in value.point.steps)
        point = Point(members=tuple(value.point for value in found), steps=steps)
        return _Value(["ref", step], kind, "the group", point, step)

    def _nothing(self, name: str, down: _Down) -> _Value:
        """The list of no members, and what comes after it is called."""
        step = self._draft.id()
        self._draft.add(ir.ValueStep(id=step, name="", line=1, type="list<json>", value=["list"], after=down.behind))
        return _Value(["ref", step], ListOf(JSON), f"`{name}`", Point(members=()), step)

    def _each(self, signature: group, given: Given | None, down: _Down) -> _Value:
        """Members that are all alike: one body, called with a row of arguments each."""
        name = self._draft.step_name("group")
        body = Body(self._draft, name)
        with body:
            inner = self._value(signature.tasks[0], given, down._replace(behind=()))
        step, kind = body.each(inner.kind, inner.expr, down.behind)
        point = Point(step=name, each=inner.point, steps=inner.point.steps)
        return _Value(["ref", step], kind, f"`{name}`", point, step)

    def _map(self, signature: Items, down: _Down) -> _Value:
        name = self._draft.step_name(type(signature).__name__.removeprefix("x"))
        width = 1 if not signature.unpack else len(tuple(signature.items[0])) if signature.items else 0
        call = Call(signature.task, (None,) * width, {})
        if signature.unpack and not signature.items:
            self._draft.argument(Rows(name, ()), INT)
            if signature.size:
                self._draft.argument(Column(f"{name}.size", INT), INT)
            return self._nothing(name, down)
        body = Body(self._draft, name, chunked=bool(signature.size))
        with body:
            inner = self._call(call, None, down._replace(behind=()))
        step, kind = body.each(inner.kind, inner.expr, down.behind)
        return _Value(["ref", step], kind, f"`{name}`", Point(step=name, steps=(name,)), step)

    # ---- calls

    def _call(self, signature: Call, given: Given | None, down: _Down) -> _Value:
        spec = self._draft.spec(signature.task)
        name = self._draft.step_name(spec.name)
        args = arguments_of(self._draft, spec, name, signature, given)
        step, kind = self._draft.id(), NULL if spec.is_silent or spec.settings.drops_result else spec.result_kind
        self._draft.add(ir.CallStep(
            id=step, name=name, line=1, type=text(kind), task=self._draft.task(spec), args=args,
            after=down.behind if given is None else (),
            settings=self._draft.settings(spec.settings, down.options, spec),
        ))  # fmt: skip
        for errback in down.errbacks:
            self._errback(errback, step)
        return _Value(["ref", step], kind, f"`{name}`", Point(step=name, steps=(name,)), step, spec.returns)

    def _flow_call(self, signature: FlowCall, given: Given | None, down: _Down) -> _Value:
        plan = signature.plan if isinstance(signature.plan, Plan) else read_plan(signature.plan)
        name, key = self._draft.step_name(plan.flow), f"{plan.file}:{plan.flow}"
        if self._draft.flows.setdefault(key, plan) != plan:
            raise ArgumentError(f"two flows of this canvas are named `{key}`")
        empty = inspect.Parameter.empty
        params = {
            param.name: (plan.types[param.type], inspect.Parameter(
                "p", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=empty if param.required else None
            ))
            for param in plan.params
        }  # fmt: skip
        args = known_arguments(self._draft, plan.flow, params, name, signature, given)
        step, kind = self._draft.id(), NULL if plan.returns is None else plan.types[plan.returns]
        settings = self._draft.settings(TaskSettings(step=StepSettings()), down.options, None)
        self._draft.add(
            ir.ChildStep(
                id=step, name=name, line=1, type=text(kind), flow=key, args=args, settings=settings,
                after=down.behind if given is None else (),
            )
        )  # fmt: skip
        for errback in down.errbacks:
            self._errback(errback, step)
        return _Value(["ref", step], kind, f"`{name}`", Point(step=name, steps=(name,)), step)

    # ---- callbacks

    def _callback(self, link: Signature, found: _Value) -> Point:
        """Called with the result, once there is one."""
        value = self._draft.id()
        with Inside(self._draft) as inside:
            point = self._value(link, Given(["ref", value], found.kind, found.producer), _Down()).point
        self._draft.add(ir.WatchStep(
            id=self._draft.id(), name="", line=1, type="null", step=found.step, event="success", value_id=value,
            body=ir.Block(steps=tuple(inside.steps)),
        ))  # fmt: skip
        return point

    def _prepared(self, errback: Signature) -> _Errback:
        """An error handler, with its arguments. Raises ArgumentError."""
        if not isinstance(errback, Call) or errback.links or errback.errbacks:
            raise ArgumentError(f"an error handler is a single task without callbacks, and {errback!r} is none")
        spec = self._draft.spec(errback.task)
        name = f"on_error.{spec.name}"
        given = [self._draft.argument(Column(self._draft.step_name(name), JSON), JSON) for _ in errback.args]
        named = [
            [key, self._draft.argument(Column(self._draft.step_name(name), JSON), JSON)]
            for key in sorted(errback.kwargs)
        ]
        return _Errback(errback, spec, spec.name, {"given": ["list", *given], "named": ["record", named]})

    def _errback(self, errback: _Errback, step: int, also: tuple[int, ...] = ()) -> None:
        """Called with the failure, once there is one."""
        target, value = f"{errback.spec.target}.__flow_errback__", self._draft.id()
        if target not in self._draft.tasks:
            self._draft.tasks[target] = ir.Task(
                name=errback.name, operator="python", target=target, returns="json",
                params=tuple(ir.TaskParam(name=name, type="json") for name in ("failure", "given", "named")),
            )  # fmt: skip
        call = ir.CallStep(
            id=self._draft.id(), name=self._draft.step_name(errback.name), line=1, type="json", task=target,
            args={"failure": ["ref", value], **errback.args},
            settings=self._draft.settings(errback.spec.settings, errback.signature.options, errback.spec),
        )  # fmt: skip
        self._draft.add(ir.WatchStep(
            id=self._draft.id(), name="", line=1, type="null", step=step, also=also, event="failure", value_id=value,
            body=ir.Block(steps=(call,)),
        ))  # fmt: skip


# ---- what is needed of parts ----------------------------------------------------------------------------------------


def _are_alike(signature: group) -> bool:
    first, *rest = (described(task)[0] for task in signature.tasks)
    return all(key == first for key in rest)


def _first_of(point: Point) -> Point:
    """Where a chain begins that a point is the end of."""
    while point.parent is not None:
        point = point.parent
    return point


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
