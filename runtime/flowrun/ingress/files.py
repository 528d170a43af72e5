"""Files: looked for every few seconds, in a thread, by the leader of the trigger's partition.

What has counted stands in entries of the server (`files.<trigger>.<place>.<pattern>` and a number): the next leader
goes on from there. It is written after the inbox has what came; whoever dies in between makes the next one put it there
again, with the same id.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
import time
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from flowc.plan import FileSource

from flowrun.messages import Arrived, pack_events
from flowrun.transport import Transport

from .events import BadBody, arrival_id, event_value, typed_body
from .globbing import Found, Problem, find
from .refusals import Refusals
from .room import Room
from .routes import Route
from .watching import Watching

__all__ = ["FILES_KEY", "FileReader", "gone_key", "source_of"]

#: how the keys of all entries begin
FILES_KEY = "files"

#: files that go to the inbox together
_TOGETHER = 500
#: a look takes at most this part of the time
_SHARE = 0.1


def gone_key(trigger: str, place: int) -> str:
    """The entry that says that a source was there, and is not any more."""
    return f"{FILES_KEY}.{trigger}.{place}.gone"


def source_of(key: str) -> tuple[str, int]:
    """The trigger and the place that an entry belongs to, by its key."""
    _, flow, name, place, *_ = key.split(".")
    return f"{flow}.{name}", int(place)


class FileReader:
    """Of one source. `run` without end. `since_ms`: when its trigger was deployed first."""

    def __init__(
        self, transport: Transport, route: Route, partition: str, room: Room, refusals: Refusals, root: Path,
        since_ms: int,
    ) -> None:  # fmt: skip
        assert isinstance(route.source, FileSource), "others have no files"
        self._transport, self._route, self._source = transport, route, route.source
        self._partition, self._room, self._refusals = partition, room, refusals
        self._root, self._since_ms = root, since_ms
        self._prefix, self._count = secrets.token_hex(8), 0
        #: of the trigger's source, whatever its pattern, and with this one
        self._all = f"{FILES_KEY}.{route.trigger}.{route.place}"
        self._key = f"{self._all}.{blake2b(route.source.pattern.encode(), digest_size=6).hexdigest()}"

    async def run(self) -> None:
        """Raises TransportError, StoreError."""
        watching = await self._begin()
        while True:
            start = time.monotonic()
            try:
                fresh = await asyncio.to_thread(self._look, watching)
            except Problem as problem:
                self._refusals.problem(self._route.trigger, self._route.place, str(problem))
            else:
                self._refusals.problem(self._route.trigger, self._route.place, "")
                await self._take(watching, fresh)
            took = time.monotonic() - start
            await asyncio.sleep(max(self._source.every_ms / 1000 - took, took / _SHARE))

    async def _begin(self) -> Watching:
        """What was seen before, by whoever led then."""
        entries = await self._transport.entries(self._all)
        mine = [entry.data for entry in entries if entry.key.startswith(f"{self._key}.") and entry.data]
        others = [entry.key for entry in entries if not entry.key.startswith(f"{self._key}.")]
        for key in others:
            await self._transport.remove_entry(key)
        # with another pattern, or back after it was not deployed, the trigger begins anew
        since_ns = time.time_ns() if others else self._since_ms * 1_000_000
        return Watching(mine or None, since_ns)

    def _look(self, watching: Watching) -> list[Found]:
        """In a thread: with very many files it takes a while."""
        return watching.look(find(self._root, self._source.pattern))

    async def _take(self, watching: Watching, fresh: Sequence[Found]) -> None:
        for at in range(0, len(fresh), _TOGETHER):
            some = fresh[at : at + _TOGETHER]
            await self._room.wait()
            arrivals = [arrived for found in some if (arrived := self._arrival(found)) is not None]
            if arrivals:
                self._count += 1
                key = f"files/{self._prefix}/{self._count}"
                await self._transport.append(self._partition, pack_events(arrivals), key)
            watching.done(some)
        for number, data in (await asyncio.to_thread(watching.changed)).items():
            await self._transport.write_entry(f"{self._key}.{number}", data)

    def _arrival(self, found: Found) -> Arrived | None:
        route, id = self._route, f"{found.path} {found.modified_ns} {found.size}"
        modified = dt.datetime.fromtimestamp(found.modified_ns / 1e9, dt.UTC).isoformat()
        try:
            body = typed_body({"path": found.path, "size": found.size, "modified": modified}, route.body)
        except BadBody as error:
            self._refusals.add(route.trigger, found.path, id, str(error))
            return None
        value = event_value(self._source.pattern, found.path, id, int(time.time() * 1000), body)
        arrived = arrival_id("file", route.trigger, route.place, id)
        return Arrived(route.trigger, arrived, value, route.place, found.path)
