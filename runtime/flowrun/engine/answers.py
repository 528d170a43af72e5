"""Answers to clients: an event that wants one is decided once, whatever becomes of the answer.

A client sends its event again, with the same id, until it is answered. So the ids of events that were decided lately
are remembered with their answers, for longer than any client sends one again; beyond `_MOST` the oldest are forgotten.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

import msgspec

from .commands import Answer
from .state import NULL

__all__ = ["Answers", "Asking"]

#: clients send an event again for half as long
_KEEP_MS = 60_000
_MOST = 200_000


class Asking(Protocol):
    """An event that wants an answer."""

    @property
    def id(self) -> str:
        """Unique; the same when it is sent again."""

    @property
    def client(self) -> str:
        """Who is answered; "": nobody."""


class _Given(msgspec.Struct, array_like=True, gc=False):
    """What was answered, and when (milliseconds since 1970)."""

    at_ms: int
    ok: bool
    message: str = ""
    value: bytes = NULL


class Answers:
    """Event id -> what was answered; the oldest first. A part of the state."""

    def __init__(self) -> None:
        #: most are taken, and there is no more to say: of these only the time is kept
        self._given: dict[str, int | _Given] = {}
        #: the ids in their order
        self._order: deque[str] = deque()

    def again(self, event: Asking) -> Answer | None:
        """What was answered to this event before; None: it is new."""
        given = self._given.get(event.id) if event.id else None
        if isinstance(given, _Given):
            return Answer(event.client, event.id, given.ok, given.message, given.value)
        return None if given is None else Answer(event.client, event.id, True)

    def give(self, event: Asking, now: int, ok: bool, message: str = "", value: bytes = NULL) -> Answer:
        """The answer, which is remembered from now on."""
        if event.id:
            self._forget(now)
            if event.id not in self._given:
                self._order.append(event.id)
            plain = ok and not message and value == NULL
            self._given[event.id] = now if plain else _Given(now, ok, message, value)
        return Answer(event.client, event.id, ok, message, value)

    def _forget(self, now: int) -> None:
        """Whose time is over: each event pays for at most a few others."""
        given, order = self._given, self._order
        while order and (len(order) >= _MOST or _time_of(given[order[0]]) + _KEEP_MS < now):
            del given[order.popleft()]

    def pack(self) -> bytes:
        return msgspec.msgpack.encode(self._given)

    def restore(self, data: bytes) -> None:
        self._given = _decoder.decode(data)
        self._order = deque(self._given)


def _time_of(given: int | _Given) -> int:
    return given if isinstance(given, int) else given.at_ms


_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(dict[str, int | _Given])
