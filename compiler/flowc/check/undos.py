"""`undo` that never runs: its task is called, and nowhere inside a flow that compensates (`undo-never-runs`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flowc import ir

from .context import Shared
from .pools import calls_in

__all__ = ["note_undos"]


def note_undos(shared: Shared, flows: Mapping[str, ir.Flow]) -> None:
    """Notes them, to be told if there are no errors."""
    if not any(reactions.undo is not None for reactions in shared.task_reactions.values()):
        return
    called = {task for flow in flows.values() for task in _undoable(flow)}
    undone = {task for key in _compensated(flows) for task in _undoable(flows[key])}
    for task, reactions in shared.task_reactions.items():
        if reactions.undo_at is not None and task.key in called - undone:
            shared.unused.append(("undo-never-runs", reactions.undo_at, {"name": task.name}))


def _undoable(flow: ir.Flow) -> Iterable[str]:
    """The tasks that a flow calls and that have an `undo`."""
    return [step.task for step in _calls(flow) if isinstance(step, ir.CallStep) and step.undo is not None]


def _compensated(flows: Mapping[str, ir.Flow]) -> set[str]:
    """The flows that compensate, and those that they call as parts of their own runs."""
    waiting = [key for key, flow in flows.items() if flow.on_failure is not None]
    found: set[str] = set()
    while waiting:
        key = waiting.pop()
        if key in flows and key not in found:
            found.add(key)
            waiting += [
                step.flow for step in _calls(flows[key]) if isinstance(step, ir.ChildStep) and not step.detached
            ]
    return found


def _calls(flow: ir.Flow) -> Iterable[ir.CallStep | ir.ChildStep]:
    return calls_in((flow.body,))
