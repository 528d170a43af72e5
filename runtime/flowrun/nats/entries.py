"""Entries: values that are changed by compare-and-set.

An entry is the one message of its subject, and its revision that message's sequence. A removed entry leaves a message
without content for a while, so that who listens is told: to a writer that expects nothing to be there it counts as
nothing, by writing over exactly that message.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncGenerator
from urllib.parse import quote, unquote

from flowrun import names
from flowrun.errors import Conflict
from flowrun.transport import Entry

from .connection import Connection
from .direct import Stored, all_of, get_from_leader
from .protocol import header
from .publisher import Publisher, WrongSequence
from .reading import Reader

__all__ = ["Entries"]

_KEY = "Flow-Key"
_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
#: a removed entry leaves its message for so long
_TOMBSTONE = {"Nats-TTL": "60s"}
#: a check that met another one is made again so often, after this time in seconds
_TRIES, _AGAIN = 100, 0.01


class Entries:
    def __init__(self, connection: Connection, publisher: Publisher) -> None:
        self._connection, self._publisher = connection, publisher
        self._env = connection.settings.env
        self._stream = names.meta_stream(self._env)
        self._writer = f"{os.getpid()}-{connection.new_inbox()}"
        self._numbers = itertools.count()

    async def read(self, key: str) -> Entry | None:
        found = await self._read(key)
        return None if found is None or not found.data else _entry(found)

    async def _read(self, key: str) -> Stored | None:
        return await get_from_leader(
            self._connection, self._stream, last_by_subj=names.entry_subject(self._env, key)
        )  # fmt: skip

    async def write(self, key: str, data: bytes, expected: int | None) -> int:
        """Raises Conflict."""
        for _ in range(_TRIES):
            try:
                return await self._write(key, data, expected)
            except WrongSequence as error:
                if error.last is None:  # another write is under way, and may fail
                    await asyncio.sleep(_AGAIN)
                elif expected == 0:
                    return await self._write_over_removed(key, data)
                else:
                    break
        raise Conflict(f"the entry {key} was changed by another one") from None

    async def _write_over_removed(self, key: str, data: bytes) -> int:
        found = await self._read(key)
        if found is not None and found.data:
            raise Conflict(f"the entry {key} is there already")
        try:
            return await self._write(key, data, 0 if found is None else found.seq)
        except WrongSequence:
            raise Conflict(f"the entry {key} was made by another one") from None

    async def _write(self, key: str, data: bytes, expected: int | None) -> int:
        headers = {_KEY: quote(key)}
        if expected is not None:
            headers[_EXPECTED] = str(expected)
        if not data:
            headers |= _TOMBSTONE
        subject = names.entry_subject(self._env, key)
        return await self._publisher.publish(subject, data, f"{self._writer}-{next(self._numbers)}", headers)

    async def remove(self, key: str) -> None:
        found = await self._read(key)
        if found is not None and found.data:
            await self._write(key, b"", None)

    async def all(self, prefix: str) -> list[Entry]:
        found = await all_of(self._connection, self._stream, self._filter(prefix))
        return [_entry(stored) for stored in found if stored.data]

    async def listen(self, prefix: str) -> AsyncGenerator[Entry, None]:
        reader = Reader(self._connection, self._stream, self._filter(prefix), None)
        await reader.start()
        return self._changes(reader)

    async def _changes(self, reader: Reader) -> AsyncGenerator[Entry, None]:
        batches = reader.batches()
        try:
            async for batch in batches:
                for message, seq, _, _ in batch:
                    key = unquote(header(message.headers, _KEY) or "")
                    yield Entry(key=key, revision=seq, data=message.data)
        finally:
            await batches.aclose()

    def _filter(self, prefix: str) -> str:
        return f"{names.entry_subject(self._env, prefix)}.>"


def _entry(stored: Stored) -> Entry:
    return Entry(key=unquote(stored.header(_KEY) or ""), revision=stored.seq, data=stored.data)
