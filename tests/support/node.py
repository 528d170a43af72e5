"""A whole node in this process, for tests: a coordinator and a worker whose slots run tasks on this event loop, or
(`processes`) in executor processes.

    async with Node(connect) as node:
        record = await node.client.wait(await node.client.submit(plan, {"x": 1}))

`connect` opens one more connection to a server, in memory (`memory_server`) or over NATS. A task that must not block
may still sleep with `asyncio.sleep`; on the virtual loop that costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from flowrun.capacity import Capacity
from flowrun.client import Client
from flowrun.coordinator import Coordinator
from flowrun.deployments.trust import Trust
from flowrun.deployments.trusted_plans import TrustedPlans
from flowrun.memory import Faults, MemoryServer, MemoryTransport
from flowrun.settings import Settings
from flowrun.transport import Transport
from flowrun.worker.agent import Agent
from flowrun.worker.frames import Setup
from flowrun.worker.inline import InlineSlot
from flowrun.worker.process_slot import ProcessSlot
from flowrun.worker.slot import Slot

__all__ = ["Connect", "Node", "memory_server"]

Connect = Callable[[], Awaitable[Transport]]


def memory_server(settings: Settings | None = None, faults: Faults | None = None) -> Connect:
    """A server in memory; call it inside the loop that uses it."""
    server = MemoryServer(settings, faults)

    async def connect() -> MemoryTransport:
        return MemoryTransport(server)

    return connect


class Node:
    def __init__(
        self,
        connect: Connect,
        *,
        partition: str = "0",
        slots: int = 2,
        queues: tuple[str, ...] = ("default",),
        root: Path | None = None,
        settings: Settings | None = None,
        processes: bool = False,
    ) -> None:
        self._connect, self.partition, self._slots, self._queues = connect, partition, slots, queues
        self._root = root or Path()
        self._settings = settings or Settings()
        self._processes = processes
        self._tasks: list[asyncio.Task[None]] = []
        self._transports: list[Transport] = []

    async def __aenter__(self) -> Node:
        self._transports = [await self._connect() for _ in range(3)]
        self.client = await Client.over(self._transports[2], self._settings, self.partition)
        await self.start_coordinator()
        await self.start_worker()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.close()
        await self.stop_worker()
        await self.stop_coordinator()
        for transport in self._transports:
            await transport.close()

    async def start_coordinator(self) -> None:
        """Starts it and waits until it has taken over, or raises what ended it."""
        capacity = Capacity("nodes", self._settings, fixed=self._slots)
        self.coordinator = Coordinator(
            self._transports[0], self.partition, group="nodes", capacity=capacity, settings=self._settings
        )
        self._coordinating = asyncio.create_task(self.coordinator.run())
        ready = asyncio.create_task(self.coordinator.ready.wait())
        await asyncio.wait([ready, self._coordinating], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._coordinating.done():
            self._coordinating.result()

    async def stop_coordinator(self) -> None:
        """As if it were killed: whatever it was about to do is not done."""
        self._coordinating.cancel()
        await asyncio.wait([self._coordinating])
        if not self._coordinating.cancelled():
            self._coordinating.result()

    async def start_worker(self) -> None:
        self.agent = Agent(
            self._transports[1],
            [self._slot() for _ in range(self._slots)],
            worker="test",
            group="nodes",
            queues=self._queues,
            ack_wait=self._settings.ack_wait,
            trusted=self._trusted(),
        )
        self._working = asyncio.create_task(self.agent.run())

    def _trusted(self) -> TrustedPlans | None:
        keys = self._settings.trusted
        return TrustedPlans(self._transports[1], self._settings.env, Trust(keys)) if keys else None

    def _slot(self) -> Slot:
        if self._processes:
            return ProcessSlot(Setup(str(self._root)))
        return InlineSlot(self._root)

    async def stop_worker(self) -> None:
        """Hands back what is not finished."""
        self.agent.stop()
        await asyncio.wait([self._working])
        await self.agent.close()
        if not self._working.cancelled():
            self._working.result()

    async def kill_worker(self) -> None:
        """Whatever it holds is never acknowledged."""
        self._working.cancel()
        await asyncio.wait([self._working])
