"""How a coordinator gets to the state of a partition.

The order matters: first the fence, which shuts earlier leaders out of the work stream; then what stands in the work
stream; then a message of our own at the end of the inbox, which says who leads from here on and by which rules. Reading
from the snapshot to that message gives the state.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec
from flowc.plan import digest

from flowrun.errors import StoreError
from flowrun.lease import Holder
from flowrun.messages import Bundle, TakeOver, pack_events
from flowrun.settings import Settings
from flowrun.snapshots import Snapshot, Snapshots
from flowrun.transport import Inbox, Transport

from .events import Complaints
from .standing import bundles_of

__all__ = ["RULES", "Start", "announce", "take_over"]

log = logging.getLogger("flow.coordinator")

#: version of the rules of `decide`
RULES = 1
#: clocks of two servers differ by less, in milliseconds
_CLOCKS_MS = 5_000


class Start(msgspec.Struct, frozen=True):
    """From where a leader goes on."""

    #: what its dispatches carry
    fence: int
    #: bundles in the work stream
    standing: list[Bundle]
    snapshot: Snapshot | None
    #: when the inbox was made
    created: str
    #: the inbox is read after this message …
    after: int
    #: … and leaving out what was stamped before this: it is in the snapshot; milliseconds since 1970
    since_ms: int
    #: with this message, it leads
    until: int
    #: the server's clock, milliseconds since 1970, and the loop's when it said so
    now_ms: int
    at: float


async def take_over(
    transport: Transport,
    partition: str,
    holder: Holder,
    snapshots: Snapshots,
    settings: Settings,
    complaints: Complaints,
    *,
    fresh_workers: bool = False,
) -> Start:
    """Raises TransportError, StoreError."""
    fence = await transport.fence(partition)
    if fresh_workers:
        await transport.clear_work(partition)
    standing = bundles_of(await transport.standing_work(partition), complaints)
    until = await announce(transport, partition, holder, settings)
    inbox = await transport.inbox(partition)
    at = asyncio.get_running_loop().time()
    snapshot = await snapshots.read()
    if snapshot is not None and snapshot.rules > RULES:
        raise StoreError(
            f"partition {partition} was led by a newer version (rules {snapshot.rules}, this version has {RULES}): "
            "upgrade flowc on this node"
        )
    after, since_ms = await _place(transport, partition, inbox, snapshot, snapshots)
    return Start(
        fence=fence, standing=standing, snapshot=snapshot, created=inbox.created, after=after, since_ms=since_ms,
        until=until, now_ms=inbox.now_ms,
        at=at,
    )  # fmt: skip


async def announce(transport: Transport, partition: str, holder: Holder, settings: Settings, again: int = 0) -> int:
    """Writes who leads, and by which rules; the message's place. Said once more (`again`: 1, 2, …), it has the holders
    of permits asked what they have and want: the server may have lost what they said."""
    event = TakeOver(
        epoch=holder.epoch, node=holder.node, rules=RULES, remember_ms=int(settings.remember * 1000),
        keep_ms=int(settings.keep_results * 1000),
    )  # fmt: skip
    key = f"takeover/{holder.token}/{again}" if again else f"takeover/{holder.token}"
    return await transport.append(partition, pack_events([event]), key)


async def _place(
    transport: Transport, partition: str, inbox: Inbox, snapshot: Snapshot | None, snapshots: Snapshots
) -> tuple[int, int]:
    """Where reading begins."""
    if snapshot is None:
        return 0, 0
    if inbox.created == snapshot.created:
        record = await transport.read_one(partition, snapshot.seq)
        if record is not None and digest(record.data) == snapshot.digest:
            return snapshot.seq, 0
    snapshots.incarnation += 1
    if inbox.created != snapshot.created:
        what, since_ms = "was lost and made anew", 0
    else:
        what, since_ms = "was restored to an earlier state, or lost messages", snapshot.time_ms - _CLOCKS_MS
    log.error(
        "the inbox of partition %s %s: its state as of message %d goes on with what the inbox has now (incarnation %d)."
        " Submissions and results that were lost come back only if they are sent again",
        partition, what, snapshot.seq, snapshots.incarnation,
    )  # fmt: skip
    return 0, since_ms
