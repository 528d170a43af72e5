"""What a task knows of the attempt that runs: `self.request`."""

from __future__ import annotations

import contextvars
from collections.abc import Mapping
from typing import Any

from flowrun.operator import Context

__all__ = ["Request", "current_request", "enter"]


class Request:
    """The facts of an attempt, named as Celery names them."""

    def __init__(
        self, context: Context | None = None, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None,
        *, id: str | None = None, task: str = "", retries: int = 0,
    ) -> None:  # fmt: skip
        #: None: nobody but the language itself gave these
        self.context = context
        #: run and step; of a run of a single task, the run alone is its result's id
        self.id = id if context is None else f"{context.run}/{context.step}{_place(context.index)}"
        #: attempts before this one
        self.retries = retries if context is None else context.attempt - 1
        self.task = task
        self.args, self.kwargs = args, dict(kwargs or {})
        self.root_id = None if context is None else context.run
        self.parent_id: str | None = None
        #: it was called as a function
        self.called_directly = context is None and id is None
        self.is_eager = context is None and id is not None
        self.delivery_info: dict[str, Any] = {}
        self.hostname = ""
        #: what `add_to_chord` was given
        self.added: list[Any] = []

    def __repr__(self) -> str:
        return f"<request {self.id}, {self.retries} retries>"


def _place(index: int | tuple[int, ...] | None) -> str:
    if index is None:
        return ""
    return "".join(f"/{place}" for place in (index if isinstance(index, tuple) else (index,)))


_current: contextvars.ContextVar[Request] = contextvars.ContextVar("flow_request")


def current_request() -> Request:
    """Of the attempt that runs in this thread or task; of none, one that says so."""
    found = _current.get(None)
    return Request() if found is None else found


def enter(request: Request) -> contextvars.Token[Request]:
    """It runs from here on, until `token.var.reset(token)`."""
    return _current.set(request)
