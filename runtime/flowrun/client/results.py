"""The value of a run: from its record's bytes to an object."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from flowrun import values
from flowrun.transport import Transport
from flowrun.wire import may_hold_blobs

__all__ = ["converted", "decode_inline", "plain_value"]

#: the object that a value without references is, as it is on the wire
decode_inline = msgspec.msgpack.Decoder().decode


async def plain_value(transport: Transport, data: bytes) -> Any:
    """A result as plain data: dates and the like are strings, as in JSON (and bytes are bytes). What lies in the blob
    store is fetched. Raises TransportError, StoreError."""
    if not may_hold_blobs(data):
        return decode_inline(data)
    fetched: dict[str, bytes] = {}
    missing = values.references([data])
    while missing:
        found = await asyncio.gather(*(transport.get_blob(blob.digest) for blob in missing))
        fetched |= {blob.digest: stored for blob, stored in zip(missing, found, strict=True)}
        missing = [blob for blob in values.references(found) if blob.digest not in fetched]
    return values.decode_plain(data, fetched.__getitem__)


def converted(value: Any, annotation: Any) -> Any:
    """The value as a function's annotation has it (a date, a dataclass, a pydantic model); as it is where that cannot
    be."""
    try:
        return msgspec.convert(value, annotation, dec_hook=_custom)
    except (msgspec.ValidationError, TypeError):
        return value


def _custom(kind: type, value: Any) -> Any:
    validate = getattr(kind, "model_validate", None)  # pydantic
    return value if validate is None else validate(value)
