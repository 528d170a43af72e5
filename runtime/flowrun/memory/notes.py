"""Live notes: whoever listens at the moment gets them, nothing is kept."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

__all__ = ["Listener", "Notes"]

T = TypeVar("T")


class Listener(Generic[T]):
    """Someone who listens to one subject."""

    def __init__(self, notes: Notes[T], subject: tuple[str, str]) -> None:
        self._notes, self._subject = notes, subject
        self.queue: asyncio.Queue[T] = asyncio.Queue()
        notes.add(subject, self)

    def close(self) -> None:
        self._notes.remove(self._subject, self)


class Notes(Generic[T]):
    """A subject is a topic and a key; "*" as key hears all of a topic."""

    def __init__(self) -> None:
        #: by subject; the listeners in the order in which they came
        self._listeners: dict[tuple[str, str], dict[Listener[T], None]] = {}

    def add(self, subject: tuple[str, str], listener: Listener[T]) -> None:
        self._listeners.setdefault(subject, {})[listener] = None

    def remove(self, subject: tuple[str, str], listener: Listener[T]) -> None:
        listeners = self._listeners.get(subject, {})
        listeners.pop(listener, None)
        if not listeners:
            self._listeners.pop(subject, None)

    def listeners(self, topic: str, key: str) -> list[Listener[T]]:
        found = [*self._listeners.get((topic, key), ())]
        return found if key == "*" else [*found, *self._listeners.get((topic, "*"), ())]
