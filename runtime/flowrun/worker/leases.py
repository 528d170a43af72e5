"""The bundles that a worker holds: their leases are kept alive for as long as they are worked on.

A worker judges by its own clock: if a lease could not be renewed for `ack_wait`, the bundle is lost, for another worker
may have it; a worker that was paused finds that out when it wakes. After a reconnect the server may have forgotten who
holds what: all workers say so (`Holding`), and one that is handed a bundle then waits for that before it starts. A
server that was killed may also have forgotten that a bundle was acknowledged, and hand it out as if it were new: so a
worker remembers, and says, which it has dealt with lately.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable

from flowrun.errors import TransportError
from flowrun.messages import Bundle, Holding, MessageError, pack, unpack
from flowrun.transport import Delivery, Transport

__all__ = ["Lease", "Leases"]

#: a bundle that the server may have handed out twice waits so long for a word of the other holder, in seconds
WORD = 1.0
#: after a reconnect a worker says so often, with a third of that time between, what it holds
TIMES = 10
#: bundles that others hold, as they said, are remembered for this long, in seconds
REMEMBER = 10.0
#: bundles that are remembered after they were dealt with
DONE = 2_000


def _now() -> float:
    return asyncio.get_running_loop().time()


class Lease:
    """A bundle that this worker holds."""

    def __init__(self, delivery: Delivery, bundle: Bundle) -> None:
        self.delivery, self.bundle = delivery, bundle
        #: when the server was last heard to extend it, by the loop's clock
        self.renewed = _now()
        self.lost = False


class Leases:
    """Of one worker. `lose` is called when a lease could not be renewed."""

    def __init__(self, transport: Transport, worker: str, ack_wait: float, lose: Callable[[Lease], None]) -> None:
        self._transport, self._worker, self._ack_wait, self._lose = transport, worker, ack_wait, lose
        self.held: dict[str, Lease] = {}
        #: those whose results, or loss, the inbox has
        self._done: OrderedDict[str, None] = OrderedDict()
        #: bundle -> when another worker said that it holds it, or did
        self._elsewhere: dict[str, float] = {}
        self._announce = asyncio.Event()
        #: set, and replaced, when somebody has said something
        self._heard = asyncio.Event()

    def hold(self, delivery: Delivery, bundle: Bundle) -> Lease:
        lease = self.held[bundle.id] = Lease(delivery, bundle)
        return lease

    def release(self, lease: Lease) -> None:
        """This worker has nothing more to do with it."""
        if self.held.get(lease.bundle.id) is lease:
            del self.held[lease.bundle.id]

    def done(self, bundle: str) -> None:
        """The inbox has all results of it, or that it is lost: it is never to be begun here."""
        self._done[bundle] = None
        if len(self._done) > DONE:
            self._done.popitem(last=False)

    def is_done(self, bundle: str) -> bool:
        """This worker has dealt with it; it came again."""
        return bundle in self._done

    def own(self, bundle: str, delivery: Delivery) -> bool:
        """This worker holds the bundle already; it came again."""
        lease = self.held.get(bundle)
        if lease is None:
            return False
        lease.delivery, lease.renewed = delivery, _now()
        return True

    def valid(self, lease: Lease) -> bool:
        """By this worker's clock, nobody else can have it."""
        return not lease.lost and _now() - lease.renewed <= self._ack_wait

    # ---- keeping

    async def keep(self) -> None:
        """Renews, without end."""
        while True:
            await asyncio.sleep(self._ack_wait / 4)
            for lease in list(self.held.values()):
                self._check(lease)
            if self.held:
                await asyncio.gather(*map(self._renew, list(self.held.values())))

    async def _renew(self, lease: Lease) -> None:
        began = _now()
        with contextlib.suppress(TimeoutError, TransportError):
            async with asyncio.timeout(self._ack_wait / 4):
                await lease.delivery.progress()
            lease.renewed = max(lease.renewed, began)
        self._check(lease)

    def _check(self, lease: Lease) -> None:
        if not self.valid(lease):
            self.give_up(lease)

    def give_up(self, lease: Lease) -> None:
        """It ran out, and whatever the server says from now on does not change that."""
        if self.held.get(lease.bundle.id) is lease:
            lease.lost = True
            self.release(lease)
            asyncio.get_running_loop().call_soon(self._lose, lease)

    # ---- after a reconnect

    def reconnected(self) -> None:
        """The server may have forgotten who holds what."""
        self._announce.set()

    async def announce(self) -> None:
        """Says what is held, when it matters; without end. Others may have their connections only later."""
        while True:
            await self._announce.wait()
            self._announce.clear()
            for _ in range(TIMES):
                await self._say()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(WORD / 3):
                        await self._announce.wait()
                        break

    async def _say(self) -> None:
        if self.held or self._done:
            note = pack(Holding(self._worker, (*self.held, *self._done)))
            with contextlib.suppress(TransportError):  # who waits for it hears nothing, and reports the bundle lost
                await self._transport.notify("holding", self._worker, note)

    async def listen(self) -> None:
        """To what others say."""
        async for data in await self._transport.listen("holding", "*"):
            try:
                note = unpack(data, Holding)
            except MessageError:
                continue
            if note.worker != self._worker:
                now = _now()
                self._elsewhere.update(dict.fromkeys(note.bundles, now))
                self._heard.set()
                self._heard = asyncio.Event()
                for bundle in [b for b, heard in self._elsewhere.items() if now - heard > REMEMBER]:
                    del self._elsewhere[bundle]

    async def is_elsewhere(self, bundle: str) -> bool:
        """Waits a moment for another worker to say that it holds it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(WORD, self._ack_wait / 3)):
                while bundle not in self._elsewhere:
                    await self._heard.wait()
        return bundle in self._elsewhere
