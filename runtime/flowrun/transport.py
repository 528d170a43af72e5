"""The port to the message server. `memory` and `nats` implement it; nothing else of the runtime knows either.

Time is the event loop's: the in-memory twin runs on a loop whose clock jumps to the next timer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol

import msgspec

__all__ = ["Delayed", "Delivery", "Entry", "Heard", "Hearing", "Inbox", "Record", "Transport", "WorkSource"]


class Record(msgspec.Struct, frozen=True):
    """One message of an inbox."""

    #: position in the inbox, from 1, without gaps in meaning: later is larger
    seq: int
    #: the server's time stamp, milliseconds since 1970
    time_ms: int
    data: bytes


class Inbox(msgspec.Struct, frozen=True):
    """The state of a partition's inbox."""

    #: another one if the inbox was lost and made anew: when the server made it, as it writes that
    created: str
    #: sequence of the first message that is still there, and of the last one ever; 0, 0: there never was one
    first_seq: int
    last_seq: int
    #: bytes that it holds
    size: int = 0
    #: the server's clock when it said so, milliseconds since 1970; 0: it did not say
    now_ms: int = 0


class Delayed(msgspec.Struct, frozen=True):
    """An event that waits for its time."""

    name: str
    at_ms: int


class Entry(msgspec.Struct, frozen=True):
    """A value that is changed by compare-and-set: a lease, the pointer to a snapshot."""

    key: str
    #: grows with every change of any entry
    revision: int
    #: b"": it was removed
    data: bytes


class Delivery(Protocol):
    """A bundle that was handed to this worker."""

    @property
    def data(self) -> bytes: ...

    @property
    def redelivered(self) -> bool:
        """It was handed out before, and that worker never acknowledged it."""

    @property
    def fresh(self) -> bool:
        """It came through a connection that was made anew less than `ack_wait` ago: the server may have been restarted
        and have forgotten that another worker holds this bundle (see `Holding`)."""

    async def ack(self) -> None:
        """It is dealt with: its results are in the inbox."""

    async def progress(self) -> None:
        """It is still being worked on: extends the lease; returns when the server has done so."""


class Heard(Protocol):
    """A message that another system published."""

    @property
    def subject(self) -> str: ...

    @property
    def data(self) -> bytes: ...

    @property
    def kind(self) -> str:
        """What its sender calls the form of its data ("application/json"); "": nothing."""

    @property
    def id(self) -> str:
        """The same when it comes again: what its sender calls it (`Nats-Msg-Id`), else its place in its stream."""

    @property
    def time_ms(self) -> int:
        """The server's time stamp, milliseconds since 1970."""

    async def ack(self) -> None:
        """It is dealt with, and does not come again."""


class Hearing(Protocol):
    """Reads what others publish, for one name (see `Transport.hear`). Several may read for one name: each message comes
    to one of them, and to another one if that is silent for too long."""

    async def receive(self, most: int) -> list[Heard]:
        """Waits for at least one message, and gives at most `most`."""

    async def close(self) -> None:
        """What came and was not acknowledged comes to others at once."""


class WorkSource(Protocol):
    """Pulls bundles from the work stream."""

    async def receive(self, most: int) -> list[Delivery]:
        """Waits for at least one bundle, and gives at most `most`."""

    async def close(self) -> None: ...


