"""What the target of a `use` names: a `.flow` file, the interface of an operator package, or a Python file."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from . import syntax
from .catalog import Findings
from .packages import Package, find_package, package_modules, package_names
from .project import Loader
from .python_source import PythonFile, PythonFiles
from .source import Span
from .suggest import did_you_mean, nearest

__all__ = ["Locator", "Place"]

_SUFFIXES = (".flow", ".py")
#: how many names a help lists
_MOST_LISTED = 8


class Place(msgspec.Struct, frozen=True):
    """A `.flow` file, and what it is called."""

    path: Path
    #: relative to the project's root, or "std.http" in an operator package
    shown: str
    package: Package | None = None


class Locator:
    """Finds the targets of `use`, and reports those that are not there."""

    def __init__(self, loader: Loader, findings: Findings, python: PythonFiles) -> None:
        self._loader = loader
        self._findings = findings
        self._python = python

    def locate(self, use: syntax.Use, user: Place) -> Place | PythonFile | None:
        """What a `use` in the file `user` names, or None after a finding."""
        span = Span(user.shown, use.target.start, use.target.end)
        if isinstance(use.target, syntax.Path):
            return self._module(use.target.text, span)
        return self._file(str(use.target.value), user, span)

    def _module(self, name: str, span: Span) -> Place | None:
        first, _, rest = name.partition(".")
        package = find_package(first)
        if package is None:
            hint = did_you_mean(first, package_names(), f"install the package that provides `{first}`")
            self._report(span, "operator package", first, hint)
            return None
        path = package.folder.joinpath(*rest.split(".")).with_suffix(".flow") if rest else package.folder
        if not rest or not self._loader.exists(path):
            known = package_modules(first)
            listed = ", ".join(f"`{module}`" for module in known)
            hint = did_you_mean(name, known, f"the package has {listed}" if known else "")
            self._report(span, "module", name, hint)
            return None
        return Place(path, name, package)

    def _file(self, written: str, user: Place, span: Span) -> Place | PythonFile | None:
        path = Path(os.path.normpath(user.path.parent / written))
        if path.suffix not in _SUFFIXES or not self._loader.exists(path):
            self._report(span, "file", written, self._hint(written, path))
            return None
        if path.suffix == ".py":
            return self._python_file(path, user, span)
        package = user.package
        if package is not None and path.is_relative_to(package.folder):
            return Place(path, package.module_name(path), package)
        return Place(path, self._loader.project.show(path))

    def _python_file(self, path: Path, user: Place, span: Span) -> PythonFile | None:
        package = user.package
        if package is not None and path.is_relative_to(package.folder):
            file = self._python.at(path, package.python_name(path), is_installed=True)
        else:
            file = self._python.at(path)
        if file is None:
            self._report(span, "readable file", self._loader.project.show(path), "check the file's permissions")
        elif file.error is not None:
            line, problem = file.error
            self._findings.add("python-syntax", span, path=file.file, line=line, problem=problem)
        return file

    def _hint(self, written: str, path: Path) -> str:
        neighbours = self._loader.neighbours(path.parent)
        for suffix in _SUFFIXES:
            if path.name + suffix in neighbours:
                return f"did you mean `{written}{suffix}`?"
        if not neighbours and not self._loader.exists(path.parent):
            return f"there is no folder `{self._loader.project.show(path.parent)}`; paths are relative to this file"
        near = nearest(path.name, neighbours)
        if near is not None:
            return f"did you mean `{written.removesuffix(path.name)}{near}`?"
        if path.suffix not in _SUFFIXES:
            return "`use` takes `.flow` and `.py` files, and modules as `std.http`"
        listed = ", ".join(f"`{name}`" for name in neighbours[:_MOST_LISTED])
        return f"paths are relative to this file; that folder has {listed or 'no such files'}"

    def _report(self, span: Span, what: str, path: str, hint: str) -> None:
        self._findings.add("unknown-module", span, help=hint, what=what, path=path)
