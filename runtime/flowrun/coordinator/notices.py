"""Live notes to and from a coordinator, over nothing that is stored: all of them may be lost.

Workers are told at once what is no longer wanted, and again every second for as long as they may be at it. Nodes say
what they have, clients what they watch and ask.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from flowrun.background import Background
from flowrun.capacity import Capacity
from flowrun.dispatch import Dispatcher
from flowrun.engine.commands import Answer, Revoke
from flowrun.messages import Answered, Cancel, MessageError, Presence, Query, Revoked, ToClient, Watch, pack, unpack
from flowrun.settings import Settings
from flowrun.transport import Transport
from flowrun.watchers import Watchers

from .events import Complaints

__all__ = ["Notices"]

log = logging.getLogger("flow.coordinator")

T = TypeVar("T", Presence, Query, Watch)


class Notices:
    """Of one partition."""

    def __init__(
        self,
        transport: Transport,
        dispatcher: Dispatcher,
        capacity: Capacity,
        background: Background,
        complaints: Complaints,
        settings: Settings,
    ) -> None:
        self._transport, self._dispatcher, self._capacity = transport, dispatcher, capacity
        self._background, self._complaints, self._settings = background, complaints, settings

    def start(self, watchers: Watchers) -> None:
        """From now on, until the background is stopped."""
        for work in (
            self._tell_again(),
            self._tick(watchers),
            self._listen("presence", Presence, self._on_presence),
            self._listen("watch", Watch, watchers.watch),
            self._listen("query", Query, watchers.query),
        ):
            self._background.start(work)

    # ---- from nodes and clients

    async def _listen(self, topic: str, kind: type[T], take: Callable[[T], None]) -> None:
        async for data in await self._transport.listen(topic, "*"):
            try:
                note = unpack(data, kind)
            except MessageError as error:
                self._complaints.say("a note (%s) is left out: %s", topic, error)
                continue
            take(note)

    def _on_presence(self, presence: Presence) -> None:
        self._capacity.saw(presence, asyncio.get_running_loop().time())

    async def _tick(self, watchers: Watchers) -> None:
        while True:
            await asyncio.sleep(self._settings.presence)
            self._capacity.forget_silent(asyncio.get_running_loop().time())
            watchers.forget_silent()

    # ---- to clients

    def tell(self, client: str, note: ToClient) -> None:
        self._background.start(self._transport.notify("to", client, pack(note)))

    def answer(self, answer: Answer) -> None:
        """What became of an event that a client wants an answer to."""
        self.tell(answer.client, Answered(answer.id, answer.ok, answer.message, answer.value))

    # ---- to workers

    def unwanted(self, what: Revoke | str) -> None:
        """A part of a run, or all of a run, is no longer wanted: whoever works on it may stop."""
        if isinstance(what, str):
            note = self._transport.notify("cancel", what, pack(Cancel(run=what)))
        else:
            revoked = Revoked(what.run, what.scope, what.node, what.attempt, what.first, what.last)
            note = self._transport.notify("revoke", what.run, pack(revoked))
        self._background.start(note)

    async def _tell_again(self) -> None:
        while True:
            await asyncio.sleep(self._settings.revoke_again)
            for what in self._dispatcher.unwanted():
                self.unwanted(what)
