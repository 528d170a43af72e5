"""Submissions on their way: many that are made at the same moment travel as one message.

A `Letter` is a message to one partition that still takes events. It leaves at the end of the loop's iteration in which
it was begun if nothing else of its partition is on its way, else when that has arrived, or when it is full: so one
submission alone leaves at once, and the busier it gets, the more travel together. What its events refer to (a plan, a
large argument) is stored before it leaves. It is accepted, or refused, as a whole.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections import deque
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any, TypeVar

from flowrun.errors import FlowError
from flowrun.messages import Event, Submit, pack_events
from flowrun.partitions import is_full
from flowrun.settings import Settings
from flowrun.transport import Transport

from .clock import Clock
from .errors import Busy
from .stored import Blobs, Stored

__all__ = ["Letter", "Outbox"]

T = TypeVar("T")

log = logging.getLogger("flow.client")

#: a letter is full with so many events, or bytes
_LETTER_EVENTS, _LETTER_BYTES = 1_000, 256 * 1024
#: full letters of one partition that are on their way at the same time
_ON_THE_WAY = 4
#: delayed submissions of a partition that are sent at the same time
_SENDERS = 128
#: events that are not accepted yet, in bytes: more is refused
_MOST_WAITING = 256 * 1024 * 1024
#: an inbox is looked at as often as this while it is written to, in seconds: is there room?
_LOOK_SECONDS = 1.0
#: what an event takes beside its arguments, in bytes
_EVENT_BYTES = 120


class Letter:
    """A message that is filled, sent, and accepted or refused."""

    __slots__ = ("_guarded", "_settled", "_waiters", "_whats", "blobs", "error", "events", "full", "size")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.size = 0
        self.full = False
        #: what must be stored before it leaves, by digest
        self.blobs: dict[str, bytes] = {}
        self._settled = False
        #: why it was refused
        self.error: Exception | None = None
        #: those who wait for it, and what each of them gets (side by side: many pairs are work for the collector)
        self._waiters: list[asyncio.Future[Any]] = []
        self._whats: list[Any] = []
        self._guarded: list[asyncio.Future[Any]] = []

    @property
    def is_accepted(self) -> bool:
        """It cannot be lost any more."""
        return self._settled and self.error is None

    def tell(self, waiter: asyncio.Future[T], what: T) -> None:
        """The future gets `what` once the letter is accepted, or why it was refused."""
        if not self._settled:
            self._waiters.append(waiter)
            self._whats.append(what)
        elif self.error is None:
            waiter.set_result(what)
        else:
            waiter.set_exception(self.error)

    def guard(self, waiter: asyncio.Future[Any]) -> None:
        """The future, which something else will end, gets why the letter was refused, if it is."""
        if not self._settled:
            self._guarded.append(waiter)
        elif self.error is not None and not waiter.done():
            waiter.set_exception(self.error)

    def settle(self, error: Exception | None = None) -> None:
        self._settled, self.error = True, error
        if error is not None and not self._waiters and not self._guarded:
            log.error("%d submissions that nobody waits for are lost: %s", len(self.events), error)
        for waiter, what in zip(self._waiters, self._whats, strict=True):
            if not waiter.done():
                self.tell(waiter, what)
        if error is not None:
            for waiter in self._guarded:
                self.guard(waiter)
        for kept in (self._waiters, self._whats, self._guarded, self.events, self.blobs):
            kept.clear()  # the handles of its runs keep the letter


class _Way:
    """What goes to one partition."""

    __slots__ = ("delayed", "full", "letters", "looked", "looking", "on_the_way", "partition", "senders")

    def __init__(self, partition: str) -> None:
        self.partition = partition
        #: those that have not left; the last one takes more
        self.letters: deque[Letter] = deque()
        self.on_the_way = 0
        #: those that take effect at a time, and how many tasks send them
        self.delayed: deque[tuple[Letter, Submit, int]] = deque()
        self.senders = 0
        #: when its inbox was looked at, in loop time; and whether that had no room
        self.looked = -math.inf
        self.full = False
        #: held by who looks
        self.looking = asyncio.Lock()


class Outbox:
    """All letters of one client."""

    def __init__(self, transport: Transport, settings: Settings, stored: Stored, clock: Clock) -> None:
        self._transport, self._settings, self._stored, self._clock = transport, settings, stored, clock
        self._loop = asyncio.get_running_loop()
        self._prefix = secrets.token_hex(8)
        self._count = 0
        self._ways: dict[str, _Way] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        #: of what was put and is not settled, in bytes
        self._waiting = 0

    def put(self, partition: str, event: Submit, plan: bytes, blobs: Blobs) -> Letter:
        """Takes a submission, with its plan and what else it refers to; gives the letter that it travels in. Raises
        Busy."""
        if self._waiting > _MOST_WAITING:
            raise Busy(
                f"{self._waiting // 2**20} MiB of submissions wait for the server: wait for some (`await run`) "
                "before you submit more"
            )
        letter = self._add(partition, event, len(event.args))
        if event.plan not in letter.blobs:
            letter.blobs[event.plan] = plan
        if blobs:
            letter.blobs.update(blobs)
        return letter

    def post(self, partition: str, event: Event, size: int) -> Letter:
        """Takes another event, one that refers to nothing stored, of about `size` bytes."""
        return self._add(partition, event, size)

    def _add(self, partition: str, event: Event, size: int) -> Letter:
        way = self._ways.get(partition) or self._way(partition)
        letter = way.letters[-1] if way.letters and not way.letters[-1].full else self._begin(way)
        letter.events.append(event)
        letter.size += size + _EVENT_BYTES
        letter.full = letter.size >= _LETTER_BYTES or len(letter.events) >= _LETTER_EVENTS
        self._waiting += size + _EVENT_BYTES
        return letter

    def _begin(self, way: _Way) -> Letter:
        letter = Letter()
        way.letters.append(letter)
        self._loop.call_soon(self._send, way)
        return letter

    def put_at(self, partition: str, event: Submit, at_ms: int, plan: bytes, blobs: Blobs) -> Letter:
        """A submission that takes effect at a time (milliseconds since 1970) travels alone."""
        letter = Letter()
        letter.events.append(event)
        letter.blobs.update([(event.plan, plan), *blobs])
        way = self._way(partition)
        way.delayed.append((letter, event, at_ms))
        if way.senders < _SENDERS:
            way.senders += 1
            self._start(self._send_delayed(way))
        return letter

    async def open(self, partition: str) -> None:
        """Makes sure that the partition is there. Raises TransportError, StoreError."""
        await self._look(self._way(partition))

    async def arrived(self, letters: Iterable[Letter]) -> None:
        """Returns when all are accepted. Raises what refused one."""
        for letter in letters:
            waiter: asyncio.Future[None] = self._loop.create_future()
            letter.tell(waiter, None)
            await waiter

    async def drain(self) -> None:
        """Returns when nothing is on its way any more."""
        while self._tasks or any(way.letters for way in self._ways.values()):
            if self._tasks:
                await asyncio.wait(self._tasks)
            else:
                await asyncio.sleep(0)

    async def close(self) -> None:
        """Gives up what has not arrived."""
        for way in self._ways.values():
            while way.letters:
                way.letters.popleft().settle(FlowError("the client was closed"))
            while way.delayed:
                way.delayed.popleft()[0].settle(FlowError("the client was closed"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- on the way

    def _way(self, partition: str) -> _Way:
        way = self._ways.get(partition)
        if way is None:
            way = self._ways[partition] = _Way(partition)
        return way

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _send(self, way: _Way) -> None:
        while way.letters and (not way.on_the_way or (way.letters[0].full and way.on_the_way < _ON_THE_WAY)):
            way.on_the_way += 1
            self._start(self._deliver(way, way.letters.popleft()))

    async def _deliver(self, way: _Way, letter: Letter) -> None:
        try:
            await self._settle(letter, self._deliver_now(way, letter))
        finally:
            self._waiting -= letter.size
            way.on_the_way -= 1
            self._send(way)

    @staticmethod
    async def _settle(letter: Letter, delivery: Coroutine[Any, Any, None]) -> None:
        """Whatever comes of the delivery, those who wait for the letter learn of it."""
        try:
            await delivery
        except FlowError as error:
            letter.settle(error)
        except BaseException as error:
            letter.settle(error if isinstance(error, Exception) else FlowError("the client was closed"))
            raise
        else:
            letter.settle()

    async def _deliver_now(self, way: _Way, letter: Letter) -> None:
        await self._prepare(way, letter)
        self._count += 1
        key = f"submit/{self._prefix}/{self._count}"
        await self._transport.append(way.partition, pack_events(letter.events), key)

    async def _send_delayed(self, way: _Way) -> None:
        """Sends what is delayed, one after another, beside others: a task for each of very many would cost more than
        sending it."""
        try:
            while way.delayed:
                letter, event, at_ms = way.delayed.popleft()
                await self._settle(letter, self._deliver_at(way, letter, event, at_ms))
        finally:
            way.senders -= 1

    async def _deliver_at(self, way: _Way, letter: Letter, event: Submit, at_ms: int) -> None:
        await self._prepare(way, letter)
        await self._transport.append_at(way.partition, event.run, pack_events([event]), at_ms)

    async def _prepare(self, way: _Way, letter: Letter) -> None:
        """Raises Busy if there is no room for the letter."""
        if way.looked == -math.inf:
            await self._look(way)
        elif self._loop.time() - way.looked > _LOOK_SECONDS:
            way.looked = self._loop.time()
            self._start(self._look_beside(way))  # a submission does not wait for it
        if way.full:
            raise Busy(
                f"the inbox of partition {way.partition} is full: its leader does not keep up, or no node lives "
                "(`flowc nodes`); submit again later"
            )
        if not all(map(self._stored.has, letter.blobs)):
            await self._stored.ensure(letter.blobs)

    async def _look(self, way: _Way) -> None:
        """Is there room in the inbox? Those who ask meanwhile wait for the same answer."""
        before = way.looked
        async with way.looking:
            if way.looked != before:
                return
            if way.looked == -math.inf:
                await self._transport.open_partition(way.partition)
            asked = self._loop.time()
            inbox = await self._transport.inbox(way.partition)
            way.looked, way.full = self._loop.time(), is_full(inbox, self._settings)
            self._clock.saw(inbox.now_ms, asked)

    async def _look_beside(self, way: _Way) -> None:
        with suppress(FlowError):  # who submits is told by what becomes of that
            await self._look(way)
