"""The steps of a run as a tree of rows, in written order, kept up to date by live notes.

The plan gives the rows: a step is a row, a composite a box of rows, an `each`, a `repeat` and a child flow have the
rows of their bodies below them. Notes name steps; a row inside an `each` stands for all its items and counts them.
Notes may be lost or come joined, so a row shows the last that is known of it, and nothing is derived from an order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from flowc.plan import ChildNode, EachNode, Node, Plan, RepeatNode, RetryPolicy, TaskNode
from flowrun.messages import LogNote, StateNote, StepNote, StepState

__all__ = ["BAD", "ENDED", "Row", "Tree", "shown_name"]

#: states that a step does not leave
ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "cancelled", "expired"})
#: those that deserve a look
BAD: tuple[StepState, ...] = ("failed", "upstream_failed", "cancelled", "expired")

Index = int | tuple[int, ...]


@dataclass
class Row:
    """One line of the tree."""

    #: as notes name it; of a box the composite's name
    name: str
    kind: Literal["step", "each", "child", "box", "handler"] = "step"
    #: in the flow's file
    line: int = 0
    #: the rows of a box, or of a body
    rows: list[Row] = field(default_factory=list)
    #: it stands inside an `each`: one row for all items
    per_item: bool = False
    retry: RetryPolicy | None = None

    state: StepState = "waiting"
    attempt: int = 1
    #: how long it took, once it has ended
    seconds: float | None = None
    #: the error of the last attempt, or why it is skipped
    message: str = ""
    #: items: of an `each` as the engine counts them, of a row inside one as they were noted
    total: int = 0
    done: int = 0
    failed: int = 0
    #: when the state last changed, and when it began to run, by the clock of whoever applies notes
    changed: float = 0.0
    began: float | None = None
    items: dict[Index, StepState] = field(default_factory=dict)

    @property
    def shown_state(self) -> StepState:
        """The state of a box follows from its rows: the first of these that holds."""
        if self.kind not in ("box", "handler"):
            return self.state
        states = {row.shown_state for row in self.rows}
        urgent: tuple[StepState, ...] = ("failed", "retrying", "running")
        for state in urgent:
            if state in states:
                return state
        if states <= {"waiting", "ready"}:
            return "waiting"
        if not states <= ENDED:
            return "running"
        return next((state for state in (*BAD, "success") if state in states), "skipped")

    @property
    def needs_a_look(self) -> bool:
        """Something below this row went wrong or is tried again."""
        return any(row.state in BAD or row.state == "retrying" or row.failed for row in self.walk())

    def walk(self) -> Iterator[Row]:
        yield self
        for row in self.rows:
            yield from row.walk()

    def retry_at(self) -> float | None:
        """When the next attempt is due, as well as the plan tells (jitter and what the task asks for are not in it)."""
        if self.state != "retrying" or self.retry is None or self.per_item:
            return None
        policy, number = self.retry, max(self.attempt, 1)
        wait = float(policy.first_ms)
        if policy.backoff == "linear":
            wait *= number
        elif policy.backoff == "exponential":
            wait *= policy.factor ** (number - 1)
        return self.changed + min(wait, policy.cap_ms or wait) / 1000


class Tree:
    """All rows of a run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rows = _rows(plan, 0, per_item=False)
        for handler in plan.handlers:
            title = f"on {handler.event}"
            self.rows.append(Row(title, kind="handler", rows=_rows(plan, handler.block, per_item=False)))
        self._by_name: dict[str, Row] = {}
        for row in self.walk():
            if row.kind not in ("box", "handler"):
                self._by_name.setdefault(row.name, row)
        #: the last line that a task wrote, and which
        self.log: tuple[str, str] | None = None

    def walk(self) -> Iterator[Row]:
        for row in self.rows:
            yield from row.walk()

    def row(self, step: str) -> Row:
        """The row of a step; one that the plan does not name gets a row at the end."""
        row = self._by_name.get(step)
        if row is None:
            row = self._by_name[step] = Row(step)
            self.rows.append(row)
        return row

    def apply(self, note: StateNote, now: float) -> list[tuple[Row, StepNote]]:
        """Takes a note in; gives what changed. `now` is in seconds, by any steady clock."""
        return [(row, step) for step in note.steps if self._apply(row := self.row(step.step), step, now)]

    def apply_log(self, note: LogNote) -> list[str]:
        """The lines of the note; the last one that says something is remembered."""
        lines = [line.rstrip() for line in note.text.splitlines()]
        said = [line for line in lines if line]
        if said:
            self.log = (shown_name(note.step, note.index), said[-1])
        return lines

    def counts(self) -> Counter[str]:
        """How many steps are in which state; bodies count once, boxes do not."""
        return Counter(row.state for row in self.walk() if row.kind not in ("box", "handler"))

    def _apply(self, row: Row, note: StepNote, now: float) -> bool:
        if note.index is not None and not note.total:
            return _apply_item(row, note, now)
        before = (row.state, row.attempt, row.done, row.failed, row.total)
        if note.state != row.state:
            row.changed = now
        if note.state == "running" and (row.began is None or row.state == "retrying"):
            row.began = now
        row.state, row.attempt, row.message = note.state, note.attempt, note.message
        row.total, row.done, row.failed = max(note.total, row.total), note.done, note.failed
        row.seconds = note.seconds if note.seconds is not None else row.seconds
        return before != (row.state, row.attempt, row.done, row.failed, row.total)


def _apply_item(row: Row, note: StepNote, now: float) -> bool:
    """One item of a row inside an `each`: the row runs while one of its items does."""
    assert note.index is not None
    before = row.items.get(note.index)
    if before == note.state and note.state != "retrying":
        return False
    row.per_item = True
    row.items[note.index] = note.state
    row.total = len(row.items)
    row.done += (note.state in ENDED and note.state not in BAD) - (before in ENDED and before not in BAD)
    row.failed += (note.state in BAD) - (before in BAD)
    row.began = now if row.began is None else row.began
    row.message = note.message or row.message
    row.state = "running" if row.done + row.failed < row.total else "failed" if row.failed else "success"
    row.changed = now
    return True


def shown_name(step: str, index: Index | None) -> str:
    """`resize[3]`, `resize[3][1]` when `each` nests."""
    if index is None:
        return step
    return step + "".join(f"[{i}]" for i in (index if isinstance(index, tuple) else (index,)))


# ---- from the plan --------------------------------------------------------------------------------------------------


def _rows(plan: Plan, block: int, *, per_item: bool) -> list[Row]:
    """The rows of a block: its named nodes in order, those of a composite in a box."""
    top = Row("", rows=[])
    for node in plan.blocks[block].nodes:
        if node.name:
            _box(top, node.box).rows.append(_row(plan, node, per_item))
    return top.rows


def _box(top: Row, names: Iterable[str]) -> Row:
    """The box with these names, outermost first: the last one that was opened, or a new one."""
    box = top
    for name in names:
        last = box.rows[-1] if box.rows else None
        if last is None or last.kind != "box" or last.name != name:
            last = Row(name, kind="box")
            box.rows.append(last)
        box = last
    return box


def _row(plan: Plan, node: Node, per_item: bool) -> Row:
    row = Row(node.name, line=node.line, per_item=per_item)
    match node:
        case TaskNode():
            row.retry = plan.settings[node.settings].retry
        case EachNode():
            row.kind = "each"
            row.rows = [] if node.simple else _rows(plan, node.body, per_item=True)
        case RepeatNode():
            row.rows = _rows(plan, node.body, per_item=True)
        case ChildNode():
            row.kind = "child"
            row.rows = []
    return row
