"""Live notes: whoever listens gets them, and nothing depends on them."""

from __future__ import annotations

from typing import Literal

import msgspec

from .listings import Listing
from .records import RunRecord, SlaMark
from .wire import RunState, StepState, Wire

__all__ = [
    "Answered",
    "Ended",
    "Holding",
    "LogNote",
    "Presence",
    "Revoked",
    "StateNote",
    "StepNote",
    "ToClient",
    "Watch",
]


class Watch(Wire, frozen=True):
    """To coordinators (topic `watch`): this client wants to be told of a run, for the next few seconds. It is told at
    once what is known, and says so again for as long as it wants."""

    run: str
    client: str
    #: also of its steps, not only of its end
    steps: bool = False


class Ended(Wire, frozen=True, tag="ended"):
    """To a client (topic `to`): runs that ended. A record that is too large for a note is left out: read it."""

    records: tuple[RunRecord, ...]
    #: runs whose record must be read
    runs: tuple[str, ...] = ()


class Answered(Wire, frozen=True, tag="answered"):
    """To a client (topic `to`): what became of an event that it wants an answer to."""

    #: the event's
    id: str
    #: False: it was refused, and changed nothing
    ok: bool
    #: why it was refused, or what is worth knowing
    message: str = ""
    #: msgpack, what the kind of event promises
    value: bytes = b"\xc0"


class Presence(Wire, frozen=True):
    """A node says every second or so that it lives, and what it has (topic `presence`)."""

    #: unique among the nodes of an environment
    node: str
    group: str
    host: str
    pid: int
    #: milliseconds since 1970, by its own clock
    started_ms: int
    #: lane -> items that it runs at the same time
    capacity: dict[str, int] = msgspec.field(default_factory=dict)
    #: lane -> items that it runs now
    busy: dict[str, int] = msgspec.field(default_factory=dict)
    #: partitions that it leads
    leads: tuple[str, ...] = ()
    #: it may lead partitions
    leader: bool = False
    version: str = ""
    #: it ends: count on nothing of it
    stopping: bool = False


class Holding(Wire, frozen=True):
    """After a reconnect a worker says which bundles it still works on (topic `holding`): the server may have forgotten
    that it handed them out."""

    worker: str
    bundles: tuple[str, ...]


class StepNote(Wire, frozen=True):
    """A change of one step's state, for live views."""

    step: str
    index: int | tuple[int, ...] | None
    state: StepState
    attempt: int = 1
    seconds: float | None = None
    message: str = ""
    #: of an `each`: items in all, ended well, ended badly
    total: int = 0
    done: int = 0
    failed: int = 0


class StateNote(Wire, frozen=True, tag="state"):
    """To a client (topic `to`) that watches a run."""

    run: str
    state: RunState
    steps: tuple[StepNote, ...]
    #: its service levels, and when it is expected to end (milliseconds since 1970; 0: that is not known): told every
    #: now and then
    slas: tuple[SlaMark, ...] = ()
    expected_ms: int = 0


class Revoked(Wire, frozen=True):
    """Work that is no longer wanted (topic `revoke`): a worker that holds it may stop. What it says is ignored."""

    run: str
    scope: int
    node: int
    #: 0: every attempt
    attempt: int = 0
    #: of a range: items first..last-1; -1, -1: all of it
    first: int = -1
    last: int = -1


class LogNote(Wire, frozen=True):
    """Lines that a task wrote, as they come."""

    run: str
    step: str
    index: int | tuple[int, ...] | None
    attempt: int
    stream: Literal["out", "err", "log"]
    text: str


#: what a client is told
ToClient = StateNote | Ended | Listing | Answered
