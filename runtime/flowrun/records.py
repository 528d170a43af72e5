"""A run's record as it is stored: small ones as they are, a large one as a blob behind a reference.

An `each` over a hundred thousand items has a hundred thousand step records: more than one message of a server holds.
A record outlives its run, and so must what its result refers to: blobs of a run that took long are put again.
"""

from __future__ import annotations

import asyncio
import logging
import re
import struct
from collections.abc import Iterable, Sequence

from flowc.plan import digest

from .compression import compressed
from .errors import StoreError
from .messages import RunRecord, pack, unpack
from .transport import Transport
from .values import references

__all__ = [
    "image_key", "joined_form", "packed_record", "read_image", "read_record", "renew_blobs", "renew_result",
    "stored_form", "stored_image",
]  # fmt: skip

log = logging.getLogger("flow.records")

#: what stands before the digest of a record that is a blob; a packed message begins with another byte
_REFERENCE = b"\x00blob:"
#: what stands before a record and the image of its run, stored as one; then the size of the record
_BOTH, _SIZE = b"\x01", struct.Struct("<I")
#: how a reference to a blob looks like in bytes that hold values, with the digest in it (see `wire.Blob`)
_BLOB = re.compile(rb"\x01\x94\xd9\x20([0-9a-f]{32})")
#: more is compressed beside the event loop, in bytes
_THREAD_BYTES = 256 * 1024


async def stored_form(transport: Transport, record: RunRecord, inline: int) -> bytes:
    """What is stored under the run of an ended run's record; above `inline` bytes the record becomes a blob. Raises
    StoreError."""
    data = pack(record)
    if len(data) > inline:
        name = digest(data)
        await transport.put_blob(name, data)
        data = _REFERENCE + name.encode()
    return data


def joined_form(record: bytes, image: bytes) -> bytes:
    """What is stored of a packed record and an encoded image that are both small."""
    return b"".join((_BOTH, _SIZE.pack(len(record)), record, compressed(image)))


def _parts(data: bytes) -> tuple[bytes, bytes | None]:
    """The record, and the image that is stored with it."""
    if not data.startswith(_BOTH):
        return data, None
    start = len(_BOTH) + _SIZE.size
    end = start + _SIZE.unpack_from(data, len(_BOTH))[0]
    return data[start:end], data[end:]


def packed_record(data: bytes) -> bytes:
    """Of what is stored under a run, the record (or the reference to it)."""
    return _parts(data)[0]


def image_key(run: str) -> str:
    """Under which the image of an ended run is stored that is not stored with its record."""
    return f"{run}/image"


async def stored_image(transport: Transport, run: str, encoded: bytes, inline: int) -> tuple[str, bytes]:
    """What is stored under which key of an encoded image (see `engine.image`): as it is with records."""
    data = await asyncio.to_thread(compressed, encoded) if len(encoded) > _THREAD_BYTES else compressed(encoded)
    if len(data) > inline:
        name = digest(data)
        await transport.put_blob(name, data)
        data = _REFERENCE + name.encode()
    return image_key(run), data


async def read_image(transport: Transport, run: str) -> bytes | None:
    """The stored form of the image of an ended run; None if there is none (any more). Raises StoreError."""
    stored = await transport.get_result(run)
    image = None if stored is None else _parts(stored)[1]
    data = await transport.get_result(image_key(run)) if image is None else image
    if data is None or not data.startswith(_REFERENCE):
        return data
    return await transport.get_blob(data.removeprefix(_REFERENCE).decode())


async def renew_blobs(transport: Transport, run: str, held: Sequence[bytes], more: Iterable[str] = ()) -> None:
    """Puts again what packed state or an encoded image refers to, and what that refers to; one blob at a time."""
    seen: set[str] = set()
    names = [*more, *_digests(held)]
    while names:
        name = names.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            data = await transport.get_blob(name)
        except StoreError as error:
            log.warning("what is left of run %s is not whole: %s", run, error)
            continue
        await transport.put_blob(name, data)
        names += _digests([data])


def _digests(held: Iterable[bytes]) -> list[str]:
    return [match.decode() for data in held for match in _BLOB.findall(data)]


async def read_record(transport: Transport, data: bytes) -> RunRecord:
    """The record behind what is stored under a run. Raises StoreError, MessageError."""
    if data.startswith(_REFERENCE):
        data = await transport.get_blob(data.removeprefix(_REFERENCE).decode())
    return unpack(_parts(data)[0], RunRecord)


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

    await renew([record.result, record.values] if record.values else [record.result])
