"""The work stream as workers see it: bundles of several lanes, one consumer each, shared by all workers of a group.

As much as is wanted is asked of each lane, so more may come than was wanted. What is not taken within a moment goes
back, as if it had never been handed out, for another worker may be idle; and so does what is left when the source is
closed. For the same reason a request stands for a short time only. After a reconnect what was not taken is forgotten:
the server may have done so too, and have given it to another worker.
"""

from __future__ import annotations

import asyncio
import logging

from flowrun import names
from flowrun.errors import FlowError, TransportError
from flowrun.settings import Settings
from flowrun.transport import Delivery

from . import streams
from .connection import Connection
from .protocol import publication
from .pull import Pull, Pulled, wait

__all__ = ["WorkLanes"]

#: how long a request for bundles stands at the server, and how often it says that it does, in seconds
_EXPIRES, _HEARTBEAT = 2.0, 0.9
#: a bundle that came and is not taken goes back after this time, in seconds (or a third of its lease)
_GIVE_BACK = 0.5
#: clocks of the servers of a cluster differ by less, in seconds
_CLOCKS = 0.5

log = logging.getLogger("flow.nats")


class _NatsDelivery:
    __slots__ = ("_connection", "_reply", "data", "fresh", "redelivered")

    def __init__(self, connection: Connection, message: Pulled, revived: float) -> None:
        """`revived`: when the consumer was looked at last, by the server's clock, in seconds since 1970."""
        self._connection = connection
        self._reply = message.reply.decode()
        self.data = message.data
        deliveries, _, _, stamp, _ = message.position()
        self.redelivered = deliveries > 1
        since = connection.reconnected_at
        is_new = stamp / 1e9 > revived + _CLOCKS  # nobody can have held it before the reconnect
        self.fresh = since is not None and message.arrived - since < connection.settings.ack_wait and not is_new

    async def ack(self) -> None:
        self._connection.write(publication(self._reply, b"+ACK"))

    async def progress(self) -> None:
        await self._connection.request(self._reply, b"+WPI")  # answered: whoever holds it must know that it does


class WorkLanes:
    """Made by `WorkLanes.open`."""

    def __init__(self, connection: Connection, settings: Settings, group: str, lanes: tuple[str, ...]) -> None:
        self._connection, self._settings, self._group, self._lanes = connection, settings, group, lanes
        self._arrived = asyncio.Event()
        self._pulls: dict[str, Pull] = {}
        #: lane -> when its consumer was made sure of, by the server's clock, in seconds since 1970
        self._revived: dict[str, float] = {}
        self._closed: FlowError | None = None
        self._keeper: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, connection: Connection, settings: Settings, group: str, lanes: tuple[str, ...]
    ) -> WorkLanes:  # fmt: skip
        self = cls(connection, settings, group, lanes)
        await asyncio.gather(*(self._open(lane) for lane in lanes))
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def _open(self, lane: str) -> None:
        name, now = await streams.create_worker(self._connection, self._settings, self._group, lane)
        self._revived[lane] = now.timestamp()
        stream = names.work_stream(self._settings.env)
        self._pulls[lane] = pull = Pull(self._connection, stream, name, self._arrived, _EXPIRES, _HEARTBEAT)
        pull.start()

    async def receive(self, most: int) -> list[Delivery]:
        while True:
            if self._closed:
                raise self._closed
            self._arrived.clear()
            await self._revive()
            taken = self._take(most)
            if taken:
                return taken
            for pull in self._pulls.values():
                if pull.wanted < most:
                    pull.ask(most - pull.wanted)
            await wait(self._arrived, _HEARTBEAT)

    def _take(self, most: int) -> list[Delivery]:
        """What has come, from each lane in turn."""
        taken: list[Delivery] = []
        while len(taken) < most and any(pull.messages for pull in self._pulls.values()):
            for lane, pull in self._pulls.items():
                if pull.messages and len(taken) < most:
                    taken.append(_NatsDelivery(self._connection, pull.messages.popleft(), self._revived[lane]))
        return taken

    async def _revive(self) -> None:
        """After a reconnect, a deleted consumer or silence: makes sure of the consumer, and forgets old requests."""
        for lane, pull in self._pulls.items():
            if pull.stale or pull.silent():
                pull.stale, pull.wanted = False, 0
                if self._connection.reconnected_at is not None:
                    pull.forget(self._connection.reconnected_at)
                try:
                    _, now = await streams.create_worker(self._connection, self._settings, self._group, lane)
                    self._revived[lane] = now.timestamp()
                except BaseException:
                    pull.stale = True
                    raise

    async def _keep(self) -> None:
        """Gives back what is not taken."""
        patience = min(_GIVE_BACK, self._settings.ack_wait / 3)
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(patience / 2)
            for pull in self._pulls.values():
                while pull.messages and loop.time() - pull.messages[0].arrived > patience and not pull.stale:
                    await self._give_back(pull.messages.popleft())

    async def close(self) -> None:
        """What came and was not taken goes back."""
        self._closed = TransportError("this source of work is closed")
        self._arrived.set()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        await asyncio.gather(*(pull.drain() for pull in self._pulls.values()))
        if self._connection.connected:
            left = [message for pull in self._pulls.values() for message in pull.messages]
            await asyncio.gather(*(self._give_back(message) for message in left))

    async def _give_back(self, message: Pulled) -> None:
        """Puts a copy into the stream and acknowledges the original, so that nobody counts a lost worker."""
        try:
            await self._connection.request(message.subject.decode(), message.data)
            self._connection.write(publication(message.reply.decode(), b"+ACK"))
        except TransportError as error:
            log.warning("a bundle could not be given back and waits for its lease to end: %s", error)
