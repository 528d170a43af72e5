"""An attempt of a task of the canvas, at its worker: `self.request`, retries, hooks, replacement, error handlers.

A worker calls `entry_of(task)` with the task's arguments and the facts of the attempt. How often a task is tried is the
engine's business, by the policy in the plan: what is raised here only says whether another attempt may mend it.
"""

from __future__ import annotations

import datetime as dt
import inspect
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from flowrun.operator import Context, Extend, Fail, Replace, Retry, Skip
from flowrun.worker.failures import TaskFailed, from_exception

from .errors import MaxRetriesExceededError, exception_of
from .options import moment_ms
from .requests import Request, current_request, enter

if TYPE_CHECKING:
    from .tasks import Task

__all__ = ["Replaced", "entry_of", "errback_of", "retry"]

#: how the parameter is called that receives the facts of the attempt
_CONTEXT = "flow_context"
#: what has its meaning already
_STEERING = (Retry, Skip, Fail, TaskFailed)


class Replaced(BaseException):
    """Carries the canvas of `self.replace` out of the task."""

    def __init__(self, canvas: Any) -> None:
        super().__init__("the task is replaced")
        self.canvas = canvas


def retry(
    task: Task, exc: BaseException | None, eta: Any, countdown: float | None, max_retries: int | None
) -> BaseException:
    """What `self.retry` raises."""
    request, most = current_request(), task.max_retries if max_retries is None else max_retries
    if request.called_directly:
        return exc or Retry("a task that was called as a function cannot be tried again")
    if most is not None and request.retries >= most:
        error = exc or MaxRetriesExceededError(f"{task.name} was tried {request.retries + 1} times")
        return error if request.is_eager else _lasting(error)
    if eta is not None:
        countdown = max(0.0, moment_ms("eta", eta) / 1000 - dt.datetime.now(dt.UTC).timestamp())
    if request.is_eager:
        return Retry(str(exc) if exc is not None else "", after=countdown)
    failure = from_exception(exc or Retry(after=countdown))
    wait = None if countdown is None else int(countdown * 1000)
    return _Again(msgspec.structs.replace(failure, retryable=True, retry_after_ms=wait))


class _Again(TaskFailed):
    """Another attempt may follow."""


def _lasting(error: BaseException) -> TaskFailed:
    """No other attempt follows."""
    return TaskFailed(msgspec.structs.replace(from_exception(error), retryable=False))


# ---- the call -------------------------------------------------------------------------------------------------------


def entry_of(task: Task) -> Callable[..., Any]:
    """What a worker calls with the arguments of the task."""
    if task.is_plain:
        return task.__wrapped__
    entry = _async_entry(task) if task.is_async else _sync_entry(task)
    return _dressed(entry, task)


def _dressed(entry: Any, task: Task) -> Callable[..., Any]:
    """With the signature of the task, and a parameter for the facts of the attempt."""
    facts = inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=Context)
    params = list(task.__signature__.parameters.values())
    at = next((i for i, param in enumerate(params) if param.kind is param.VAR_KEYWORD), len(params))
    entry.__signature__ = task.__signature__.replace(parameters=[*params[:at], facts, *params[at:]])
    entry.__annotations__ = {**_hints(task), _CONTEXT: Context}
    entry.__name__, entry.__module__ = task.__name__, task.__module__
    return entry  # type: ignore[no-any-return]


def _hints(task: Task) -> dict[str, Any]:
    import typing

    try:
        return typing.get_type_hints(task.__wrapped__)
    except Exception:  # an annotation may name what is not there, or raise anything
        return {}


def _sync_entry(task: Task) -> Any:
    def call(*args: Any, flow_context: Context, **kwargs: Any) -> Any:
        attempt = _Attempt(task, flow_context, args, kwargs)
        try:
            return attempt.succeeded(task.run(*args, **kwargs))
        except BaseException as error:  # what tasks raise
            return attempt.raised(error)
        finally:
            attempt.leave()

    return call


def _async_entry(task: Task) -> Any:
    async def call(*args: Any, flow_context: Context, **kwargs: Any) -> Any:
        attempt = _Attempt(task, flow_context, args, kwargs)
        try:
            return attempt.succeeded(await task.run(*args, **kwargs))
        except BaseException as error:  # what tasks raise
            return attempt.raised(error)
        finally:
            attempt.leave()

    return call


class _Attempt:
    """One attempt, from its begin to its end."""

    def __init__(self, task: Task, context: Context, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._task, self._args, self._kwargs = task, args, kwargs
        self._request = Request(context, args, kwargs, task=task.name)
        self._token = enter(self._request)
        self._id = self._request.id or ""
        task.before_start(self._id, args, kwargs)

    def leave(self) -> None:
        self._token.var.reset(self._token)

    def succeeded(self, value: Any) -> Any:
        """What the worker gets for what the task returned."""
        if isinstance(value, Replace | Extend):
            return value
        self._task.on_success(value, self._id, self._args, self._kwargs)
        self._task.after_return("SUCCESS", value, self._id, self._args, self._kwargs, "")
        return Extend(value, self._request.added) if self._request.added else value

    def raised(self, error: BaseException) -> Any:
        """The same for what it raised; mostly raises that again, with what it means."""
        if isinstance(error, Replaced):
            return Replace(error.canvas)
        task, retries = self._task, self._task._retries
        again = isinstance(error, _Again | Retry) or (
            not isinstance(error, _STEERING)
            and isinstance(error, retries.errors)
            and not isinstance(error, retries.dont)
        )
        again = again and (task.max_retries is None or self._request.retries < task.max_retries)
        self._tell(error, again)
        if isinstance(error, _STEERING) or not isinstance(error, Exception) or again or retries.policy is None:
            raise error
        raise _lasting(error) from error

    def _tell(self, error: BaseException, again: bool) -> None:
        if isinstance(error, Skip):
            return
        info = "".join(traceback.format_exception(error))
        told = self._task.on_retry if again else self._task.on_failure
        told(error, self._id, self._args, self._kwargs, info)
        self._task.after_return("RETRY" if again else "FAILURE", error, self._id, self._args, self._kwargs, info)


# ---- error handlers -------------------------------------------------------------------------------------------------


def errback_of(task: Task) -> Callable[..., Any]:
    """What a worker calls for a task that handles a failure: with the record of the failure, and the task's own
    arguments. A task with a single parameter more than its own arguments gets the id of the call that failed, any
    other the request of that call, the exception, and its traceback as text."""
    entry = entry_of(task)

    def call(failure: dict[str, Any], given: list[Any], named: dict[str, Any], flow_context: Context) -> Any:
        id = f"{flow_context.run}/{failure['step']}"
        exc = exception_of(failure["type"], failure["message"])
        request = Request(id=id, task=failure["step"], retries=max(0, failure["attempts"] - 1))
        first = [id] if _takes_one(task, given, named) else [request, exc, f"{failure['type']}: {failure['message']}"]
        more = {} if task.is_plain else {_CONTEXT: flow_context}
        return entry(*first, *given, **named, **more)

    call.__annotations__ = {"flow_context": Context}
    return call


def _takes_one(task: Task, given: list[Any], named: dict[str, Any]) -> bool:
    positional = 0
    for param in task.__signature__.parameters.values():
        if param.kind is param.VAR_POSITIONAL:
            return False
        if param.kind in (param.POSITIONAL_ONLY, param.POSITIONAL_OR_KEYWORD) and param.name not in named:
            positional += 1
    return positional - len(given) == 1
