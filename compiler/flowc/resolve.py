"""Modules, imports and names: which declaration a name of a file stands for.

`resolve` loads the given files and everything that their `use` reaches, each file once; two files may use each other.
Then every module gets its names, in written order: what it declares, and what it imports. An import stands for a
symbol of the module that declares it, so a symbol is one object in the whole program; what a file imports is not
handed on. Three kinds of text can be used: another `.flow` file, relative to the file that says so; the interface of an
operator package (`std.http`); and a Python file, whose functions become tasks and whose record classes become types.

Names whose declaration or import is broken have been reported; they stand in `Module.broken`, so that nobody reports
their uses again. Names inside flows (parameters, bindings) belong to the checker.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from . import syntax
from .builtins import FUNCTIONS
from .catalog import Findings
from .diagnostic import Label
from .locate import Locator, Place
from .parse import parse
from .project import Loader
from .python_source import PythonFile, PythonFiles, PythonFunction, PythonParam
from .source import Source, Span
from .suggest import did_you_mean
from .types import PRIMITIVES, Type
from .walk import walk

__all__ = ["Module", "PythonFunction", "PythonParam", "Symbol", "SymbolKind", "resolve"]

SymbolKind = Literal["task", "flow", "composite", "type", "let", "var", "pool", "queue", "limit", "connection", "sla",
                     "signal"]  # fmt: skip

_KINDS: dict[type, SymbolKind] = {
    syntax.TaskDecl: "task",
    syntax.FlowDecl: "flow",
    syntax.Composite: "composite",
    syntax.TypeDecl: "type",
    syntax.Let: "let",
    syntax.Var: "var",
}
_RESOURCES: dict[str, SymbolKind] = {
    "pool": "pool", "queue": "queue", "limit": "limit", "connection": "connection", "sla": "sla",
    "signal": "signal",
}  # fmt: skip
_CORE_TYPES = frozenset({*PRIMITIVES, "list", "map", "secret", "Failure"})
#: how many names a help lists
_MOST_LISTED = 12
_WORD = re.compile(r"[^\W\d]\w*")


class Symbol(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A declaration that a name stands for. Compared by identity."""

    kind: SymbolKind
    name: str
    #: unique in the program: "file.flow:name", "std.http:get", "tasks.py:extract"
    key: str
    #: the module that declares it; for a name of a Python file, the one that first imports it
    module: Module
    #: its declaration; None for a name of a Python file
    node: syntax.Declaration | None
    #: for `use "tasks.py" { f }`
    python: PythonFunction | None = None
    #: for `use "tasks.py" { Report }`, a class
    type: Type | None = None


class Module(msgspec.Struct, kw_only=True, eq=False, dict=True):
    """A parsed file with the names that it can use."""

    #: path relative to the project's root, or "std.http" for a package's interface
    path: str
    source: Source
    file: syntax.File
    #: declared and imported names
    names: dict[str, Symbol] = {}
    #: names whose declaration or import has been reported: their uses are not
    broken: set[str] = set()
    #: looks up the targets of `python("module:function")`
    python: PythonFiles
    #: belongs to an installed operator package
    is_installed: bool = False


def resolve(files: Iterable[Path], loader: Loader, findings: Findings) -> list[Module]:
    """The modules of the given files, in their order, then those that they use. Files that cannot be read are left
    out; what is wrong becomes findings."""
    places = [Place(path.absolute(), loader.project.show(path.absolute())) for path in files]
    loaded = _load_all(places, loader, findings)
    python_symbols: dict[str, Symbol] = {}
    for one in loaded.values():
        _Namer(one, loaded, python_symbols, findings).run()
    return [one.module for one in loaded.values()]


# ---- loading --------------------------------------------------------------------------------------------------------


class _Loaded(msgspec.Struct, kw_only=True, eq=False):
    """A module on its way to its names."""

    module: Module
    #: what it declares; of two with one name, the first
    own: dict[str, Symbol]
    #: where its `use` declarations lead, in written order
    targets: list[Place | PythonFile | None]


