"""Values as bytes: what can be done with a value on the wire without decoding it.

A value is msgpack. One above `INLINE_LIMIT` bytes lies in the blob store under its digest, and a `Blob` travels in
its place, as msgpack extension 1: a coordinator counts, slices and gathers values of any size by reading headers
only. A `Blob` may stand anywhere in a value, and may mean a part of what is stored (`path`).

The items of a map are its pairs, `[key, value]`, so that lists and maps are walked alike.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import msgspec
from flowc.plan import digest

__all__ = [
    "INLINE_LIMIT", "NULL", "Blob", "Fetch", "WireError",
    "blob_of", "externalise", "is_blob", "may_hold_blobs", "reference", "resolve",
    "concat", "elements", "field", "header", "item", "length", "make_list", "make_map", "make_record", "part", "split",
]  # fmt: skip

#: larger values travel as a `Blob`, in bytes
INLINE_LIMIT = 32 * 1024
#: msgpack null
NULL = b"\xc0"
#: gives the bytes that are stored under a digest
Fetch = Callable[[str], bytes]

_BLOB_CODE = 1
#: how every Blob begins after its length: extension code, array of 4, string of 32
_BLOB_MARK = b"\x01\x94\xd9\x20"
_EXT8 = 0xC7


class WireError(ValueError):
    """Bytes that are no value, or not of the kind that is asked for."""


class Blob(msgspec.Struct, frozen=True, array_like=True):
    """A reference to a value in the blob store, or to a part of it."""

    digest: str
    #: of the whole stored value, in bytes
    size: int
    #: number of items, if what is meant is a list or a map; None: it is neither, or not known
    length: int | None = None
    #: from the stored value to what is meant: a position, or (first, last) of a slice, per level
    path: tuple[int | tuple[int, int], ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_blob_decoder = msgspec.msgpack.Decoder(Blob)
_list_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_map_decoder = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])


# ---- references -----------------------------------------------------------------------------------------------------


def reference(blob: Blob) -> bytes:
    """The bytes that travel in place of a stored value."""
    return _encode(msgspec.msgpack.Ext(_BLOB_CODE, _encode(blob)))


def is_blob(data: bytes) -> bool:
    """The value is a reference."""
    return data[0] == _EXT8 and data[2:6] == _BLOB_MARK


def blob_of(data: bytes) -> Blob:
    """The reference that the value is. Raises WireError if it is none."""
    if not is_blob(data):
        raise WireError("the value is no reference to a blob")
    return decode_blob(_BLOB_CODE, data[3:])


def decode_blob(code: int, payload: bytes | memoryview) -> Blob:
    """A reference from the content of a msgpack extension. Raises WireError."""
    if code != _BLOB_CODE:
        raise WireError(f"msgpack extension {code} is no value")
    try:
        return _blob_decoder.decode(payload)
    except msgspec.DecodeError as error:
        raise WireError(f"a reference to a blob is damaged: {error}") from error


def may_hold_blobs(data: bytes) -> bool:
    """False: there is no reference in the value. True is right for all but contrived strings."""
    return _BLOB_MARK in data


def externalise(data: bytes) -> tuple[bytes, tuple[str, bytes] | None]:
    """What travels, and what is to be stored first as (digest, bytes), if the value is above INLINE_LIMIT."""
    if len(data) <= INLINE_LIMIT:
        return data, None
    key = digest(data)
    return reference(Blob(key, len(data), length(data))), (key, data)


def resolve(data: bytes, fetch: Fetch) -> bytes:
    """The value that a reference means; any other value as it is. Raises what `fetch` raises, and WireError."""
    while is_blob(data):
        blob = blob_of(data)
        if not blob.path:
            data = fetch(blob.digest)
            continue
        found, *rest = blob.path
        data = _stored_part(blob.digest, found, fetch)
        for step in rest:
            data = _step(resolve(data, fetch), step)
    return data


def _step(data: bytes, step: int | tuple[int, int]) -> bytes:
    return item(data, step) if isinstance(step, int) else part(data, *step)


def _stored_part(key: str, step: int | tuple[int, int], fetch: Fetch) -> bytes:
    """A part of a stored value; the value's items stay cut up for the next one, as parts are read in turn."""
    items = _cut_up(key, fetch)
    return items[step] if isinstance(step, int) else make_list(items[step[0] : step[1]])


