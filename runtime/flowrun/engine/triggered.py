"""The triggers of a partition, as state: what is deployed, what has come, and what became of it.

A trigger is kept by its id over deployments of its project. Besides its own triggers a partition knows those of all
partitions that wait for the end of a flow or the update of a dataset, to tell them.

Like the past, all of it is packed in pieces: one per trigger, one per project, and those of the ledgers; a snapshot
writes the pieces that changed.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import msgspec
from flowc.plan import DatasetSource, EventSource, FlowSource, TriggerDef
from flowc.types import Type

from flowrun.messages import Arrived, FlowPause, Scheduled
from flowrun.sources import leaves

from .ledger import Ledger

__all__ = ["MOST_RECENT", "Recent", "Start", "Triggered", "Triggers", "Watcher"]

#: no run has such an id: what pieces are called begins so, then comes "t/" trigger, "p/" project, "e/" trigger (what
#: came early), or "w/" number "/" trigger
_NAME = "\0trigger/"
#: starts that are remembered of what has no windows
MOST_RECENT = 10

#: what comes before its trigger is deployed here is kept for so long, at most so much of it
_EARLY_MS, _MOST_EARLY = 600_000, 1_000

RunEnd = Literal["running", "success", "failed", "cancelled", "expired"]


class Recent(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A run that something started."""

    run: str
    at_ms: int
    state: RunEnd = "running"


class Triggered(msgspec.Struct, array_like=True):
    """One trigger of this partition."""

    #: "flow.trigger"
    id: str
    project: str
    flow: str
    #: content hash of the plan of the flow
    plan: str
    definition: TriggerDef
    #: of the bodies of its events
    types: tuple[Type, ...]
    catchup: bool
    depends_on_past: bool
    #: when it was deployed first, milliseconds since 1970
    since_ms: int
    #: place of a custom source -> plan that gives its times
    schedules: dict[int, str] = {}
    #: since when it is not deployed any more; 0: it is
    gone_ms: int = 0
    paused: FlowPause | None = None
    #: of what is armed
    version: int = 1
    #: place of a grid -> its last time that was seen
    last: dict[int, int] = {}
    #: node of an `all_of` -> bits of its sources that have come
    came: dict[int, int] = {}
    #: the last time of a grid that came and has started nothing yet
    ticked: Scheduled | None = None
    #: key -> when it came last, and the run that it started; the oldest first
    keys: dict[str, tuple[int, str]] = {}
    #: runs that were started, times that were missed, what came and was refused
    started: int = 0
    missed: int = 0
    refused: int = 0
    #: the last runs that stand for no window, and reruns
    recent: tuple[Recent, ...] = ()
    #: window -> runs of later ones that wait for its success
    waiting: dict[int, list[str]] = {}
    #: place of a custom source -> its next times; and the run that works them out, in `Triggers.asked`
    upcoming: dict[int, tuple[int, ...]] = {}
    asks: dict[int, str] = {}
    asked: int = 0
    #: why its next times are not known
    trouble: str = ""

    @property
    def is_live(self) -> bool:
        """It is deployed, and not paused."""
        return not self.gone_ms and self.paused is None


