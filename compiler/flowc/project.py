"""The project: `flow.toml`, its source files, and the one place where the compiler reads files.

A project is the folder of the nearest `flow.toml`, upward from where the compiler starts; without one, that folder
itself, with the defaults. What is wrong in `flow.toml` becomes findings on the `Project`, so that a compilation
reports them with its own.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from .catalog import Findings
from .diagnostic import Diagnostic
from .parse import decode_source
from .project_file import FILE_NAME, key_span, os_problem, read_project_file
from .source import Source, Span

__all__ = ["FILE_NAME", "Loader", "Project", "discover", "find_project"]

#: larger files are not read at all, to spare the memory
_MAX_READ = 1 << 30
_SKIPPED = frozenset({"node_modules", "__pycache__"})


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """Where the sources of a project are, and what holds for all of them."""

    #: absolute folder; paths in messages and plans are relative to it
    root: Path
    name: str
    #: files and folders with `.flow` files, relative to the root
    sources: tuple[str, ...] = (".",)
    #: the flow that `flowc run` starts when none is named
    main: str | None = None
    #: folders from which Python modules are imported, relative to the root
    python: tuple[str, ...] = (".",)
    #: the `[defaults]` table as TOML gives it: settings of every task
    defaults: dict[str, object] = {}
    #: flow.toml, if there is one
    file: Source | None = None
    #: what is wrong in flow.toml
    findings: tuple[Diagnostic, ...] = ()

    @property
    def python_roots(self) -> tuple[Path, ...]:
        return tuple(self.root / folder for folder in self.python)

    def show(self, path: Path) -> str:
        """A path as messages and plans have it: relative to the root, with forward slashes."""
        try:
            return Path(os.path.relpath(path, self.root)).as_posix()
        except ValueError:  # another drive
            return path.as_posix()

    def key_span(self, table: str, key: str) -> Span:
        """The place of a key in flow.toml, as well as it can be found."""
        return key_span(self.file, table, key)


def find_project(start: Path) -> Project:
    """The project that a file or folder belongs to."""
    start = start.absolute()
    folder = start if start.is_dir() else start.parent
    for candidate in (folder, *folder.parents):
        path = candidate / FILE_NAME
        if path.is_file():
            return _read_project(candidate, path)
    return Project(root=folder, name=folder.name or "flow")


def _read_project(root: Path, path: Path) -> Project:
    findings = Findings()
    read = read_project_file(path, findings)
    for source in read.sources:
        if not (root / source).exists():
            findings.add("missing-source-folder", key_span(read.file, "project", "sources"), path=source)
    return Project(
        root=root,
        name=read.name or root.name or "flow",
        sources=read.sources,
        main=read.main,
        python=read.python,
        defaults=read.defaults,
        file=read.file,
        findings=tuple(findings.sorted()),
    )


def discover(project: Project, folder: Path | None = None) -> list[Path]:
    """All `.flow` files of a project, or of one folder, sorted. Hidden folders (so `.flow` and `.venv` too),
    `node_modules` and folders with a `flow.toml` of their own are left out."""
    found: set[Path] = set()
    for start in [folder] if folder is not None else [project.root / source for source in project.sources]:
        if start.is_file():
            found.add(start.absolute())
        for where, folders, files in os.walk(start.absolute()):
            folders[:] = [name for name in folders if not _is_skipped(Path(where, name))]
            found.update(Path(where, name) for name in files if name.endswith(".flow"))
    return sorted(found)


def _is_skipped(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name in _SKIPPED or (folder / FILE_NAME).is_file()


class Loader:
    """Reads source files, each once. `overlay` holds texts that stand in for files (an editor's unsaved buffers)."""

    def __init__(
        self, project: Project, findings: Findings, overlay: Mapping[Path, str] = MappingProxyType({})
    ) -> None:
        self.project = project
        #: every source that was read, by the path that spans carry
        self.sources: dict[str, Source] = {}
        self._findings = findings
        self._overlay = overlay

    def load(self, path: Path, shown: str | None = None) -> Source | None:
        """The text of a `.flow` file, or None after a finding. `shown` is its path in messages."""
        shown = shown or self.project.show(path)
        if path in self._overlay:
            source: Source | None = Source(shown, self._overlay[path])
        else:
            try:
                data = _read_bytes(path)
            except (OSError, ValueError) as error:
                self._findings.add("unreadable-file", Span(shown, 0, 0), path=shown, problem=os_problem(error))
                return None
            source = decode_source(shown, data, self._findings)
        if source is not None:
            self.sources[shown] = source
        return source

    def exists(self, path: Path) -> bool:
        return path in self._overlay or os.path.exists(path)  # noqa: PTH110 - Path.exists raises on a name too long

    def read(self, path: Path) -> bytes | None:
        """The bytes of a file that may be missing (None)."""
        if path in self._overlay:
            return self._overlay[path].encode()
        try:
            return _read_bytes(path)
        except (OSError, ValueError):  # ValueError: a NUL in the path
            return None

    def neighbours(self, folder: Path) -> list[str]:
        """The names of files in a folder that a `use` could mean."""
        try:
            return sorted(path.name for path in folder.iterdir() if path.suffix in (".flow", ".py"))
        except (OSError, ValueError):
            return []


def _read_bytes(path: Path) -> bytes:
    """The content of a regular file. Raises OSError, and for what is no file to read, one that says so."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")  # a pipe or a device might never end
    if status.st_size > _MAX_READ:
        raise OSError(errno.EFBIG, "it is larger than a source file can be")
    return path.read_bytes()
