"""A node leads partitions of its environment: those that nobody leads, and no more than its share.

Leases tell who leads (see `lease`): changes of their entries are followed as they come, and one that does not change is
taken when its time is over. Nodes that may lead say that they live every second (`Presence`); the partitions are shared
among them evenly. A node that leads more than its share gives one up, gracefully, and the next when that one is led
again. What nobody takes for long is taken by whoever sees it, share or not.

`plan` is the pure part: what to take and what to give up.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from zlib import crc32

import msgspec

from .background import Background
from .capacity import Capacity
from .coordinator import Coordinator
from .engine.triggered import Triggered
from .errors import Fenced, FlowError
from .lease import Lease, LeaseWatch, lease_key, this_process
from .messages import MessageError, Presence, pack, unpack
from .partitions import config, partitions
from .settings import Settings
from .transport import Entry, Transport

__all__ = ["Leading", "Moves", "plan"]

log = logging.getLogger("flow.leading")

#: all deployed nodes are one group
GROUP = "nodes"
#: between two looks at what to do, in seconds
_LOOK_SECONDS = 0.25
#: a partition that is free for this long is taken by whoever may lead, in seconds
_ORPHAN_SECONDS = 1.0
#: a node that leads more than its share waits so long before it gives one up, in seconds
_SETTLE_SECONDS = 1.0
#: a coordinator that ended by an error is started again after this time, in seconds: from, to
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 10.0


class Moves(msgspec.Struct, frozen=True):
    """What a node should do now."""

    take: tuple[str, ...]
    #: at most one; "": none
    give: str = ""


def plan(names: Sequence[str], free: Mapping[str, float], mine: frozenset[str], node: str, leaders: int) -> Moves:
    """`names`: all partitions; `free`: those that may be taken, with how long they have been so, in seconds; `mine`:
    those that this node leads, or begins to; `leaders`: nodes that may lead, this one included."""
    share = -(-len(names) // max(leaders, 1))
    # nodes begin at different places, so that they seldom want the same one
    start = crc32(node.encode()) % len(names)
    wanted = [name for name in (*names[start:], *names[:start]) if name in free and name not in mine]
    room = max(share - len(mine), 0)
    take = wanted[:room] + [name for name in wanted[room:] if free[name] > _ORPHAN_SECONDS]
    if take or len(mine) <= share or free.keys() - mine:
        return Moves(tuple(take))
    return Moves((), max(mine, key=names.index))


class Leading:
    """Leads partitions of an environment from this node. `run` until `stop`."""

    def __init__(self, transport: Transport, *, node: str, settings: Settings, group: str = GROUP) -> None:
        self._transport, self._node, self._settings, self._group = transport, node, settings, group
        self._started_ms = int(time.time() * 1000)
        self._background = Background()
        self._names: tuple[str, ...] = ()
        self._capacity = Capacity(group, settings)
        self._watches: dict[str, LeaseWatch] = {}
        #: what is led, or about to be
        self._led: dict[str, asyncio.Task[None]] = {}
        self._coordinators: dict[str, Coordinator] = {}
        #: partition that is given up; "": none
        self._giving = ""
        #: loop time until which this node led no more than its share
        self._surplus_since = 0.0
        #: partition -> when it may be tried again, in loop time, and how long was waited for that
        self._later: dict[str, tuple[float, float]] = {}
        #: node that may lead -> when it was heard of last, in loop time
        self._leaders: dict[str, float] = {}
        self._changed, self._stopping = asyncio.Event(), asyncio.Event()

    @property
    def leads(self) -> tuple[str, ...]:
        """The partitions that are led from here, their take-overs done."""
        return tuple(name for name, coordinator in self._coordinators.items() if coordinator.ready.is_set())

    def triggers(self) -> dict[str, Mapping[str, Triggered]]:
        """The triggers of the partitions that are led from here, by partition and id."""
        return {name: found.triggers for name, found in self._coordinators.items() if found.ready.is_set()}

    async def run(self) -> None:
        """Raises TransportError, StoreError."""
        await self._transport.open_partition("0")  # the first of all may be this node
        self._names = partitions((await config(self._transport, self._settings)).partitions)
        self._capacity = Capacity(self._group, self._settings, partitions=len(self._names))
        me = this_process(self._node)
        self._watches = {name: LeaseWatch(me, self._settings.lease) for name in self._names}
        try:
            await self._background.watch(self._work())
        finally:
            for task in self._led.values():
                task.cancel()
            await asyncio.gather(*self._led.values(), return_exceptions=True)
            await self._background.stop()

    async def stop(self) -> None:
        """Gives up all partitions gracefully, and lets `run` return."""
        self._stopping.set()
        await self._say()  # first, so that others count on it no more when they see what is free
        self._changed.set()

    async def _work(self) -> None:
        changes = await self._transport.listen_entries("lease")
        notes = await self._transport.listen("presence", "*")
        found = {entry.key: entry for entry in await self._transport.entries("lease")}
        now = asyncio.get_running_loop().time()
        for name, watch in self._watches.items():
            watch.saw(found.get(lease_key(name)), now)
        self._background.start(self._follow_leases(changes))
        self._background.start(self._follow_presence(notes))
        self._background.start(self._say_present())
        await asyncio.sleep(self._settings.presence / 4)  # others may be there, and say so
        while not self._stopping.is_set():
            self._move()
            self._changed.clear()
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                continue
        while self._led:  # one that had just taken a lease has its coordinator only later
            for coordinator in self._coordinators.values():
                await coordinator.stop()
            await asyncio.wait(list(self._led.values()), timeout=_LOOK_SECONDS)

    # ---- what others do

    async def _follow_leases(self, changes: AsyncIterator[Entry]) -> None:
        async for entry in changes:
            watch = self._watches.get(entry.key.removeprefix("lease."))
            if watch is not None:
                watch.saw(entry, asyncio.get_running_loop().time())
                if watch.holder is None:
                    self._changed.set()

    async def _follow_presence(self, notes: AsyncIterator[bytes]) -> None:
        async for data in notes:
            try:
                presence = unpack(data, Presence)
            except MessageError as error:
                log.debug("a note is left out: %s", error)
                continue
            if presence.leader and presence.group == self._group and presence.node != self._node:
                if presence.stopping:
                    self._leaders.pop(presence.node, None)
                else:
                    self._leaders[presence.node] = asyncio.get_running_loop().time()

    async def _say_present(self) -> None:
        while True:
            await self._say()
            await asyncio.sleep(self._settings.presence)

    async def _say(self) -> None:
        presence = Presence(
            node=self._node, group=self._group, host=socket.gethostname(), pid=os.getpid(),
            started_ms=self._started_ms, leads=self.leads, leader=True, stopping=self._stopping.is_set(),
        )  # fmt: skip
        await self._transport.notify("presence", self._node, pack(presence))

    def _others(self, now: float) -> int:
        """Other nodes that may lead, were heard of lately, and did not let a lease go by."""
        since = now - 3 * self._settings.presence
        late = {watch.holder.node for watch in self._watches.values() if watch.holder and watch.is_free(now)}
        self._leaders = {node: at for node, at in self._leaders.items() if at >= since and node not in late}
        return len(self._leaders)

    # ---- what this node does

    def _move(self) -> None:
        now = asyncio.get_running_loop().time()
        free = {
            name: now - watch.free_at()
            for name, watch in self._watches.items()
            if watch.is_free(now) and name not in self._led and self._later.get(name, (0.0, 0.0))[0] <= now
        }
        moves = plan(self._names, free, frozenset(self._led), self._node, self._others(now) + 1)
        if not moves.give:
            self._surplus_since = now
        for name in moves.take:
            task = asyncio.create_task(self._lead(name))
            self._led[name] = task
            task.add_done_callback(lambda _, name=name: self._ended(name))  # type: ignore[misc]
        settled = now - self._surplus_since > _SETTLE_SECONDS
        if moves.give and settled and not self._giving and moves.give in self._coordinators:
            log.info("partition %s is given up, for other nodes lead too", moves.give)
            self._giving = moves.give
            self._background.start(self._coordinators[moves.give].stop())

    def _ended(self, name: str) -> None:
        self._led.pop(name, None)
        self._coordinators.pop(name, None)
        if self._giving == name:
            self._giving, self._surplus_since = "", asyncio.get_running_loop().time()
        self._changed.set()

    async def _lead(self, name: str) -> None:
        """Leads a partition from its take-over to its end, whatever ends it."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            await self._lead_once(name)
            self._later[name] = (loop.time() + self._settings.lease, 0.0)  # others first
            return
        except Fenced as error:
            log.warning("partition %s is no longer led from here: %s", name, error)
            return
        except FlowError as error:
            log.error("partition %s is not led from here any more: %s", name, error)
        except Exception:
            log.exception("partition %s is not led from here any more, by a defect: please report it", name)
        long = loop.time() - begun > _LONGEST_WAIT
        wait = _FIRST_WAIT if long else min(max(2 * self._later.get(name, (0.0, 0.0))[1], _FIRST_WAIT), _LONGEST_WAIT)
        self._later[name] = (loop.time() + wait, wait)

    async def _lead_once(self, name: str) -> None:
        await self._transport.open_partition(name)
        watch, me = self._watches[name], this_process(self._node, secrets.token_hex(4))
        lease = await Lease.take(self._transport, name, me, watch, self._settings)
        if lease is None:  # somebody else was quicker, or its last changes went unheard
            watch.saw(await self._transport.read_entry(lease_key(name)), asyncio.get_running_loop().time())
            return
        coordinator = self._coordinators[name] = Coordinator(
            self._transport, name, group=self._group, capacity=self._capacity, settings=self._settings,
            partitions=len(self._names), node=self._node,
        )  # fmt: skip
        await coordinator.run(lease)
