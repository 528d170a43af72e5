"""The port to the message server. `memory` and `nats` implement it; nothing else of the runtime knows either.

Time is the event loop's: the in-memory twin runs on a loop whose clock jumps to the next timer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

__all__ = ["Delivery", "Record", "Transport", "WorkSource"]


class Record(msgspec.Struct, frozen=True):
    """One message of an inbox."""

    #: position in the inbox, from 1, without gaps in meaning: later is larger
    seq: int
    #: the server's time stamp, milliseconds since 1970
    time_ms: int
    data: bytes


class Delivery(Protocol):
    """A bundle that was handed to this worker."""

    @property
    def data(self) -> bytes: ...

    @property
    def redelivered(self) -> bool:
        """It was handed out before, and that worker never acknowledged it."""

    async def ack(self) -> None:
        """It is dealt with: its results are in the inbox."""

    async def progress(self) -> None:
        """It is still being worked on: extends the lease."""


class WorkSource(Protocol):
    """Pulls bundles from the work stream."""

    async def receive(self, most: int) -> list[Delivery]:
        """Waits for at least one bundle, and gives at most `most`."""

    async def close(self) -> None: ...


class Transport(Protocol):
    """All methods raise TransportError when the server cannot be reached, after retries of their own."""

    async def open_partition(self, partition: str) -> None:
        """Creates what a partition needs, if it is not there."""

    async def drop_partition(self, partition: str) -> None:
        """Removes a partition's inbox and work. Does nothing if it is not there."""

    async def append(self, partition: str, data: bytes, key: str) -> int:
        """Writes one event to the inbox; returns when the server has it. A `key` seen lately is not written twice."""

    def read(self, partition: str, after: int) -> AsyncIterator[list[Record]]:
        """The inbox from the message after sequence `after`, in order, without end; in batches as they come."""

    async def last_seq(self, partition: str) -> int:
        """The sequence of the inbox's last message; 0 if it is empty."""

    async def dispatch(self, queue: str, priority: int, partition: str, data: bytes, key: str) -> None:
        """Puts a bundle into the work stream; returns when the server has it."""

    async def clear_work(self, partition: str) -> None:
        """Removes every bundle of a partition from the work stream (at a take-over, when no worker lives)."""

    async def work(self, partition: str, queues: tuple[str, ...]) -> WorkSource:
        """Bundles of these queues and this partition."""

    async def put_blob(self, digest: str, data: bytes) -> None:
        """Stores bytes of any size under their content hash. Whoever is about to refer to a blob puts it, although it
        may be there: what was not put for a while may be collected."""

    async def get_blob(self, digest: str) -> bytes:
        """The bytes, or StoreError if they are not there."""

    async def collect_blobs(self, keep_seconds: float) -> None:
        """Removes blobs that were put last before any partition's first event and more than `keep_seconds` ago."""

    async def put_result(self, run: str, data: bytes, keep_seconds: float) -> None:
        """Stores an ended run's record for a time, and tells whoever waits for it."""

    async def get_result(self, run: str) -> bytes | None: ...

    async def wait_result(self, run: str) -> bytes:
        """The record of a run, once it is stored."""

    async def notify(self, topic: str, run: str, data: bytes) -> None:
        """A live note (`state`, `log`, `cancel`): whoever listens gets it, nothing is kept."""

    async def listen(self, topic: str, run: str) -> AsyncIterator[bytes]:
        """Live notes of a topic and a run ("*": of all) from now on, without end."""

    async def close(self) -> None: ...
