"""What goes into the inbox of a partition."""

from __future__ import annotations

from typing import Literal

from .deployed import Arrived, Backfill, Deployed, Scheduled, SetVar, Tick
from .permits import Ask, AskHolders, Grant, Holds, Release
from .wire import Wire
from .work import Outcome, WorkItem

__all__ = [
    "Again",
    "Begun",
    "Cancel",
    "Control",
    "Decision",
    "Event",
    "Lost",
    "Raised",
    "Results",
    "Signal",
    "Submit",
    "TakeOver",
    "TimerFired",
]


class Again(Wire, frozen=True):
    """Which earlier run a run takes results from, and what of it runs again."""

    run: str
    #: content hash in the blob store of its image (see `engine.image`)
    image: str
    #: these run again, and all after them, besides what failed
    steps: tuple[str, ...] = ()
    #: all of it runs again
    whole: bool = False
    #: who wants it, as they call themselves, and why
    by: str = ""
    note: str = ""


class Submit(Wire, frozen=True, tag="submit"):
    run: str
    #: content hash in the blob store
    plan: str
    #: msgpack map from parameter to value
    args: bytes
    #: what triggered the run: "manual", later a trigger's name
    trigger: str = "manual"
    #: who is told of its end at once (topic `to`); "": nobody
    client: str = ""
    #: not begun by then, it ends as expired: milliseconds since 1970 by the server's clock; 0: it never does
    expires_ms: int = 0
    #: of all its steps that do not set one themselves; None: the plan's
    priority: int | None = None
    #: the same key is the same run for as long as results are kept; the run's id was made of it; "": none
    key: str = ""
    #: it is a rerun
    again: Again | None = None
    #: so many detached calls, one of the other, stand before it
    depth: int = 0
    #: None: the day (UTC) on which it is submitted
    scheduled: Scheduled | None = None


class Results(Wire, frozen=True, tag="results"):
    bundle: str
    worker: str
    outcomes: tuple[Outcome, ...]
    #: of what replaces tasks: content hashes in the blob store
    plans: tuple[str, ...] = ()


class Begun(Wire, frozen=True, tag="begun"):
    """A worker executes an attempt. Only steps tell whose service level asks when they begin."""

    run: str
    scope: int
    node: int
    attempt: int


class Lost(Wire, frozen=True, tag="lost"):
    """A bundle was delivered again: its worker died. Nothing of it was executed by the one who reports."""

    bundle: str
    items: tuple[WorkItem, ...]


class TimerFired(Wire, frozen=True, tag="timer"):
    run: str
    timer: str


class Cancel(Wire, frozen=True, tag="cancel"):
    """Of a run that is not known yet (its submission is delayed): it ends as cancelled when it comes."""

    run: str
    reason: str = "cancelled"
    #: a step or a box (a group, a chain) of it; "": all of it
    step: str = ""


class Signal(Wire, frozen=True, tag="signal"):
    """A message into a run that lives. Kept until a step waits for a signal of this name."""

    run: str
    name: str
    #: msgpack
    value: bytes
    #: unique: the same event may come again, and counts once
    id: str
    #: who wants an answer; "": nobody
    client: str = ""
    #: who sent it, as they call themselves
    by: str = ""
    #: the run has not begun (its submission is delayed): keep it until it has
    early: bool = False


class Decision(Wire, frozen=True, tag="decision"):
    """The answer to a step that waits for somebody's approval."""

    run: str
    #: its name; "": the only one that waits
    step: str
    approved: bool
    #: None: nothing was said
    note: str | None
    #: as Signal has them
    id: str
    client: str = ""
    by: str = ""


class Raised(Wire, frozen=True, tag="raised"):
    """Something happened outside. It is in the inbox of every partition: all steps that wait for it now end."""

    subject: str
    #: what it is about; "": nothing in particular
    key: str
    #: msgpack
    value: bytes
    #: unique: the same event may come again, and counts once
    id: str
    #: who wants an answer; "": nobody
    client: str = ""
    #: of an event that many wait for, the rest: runs behind this one, that have waited since then or longer
    after: str = ""
    at_ms: int = 0


class Control(Wire, frozen=True, tag="control"):
    """What an operator does to a run by hand, or to all runs of a flow (pause, resume)."""

    action: Literal["pause", "resume", "mark"]
    #: "": all runs of `flow`, those to come included
    run: str = ""
    flow: str = ""
    #: mark: the step, how it ends, and its value (msgpack; b"": null)
    step: str = ""
    state: Literal["success", "skipped", "failed"] = "success"
    value: bytes = b""
    #: who does it, as they call themselves, and why
    by: str = ""
    note: str = ""
    #: as Signal has them
    id: str = ""
    client: str = ""
    #: pause, resume: a trigger, "flow.trigger", instead of a run or a flow
    trigger: str = ""


class TakeOver(Wire, frozen=True, tag="takeover"):
    """A coordinator leads the partition from here on. What it decides, it decides by these rules."""

    epoch: int
    node: str
    #: version of the rules of `decide`
    rules: int
    #: how long ids of ended runs are remembered from here on, and those of idempotency keys and cancellations of runs
    #: that are not known: decisions follow from them, so they stand in the inbox
    remember_ms: int = 150_000
    keep_ms: int = 604_800_000


Event = (
    Submit | Results | Lost | TimerFired | Cancel | TakeOver | Ask | Release | Grant | AskHolders | Holds
    | Signal | Decision | Raised | Control
    | Deployed | Tick | Arrived | Backfill | SetVar | Begun
)  # fmt: skip
