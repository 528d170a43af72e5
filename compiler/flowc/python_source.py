"""Signatures of Python functions, read from the source with `ast`; nothing is ever imported.

A target "etl.extract:main" is looked for under the project's Python roots, as `import` would with them first on
`sys.path`, and then among the installed packages. A module is read once. What its top level defines (inside `if`, `try`
and `with` too) is known: functions with their parameters, the classes that are records (dataclass, `TypedDict`,
`NamedTuple`, pydantic, msgspec), and type aliases. A name that comes from a sibling module is followed there; any other
import is believed to exist, with an unknown signature. A module without source (an extension) is believed wholly.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import TypeVar

import msgspec

from .python_decorators import literal, marked, of_class
from .python_types import Annotations
from .types import Type

__all__ = ["PythonFile", "PythonFiles", "PythonFunction", "PythonParam"]

T = TypeVar("T")


class PythonParam(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter of a Python function, read with `ast`."""

    name: str
    #: None where there is no annotation, or one that has no `.flow` type
    type: Type | None
    has_default: bool = False
    #: the default, if it is a literal
    default: object = None


class PythonFunction(msgspec.Struct, frozen=True, kw_only=True):
    """A Python function as the compiler knows it. A parameter annotated `Context` is left out."""

    #: what the runtime imports: "etl.extract:main", or "path/to/file.py:main" relative to the project's root
    target: str
    name: str
    params: tuple[PythonParam, ...]
    #: `-> None` is NULL; None where there is no annotation, or one that has no `.flow` type
    returns: Type | None
    #: the annotation of the result as it is written; "" where there is none
    returns_text: str = ""
    #: True with *args or **kwargs, or where the signature is not known: more arguments than `params` are accepted
    open_ended: bool = False
    #: the literals in `@task(...)`
    settings: dict[str, object] = {}
    #: names in `@task(...)` whose values are no literals
    unread: tuple[str, ...] = ()
    is_async: bool = False
    doc: str | None = None
    #: file and line, for labels
    file: str = ""
    line: int = 0


