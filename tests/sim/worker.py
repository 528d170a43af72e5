"""A simulated worker: pulls bundles, executes their items with the worker's own code, and says how they ended.

It does what the protocol allows, and whatever of it is seldom: flushes results one by one or all at once, hands back
some of its items, takes its time. How long something takes is drawn at random.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from flowc.plan import Plan, decode
from flowrun import values
from flowrun.errors import FlowError
from flowrun.memory import MemoryTransport
from flowrun.messages import (
    Bundle,
    Failure,
    Holding,
    Lost,
    Outcome,
    Presence,
    Replacement,
    Results,
    WorkItem,
    pack,
    pack_events,
    unpack,
)
from flowrun.settings import Settings
from flowrun.transport import Delivery
from flowrun.worker.execute import Executions
from flowrun.worker.failures import unpack_failure
from flowrun.worker.shared import FAILED, REPLACED, SKIPPED, SUCCESS

from tests.reference.direct import run_one

from .loop import current_process
from .programs import ROOT, TRANSIENT, settings_of

__all__ = ["GROUP", "LANES", "Habits", "SimWorker", "Watcher", "seconds_of"]

GROUP = "nodes"
LANES = ("default",)
_STATES: dict[int, Any] = {SUCCESS: "success", FAILED: "failed", SKIPPED: "skipped", REPLACED: "replaced"}


class Watcher(Protocol):
    """Is told what workers do."""

    #: from now on everything is quick
    calm: bool
    #: all plans by digest
    plans: dict[str, Plan]

    def begins(self, worker: str, bundle: Bundle, item: WorkItem, index: int, chained: tuple[int, ...]) -> None:
        """`chained`: the nodes of the item's chain that ran before, at this worker."""


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How a worker works."""

    slots: int = 2
    #: chance that a unit takes long, and how long at most, in seconds
    slow: float = 0.1
    longest: float = 8.0
    #: chance that results are written at once
    flushes: float = 0.3
    #: chance that items are handed back
    hands_back: float = 0.05
    #: chance that a unit fails which may try again for that
    transient: float = 0.0
    #: it is the real worker, which flushes and hands back as it likes
    real: bool = False


class _Blobs:
    """What was fetched before an item runs, and what is to be stored after it."""

    def __init__(self) -> None:
        self.fetched: dict[str, bytes] = {}
        self.stored: dict[str, bytes] = {}

    def get(self, digest: str) -> bytes:
        return self.fetched[digest]

    def put(self, digest: str, data: bytes) -> None:
        self.stored[digest] = data

    def cached(self, key: str) -> bytes:
        return b""

    def keep(self, key: str, data: bytes, ttl_ms: int) -> None:
        """Nothing is found again."""


class SimWorker:
    def __init__(
        self, transport: MemoryTransport, name: str, habits: Habits, settings: Settings, chance: random.Random,
        watcher: Watcher,
    ) -> None:  # fmt: skip
        self._transport, self._name, self._habits, self._settings = transport, name, habits, settings
        self._chance, self._watcher = chance, watcher
        self._blobs = _Blobs()
        self._executions = Executions(ROOT, self._blobs)
        self._free = asyncio.Semaphore(habits.slots)
        process = current_process()
        assert process is not None
        self._process = process
        #: bundles that it works on
        self._held: set[str] = set()
        #: bundle -> who said that he holds it
        self._claimed: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._plans: dict[str, Plan] = {}
        self._count = 0

    async def run(self) -> None:
        source = await self._transport.work(GROUP, LANES)
        self._start(self._say_presence())
        self._start(self._hear_claims())
        self._transport.connection.on_reconnect.append(self._claim)
        while True:
            await self._free.acquire()
            [delivery] = await source.receive(1)
            self._start(self._handle(delivery))

    def _start(self, coro: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coro)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _say_presence(self) -> None:
        while True:
            presence = Presence(
                node=self._name, group=GROUP, host="", pid=0, started_ms=0, capacity={LANES[0]: self._habits.slots}
            )
            await self._transport.notify("presence", self._name, pack(presence))
            await asyncio.sleep(self._settings.presence)

    # ---- after a reconnect

    def _claim(self) -> None:
        """Says which bundles it works on: the server may have forgotten that it handed them out."""
        if self._held:
            self._process.run(self._say_claims())

    async def _say_claims(self) -> None:
        """More than once, for notes may be lost."""
        for _ in range(3):
            note = Holding(worker=self._name, bundles=tuple(sorted(self._held)))
            await self._transport.notify("holding", self._name, pack(note))
            await asyncio.sleep(self._settings.ack_wait / 6)

    async def _hear_claims(self) -> None:
        async for data in await self._transport.listen("holding", "*"):
            note = unpack(data, Holding)
            if note.worker != self._name:
                self._claimed.update(dict.fromkeys(note.bundles, note.worker))

    # ---- a bundle

    async def _handle(self, delivery: Delivery) -> None:
        try:
            await self._handle_bundle(delivery, unpack(delivery.data, Bundle))
        except FlowError:
            return  # it is handed out again
        finally:
            self._free.release()

    async def _handle_bundle(self, delivery: Delivery, bundle: Bundle) -> None:
        if not delivery.redelivered and delivery.fresh:
            await asyncio.sleep(self._settings.ack_wait / 2)
        if delivery.redelivered or bundle.id in self._claimed or bundle.id in self._held:
            await self._append(bundle, Lost(bundle.id, bundle.items))
            await delivery.ack()
            return
        self._held.add(bundle.id)
        keeper = asyncio.create_task(self._keep(delivery))
        try:
            await self._execute(bundle)
            await delivery.ack()
        finally:
            keeper.cancel()
            self._held.discard(bundle.id)

    async def _keep(self, delivery: Delivery) -> None:
        while True:
            await asyncio.sleep(self._settings.ack_wait / 3)
            try:
                await delivery.progress()
            except FlowError:
                continue

    async def _execute(self, bundle: Bundle) -> None:
        for digest in bundle.plans:
            if digest not in self._plans:
                data = await self._transport.get_blob(digest)
                self._plans[digest] = decode(data)
                self._executions.add(digest, data)
        outcomes: list[Outcome] = []
        back = bool(bundle.items) and self._chance.random() < self._habits.hands_back
        kept = self._chance.randrange(len(bundle.items) + 1) if back else len(bundle.items)
        items, rest = list(bundle.items[:kept]), list(bundle.items[kept:])
        if rest and rest[0].last - rest[0].first > 1:  # it keeps some items of a range
            item = rest[0]
            middle = self._chance.randrange(item.first, item.last)
            rest[0] = msgspec.structs.replace(item, first=middle)
            if item.first < middle:
                items.append(msgspec.structs.replace(item, last=middle))
            if self._chance.random() < 0.5:  # and hands back the others at once
                back_now = [outcome for item in rest for outcome in _returned(item)]
                await self._flush(bundle, back_now)
                rest = []
        for item in items:
            async for outcome in self._item(bundle, item):
                outcomes.append(outcome)
                if self._chance.random() < self._habits.flushes:
                    outcomes = await self._flush(bundle, outcomes)
        outcomes += [outcome for item in rest for outcome in _returned(item)]
        await self._flush(bundle, outcomes)

    async def _flush(self, bundle: Bundle, outcomes: list[Outcome]) -> list[Outcome]:
        if outcomes:
            replaced = [
                msgspec.msgpack.decode(one.value, type=Replacement) for one in outcomes if one.state == "replaced"
            ]
            plans = tuple(found.plan for found in replaced)
            await self._append(bundle, Results(bundle.id, self._name, tuple(outcomes), plans))
        return []

    async def _append(self, bundle: Bundle, event: Results | Lost) -> None:
        """Tries until it is there, or the bundle will be handed out again anyway."""
        self._count += 1
        key = f"{bundle.id}/{self._name}/{self._count}"
        while True:
            try:
                await self._transport.append(bundle.partition, pack_events([event]), key)
                return
            except FlowError:
                await asyncio.sleep(self._chance.random())

    # ---- an item

    async def _item(self, bundle: Bundle, item: WorkItem):  # type: ignore[no-untyped-def]
        """The outcomes of an item and of those that follow it."""
        if item.expires_ms and item.expires_ms < self._transport.server.now_ms():
            yield _outcome(item, "expired", item.first, item.last)
            return
        if item.first >= 0:
            for index in range(item.first, item.last):
                yield await self._unit(bundle, item, index, ())
            return
        outcome = await self._unit(bundle, item, -1, ())
        yield outcome
        results, chained = [outcome.value], [item.node]
        for then in item.then:
            if outcome.state != "success":
                return
            inputs = tuple(results[given] if isinstance(given, int) else given for given in then.inputs)
            follower = WorkItem(
                item.run, item.plan, item.flow, item.scope, item.block, then.node, 1, inputs, index=item.index
            )
            outcome = await self._unit(bundle, follower, -1, tuple(chained))
            yield outcome
            results.append(outcome.value)
            chained.append(then.node)

    async def _unit(self, bundle: Bundle, item: WorkItem, index: int, chained: tuple[int, ...]) -> Outcome:
        await self._fetch(item.inputs)
        self._watcher.begins(self._name, bundle, item, index, chained)
        seconds = await self._take_time()
        if self._chance.random() < self._habits.transient and self._may_fail(bundle, item):
            failure = Failure(TRANSIENT, "not this time")
            head = (item.run, item.scope, item.node, item.attempt)
            return Outcome(*head, "failed", error=failure, first=index, last=index + 1 if index >= 0 else -1)
        prepared = self._executions.prepare(item, bundle.plans[item.plan])
        plan = self._plans[bundle.plans[item.plan]]
        settings = settings_of(plan.children[item.flow] if item.flow else plan, item.block, item.node)
        ended = run_one(prepared, index, self._blobs, is_batch=settings.batch is not None)
        stored, self._blobs.stored = self._blobs.stored, {}
        for digest, data in stored.items():
            await self._transport.put_blob(digest, data)
        return Outcome(
            item.run, item.scope, item.node, item.attempt, _STATES[ended.state],
            value=ended.payload if ended.state in (SUCCESS, REPLACED) else values.NULL,
            error=unpack_failure(ended.payload) if ended.state == FAILED else None,
            seconds=struct.pack("<f", seconds), first=index, last=index + 1 if index >= 0 else -1,
        )  # fmt: skip

    def _may_fail(self, bundle: Bundle, item: WorkItem) -> bool:
        """Its policy allows for it."""
        plan = self._plans[bundle.plans[item.plan]]
        plan = plan.children[item.flow] if item.flow else plan
        policy = settings_of(plan, item.block, item.node).retry
        return policy is not None and TRANSIENT in policy.only

    async def _fetch(self, data: tuple[bytes, ...]) -> None:
        for blob in values.references(data):
            if blob.digest not in self._blobs.fetched:
                found = await self._transport.get_blob(blob.digest)
                self._blobs.fetched[blob.digest] = found
                await self._fetch((found,))

    async def _take_time(self) -> float:
        seconds = seconds_of(self._chance, self._habits, self._watcher)
        await asyncio.sleep(seconds)
        return seconds


def seconds_of(chance: random.Random, habits: Habits, watcher: Watcher) -> float:
    """How long a unit takes."""
    most = habits.longest if chance.random() < habits.slow and not watcher.calm else 0.05
    return chance.random() * most


def _returned(item: WorkItem) -> list[Outcome]:
    """An item is handed back, and what follows it."""
    behind = [Outcome(item.run, item.scope, then.node, 1, "returned") for then in item.then]
    return [_outcome(item, "returned", item.first, item.last), *behind]


def _outcome(item: WorkItem, state: Any, first: int, last: int) -> Outcome:
    return Outcome(item.run, item.scope, item.node, item.attempt, state, first=first, last=last)
