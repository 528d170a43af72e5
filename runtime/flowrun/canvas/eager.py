"""Calls a canvas here and now, in this thread: for tests of programs, and for `task_always_eager`.

The functions are called in the order of the canvas, with retries at once; nothing is sent, and nothing waits.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

from flowrun.operator import Extend, Replace, Retry, Skip
from flowrun.parameters import ArgumentError

from .attempts import Replaced, errback_of
from .errors import MaxRetriesExceededError
from .requests import Request, enter
from .signatures import Call, Items, Signature, chain, chord, group
from .tasks import Task

__all__ = ["EagerGroup", "EagerResult", "apply"]


class EagerResult:
    """A result that is there already. Has the methods of an AsyncResult."""

    def __init__(
        self, value: Any = None, error: BaseException | None = None, parent: EagerResult | None = None
    ) -> None:
        self.id = self.task_id = uuid.uuid4().hex
        self.result = value if error is None else error
        self._error = error
        self.parent = parent
        self.children: list[EagerResult] = []
        self.added: list[Any] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state}>"

    @property
    def state(self) -> str:
        if isinstance(self._error, Skip):
            return "IGNORED"
        return "SUCCESS" if self._error is None else "FAILURE"

    status = state

    def get(self, timeout: float | None = None, propagate: bool = True, **options: Any) -> Any:
        """Its value; what was raised is raised again."""
        if isinstance(self._error, Skip):
            return None
        if self._error is not None and propagate:
            raise self._error
        return self.result

    wait = get

    def ready(self) -> bool:
        return True

    def successful(self) -> bool:
        return self.state == "SUCCESS"

    def failed(self) -> bool:
        return self.state == "FAILURE"

    def revoke(self, **options: Any) -> None:
        """It has ended."""

    forget = revoke


class EagerGroup(EagerResult):
    """Of a group."""

    def __init__(self, results: Sequence[EagerResult], parent: EagerResult | None = None) -> None:
        self.results = list(results)
        error = next((result._error for result in results if result.failed()), None)
        values = [value for result in results for value in (result.result, *result.added)]
        super().__init__(values, error, parent)
        self.children = self.results

    def __iter__(self) -> Any:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, place: int) -> EagerResult:
        return self.results[place]

    def completed_count(self) -> int:
        return sum(result.successful() for result in self.results)

    join = EagerResult.get


_NOTHING: tuple[Any, ...] = ()


def apply(signature: Signature) -> EagerResult:
    """Calls it, and all that follows from it."""
    return _apply(signature, _NOTHING, ())


def _apply(signature: Signature, given: tuple[Any, ...], errbacks: tuple[Signature, ...]) -> EagerResult:
    if isinstance(signature, chord):
        signature = signature.as_chain()
    errbacks = (*errbacks, *signature.errbacks)
    given = _NOTHING if signature.immutable else given
    if isinstance(signature, chain):
        found = _chain(signature, given, errbacks)
    elif isinstance(signature, group):
        found = EagerGroup([_apply(task, given, errbacks) for task in signature.tasks])
    elif isinstance(signature, Items):
        found = _items(signature)
    elif isinstance(signature, Call):
        found = _call(signature, given, errbacks)
    else:
        raise ArgumentError(f"{signature!r} cannot be called here and now")
    if found.successful():
        found.children = [*found.children, *(_apply(link, (found.result,), ()) for link in signature.links)]
    return found


def _chain(signature: chain, given: tuple[Any, ...], errbacks: tuple[Signature, ...]) -> EagerResult:
    found: EagerResult | None = None
    for i, task in enumerate(signature.tasks):
        is_header = i + 1 < len(signature.tasks) and isinstance(task, group | chord)
        following = _apply(task, given, () if is_header else errbacks)
        _first(following).parent = found
        found, given = following, (following.result,)
        if not found.successful():
            body = signature.tasks[i + 1] if is_header else None
            for errback in (*errbacks, *body.errbacks) if body is not None else ():
                _tell(errback, "group", found._error)
            break
    if found is None:
        raise ArgumentError("a chain has one task or more, and this one is empty")
    return found


def _first(result: EagerResult) -> EagerResult:
    while result.parent is not None:
        result = result.parent
    return result


def _items(signature: Items) -> EagerResult:
    calls = [Call(signature.task, tuple(item) if signature.unpack else (item,), {}) for item in signature.items]
    values = EagerGroup([_call(call, _NOTHING, ()) for call in calls])
    if not signature.size or values.failed():
        return EagerResult(values.result, values._error)
    listed: Any = values.result
    size = signature.size
    return EagerResult([listed[at : at + size] for at in range(0, len(listed), size)])


def _call(signature: Call, given: tuple[Any, ...], errbacks: tuple[Signature, ...]) -> EagerResult:
    task = signature.task
    if not isinstance(task, Task):
        raise ArgumentError(f"`{task}` is known by name only, and cannot be called here")
    args = (*given, *signature.args)
    try:
        value, added = _attempts(task, args, signature.kwargs)
    except Exception as error:  # what tasks raise
        for errback in errbacks if not isinstance(error, Skip) else ():
            _tell(errback, task.name, error)
        return EagerResult(error=error)
    if isinstance(value, Replace):
        return _apply(value.canvas, _NOTHING, errbacks)
    if isinstance(value, Extend):
        value, added = value.value, [*added, *value.signatures]
    found = EagerResult(value)
    found.added = [_apply(more, _NOTHING, errbacks).get() for more in added]
    return found


def _attempts(task: Task, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, list[Any]]:
    """The task's value, after as many attempts as it may have, and what it added to its group."""
    retries = 0
    while True:
        request = Request(id=uuid.uuid4().hex, task=task.name, retries=retries, args=args, kwargs=kwargs)
        token = enter(request)
        try:
            value = task.run(*args, **kwargs)
            return (asyncio.run(value) if task.is_async else value), request.added
        except Replaced as replaced:
            return Replace(replaced.canvas), []
        except Exception as error:  # what tasks raise
            again = isinstance(error, (Retry, *task._retries.errors))
            if not again or (task.max_retries is not None and retries >= task.max_retries):
                if isinstance(error, Retry):
                    raise MaxRetriesExceededError(str(error)) from error
                raise
            retries += 1
        finally:
            token.var.reset(token)


def _tell(errback: Signature, step: str, error: BaseException | None) -> None:
    """Calls an error handler."""
    assert isinstance(errback, Call)
    from flowrun.operator import Context

    context = Context(run="eager", flow="", step=step, index=None, attempt=1, attempt_id="eager", connections={})
    failure = {"step": step, "type": type(error).__name__, "message": str(error), "attempts": 1}
    errback_of(errback.task)(failure, list(errback.args), errback.kwargs, flow_context=context)
