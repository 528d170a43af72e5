"""What happens in a run, as it happens: changes of its steps, and lines that its tasks write."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from flowrun.messages import LogNote, MessageError, RunRecord, StateNote, StepNote, unpack
from flowrun.transport import Transport

from .mailbox import close_notes
from .run import Run
from .waits import Waits

__all__ = ["note_of", "run_events"]

log = logging.getLogger("flow.client")

#: after a run's end, its last lines may still be on their way, in seconds
_LAST_LINES_SECONDS = 0.05

Note = StateNote | LogNote


async def run_events(transport: Transport, waits: Waits, run: Run) -> AsyncIterator[Note]:
    """Ends with the run's record, its steps as the last note: whatever was lost, the last picture is right."""
    notes: asyncio.Queue[Note] = asyncio.Queue()
    lines = await transport.listen("log", run.id)
    waits.view(run.id, notes)
    reader = asyncio.create_task(_read_lines(lines, notes))
    end = asyncio.create_task(waits.end_of(run, None))
    try:
        await waits.watch(run.id)
        while True:
            note = asyncio.create_task(notes.get())
            await asyncio.wait([note, end], return_when=asyncio.FIRST_COMPLETED)
            if not note.done():
                note.cancel()
                break
            yield note.result()
        record = end.result()
        await asyncio.sleep(_LAST_LINES_SECONDS)
        while not notes.empty():
            yield notes.get_nowait()
        yield note_of(record)
    finally:
        waits.close_view(run.id, notes)
        reader.cancel()
        end.cancel()
        await asyncio.gather(reader, end, return_exceptions=True)
        await close_notes(lines)


async def _read_lines(lines: AsyncIterator[bytes], notes: asyncio.Queue[Note]) -> None:
    async for data in lines:
        try:
            notes.put_nowait(unpack(data, LogNote))
        except MessageError as error:
            log.warning("a note is left out: %s", error)


def note_of(record: RunRecord) -> StateNote:
    """A record's steps as a note."""
    steps = (
        StepNote(step.step, None, step.state, step.attempts, step.seconds, step.error.message if step.error else "")
        for step in record.steps
        if step.index is None
    )
    return StateNote(record.run, record.state, tuple(steps))
