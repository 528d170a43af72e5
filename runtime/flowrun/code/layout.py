"""What a packed code looks like, for who packs and for who unpacks.

It is a zip whose members are stored as they are, in the order of their names, without times and owners: so the same
files are the same bytes wherever they are packed, and what is unpacked is never larger than what came. The member
`.flow/code.json` says how to use it; a project's own files never lie in `.flow`.
"""

from __future__ import annotations

import hashlib

import msgspec

from flowrun.errors import FlowError

__all__ = ["FORMAT", "GENERATED", "INFO", "MOST_BYTES", "MOST_FILES", "CodeError", "CodeInfo", "hash_of", "size_text"]

#: version of the format; a runtime accepts its own and the previous one
FORMAT = 1
#: of one code, unpacked or packed, in bytes
MOST_BYTES = 64 * 1024 * 1024
MOST_FILES = 20_000
#: the member that is a CodeInfo as JSON
INFO = ".flow/code.json"
#: the requirements, where they were made from another file
GENERATED = ".flow/requirements.txt"


class CodeError(FlowError):
    """Code cannot be packed, or what came cannot be used."""


class CodeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How a code is used."""

    format: int = FORMAT
    #: folders from which modules are imported, relative to the code's root
    python: tuple[str, ...] = (".",)
    #: the member with the dependencies, in the form of pip; "": it has none
    requirements: str = ""
    #: content hash of the dependencies, and of all files of the code that they name
    environment: str = ""


def hash_of(data: bytes) -> str:
    """The content hash under which blobs are stored."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def size_text(count: int) -> str:
    """Bytes for people."""
    return f"{count / (1 << 20):.1f} MiB" if count >= 1 << 20 else f"{count / 1024:.1f} KiB"
