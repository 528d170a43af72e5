"""The Python canvas: tasks that are put together in Python, for those who come from Celery.

    from flowrun.canvas import Celery, chain, chord, group

    app = Celery("tasks")

    @app.task
    def add(x, y):
        return x + y

    chord([add.s(i, i) for i in range(10)])(xsum.s()).get()

A canvas becomes a plan: it is checked, lowered and run as a `.flow` file is (see specs/reference/14-canvas.md). Names
are loaded when they are asked for: a worker that imports a module of tasks pays for no client and no compiler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowrun.client import WaitTimeout as TimeoutError
    from flowrun.operator import Extend, Replace

    from .app import App, current_app
    from .app import App as Celery
    from .errors import (
        Ignore,
        MaxRetriesExceededError,
        Reject,
        Retry,
        SoftTimeLimitExceeded,
        TaskError,
        TaskRevokedError,
    )
    from .results import AsyncResult, GroupResult
    from .signatures import Signature, chain, chord, chunks, flow, group, maybe_signature, signature, starmap, xmap
    from .tasks import Task, as_task, shared_task, task

__all__ = [
    "App", "Celery", "current_app",
    "Task", "as_task", "shared_task", "task",
    "Signature", "chain", "chord", "chunks", "flow", "group", "maybe_signature", "signature", "starmap", "xmap",
    "AsyncResult", "GroupResult",
    "Extend", "Replace",
    "Ignore", "MaxRetriesExceededError", "Reject", "Retry", "SoftTimeLimitExceeded", "TaskError", "TaskRevokedError",
    "TimeoutError",
]  # fmt: skip

_HERE = {
    "app": ("App", "current_app"),
    "tasks": ("Task", "as_task", "shared_task", "task"),
    "signatures": ("Signature", "chain", "chord", "chunks", "flow", "group", "maybe_signature", "signature", "starmap",
                   "xmap"),
    "results": ("AsyncResult", "GroupResult"),
    "errors": ("Ignore", "MaxRetriesExceededError", "Reject", "Retry", "SoftTimeLimitExceeded", "TaskError",
               "TaskRevokedError"),
}  # fmt: skip
_NAMES = {name: (f"flowrun.canvas.{module}", name) for module, names in _HERE.items() for name in names}
_NAMES |= {
    "Celery": ("flowrun.canvas.app", "App"),
    "Extend": ("flowrun.operator", "Extend"),
    "Replace": ("flowrun.operator", "Replace"),
    "TimeoutError": ("flowrun.client", "WaitTimeout"),
}


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'flowrun.canvas' has no attribute {name!r}")
    from importlib import import_module  # as little as possible is imported here

    module, attribute = _NAMES[name]
    found = getattr(import_module(module), attribute)
    globals()[name] = found  # also where a module of this package has the same name
    return found
