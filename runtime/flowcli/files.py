"""Files of `.flow`: one is there whole or not at all, and a folder that cannot be written is told in one line."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from .errors import InputError

__all__ = ["read_file", "write_whole"]


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file beside its place and moves it there. Raises InputError; what was there then still is."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(data)
        unfinished.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise _folder_error(path, error) from error


def read_file(path: Path, what: str) -> bytes:
    """The content of a file that the user named. Raises InputError."""
    try:
        if not path.is_dir() and path.exists() and not path.is_file():
            raise InputError(f"cannot read the {what}: it is no regular file", place=str(path))
        return path.read_bytes()
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error))
        raise InputError(f"cannot read the {what}: {reason.lower()}", place=str(path)) from error


def _folder_error(path: Path, error: OSError) -> InputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError("the disk is full", place=str(path), help="free some space; nothing was changed")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        help = "check the permissions of the folder, or work in a copy of the project"
        return InputError(f"cannot write: {error.strerror}", place=str(path), help=help)
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return InputError("cannot write: a file stands where a folder must be", place=str(path.parent))
    return InputError(f"cannot write: {error.strerror or error}", place=str(path))