class Transport(Protocol):
    """All methods raise TransportError when the server cannot be reached, after retries of their own, and StoreError
    when it cannot store."""

    @property
    def on_reconnect(self) -> list[Callable[[], None]]:
        """Called each time after the connection was made anew."""

    # ---- inboxes

    async def open_partition(self, partition: str) -> None:
        """Creates what a partition needs, if it is not there."""

    async def drop_partition(self, partition: str) -> None:
        """Removes a partition: inbox, work, entries. Does nothing if it is not there."""

    async def append(self, partition: str, data: bytes, key: str) -> int:
        """Writes one message (`pack_events`) to the inbox; returns its sequence when the server has it. A `key` seen
        in the last two minutes is not written twice."""

    async def append_at(self, partition: str, name: str, data: bytes, at_ms: int) -> None:
        """Writes a message to the inbox at that time (milliseconds since 1970), never earlier, also when no node lives
        then. Another one of that name is replaced."""

    async def cancel_delayed(self, partition: str, name: str) -> bool:
        """Takes a delayed message back; False if there is none (any more)."""

    async def delayed(self, partition: str) -> list[Delayed]:
        """What waits for its time, in no particular order."""

    def read(self, partition: str, after: int) -> AsyncIterator[list[Record]]:
        """The inbox from the message after sequence `after`, in order, without end; in batches as they come."""

    async def inbox(self, partition: str) -> Inbox:
        """Raises StoreError if there is no such partition."""

    async def read_one(self, partition: str, seq: int) -> Record | None:
        """The inbox's message of that sequence, if it is still there."""

    async def purge_inbox(self, partition: str, before: int) -> None:
        """Removes the inbox's messages below that sequence; delayed ones stay."""

    # ---- work

    async def fence(self, partition: str) -> int:
        """Shuts out every earlier leader of the partition: gives the token that dispatches carry from now on."""

    async def dispatch(
        self, group: str, lane: str, priority: int, partition: str, data: bytes, key: str, fence: int
    ) -> None:
        """Puts a bundle into the work stream; returns when the server has it. Raises Fenced if `fence` is no longer the
        last one of the partition: nothing was written then."""

    async def standing_work(self, partition: str) -> list[bytes]:
        """Every bundle of a partition in the work stream, also those that workers hold."""

    async def clear_work(self, partition: str) -> None:
        """Removes every bundle of a partition from the work stream (when no worker lives)."""

    async def work(self, group: str, lanes: tuple[str, ...]) -> WorkSource:
        """Bundles of these lanes for this group, of all partitions."""

    # ---- messages of other systems

    async def keep_heard(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """What others publish on these subjects (by name; they may have wildcards) is kept from now on, for each name
        until it is acknowledged there. Where a stream of somebody else holds a subject it is read there. Names that
        were wanted through this connection before, and no longer are, are forgotten. Gives what is wrong, by name: such
        a one is not heard, or not on the whole of its subject."""

    async def hear(self, name: str, subject: str) -> Hearing:
        """Reads for a name. Raises StoreError if it is not kept (yet)."""

    # ---- entries

    async def read_entry(self, key: str) -> Entry | None:
        """`key` is made of parts with dots between: "lease.3". None if it is not there."""

    async def write_entry(self, key: str, data: bytes, expected: int | None = None) -> int:
        """Its new revision. With `expected`, the revision that it must have (0: it must not be there), else raises
        Conflict."""

    async def remove_entry(self, key: str) -> None:
        """Does nothing if it is not there."""

    async def entries(self, prefix: str) -> list[Entry]:
        """Those whose key begins with `prefix` and a dot."""

    async def listen_entries(self, prefix: str) -> AsyncIterator[Entry]:
        """Changes from now on, as they come, without end; for a hint only: some may be lost."""

    # ---- blobs and results

    async def put_blob(self, digest: str, data: bytes) -> None:
        """Stores bytes of any size under their content hash. Whoever is about to refer to a blob puts it, although it
        may be there: what was not put for a while may be collected."""

    async def get_blob(self, digest: str) -> bytes:
        """The bytes, or StoreError if they are not there."""

    async def collect_blobs(self, keep_seconds: float) -> None:
        """Removes blobs that were put last before any partition's first event and more than `keep_seconds` ago."""

    async def put_results(self, records: Sequence[tuple[str, bytes]], keep_seconds: float) -> None:
        """Stores the records of ended runs, each under its run, for a time; returns when the server has all."""

    async def get_result(self, run: str) -> bytes | None: ...

    async def put_log(self, run: str, data: bytes) -> None:
        """Stores lines that a task of the run wrote, for a while, and shows them to who listens (topic "log"). Is not
        acknowledged: nothing but eyes depends on it."""

    def read_log(self, run: str) -> AsyncIterator[bytes]:
        """What is stored of a run's log, then what comes, without end. b"" once, after what was stored."""

    # ---- live notes

    async def notify(self, topic: str, key: str, data: bytes) -> None:
        """A live note: whoever listens gets it, nothing is kept. Topics: `to` (a client), `watch`, `query`, `cancel`,
        `revoke`, `presence`, `holding`."""

    async def listen(self, topic: str, key: str) -> AsyncIterator[bytes]:
        """Live notes of a topic and a key ("*": of all) from now on, without end."""

    async def close(self) -> None: ...
