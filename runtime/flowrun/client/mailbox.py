"""What coordinators tell this client: one subscription, whatever it waits for."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from flowrun.messages import Answered, Ended, Listing, MessageError, StateNote, unpack_to_client
from flowrun.transport import Transport

__all__ = ["Mailbox", "close_notes"]

log = logging.getLogger("flow.client")


class Mailbox:
    """Listens to the topic `to` under its id, from `open` to `close`. All may be lost: it is for speed only."""

    def __init__(self, transport: Transport) -> None:
        self.id = "c" + secrets.token_hex(8)
        self._transport = transport
        self._task: asyncio.Task[None] | None = None

    async def open(
        self,
        ended: Callable[[Ended], None],
        state: Callable[[StateNote], None],
        listing: Callable[[Listing], None],
        answered: Callable[[Answered], None],
    ) -> None:
        """Returns when nothing that is sent from now on is missed."""
        notes = await self._transport.listen("to", self.id)
        self._task = asyncio.create_task(self._read(notes, ended, state, listing, answered))

    async def _read(
        self,
        notes: AsyncIterator[bytes],
        ended: Callable[[Ended], None],
        state: Callable[[StateNote], None],
        listing: Callable[[Listing], None],
        answered: Callable[[Answered], None],
    ) -> None:
        try:
            async for data in notes:
                try:
                    note = unpack_to_client(data)
                except MessageError as error:
                    log.warning("a note is left out: %s", error)
                    continue
                if isinstance(note, Ended):
                    ended(note)
                elif isinstance(note, StateNote):
                    state(note)
                elif isinstance(note, Answered):
                    answered(note)
                else:
                    listing(note)
        finally:
            await close_notes(notes)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])


async def close_notes(notes: AsyncIterator[bytes]) -> None:
    """Ends a subscription."""
    if isinstance(notes, AsyncGenerator):
        await notes.aclose()
