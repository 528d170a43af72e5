"""`.flow/build`: one plan per flow, and a manifest that tells whether they still belong to the sources.

The manifest lists every file that a compilation could have read: flow.toml, the `.flow` and `.py` files under the
project's folder, and sources from elsewhere. Size and time of change are compared first, the content's hash where they
differ. So a new, changed or deleted file of any of these makes the plans stale, and so does another compiler.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import flowc
import msgspec
from flowc.plan import Plan, PlanError, read_file_bytes, write_file_bytes

from .errors import InputError
from .files import read_file, write_whole

__all__ = ["BuiltFlow", "Manifest", "file_names", "fresh_manifest", "read_plan", "walk_sources", "write_build"]

_SUFFIXES = (".flow", ".py")
_SKIPPED = frozenset({"node_modules", "__pycache__", "site-packages"})


class BuiltFlow(msgspec.Struct, frozen=True, kw_only=True):
    """A flow that was compiled."""

    flow: str
    #: its source, relative to the project's root
    file: str
    #: hash of the plan's file
    hash: str
    #: name of the plan's file in `.flow/build`
    plan: str
    #: flows that it calls, directly or not
    calls: tuple[str, ...] = ()


class _Seen(msgspec.Struct, frozen=True, array_like=True):
    """A file as it was when the plans were made."""

    size: int
    changed_ns: int
    hash: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What `.flow/build/manifest.json` says."""

    #: hash of the compiler's files, by their times of change
    compiler: str
    flows: tuple[BuiltFlow, ...]
    #: `main` of flow.toml
    main: str | None
    #: by path, relative to the root
    files: dict[str, _Seen]


def write_build(
    root: Path, plans: Iterable[tuple[str, str, Plan]], *, main: str | None, sources: Iterable[str], whole: bool
) -> dict[str, str]:
    """Writes plans, given as (flow, file, plan); gives the name of each plan's file by "file:flow".

    `whole`: these are all flows of the project. Then plans of flows that are gone go too, and the manifest is written.
    Raises InputError.
    """
    folder = root / ".flow" / "build"
    plans = list(plans)
    names = file_names((flow, file) for flow, file, _ in plans)
    built = []
    for flow, file, plan in plans:
        content = write_file_bytes(plan)
        name = names[f"{file}:{flow}"]
        write_whole(folder / name, content)
        calls = tuple(sorted(child.flow for child in plan.children.values()))
        built.append(BuiltFlow(flow=flow, file=file, hash=_digest(content), plan=name, calls=calls))
    if whole:
        for stale in set(folder.glob("*.flowplan")) - {folder / name for name in names.values()}:
            stale.unlink(missing_ok=True)
        seen = {name: _see(root / name) for name in _inputs(root, sources)}
        manifest = Manifest(compiler=_compiler(), flows=tuple(built), main=main, files=seen)
        write_whole(folder / "manifest.json", msgspec.json.encode(manifest))
    return names


def file_names(flows: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The plan's file of each (flow, file), by "file:flow": `<flow>.flowplan`, with the source's path where two flows
    have one name."""
    flows = list(flows)
    names = [flow for flow, _ in flows]
    return {
        f"{file}:{flow}": (
            f"{flow}.flowplan"
            if names.count(flow) == 1
            else f"{file.removesuffix('.flow').replace('..', '_').replace('/', '.')}.{flow}.flowplan"
        )
        for flow, file in flows
    }


def fresh_manifest(root: Path) -> Manifest | None:
    """The manifest, if every plan still belongs to the sources; else None."""
    folder = root / ".flow" / "build"
    try:
        manifest = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest)
        if manifest.compiler != _compiler():
            return None
        outside = [name for name in manifest.files if name.startswith("..")]
        if set(_inputs(root, outside)) != manifest.files.keys():
            return None
        is_fresh = all(_is_same(root / name, seen) for name, seen in manifest.files.items()) and all(
            _digest((folder / flow.plan).read_bytes()) == flow.hash for flow in manifest.flows
        )
    except (OSError, msgspec.DecodeError):
        return None
    return manifest if is_fresh else None


def read_plan(path: Path) -> Plan:
    """The plan in a file. Raises InputError."""
    try:
        return read_file_bytes(read_file(path, "plan"))
    except PlanError as error:
        raise InputError(str(error), place=str(path)) from error


def _inputs(root: Path, sources: Iterable[str]) -> list[str]:
    """Every file that a compilation of the project could read, relative to the root."""
    found = {path.relative_to(root).as_posix() for path in walk_sources(root)}
    found.update(name for name in sources if (root / name).is_file())
    return sorted(found)


def walk_sources(root: Path) -> Iterator[Path]:
    """flow.toml, `.flow` and `.py` files, but those of environments, hidden folders and other projects."""
    for where, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not _is_skipped(Path(where, name))]
        yield from (Path(where, name) for name in files if name.endswith(_SUFFIXES) or name == "flow.toml")


def _is_skipped(folder: Path) -> bool:
    if folder.name.startswith(".") or folder.name in _SKIPPED:
        return True
    return (folder / "flow.toml").is_file() or (folder / "pyvenv.cfg").is_file()


def _see(path: Path) -> _Seen:
    stat = path.stat()
    return _Seen(stat.st_size, stat.st_mtime_ns, _digest(path.read_bytes()))


def _is_same(path: Path, seen: _Seen) -> bool:
    stat = path.stat()
    if (stat.st_size, stat.st_mtime_ns) == (seen.size, seen.changed_ns):
        return True
    return stat.st_size == seen.size and _digest(path.read_bytes()) == seen.hash


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _compiler() -> str:
    """A hash that another version of the compiler, or an edited one, does not have."""
    folder = Path(flowc.__file__).parent
    times = sorted((path.relative_to(folder).as_posix(), path.stat().st_mtime_ns) for path in folder.rglob("*.py"))
    return _digest(repr(times).encode())
