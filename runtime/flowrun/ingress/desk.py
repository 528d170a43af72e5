"""Puts what arrived into inboxes, and waits for what became of it.

Arrivals of the same moment travel as one message (see `client.outbox`). An answer is a note that may be lost: so an
arrival is sent again, with the same id, until it is answered or its time is over. Then it stands in the inbox all the
same, and takes effect once the partition is led.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

import msgspec

from flowrun.client.clock import Clock
from flowrun.client.mailbox import Mailbox
from flowrun.client.outbox import Outbox
from flowrun.client.stored import Stored
from flowrun.errors import TransportError
from flowrun.messages import Answered, Arrived, Ended, Listing, StateNote
from flowrun.partitions import config
from flowrun.settings import Settings
from flowrun.sources import home_of
from flowrun.transport import Transport

__all__ = ["Desk"]

#: an arrival is sent again after this time, in seconds
_AGAIN_SECONDS = 1.5
#: what no server has taken after this time is not waited for, in seconds
_SEND_SECONDS = 10.0


class Desk:
    """Made by `Desk.open`."""

    def __init__(self, transport: Transport, settings: Settings, count: int) -> None:
        self._count = count
        self._mailbox = Mailbox(transport)
        self._stored = Stored(transport)
        #: knows the server's time
        self.clock = Clock()
        self._outbox = Outbox(transport, settings, self._stored, self.clock)
        #: id of an arrival -> those who wait for its answer
        self._waiters: defaultdict[str, list[asyncio.Future[Answered]]] = defaultdict(list)

    @classmethod
    async def open(cls, transport: Transport, settings: Settings) -> Desk:
        """Raises TransportError, StoreError."""
        await transport.open_partition("0")  # the first of all may be this process
        desk = cls(transport, settings, (await config(transport, settings)).partitions)
        await desk._mailbox.open(_ignore, _ignore, _ignore, desk._answered)
        await desk._outbox.open("0")
        return desk

    async def close(self) -> None:
        await self._outbox.drain()
        await self._outbox.close()
        await self._mailbox.close()
        self._stored.close()

    async def ask(self, arrived: Arrived, blobs: dict[str, bytes], seconds: float) -> Answered | None:
        """What became of it; None: nobody answered in that time. `blobs`: what it refers to. Raises Busy,
        TransportError, StoreError: it is in no inbox then, as far as can be told."""
        partition = home_of(arrived.trigger, self._count)
        arrived = msgspec.structs.replace(arrived, client=self._mailbox.id)
        waiter: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._waiters[arrived.id].append(waiter)
        try:
            await self._first(partition, arrived, blobs)
            async with asyncio.timeout(seconds):
                while not waiter.done():
                    await asyncio.wait([waiter], timeout=_AGAIN_SECONDS)
                    if not waiter.done():
                        await self._send(partition, arrived, blobs)
            return waiter.result()
        except TimeoutError:
            return None
        finally:
            waiting = self._waiters[arrived.id]
            waiting.remove(waiter)
            if not waiting:
                del self._waiters[arrived.id]

    async def _first(self, partition: str, arrived: Arrived, blobs: dict[str, bytes]) -> None:
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await self._send(partition, arrived, blobs)
        except TimeoutError:
            raise TransportError("the NATS server does not answer") from None

    async def _send(self, partition: str, arrived: Arrived, blobs: dict[str, bytes]) -> None:
        letter = self._outbox.post(partition, arrived, len(arrived.value))
        letter.blobs.update(blobs)
        await self._outbox.arrived([letter])

    def _answered(self, answer: Answered) -> None:
        for waiter in self._waiters.get(answer.id, ()):
            if not waiter.done():
                waiter.set_result(answer)


def _ignore(_: Ended | StateNote | Listing) -> None:
    """What only clients wait for."""
