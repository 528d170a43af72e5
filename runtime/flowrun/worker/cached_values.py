"""The store of values that stand for calls, on the agent's side.

Values lie beside the records of runs, for as long as the setting says, and are those of the whole environment. A large
one is a reference to a blob: whoever finds it puts the blob again, so that it lives as long as the run that uses it;
one whose blob is gone is not found. A store that cannot be read or written makes no call fail.
"""

from __future__ import annotations

import logging

from flowrun import values
from flowrun.errors import FlowError
from flowrun.transport import Transport
from flowrun.wire import may_hold_blobs

__all__ = ["keep_value", "stored_value"]

log = logging.getLogger("flow.worker")


async def stored_value(transport: Transport, key: str) -> bytes:
    """A value that was kept; b"" if there is none."""
    try:
        found = await transport.get_result(key)
        if found and may_hold_blobs(found):
            await _renew(transport, found)
    except FlowError as error:
        log.debug("nothing is read from the cache: %s", error)
        return b""
    return found or b""


async def _renew(transport: Transport, value: bytes) -> None:
    """Puts all that a value refers to again. Raises StoreError."""
    for blob in values.references((value,)):
        data = await transport.get_blob(blob.digest)
        await _renew(transport, data)
        await transport.put_blob(blob.digest, data)


async def keep_value(transport: Transport, key: str, value: bytes, ttl_ms: int) -> None:
    try:
        await transport.put_results([(key, value)], ttl_ms / 1000)
    except FlowError as error:
        log.warning("a value is not kept in the cache: %s", error)
