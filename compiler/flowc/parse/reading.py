"""Bytes of a file -> its text, or a finding."""

from __future__ import annotations

import codecs

from flowc.catalog import Findings
from flowc.source import Source, Span

__all__ = ["MAX_BYTES", "decode_source"]

MAX_BYTES = 8 * 2**20
#: bytes as people count them
_MB = 10**6


def decode_source(path: str, data: bytes, findings: Findings) -> Source | None:
    """The source of a file's bytes. None, and a finding, if they are no text in UTF-8 of at most MAX_BYTES."""
    at_start = Span(path, 0, 0)
    if len(data) > MAX_BYTES:
        findings.add("file-too-large", at_start, size=f"{len(data) / _MB:.1f}", limit=f"{MAX_BYTES / _MB:.1f}")
        return None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        findings.add("not-utf8", at_start, problem="it is UTF-16")
        return None
    nul = data.find(0)
    if nul >= 0:
        findings.add("binary-file", at_start, offset=nul)
        return None
    try:
        return Source(path, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        readable = Source(path, data[: error.start].decode("utf-8-sig"))
        place = readable.position(len(readable.text))
        problem = f"byte 0x{data[error.start]:02x} in line {place.line}, column {place.column}"
        findings.add("not-utf8", at_start, problem=problem)
        return None
