"""Packs a project's folder: whatever its tasks may import, read or run.

All files below the root go along, but what is never code (hidden files, caches, environments, flow files, keys) and
what the project's `.gitignore` files and its `.flowignore` leave out. Both have the patterns of git; `.flowignore` is
read last, and `!pattern` brings back what the others leave out. A link must stay inside the project, and stands for
the file that it leads to.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import msgspec
from pathspec import GitIgnoreSpec

from .dependencies import Dependencies, find_dependencies
from .layout import GENERATED, INFO, MOST_BYTES, MOST_FILES, CodeError, CodeInfo, hash_of, size_text

__all__ = ["Packed", "pack_code"]

#: left out unless `.flowignore` says otherwise. A key, or the address of a server with its password, is not for a blob
_NEVER = (
    ".*", "__pycache__/", "*.py[co]", "*.log", "node_modules/", "*.egg-info/", "/build/lib/", "*.flow", "/flow.toml",
    "*.pem", "*.key",
)  # fmt: skip
_IGNORE_FILES = (".gitignore", ".flowignore")
#: says that a folder is a virtual environment
_ENVIRONMENT = "pyvenv.cfg"
_TIME = (1980, 1, 1, 0, 0, 0)
#: of the largest files, so many are named where it is too much
_NAMED = 3


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """A code that is ready to be stored."""

    #: content hash
    digest: str
    data: bytes
    #: files of the project that are in it
    files: int
    #: the file that its dependencies come from; "": it has none
    dependencies: str


def pack_code(root: Path, python: Sequence[str] = (".",)) -> Packed:
    """Packs the project at `root`; `python` as in flow.toml. Raises CodeError."""
    root = root.resolve()
    files = _read(root)
    found = find_dependencies(root, files)
    info = CodeInfo(python=_folders(root, python), requirements=found.member, environment=found.digest)
    data = _zip(files, info, found)
    return Packed(digest=hash_of(data), data=data, files=len(files), dependencies=found.source)


def _folders(root: Path, python: Sequence[str]) -> tuple[str, ...]:
    """The folders as the code has them. Those outside of the project are not in it."""
    folders = []
    for folder in python:
        inside = Path(os.path.normpath(root / folder))
        if not inside.is_relative_to(root):
            raise CodeError(
                f"`python` of flow.toml names {folder}, which lies outside of the project: a deployment carries the "
                "project's folder only; move it there, or install it as a package that requirements.txt names"
            )
        folders.append(inside.relative_to(root).as_posix())
    return tuple(folders)


def _read(root: Path) -> dict[str, tuple[bytes, bool]]:
    """By name: the content of each file, and whether it may be executed."""
    found: list[tuple[str, Path, os.stat_result]] = []
    total = 0
    for name, path in _walk(root, root, ()):
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            continue  # a socket or a pipe
        found.append((name, path, about))
        total += about.st_size
        if total > MOST_BYTES or len(found) > MOST_FILES:
            raise _too_much(found, total)
    try:
        return {name: (path.read_bytes(), bool(about.st_mode & 0o100)) for name, path, about in sorted(found)}
    except OSError as error:
        raise CodeError(f"{error.filename} cannot be read: {error.strerror}") from None


def _too_much(found: list[tuple[str, Path, os.stat_result]], total: int) -> CodeError:
    largest = sorted(found, key=lambda one: -one[2].st_size)[:_NAMED]
    named = ", ".join(f"{name} ({size_text(about.st_size)})" for name, _, about in largest)
    return CodeError(
        f"the project's folder is too large to be deployed: at least {len(found):,} files and {size_text(total)}, and "
        f"{MOST_FILES:,} files and {size_text(MOST_BYTES)} are the most; the largest are {named}. Write what tasks do "
        "not need into .flowignore (patterns as in .gitignore), and keep data elsewhere"
    )


# ---- which files


def _walk(root: Path, folder: Path, above: tuple[tuple[str, GitIgnoreSpec], ...]) -> Iterator[tuple[str, Path]]:
    """Names relative to the root, and paths. `above`: the patterns that hold, and the folder of each."""
    specs = (*above, *_specs(root, folder))
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise CodeError(f"{folder} cannot be read: {error.strerror}; .flowignore may leave it out") from None
    for entry in entries:
        path = Path(entry.path)
        name = path.relative_to(root).as_posix()
        if _is_ignored(f"{name}/" if entry.is_dir(follow_symlinks=False) else name, specs):
            continue
        if entry.is_symlink():
            if _is_ignored(f"{name}/", specs):
                continue
            _check_link(root, path, name)
        _check_name(name)
        if not entry.is_dir():
            yield name, path
        elif not (path / _ENVIRONMENT).exists():
            yield from _walk(root, path, specs)


def _specs(root: Path, folder: Path) -> Iterator[tuple[str, GitIgnoreSpec]]:
    """What the ignore files of a folder say."""
    prefix = "" if folder == root else folder.relative_to(root).as_posix() + "/"
    if folder == root:
        yield prefix, GitIgnoreSpec.from_lines(_NEVER)
    for name in _IGNORE_FILES if folder == root else _IGNORE_FILES[:1]:
        path = folder / name
        if not path.is_file():
            continue
        try:
            yield prefix, GitIgnoreSpec.from_lines(path.read_text("utf-8").splitlines())
        except (OSError, ValueError) as error:
            raise CodeError(f"{prefix}{name} cannot be read: {error}") from None


def _is_ignored(name: str, specs: Sequence[tuple[str, GitIgnoreSpec]]) -> bool:
    ignored = False
    for prefix, spec in specs:
        said = spec.check_file(name.removeprefix(prefix)).include
        if said is not None:
            ignored = said
    return ignored


def _check_link(root: Path, path: Path, name: str) -> None:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise CodeError(f"{name} is a link that leads nowhere: remove it, or write it into .flowignore") from None
    if not target.is_relative_to(root):
        raise CodeError(
            f"{name} is a link out of the project ({target}): copy what it leads to, or write it into .flowignore"
        )
    if target.is_dir():
        raise CodeError(f"{name} is a link to a folder, which cannot be packed: write it into .flowignore")


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise CodeError(f"the name of the file {name!a} is no UTF-8: rename it") from None
    if "\\" in name or not name.isprintable() or PurePosixPath(name).is_absolute():
        raise CodeError(f"a file named {name!r} cannot be unpacked everywhere: rename it, or write it into .flowignore")


# ---- the zip


def _zip(files: dict[str, tuple[bytes, bool]], info: CodeInfo, found: Dependencies) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, INFO, msgspec.json.encode(info), executable=False)
        if found.member == GENERATED:
            _add(archive, GENERATED, found.text.encode(), executable=False)
        for name, (data, executable) in files.items():
            _add(archive, name, data, executable)
    return buffer.getvalue()


def _add(archive: zipfile.ZipFile, name: str, data: bytes, executable: bool) -> None:
    member = zipfile.ZipInfo(name, _TIME)
    member.create_system = 3  # Unix, wherever this runs: it says how the mode is written
    member.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
    archive.writestr(member, data, zipfile.ZIP_STORED)
