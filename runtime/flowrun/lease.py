"""The lease of a partition: who leads it.

A lease is an entry that its holder rewrites twice a second, by compare-and-set. A candidate looks at it by a clock of
its own: if its revision has not changed for `Settings.lease` seconds, it takes it, by compare-and-set as well; of two
candidates one wins. No clocks of two machines are ever compared. A lease whose holder lived on this host, and whose
process is gone, is free at once; so is one that was released.

A lease alone proves nothing: a holder may be paused, and wake when another one leads. What protects the work is the
fence (see `transport`); the lease only sees to it that there is one leader, and soon a new one.

`LeaseWatch` is the pure part: may I take it now? `Lease` does the writing.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec

from .errors import Conflict, Fenced, TransportError
from .settings import Settings
from .transport import Entry, Transport

__all__ = ["Holder", "Lease", "LeaseWatch", "lease_key", "this_process"]

#: between two looks at a lease that another one holds, in seconds
_LOOK_SECONDS = 0.2


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lease: what its entry says."""

    #: unique among the nodes of an environment; "": it was released
    node: str
    host: str = ""
    #: of the host since it was started: another one after a restart
    boot: str = ""
    pid: int = 0
    #: grows with every holder
    epoch: int = 0
    #: this one's lease, among others of the same process
    token: str = ""


_decoder = msgspec.msgpack.Decoder(Holder)


def lease_key(partition: str) -> str:
    return f"lease.{partition}"


@cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def this_process(node: str, token: str = "") -> Holder:
    """What this process writes into a lease."""
    return Holder(node=node, host=socket.gethostname(), boot=_boot_id(), pid=os.getpid(), token=token)


def _pid_lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


class LeaseWatch:
    """What a candidate saw of a lease, by its own clock in seconds. Pure, but for `lives`: does a process live?"""

    def __init__(self, me: Holder, lease: float, lives: Callable[[int], bool] = _pid_lives) -> None:
        self._me, self._lease, self._lives = me, lease, lives
        self._revision = -1
        self._since = 0.0
        self._holder: Holder | None = None

    @property
    def epoch(self) -> int:
        """Of the last holder that was seen; 0: there was none."""
        return self._holder.epoch if self._holder else 0

    @property
    def revision(self) -> int:
        """The lease's, as seen last; 0: there is none."""
        return max(self._revision, 0)

    @property
    def holder(self) -> Holder | None:
        """Who holds it, as seen last; None: nobody."""
        return self._holder if self._holder and self._holder.node else None

    def saw(self, entry: Entry | None, now: float) -> None:
        """The lease's entry as it is at this moment."""
        revision = entry.revision if entry else 0
        if revision == self._revision:
            return
        self._revision, self._since = revision, now
        self._holder = _holder(entry)

    def free_at(self) -> float:
        """The time from which on it may be taken, if nothing changes."""
        holder = self.holder
        if self._revision < 0:
            return float("inf")
        if holder is None or self._is_gone(holder):
            return self._since
        return self._since + self._lease

    def is_free(self, now: float) -> bool:
        """It may be taken."""
        return now >= self.free_at()

    def _is_gone(self, holder: Holder) -> bool:
        me = self._me
        here = bool(holder.boot) and (holder.host, holder.boot) == (me.host, me.boot)
        return here and not self._lives(holder.pid)


def _holder(entry: Entry | None) -> Holder | None:
    """What cannot be read was written by another version: it counts as held until it stops changing."""
    if entry is None or not entry.data:
        return None
    try:
        return _decoder.decode(entry.data)
    except msgspec.DecodeError:
        return Holder(node="?")


class Lease:
    """A lease that this process holds. Made by `Lease.take` or `Lease.acquire`."""

    def __init__(self, transport: Transport, partition: str, holder: Holder, revision: int, settings: Settings) -> None:
        self._transport, self._partition, self._settings = transport, partition, settings
        self.holder = holder
        self._revision = revision
        #: how often it was found to be still ours after it could not be renewed for its time
        self.doubts = 0
        #: loop time at which the last renewal that succeeded was begun
        self._renewed = asyncio.get_running_loop().time()
        #: loop time at which the server was last heard to renew it
        self._heard = self._renewed

    @classmethod
    async def acquire(cls, transport: Transport, partition: str, me: Holder, settings: Settings) -> Lease:
        """Waits until the lease is free, and takes it. Raises TransportError, StoreError."""
        loop = asyncio.get_running_loop()
        watch = LeaseWatch(me, settings.lease)
        while True:
            watch.saw(await transport.read_entry(lease_key(partition)), loop.time())
            if watch.is_free(loop.time()):
                taken = await cls.take(transport, partition, me, watch, settings)
                if taken is not None:
                    return taken
            else:
                await asyncio.sleep(min(_LOOK_SECONDS, max(watch.free_at() - loop.time(), 0.01)))

    @classmethod
    async def take(
        cls, transport: Transport, partition: str, me: Holder, watch: LeaseWatch, settings: Settings
    ) -> Lease | None:
        """Takes a lease that is free; None if somebody else changed it in between."""
        holder = msgspec.structs.replace(me, epoch=watch.epoch + 1)
        data = msgspec.msgpack.encode(holder)
        try:
            revision = await transport.write_entry(lease_key(partition), data, watch.revision)
        except Conflict:
            return None
        return cls(transport, partition, holder, revision, settings)

    @property
    def age(self) -> float:
        """Seconds since it was certainly ours."""
        return asyncio.get_running_loop().time() - self._renewed

    async def keep(self, doubted: Callable[[], None]) -> None:
        """Renews it for ever. Raises Fenced when another one has it, TransportError when the server stays away.

        `doubted` is called when it could not be renewed for `Settings.lease` seconds and is still ours: the server was
        away, and may have forgotten something.
        """
        doubts = self.doubts
        while True:
            await asyncio.sleep(max(self._settings.lease_renewal - self.age, 0.0))
            await self.renew()
            if self.doubts != doubts:
                doubts = self.doubts
                doubted()

    async def confirm(self) -> None:
        """Returns if nobody else can have led when this was called. Raises Fenced otherwise, TransportError."""
        if self.age >= self._settings.lease:
            await self.renew()

    async def renew(self) -> None:
        """Once. Raises Fenced when another one has it."""
        begun = asyncio.get_running_loop().time()
        data = msgspec.msgpack.encode(self.holder)
        try:
            self._revision = await self._transport.write_entry(lease_key(self._partition), data, self._revision)
        except Conflict:
            self._revision = await self._own_revision()
        now = asyncio.get_running_loop().time()
        if now - self._heard > self._settings.lease:
            self.doubts += 1
        self._renewed, self._heard = begun, now

    async def _own_revision(self) -> int:
        """A write whose answer was lost looks like a conflict: it is none if the entry says what we wrote."""
        entry = await self._transport.read_entry(lease_key(self._partition))
        if entry is not None and _holder(entry) == self.holder:
            return entry.revision
        raise Fenced(f"another node leads partition {self._partition} now")

    async def release(self) -> None:
        """Lets another one take it at once. Does nothing if it is no longer ours, or nobody answers."""
        data = msgspec.msgpack.encode(Holder(node="", epoch=self.holder.epoch))
        try:
            await self._transport.write_entry(lease_key(self._partition), data, self._revision)
        except (Conflict, TransportError):
            return
