"""What all connections share: the streams, the server's clock, and its crashes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from flowrun.errors import Conflict, StoreError, TransportError
from flowrun.settings import Settings
from flowrun.transport import Entry

from .faults import Faults
from .inbox import MemoryInbox
from .journal import Journal
from .notes import Notes
from .outside import Outside
from .work import Work, WorkStream

__all__ = ["EPOCH_MS", "Effect", "MemoryServer"]

#: where the server's clock starts, milliseconds since 1970: 2026-01-01, so that runs of a simulation are alike
EPOCH_MS = 1_767_225_600_000


class Effect(NamedTuple):
    """Something that the server did."""

    #: name of the connection that asked for it; "": it was delayed
    who: str
    #: append, append_at, purge, fence, dispatch, hand_out, ack, write_entry, remove_entry, put_result
    what: str
    #: the partition, the entry's key, the run
    where: str
    data: bytes = b""
    #: sequence, number of the bundle, revision; of a dispatch its fence
    number: int = 0


class MemoryServer:
    """Made inside a running loop, whose clock it uses."""

    def __init__(self, settings: Settings | None = None, faults: Faults | None = None) -> None:
        self.settings = settings or Settings()
        self.faults = faults or Faults()
        #: told of everything that the server does; for simulation
        self.observe: Callable[[Effect], None] | None = None
        #: false while it is down
        self.up = True
        #: loop time at which it came up last; None: it never went down
        self.restarted: float | None = None
        #: requests that wait for it to come up
        self.held: list[Callable[[], None]] = []
        #: what connections do when it is up again
        self.on_restart: list[Callable[[], None]] = []
        self.notes: Notes[bytes] = Notes()
        self.changed_entries: Notes[Entry] = Notes()
        self._stores = 0
        self._make_stores()

    def _make_stores(self) -> None:
        self._stores += 1
        self.inboxes: dict[str, MemoryInbox] = {}
        self.stream = WorkStream(self.now, self.settings.ack_wait)
        self.blobs: dict[str, bytes] = {}
        #: when each blob was put last, milliseconds since 1970
        self.blob_times: dict[str, int] = {}
        #: run -> (record, loop time at which it is forgotten)
        self.results: dict[str, tuple[bytes, float]] = {}
        self.entries: dict[str, Entry] = {}
        self.logs: dict[str, list[bytes]] = {}
        self.outside = Outside(self.now, self.now_ms, self.settings.heard_wait)
        #: the last change of any entry
        self.revision = 0
        #: of blobs and results, and of entries
        self.journal, self.entry_journal = Journal(self.now), Journal(self.now)

    @property
    def work(self) -> dict[int, Work]:
        """Bundles that are not acknowledged, in the order of their dispatch."""
        return self.stream.bundles

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return EPOCH_MS + int(self.now() * 1000)

    def store(self) -> None:
        """Something is about to be stored. Raises StoreError if there is no room."""
        if self.faults.strikes(self.faults.refuse):
            raise StoreError("the server has no room for it")

    def did(self, effect: Effect) -> None:
        if self.observe is not None:
            self.observe(effect)

    # ---- inboxes

    def open_partition(self, partition: str) -> None:
        if partition not in self.inboxes:
            created = f"{self._stores}-{self.now():.6f}"
            self.inboxes[partition] = MemoryInbox(created, self.now, self.now_ms, partial(self._came_due, partition))

    def _came_due(self, partition: str, seq: int, data: bytes) -> None:
        self.did(Effect("", "append", partition, data, seq))

    def inbox(self, partition: str) -> MemoryInbox:
        """To be written or read. Raises TransportError."""
        inbox = self.inboxes.get(partition)
        if inbox is None:
            raise TransportError(f"partition {partition} is not open")
        return inbox

    def drop_partition(self, partition: str) -> None:
        inbox = self.inboxes.pop(partition, None)
        if inbox is not None:
            inbox.open = False
            inbox.changed.fire()
        self.stream.clear(partition)
        self.stream.fences.pop(partition, None)
        for key in [key for key in self.entries if key.rpartition(".")[2] == partition]:
            self.remove_entry(key)

    # ---- entries

    def write_entry(self, key: str, data: bytes, expected: int | None) -> int:
        """Without data, it is removed."""
        before = self.entries.get(key)
        revision = before.revision if before else 0
        if expected is not None and expected != revision:
            raise Conflict(f"{key} was changed in between: it has revision {revision}, not {expected}")
        entry = self._change_entry(key, data)
        self.entries[key] = entry
        if not data:
            del self.entries[key]
        self.entry_journal.note(lambda: self._restore_entry(key, before))
        return entry.revision

    def remove_entry(self, key: str) -> None:
        before = self.entries.pop(key, None)
        if before is not None:
            self._change_entry(key, b"")
            self.entry_journal.note(lambda: self._restore_entry(key, before))

    def _change_entry(self, key: str, data: bytes) -> Entry:
        self.revision += 1
        entry = Entry(key=key, revision=self.revision, data=data)
        for listener in self.changed_entries.listeners(key.partition(".")[0], "*"):
            listener.queue.put_nowait(entry)
        return entry

    def _restore_entry(self, key: str, before: Entry | None) -> None:
        self.revision -= 1
        self.entries.pop(key, None)
        if before is not None:
            self.entries[key] = before

    # ---- blobs and results

    def put_blob(self, digest: str, data: bytes) -> None:
        if digest not in self.blobs:
            self.journal.note(lambda: self._drop_blob(digest))
        self.blobs[digest] = data
        self.blob_times[digest] = self.now_ms()

    def _drop_blob(self, digest: str) -> None:
        self.blobs.pop(digest, None)
        self.blob_times.pop(digest, None)

    def get_blob(self, digest: str) -> bytes:
        try:
            return self.blobs[digest]
        except KeyError:
            raise StoreError(f"the blob store does not have {digest}") from None

    def collect_blobs(self, keep_seconds: float) -> None:
        firsts = [first for inbox in self.inboxes.values() if (first := inbox.first_ms()) is not None]
        before = min([self.now_ms() - keep_seconds * 1000, *firsts]) - self.settings.blob_margin * 1000
        for digest in [digest for digest, time_ms in self.blob_times.items() if time_ms < before]:
            self._drop_blob(digest)

    def put_result(self, run: str, data: bytes, keep_seconds: float) -> None:
        before = self.results.get(run)
        self.results[run] = (data, self.now() + keep_seconds)
        self.journal.note(lambda: self._restore_result(run, before))

    def _restore_result(self, run: str, before: tuple[bytes, float] | None) -> None:
        self.results.pop(run, None)
        if before is not None:
            self.results[run] = before

    def result(self, run: str) -> bytes | None:
        data, ends = self.results.get(run, (b"", 0.0))
        return data if ends > self.now() else None

    # ---- live notes

    def notify(self, topic: str, key: str, data: bytes) -> None:
        for listener in self.notes.listeners(topic, key):
            listener.queue.put_nowait(data)

    # ---- crashes

    def crash(self, lost_seconds: float = 0.0) -> None:
        """The process is gone until `restart`. `lost_seconds`: with the power of its machine; what came in that time
        is lost, of each stream from some moment on."""
        self.up = False
        faults = self.faults
        if lost_seconds:
            journals = [self.stream.journal, self.journal, self.entry_journal]
            journals += [inbox.journal for inbox in self.inboxes.values()]
            for journal in journals:
                journal.go_back(self.now() - faults.wait(lost_seconds))
        for inbox in self.inboxes.values():
            inbox.open = False
            inbox.keys.keep(lambda seq, inbox=inbox: inbox.find(seq) is not None)  # type: ignore[misc]
        self.stream.crash(lambda: faults.strikes(0.5))

    def lose_store(self) -> None:
        """Everything is gone, as if its folder had been removed."""
        for inbox in self.inboxes.values():
            inbox.open = False
            inbox.changed.fire()
        self._make_stores()

    def restart(self) -> None:
        self.up = True
        self.restarted = self.now()
        for inbox in self.inboxes.values():
            inbox.reopen()
        held, self.held = self.held, []
        for act in (*held, *self.on_restart):
            act()
