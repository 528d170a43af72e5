"""Bytes that are stored compressed where that shrinks them. The first byte says whether they are."""

from __future__ import annotations

import zstandard

__all__ = ["CompressionError", "compressed", "expanded"]

#: less is not worth compressing, in bytes
_COMPRESS_FROM = 512
#: more than this is never expanded, in bytes
_MOST_BYTES = 2 * 1024 * 1024 * 1024 - 1
_PLAIN, _ZSTD = b"\x00", b"\x01"


class CompressionError(Exception):
    """Bytes are not what `compressed` made."""


def compressed(data: bytes) -> bytes:
    """The stored form."""
    if len(data) >= _COMPRESS_FROM:
        small = zstandard.ZstdCompressor(level=1).compress(data)
        if len(small) < len(data):
            return _ZSTD + small
    return _PLAIN + data


def expanded(data: bytes) -> bytes:
    """What was compressed. Raises CompressionError."""
    kind, content = data[:1], data[1:]
    if kind == _PLAIN:
        return content
    if kind != _ZSTD:
        raise CompressionError("it has a format that this version does not read")
    try:
        if not 0 <= zstandard.frame_content_size(content) <= _MOST_BYTES:
            raise CompressionError("it is larger than it can be")
        return zstandard.ZstdDecompressor().decompress(content)
    except zstandard.ZstdError as error:
        raise CompressionError(f"it is damaged ({error})") from error