def _load_all(places: list[Place], loader: Loader, findings: Findings) -> dict[Path, _Loaded]:
    """Loads the files and, breadth first, what they use."""
    python = PythonFiles(loader.read, loader.project.python_roots, loader.project.show)
    locator = Locator(loader, findings, python)
    waiting = list(places)
    entered = {place.path for place in places}
    loaded: dict[Path, _Loaded] = {}
    for place in waiting:  # grows on the way
        source = loader.load(place.path, place.shown) if place.path not in loaded else None
        if source is None:
            continue
        file = parse(source, findings)
        is_installed = place.package is not None
        module = Module(path=place.shown, source=source, file=file, python=python, is_installed=is_installed)
        targets = [locator.locate(node, place) for node in file.declarations if isinstance(node, syntax.Use)]
        loaded[place.path] = _Loaded(module=module, own=_declare(module, findings), targets=targets)
        for target in targets:
            if isinstance(target, Place) and target.path not in entered:
                entered.add(target.path)
                waiting.append(target)
    return loaded


def _declare(module: Module, findings: Findings) -> dict[str, Symbol]:
    """The symbols of what a module declares."""
    own: dict[str, Symbol] = {}
    for node in module.file.declarations:
        if isinstance(node, syntax.ErrorNode) and node.name:
            module.broken.add(node.name)
        name = _declared_name(node)
        if name is None or name.text in own:
            continue
        kind = _RESOURCES.get(node.kind.text) if isinstance(node, syntax.Resource) else _KINDS.get(type(node))
        if kind is not None:
            key = f"{module.path}:{name.text}"
            own[name.text] = Symbol(kind=kind, name=name.text, key=key, module=module, node=node)
        elif isinstance(node, syntax.Resource):
            hint = did_you_mean(node.kind.text, _RESOURCES, "the kinds are " + ", ".join(_RESOURCES))
            span = Span(module.path, node.kind.start, node.kind.end)
            findings.add("unknown-name", span, kind="kind of resource", name=node.kind.text, hint=hint)
            module.broken.add(name.text)
    return own


def _declared_name(node: syntax.Declaration) -> syntax.Ident | None:
    match node:
        case syntax.TaskDecl(signature=signature) | syntax.FlowDecl(signature=signature):
            return signature.name
        case syntax.Composite(signature=signature):
            return signature.name
        case syntax.TypeDecl() | syntax.Let() | syntax.Var() | syntax.Resource():
            return node.name
    return None


# ---- names ----------------------------------------------------------------------------------------------------------


