"""Events for other partitions: sent until they are there.

They are part of the state: a snapshot holds those that are not acknowledged, and a replay asks for those of later
events again, with the same ids. So one that cannot be sent now holds up nothing, and is never lost; its receiver takes
it once.
"""

from __future__ import annotations

import asyncio
import logging

from flowrun.background import Background
from flowrun.engine.commands import Send
from flowrun.errors import FlowError
from flowrun.messages import pack_events
from flowrun.snapshots import Sent
from flowrun.transport import Transport

__all__ = ["Sends"]

log = logging.getLogger("flow.coordinator")

#: between two tries, in seconds: from, to
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 10.0


class Sends:
    """Of one partition."""

    def __init__(self, transport: Transport, background: Background) -> None:
        self._transport, self._background = transport, background
        #: id -> what is not acknowledged
        self._pending: dict[str, Sent] = {}
        self._new: list[Sent] = []

    @property
    def pending(self) -> tuple[Sent, ...]:
        """What a snapshot must hold."""
        return tuple(self._pending.values())

    def restore(self, pending: tuple[Sent, ...]) -> None:
        for sent in pending:
            self._add(sent)

    def add(self, command: Send) -> None:
        self._add(Sent(command.partition, command.id, pack_events([command.event])))

    def _add(self, sent: Sent) -> None:
        if sent.id not in self._pending:
            self._pending[sent.id] = sent
            self._new.append(sent)

    def flush(self) -> None:
        """Sends what was added."""
        new, self._new = self._new, []
        for sent in new:
            self._background.start(self._deliver(sent))

    async def _deliver(self, sent: Sent) -> None:
        wait = _FIRST_WAIT
        while True:
            try:
                await self._transport.append(sent.partition, sent.data, f"send/{sent.id}")
                break
            except FlowError as error:
                log.warning("a message to partition %s waits: %s", sent.partition, error)
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)
        del self._pending[sent.id]
