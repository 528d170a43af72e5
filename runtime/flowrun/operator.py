"""What an author of tasks imports: `task`, `Context`, and the exceptions that steer a step.

A task is a plain function; nothing here is needed to write one. `@task(...)` adds settings that the compiler reads
from the source; a parameter annotated with `Context` receives the facts of the attempt and is no parameter of the
task in `.flow`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

import msgspec

__all__ = ["NAMED", "POSITIONAL", "Connection", "Context", "Fail", "Retry", "Skip", "SoftTimeout", "settings_of",
           "task"]  # fmt: skip

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
        return function

    def mark(decorated: Callable[..., Any]) -> Callable[..., Any]:
        with contextlib.suppress(AttributeError, TypeError):  # an object that takes no attributes has no settings
            decorated.__flow_settings__ = settings  # type: ignore[attr-defined]
        return decorated

    return mark


def settings_of(function: Callable[..., Any]) -> Mapping[str, object]:
    """What `@task(...)` says of a function."""
    found: Mapping[str, object] = getattr(function, "__flow_settings__", {})
    return found
