"""Follows the variables of the environment: what is newer in their entries than here is put into the inbox.

Whoever sets a variable tells every partition. This is for whoever died in between, and for partitions that are made
later.
"""

from __future__ import annotations

import asyncio

from flowrun.engine import Engine
from flowrun.errors import FlowError
from flowrun.messages import pack_events
from flowrun.transport import Entry, Transport
from flowrun.variables import PREFIX, event_of, read_entry

from .events import Complaints
from .follower import Follower

__all__ = ["VariablesFollowing"]

#: between two looks, in seconds; most often the author has told all partitions before an entry's change is looked at
_LOOK_SECONDS, _SETTLE_SECONDS = 10.0, 0.2
#: what was put into the inbox and is not known after so long is put there again, in seconds
_AGAIN_SECONDS = 30.0


class VariablesFollowing(Follower):
    """Of one partition."""

    def __init__(self, transport: Transport, partition: str, engine: Engine, complaints: Complaints) -> None:
        super().__init__(transport, PREFIX, _LOOK_SECONDS, _SETTLE_SECONDS)
        self._partition, self._engine, self._complaints = partition, engine, complaints
        #: name -> version that was put into the inbox, and when
        self._put: dict[str, tuple[int, float]] = {}

    async def look(self) -> None:
        """Puts what is new into the inbox."""
        for entry in await self._transport.entries(PREFIX):
            try:
                await self._follow(entry)
            except FlowError as error:
                self._complaints.say("%s", error)

    async def _follow(self, entry: Entry) -> None:
        name, found = entry.key.removeprefix(f"{PREFIX}."), read_entry(entry)
        now = asyncio.get_running_loop().time()
        put, at = self._put.get(name, (0, 0.0))
        if found.version <= self._engine.variables.version(name):
            self._put.pop(name, None)
        elif found.version > put or now - at > _AGAIN_SECONDS:
            key = f"{PREFIX}/{self._partition}/{name}/{found.version}/{int(now)}"
            await self._transport.append(self._partition, pack_events([event_of(name, found)]), key)
            self._put[name] = found.version, now
