"""The inbox of one partition: its messages, and those that wait for their time.

Both stand in one stream and take their sequences from it; so whoever reads the messages sees gaps.
"""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import Callable, Iterator

from flowrun.transport import Delayed, Inbox, Record

from .journal import SERVER, Journal, Keys

__all__ = ["MemoryInbox", "Signal"]


class Signal:
    """Wakes all who wait."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def waiter(self) -> asyncio.Future[None]:
        """Done at the next `fire`."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters = [other for other in self._waiters if not other.done()]
        self._waiters.append(waiter)
        return waiter

    def fire(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class _Waiting:
    """A message that waits for its time."""

    __slots__ = ("at_ms", "data", "put_ms", "seq")

    def __init__(self, seq: int, data: bytes, at_ms: int, put_ms: int) -> None:
        self.seq, self.data, self.at_ms, self.put_ms = seq, data, at_ms, put_ms


class MemoryInbox:
    """`now_ms` is the server's clock; `came_due` is told of messages whose time has come. Iterating gives the messages
    that are there."""

    def __init__(
        self,
        created: str,
        clock: Callable[[], float],
        now_ms: Callable[[], int],
        came_due: Callable[[int, bytes], None],
    ) -> None:
        self.created = created
        self.keys = Keys(clock)
        self.journal = Journal(clock)
        self.changed = Signal()
        #: false while the server is down, and for ever once it is removed
        self.open = True
        self._now_ms, self._came_due = now_ms, came_due
        #: in the order of their sequences
        self._records: list[Record] = []
        self.last_seq = 0
        self._delayed: dict[str, _Waiting] = {}

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def state(self) -> Inbox:
        return Inbox(
            created=self.created,
            first_seq=self._records[0].seq if self._records else self.last_seq,
            last_seq=self.last_seq,
            size=sum(len(record.data) for record in self._records),
            now_ms=self._now_ms(),
        )

    def append(self, data: bytes, key: str | None) -> int:
        """Writes a message, unless its key is known; its sequence."""
        known = None if key is None else self.keys.find(key)
        if known is not None:
            return known
        self.last_seq = seq = self.last_seq + 1
        if key is not None:
            self.keys.add(key, seq)
        self._records.append(Record(seq=seq, time_ms=self._now_ms(), data=data))
        self.journal.note(lambda: self._take_back(key, seq))
        self.changed.fire()
        return seq

    def _take_back(self, key: str | None, seq: int) -> None:
        if key is not None:
            self.keys.drop(key)
        self.last_seq = seq - 1
        if self.find(seq) is not None:  # else it was purged meanwhile, and that is not undone
            self._records.pop()

    def _place(self, seq: int) -> int:
        """How many records are before this sequence."""
        return bisect.bisect_left(self._records, seq, key=_seq_of)

    def after(self, seq: int, most: int) -> list[Record]:
        start = self._place(seq + 1)
        return self._records[start : start + most]

    def find(self, seq: int) -> Record | None:
        found = self._records[self._place(seq) :][:1]
        return found[0] if found and found[0].seq == seq else None

    def purge(self, before: int) -> None:
        """The last message stays: it says how far the inbox came."""
        del self._records[: self._place(min(before, self.last_seq))]

    def first_ms(self) -> int | None:
        """When the oldest message was written, also of those that wait."""
        times = [waiting.put_ms for waiting in self._delayed.values()]
        times += [self._records[0].time_ms] if self._records else []
        return min(times, default=None)

    # ---- what waits for its time

    def append_at(self, name: str, data: bytes, at_ms: int, late: float) -> None:
        """`late`: so many seconds after its time, at the earliest, it is there."""
        self.last_seq += 1
        waiting = _Waiting(self.last_seq, data, at_ms, self._now_ms())
        before = self._delayed.get(name)
        self._delayed[name] = waiting
        self.journal.note(lambda: self._put_back(name, before))
        self._arm(name, waiting, late)

    def _arm(self, name: str, waiting: _Waiting, late: float = 0.0) -> None:
        wait = max(waiting.at_ms - self._now_ms(), 0) / 1000 + late
        asyncio.get_running_loop().call_later(wait, self._due, name, waiting, context=SERVER)

    def reopen(self) -> None:
        """The server is up again: readers ask anew, and what became due meanwhile comes now."""
        self.open = True
        self.changed.fire()
        for name, waiting in list(self._delayed.items()):
            self._due(name, waiting)

    def _put_back(self, name: str, before: _Waiting | None) -> None:
        self.last_seq -= 1
        self._delayed.pop(name, None)
        if before is not None:
            self._delayed[name] = before

    def _due(self, name: str, waiting: _Waiting) -> None:
        if not self.open or self._delayed.get(name) is not waiting:
            return
        if waiting.at_ms > self._now_ms():  # it was armed before; or this clock counts whole milliseconds only
            self._arm(name, waiting, 0.001)
            return
        self._take(name)
        self._came_due(self.append(waiting.data, None), waiting.data)

    def cancel_delayed(self, name: str) -> bool:
        return self._take(name) is not None

    def _take(self, name: str) -> _Waiting | None:
        waiting = self._delayed.pop(name, None)
        if waiting is not None:
            self.journal.note(lambda: self._delayed.setdefault(name, waiting))
        return waiting

    def delayed(self) -> list[Delayed]:
        return [Delayed(name=name, at_ms=waiting.at_ms) for name, waiting in self._delayed.items()]


def _seq_of(record: Record) -> int:
    return record.seq
