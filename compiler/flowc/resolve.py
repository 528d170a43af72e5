"""Modules, imports and names: which declaration a name of a file stands for."""

from __future__ import annotations

from typing import Literal

import msgspec

from . import syntax
from .source import Source
from .types import Type

__all__ = ["Module", "PythonFunction", "PythonParam", "Symbol", "SymbolKind"]

SymbolKind = Literal["task", "flow", "composite", "type", "let", "var", "pool", "queue", "limit", "connection", "sla"]


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
    returns: Type | None
    #: True with *args or **kwargs: more arguments than `params` are accepted
    open_ended: bool = False
    #: the literals in `@task(...)`
    settings: dict[str, object] = {}
    is_async: bool = False
    doc: str | None = None
    #: file and line, for labels
    file: str = ""
    line: int = 0


class Symbol(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A declaration that a name stands for. Compared by identity."""

    kind: SymbolKind
    name: str
    #: unique in the program: "file.flow:name", "std.http:get"
    key: str
    #: the module that declares it
    module: Module
    #: its declaration; None for a function of a Python file
    node: syntax.Declaration | None
    #: for `use "tasks.py" { f }`
    python: PythonFunction | None = None


class Module(msgspec.Struct, kw_only=True, eq=False, dict=True):
    """A parsed file with the names that it can use."""

    #: path relative to the project's root, or "std.http" for a package's interface
    path: str
    source: Source
    file: syntax.File
    #: declared and imported names
    names: dict[str, Symbol] = {}
