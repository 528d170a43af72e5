"""The slots of one kind of executor, and the bundles that they pull: a lane per queue."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from flowrun.names import lane
from flowrun.transport import Delivery, Transport, WorkSource

from .frames import ExecutorKind
from .slot import Slot

__all__ = ["Pool"]

#: when no slot has had room for this long, what has come and waits goes back to others, in seconds
LET_GO = 0.25


class Pool:
    """`pull` hands what comes to `deliver`, as much as there is room for."""

    def __init__(
        self,
        transport: Transport,
        group: str,
        queues: tuple[str, ...],
        kind: ExecutorKind,
        slots: Sequence[Slot],
        deliver: Callable[[Delivery, Pool], None],
    ) -> None:
        self.kind = kind
        self.lanes = tuple(lane(queue, kind) for queue in queues)
        self._transport, self._group, self._deliver = transport, group, deliver
        self.slots = tuple(slots)
        #: of the slots, the first so many are used
        self.active = len(slots)
        #: bundles that came, and whose plans are still fetched
        self.reserved = 0
        #: bundles that wait for their codes
        self.waiting = 0
        self._task: asyncio.Task[None] | None = None
        #: bundles that are asked for now; 0: none are
        self._asked = 0
        self._ask_again = False
        self._stopped = False
        self._space = asyncio.Event()

    async def warm_up(self) -> None:
        """Processes are started ahead; other executors when the first work for them comes."""
        if self.kind == "process":
            for slot in self.slots[: self.active]:
                await slot.warm_up()

    def room(self) -> int:
        """Bundles that would be taken now."""
        return max(0, sum(slot.room() for slot in self.slots[: self.active]) - self.reserved)

    def slot(self, code: str = "") -> Slot:
        """The slot for the next bundle, of that code. Of those that are idle, the one that was used last is warm; they
        are used in their order."""

        def fitness(slot: Slot) -> tuple[bool, bool, bool, int]:
            waiting = len(slot.jobs)
            return not waiting, slot.room() > 0, slot.knows(code), -waiting

        return max(self.slots[: self.active], key=fitness)

    def has_room(self) -> None:
        """A job has ended."""
        self._space.set()
        if self._asked and self._task is not None and not self._ask_again and self.room() > self._asked:
            self._ask_again = True
            self._task.cancel()

    # ---- pulling

    async def pull(self) -> None:
        """Without end."""
        self._task = asyncio.current_task()
        while True:
            source = await self._transport.work(self._group, self.lanes)
            try:
                await self._pull(source)
            finally:
                await source.close()
            await self._space.wait()

    async def _pull(self, source: WorkSource) -> None:
        """Until there has been no room for a while."""
        while True:
            self._space.clear()
            self._asked = self.room()
            if not self._asked:
                if not await self._space_soon():
                    return
                continue
            for delivery in await self._receive(source):
                self._deliver(delivery, self)

    async def _space_soon(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LET_GO):
                await self._space.wait()
        return self.room() > 0

    async def _receive(self, source: WorkSource) -> list[Delivery]:
        try:
            return await source.receive(self._asked)
        except asyncio.CancelledError:
            if self._stopped or not self._ask_again:
                raise
            assert self._task is not None
            if self._task.uncancel():  # somebody else ended it at the same moment
                raise
            return []
        finally:
            self._ask_again, self._asked = False, 0

    async def stop(self, task: asyncio.Task[None]) -> None:
        """Asks for nothing more; what has come and waits goes back."""
        self._stopped = True
        task.cancel()
        await asyncio.wait([task])
