"""What an executor cannot promise is refused, never ignored.

A process runs one task at a time, and can be killed with it. Coroutines of a process can be ended one by one, but they
share its memory and its environment. A thread can neither be ended nor be told apart from its neighbours.
"""

from __future__ import annotations

from flowc import ir, syntax

from .context import Context

__all__ = ["check_executor"]

#: setting -> its field, and what its value would have to be about
_OF_A_PROCESS = {
    "memory": ("memory", "the memory of one attempt cannot be told from that of its neighbours"),
    "max_tasks_per_process": ("max_tasks_per_process", "the process is shared by many tasks at the same time"),
    "env": ("env", "all tasks of the process have the same environment"),
}
_OF_WHAT_CAN_BE_ENDED = {
    "timeout": ("timeout_ms", "a thread cannot be ended"),
    "soft_timeout": ("soft_timeout_ms", "a thread cannot be interrupted"),
}


def check_executor(cx: Context, node: syntax.Node, settings: ir.Settings) -> None:
    """Reports settings of a call that its executor cannot keep, and a soft time limit that is none."""
    refused = dict(_OF_WHAT_CAN_BE_ENDED) if settings.executor == "thread" else {}
    if settings.executor != "process":
        refused |= _OF_A_PROCESS
    for name, (field, reason) in refused.items():
        if getattr(settings, field):
            others = '`executor: "process"`'
            if name in _OF_WHAT_CAN_BE_ENDED:
                others += ', or `"async"` for an `async def` function'
            hint = f"use {others}, or take `{name}` away"
            cx.report("executor-cannot", node, name=name, executor=settings.executor, reason=reason, hint=hint)
    soft, hard = settings.soft_timeout_ms, settings.timeout_ms
    if soft is not None and hard is not None and soft >= hard:
        wanted, hint = "shorter than `timeout`", "give the task time to tidy up between the two"
        cx.report("invalid-setting", node, name="soft_timeout", wanted=wanted, found="not", hint=hint)
