"""The world around a program: what it answers to those who wait for it. Everybody who plays it says the same.

What comes of a signal, of an event and of a question follows from its name, so that the interpreter knows it, and it
makes no difference when it comes, how often, or to which of those that wait. `NEVER` begins names that nobody answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from zlib import crc32

__all__ = ["NEVER", "Expected", "agreed", "brought"]

NEVER = "never"
#: a question whose title begins so is answered with no
_NO = "no"


def brought(name: str) -> int:
    """By the signal or the event of this name."""
    return crc32(name.encode()) % 50


def agreed(title: str) -> bool:
    """Whether somebody approves."""
    return not title.startswith(_NO)


@dataclass
class Expected:
    """What a run waits for."""

    #: names, once for each step that took one
    signals: list[str] = field(default_factory=list)
    #: subjects
    events: set[str] = field(default_factory=set)
    #: titles by step, as people call it
    questions: dict[str, str] = field(default_factory=dict)
    #: flows that were started as runs of their own
    detached: int = 0
