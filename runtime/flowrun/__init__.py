"""The runtime: executes plans on NATS JetStream.

What programs and authors of tasks need is here by name: `from flowrun import Client, task`. It is imported when it is
asked for, so that a task that needs `Retry` does not pay for the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .canvas import App, Signature, Task, chain, chord, flow, group, shared_task, signature
    from .client import Client, RunFailed, SyncClient
    from .operator import Context, Extend, Fail, Replace, Retry, Skip, task

__all__ = [
    "Client", "RunFailed", "SyncClient",
    "Context", "Extend", "Fail", "Replace", "Retry", "Skip", "task",
    "App", "Signature", "Task", "chain", "chord", "flow", "group", "shared_task", "signature",
]  # fmt: skip

_MODULES = dict.fromkeys(("Client", "RunFailed", "SyncClient"), "flowrun.client")
_MODULES |= dict.fromkeys(("Context", "Extend", "Fail", "Replace", "Retry", "Skip", "task"), "flowrun.operator")
_MODULES |= dict.fromkeys(
    ("App", "Signature", "Task", "chain", "chord", "flow", "group", "shared_task", "signature"), "flowrun.canvas"
)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'flowrun' has no attribute {name!r}")
    from importlib import import_module  # as little as possible is imported here

    return getattr(import_module(_MODULES[name]), name)