class Watcher(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A trigger, of any partition, that waits for the end of a flow or for a dataset."""

    trigger: str
    place: int
    source: FlowSource | DatasetSource


class _Project(msgspec.Struct, array_like=True):
    """What is deployed of a project."""

    number: int
    manifest: str
    watchers: list[Watcher] = []


class Start(msgspec.Struct, frozen=True, gc=False):
    """A run that is to be started, once what is being decided has been followed up."""

    run: str
    trigger: str
    plan: str
    args: bytes
    scheduled: Scheduled | None = None
    #: it waits for the success of an earlier window
    waits: bool = False
    #: why it cannot run: kind and message
    refusal: tuple[str, str] | None = None


_encoder = msgspec.msgpack.Encoder()
_trigger_decoder = msgspec.msgpack.Decoder(Triggered)
_early_decoder = msgspec.msgpack.Decoder(list[tuple[int, Arrived]])
_project_decoder = msgspec.msgpack.Decoder(_Project)


class Triggers:
    """Of one partition."""

    def __init__(self) -> None:
        #: those that belong to this partition, by id; the gone ones, too
        self.own: dict[str, Triggered] = {}
        self._ledgers: dict[str, Ledger] = {}
        self.projects: dict[str, _Project] = {}
        #: flow or dataset -> who waits for it
        self.followers: dict[str, list[Watcher]] = {}
        self.readers: dict[str, list[Watcher]] = {}
        #: run -> trigger whose next times it works out
        self.asked: dict[str, str] = {}
        #: own triggers that wait for events that are raised
        self.hearing: set[str] = set()
        #: trigger that is not deployed here yet -> when it came, and what; the oldest first
        self._early: dict[str, list[tuple[int, Arrived]]] = {}
        #: runs to be started, and runs (ids) that wait no longer
        self.due: deque[Start | str] = deque()
        #: what is being started just now
        self.starting: Start | None = None
        self._changed: set[str] = set()

    def __bool__(self) -> bool:
        """Something is deployed, or was."""
        return bool(self.projects)

    def touch(self, trigger: Triggered) -> None:
        """It changed."""
        self._changed.add(f"{_NAME}t/{trigger.id}")

    def add(self, trigger: Triggered) -> None:
        """One that is new, or whose sources are."""
        self.own[trigger.id] = trigger
        if any(isinstance(leaf, EventSource) for leaf in leaves(trigger.definition.source)):
            self.hearing.add(trigger.id)
        else:
            self.hearing.discard(trigger.id)

    def drop(self, trigger: Triggered) -> None:
        """All that is known of it goes."""
        del self.own[trigger.id]
        self.touch(trigger)
        ledger = self._ledgers.pop(trigger.id, None)
        self._changed.update(f"{_NAME}w/{number}/{trigger.id}" for number in (ledger.numbers() if ledger else ()))
        self.hearing.discard(trigger.id)

    def ledger(self, trigger: str) -> Ledger:
        """To be looked at; it is written by `put`."""
        found = self._ledgers.get(trigger)
        return _EMPTY if found is None else found

    def put(self, trigger: str, at_ms: int, number: int, state: int) -> None:
        """Writes into the trigger's ledger."""
        ledger = self._ledgers.get(trigger)
        if ledger is None:
            ledger = self._ledgers[trigger] = Ledger()
        for piece in ledger.put(at_ms, number, state):
            self._changed.add(f"{_NAME}w/{piece}/{trigger}")

    def put_project(self, name: str, number: int, manifest: str, watchers: list[Watcher]) -> None:
        """What is deployed of a project from now on."""
        self.projects[name] = _Project(number, manifest, watchers)
        self._changed.add(f"{_NAME}p/{name}")
        self._follow()

    def _follow(self) -> None:
        self.followers, self.readers = {}, {}
        for _, project in sorted(self.projects.items()):
            for watcher in project.watchers:
                if isinstance(watcher.source, FlowSource):
                    self.followers.setdefault(watcher.source.flow, []).append(watcher)
                else:
                    self.readers.setdefault(watcher.source.name, []).append(watcher)

    def keep_early(self, event: Arrived, now: int) -> None:
        """Another partition knows of its trigger, and this one will soon."""
        for name in [name for name, kept in self._early.items() if kept[-1][0] + _EARLY_MS < now]:
            del self._early[name]
            self._changed.add(f"{_NAME}e/{name}")
        kept = self._early.setdefault(event.trigger, [])
        if len(kept) < _MOST_EARLY:
            kept.append((now, event))
            self._changed.add(f"{_NAME}e/{event.trigger}")

    def take_early(self, trigger: str) -> list[Arrived]:
        """The trigger is deployed: what came for it, once."""
        kept = self._early.pop(trigger, None)
        if kept is None:
            return []
        self._changed.add(f"{_NAME}e/{trigger}")
        return [event for _, event in kept]

    # ---- packed pieces

    def take_changed(self) -> list[str]:
        """The names of pieces that changed, came or went since the last call."""
        changed, self._changed = self._changed, set()
        return sorted(changed)

    @staticmethod
    def owns(name: str) -> bool:
        """It is the name of a piece."""
        return name.startswith(_NAME)

    def pack_piece(self, name: str) -> bytes:
        """b"" for one that is no more."""
        kind, _, rest = name.removeprefix(_NAME).partition("/")
        if kind == "t":
            return _encoder.encode(self.own[rest]) if rest in self.own else b""
        if kind == "p":
            return _encoder.encode(self.projects[rest]) if rest in self.projects else b""
        if kind == "e":
            return _encoder.encode(self._early[rest]) if rest in self._early else b""
        number, _, trigger = rest.partition("/")
        return self.ledger(trigger).pack_piece(int(number))

    def restore_pieces(self, pieces: dict[str, bytes]) -> None:
        """All pieces by their names, once."""
        for name, data in pieces.items():
            kind, _, rest = name.removeprefix(_NAME).partition("/")
            if kind == "t":
                trigger = _trigger_decoder.decode(data)
                self.add(trigger)
                self.asked.update((run, trigger.id) for run in trigger.asks.values())
            elif kind == "p":
                self.projects[rest] = _project_decoder.decode(data)
            elif kind == "e":
                self._early[rest] = _early_decoder.decode(data)
            else:
                number, _, of = rest.partition("/")
                self._ledgers.setdefault(of, Ledger()).restore_piece(int(number), data)
        self._follow()


_EMPTY = Ledger()
