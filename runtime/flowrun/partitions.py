"""Which partition a run, or a named thing, belongs to; and how many partitions an environment has.

The number is written once, by the first node of an environment, and never changes from then on: every id would belong
elsewhere. The hash is not Python's, which differs from process to process.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from .errors import Conflict, StoreError
from .settings import Settings
from .transport import Inbox, Transport

__all__ = ["Config", "config", "is_full", "owner_of", "partition_of", "partitions"]

#: the entry that holds the number of partitions
_KEY = "config"


class Config(msgspec.Struct, frozen=True):
    """What all nodes of an environment must agree on."""

    #: number of partitions, named "0", "1", …
    partitions: int


_decoder = msgspec.msgpack.Decoder(Config)


def partition_of(run: str, count: int) -> str:
    """The partition of a run, of `count` partitions."""
    return str(_place(run.encode(), count))


def owner_of(name: str, count: int) -> str:
    """The partition that a pool, a limit or a concurrency gate of this name belongs to."""
    return str(_place(b"gate " + name.encode(), count))


def partitions(count: int) -> tuple[str, ...]:
    """The names of all partitions."""
    return tuple(map(str, range(count)))


def is_full(inbox: Inbox, settings: Settings) -> bool:
    """The inbox takes no new submissions for now: its leader does not keep up, or there is none. Clients ask
    (`Transport.inbox`) about once a second while they submit; results and cancellations are always taken."""
    return inbox.size > settings.inbox_high_water


async def config(transport: Transport, settings: Settings) -> Config:
    """What the environment agreed on; the first who asks decides, by its settings. Raises StoreError."""
    while True:
        entry = await transport.read_entry(_KEY)
        if entry is not None and entry.data:
            return _decode(entry.data)
        wanted = Config(max(settings.partitions, 1))
        try:
            await transport.write_entry(_KEY, msgspec.msgpack.encode(wanted), entry.revision if entry else 0)
        except Conflict:
            continue  # another one was first
        return wanted


def _decode(data: bytes) -> Config:
    try:
        found = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise StoreError(f"the number of partitions of this environment cannot be read ({error})") from error
    if found.partitions < 1:
        raise StoreError(f"the environment says that it has {found.partitions} partitions")
    return found


def _place(name: bytes, count: int) -> int:
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "big") % count
