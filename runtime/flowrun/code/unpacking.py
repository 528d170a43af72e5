"""Unpacks a code into a folder, after a look at all of it: nothing is written of what is not as `packing` makes it.

A member that is compressed is refused, so nothing grows; one whose name leads out of the folder, a link, a name that
stands twice, or a file that is also a folder, too.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from pathlib import Path, PurePosixPath

import msgspec

from .layout import FORMAT, INFO, MOST_BYTES, MOST_FILES, CodeError, CodeInfo, hash_of, size_text

__all__ = ["read_info", "unpack_code"]

#: of what `packing` adds to each file: headers and names
_HEAD = 1024


def unpack_code(data: bytes, digest: str, folder: Path) -> CodeInfo:
    """Writes the code into `folder`, which must be new. Raises CodeError and OSError."""
    if hash_of(data) != digest:
        raise CodeError(f"the code {digest} is not what was deployed: its content has another hash")
    most = MOST_BYTES + MOST_FILES * _HEAD
    if len(data) > most:
        raise CodeError(f"the code {digest} has {size_text(len(data))}, and {size_text(most)} is the most")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _check(members, digest)
            info = read_info(archive.read(INFO), digest)
            folder.mkdir(parents=True)
            for member in members:
                path = folder / member.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(member))
                path.chmod(0o755 if member.external_attr >> 16 & 0o100 else 0o644)
    except (zipfile.BadZipFile, KeyError, RuntimeError, EOFError, ValueError, struct.error) as error:
        raise CodeError(f"the code {digest} cannot be unpacked: {error}") from None
    return info


def read_info(text: bytes, digest: str) -> CodeInfo:
    """Raises CodeError."""
    try:
        info = msgspec.json.decode(text, type=CodeInfo)
    except msgspec.DecodeError as error:
        raise CodeError(f"the code {digest} does not say how it is used: {error}") from None
    if info.format not in (FORMAT, FORMAT - 1):
        raise CodeError(
            f"the code {digest} has format {info.format}, and this node knows {FORMAT}: it needs a newer flowc"
        )
    for name in (*info.python, *filter(None, [info.requirements])):
        if name != "." and not _is_inside(name):
            raise CodeError(f"the code {digest} names the place {name!r}, which is not in it")
    return info


def _check(members: list[zipfile.ZipInfo], digest: str) -> None:
    """Raises CodeError unless all members can be written as they are."""

    def refused(why: str) -> CodeError:
        return CodeError(f"the code {digest} is refused: {why}")

    if len(members) > MOST_FILES + 2:
        raise refused(f"it has {len(members):,} files, and {MOST_FILES:,} are the most")
    if sum(member.file_size for member in members) > MOST_BYTES + _HEAD * _HEAD:
        raise refused(f"its files are more than {size_text(MOST_BYTES)}")
    seen: set[str] = set()
    folders: set[str] = set()
    for member in members:
        name, kind = member.filename, member.external_attr >> 16
        if not _is_inside(name) or member.is_dir():
            raise refused(f"it has a file named {name!r}")
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise refused(f"{name} is compressed")
        if stat.S_IFMT(kind) not in (0, stat.S_IFREG):
            raise refused(f"{name} is no plain file")
        if name in seen:
            raise refused(f"{name} is in it twice")
        seen.add(name)
        folders.update(map(str, PurePosixPath(name).parents))
    if both := seen & folders:
        raise refused(f"{min(both)} is both a file and a folder")


def _is_inside(name: str) -> bool:
    """A plain relative path: nothing that the system, or another one, takes for anything else."""
    parts = name.split("/")
    return not any(part in ("", ".", "..") for part in parts) and "\\" not in name and name.isprintable()