class _Namer:
    """Gives one module its names. `files` holds all that was loaded, `python_symbols` the symbols made so far for names
    of Python files, by key."""

    def __init__(
        self, loaded: _Loaded, files: dict[Path, _Loaded], python_symbols: dict[str, Symbol], findings: Findings
    ) -> None:
        self._module = loaded.module
        self._declared = loaded.own
        self._files = files
        self._targets = iter(loaded.targets)
        self._python_symbols = python_symbols
        self._findings = findings
        #: where a name was bound first, and how
        self._first: dict[str, tuple[syntax.Ident, str]] = {}
        self._imports: list[syntax.Ident] = []

    def run(self) -> None:
        """Fills the module's names, in written order, and reports imports that nothing uses."""
        for node in self._module.file.declarations:
            if isinstance(node, syntax.Use):
                target = next(self._targets)
                for name in node.names:
                    self._import(name, target)
                continue
            declared = _declared_name(node)
            if declared is not None and self._is_free(declared, "declared"):
                symbol = self._declared.get(declared.text)
                if symbol is not None:
                    self._bind(declared, symbol)
        self._report_unused()

    def _import(self, name: syntax.Ident, target: Place | PythonFile | None) -> None:
        if not self._is_free(name, "imported"):
            return
        symbol = None
        if isinstance(target, PythonFile):
            symbol = self._python_symbol(name, target)
        elif target is not None:
            symbol = self._declared_in(target, name)
        if symbol is None:
            self._module.broken.add(name.text)
        else:
            self._imports.append(name)
            self._bind(name, symbol)

    def _declared_in(self, target: Place, name: syntax.Ident) -> Symbol | None:
        file = self._files.get(target.path)
        if file is None:
            return None  # it could not be read
        own = file.own
        if name.text not in own and name.text not in file.module.broken:
            elsewhere = self._imported_by(file, name.text)
            if elsewhere is None:
                hint = did_you_mean(name.text, own, _known(own, target.shown))
            else:
                hint = f"import it from `{elsewhere}`, which declares it"
            self._report("unknown-import", name, help=hint, module=target.shown, name=name.text)
        return own.get(name.text)

    def _imported_by(self, file: _Loaded, name: str) -> str | None:
        """Where a file imports a name from, if it does."""
        uses = [node for node in file.module.file.declarations if isinstance(node, syntax.Use)]
        for use, target in zip(uses, file.targets, strict=True):
            if target is not None and any(ident.text == name for ident in use.names):
                return target.shown if isinstance(target, Place) else target.file
        return None

    def _python_symbol(self, name: syntax.Ident, file: PythonFile) -> Symbol | None:
        key = f"{file.module}:{name.text}"
        known = self._python_symbols.get(key)
        if known is not None or file.error is not None:
            return known
        kind = file.type(name.text)
        function = file.function(name.text) if kind is None else None
        if kind is None and function is None:
            hint = did_you_mean(name.text, file.names, _known(file.names, file.file))
            self._report("unknown-import", name, help=hint, module=file.file, name=name.text)
            return None
        if function is not None:
            self._report_unread(name, function)
        symbol = Symbol(
            kind="task" if kind is None else "type",
            name=name.text,
            key=key,
            module=self._module,
            node=None,
            python=function,
            type=kind,
        )
        return self._python_symbols.setdefault(key, symbol)

    def _report_unread(self, name: syntax.Ident, function: PythonFunction) -> None:
        path, line = function.file, function.line
        for setting in function.unread:
            self._report("python-setting-not-literal", name, setting=setting, name=name.text, path=path, line=line)

    def _is_free(self, name: syntax.Ident, how: str) -> bool:
        """Whether a name can be bound here; if not, says why."""
        first, how = self._first.setdefault(name.text, (name, how))
        if first is name:
            return True
        what = f"{how} on line {self._module.source.position(first.start).line}"
        labels = (Label(span=self._span(first), text="first here"),)
        self._report("duplicate-name", name, labels=labels, name=name.text, what=what)
        return False

    def _bind(self, name: syntax.Ident, symbol: Symbol) -> None:
        self._module.names[name.text] = symbol
        if symbol.kind == "type":
            what = "a type" if name.text in _CORE_TYPES else None
        else:
            what = "a function" if name.text in FUNCTIONS else "a value" if name.text == "run" else None
        if what is not None:
            self._report("shadows-builtin", name, name=name.text, what=what)

    def _report_unused(self) -> None:
        if not self._imports:
            return
        used = _used_names(self._module, {name.text for name in self._imports})
        for name in self._imports:
            if name.text not in used:
                self._report("unused-import", name, name=name.text)

    def _span(self, name: syntax.Ident) -> Span:
        return Span(self._module.path, name.start, name.end)

    def _report(
        self,
        entry: str,
        name: syntax.Ident,
        /,
        *,
        help: str | None = None,
        labels: tuple[Label, ...] = (),
        **fields: object,
    ) -> None:
        self._findings.add(entry, self._span(name), help=help, labels=labels, **fields)


def _known(names: Iterable[str], module: str) -> str:
    """The help where no name is near."""
    listed = list(names)[:_MOST_LISTED]
    return f"`{module}` declares " + (", ".join(f"`{name}`" for name in listed) or "nothing")


def _used_names(module: Module, wanted: set[str]) -> set[str]:
    """Which of the names the declarations of a file mention, wherever it stands; broken text may mention them too."""
    missing = set(wanted)
    for node in walk(node for node in module.file.declarations if not isinstance(node, syntax.Use)):
        if isinstance(node, syntax.Name):
            missing.discard(node.id)
        elif isinstance(node, syntax.Path):
            missing.discard(node.parts[0].text)
        elif isinstance(node, syntax.ErrorNode):
            missing.difference_update(_WORD.findall(module.source.text, node.start, node.end))
        if not missing:
            break
    return wanted - missing
