"""The live tree on a terminal: drawn eight times a second, folded to what fits, and left standing at the end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from flowrun.messages import LogNote, StateNote
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from .levels import expected_text, level_text, told_levels
from .style import COLOURS, ICONS, seconds_text
from .tree import BAD, ENDED, Row, Tree

__all__ = ["LiveView"]

#: between two drawings, in seconds
_FRAME_SECONDS = 0.12
#: lines of the screen that are not rows of the tree
_OTHER_LINES = 5
_BAR_WIDTH = 24
#: times are not pushed to the far edge of a wide screen
_MOST_WIDTH = 100


class LiveView:
    """Draws the tree on `console` until `stop`."""

    def __init__(self, tree: Tree, console: Console) -> None:
        self._tree = tree
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=False, vertical_overflow="crop")
        self._spinner = Spinner("dots", style="cyan")
        self._began = self._drawn = time.monotonic()
        self._title = Text()
        self._messages: list[str] = []

    def start(self, run: str, resumed: bool) -> None:
        self._title = Text.assemble((self._tree.plan.flow, "bold"), f"  run {run}", (" resumed" if resumed else ""))
        self._live.start()
        self._draw(time.monotonic())

    def state(self, note: StateNote, now: float) -> None:
        self._tree.apply(note, now)

    def log(self, note: LogNote) -> None:
        self._tree.apply_log(note)

    def message(self, text: str) -> None:
        """A line that stays below the tree."""
        self._messages.append(text)
        self._draw(time.monotonic())

    def tick(self, now: float) -> None:
        if now - self._drawn >= _FRAME_SECONDS:
            self._draw(now)

    def stop(self) -> None:
        """The last picture: all rows, nothing folded away for want of space."""
        self._live.update(self._picture(time.monotonic(), None), refresh=True)
        self._live.stop()

    def _draw(self, now: float) -> None:
        self._drawn = now
        self._live.update(self._picture(now, max(self._console.height - _OTHER_LINES, 3)), refresh=True)

    def _picture(self, now: float, height: int | None) -> RenderableType:
        """All of it; `height` limits the rows of the tree."""
        table = Table.grid(padding=(0, 1), expand=True)
        table.width = min(self._console.width, _MOST_WIDTH)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column(no_wrap=True, justify="right")
        for line in _fitted(_lines(self._tree.rows, 0), height):
            if isinstance(line, str):
                table.add_row(Text(line, style="dim"), "", "")
            else:
                table.add_row(*self._cells(*line, now))
        below: list[RenderableType] = []
        if self._tree.log is not None and height is not None:
            step, text = self._tree.log
            below.append(Text(f"{step} | {text}", style="dim", no_wrap=True, overflow="ellipsis"))
        below += [Text(level_text(mark), style="yellow") for mark in told_levels(self._tree.levels)]
        below += [Text(text, style="yellow") for text in self._messages]
        return Group(self._head(now, has_ended=height is None), table, *below)

    def _head(self, now: float, *, has_ended: bool) -> Text:
        counts = self._tree.counts()
        waiting = counts.pop("waiting", 0) + counts.pop("ready", 0)
        shown = [f"{number} {state}" for state, number in counts.items()]
        shown += [f"{waiting} to come"] if waiting else []
        if not has_ended and (when := expected_text(self._tree.expected_ms, time.time() * 1000)):
            shown.append(f"expected to end {when}")
        return Text.assemble(self._title, f"  {seconds_text(now - self._began)}", ("  " + ", ".join(shown), "dim"))

    def _cells(self, row: Row, depth: int, now: float) -> tuple[RenderableType, RenderableType, Text]:
        state = row.shown_state
        icon = self._spinner.render(now) if state == "running" else Text(ICONS[state], style=COLOURS[state])
        assert isinstance(icon, Text)
        weight = "dim" if state in ("waiting", "ready", "skipped") else "bold" if row.rows else ""
        name = Text.assemble("  " * depth, icon, " ", (row.name, weight))
        return name, _detail(row, now), Text(_time(row, now), style="dim")


Line = tuple[Row, int]


def _lines(rows: list[Row], depth: int) -> Iterator[Line]:
    """The rows to show. A box is folded while all is well in it, a child flow once it has ended well; a handler
    shows when it runs."""
    for row in rows:
        if row.kind == "handler" and row.shown_state in ("waiting", "skipped"):
            continue
        yield row, depth
        is_open = row.kind == "handler" or (row.kind == "child" and row.state == "running")
        if is_open or row.needs_a_look:
            yield from _lines(row.rows, depth + 1)


def _fitted(lines: Iterable[Line], height: int | None) -> Iterator[Line | str]:
    """The lines that fit: those that ended well give way first, from the top, then those to come, from the end."""
    rows = list(lines)
    surplus = len(rows) - (height if height is not None else len(rows))
    if surplus <= 0:
        yield from rows
        return
    past = [line for line in rows if line[0].shown_state in ("success", "skipped")][: surplus + 1]
    gone = {id(row) for row, _ in past}
    kept = [line for line in rows if id(line[0]) not in gone]
    if past:
        yield f"✓ {len(past)} steps done"
    room = (height or 0) - bool(past)
    if len(kept) <= room:
        yield from kept
        return
    yield from kept[: room - 1]
    yield f"… {len(kept) - room + 1} more"


def _detail(row: Row, now: float) -> RenderableType:
    if row.state == "retrying":
        due = row.retry_at()
        wait = f" in {due - now:.0f} s" if due is not None and due - now >= 1 else ""
        return Text(f"attempt {row.attempt}{wait}: {_first_line(row.message)}", style="yellow")
    if row.kind == "box":
        ended = sum(inner.shown_state in ENDED for inner in row.rows)
        return Text(f"{ended}/{len(row.rows)}", style="dim")
    if row.total:
        return _progress(row)
    if row.state in BAD:
        return Text(_first_line(row.message), style=COLOURS[row.state])
    if row.attempt > 1:
        return Text(f"attempt {row.attempt}", style="dim")
    if not row.attempt and row.state in ("success", "failed"):
        return Text("kept", style="dim")  # of an earlier run
    return Text(_first_line(row.message), style="dim")


def _progress(row: Row) -> RenderableType:
    ended = row.done + row.failed
    text = Text(f"{ended:,}/{row.total:,}", style="dim")
    if row.failed:
        text.append(f"  {row.failed:,} failed: {_first_line(row.message)}", style="red")
    if ended >= row.total:
        return text
    line = Table.grid(padding=(0, 1))
    line.add_row(ProgressBar(total=row.total, completed=ended, width=_BAR_WIDTH), text)
    return line


def _time(row: Row, now: float) -> str:
    if row.seconds is not None:
        return seconds_text(row.seconds)
    return seconds_text(now - row.began) if row.began is not None and row.state == "running" else ""


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
