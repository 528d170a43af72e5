"""Reads a stream in order, without end: an inbox, a log, changes of entries.

A reader is a short-lived consumer without acknowledgements. After a reconnect, silence, or a gap in the consumer's
numbers a new one starts after the last message that was given, so nothing is missed or given twice. Before it does, the
stream is looked at: if it was made anew, or ends before what was read, its server lost messages, and there is no going
on in order. That is a StoreError, and whoever reads must decide what it means.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncGenerator

from flowrun.errors import StoreError
from flowrun.transport import Record

from . import streams
from .connection import Connection
from .pull import HEARTBEAT, Pull, Pulled, wait

__all__ = ["Reader", "read_records"]

#: messages that are on their way at the same time, and their bytes
_BATCH, _BATCH_BYTES = 1_000, 16 * 1024 * 1024
#: a new leader of a stream may be behind for this long, in seconds
_CATCH_UP = 2.0

_numbers = itertools.count()


class Reader:
    """Some subjects of a stream. `after`: the sequence before the first message that is wanted; None: what comes from
    now on, and what comes while there is no connection may be missed."""

    def __init__(self, connection: Connection, stream: str, subjects: str, after: int | None) -> None:
        self._connection, self._stream, self._subjects = connection, stream, subjects
        self.after = after
        self._created = ""
        #: messages that were stored when the reader began; known once it was started
        self.stored = 0
        self._pull: Pull | None = None
        self._name = ""
        self._expected = 1

    async def start(self) -> None:
        """Raises StoreError if the stream is not there, or is not what it was."""
        if self.after is not None:
            await self._check(self.after)
        self._name = f"reader-{os.getpid()}-{id(self._connection):x}-{next(_numbers)}"
        self.stored = await streams.create_reader(
            self._connection, self._stream, self._name, self._subjects, self.after
        )  # fmt: skip
        self._expected = 1
        self._pull = Pull(self._connection, self._stream, self._name, asyncio.Event())
        self._pull.start()
        self._pull.ask(_BATCH, _BATCH_BYTES)

    async def _check(self, after: int) -> None:
        """The stream still is the one that was read so far."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        while True:
            info = await streams.stream_info(self._connection, self._stream)
            if info is None:
                raise StoreError(f"the stream {self._stream} is missing on {self._connection.url}: was it deleted?")
            if self._created not in ("", info.created):
                raise StoreError(f"{self._connection.url} lost the stream {self._stream}: it was made anew")
            self._created = info.created
            if info.state.last_seq >= after:
                return
            if loop.time() - start > _CATCH_UP:
                raise StoreError(
                    f"{self._connection.url} lost messages of {self._stream}: "
                    f"it ends at {info.state.last_seq}, and {after} was read"
                )
            await asyncio.sleep(0.1)

    async def batches(self) -> AsyncGenerator[list[tuple[Pulled, int, int, int]], None]:
        """Messages as they come, each with sequence, time stamp in nanoseconds, and how many are still to come."""
        try:
            while True:
                if self._pull is None:
                    await self.start()
                assert self._pull is not None
                async for batch in self._until_stale(self._pull):
                    yield batch
                self._stop()
        finally:
            self._stop()

    async def _until_stale(self, pull: Pull) -> AsyncGenerator[list[tuple[Pulled, int, int, int]], None]:
        while not pull.stale and not pull.silent():
            if pull.wanted < _BATCH // 2 and len(pull.messages) < _BATCH:
                pull.ask(_BATCH - pull.wanted, _BATCH_BYTES)
            pull.arrived.clear()
            batch: list[tuple[Pulled, int, int, int]] = []
            while pull.messages:
                message = pull.messages.popleft()
                _, seq, number, stamp, pending = message.position()
                if number != self._expected:  # something in between was lost on its way
                    pull.stale = True
                    break
                self._expected += 1
                batch.append((message, seq, stamp, pending))
            if batch:
                if self.after is not None:
                    self.after = batch[-1][1]
                yield batch
            else:
                await wait(pull.arrived, HEARTBEAT)

    def _stop(self) -> None:
        if self._pull is not None:
            self._pull.stop()
            self._pull = None
            if self._connection.connected:
                self._connection.send(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._name}")


async def read_records(reader: Reader) -> AsyncGenerator[list[Record], None]:
    """The messages of an inbox."""
    batches = reader.batches()
    try:
        async for batch in batches:
            yield [Record(seq=seq, time_ms=stamp // 1_000_000, data=message.data) for message, seq, stamp, _ in batch]
    finally:
        await batches.aclose()
