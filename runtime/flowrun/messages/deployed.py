"""What goes into inboxes because of a deployment: itself, times of triggers, what arrives for them, backfills,
variables."""

from __future__ import annotations

from typing import Literal

from .wire import Wire

__all__ = ["Arrived", "Backfill", "Deployed", "MOST_WINDOWS", "Scheduled", "SetVar", "Tick", "WINDOW_STATES"]

#: what became of a window of a backfill: it waits; runs; succeeded; failed; had succeeded before; runs, but others
#: started it; was not to be run
WINDOW_STATES = ("left", "running", "done", "failed", "kept", "elsewhere", "spared")
#: windows of one backfill
MOST_WINDOWS = 100_000


class Scheduled(Wire, frozen=True):
    """The time that a run stands for. All in milliseconds since 1970."""

    #: when it was to start: its place in the grid of its trigger
    at_ms: int
    #: its window, the end left out
    start_ms: int
    end_ms: int
    #: the day on which the window begins, in the trigger's time zone: "2026-01-31"
    date: str
    #: the trigger's id, "flow.trigger"
    trigger: str = ""
    #: a backfill or a catch-up makes up for it: nobody waited for it at that time, so that its service levels count
    #: from its submission
    made_up: bool = False


class Deployed(Wire, frozen=True, tag="deployed"):
    """A project's deployment changed. It is in the inbox of every partition, whose leader puts it there."""

    project: str
    #: grows with every deployment of the project; what comes with a smaller or equal one is outdated
    number: int
    #: content hash of the manifest in the blob store; "": nothing of the project is deployed any more
    manifest: str
    #: when it was deployed, milliseconds since 1970
    at_ms: int


class Tick(Wire, frozen=True, tag="tick"):
    """Times of a trigger's grid have come."""

    trigger: str
    #: of what was armed (see commands.Arm); another one is outdated
    version: int
    #: in order
    times: tuple[Scheduled, ...]
    #: which of the trigger's sources (see `sources`)
    place: int = 0
    #: times have come that are later than these: they follow in another message
    more: bool = False
    #: the grid has no times but these after this moment and up to the last one: a message that was overtaken is noticed
    after_ms: int = 0


class Arrived(Wire, frozen=True, tag="arrived"):
    """What a trigger waits for happened: an event, a request, a file, the end of a run, an update of a dataset. To the
    trigger's partition."""

    trigger: str
    #: unique for the trigger: the same may come again, and counts once
    id: str
    #: msgpack of the record `event`
    value: bytes
    #: of an `any_of` or `all_of`: which of its sources, in written order, from 0 (see `sources`)
    source: int = 0
    #: what it is about, for `dedupe_ms`; "": nothing in particular
    key: str = ""
    #: as Signal has it
    client: str = ""


class Backfill(Wire, frozen=True, tag="backfill"):
    """Runs of a trigger's flow for many windows. To the trigger's partition."""

    trigger: str
    #: unique: the same may come again, and counts once
    id: str
    #: in the order in which they are to be started
    times: tuple[Scheduled, ...]
    #: runs of it at the same time
    concurrency: int
    #: which windows: those that never ran, and those whose last run did not succeed; or only the latter
    only: Literal["open", "failed"] = "open"
    #: msgpack map: values of parameters
    args: bytes = b"\x80"
    by: str = ""
    client: str = ""
    #: it is to end: nothing more is started
    stop: bool = False
    #: of the backfill: what asks for the same windows in the same way has the same; while one of this name lives,
    #: another one is the same
    name: str = ""
    #: many windows come in several messages: where these stand among all of them, and how many there are
    first: int = 0
    total: int = 0
    #: nothing is started: the answer tells how each window stands, as bytes that are places in WINDOW_STATES
    dry: bool = False


class SetVar(Wire, frozen=True, tag="var"):
    """A variable of the environment has another value. It is in the inbox of every partition."""

    name: str
    #: msgpack; None: it is unset
    value: bytes | None
    #: as Signal has them
    id: str
    client: str = ""
    by: str = ""
    #: grows with every change of the variable; what comes with a smaller one is outdated
    version: int = 0
