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

__all__ = ["RunEvents", "note_of", "run_lines"]

log = logging.getLogger("flow.client")

#: after a run's end, its last lines may still be on their way, in seconds
_LAST_LINES_SECONDS = 0.05
#: a coordinator may not know the run yet: it is asked again after these times, until it answers, in seconds
_ASK_AGAIN = (0.02, 0.05, 0.1, 0.2, 0.5)

Note = StateNote | LogNote


class RunEvents:
    """`async for note in run.events()`: ends with the run. The last note is made of its record, so that the last
    picture is right, whatever was lost."""

    def __init__(self, transport: Transport, waits: Waits, run: Run) -> None:
        self._transport, self._waits, self._run = transport, waits, run
        #: None: there will be no more
        self._notes: asyncio.Queue[Note | None] = asyncio.Queue()
        self._lines: AsyncIterator[bytes] | None = None
        self._heard = False

    async def open(self) -> None:
        """Returns when nothing that happens from now on is missed. (Iterating does it, if nobody has.)"""
        self._lines = await self._transport.listen("log", self._run.id)
        self._waits.view(self._run.id, self._state)

    def __aiter__(self) -> AsyncIterator[Note]:
        return self._iterate()

    def _state(self, note: StateNote) -> None:
        self._heard = True
        self._notes.put_nowait(note)

    async def _iterate(self) -> AsyncIterator[Note]:
        if self._lines is None:
            await self.open()
        assert self._lines is not None
        helpers = [asyncio.create_task(work) for work in (self._read(self._lines), self._ask(), self._wait())]
        try:
            while (note := await self._notes.get()) is not None:
                yield note
            await helpers[-1]  # it may have failed
            assert self._run.record is not None
            yield note_of(self._run.record)
        finally:
            self._waits.close_view(self._run.id, self._state)
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            await close_notes(self._lines)

    async def _read(self, lines: AsyncIterator[bytes]) -> None:
        async for data in lines:
            try:
                self._notes.put_nowait(unpack(data, LogNote))
            except MessageError as error:
                log.warning("a note is left out: %s", error)

    async def _ask(self) -> None:
        """From the first answer on, the client's rounds do it."""
        for seconds in _ASK_AGAIN:
            await self._waits.watch(self._run.id)
            await asyncio.sleep(seconds)
            if self._heard:
                return

    async def _wait(self) -> None:
        try:
            await self._waits.end_of(self._run, None)
            await asyncio.sleep(_LAST_LINES_SECONDS)
        finally:
            self._notes.put_nowait(None)


async def run_lines(transport: Transport, waits: Waits, run: Run, follow: bool) -> AsyncIterator[LogNote]:
    """What is stored of a run's log; with `follow`, also what comes until it ends."""
    notes: asyncio.Queue[LogNote | None] = asyncio.Queue()
    lines = transport.read_log(run.id)
    stored = asyncio.Event()

    async def read() -> None:
        async for data in lines:
            if not data:
                stored.set()
                continue
            try:
                notes.put_nowait(unpack(data, LogNote))
            except MessageError as error:
                log.warning("a note is left out: %s", error)

    async def end() -> None:
        try:
            await stored.wait()
            if follow:
                await waits.end_of(run, None)
                await asyncio.sleep(_LAST_LINES_SECONDS)
        finally:
            notes.put_nowait(None)

    helpers = [asyncio.create_task(read()), asyncio.create_task(end())]
    helpers[0].add_done_callback(lambda reader: stored.set())
    try:
        while (note := await notes.get()) is not None:
            yield note
        for helper in helpers:
            if helper.done():
                helper.result()  # it may have failed
    finally:
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        await close_notes(lines)


def note_of(record: RunRecord) -> StateNote:
    """A record's steps as a note."""
    steps = (
        StepNote(step.step, None, step.state, step.attempts, step.seconds, step.error.message if step.error else "")
        for step in record.steps
        if step.index is None
    )
    return StateNote(record.run, record.state, tuple(steps), record.slas)
