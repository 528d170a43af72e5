"""Operator packages: folders of `.flow` interfaces beside Python modules, found by the entry point `flow.modules`.

`use std.http { get }` reads `http.flow` in the folder of the Python package that the entry point `std` names. The
folder is found without importing the package.
"""

from __future__ import annotations

from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

import msgspec

__all__ = ["GROUP", "Package", "find_package", "package_modules", "package_names"]

GROUP = "flow.modules"

#: ships with the compiler, so that looking it up costs nothing
_OWN = {"std": "flowstd"}


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """An installed operator package."""

    #: as written after `use`: "std"
    name: str
    #: the Python package: "flowstd"
    python: str
    folder: Path

    def module_name(self, path: Path) -> str:
        """What a file of the package is called: "std.http"."""
        return self._dotted(self.name, path)

    def python_name(self, path: Path) -> str:
        """What Python calls a file of the package: "flowstd.http"."""
        return self._dotted(self.python, path)

    def _dotted(self, first: str, path: Path) -> str:
        return ".".join([first, *path.relative_to(self.folder).with_suffix("").parts])


@cache
def _installed() -> dict[str, str]:
    from importlib.metadata import entry_points  # 40 ms, and only third-party packages need it

    return {entry.name: entry.value for entry in entry_points(group=GROUP)} | _OWN


def package_names() -> list[str]:
    """The names of all installed operator packages."""
    return sorted(_installed())


def find_package(name: str) -> Package | None:
    """The operator package with that name, or None if none is installed."""
    target = _OWN.get(name) or _installed().get(name)
    if target is None:
        return None
    parts = target.split(".")
    search: list[str] | None = None
    for i in range(len(parts)):
        spec = PathFinder.find_spec(".".join(parts[: i + 1]), search)
        search = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Package(name=name, python=target, folder=Path(search[0])) if search else None


def package_modules(name: str) -> list[str]:
    """The modules of an operator package, as they are written after `use`."""
    package = find_package(name)
    return sorted(map(package.module_name, package.folder.rglob("*.flow"))) if package is not None else []