class _Fetched:
    """Bytes by digest for a cache: equal when the digest is, whoever fetches."""

    def __init__(self, key: str, fetch: Fetch) -> None:
        self.key = key
        self.fetch = fetch

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Fetched) and other.key == self.key


def _cut_up(key: str, fetch: Fetch) -> list[bytes]:
    return _items_of(_Fetched(key, fetch))


@functools.lru_cache(maxsize=2)
def _items_of(source: _Fetched) -> list[bytes]:
    return elements(resolve(source.fetch(source.key), source.fetch))


# ---- lists and maps -------------------------------------------------------------------------------------------------


def length(data: bytes) -> int | None:
    """Number of items of a list or a map, from its header; None for other values, and where a blob does not say."""
    first = data[0]
    if 0x80 <= first <= 0x9F:
        return first & 0x0F
    if first in (0xDC, 0xDE):
        return int.from_bytes(data[1:3], "big")
    if first in (0xDD, 0xDF):
        return int.from_bytes(data[1:5], "big")
    return blob_of(data).length if is_blob(data) else None


def _is_map(data: bytes) -> bool:
    return 0x80 <= data[0] <= 0x8F or data[0] in (0xDE, 0xDF)


def elements(data: bytes) -> list[bytes]:
    """The items of a list (of a map: its pairs), each as bytes. Raises WireError for other values and blobs."""
    try:
        if _is_map(data):
            return [make_list((_encode(key), bytes(value))) for key, value in _map_decoder.decode(data).items()]
        return [bytes(raw) for raw in _list_decoder.decode(data)]
    except msgspec.DecodeError as error:
        raise WireError(f"the value is no list: {error}") from error


def item(data: bytes, index: int) -> bytes:
    """One item of a list or map; of a blob, a reference to it."""
    if is_blob(data):
        blob = blob_of(data)
        return reference(Blob(blob.digest, blob.size, None, (*blob.path, index)))
    return elements(data)[index]


def field(data: bytes, name: str) -> bytes | None:
    """A field of a map with text as its keys; None if it has no such field."""
    try:
        found = _map_decoder.decode(data).get(name)
    except msgspec.DecodeError as error:
        raise WireError(f"the value is no record: {error}") from error
    return None if found is None else bytes(found)


def part(data: bytes, first: int, last: int) -> bytes:
    """The items first..last-1 as a list; of a blob, a reference to them."""
    if is_blob(data):
        blob = blob_of(data)
        return reference(Blob(blob.digest, blob.size, last - first, (*blob.path, (first, last))))
    return make_list(elements(data)[first:last])


def header(count: int, *, small: int = 0x90, large: int = 0xDC) -> bytes:
    """How a list of so many items begins."""
    if count < 16:
        return bytes((small | count,))
    if count < 1 << 16:
        return bytes((large,)) + count.to_bytes(2, "big")
    return bytes((large + 1,)) + count.to_bytes(4, "big")


def make_list(parts: Iterable[bytes]) -> bytes:
    """A list of these values."""
    parts = parts if isinstance(parts, list | tuple) else list(parts)
    return header(len(parts)) + b"".join(parts)


def make_map(entries: Iterable[tuple[str, bytes]]) -> bytes:
    """A map, or a record, of these values."""
    flat = [(_encode(key), value) for key, value in entries]
    return header(len(flat), small=0x80, large=0xDE) + b"".join(part for entry in flat for part in entry)


make_record = make_map


def concat(count: int, chunks: Iterable[bytes]) -> bytes:
    """A list of `count` values that come one after another in the chunks."""
    return header(count) + b"".join(chunks)


def split(count: int, chunk: bytes) -> list[bytes]:
    """The `count` values that stand one after another. Raises WireError if there are more or fewer."""
    return elements(header(count) + chunk)
