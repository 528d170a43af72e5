"""Submits signatures. One call of a task is a run of that task, as `Client.submit_task` makes it; anything else is a
run of the plan that `build` makes, once per shape."""

from __future__ import annotations

import datetime as dt
from collections.abc import Hashable, Mapping
from typing import Any

from flowrun.client.prepared import Prepared
from flowrun.client.tasks import TaskSpec, spec_of

from .app import App, current_app
from .options import checked_call, moment_ms
from .points import Point
from .results import Source, result_of
from .shapes import described, encoded
from .signatures import Call, Signature, chain, chord, group
from .tasks import Task

__all__ = ["prepared", "send", "shape_of"]

#: shapes, and tasks, that are kept
_MOST_KEPT = 1_000
_shapes: dict[Hashable, Any] = {}
_specs: dict[Any, TaskSpec] = {}
#: options of a call that are those of the run if all of the run is that call
_OF_RUN = {"countdown": "delay", "eta": "at", "expires": "expires", "priority": "priority"}


def prepared(signature: Signature) -> Prepared:
    """What a client submits. Raises ArgumentError."""
    return _prepared(signature)[0]


def _prepared(signature: Signature) -> tuple[Prepared, Point]:
    if type(signature) is Call and not (signature.links or signature.errbacks):
        return _single(signature)
    shape, given = shape_of(signature)
    args, blobs = encoded(shape.arguments, given)
    return Prepared(shape.flow, shape.digest, shape.data, args, blobs, shape.returns), shape.point


def shape_of(signature: Signature) -> tuple[Any, list[Any]]:
    """The shape of a canvas, and its arguments. Raises ArgumentError."""
    key, given = described(signature)
    shape = _shapes.get(key)
    if shape is None:
        from .build import build  # the compiler is loaded when a shape is new

        shape = _keep(_shapes, key, build(signature))
    return shape, given


def _single(signature: Call) -> tuple[Prepared, Point]:
    """A run of one task."""
    spec = _spec(signature)
    shape, given = spec.call(signature.args, signature.kwargs)
    args, blobs = shape.encode(given)
    point = Point(step=spec.name, steps=(spec.name,))
    return Prepared(
        spec.target, shape.digest, shape.data, args, blobs, spec.returns, _run_options(signature.options)
    ), point


def _spec(signature: Call) -> TaskSpec:
    own = {name: value for name, value in signature.options.items() if name not in _OF_RUN}
    key = (signature.task, *sorted(own.items())) if own else signature.task
    found = _specs.get(key)
    if found is None:
        names = {"time_limit": "timeout", "soft_time_limit": "soft_timeout"}
        found = spec_of(signature.task, {names.get(name, name): value for name, value in own.items()})
        _keep(_specs, key, found)
    return found


def _keep(table: dict[Any, Any], key: Hashable, value: Any) -> Any:
    table[key] = value
    while len(table) > _MOST_KEPT:
        del table[next(iter(table))]
    return value


def _run_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a call as those of a submission."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name not in _OF_RUN:
            continue
        if name == "eta" or (name == "expires" and isinstance(value, dt.datetime)):
            value = dt.datetime.fromtimestamp(moment_ms(name, value) / 1000, dt.UTC)
        elif name == "priority":
            value = min(value, 9)
        found[_OF_RUN[name]] = value
    return found


# ---- apply_async ----------------------------------------------------------------------------------------------------


def send(signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: dict[str, Any]) -> Any:
    """Submits it, with arguments and options added; gives what its result will be found by."""
    if args or kwargs:
        signature = signature.bound(args, kwargs)
    app = _app_of(signature)
    task_id, is_ignored = options.pop("task_id", None), options.pop("ignore_result", None)
    submission: dict[str, Any] = {}
    if options:
        submission = _run_options(checked_call({name: options.pop(name) for name in _OF_RUN if name in options}))
        signature = signature.copied().set(**options)
    if app.conf.task_always_eager:
        from .eager import apply  # tests of programs do

        return apply(signature)
    signature = app.routed(signature)
    made, point = _prepared(signature)
    if task_id is not None:
        submission["run"] = task_id
    made = made._replace(options={**made.options, **submission})
    run = app.client.submit(_Made(made))
    if is_ignored is None:
        is_ignored = isinstance(signature, Call) and isinstance(signature.task, Task) and signature.task.ignore_result
    return result_of(signature, point, Source(app, run.id, run, is_ignored=is_ignored))


class _Made:
    """A submission that is prepared already."""

    def __init__(self, made: Prepared) -> None:
        self._made = made

    def __flow_submission__(self) -> Prepared:
        return self._made


def _app_of(signature: Signature) -> App:
    """The app of the first task in it that has one."""
    match signature:
        case Call():
            found = signature.task.app if isinstance(signature.task, Task) else None
            return found or current_app()
        case chain() | group() if signature.tasks:
            return _app_of(signature.tasks[0])
        case chord():
            return _app_of(signature.header)
    task = getattr(signature, "task", None)
    return (task.app if isinstance(task, Task) else None) or current_app()
