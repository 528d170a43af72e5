"""Ends of runs: their records are stored, all of a batch in one call, and who waits is told.

A record is told at once, while it is being stored: whatever becomes of this coordinator, the next one reads the same
from the inbox and stores the same. A record that is too large for a note is told by its name, once it is stored. The
engine keeps a run until its record is stored.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from flowrun.background import Background
from flowrun.engine.image import plan_of
from flowrun.errors import StoreError, ValueTooLarge
from flowrun.lineage_reports import RunReport, report_of
from flowrun.messages import Ended, RunRecord, pack
from flowrun.records import image_key, joined_form, renew_blobs, renew_result, stored_form, stored_image
from flowrun.settings import Settings
from flowrun.transport import Transport

from .fold import Fold
from .lineages import Lineages
from .recent import Recent

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


class _Batch:
    """Runs that ended in a batch of the inbox."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        #: run -> packed record, with its image, of those that are one small message
        self.small: list[tuple[str, bytes]] = []
        #: those whose record is large, or whose result's blobs must be put again
        self.slow: list[RunRecord] = []
        #: (record, encoded image), of those that can be run again from a step
        self.images: list[tuple[RunRecord, bytes]] = []
        #: of what is not kept as long as all else, by its key
        self.keep_ms: dict[str, int] = {}
        #: client -> what it is told at once, and of which runs it is told that their records can be read
        self.told: dict[str, list[RunRecord]] = {}
        self.named: dict[str, list[str]] = {}
        #: what is told of the lineage of those that have one
        self.reports: list[RunReport] = []


class Ends:
    """Of one partition."""

    def __init__(
        self, transport: Transport, fold: Fold, background: Background, settings: Settings, lineages: Lineages
    ) -> None:
        self._transport, self._fold, self._lineages = transport, fold, lineages
        self._background, self._settings = background, settings
        self._old_ms = settings.blob_renewal * 1000
        self._codes = Recent(self._old_ms)
        self._stores = asyncio.Semaphore(_STORES)
        self._batch = _Batch()

    def add(self, record: RunRecord, clients: Iterable[str], image: bytes = b"") -> None:
        """A run ended; these are told. `image`: what is left of it, encoded; b"": nothing."""
        batch, run = self._batch, record.run
        batch.runs.append(run)
        if record.keep_ms:
            batch.keep_ms |= {run: record.keep_ms, image_key(run): record.keep_ms}
        small = len(record.result) + len(record.values) <= _TOLD_BYTES and len(record.steps) <= _TOLD_STEPS
        if small and not self._is_old(record):
            batch.small.append((run, pack(record)))
        else:
            batch.slow.append(record)
        if image and small and len(image) <= _TOLD_BYTES and not self._is_old(record):
            batch.small[-1] = (run, joined_form(batch.small[-1][1], image))
        elif image:
            batch.images.append((record, image))
        if self._lineages.is_on:
            begun = self._lineages.end(run)
            if uses := self._fold.uses_of(run):
                batch.reports.append(report_of(record, uses, begun))
        for client in clients:
            if small:
                batch.told.setdefault(client, []).append(record)
            else:
                batch.named.setdefault(client, []).append(run)

    def flush(self) -> None:
        """Stores what was added, and tells."""
        if self._batch.runs:
            batch, self._batch = self._batch, _Batch()
            self._background.start(self._finish(batch))

    async def _finish(self, batch: _Batch) -> None:
        for client, records in batch.told.items():
            for note in _notes(records):
                await self._transport.notify("to", client, pack(note))
        await self._store(batch)
        for run in batch.runs:
            self._fold.forget(run)
        for client, runs in batch.named.items():
            await self._transport.notify("to", client, pack(Ended((), tuple(runs))))

    async def _store(self, batch: _Batch) -> None:
        """Until it is done: a run whose record is not stored is not over."""
        wait = _FIRST_WAIT
        key = self._lineages.key(batch.reports) if batch.reports else ""
        while True:
            try:
                if key:
                    await self._lineages.keep(key, batch.reports)
                    key = ""
                large = await asyncio.gather(*(self._stored_form(record) for record in batch.slow))
                images = await asyncio.gather(*(self._stored_image(*entry) for entry in batch.images))
                for keep_seconds, records in self._by_time([*images, *batch.small, *large], batch.keep_ms).items():
                    await self._transport.put_results(records, keep_seconds)
                return
            except (StoreError, ValueTooLarge) as error:
                count = len(batch.runs)
                log.error("the records of %d ended runs cannot be stored, and are tried again: %s", count, error)
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _by_time(
        self, records: list[tuple[str, bytes]], keep_ms: dict[str, int]
    ) -> dict[float, list[tuple[str, bytes]]]:
        """What is kept equally long, in seconds."""
        usual = self._settings.keep_results
        if not keep_ms:
            return {usual: records}
        found: dict[float, list[tuple[str, bytes]]] = {}
        for key, data in records:
            found.setdefault(keep_ms[key] / 1000 if key in keep_ms else usual, []).append((key, data))
        return found

    def _is_old(self, record: RunRecord) -> bool:
        """What its result refers to may have been put long ago."""
        return record.ended_ms - record.started_ms > self._old_ms

    async def _stored_form(self, record: RunRecord) -> tuple[str, bytes]:
        async with self._stores:
            if self._is_old(record):
                await renew_result(self._transport, record)
            return record.run, await stored_form(self._transport, record, self._settings.record_inline)

    async def _stored_image(self, record: RunRecord, image: bytes) -> tuple[str, bytes]:
        async with self._stores:
            if self._is_old(record):
                plan = plan_of(image)
                code = self._codes.due([self._fold.code_of(plan)], self._fold.now_ms)
                await renew_blobs(self._transport, record.run, [image], [plan, *code])
            return await stored_image(self._transport, record.run, image, self._settings.record_inline)


def _notes(records: list[RunRecord]) -> Iterable[Ended]:
    """The records in notes of a size that a server takes."""
    start, size = 0, 0
    for place, record in enumerate(records):
        if size > _NOTE_BYTES or place - start >= _NOTE_RECORDS:
            yield Ended(tuple(records[start:place]))
            start, size = place, 0
        size += 200 + len(record.result) + len(record.values)
    yield Ended(tuple(records[start:]))
