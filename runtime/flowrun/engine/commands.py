"""What `decide` asks for. The shell does it, and may be asked again after a replay: every command is idempotent."""

from __future__ import annotations

import msgspec
from flowc.plan import AtSource, CronSource, IntervalSource, TriggerDef

from flowrun.messages import Event, StepNote, Then, WorkItem

__all__ = [
    "Answer", "Arm", "Changed", "ClearTimer", "Command", "Disarm", "EndRun", "Pause", "PutBlob", "Ready", "Resume",
    "Revoke", "Send", "SetTimer",
]  # fmt: skip


class Ready(msgspec.Struct, frozen=True, gc=False):
    """Work that may be dispatched. Of a simple `each` a range of items, which the shell may cut as it likes."""

    run: str
    scope: int
    #: index in the blocks of the plan (or of the child flow's plan)
    block: int
    node: int
    attempt: int
    #: items first..last-1; -1, -1: no range
    first: int
    last: int
    #: the values of the node's inputs, in order
    inputs: tuple[bytes, ...]
    #: content hash of the plan
    plan: str
    #: key in Plan.children; "" for the plan itself
    flow: str
    #: as `names.lane` has it
    lane: str
    #: 0 to 9, 9 first
    priority: int
    #: smaller goes first among equals: the place of the run's submission in the inbox
    order: int
    #: its worker died before: send it in a bundle of its own, so that it takes no neighbours along
    alone: bool = False
    #: as WorkItem has it
    index: int | tuple[int, ...] | None = None
    #: as WorkItem has it
    then: tuple[Then, ...] = ()
    expires_ms: int = 0
    #: workers died of it, or beside it, more than once: only one such bundle is out at a time, so that the one that
    #: kills is found
    suspect: bool = False
    #: its run is paused, and it goes on all the same
    goes_on: bool = False

    def item(self, plan: int, first: int | None = None, last: int | None = None) -> WorkItem:
        """The work item of it, or of a part of its range; `plan` is the index in the bundle's plans."""
        return WorkItem(
            run=self.run,
            plan=plan,
            flow=self.flow,
            scope=self.scope,
            block=self.block,
            node=self.node,
            attempt=self.attempt,
            inputs=self.inputs,
            first=self.first if first is None else first,
            last=self.last if last is None else last,
            index=self.index,
            then=self.then,
            expires_ms=self.expires_ms,
        )


class Revoke(msgspec.Struct, frozen=True, gc=False):
    """This work is no longer wanted: drop it if it was not dispatched, stop it if it runs."""

    run: str
    scope: int
    node: int
    #: 0: every attempt
    attempt: int
    first: int = -1
    last: int = -1


class SetTimer(msgspec.Struct, frozen=True, gc=False):
    """Append `TimerFired(run, timer)` to the inbox at this time, not earlier."""

    run: str
    timer: str
    #: milliseconds since 1970
    at_ms: int


class ClearTimer(msgspec.Struct, frozen=True, gc=False):
    run: str
    timer: str


class PutBlob(msgspec.Struct, frozen=True, gc=False):
    """Store these bytes before anything that follows in the list is dispatched."""

    digest: str
    data: bytes


class EndRun(msgspec.Struct, frozen=True, gc=False):
    """The run ended: store `engine.record(run)`, then `engine.forget(run)`."""

    run: str
    #: who is told of it at once; "": nobody
    client: str = ""


class Send(msgspec.Struct, frozen=True, gc=False):
    """Append this event to the inbox of another partition. A snapshot waits until it is there; after a replay it is
    sent again with the same id, and its receiver takes it once."""

    partition: str
    event: Event
    #: unique for ever, and the same after every replay
    id: str


class Answer(msgspec.Struct, frozen=True, gc=False):
    """Tell a client what became of its event. May be lost: it sends the event again, and is answered again."""

    client: str
    #: the event's
    id: str
    #: as Answered has them
    ok: bool
    message: str = ""
    value: bytes = b"\xc0"


class Pause(msgspec.Struct, frozen=True, gc=False):
    """Dispatch nothing of this run, not even what was asked for before and is not dispatched yet, until `Resume`."""

    run: str


class Resume(msgspec.Struct, frozen=True, gc=False):
    """Dispatch what waits of this run, and is still wanted."""

    run: str


class Arm(msgspec.Struct, frozen=True, gc=False):
    """Append `Tick(trigger, version, …)` to the inbox with the times of its grid after a moment, when they have come:
    not earlier. The last one counts, and it holds until the trigger is armed again or disarmed."""

    trigger: str
    #: source of a grid, and the definition for its jitter, start and end
    definition: TriggerDef
    source: CronSource | IntervalSource | AtSource
    #: grows with each change of what is armed
    version: int
    #: milliseconds since 1970
    after_ms: int
    #: which of the trigger's sources (see `sources`)
    place: int = 0


class Disarm(msgspec.Struct, frozen=True, gc=False):
    """Of all sources of a trigger."""

    trigger: str


class Changed(msgspec.Struct, frozen=True, gc=False):
    """For live views: the last state of the steps that changed. May be dropped or joined with later ones."""

    run: str
    steps: tuple[StepNote, ...]


Command = (
    Ready | Revoke | SetTimer | ClearTimer | PutBlob | EndRun | Changed | Send | Answer | Pause | Resume | Arm | Disarm
)
