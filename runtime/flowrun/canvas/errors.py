"""Exceptions of the canvas, under the names that Celery gives them, and those of tasks that failed elsewhere."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from flowrun.errors import FlowError
from flowrun.operator import Fail, Retry, Skip, SoftTimeout

if TYPE_CHECKING:
    from flowrun.messages import Failure

__all__ = ["Ignore", "MaxRetriesExceededError", "Reject", "Retry", "SoftTimeLimitExceeded", "TaskError",
           "TaskRevokedError", "exception_of", "raised_by"]  # fmt: skip

SoftTimeLimitExceeded = SoftTimeout
Ignore = Skip
Reject = Fail


class MaxRetriesExceededError(FlowError):
    """The task was tried as often as it may be."""


class TaskError(FlowError):
    """A task failed with an exception whose class is not known here: this is a class of that name."""


class TaskRevokedError(FlowError):
    """The task was cancelled, or expired."""


def exception_of(kind: str, message: str) -> Exception:
    """An exception like the one that a task raised: of the same class if that is built in, else of one of its name."""
    known = getattr(builtins, kind, None)
    if isinstance(known, type) and issubclass(known, Exception):
        try:
            found: Exception = known(message)
        except TypeError:  # its constructor wants more
            pass
        else:
            return found
    if kind == MaxRetriesExceededError.__name__:
        return MaxRetriesExceededError(message)
    named: type[TaskError] = type(kind, (TaskError,), {"__doc__": TaskError.__doc__})
    return named(message)


def raised_by(failure: Failure | None) -> Exception:
    """The exception of a call that did not end well; its traceback is a note."""
    if failure is None or failure.type in ("Cancelled", "Expired"):
        return TaskRevokedError(failure.message if failure is not None else "it was cancelled")
    found = exception_of(failure.type, failure.message)
    if failure.detail:
        found.add_note(failure.detail.rstrip())
    return found
