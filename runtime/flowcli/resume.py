"""`flowc resume`: a run that was paused, or a flow."""

from __future__ import annotations

from .pause import pausing

__all__ = ["command"]

command = pausing(
    "resume",
    "Let RUN go on after `flowc pause`; with --flow, all runs of a flow but those that were paused by themselves. Exit "
    "codes: 0 it goes on, 2 if there is no such run, it has ended, or nobody answers.",
)
