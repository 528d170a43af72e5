"""The work stream as workers see it: bundles of several lanes, one consumer each, shared by all workers of a group.

Bundles that came and were not taken keep their lease, and go back when the source is closed.
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
from .pull import HEARTBEAT, Pull, Pulled, wait

__all__ = ["WorkLanes"]

log = logging.getLogger("flow.nats")


class _NatsDelivery:
    __slots__ = ("_connection", "_reply", "data", "fresh", "redelivered")

    def __init__(self, connection: Connection, message: Pulled) -> None:
        self._connection = connection
        self._reply = message.reply.decode()
        self.data = message.data
        self.redelivered = message.position()[0] > 1
        since = connection.reconnected_at
        self.fresh = since is not None and message.arrived - since < connection.settings.ack_wait

    async def ack(self) -> None:
        self._connection.write(publication(self._reply, b"+ACK"))

    async def progress(self) -> None:
        self._connection.write(publication(self._reply, b"+WPI"))


class WorkLanes:
    """Made by `WorkLanes.open`."""

    def __init__(self, connection: Connection, settings: Settings, group: str, lanes: tuple[str, ...]) -> None:
        self._connection, self._settings, self._group, self._lanes = connection, settings, group, lanes
        self._arrived = asyncio.Event()
        self._pulls: dict[str, Pull] = {}
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
        name = await streams.create_worker(self._connection, self._settings, self._group, lane)
        stream = names.work_stream(self._settings.env)
        self._pulls[lane] = pull = Pull(self._connection, stream, name, self._arrived)
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
            await wait(self._arrived, HEARTBEAT)

    def _take(self, most: int) -> list[Delivery]:
        """What has come, from each lane in turn."""
        taken: list[Delivery] = []
        while len(taken) < most and any(pull.messages for pull in self._pulls.values()):
            for pull in self._pulls.values():
                if pull.messages and len(taken) < most:
                    taken.append(_NatsDelivery(self._connection, pull.messages.popleft()))
        return taken

    async def _revive(self) -> None:
        """After a reconnect, a deleted consumer or silence: makes sure of the consumer, and forgets old requests."""
        for lane, pull in self._pulls.items():
            if pull.stale or pull.silent():
                pull.stale, pull.wanted = False, 0
                try:
                    await streams.create_worker(self._connection, self._settings, self._group, lane)
                except BaseException:
                    pull.stale = True
                    raise

    async def _keep(self) -> None:
        """Bundles that came and are not yet taken keep their lease."""
        while True:
            await asyncio.sleep(self._settings.ack_wait / 3)
            for pull in self._pulls.values():
                for message in pull.messages:
                    self._connection.write(publication(message.reply.decode(), b"+WPI"))

    async def close(self) -> None:
        """Bundles that came and were not taken go back, as if they had never been handed out."""
        self._closed = TransportError("this source of work is closed")
        self._arrived.set()
        if self._keeper is not None:
            self._keeper.cancel()
        for pull in self._pulls.values():
            pull.stop()
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
