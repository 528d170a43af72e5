"""Many programs at once on a node over NATS whose parts are killed at random times: its coordinator, its worker, the
server itself. Each part comes back on a new connection.

    async with Fragile(folder, chance) as node:
        outcomes = await node.run(programs, deaths=3)
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from flowc.plan import Plan
from flowrun.client import Run
from flowrun.errors import FlowError
from flowrun.messages import RunRecord, WorkItem
from flowrun.nats.transport import NatsTransport
from flowrun.server import EmbeddedServer
from flowrun.settings import Settings
from flowrun.transport import Transport
from flowrun.values import references
from flowrun.worker.ended import Ended
from flowrun.worker.inline import InlineSlot
from flowrun.worker.slot import Slot

from tests.sim.telling import ByClient, tell
from tests.support.node import Node

from .outcomes import Report

__all__ = ["Fragile", "Program", "Ran", "blobs_of"]

#: seconds in which all of a batch must have ended
_LIMIT = 90.0
#: a part dies so long after the one before at the latest, in seconds
_LONGEST = 0.4
#: what is said to runs takes so much of the time that it takes in a simulation
_HASTE = 0.2
#: what runs when its worker dies three times is a failure, and not the worker's
_WORKER_DEATHS = 2
#: often, so that a coordinator takes over from a snapshot
_SETTINGS = Settings(
    lease=0.5,
    lease_renewal=0.1,
    ack_wait=0.6,
    snapshot_events=20,
    snapshot_interval=0.5,
    sync_lag=0.0,
    freeze_after=0.3,
    reconnect_wait=0.05,
    answer_timeout=1.0,
)


class Program(Protocol):
    @property
    def plan(self) -> Plan: ...
    @property
    def report(self) -> Report: ...
    @property
    def args(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Ran:
    """An ended run with the blobs that its result refers to."""

    record: RunRecord
    blobs: Mapping[str, bytes]


async def blobs_of(record: RunRecord, store: Transport) -> dict[str, bytes]:
    return {blob.digest: await store.get_blob(blob.digest) for blob in references((record.result,))}


class _Slot(InlineSlot):
    """Takes a moment for each attempt."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        super().__init__(root)
        self._chance = chance

    async def _attempt(self, item: WorkItem, digest: str, index: int) -> Ended:
        await asyncio.sleep(self._chance.choice((0.0, 0.0, 0.001, 0.005)))
        return await super()._attempt(item, digest, index)


class _Node(Node):
    def __init__(self, server: EmbeddedServer, root: Path, chance: random.Random) -> None:
        async def connect() -> NatsTransport:
            return await NatsTransport.connect(server.url, _SETTINGS)

        super().__init__(connect, root=root, settings=_SETTINGS)
        self._chance = chance

    def _slot(self) -> Slot:
        return _Slot(self._root, self._chance)

    async def replace_coordinator(self) -> None:
        await self.stop_coordinator()
        await self._reconnect(0)
        await self.start_coordinator()

    async def replace_worker(self) -> None:
        await self.kill_worker()
        await self._reconnect(1)
        await self.start_worker()

    async def _reconnect(self, place: int) -> None:
        await self._transports[place].close()
        self._transports[place] = await self._connect()


class Fragile:
    """`root`: where the tasks of the programs are."""

    def __init__(self, folder: Path, root: Path, chance: random.Random) -> None:
        self._server, self._chance = EmbeddedServer(folder), chance
        self._node = _Node(self._server, root, chance)

    async def __aenter__(self) -> Fragile:
        await self._server.start()
        await self._node.__aenter__()
        self._store = await NatsTransport.connect(self._server.url)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._store.close()
        await self._node.__aexit__()
        await self._server.stop()

    async def run(self, programs: Sequence[Program], deaths: int, *, server: bool = False) -> list[Ran | None]:
        """How each ended while so many parts died, one after another; with `server`, once that too. None: it did not
        end in time."""
        dying = asyncio.create_task(self._die(deaths, server))
        ended = [asyncio.create_task(self._end(program)) for program in programs]
        _, late = await asyncio.wait(ended, timeout=_LIMIT)
        for task in late:
            task.cancel()
        await dying
        return [None if task in late else task.result() for task in ended]

    async def _end(self, program: Program) -> Ran:
        run = await self._node.client.submit(program.plan, dict(program.args))
        ended = asyncio.Event()
        voice = ByClient(self._node.client, run.id, self._chance, ended.is_set)
        pause = self._chance.choice((0.0, 0.0, 0.0, 0.02, 0.2))
        told = asyncio.create_task(tell(voice, program.report.expected, self._chance, pause, haste=_HASTE))
        try:
            return await self._wait(run)
        finally:
            ended.set()
            told.cancel()

    async def _wait(self, run: Run) -> Ran:
        while True:
            try:
                record = await self._node.client.wait(run)
                return Ran(record, await blobs_of(record, self._store))
            except FlowError:
                await asyncio.sleep(0.05)

    async def _die(self, deaths: int, server: bool) -> None:
        parts = [self._node.replace_coordinator] * deaths + [self._node.replace_worker] * min(deaths, _WORKER_DEATHS)
        chosen = self._chance.sample(parts, deaths)
        if server:
            chosen.insert(self._chance.randint(0, deaths), self._replace_server)
        for die in chosen:
            await asyncio.sleep(self._chance.random() * _LONGEST)
            await die()

    async def _replace_server(self) -> None:
        assert self._server.pid is not None
        os.kill(self._server.pid, signal.SIGKILL)
        await self._server.restart()