class PythonFile:
    """What the top level of one Python file defines. Annotations and imports are looked at when they are asked for."""

    def __init__(
        self,
        files: PythonFiles,
        file: str,
        *,
        path: Path | None = None,
        module: str = "",
        is_opaque: bool = False,
        error: tuple[int, str] | None = None,
    ) -> None:
        #: as shown to the user
        self.file = file
        #: names can come from anywhere: a star import, a module without source
        self.is_opaque = is_opaque
        #: line and message, if the text is no valid Python
        self.error = error
        self._files = files
        self._path = path
        #: what the targets of its functions start with
        self.module = module
        self._functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
        self._imports: dict[str, tuple[int, str | None, str]] = {}
        self._others: dict[str, None] = {}
        self._following: set[str] = set()
        #: by the name that was asked for
        self._known: dict[str, PythonFunction | None] = {}
        self._annotations = Annotations(self._imported_type)

    @property
    def names(self) -> list[str]:
        """What can be imported from here, functions first."""
        return list(dict.fromkeys([*self._functions, *self._annotations.classes, *self._others, *self._imports]))

    def function(self, name: str) -> PythonFunction | None:
        """A function; None if the name is not defined. Where the source does not say (an import from elsewhere, a
        variable, a method), the signature is open."""
        if name in self._known:
            return self._known[name]
        found = self._find(name)
        if not self._following:  # in a circle of imports it is not the whole answer
            self._known[name] = found
        return found

    def _find(self, name: str) -> PythonFunction | None:
        if name in self._functions:
            return self._signature(self._functions[name])
        if name in self._annotations.classes and (run := of_class(self._annotations.classes[name])) is not None:
            found = self._signature(run, is_method=True)
            return msgspec.structs.replace(found, target=f"{self.module}:{name}", name=name)
        imported = self._follow(name, PythonFile.function)
        if imported is not None:
            return msgspec.structs.replace(imported, target=f"{self.module}:{name}", name=name)
        if self.is_opaque or self.error is not None or name.partition(".")[0] in self.names:
            target = f"{self.module}:{name}"
            return PythonFunction(
                target=target, name=name, params=(), returns=None, open_ended=True, file=self.file, line=1
            )
        return None

    def type(self, name: str) -> Type | None:
        """The type that a class or an alias has, or None."""
        return self._annotations.named(name)

    def collect(self, body: list[ast.stmt]) -> None:
        """Notes what the statements bind."""
        for node in body:
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    self._functions[node.name] = node
                case ast.ClassDef():
                    self._annotations.classes[node.name] = node
                case ast.ImportFrom():
                    self._collect_import(node)
                case ast.Import(names=names):
                    self._others |= {(alias.asname or alias.name).partition(".")[0]: None for alias in names}
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        self._collect_assignment(target, value)
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    self._collect_assignment(target, value)
                case ast.If(body=inner, orelse=rest):
                    self.collect([*inner, *rest])
                case ast.Try() | ast.TryStar():
                    handled = [stmt for handler in node.handlers for stmt in handler.body]
                    self.collect([*node.body, *handled, *node.orelse, *node.finalbody])
                case ast.With(body=inner):
                    self.collect(inner)
                case _ if type(node).__name__ == "TypeAlias":  # `type X = …`, of Python 3.12
                    self._collect_assignment(*(getattr(node, part) for part in ("name", "value")))

    def _collect_assignment(self, target: ast.expr, value: ast.expr) -> None:
        for part in target.elts if isinstance(target, ast.Tuple) else [target]:
            if isinstance(part, ast.Name):
                self._others[part.id] = None
                self._annotations.aliases[part.id] = value

    def _collect_import(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*":
                self.is_opaque = True
            else:
                self._imports[alias.asname or alias.name] = (node.level, node.module, alias.name)

    def _follow(self, name: str, get: Callable[[PythonFile, str], T]) -> T | None:
        """What an imported name is where it comes from, if that is a file near by or under the roots."""
        if name not in self._imports or name in self._following or self._path is None:
            return None
        level, module, original = self._imports[name]
        self._following.add(name)  # modules can import each other
        try:
            source = self._files.sibling(self._path, level, module)
            if source is None or source.error is not None:
                return None
            return get(source, original)
        finally:
            self._following.discard(name)

    def _imported_type(self, name: str) -> Type | None:
        return self._follow(name, PythonFile.type)

    def _signature(self, node: ast.FunctionDef | ast.AsyncFunctionDef, *, is_method: bool = False) -> PythonFunction:
        said = marked(node.decorator_list, {name: module for name, (_, module, _) in self._imports.items()})
        params = self._params(node.args)
        return PythonFunction(
            target=f"{self.module}:{node.name}",
            name=node.name,
            params=tuple(params[1:] if said.is_bound or is_method else params),
            returns=self._annotations.type_of(node.returns),
            returns_text="" if node.returns is None else ast.unparse(node.returns),
            open_ended=node.args.vararg is not None or node.args.kwarg is not None,
            settings=said.settings,
            unread=said.unread,
            is_async=isinstance(node, ast.AsyncFunctionDef),
            doc=ast.get_docstring(node),
            file=self.file,
            line=node.lineno,
        )

    def _params(self, args: ast.arguments) -> list[PythonParam]:
        positional = [*args.posonlyargs, *args.args]
        missing: list[ast.expr | None] = [None] * (len(positional) - len(args.defaults))
        pairs = [*zip(positional, [*missing, *args.defaults], strict=True)]
        pairs += zip(args.kwonlyargs, args.kw_defaults, strict=True)
        return [
            PythonParam(
                name=arg.arg,
                type=self._annotations.type_of(arg.annotation),
                has_default=default is not None,
                default=None if default is None else literal(default, None),
            )
            for arg, default in pairs
            if not _is_context(arg.annotation)
        ]


class PythonFiles:
    """Reads Python files, each once.

    `read` gives a file's bytes, or None where there is no such file; `show` a path as the user sees it.
    """

    def __init__(
        self, read: Callable[[Path], bytes | None], roots: tuple[Path, ...], show: Callable[[Path], str] = str
    ) -> None:
        self._read = read
        self._roots = roots
        self._show = show
        self._files: dict[tuple[Path, str], PythonFile | None] = {}
        self._modules: dict[str, PythonFile | None] = {}

    def at(self, path: Path, module: str | None = None, *, is_installed: bool = False) -> PythonFile | None:
        """The file at a path, or None if it is not there. `module` is what the targets of its functions start with:
        by default the path as shown. A file that `is_installed` is shown as its package has it."""
        shown = module.replace(".", "/") + ".py" if is_installed and module else self._show(path)
        key = (path, module or shown)
        if key not in self._files:
            data = self._read(path)
            self._files[key] = None if data is None else self._parse(data, path, shown, module or shown)
        return self._files[key]

    def module(self, name: str) -> PythonFile | None:
        """The module with a dotted name, or None if there is none."""
        if name not in self._modules:
            self._modules[name] = self._look_for(name)
        return self._modules[name]

    def _look_for(self, name: str) -> PythonFile | None:
        parts = name.split(".")
        if not all(part.isidentifier() for part in parts):
            return None
        for root in self._roots:
            for path in _candidates(root.joinpath(*parts)):
                found = self.at(path, name)
                if found is not None:
                    return found
        return self._installed(name, parts)

    def function(self, target: str) -> PythonFunction | None:
        """The function that a target "package.module:name" stands for, or None if the module or the name is missing."""
        module, _, name = target.partition(":")
        file = self.module(module)
        return None if file is None or not name else file.function(name)

    def sibling(self, path: Path, level: int, module: str | None) -> PythonFile | None:
        """What `from ..module import x` in the file at `path` reads, if it is a file near by or under the roots."""
        parts = module.split(".") if module else []
        if level > len(path.parents):
            return None
        for folder in [path.parents[level - 1]] if level else [*self._roots, path.parent]:
            for candidate in _candidates(folder.joinpath(*parts)):
                found = self.at(candidate)
                if found is not None:
                    return found
        return None

    def _installed(self, name: str, parts: list[str]) -> PythonFile | None:
        """A module of an installed package; the parents' code is not run, as importlib.util.find_spec would."""
        if name in sys.builtin_module_names:
            return PythonFile(self, name, module=name, is_opaque=True)
        spec: ModuleSpec | None = None
        search: list[str] | None = None
        for i in range(len(parts)):
            spec = PathFinder.find_spec(".".join(parts[: i + 1]), search)
            if spec is None:
                return None
            search = list(spec.submodule_search_locations or ())
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            return PythonFile(self, name, module=name, is_opaque=True)
        return self.at(Path(spec.origin), name, is_installed=True)

    def _parse(self, data: bytes, path: Path, shown: str, module: str) -> PythonFile:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the author's warnings are no findings of ours
                tree = ast.parse(data)
        except SyntaxError as error:
            return PythonFile(self, shown, module=module, error=(error.lineno or 1, error.msg))
        except (ValueError, RecursionError, MemoryError) as error:
            return PythonFile(self, shown, module=module, error=(1, str(error) or "it is nested too deeply"))
        file = PythonFile(self, shown, path=path, module=module)
        file.collect(tree.body)
        return file


def _candidates(base: Path) -> tuple[Path, ...]:
    """The files that a module's path can be."""
    return (base.with_name(base.name + ".py"), base / "__init__.py") if base.name else (base / "__init__.py",)


def _is_context(annotation: ast.expr | None) -> bool:
    """`Context`, `operator.Context`, `Context | None`, "Context"."""
    for node in ast.walk(annotation) if annotation is not None else ():
        match node:
            case ast.Name(id="Context") | ast.Attribute(attr="Context"):
                return True
            case ast.Constant(value=str(text)) if text.rpartition(".")[2] == "Context":
                return True
    return False
