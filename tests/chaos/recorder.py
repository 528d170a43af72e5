"""Follows every inbox from its first message on, so that what leaders purge later is still known to the checker.

It speaks to the servers directly, not through what is cut; a server that is away is waited for. Where its reader says
that the stream is not what it was (messages lost), that is a problem of the run.
"""

from __future__ import annotations

import asyncio

from flowrun.errors import FlowError, StoreError
from flowrun.messages import MessageError, Results, Submit, unpack_known_events
from flowrun.transport import Transport

from .history import Message

__all__ = ["Recorder"]

_AGAIN_SECONDS = 0.2


class Recorder:
    def __init__(self, transport: Transport, partitions: tuple[str, ...]) -> None:
        self._transport, self._partitions = transport, partitions
        self.messages: dict[str, list[Message]] = {name: [] for name in partitions}
        #: plan -> its bytes
        self.plans: dict[str, bytes] = {}
        self.problems: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._wanted: asyncio.Queue[str] = asyncio.Queue()

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._follow(name)) for name in self._partitions]
        self._tasks.append(asyncio.create_task(self._fetch()))

    async def stop(self) -> None:
        """Returns when it has all that the inboxes hold now."""
        for name in self._partitions:
            last = (await self._transport.inbox(name)).last_seq
            for _ in range(200):
                if self._last(name) >= last:
                    break
                await asyncio.sleep(0.05)
            else:
                self.problems.append(f"inbox {name} was read to message {self._last(name)}, and goes to {last}")
        while not self._wanted.empty():
            await asyncio.sleep(0.05)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _last(self, partition: str) -> int:
        messages = self.messages[partition]
        return messages[-1].seq if messages else 0

    async def _follow(self, partition: str) -> None:
        while True:
            try:
                async for batch in self._transport.read(partition, self._last(partition)):
                    for record in batch:
                        self.messages[partition].append(Message(partition, record.seq, record.time_ms, record.data))
                        self._note_plans(record.data)
            except StoreError as error:
                if self._last(partition):
                    self.problems.append(f"inbox {partition}: {error}")
                    return
                await asyncio.sleep(_AGAIN_SECONDS)  # it was not made yet
            except FlowError:
                await asyncio.sleep(_AGAIN_SECONDS)

    def _note_plans(self, data: bytes) -> None:
        try:
            events, _ = unpack_known_events(data)
        except MessageError:
            return
        for event in events:
            names = (event.plan,) if isinstance(event, Submit) else event.plans if isinstance(event, Results) else ()
            for name in names:
                if name not in self.plans:
                    self.plans[name] = b""
                    self._wanted.put_nowait(name)

    async def _fetch(self) -> None:
        while True:
            name = await self._wanted.get()
            while not self.plans[name]:
                try:
                    self.plans[name] = await self._transport.get_blob(name)
                except StoreError as error:
                    self.problems.append(f"plan {name}: {error}")
                    break
                except FlowError:
                    await asyncio.sleep(_AGAIN_SECONDS)
