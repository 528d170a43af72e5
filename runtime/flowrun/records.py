"""A run's record as it is stored: small ones as they are, a large one as a blob behind a reference.

An `each` over a hundred thousand items has a hundred thousand step records: more than one message of a server holds.
A record outlives its run, and so must what its result refers to: blobs of a run that took long are put again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from flowc.plan import digest

from .errors import StoreError
from .messages import RunRecord, pack, unpack
from .transport import Transport
from .values import references

__all__ = ["read_record", "renew_result", "stored_form"]

log = logging.getLogger("flow.records")

#: what stands before the digest of a record that is a blob; a packed message begins with another byte
_REFERENCE = b"\x00blob:"


async def stored_form(transport: Transport, record: RunRecord, inline: int) -> bytes:
    """What is stored under the run of an ended run's record; above `inline` bytes the record becomes a blob. Raises
    StoreError."""
    data = pack(record)
    if len(data) > inline:
        name = digest(data)
        await transport.put_blob(name, data)
        data = _REFERENCE + name.encode()
    return data


async def read_record(transport: Transport, data: bytes) -> RunRecord:
    """The record behind what is stored under a run. Raises StoreError, MessageError."""
    if data.startswith(_REFERENCE):
        data = await transport.get_blob(data.removeprefix(_REFERENCE).decode())
    return unpack(data, RunRecord)


async def renew_result(transport: Transport, record: RunRecord) -> None:
    """Puts again what the result refers to, and what that refers to; one blob is read at a time."""
    seen: set[str] = set()

    async def renew(values: Sequence[bytes]) -> None:
        for blob in references(values):
            if blob.digest in seen:
                continue
            seen.add(blob.digest)
            try:
                data = await transport.get_blob(blob.digest)
            except StoreError as error:
                log.warning("the result of run %s is not whole: %s", record.run, error)
                continue
            await transport.put_blob(blob.digest, data)
            await renew([data])

    await renew([record.result])
