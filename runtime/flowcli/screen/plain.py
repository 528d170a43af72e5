"""Plain lines, one per change of a step's state, for pipes, files and CI.

    run 260131-101500-9f3c: flights started
    unpack: success (0.14 s)
    months: running 5/12
    publish: retrying, attempt 2 follows: ServiceUnavailable: 503 …
    publish | a line that the task wrote

The progress of an `each` comes at most once a second.
"""

from __future__ import annotations

from collections.abc import Callable

from flowrun.messages import LogNote, SlaMark, StateNote, StepNote

from .levels import level_text, told_levels
from .style import seconds_text
from .tree import ENDED, Tree, shown_name

__all__ = ["PlainView"]

#: between two lines of progress of one step, in seconds
_PROGRESS_SECONDS = 1.0
#: of one note
_MOST_LOG_LINES = 100


class PlainView:
    """Writes lines through `write`."""

    def __init__(self, tree: Tree, write: Callable[[str], None]) -> None:
        self._tree = tree
        self._write = write
        #: per step, what its last line said: state and attempt, and when
        self._told: dict[str, tuple[str, int, float]] = {}
        #: what was said of service levels
        self._levels: set[tuple[str, str, int, bool]] = set()

    def start(self, run: str, resumed: bool) -> None:
        self._write(f"run {run}: {self._tree.plan.flow} {'resumed' if resumed else 'started'}")

    def state(self, note: StateNote, now: float) -> None:
        self._tree.apply(note, now)
        for step in note.steps:
            self._tell(step, now)
        for mark in told_levels(note.slas):
            self._tell_level(mark)

    def log(self, note: LogNote) -> None:
        lines = self._tree.apply_log(note)
        name = shown_name(note.step, note.index)
        for line in lines[:_MOST_LOG_LINES]:
            self._write(f"{name} | {line}")
        if len(lines) > _MOST_LOG_LINES:
            self._write(f"{name} | … {len(lines) - _MOST_LOG_LINES} more lines")

    def message(self, text: str) -> None:
        self._write(text)

    def tick(self, now: float) -> None:
        """Time passes: nothing to draw."""

    def stop(self) -> None:
        """Nothing to take down."""

    def _tell(self, note: StepNote, now: float) -> None:
        name = shown_name(note.step, note.index)
        if note.state == "waiting" and note.message:
            self._wait(name, note.message, now)
            return
        state, attempt, at = self._told.get(name, ("waiting", 1, -_PROGRESS_SECONDS))
        same = state == note.state and (attempt == note.attempt or note.state in ENDED)
        if note.state in ("waiting", "ready") or (same and (not note.total or now - at < _PROGRESS_SECONDS)):
            return
        self._told[name] = (note.state, note.attempt, now)
        self._write(f"{name}: {_detail(note)}")

    def _tell_level(self, mark: SlaMark) -> None:
        """What is late, or soon will be: said once."""
        about = (mark.step, mark.what, mark.due_ms, bool(mark.missed_ms))
        if about not in self._levels:
            self._levels.add(about)
            self._write(level_text(mark))

    def _wait(self, name: str, what: str, now: float) -> None:
        """A step waits for the world: said once."""
        if self._told.get(name, ("", 1, 0.0))[0] != "waiting":
            self._told[name] = ("waiting", 1, now)
            self._write(f"{name}: {what}")


def _detail(note: StepNote) -> str:
    """`success 12/12 (1.50 s)`."""
    text = str(note.state)
    if note.total:
        text += f" {note.done + note.failed}/{note.total}"
        text += f", {note.failed} failed" if note.failed else ""
    if note.state == "retrying":
        text += f", attempt {note.attempt} follows"
    if note.message and note.state != "success":
        text += f": {' '.join(note.message.split())}"
    if not note.attempt and note.state in ("success", "failed"):
        return f"{text} (kept)"  # of an earlier run
    return text + (f" ({seconds_text(note.seconds)})" if note.seconds is not None else "")
