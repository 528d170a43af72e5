"""The executor of kind async: many units at the same time on one event loop.

`async def` tasks run on the loop. What blocks (a plain function, a command) runs in a thread beside it, so that it does
not hold up the others.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from flowrun.errors import StoreError
from flowrun.messages import Bundle, WorkItem
from flowrun.wire import may_hold_blobs

from .awaiting import Awaiting
from .batch import batch_of
from .cache import note_hit
from .core import HAS_EXPIRED, WAS_DROPPED, Core, expired, speaking
from .execute import Ended, ended_by
from .frames import BlobReply, GetBlob, GetCached, Interrupt, PutBlob, PutCached, Request
from .shared import SUCCESS
from .unit_blobs import UnitBlobs, fetch_all
from .units import Units

__all__ = ["serve_coroutines"]

_TOKEN_BYTES = 8


def serve_coroutines(core: Core, width: int) -> None:
    """Until the process is killed."""
    main = _Coroutines(core, width).serve()
    try:
        import uvloop  # absent on Windows
    except ModuleNotFoundError:
        asyncio.run(main)
    else:
        uvloop.run(main)


class _Unit:
    """A unit that runs."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.awaiting: Awaiting | None = None


class _Coroutines:
    def __init__(self, core: Core, width: int) -> None:
        self._core = core
        self._cells = list(range(width))
        #: by the token that runs
        self._units: dict[int, _Unit] = {}
        self._width = width
        self._listening = False
        self._rings = False

    async def serve(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(self._width, "flow"))
        self._core.on_interrupt = self._interrupt
        loop.add_reader(self._core.link.fileno(), self._core.read_frames)
        self._listen()
        await loop.create_future()

    # ---- tokens

    def _listen(self) -> None:
        """Takes tokens when they come, while there is room."""
        if not self._listening:
            self._listening = True
            self._loop.add_reader(self._core.tokens, self._take)

    def _take(self) -> None:
        core = self._core
        while self._cells:
            try:
                data = os.read(core.tokens, _TOKEN_BYTES)
            except BlockingIOError:
                self._listen()
                return
            if not data:
                os._exit(0)  # the agent is gone
            token = int.from_bytes(data, "little")
            while token >= core.end:
                core.read_frames()
            bundle, item, place = core.find(token)
            cell = self._cells.pop()
            if bundle.batch:
                self._loop.create_task(self._batch(cell, token, core.units_of(token)))
            else:
                self._loop.create_task(self._chain(cell, token, bundle, item, place))
        if self._listening:
            self._listening = False
            self._loop.remove_reader(core.tokens)

    # ---- units

    async def _chain(self, cell: int, token: int, bundle: Bundle, item: WorkItem, place: int) -> None:
        core = self._core
        digest = bundle.plans[item.plan]
        ended = await self._unit(cell, token, item, digest, place if item.first >= 0 else -1)
        payloads = [ended.payload]
        for _ in item.then:
            if ended.state != SUCCESS:
                break
            token += 1
            if token in core.dropped:
                now = time.monotonic()
                core.write(token, WAS_DROPPED, now, now)
                break
            following, digest = core.next_of_chain(bundle, item, payloads)
            ended = await self._unit(cell, token, following, digest, -1)
            payloads.append(ended.payload)
        self._rest(cell)

    def _rest(self, cell: int) -> None:
        """The cell is free for others."""
        self._core.memory.rest(cell)
        self._cells.append(cell)
        if not self._listening:
            self._take()
        if not self._rings:  # once for all that end in this turn of the loop
            self._rings = True
            self._loop.call_soon(self._ring)

    def _ring(self) -> None:
        self._rings = False
        self._core.ring()

    async def _unit(self, cell: int, token: int, item: WorkItem, digest: str, index: int) -> Ended:
        core = self._core
        started = time.monotonic()
        core.latest = token
        speaking.set(token)
        core.memory.begin(cell, token, started)
        unit = self._units[token] = _Unit()
        unit.task = asyncio.current_task()
        try:
            ended = HAS_EXPIRED if expired(item) else await self._run(unit, item, digest, index)
        except BaseException as error:  # what tasks raise, and the cancellation of this unit
            ended = ended_by(error)
        del self._units[token]
        core.write(token, ended, started, time.monotonic())
        return ended

    async def _batch(self, cell: int, token: int, units: Units) -> None:
        """All units of a bundle from this one on, together."""
        core = self._core
        started = time.monotonic()
        core.latest = token
        speaking.set(token)
        core.memory.begin(cell, token, started)
        unit = self._units[token] = _Unit()
        unit.task = asyncio.current_task()
        tokens = range(token, units.end)
        try:
            ends = await self._run_batch(units, tokens)
        except BaseException as error:  # a cancellation: who reads the first sees that all have ended with it
            ends = [ended_by(error)]
        del self._units[token]
        now = time.monotonic()
        for one, ended in reversed([*zip(tokens, ends, strict=False)]):
            core.write(one, ended, started, now)
        self._rest(cell)

    async def _run_batch(self, units: Units, tokens: Sequence[int]) -> list[Ended]:
        blobs = UnitBlobs()
        for token in tokens:
            await fetch_all(units.find(token)[0].inputs, blobs, self._get)
        batch = batch_of(self._core.executions, units, tokens, blobs)
        for at, cached in batch.look_up():
            if found := await self._request(GetCached(self._core.request_number(), cached.key)):
                batch.found(at, found)
        try:
            value = await self._beside(batch.begin) if batch.blocks else batch.begin()
            batch.end(await value if hasattr(value, "__await__") else value)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            batch.fail(error)
        for key, data in blobs.stored.items():
            await self._put(key, data)
        for cached, data in batch.kept():
            await self._request(PutCached(self._core.request_number(), cached.key, data, cached.ttl_ms))
        return batch.ended

    async def _run(self, unit: _Unit, item: WorkItem, digest: str, index: int) -> Ended:
        blobs = UnitBlobs()
        if any(map(may_hold_blobs, item.inputs)):
            await fetch_all(item.inputs, blobs, self._get)
        prepared = self._core.executions.prepare(item, digest, blobs)
        cached = prepared.cached_as(index)
        if cached is not None:
            found = await self._request(GetCached(self._core.request_number(), cached.key))
            if found:
                note_hit(prepared.step)
                return Ended(SUCCESS, found)
        value = await self._beside(partial(prepared.begin, index)) if prepared.blocks else prepared.begin(index)
        if hasattr(value, "__await__"):
            if prepared.soft:
                value = unit.awaiting = Awaiting(value)
            value = await value
        ended = prepared.end(value)
        for key, data in blobs.stored.items():
            await self._put(key, data)
        if cached is not None and ended.state == SUCCESS:
            await self._request(PutCached(self._core.request_number(), cached.key, ended.payload, cached.ttl_ms))
        return ended

    async def _beside(self, work: Any) -> Any:
        """In a thread. What runs there cannot be cancelled: whoever wants it to end must end the process."""
        running = asyncio.ensure_future(asyncio.to_thread(work))
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError:
                continue
        return running.result()

    def _interrupt(self, frame: Interrupt) -> None:
        unit = self._units.get(frame.token)
        if unit is None or unit.task is None:
            return
        if not frame.soft:
            unit.task.cancel()
        elif unit.awaiting is not None:
            unit.awaiting.interrupt()

    # ---- blobs

    async def _get(self, digest: str) -> bytes:
        return await self._request(GetBlob(self._core.request_number(), digest))

    async def _put(self, digest: str, data: bytes) -> None:
        await self._request(PutBlob(self._core.request_number(), digest, data))

    async def _request(self, frame: Request) -> bytes:
        answer: asyncio.Future[BlobReply] = self._loop.create_future()
        self._core.on_reply[frame.request] = lambda reply: None if answer.done() else answer.set_result(reply)
        self._core.link.send(frame)
        reply = await answer
        if reply.error is not None:
            raise StoreError(reply.error)
        return reply.data
