"""Steps that wait for the world: signals into a run, decisions of people, events from outside."""

from __future__ import annotations

from flowrun.messages import Decision, Raised, Signal

from .core import Core

__all__ = ["hear"]


def hear(core: Core, event: Signal | Decision | Raised) -> None:
    """Somebody says something to steps that wait."""
    if isinstance(event, Raised):
        core.ignore(f"event {event.subject}, which nobody waits for")
    elif not core.was_answered(event):
        core.answer(event, False, f"run {event.run} waits for nothing")
