"""The steps of a run as a tree of rows, in written order, kept up to date by live notes.

The plan gives the rows: a step is a row, a composite a box of rows, and a child flow has the rows of its steps below
it. An `each` is one row that counts its items. Notes name steps, those of a child flow after its own name and a dot.
They may be lost or come joined, so a row shows the last that is known of it, and nothing is derived from an order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from flowc.plan import ChildNode, Node, Plan, RetryPolicy, TaskNode
from flowrun.messages import LogNote, SlaMark, StateNote, StepNote, StepState

__all__ = ["BAD", "ENDED", "Row", "Tree", "shown_name"]

#: states that a step does not leave
ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "cancelled", "expired"})
#: those that deserve a look
BAD: tuple[StepState, ...] = ("failed", "upstream_failed", "cancelled", "expired")

#: rows of calls inside calls that are shown below each other; deeper ones stand at the end
_DEEPEST = 20


@dataclass
class Row:
    """One line of the tree."""

    #: as it is shown
    name: str
    #: as notes name it; "" for a box or a handler
    step: str = ""
    kind: Literal["step", "child", "box", "handler"] = "step"
    #: in the flow's file
    line: int = 0
    #: the rows of a box, a handler or a child flow
    rows: list[Row] = field(default_factory=list)
    retry: RetryPolicy | None = None

    state: StepState = "waiting"
    attempt: int = 1
    #: how long it took, once it has ended
    seconds: float | None = None
    #: the error of the last attempt, or why it is skipped
    message: str = ""
    #: of an `each`: items in all, ended well, ended badly
    total: int = 0
    done: int = 0
    failed: int = 0
    #: when the state last changed, and when it began to run, by the clock of whoever applies notes
    changed: float = 0.0
    began: float | None = None

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
        if self.state != "retrying" or self.retry is None:
            return None
        policy, number = self.retry, max(self.attempt - 1, 1)
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
        self.rows = _rows(plan, plan, 0, "")
        for handler in plan.handlers:
            rows = _rows(plan, plan, handler.block, "")
            self.rows.append(Row(f"on {handler.event}", kind="handler", rows=rows))
        self._by_step: dict[str, Row] = {}
        for row in self.walk():
            if row.step:
                self._by_step.setdefault(row.step, row)
        #: the last line that a task wrote, and which
        self.log: tuple[str, str] | None = None
        #: service levels, and when the run is expected to end (0: that is not known), as they were told last
        self.levels: tuple[SlaMark, ...] = ()
        self.expected_ms = 0

    def walk(self) -> Iterator[Row]:
        for row in self.rows:
            yield from row.walk()

    def row(self, step: str) -> Row:
        """The row of a step; one that the plan does not name (what undoes another one; a flow's call of itself) gets a
        row at the end, or at the end of those of its call."""
        row = self._by_step.get(step)
        if row is None:
            call, _, name = step.rpartition(".")
            is_inside = bool(call) and call.count(".") < _DEEPEST
            row = self._by_step[step] = Row(name if is_inside else step, step)
            (self.row(call).rows if is_inside else self.rows).append(row)
        return row

    def apply(self, note: StateNote, now: float) -> None:
        """Takes a note in. `now` is in seconds, by any steady clock."""
        if note.slas or note.expected_ms:
            self.levels, self.expected_ms = note.slas, note.expected_ms
        for step in note.steps:
            if step.index is None:
                _apply(self.row(step.step), step, now)

    def apply_log(self, note: LogNote) -> list[str]:
        """The lines of the note; the last one that says something is remembered."""
        lines = [line.rstrip() for line in note.text.splitlines()]
        said = [line for line in lines if line]
        if said:
            self.log = (shown_name(note.step, note.index), said[-1])
        return lines

    def counts(self) -> Counter[str]:
        """How many steps are in which state; boxes do not count, nor do handlers before they are called."""
        rows = (row for row in self.rows if row.kind != "handler" or row.shown_state != "waiting")
        return Counter(row.state for top in rows for row in top.walk() if row.step)


def _apply(row: Row, note: StepNote, now: float) -> None:
    if note.state != row.state:
        row.changed = now
    if note.state == "running" and (row.began is None or row.state == "retrying"):
        row.began = now
    row.state, row.attempt, row.message = note.state, note.attempt, note.message
    if note.total:
        row.total, row.done, row.failed = note.total, note.done, note.failed
    elif note.state == "success":
        row.done = row.total - row.failed  # a note without counts: the run's record
    if note.seconds is not None:
        row.seconds = note.seconds
    elif row.state in ENDED and row.began is not None and row.seconds is None:
        row.seconds = now - row.began  # of an `each` or a child flow, whose parts are timed


def shown_name(step: str, index: int | tuple[int, ...] | None) -> str:
    """`resize[3]`, `resize[3][1]` when `each` nests."""
    if index is None:
        return step
    return step + "".join(f"[{i}]" for i in (index if isinstance(index, tuple) else (index,)))


# ---- from the plan --------------------------------------------------------------------------------------------------


def _rows(outermost: Plan, plan: Plan, block: int, label: str, around: tuple[str, ...] = ()) -> list[Row]:
    """The rows of a block: its named nodes in order, those of a composite in a box. `around` are the flows whose calls
    stand around it."""
    top = Row("")
    for node in plan.blocks[block].nodes:
        if node.name:
            _box(top, node.box).rows.append(_row(outermost, plan, node, label, around))
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


def _row(outermost: Plan, plan: Plan, node: Node, label: str, around: tuple[str, ...]) -> Row:
    row = Row(node.name, label + node.name, line=node.line)
    if isinstance(node, TaskNode):
        row.retry = plan.settings[node.settings].retry
    elif isinstance(node, ChildNode):
        row.kind = "child"
        child = None if node.detached or node.flow in around else outermost.children.get(node.flow)
        inside = (*around, node.flow)
        row.rows = _rows(outermost, child, 0, f"{row.step}.", inside) if child is not None else []
    return row
