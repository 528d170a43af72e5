"""How runs and steps end, as the interpreter has it: reports for who asks, and what it keeps while it walks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from flowc import ir

from .outside import Expected
from .rules import RUN
from .uses import Use

__all__ = ["UNDO", "Done", "Ended", "Error", "Open", "Outcome", "Place", "Report", "Row", "Scope"]

#: what stands before the name of a step that is undone
UNDO = "undo "


# ---- what comes out -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Error:
    """Why something failed."""

    type: str
    message: str


@dataclass(frozen=True)
class Done:
    """A call that succeeded and can be undone."""

    #: where it stood
    prefix: str
    name: str
    index: tuple[int, ...]
    undo: ir.Undo
    #: of the call, and its result
    args: dict[str, Any]

    def inside(self, prefix: str = "", index: tuple[int, ...] = ()) -> Done:
        """The same, seen from further outside."""
        return replace(self, prefix=prefix + self.prefix, index=(*index, *self.index))


@dataclass(frozen=True)
class Row:
    """How one step ended, or one item of an `each`."""

    step: str
    index: tuple[int, ...]
    state: str
    attempts: int
    #: the title of the question that it asks somebody
    asks: str | None = None

    @property
    def path(self) -> str:
        """As people call it."""
        return self.step + "".join(f"[{place}]" for place in self.index)


@dataclass(frozen=True)
class Open:
    """Rows that a run may have or not, in any state: of these steps, under `prefix`, items above `failed`, or all."""

    steps: frozenset[str]
    prefix: tuple[int, ...]
    failed: int | None

    def covers(self, step: str, index: tuple[int, ...]) -> bool:
        step = step.replace(UNDO, "")
        depth = len(self.prefix)
        inside = index[:depth] == self.prefix
        if self.failed is not None:
            inside = inside and len(index) > depth and index[depth] > self.failed
        return inside and any(step == name or step.startswith(f"{name}.") for name in self.steps)


@dataclass(frozen=True)
class Report:
    """How a run, or a child run, must end."""

    #: success or failed
    state: str
    #: the value of `return`, or None
    value: Any = None
    error: Error | None = None
    #: the step that failed first in written order
    step: str | None = None
    rows: tuple[Row, ...] = ()
    open: tuple[Open, ...] = ()
    #: it is a success, but what it returns was skipped
    is_skipped: bool = False
    #: what must be said to it from outside
    expected: Expected = field(default_factory=Expected)
    #: calls that a flow around may have to undo, in written order
    done: tuple[Done, ...] = ()


# ---- inside ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """How a step ended."""

    state: str
    value: Any = None
    error: Error | None = None
    attempts: int = 0
    #: of an `each` that ran: the states of its items, and the first that failed
    items: tuple[str, ...] = ()
    failed_item: int | None = None
    #: it ended later than everything that does not wait so long
    is_late: bool = False
    #: the errors of attempts that failed and were followed by another
    retried: tuple[Error, ...] = ()


@dataclass(eq=False)
class Ended:
    """A step that ended, for whoever looks at a whole block."""

    name: str
    id: int | None
    outcome: Outcome
    #: it only passes on how another step ended
    is_copy: bool = False
    #: the step that the user knows it by
    blame: str = ""
    #: by a join that succeeded
    is_handled: bool = False
    #: of a join that did not: the first failure in it; of a part that passes on how another ended: that one
    cause: Ended | None = None


@dataclass
class Scope:
    """An instance of a block: the body of a flow, an item, a round, a handler."""

    names: frozenset[str]
    #: of its steps, in written order
    uses: tuple[Use, ...]
    index: int | None = None
    rows: list[Row] = field(default_factory=list)
    open: list[Open] = field(default_factory=list)
    #: every step that failed, handled or not
    failed: list[Ended] = field(default_factory=list)
    #: what ended while a step was interpreted, by its id
    parts: dict[int, list[Ended]] = field(default_factory=dict)
    #: the names of the steps with which it came, by its id
    names_of: dict[int, frozenset[str]] = field(default_factory=dict)
    #: calls that may have to be undone
    done: list[Done] = field(default_factory=list)

    def take(self, inner: Scope, index: int) -> None:
        """The rows of an item."""
        self.done += [found.inside(index=(index,)) for found in inner.done]
        self.rows += [replace(row, index=(index, *row.index)) for row in inner.rows]
        self.open += [Open(found.steps, (index, *found.prefix), found.failed) for found in inner.open]


@dataclass(frozen=True)
class Place:
    """Where a step stands."""

    env: dict[int, Outcome]
    scope: Scope
    #: the steps whose failure goes where those of this place go
    frame: list[Ended]
    #: RUN, or the state of everything here
    guard: str = RUN

    def at(self, guard: str, frame: list[Ended] | None = None) -> Place:
        guard = guard if self.guard == RUN else self.guard
        return Place(self.env, self.scope, self.frame if frame is None else frame, guard)
