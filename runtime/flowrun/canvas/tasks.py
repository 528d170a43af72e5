"""Tasks of the canvas: functions and classes that can be called later. Light: workers import it with the user's module.

A task that is plain (not bound, never tried again by itself, with no hooks) is its function to a worker, which costs
nothing; any other is called by way of `attempts`. Workers find a task where its function, or its class, stands.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from flowrun.operator import settings_of
from flowrun.parameters import ArgumentError

from .options import Retries, task_settings
from .requests import Request, current_request
from .signatures import Call, Signature, chunks, starmap, xmap

if TYPE_CHECKING:
    from .app import App
    from .eager import EagerResult

__all__ = ["Task", "as_task", "make_task", "named", "shared_task", "task"]

#: by the names that tasks were given
_named: dict[str, Task] = {}
#: functions that are no tasks by themselves
_wrapped: dict[Any, Task] = {}
#: read as attributes of a class, as options of a decorator are
_CLASS_OPTIONS = (
    "autoretry_for", "dont_autoretry_for", "retry_kwargs", "max_retries", "default_retry_delay", "retry_backoff",
    "retry_backoff_max", "retry_jitter", "rate_limit", "time_limit", "soft_time_limit", "queue", "priority", "expires",
    "acks_late", "serializer", "track_started", "throws",
)  # fmt: skip
#: called around an attempt, where a class has them
_HOOKS = ("before_start", "on_success", "on_failure", "on_retry", "after_return")


class _Entry:
    """What workers call instead of a task, of a class or of an object."""

    def __get__(self, found: Task | None, owner: type[Task]) -> Callable[..., Any]:
        from .attempts import entry_of  # only workers need it

        return entry_of(found if found is not None else _instance(owner))


class _Errback:
    """The same, for calls of it as an error handler."""

    def __get__(self, found: Task | None, owner: type[Task]) -> Callable[..., Any]:
        from .attempts import errback_of

        return errback_of(found if found is not None else _instance(owner))


def _instance(owner: type[Task]) -> Task:
    made: Task | None = owner.__dict__.get("_made")
    if made is None:
        made = owner._made = owner()
    return made


class Task:
    """A unit of work. `@app.task` makes one of a function; a class has a method `run`."""

    name: str = ""
    ignore_result: bool = False
    max_retries: int | None = 3
    default_retry_delay: float = 180
    app: App | None = None
    _made: Task | None = None
    _retries: Retries
    #: it was made of a function
    _is_function = False
    #: workers call these
    __flow_task__ = _Entry()
    __name__: str
    __qualname__: str
    __flow_errback__ = _Errback()

    def __init__(self) -> None:
        if not self._is_function and type(self).run is not Task.run:
            self._prepare(type(self).run, {}, is_bound=True)

    def _prepare(self, function: Callable[..., Any], options: Mapping[str, Any], *, is_bound: bool) -> None:
        """Looks like its function, or its class, with what the class and the decorator say."""
        shown: Any = function if self._is_function else type(self)
        for attribute in ("__module__", "__qualname__", "__doc__", "__name__"):
            setattr(self, attribute, getattr(shown, attribute, None))
        self.__wrapped__ = function
        self.__annotations__ = dict(getattr(function, "__annotations__", {}))
        signature = inspect.signature(function)
        given = [param for i, param in enumerate(signature.parameters.values()) if i or not is_bound]
        self.__signature__ = signature.replace(parameters=given)
        self.is_async = inspect.iscoroutinefunction(function)
        of_class = {name: getattr(type(self), name) for name in _CLASS_OPTIONS if hasattr(type(self), name)}
        found = {**of_class, **options}
        self.name = found.pop("name", None) or type(self).__dict__.get("name", "") or _name_of(self)
        self.ignore_result = found.pop("ignore_result", type(self).ignore_result)
        self._retries = Retries(found, is_bound)
        self.max_retries = self._retries.limit
        settings = {**settings_of(function), **task_settings(self.name, found, self._retries)}
        if self.is_async:
            settings.setdefault("executor", "async")
        self.__flow_settings__ = settings
        self.is_bound = is_bound
        hooked = any(getattr(type(self), hook) is not getattr(Task, hook) for hook in _HOOKS)
        self.is_plain = not is_bound and not hooked and self._retries.policy is None
        _named[self.name] = self

    def __repr__(self) -> str:
        return f"<task {self.name}>"

    # ---- to be defined

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """What it does."""
        raise NotImplementedError(f"the task {type(self).__qualname__} has no method `run`")

    def before_start(self, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Called at its worker before each attempt."""

    def on_success(self, retval: Any, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Called at its worker after an attempt that succeeded."""

    def on_failure(
        self, exc: BaseException, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any], einfo: str
    ) -> None:
        """Called at its worker after an attempt that failed and that no other follows."""

    def on_retry(
        self, exc: BaseException, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any], einfo: str
    ) -> None:
        """Called at its worker after an attempt that failed and that another one follows."""

    def after_return(
        self, status: str, retval: Any, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any], einfo: str
    ) -> None:
        """Called at its worker after each attempt."""

    # ---- calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, **kwargs)

    def s(self, *args: Any, **kwargs: Any) -> Call:
        """A signature: arguments from before it in a chain come first."""
        return Call(self, args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Call:
        """A signature that takes nothing from before it."""
        return Call(self, args, kwargs, immutable=True)

    def signature(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Call:
        return Call(self, tuple(args or ()), dict(kwargs or {}), **options)

    subtask = signature

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        return Call(self, args, kwargs).apply_async()

    def apply_async(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        return Call(self, tuple(args or ()), dict(kwargs or {})).apply_async((), {}, **options)

    def apply(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> EagerResult:
        return Call(self, tuple(args or ()), dict(kwargs or {})).apply((), {}, **options)

    def map(self, items: Iterable[Any]) -> xmap:
        return xmap(self, items)

    def starmap(self, items: Iterable[Any]) -> starmap:
        return starmap(self, items)

    def chunks(self, items: Iterable[Any], n: int) -> chunks:
        return chunks(self, items, n)

    def AsyncResult(self, task_id: str) -> Any:
        from .results import AsyncResult

        return AsyncResult(task_id, app=self.app)

    # ---- within an attempt

    @property
    def request(self) -> Request:
        """The facts of the attempt that runs now."""
        return current_request()

    def retry(
        self, args: Any = None, kwargs: Any = None, exc: BaseException | None = None, throw: bool = True,
        eta: Any = None, countdown: float | None = None, max_retries: int | None = None, **options: Any,
    ) -> NoReturn:  # fmt: skip
        """Ends this attempt; another one follows after `countdown` seconds, or after the task's own delay, as long as
        there may be more: else the task has failed with `exc`. It always raises; the arguments stay the same."""
        from .attempts import retry

        raise retry(self, exc, eta, countdown, max_retries)

    def replace(self, sig: Signature) -> NoReturn:
        """Ends this attempt; the canvas takes the task's place."""
        from .attempts import Replaced

        raise Replaced(sig)

    def add_to_chord(self, sig: Signature) -> None:
        """One more member for the group that this task belongs to."""
        current_request().added.append(sig)


def _name_of(task: Task) -> str:
    return f"{task.__module__}.{task.__qualname__}"


def make_task(function: Any, options: Mapping[str, Any], app: App | None = None) -> Task:
    """A task of a function, or of a class with a method `run`. Raises ArgumentError."""
    given = dict(options)
    base, is_bound = given.pop("base", None) or Task, bool(given.pop("bind", False))
    if isinstance(function, type):
        if not issubclass(function, Task):
            raise ArgumentError(f"`{function.__name__}` is no task: derive it from `Task`, with a method `run`")
        found: Task = function()
        if given:
            found._prepare(function.run, given, is_bound=True)
    elif isinstance(function, Task):
        found = function
    elif not callable(function):
        raise ArgumentError(f"a task is made of a function, and {function!r} is none")
    else:
        found = _of_function(function, base, given, is_bound)
    found.app = app
    return found


def _of_function(function: Callable[..., Any], base: type[Task], options: Mapping[str, Any], is_bound: bool) -> Task:
    made: type[Task] = type(base.__name__, (base,), {"run": _Run(function, is_bound), "_is_function": True})
    found = made()
    found._prepare(function, options, is_bound=is_bound)
    return found


class _Run:
    """A function as the method `run`, which gets the task if it is bound."""

    def __init__(self, function: Callable[..., Any], is_bound: bool) -> None:
        self._function, self._is_bound = function, is_bound

    def __get__(self, found: Task | None, owner: type[Task]) -> Callable[..., Any]:
        return functools.partial(self._function, found) if self._is_bound and found is not None else self._function


def as_task(function: Any) -> Task:
    """The task that a function is, or that is made of it."""
    if isinstance(function, Task):
        return function
    found = _wrapped.get(function)
    if found is None:
        found = _wrapped[function] = make_task(function, {})
    return found


def named(name: str) -> Task | str:
    """The task with a name, or a name that workers can look for. Raises ArgumentError."""
    known = _named.get(name)
    if known is not None:
        return known
    if ":" in name:
        return name
    module, _, function = name.rpartition(".")
    if not module:
        raise ArgumentError(f'there is no task `{name}` here: name it as workers import it, "module:function"')
    return f"{module}:{function}"


def task(*args: Any, **options: Any) -> Any:
    """`@task` or `@task(bind=True, …)`: makes a task of a function or of a class."""
    if len(args) == 1 and not options:
        return make_task(args[0], {})
    if args:
        raise ArgumentError("`task` takes options by name: @task(bind=True)")
    return lambda function: make_task(function, options)


shared_task = task
