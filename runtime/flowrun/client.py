"""What a program does with runs: submit, wait, cancel, watch.

A run's id is made here, so that a submission that is repeated (after a lost connection, say) is the same submission.
Ids begin with the time, and so sort by it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from flowc import plan as plans
from flowc.plan import Plan

from . import values
from .messages import Cancel, LogNote, MessageError, RunRecord, StateNote, Submit, pack, unpack
from .parameters import encode_arguments
from .records import read_record
from .transport import Transport

__all__ = ["Client", "new_run_id"]

log = logging.getLogger("flow.client")

#: a plan is put again after this time, in seconds: not later than blobs are renewed
_STORED_SECONDS = 1800.0
#: without letters that are easily taken for others
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
#: characters of an id that tell the time, in milliseconds, and those that are random
_TIME_PLACES, _RANDOM_PLACES = 9, 5


def new_run_id(time_ms: int | None = None) -> str:
    """Such as `r01kex3ym5b8q2w`: ids sort by the time they were made."""
    left = int(time.time() * 1000) if time_ms is None else time_ms
    stamp = ""
    for _ in range(_TIME_PLACES):
        left, place = divmod(left, len(_ALPHABET))
        stamp = _ALPHABET[place] + stamp
    return "r" + stamp + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_PLACES))


class Client:
    """Submits runs to a partition and waits for their ends. All methods raise TransportError, StoreError."""

    def __init__(self, transport: Transport, partition: str = "0") -> None:
        self._transport = transport
        self._partition = partition
        #: plan -> when it was stored, in loop time
        self._stored: dict[str, float] = {}
        self._opened = False

    async def submit(self, plan: Plan, args: Mapping[str, object] | None = None, run: str | None = None) -> str:
        """Starts a run, and gives its id; returns when the submission cannot be lost. Raises ArgumentError."""
        encoded, blobs = encode_arguments(plan, args or {})
        run = run or new_run_id()
        if not self._opened:
            await self._transport.open_partition(self._partition)
            self._opened = True
        digest = await self._store_plan(plan)
        await asyncio.gather(*(self._transport.put_blob(*blob) for blob in blobs))
        submission = pack(Submit(run=run, plan=digest, args=encoded))
        await self._transport.append(self._partition, submission, f"submit/{run}")
        return run

    async def _store_plan(self, plan: Plan) -> str:
        data = plans.encode(plan)
        digest = plans.digest(data)
        now = asyncio.get_running_loop().time()
        if now - self._stored.get(digest, -math.inf) > _STORED_SECONDS:
            await self._transport.put_blob(digest, data)
            self._stored[digest] = now
        return digest

    async def wait(self, run: str) -> RunRecord:
        """The record of a run, once it has ended."""
        return await read_record(self._transport, await self._transport.wait_result(run))

    async def result(self, run: str) -> RunRecord | None:
        """The record of a run if it has ended."""
        data = await self._transport.get_result(run)
        return None if data is None else await read_record(self._transport, data)

    async def value(self, record: RunRecord) -> Any:
        """A run's result as plain data: dates and the like are strings, as in JSON (and bytes are bytes)."""
        fetched: dict[str, bytes] = {}
        await self._fetch([record.result], fetched)
        return values.decode_plain(record.result, fetched.__getitem__)

    async def _fetch(self, data: list[bytes], fetched: dict[str, bytes]) -> None:
        """What these values refer to, and what that refers to."""
        missing = [blob.digest for blob in values.references(data) if blob.digest not in fetched]
        found = await asyncio.gather(*(self._transport.get_blob(digest) for digest in missing))
        fetched.update(zip(missing, found, strict=True))
        if found:
            await self._fetch(list(found), fetched)

    async def cancel(self, run: str, reason: str = "cancelled") -> None:
        """Asks for a run's end; it is cancelled when its record says so."""
        await self._transport.append(self._partition, pack(Cancel(run=run, reason=reason)), f"cancel/{run}")

    async def watch(self, run: str) -> AsyncIterator[StateNote | LogNote]:
        """What happens in a run from now on, without end: changes of its steps, and lines that its tasks write.

        For eyes only: notes may be lost.
        """
        states, logs = await asyncio.gather(self._transport.listen("state", run), self._transport.listen("log", run))
        return _joined(states, logs)


async def _joined(states: AsyncIterator[bytes], logs: AsyncIterator[bytes]) -> AsyncIterator[StateNote | LogNote]:
    notes: asyncio.Queue[StateNote | LogNote] = asyncio.Queue()

    async def collect(source: AsyncIterator[bytes], read: Callable[[bytes], StateNote | LogNote]) -> None:
        async for data in source:
            try:
                notes.put_nowait(read(data))
            except MessageError as error:
                log.warning("a note is left out: %s", error)

    tasks = [
        asyncio.create_task(collect(states, lambda data: unpack(data, StateNote))),
        asyncio.create_task(collect(logs, lambda data: unpack(data, LogNote))),
    ]
    try:
        while True:
            yield await notes.get()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
