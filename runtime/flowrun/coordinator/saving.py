"""When a snapshot is taken, and of what: the state's parts that changed, packed in one go between two batches, and
written beside the event loop's other work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from flowc.plan import digest

from flowrun.background import Background
from flowrun.dispatch import Dispatcher
from flowrun.errors import StoreError
from flowrun.settings import Settings
from flowrun.snapshots import Snapshot, Snapshots
from flowrun.transport import Record

from .fold import Fold
from .recent import Recent
from .sends import Sends
from .takeover import RULES

__all__ = ["Saving"]

log = logging.getLogger("flow.coordinator")

#: blobs of living runs are put again after this part of the time for which results are kept
_RENEWALS = 4


class Saving:
    """`seen(record)` for each message that was folded; `take` between batches."""

    def __init__(
        self,
        snapshots: Snapshots,
        fold: Fold,
        sends: Sends,
        dispatcher: Dispatcher,
        background: Background,
        settings: Settings,
    ) -> None:
        self._snapshots, self._fold, self._sends, self._dispatcher = snapshots, fold, sends, dispatcher
        self._background, self._settings = background, settings
        self._codes = Recent(settings.keep_results * 1000 / _RENEWALS / 2)
        #: names of parts that are in the last snapshot
        self._living: set[str] = set()
        #: that changed, and are in no snapshot because writing one failed
        self._owed: set[str] = set()
        #: that are no more, as of the snapshot that is being written
        self._dead: set[str] = set()
        self._created = ""
        self._last: Record | None = None
        self._events, self._bytes = 0, 0
        self._since = 0.0
        self._writing: asyncio.Event | None = None

    def start(self, created: str, snapshot: Snapshot | None) -> None:
        """The state is that of `snapshot`, of an inbox that was made then."""
        self._created = created
        self._living = {name for name, _ in snapshot.parts} if snapshot else set()
        self._since = asyncio.get_running_loop().time()

    def seen(self, record: Record, events: int) -> None:
        self._last = record
        self._events += events
        self._bytes += len(record.data)

    def is_due(self) -> bool:
        """Enough happened, or changed for long enough."""
        settings = self._settings
        if not self._events or self._writing is not None:
            return False
        if self._events >= settings.snapshot_events or self._bytes >= settings.snapshot_bytes:
            return True
        return asyncio.get_running_loop().time() - self._since >= settings.snapshot_interval

    def take(self) -> None:
        """Takes a snapshot of this moment and writes it in the background."""
        snapshot = self._pack()
        if snapshot is not None:
            self._writing = asyncio.Event()
            self._background.start(self._write(snapshot))

    async def finish(self) -> None:
        """Takes the last one and writes it. Raises TransportError, Fenced."""
        if self._writing is not None:
            await self._writing.wait()
        snapshot = self._pack() if self._events else None
        if snapshot is not None:
            self._writing = asyncio.Event()
            await self._write(snapshot)

    # ---- the state as bytes

    def _pack(self) -> Snapshot | None:
        last = self._last
        if last is None:
            return None
        engine, renewal = self._fold.engine, self._settings.keep_results / _RENEWALS
        changed = self._owed.union(engine.take_touched())
        full = self._snapshots.wants_full(len(self._living), self._fold.now_ms, renewal)
        parts: list[tuple[str, bytes]] = []
        dead: set[str] = set()
        for name in sorted(self._living | changed) if full else sorted(changed):
            data = engine.pack_run(name)
            if data or (name in self._living and not full):
                parts.append((name, data))
            if not data:
                dead.add(name)
        self._living |= changed
        self._owed, self._dead = changed, dead
        self._events = self._bytes = 0
        self._since = asyncio.get_running_loop().time()
        return Snapshot(
            rules=RULES, seq=last.seq, digest=digest(last.data), created=self._created, time_ms=self._fold.now_ms,
            parts=parts, full=full, living=len(parts), engine=engine.pack_rest(), sends=self._sends.pending,
            broken=tuple(self._fold.broken.values()), handed_back=self._dispatcher.handed_back(),
            plans=frozenset(self._referred() if full else ()),
        )  # fmt: skip

    def _referred(self) -> Iterable[str]:
        """The plans of living runs, and the code of these, if it is due."""
        tables = self._fold.engine.tables
        return [*tables, *self._codes.due((one.plan.code for one in tables.values()), self._fold.now_ms)]

    async def _write(self, snapshot: Snapshot) -> None:
        assert self._writing is not None
        try:
            await self._snapshots.write(snapshot)
            self._living -= self._dead
            self._owed = set()
        except StoreError as error:
            log.error("a snapshot cannot be stored, and is tried again later: %s", error)
        finally:
            self._writing.set()
            self._writing = None
