"""A run's record as it is stored: small ones as they are, a large one as a blob behind a reference.

An `each` over a hundred thousand items has a hundred thousand step records: more than one message of a server holds.
"""

from __future__ import annotations

from flowc.plan import digest

from .messages import RunRecord, pack, unpack
from .transport import Transport

__all__ = ["read_record", "write_record"]

#: what stands before the digest of a record that is a blob; a packed message begins with another byte
_REFERENCE = b"\x00blob:"


async def write_record(transport: Transport, record: RunRecord, keep_seconds: float, inline: int) -> None:
    """Stores an ended run's record; above `inline` bytes as a blob."""
    data = pack(record)
    if len(data) > inline:
        name = digest(data)
        await transport.put_blob(name, data)
        data = _REFERENCE + name.encode()
    await transport.put_result(record.run, data, keep_seconds)


async def read_record(transport: Transport, data: bytes) -> RunRecord:
    """The record behind what is stored under a run. Raises StoreError, MessageError."""
    if data.startswith(_REFERENCE):
        data = await transport.get_blob(data.removeprefix(_REFERENCE).decode())
    return unpack(data, RunRecord)
