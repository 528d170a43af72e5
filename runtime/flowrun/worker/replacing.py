"""What a task returns instead of a value: a canvas that takes its place, or members for its group.

The canvas is built here, where the task's own module is imported: it becomes a plan, whose bytes are stored, and its
arguments; the outcome names both. What cannot be run is told at once: the attempt has failed for good (InvalidReplace).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from flowc.plan import Plan

from flowrun.canvas.sending import shape_of
from flowrun.canvas.shapes import encoded
from flowrun.canvas.signatures import Signature, group, maybe_signature
from flowrun.messages import Failure, Replacement
from flowrun.operator import Extend, Replace
from flowrun.parameters import ArgumentError

from .ended import Blobs, Ended, stored
from .failures import MAX_MESSAGE, TaskFailed, cut
from .functions import Functions
from .shared import REPLACED

if TYPE_CHECKING:
    from .task_step import TaskStep

__all__ = ["replaced"]

_encode = msgspec.msgpack.Encoder().encode


def replaced(found: Replace | Extend, step: TaskStep, blobs: Blobs) -> Ended:
    """The end of a unit that gave this. Raises TaskFailed."""
    canvas = _canvas(found)
    try:
        shape, given = shape_of(canvas)
        args, large = encoded(shape.arguments, given)
    except ArgumentError as error:
        raise _invalid(str(error)) from None
    _refuse_unknown(shape.plan, step.functions)
    own = None
    if isinstance(found, Extend):
        own = stored(step.checked(found.value), blobs) if step.returns is not None else b"\xc0"
    for digest, data in large:
        blobs.put(digest, data)
    # each time: whoever stored it before may not have come to the end of it
    blobs.put(shape.digest, shape.data)
    return Ended(REPLACED, _encode(Replacement(shape.digest, args, own)))


def _canvas(found: Replace | Extend) -> Signature:
    try:
        if isinstance(found, Replace):
            canvas: Any = maybe_signature(found.canvas)
        else:
            canvas = group(*found.signatures) if found.signatures else group([])
    except (ArgumentError, TypeError) as error:
        raise _invalid(str(error)) from None
    return canvas  # type: ignore[no-any-return]


def _refuse_unknown(plan: Plan, functions: Functions) -> None:
    """Raises TaskFailed if the plan needs a task that cannot be imported here: then it can be nowhere."""
    for task in plan.tasks:
        if task.operator != "python":
            continue
        try:
            functions.get(task.target)
        except TaskFailed as error:
            raise _invalid(f"it needs the task `{task.target}`: {error.failure.message}") from None


def _invalid(why: str) -> TaskFailed:
    message = cut(f"the canvas that was to replace this task cannot be run: {why}", MAX_MESSAGE)
    return TaskFailed(Failure("InvalidReplace", message, retryable=False))
