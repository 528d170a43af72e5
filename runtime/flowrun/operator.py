"""What an author of tasks imports: `task`, `Context`, and the exceptions that steer a step.

A task is a plain function; nothing here is needed to write one. `@task(...)` adds settings that the compiler reads
from the source; a parameter annotated with `Context` receives the facts of the attempt and is no parameter of the
task in `.flow`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, overload

import msgspec

__all__ = ["DYNAMIC", "NAMED", "POSITIONAL", "Connection", "Context", "Extend", "Fail", "Replace", "Retry", "Skip",
           "SoftTimeout", "settings_of", "task"]  # fmt: skip

#: the parameters of a task that is called by position and by name: a list and a map
POSITIONAL, NAMED = "*", "**"

F = TypeVar("F", bound=Callable[..., Any])


class Retry(Exception):
    """Try this step again, though nothing went wrong for good: `raise Retry("not yet", after=30)`.

    Counts as an attempt. `after` is in seconds; None leaves the wait to the step's backoff.
    """

    def __init__(self, message: str = "the task asked for another attempt", *, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Skip(Exception):
    """End this step as skipped."""


class Fail(Exception):
    """Fail this step for good: no more attempts."""


class SoftTimeout(Exception):
    """Raised in a task whose `soft_timeout` is over: it may tidy up, and end well or badly. If it goes on, its
    `timeout` ends it by force. In an `async def` task it is a cancellation too."""

    def __init__(self, message: str = "the task took longer than its soft_timeout") -> None:
        super().__init__(message)


class Replace:
    """What a task may return instead of a value: this canvas takes its place, and gives its value.

    `return Replace(chain(fetch.s(1), parse.s()))`: see `flowrun.canvas`. The task itself has no more attempts.
    """

    __slots__ = ("canvas",)

    def __init__(self, canvas: Any) -> None:
        self.canvas = canvas


class Extend:
    """What a member of a group, or an item of an `each`, may return: its value, and more members. Their values come
    right after its own."""

    __slots__ = ("signatures", "value")

    def __init__(self, value: Any, signatures: Iterable[Any]) -> None:
        self.value = value
        self.signatures = tuple(signatures)


#: what is no value
DYNAMIC = frozenset({Replace, Extend})


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """A declared connection, its secrets resolved."""

    name: str
    kind: str
    fields: Mapping[str, Any]


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of one attempt."""

    run: str
    flow: str
    step: str
    #: position in the enclosing `each`, or None; a tuple when they nest, the outermost first
    index: int | tuple[int, ...] | None
    #: from 1
    attempt: int
    #: the same for every execution of this attempt, and no other: an idempotency key
    attempt_id: str
    connections: Mapping[str, Connection]
    #: what `idempotency_key` says; else the same for all attempts of this step (of this item), and no other
    idempotency_key: str = ""

    @property
    def log(self) -> logging.Logger:
        return logging.getLogger(f"flow.{self.step}")


@overload
def task(function: F, /) -> F: ...
@overload
def task(**settings: object) -> Callable[[F], F]: ...
def task(function: Callable[..., Any] | None = None, /, **settings: object) -> Any:
    """Marks a function as a task. The settings are literals, named as in `.flow`; durations as strings ("5m").

    The compiler reads them from the source text; a client that submits the function by itself reads them here.
    """
    if function is not None:
        return _with_canvas(function)

    def mark(decorated: Callable[..., Any]) -> Callable[..., Any]:
        with contextlib.suppress(AttributeError, TypeError):  # an object that takes no attributes has no settings
            decorated.__flow_settings__ = settings  # type: ignore[attr-defined]
        return _with_canvas(decorated)

    return mark


#: what a task of `flowrun.canvas` can do, and a function that is marked as a task, too
_CANVAS = ("s", "si", "signature", "delay", "apply_async", "apply", "map", "starmap", "chunks")


def _with_canvas(function: Callable[..., Any]) -> Callable[..., Any]:
    """`add.s(2)`, `add.delay(2, 2)` and the like."""

    def method(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            from .canvas import as_task  # most tasks are never called so

            return getattr(as_task(function), name)(*args, **kwargs)

        return call

    with contextlib.suppress(AttributeError, TypeError):
        for name in _CANVAS:
            setattr(function, name, method(name))
    return function


def settings_of(function: Callable[..., Any]) -> Mapping[str, object]:
    """What `@task(...)` says of a function."""
    found: Mapping[str, object] = getattr(function, "__flow_settings__", {})
    return found
