"""Messages as bytes.

A packed message starts with one byte for the format, whose lowest bit says whether zstd was used. A message of an inbox
holds one or more events: what many ask for at the same moment travels, and is stored, as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import msgspec
import zstandard

from .events import Cancel, Event
from .listings import Query
from .notes import Holding, LogNote, Presence, Revoked, StateNote, ToClient, Watch
from .records import RunRecord
from .wire import MessageError
from .work import Bundle

__all__ = [
    "MAX_MESSAGE_BYTES",
    "pack",
    "pack_events",
    "unpack",
    "unpack_events",
    "unpack_known_events",
    "unpack_to_client",
]

#: a decompressed message is never larger, in bytes
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
#: smaller messages are not worth compressing, in bytes
_COMPRESS_FROM = 1_024
_PLAIN, _ZSTD = b"\x02", b"\x03"

_compressor = zstandard.ZstdCompressor(level=1)
_encoder = msgspec.msgpack.Encoder()


def pack(message: msgspec.Struct) -> bytes:
    """A message's bytes, compressed where that shrinks them."""
    return _packed(_encoder.encode(message))


def _packed(data: bytes) -> bytes:
    if len(data) >= _COMPRESS_FROM:
        small = _compressor.compress(data)
        if len(small) < len(data):
            return _ZSTD + small
    return _PLAIN + data


def _plain(data: bytes) -> bytes:
    if data[:1] == _PLAIN:
        return data[1:]
    if data[:1] != _ZSTD:
        raise MessageError(f"a message has format {data[:1].hex() or 'none'}, which this version does not read")
    try:
        size = zstandard.frame_content_size(data[1:])
        if not 0 <= size <= MAX_MESSAGE_BYTES:
            raise MessageError("a message is larger than a message can be")
        return zstandard.ZstdDecompressor().decompress(data[1:])
    except zstandard.ZstdError as error:
        raise MessageError(f"a message is damaged: {error}") from error


_decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = {
    kind: msgspec.msgpack.Decoder(kind)
    for kind in (Bundle, RunRecord, StateNote, LogNote, Revoked, Cancel, Watch, Query, Presence, Holding)
}
T = TypeVar("T", Bundle, RunRecord, StateNote, LogNote, Revoked, Cancel, Watch, Query, Presence, Holding)
_events_decoder: msgspec.msgpack.Decoder[tuple[Event, ...]] = msgspec.msgpack.Decoder(tuple[Event, ...])
_event_decoder: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)
_parts_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_to_client_decoder: msgspec.msgpack.Decoder[ToClient] = msgspec.msgpack.Decoder(ToClient)


def pack_events(events: Sequence[Event]) -> bytes:
    """The bytes of an inbox's message."""
    return _packed(_encoder.encode(events))


def unpack_events(data: bytes) -> tuple[Event, ...]:
    """The events of an inbox's message, in order. Raises MessageError."""
    try:
        return _events_decoder.decode(_plain(data))
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageError(f"an event is damaged: {error}") from error


def unpack_known_events(data: bytes) -> tuple[list[Event], list[str]]:
    """The events of an inbox's message that can be read, in order, and what is wrong with the others: a newer version
    wrote them, or they are damaged. Raises MessageError if the message as a whole cannot be read."""
    plain = _plain(data)
    try:
        return list(_events_decoder.decode(plain)), []
    except (msgspec.DecodeError, RecursionError):
        return _each_event(plain)


def _each_event(plain: bytes) -> tuple[list[Event], list[str]]:
    events: list[Event] = []
    problems: list[str] = []
    try:
        parts = _parts_decoder.decode(plain)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageError(f"it holds no events ({error})") from error
    for part in parts:
        try:
            events.append(_event_decoder.decode(part))
        except (msgspec.DecodeError, RecursionError) as error:
            problems.append(f"a newer version wrote this event, or it is damaged ({error})")
    return events, problems


def unpack_to_client(data: bytes) -> ToClient:
    """What a client is told. Raises MessageError."""
    try:
        return _to_client_decoder.decode(_plain(data))
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageError(f"a note is damaged: {error}") from error


def unpack(data: bytes, kind: type[T]) -> T:
    """A message of a known kind. Raises MessageError."""
    try:
        return cast(T, _decoders[kind].decode(_plain(data)))
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageError(f"a {kind.__name__} is damaged: {error}") from error
