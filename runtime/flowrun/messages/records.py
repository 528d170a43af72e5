"""What a run was."""

from __future__ import annotations

from typing import Literal

from .deployed import Scheduled
from .wire import RunState, StepState, Wire
from .work import Failure

__all__ = ["AuditEntry", "RunRecord", "SlaMark", "StepRecord"]


class StepRecord(Wire, frozen=True):
    """One step of an ended run, or one item of an `each`."""

    step: str
    #: position in the enclosing `each`; a tuple when they nest; None outside
    index: int | tuple[int, ...] | None
    state: StepState
    attempts: int
    seconds: float | None
    error: Failure | None = None


class AuditEntry(Wire, frozen=True):
    """What somebody did to a run by hand."""

    #: milliseconds since 1970
    at_ms: int
    #: "pause", "resume", "mark success", "rerun", …
    action: str
    step: str = ""
    #: who, as they call themselves, and why
    by: str = ""
    note: str = ""


class SlaMark(Wire, frozen=True):
    """A service level that a run, or a step of it, has, and what became of it."""

    #: "" : the run's own
    step: str
    #: "start", "finish"
    what: Literal["start", "finish"]
    #: when it was due, milliseconds since 1970
    due_ms: int
    #: when a warning and a miss fired; 0: it did not
    warned_ms: int = 0
    missed_ms: int = 0
    name: str = ""
    #: when what was due came, in time or late; 0: it has not come, or it ended in another way than a success
    done_ms: int = 0


class RunRecord(Wire, frozen=True):
    """An ended run, as it is stored for its client."""

    run: str
    flow: str
    state: RunState
    #: the value of `return`, or null
    result: bytes
    error: Failure | None
    #: where it failed: the step's name
    failed_step: str | None
    started_ms: int
    ended_ms: int
    steps: tuple[StepRecord, ...]
    #: as Submit has it
    trigger: str = "manual"
    #: what was done to it by hand, in order
    audit: tuple[AuditEntry, ...] = ()
    #: where the plan keeps them: msgpack map from step to value. An `each` that failed has one, too, which holds
    #: records of its failures; the step whose value is the result has none here
    values: bytes = b""
    #: it is kept so long from its end, as its flow says; 0: as long as the environment says
    keep_ms: int = 0
    scheduled: Scheduled | None = None
    slas: tuple[SlaMark, ...] = ()
