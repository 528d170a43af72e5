"""What other systems publish, as the server keeps it for those who want it.

Each name has the messages that match its subject and are not acknowledged. One that was handed out and not
acknowledged within `Settings.heard_wait` is handed out again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flowrun.sources import subject_matches

from .notes import Notes

__all__ = ["Kept", "Outside"]


@dataclass(eq=False)
class Kept:
    """A message, for one name."""

    name: str
    seq: int
    subject: str
    id: str
    kind: str
    time_ms: int
    data: bytes
    #: loop time at which it may be handed out (again)
    free_at: float = 0.0


class Outside:
    def __init__(self, now: Callable[[], float], now_ms: Callable[[], int], patience: float) -> None:
        self._now, self._now_ms, self._patience = now, now_ms, patience
        #: name -> its subject
        self.wanted: dict[str, str] = {}
        #: (name, sequence) -> what is not acknowledged
        self.kept: dict[tuple[str, int], Kept] = {}
        #: told under ("heard", name) that there is something
        self.news: Notes[None] = Notes()
        self._seq = 0

    def publish(self, subject: str, data: bytes, id: str = "", kind: str = "") -> None:
        """What any client of the server may do."""
        self._seq += 1
        for name, pattern in self.wanted.items():
            if subject_matches(pattern, subject):
                given = id or f"outside {self._seq}"
                self.kept[name, self._seq] = Kept(name, self._seq, subject, given, kind, self._now_ms(), data)
                for listener in self.news.listeners("heard", name):
                    listener.queue.put_nowait(None)

    def keep(self, wanted: Mapping[str, str], before: Mapping[str, str]) -> None:
        for name in before:
            if wanted.get(name) != self.wanted.get(name):
                self.wanted.pop(name, None)
                for key in [key for key in self.kept if key[0] == name]:
                    del self.kept[key]
        self.wanted.update(wanted)

    def take(self, name: str, most: int) -> list[Kept]:
        """What is free, the oldest first."""
        now = self._now()
        free = [kept for (owner, _), kept in self.kept.items() if owner == name and kept.free_at <= now][:most]
        for kept in free:
            kept.free_at = now + self._patience
        return free

    def give_back(self, name: str) -> None:
        for (owner, _), kept in self.kept.items():
            if owner == name:
                kept.free_at = 0.0

    def ack(self, kept: Kept) -> None:
        self.kept.pop((kept.name, kept.seq), None)
