"""What is remembered of the service levels of a run (see `slas`). Plain data, a part of the state."""

from __future__ import annotations

from typing import Literal

import msgspec

from flowrun.messages import SlaMark

__all__ = ["Level", "Levels", "What"]

What = Literal["start", "finish"]


class Level(msgspec.Struct, array_like=True, gc=False):
    """A service level whose end has not come."""

    #: as SlaMark has them: the step by its name from the run's body on
    step: str
    what: What
    #: 0: never, it only measures how long it takes
    due_ms: int
    #: when a warning comes, milliseconds since 1970; 0: none does, or it came
    warn_ms: int
    #: whose it is: of a node; of the flow whose body the scope is (node -1); of the run (scope -1)
    scope: int
    node: int
    name: str
    #: the flow in which it is written, and the step of that; "": the flow's own
    flow: str
    own_step: str
    #: inside of an `each`, whose node it is of: the step, as key in Plan.children, block and node; -1
    child: str = ""
    block: int = -1
    inner: int = -1
    warned_ms: int = 0
    missed_ms: int = 0
    #: how long it took from then on is remembered, milliseconds since 1970; 0: it is not
    since_ms: int = 0
    #: the step stands in a `repeat`: the same comes again
    repeats: bool = False

    def mark(self, done_ms: int = 0) -> SlaMark:
        """How it stands, or what became of it."""
        return SlaMark(self.step, self.what, self.due_ms, self.warned_ms, self.missed_ms, self.name, done_ms)


class Levels(msgspec.Struct, array_like=True):
    """The service levels of a run."""

    #: number of the next one
    next: int = 0
    #: those whose end has not come, by number; and whose they are ("scope/node") -> numbers
    open: dict[int, Level] = msgspec.field(default_factory=dict)
    at: dict[str, list[int]] = msgspec.field(default_factory=dict)
    #: the others, in the order of their ends
    marks: list[SlaMark] = msgspec.field(default_factory=list)
    #: steps of handlers that ended before the run began: number of the handler -> packed records
    rows: dict[int, bytes] = msgspec.field(default_factory=dict)

    def all_marks(self) -> tuple[SlaMark, ...]:
        """All of them, as they stand."""
        return (*self.marks, *(level.mark() for level in self.open.values() if level.due_ms))
