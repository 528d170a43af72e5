"""The port between a run and what shows it, and the choice of one."""

from __future__ import annotations

import sys
from typing import Literal, Protocol

from flowc.plan import Plan
from flowrun.messages import LogNote, StateNote

from flowcli.output import say

from .tree import Tree

__all__ = ["Output", "View", "make_view"]


Output = Literal["screen", "quiet", "json"]


class View(Protocol):
    """Shows a run. Times are in seconds, by a steady clock."""

    def start(self, run: str, resumed: bool) -> None: ...

    def state(self, note: StateNote, now: float) -> None: ...

    def log(self, note: LogNote) -> None: ...

    def message(self, text: str) -> None:
        """Something that is no note."""

    def tick(self, now: float) -> None:
        """Time passes."""

    def stop(self) -> None:
        """The run ended."""


class SilentView:
    """Shows nothing but messages, which go to standard error."""

    def start(self, run: str, resumed: bool) -> None: ...

    def state(self, note: StateNote, now: float) -> None: ...

    def log(self, note: LogNote) -> None: ...

    def message(self, text: str) -> None:
        say(text, err=True)

    def tick(self, now: float) -> None: ...

    def stop(self) -> None: ...


def make_view(output: Output, plan: Plan) -> View:
    """A live tree on a terminal, plain lines elsewhere, and nothing where only the result is wanted."""
    if output != "screen":
        return SilentView()
    if sys.stdout.isatty():
        from rich.console import Console  # only a terminal pays for it

        from .live import LiveView

        return LiveView(Tree(plan), Console())
    from .plain import PlainView

    return PlainView(Tree(plan), say)
