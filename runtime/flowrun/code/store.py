"""A node's codes and environments on its disk, shared by all its processes, and by other nodes with the same folder.

    <folder>/code/<digest>/               unpacked: written beside and renamed, so that it is there whole or not at all
    <folder>/environments/<key>/          made where it stands, for it knows its own place; `.ready` is written last
    <folder>/…/<name>.lock                shared by who uses it, held alone by who makes or removes it

Whoever needs one shares its lock, and makes it if it is not there. What nobody uses is removed, the longest unused
first, when there is more than the limits say.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from .environment import interpreter, make_environment, python_tag
from .layout import INFO, CodeError, CodeInfo
from .locks import FileLock
from .unpacking import read_info, unpack_code

__all__ = ["CodeStore", "PreparedCode"]

#: of each kind, so many are kept
MOST_KEPT = 32
#: all codes, and all environments, together have at most so many bytes; what is in use is kept all the same
MOST_SIZE = 4 * 1024 * 1024 * 1024
_READY = ".ready"


class PreparedCode(msgspec.Struct, frozen=True):
    """A code that can run. It stays where it is until it is released."""

    digest: str
    #: where it is unpacked
    root: Path
    #: folders from which modules are imported, relative to `root`
    python: tuple[str, ...]
    #: the interpreter of its environment; None: it needs none of its own
    interpreter: Path | None
    locks: tuple[FileLock, ...]

    def release(self) -> None:
        """It may be removed from now on."""
        for lock in self.locks:
            lock.release()


class CodeStore:
    """A node's folder. `get_blob` gives packed codes; `env` is the environment of the tools that install."""

    def __init__(self, folder: Path, get_blob: Callable[[str], Awaitable[bytes]], env: Mapping[str, str]) -> None:
        self._folder = folder
        self._get_blob, self._env = get_blob, env

    async def prepare(self, digest: str) -> PreparedCode:
        """The code, ready to run; it may take minutes. Raises CodeError, StoreError, TransportError."""
        try:
            root, info, lock = await self._code(digest)
        except OSError as error:
            raise self._broken(error) from None
        if not info.requirements:
            return PreparedCode(digest, root, info.python, None, (lock,))
        try:
            environment, second = await self._environment(root, info)
        except OSError as error:
            lock.release()
            raise self._broken(error) from None
        except BaseException:
            lock.release()
            raise
        return PreparedCode(digest, root, info.python, interpreter(environment), (lock, second))

    def _broken(self, error: OSError) -> CodeError:
        return CodeError(
            f"the node cannot keep code in {self._folder}: {error.strerror or error}; FLOW_CACHE names another folder"
        )

    # ---- codes

    async def _code(self, digest: str) -> tuple[Path, CodeInfo, FileLock]:
        """Where it is unpacked, with its lock shared."""
        place = self._folder / "code"
        place.mkdir(parents=True, exist_ok=True)
        folder, lock = place / digest, FileLock(place / f"{digest}.lock")
        while True:
            await lock.share()
            if (folder / INFO).is_file():
                lock.used()
                return folder, read_info((folder / INFO).read_bytes(), digest), lock
            lock.release()
            await lock.alone()
            try:
                if not (folder / INFO).is_file():
                    data = await self._get_blob(digest)
                    await asyncio.to_thread(_unpack, data, digest, folder)
                    lock.write_size(len(data))
            finally:
                lock.release()
            await asyncio.to_thread(self._collect, place, {digest})

    # ---- environments

    async def _environment(self, code: Path, info: CodeInfo) -> tuple[Path, FileLock]:
        place = self._folder / "environments"
        place.mkdir(parents=True, exist_ok=True)
        key = f"{info.environment}-{python_tag()}"
        folder, lock = place / key, FileLock(place / f"{key}.lock")
        while True:
            await lock.share()
            if (folder / _READY).is_file() and interpreter(folder).exists():
                lock.used()
                return folder, lock
            lock.release()
            await lock.alone()
            try:
                if not ((folder / _READY).is_file() and interpreter(folder).exists()):
                    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
                    await make_environment(folder.absolute(), code, info.requirements, self._env, lock.fileno())
                    lock.write_size(await asyncio.to_thread(_size, folder))
                    (folder / _READY).touch()
            finally:
                lock.release()
            await asyncio.to_thread(self._collect, place, {key})

    async def discard_environment(self, code: PreparedCode) -> None:
        """No process can run in it: it is made anew when it is needed next, unless others use it."""
        code.release()
        if code.interpreter is not None:
            folder = code.interpreter.parent.parent
            lock = FileLock(folder.with_name(f"{folder.name}.lock"))
            if lock.try_alone():
                (folder / _READY).unlink(missing_ok=True)
                lock.release()

    # ---- what is no longer needed

    def _collect(self, place: Path, kept: set[str]) -> None:
        """Removes what was not used for longest, and is not in use, while there is too much."""
        found = sorted(((path.stat().st_mtime, path) for path in place.glob("*.lock")), reverse=True)
        count, size = 0, 0
        for _, path in found:
            own = _written_size(path)
            is_much = count + 1 > MOST_KEPT or size + own > MOST_SIZE
            if not (is_much and path.stem not in kept and _remove(path)):
                count, size = count + 1, size + own


def _unpack(data: bytes, digest: str, folder: Path) -> None:
    scratch = folder.with_name(f".{digest}.new")
    shutil.rmtree(scratch, ignore_errors=True)  # of somebody who was killed
    try:
        unpack_code(data, digest, scratch)
        shutil.rmtree(folder, ignore_errors=True)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _remove(path: Path) -> bool:
    """Removes what a lock stands for, unless somebody uses it."""
    lock = FileLock(path)
    if not lock.try_alone():
        return False
    shutil.rmtree(path.with_suffix(""), ignore_errors=True)
    lock.remove()
    return True


def _written_size(path: Path) -> int:
    try:
        return int(path.read_text() or 0)
    except (OSError, ValueError):
        return 0


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
