"""Ends of runs: their records are stored, all of a batch in one call, and who waits is told.

A record is told at once, while it is being stored: whatever becomes of this coordinator, the next one reads the same
from the inbox and stores the same. A record that is too large for a note is told by its name, once it is stored. The
engine keeps a run until its record is stored.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from flowrun.background import Background
from flowrun.errors import StoreError, ValueTooLarge
from flowrun.messages import Ended, RunRecord, pack
from flowrun.records import renew_result, stored_form
from flowrun.settings import Settings
from flowrun.transport import Transport

from .fold import Fold

__all__ = ["Ends"]

log = logging.getLogger("flow.coordinator")

#: records of one note: about so many bytes of results, and at most so many
_NOTE_BYTES, _NOTE_RECORDS = 128 * 1024, 1_000
#: a record with a larger result, or more steps, is read by who waits for it
_TOLD_BYTES, _TOLD_STEPS = 16 * 1024, 64
#: large records and renewals that are worked on at the same time
_STORES = 16
#: between two tries to store, in seconds: from, to
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0


class Ends:
    """`told(run)`: the clients that want to know of the end of a run."""

    def __init__(
        self,
        transport: Transport,
        fold: Fold,
        background: Background,
        settings: Settings,
        told: Callable[[str], Iterable[str]],
    ) -> None:
        self._transport, self._fold = transport, fold
        self._background, self._settings, self._told = background, settings, told
        self._stores = asyncio.Semaphore(_STORES)
        #: that ended in this batch
        self._records: list[tuple[RunRecord, tuple[str, ...]]] = []

    def add(self, record: RunRecord) -> None:
        """A run ended."""
        self._records.append((record, tuple(self._told(record.run))))

    def flush(self) -> None:
        """Stores what was added, and tells."""
        if self._records:
            records, self._records = self._records, []
            self._background.start(self._store(records))

    async def _store(self, records: list[tuple[RunRecord, tuple[str, ...]]]) -> None:
        await self._tell(records, small=True)
        wait = _FIRST_WAIT
        while True:
            try:
                await self._put(records)
                break
            except (StoreError, ValueTooLarge) as error:
                log.error("the records of %d ended runs cannot be stored, and are tried again: %s", len(records), error)
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)
        for record, _ in records:
            self._fold.forget(record.run)
        await self._tell(records, small=False)

    async def _put(self, records: list[tuple[RunRecord, tuple[str, ...]]]) -> None:
        quick = [record for record, _ in records if self._is_quick(record)]
        slow = [record for record, _ in records if not self._is_quick(record)]
        stored = [(record.run, pack(record)) for record in quick]
        stored += await asyncio.gather(*(self._stored_form(record) for record in slow))
        await self._transport.put_results(stored, self._settings.keep_results)

    def _is_quick(self, record: RunRecord) -> bool:
        """It is one small message, and what its result refers to was put lately."""
        long_ago = record.ended_ms - record.started_ms > self._settings.blob_renewal * 1000
        return _is_small(record) and not long_ago

    async def _stored_form(self, record: RunRecord) -> tuple[str, bytes]:
        async with self._stores:
            if record.ended_ms - record.started_ms > self._settings.blob_renewal * 1000:
                await renew_result(self._transport, record)
            return record.run, await stored_form(self._transport, record, self._settings.record_inline)

    # ---- notes

    async def _tell(self, records: list[tuple[RunRecord, tuple[str, ...]]], *, small: bool) -> None:
        of_client: dict[str, list[RunRecord]] = {}
        for record, clients in records:
            for client in clients:
                if _is_small(record) == small:
                    of_client.setdefault(client, []).append(record)
        for client, told in of_client.items():
            for note in _notes(told) if small else [Ended((), tuple(record.run for record in told))]:
                await self._transport.notify("to", client, pack(note))


def _is_small(record: RunRecord) -> bool:
    return len(record.result) <= _TOLD_BYTES and len(record.steps) <= _TOLD_STEPS


def _notes(records: list[RunRecord]) -> Iterable[Ended]:
    """The records in notes of a size that a server takes."""
    start, size = 0, 0
    for place, record in enumerate(records):
        if size > _NOTE_BYTES or place - start >= _NOTE_RECORDS:
            yield Ended(tuple(records[start:place]))
            start, size = place, 0
        size += 200 + len(record.result)
    yield Ended(tuple(records[start:]))
