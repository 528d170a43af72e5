"""Finds the files of a pattern: here, or in a store that `fsspec` knows (`s3://bucket/in/*.csv`).

`*`, `?` and `[…]` match within a name, `**` any number of folders. Hidden names match only patterns that begin with a
dot, and `**` goes through no link to a folder, so a look ends. No look finds more than `MOST` files.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["MOST", "Found", "Problem", "find"]

#: files of one pattern
MOST = 100_000
#: stores in which an object is there as a whole, or is not
_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci"})
_MAGIC = re.compile(r"[*?\[]")
#: what stores call the time of the last change
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


class Problem(Exception):
    """The files cannot be looked for; the message says why."""


class Found(msgspec.Struct, frozen=True):
    """A file as a look finds it. Times in nanoseconds since 1970."""

    path: str
    size: int
    modified_ns: int
    #: nobody is writing it, as far as can be told from this look alone
    whole: bool
    #: when it came to be here as it is
    since_ns: int


def find(root: Path, pattern: str) -> list[Found]:
    """By their paths. `root`: the folder that a relative pattern begins in. Raises Problem."""
    if "://" in pattern and not pattern.startswith("file://"):
        return _find_stored(pattern)
    whole = str(root / pattern.removeprefix("file://"))
    found: dict[str, Found] = {}
    try:
        for path, status in _walk("/", [part for part in whole.split("/") if part not in ("", ".")]):
            found[path] = _local(path, status)
            if len(found) > MOST:
                raise Problem(f"`{pattern}` matches more than {MOST:,} files: make it narrower, or move away old ones")
    except OSError as error:
        raise Problem(f"{error.filename or whole} cannot be read: {(error.strerror or str(error)).lower()}") from error
    return [found[path] for path in sorted(found)]


# ---- here -----------------------------------------------------------------------------------------------------------


def _local(path: str, status: os.stat_result) -> Found:
    """A file that was renamed into its place, or whose time was set, changed after its last write: whoever wrote it was
    done. While it is written both times are the same."""
    moved = status.st_ctime_ns > status.st_mtime_ns and status.st_size > 0
    return Found(path, status.st_size, status.st_mtime_ns, moved, max(status.st_mtime_ns, status.st_ctime_ns))


def _walk(folder: str, parts: list[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Regular files below a folder that match the parts of a pattern."""
    while len(parts) > 1 and not _MAGIC.search(parts[0]):
        folder, parts = os.path.join(folder, parts[0]), parts[1:]  # noqa: PTH118 - a million of them
    first, rest = parts[0], parts[1:]
    if first == "**":
        yield from _walk(folder, rest or ["*"])
        for entry in _entries(folder):
            if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, parts)
        return
    if not _MAGIC.search(first):
        yield from _one(os.path.join(folder, first))  # noqa: PTH118
        return
    matches = re.compile(fnmatch.translate(first)).match
    for entry in _entries(folder):
        if matches(entry.name) is None or (entry.name[0] == "." and first[0] != "."):
            continue
        if rest:
            if entry.is_dir():
                yield from _walk(entry.path, rest)
        else:
            yield from _one(entry.path)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """Of a folder that is there."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _one(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """The file, if it is there and is one."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISREG(status.st_mode):
        yield path, status


# ---- in a store -----------------------------------------------------------------------------------------------------


def _find_stored(pattern: str) -> list[Found]:
    scheme = pattern.partition("://")[0]
    try:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # an extra, and large
    except ImportError as error:
        raise Problem(f"files of `{scheme}://` need the package fsspec: pip install 'flowc[files]'") from error
    try:
        files, path = url_to_fs(pattern)
        files.invalidate_cache()
        details: dict[str, dict[str, Any]] = files.glob(path, detail=True)
    except (ImportError, ValueError) as error:  # the store's own package, or no such store
        raise Problem(f"`{pattern}` cannot be looked for: {error}") from error
    except Exception as error:  # each store has errors of its own
        raise Problem(f"`{pattern}` cannot be looked for: {type(error).__name__}: {error}") from error
    if len(details) > MOST:
        raise Problem(f"`{pattern}` matches more than {MOST:,} files: make it narrower, or move away old ones")
    return [
        _stored(scheme, path, detail) for path, detail in sorted(details.items()) if detail.get("type") != "directory"
    ]


def _stored(scheme: str, path: str, detail: dict[str, Any]) -> Found:
    modified = next((_nanoseconds(detail[name]) for name in _TIMES if detail.get(name) is not None), 0)
    return Found(f"{scheme}://{path.lstrip('/')}", int(detail.get("size") or 0), modified, scheme in _WHOLE, modified)


def _nanoseconds(time: object) -> int:
    if isinstance(time, str):
        time = dt.datetime.fromisoformat(time)
    if isinstance(time, dt.datetime):
        time = (time if time.tzinfo else time.replace(tzinfo=dt.UTC)).timestamp()
    return int(time * 1_000_000_000) if isinstance(time, int | float) else 0
