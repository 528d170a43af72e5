"""The message server in memory, and an event loop whose clock jumps: the twin that tests and simulation run on.

`MemoryServer` is the server; each `MemoryTransport` is one connection to it. It promises what the real one promises,
and no more: appends are durable and stamped, work is delivered at least once and again after `ack_wait`, keys are
seen once per two minutes, results end after their time, notes reach who listens at that moment.

`run_virtual` runs a coroutine on a `VirtualTimeLoop`: when nothing is ready, the clock jumps to the next timer, so a
sleep costs nothing and a test of an hour takes milliseconds. `Faults`, drawn from a seed, makes the server slow and
forgetful in the ways a real one may be.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .errors import StoreError, TransportError
from .settings import Settings
from .transport import Delivery, Record

__all__ = ["Faults", "MemoryServer", "MemoryTransport", "VirtualTimeLoop", "run_virtual"]

T = TypeVar("T")

#: where the server's clock starts, milliseconds since 1970: 2026-01-01, so that runs of a simulation are alike
EPOCH_MS = 1_767_225_600_000
#: a key is remembered for this long, in seconds
DEDUPE_SECONDS = 120.0


# ---- virtual time ---------------------------------------------------------------------------------------------------


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for files as ever, but never for time."""

    #: threads may still wake the loop, so a loop without timers waits this long before it gives up, in seconds
    PATIENCE = 5.0

    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            ready = super().select(self.PATIENCE)
            if not ready:
                raise RuntimeError("everything waits, and no timer is set: this program would hang for ever")
            return ready
        ready = super().select(0)
        if not ready and timeout > 0:
            self._jump(timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still while something is ready, and else jumps to the next timer."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_JumpingSelector(self._jump))

    def time(self) -> float:
        return self._now

    def _jump(self, seconds: float) -> None:
        self._now += seconds


def run_virtual(coro: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(coro)


# ---- the server -----------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Faults:
    """What goes wrong, drawn from a seed. All chances are between 0 and 1."""

    seed: int = 0
    #: every call takes up to this long, in seconds, so that calls overtake each other
    delay: float = 0.0
    #: a bundle's acknowledgement never arrives: it is delivered again
    lose_ack: float = 0.0
    #: a live note reaches nobody
    lose_note: float = 0.0
    #: a call fails before the server does anything
    fail: float = 0.0
    random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def strikes(self, chance: float) -> bool:
        return chance > 0 and self.random.random() < chance


@dataclass(kw_only=True)
class _Work:
    """A bundle in the work stream."""

    data: bytes
    queue: str
    partition: str
    #: how often it was handed out
    deliveries: int = 0
    #: loop time at which it is handed out again; None: nobody holds it
    lease_ends: float | None = None


class MemoryServer:
    """What all connections share. Made inside a running loop, whose clock it uses."""

    def __init__(self, settings: Settings | None = None, faults: Faults | None = None) -> None:
        self.settings = settings or Settings()
        self.faults = faults or Faults()
        #: records of each partition, by position; dropped partitions are absent
        self.inboxes: dict[str, list[Record]] = {}
        #: bundles that are not acknowledged, in the order of their dispatch
        self.work: dict[int, _Work] = {}
        self.blobs: dict[str, bytes] = {}
        #: when each blob was put last, milliseconds since 1970
        self.blob_times: dict[str, int] = {}
        #: run -> (record, loop time at which it is forgotten)
        self.results: dict[str, tuple[bytes, float]] = {}
        self._keys: dict[tuple[str, str], tuple[float, int]] = {}
        self._listeners: dict[tuple[str, str], set[asyncio.Queue[bytes]]] = {}
        self._changed: set[asyncio.Event] = set()
        self._work_count = 0

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return EPOCH_MS + int(self.now() * 1000)

    def wake(self) -> None:
        for event in self._changed:
            event.set()

    def watch(self) -> asyncio.Event:
        """An event that is set whenever something is written."""
        event = asyncio.Event()
        self._changed.add(event)
        return event

    def unwatch(self, event: asyncio.Event) -> None:
        self._changed.discard(event)

    def seen(self, scope: str, key: str, seq: int) -> int | None:
        """The sequence a key was written with lately, or None; then it is from now on known with `seq`."""
        now = self.now()
        known = self._keys.get((scope, key))
        if known is not None and now - known[0] < DEDUPE_SECONDS:
            return known[1]
        self._keys[scope, key] = (now, seq)
        return None

    def append(self, partition: str, data: bytes, key: str) -> int:
        inbox = self.inboxes.get(partition)
        if inbox is None:
            raise TransportError(f"partition {partition} is not open")
        seq = len(inbox) + 1
        known = self.seen(f"inbox {partition}", key, seq)
        if known is not None:
            return known
        inbox.append(Record(seq=seq, time_ms=self.now_ms(), data=data))
        self.wake()
        return seq

    def dispatch(self, queue: str, partition: str, data: bytes, key: str) -> None:
        if self.seen("work", key, 0) is None:
            self._work_count += 1
            self.work[self._work_count] = _Work(data=data, queue=queue, partition=partition)
            self.wake()

    def take(self, queues: tuple[str, ...], partition: str, most: int) -> list[int]:
        """Leases the oldest bundles that nobody holds."""
        now = self.now()
        taken: list[int] = []
        for number, work in self.work.items():
            if len(taken) == most:
                break
            free = work.lease_ends is None or work.lease_ends <= now
            if free and work.partition == partition and work.queue in queues:
                work.deliveries += 1
                work.lease_ends = now + self.settings.ack_wait
                taken.append(number)
        return taken

    def next_lease_end(self) -> float | None:
        """When the first lease of any bundle ends, in loop time."""
        return min((w.lease_ends for w in self.work.values() if w.lease_ends is not None), default=None)

    def result(self, run: str) -> bytes | None:
        data, ends = self.results.get(run, (b"", 0.0))
        return data if ends > self.now() else None

    def subscribe(self, topic: str, run: str) -> asyncio.Queue[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._listeners.setdefault((topic, run), set()).add(queue)
        return queue

    def unsubscribe(self, topic: str, run: str, queue: asyncio.Queue[bytes]) -> None:
        listeners = self._listeners.get((topic, run), set())
        listeners.discard(queue)
        if not listeners:
            self._listeners.pop((topic, run), None)

    def notify(self, topic: str, run: str, data: bytes) -> None:
        if self.faults.strikes(self.faults.lose_note):
            return
        for key in ((topic, run), (topic, "*")):
            for queue in self._listeners.get(key, ()):
                queue.put_nowait(data)


# ---- a connection ---------------------------------------------------------------------------------------------------


class _MemoryDelivery:
    def __init__(self, server: MemoryServer, number: int) -> None:
        work = server.work[number]
        self._server, self._number, self._deliveries = server, number, work.deliveries
        self.data = work.data
        self.redelivered = work.deliveries > 1

    async def ack(self) -> None:
        faults = self._server.faults
        if not faults.strikes(faults.lose_ack):
            self._server.work.pop(self._number, None)

    async def progress(self) -> None:
        work = self._server.work.get(self._number)
        if work is not None and work.deliveries == self._deliveries:
            work.lease_ends = self._server.now() + self._server.settings.ack_wait


class _MemoryWork:
    def __init__(self, server: MemoryServer, partition: str, queues: tuple[str, ...]) -> None:
        self._server, self._partition, self._queues = server, partition, queues
        self._changed = server.watch()

    async def receive(self, most: int) -> list[Delivery]:
        while True:
            self._changed.clear()
            taken = self._server.take(self._queues, self._partition, most)
            if taken:
                return [_MemoryDelivery(self._server, number) for number in taken]
            await self._wait(self._server.next_lease_end())

    async def _wait(self, until: float | None) -> None:
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            return

    async def close(self) -> None:
        self._server.unwatch(self._changed)


class MemoryTransport:
    """One connection to a MemoryServer."""

    def __init__(self, server: MemoryServer) -> None:
        self.server = server
        self._closed = False

    async def _call(self) -> None:
        """What every call pays: it may take time, and it may fail."""
        if self._closed:
            raise TransportError("this connection is closed")
        faults = self.server.faults
        if faults.delay > 0:
            await asyncio.sleep(faults.random.random() * faults.delay)
        if faults.strikes(faults.fail):
            raise TransportError()

    async def open_partition(self, partition: str) -> None:
        await self._call()
        self.server.inboxes.setdefault(partition, [])

    async def drop_partition(self, partition: str) -> None:
        await self._call()
        self.server.inboxes.pop(partition, None)
        self._clear(partition)

    async def append(self, partition: str, data: bytes, key: str) -> int:
        await self._call()
        return self.server.append(partition, data, key)

    async def read(self, partition: str, after: int) -> AsyncIterator[list[Record]]:
        changed = self.server.watch()
        try:
            while True:
                changed.clear()
                await self._call()
                inbox = self.server.inboxes.get(partition)
                if inbox is None:
                    raise TransportError(f"partition {partition} is not open")
                if len(inbox) > after:
                    batch = inbox[after : after + 500]
                    after += len(batch)
                    yield batch
                else:
                    await changed.wait()
        finally:
            self.server.unwatch(changed)

    async def last_seq(self, partition: str) -> int:
        await self._call()
        return len(self.server.inboxes.get(partition, ()))

    async def dispatch(self, queue: str, priority: int, partition: str, data: bytes, key: str) -> None:
        await self._call()
        self.server.dispatch(queue, partition, data, key)

    async def clear_work(self, partition: str) -> None:
        await self._call()
        self._clear(partition)

    def _clear(self, partition: str) -> None:
        for number in [n for n, work in self.server.work.items() if work.partition == partition]:
            del self.server.work[number]

    async def work(self, partition: str, queues: tuple[str, ...]) -> _MemoryWork:
        await self._call()
        return _MemoryWork(self.server, partition, queues)

    async def put_blob(self, digest: str, data: bytes) -> None:
        await self._call()
        self.server.blobs[digest] = data
        self.server.blob_times[digest] = self.server.now_ms()

    async def get_blob(self, digest: str) -> bytes:
        await self._call()
        try:
            return self.server.blobs[digest]
        except KeyError:
            raise StoreError(f"the blob store does not have {digest}") from None

    async def collect_blobs(self, keep_seconds: float) -> None:
        await self._call()
        server = self.server
        first = [records[0].time_ms for records in server.inboxes.values() if records]
        before = min([server.now_ms() - keep_seconds * 1000, *first]) - server.settings.blob_margin * 1000
        for digest in [digest for digest, time_ms in server.blob_times.items() if time_ms < before]:
            del server.blobs[digest], server.blob_times[digest]

    async def put_result(self, run: str, data: bytes, keep_seconds: float) -> None:
        await self._call()
        self.server.results[run] = (data, self.server.now() + keep_seconds)
        self.server.notify("result", run, data)

    async def get_result(self, run: str) -> bytes | None:
        await self._call()
        return self.server.result(run)

    async def wait_result(self, run: str) -> bytes:
        notes = self.server.subscribe("result", run)
        try:
            while (found := await self.get_result(run)) is None:
                try:
                    async with asyncio.timeout(1.0):
                        return await notes.get()
                except TimeoutError:
                    continue  # a note may be lost: look again
            return found
        finally:
            self.server.unsubscribe("result", run, notes)

    async def notify(self, topic: str, run: str, data: bytes) -> None:
        await self._call()
        self.server.notify(topic, run, data)

    async def listen(self, topic: str, run: str) -> AsyncIterator[bytes]:
        await self._call()
        return self._notes(topic, run, self.server.subscribe(topic, run))

    async def _notes(self, topic: str, run: str, notes: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
        try:
            while True:
                yield await notes.get()
        finally:
            self.server.unsubscribe(topic, run, notes)

    async def close(self) -> None:
        self._closed = True
