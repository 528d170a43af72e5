"""From Python annotations to types of the language, structurally and without importing anything.

An annotation is judged by the last part of its name (`typing.Optional`, `t.Optional` and `Optional` are one). What has
no counterpart (a union of several types, an unknown class, a type variable) gives None: the compiler then checks
nothing there. Inside a container or a record such a part is `json`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from . import types
from .types import ListOf, Literals, MapOf, Optional, Record, Type

__all__ = ["Annotations"]

_NAMED: dict[str, Type] = {
    "int": types.INT,
    "float": types.FLOAT,
    "str": types.STRING,
    "bool": types.BOOL,
    "bytes": types.BYTES,
    "Decimal": types.DECIMAL,
    "date": types.DATE,
    "datetime": types.DATETIME,
    "timedelta": types.DURATION,
    "Path": types.FILE,
    "Any": types.ANY,
    "object": types.ANY,
    "None": types.NULL,
    "list": ListOf(types.JSON),
    "List": ListOf(types.JSON),
    "dict": MapOf(types.JSON),
    "Dict": MapOf(types.JSON),
}
_LISTS = frozenset({"list", "List", "Sequence", "MutableSequence", "Iterable", "Collection", "set", "frozenset", "Set"})
_MAPS = frozenset({"dict", "Dict", "Mapping", "MutableMapping"})
_WRAPPERS = frozenset({"Annotated", "Required", "ReadOnly", "Final"})
_RECORD_BASES = frozenset({"BaseModel", "Struct", "TypedDict", "NamedTuple"})
_RECORD_DECORATORS = frozenset({"dataclass", "define", "frozen", "mutable"})


class Annotations:
    """The type names of one module, and what annotations over them mean.

    `imported` gives the type of a name that the module imports, or None.
    """

    def __init__(self, imported: Callable[[str], Type | None]) -> None:
        #: classes of the module
        self.classes: dict[str, ast.ClassDef] = {}
        #: module-level assignments, which may be type aliases
        self.aliases: dict[str, ast.expr] = {}
        self._imported = imported
        self._open: set[str] = set()

    def named(self, name: str) -> Type | None:
        """The type of a record class, of an alias, or of an imported name; None if it is none."""
        if isinstance(self.aliases.get(name), ast.Constant):
            return None  # a variable, not an alias: `LIMIT = None`
        return None if name in _NAMED else self._name(name)

    def type_of(self, node: ast.expr | None) -> Type | None:
        """The type that an annotation means, or None."""
        try:
            return self._type_of(node)
        except RecursionError:
            return None

    def _type_of(self, node: ast.expr | None) -> Type | None:
        match node:
            case ast.Constant(value=None):
                return types.NULL
            case ast.Constant(value=str(text)):
                return self._quoted(text)
            case ast.Name(id=name):
                return self._name(name)
            case ast.Attribute(attr=name):
                return _NAMED.get(name)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return self._union([left, right])
            case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name), slice=inner):
                return self._generic(name, inner.elts if isinstance(inner, ast.Tuple) else [inner])
        return None

    def _quoted(self, text: str) -> Type | None:
        try:
            return self._type_of(ast.parse(text, mode="eval").body)
        except (SyntaxError, ValueError, RecursionError):
            return None

    def _name(self, name: str) -> Type | None:
        if name in self._open:
            return None  # a type that contains itself has no structure of finite size
        self._open.add(name)
        try:
            if name in self.classes:
                return self._class(self.classes[name])
            if name in self.aliases:
                return self._type_of(self.aliases[name])
        finally:
            self._open.discard(name)
        return self._imported(name) or _NAMED.get(name)

    def _generic(self, name: str, args: list[ast.expr]) -> Type | None:
        if name in _LISTS or (name in ("tuple", "Tuple") and _is_homogeneous(args)):
            return ListOf(self._type_of(args[0]) or types.JSON)
        if name in ("tuple", "Tuple"):
            kinds = {self._type_of(arg) for arg in args}
            return ListOf((kinds.pop() if len(kinds) == 1 else None) or types.JSON)
        if name in _MAPS and len(args) == 2:
            return MapOf(self._type_of(args[1]) or types.JSON) if self._type_of(args[0]) == types.STRING else None
        if name in ("Optional", "NotRequired"):
            return _optional(self._type_of(args[0]))
        if name == "Union":
            return self._union(args)
        if name == "Literal":
            return _literals(args)
        return self._type_of(args[0]) if name in _WRAPPERS else None

    def _union(self, parts: list[ast.expr]) -> Type | None:
        kinds = [self._type_of(part) for part in parts]
        others = [kind for kind in kinds if kind != types.NULL]
        merged = _merge(others)
        return _optional(merged) if len(others) < len(kinds) else merged

    def _class(self, node: ast.ClassDef) -> Type | None:
        fields = self._fields(node, set())
        return None if fields is None else Record(tuple(fields.items()))

    def _fields(self, node: ast.ClassDef, seen: set[str]) -> dict[str, Type] | None:
        """The fields of a record class, those of its bases first; None if it is not a record."""
        bases = [_last_name(base) for base in node.bases]
        is_record = not _RECORD_BASES.isdisjoint(bases) or any(
            _last_name(decorator) in _RECORD_DECORATORS for decorator in node.decorator_list
        )
        fields: dict[str, Type] = {}
        for base in bases:
            inherited = self._inherited(base, seen | {node.name})
            is_record = is_record or inherited is not None
            fields.update(inherited or {})
        if not is_record:
            return None
        may_be_absent = any(
            keyword.arg == "total" and isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            for keyword in node.keywords
        )
        for name, annotation in _annotated(node):
            kind = self._type_of(annotation) or types.JSON
            fields[name] = (_optional(kind) or types.JSON) if may_be_absent else kind
        return fields

    def _inherited(self, base: str, seen: set[str]) -> dict[str, Type] | None:
        if base in self.classes:
            return self._fields(self.classes[base], seen) if base not in seen else None
        known = self._imported(base)
        return dict(known.fields) if isinstance(known, Record) else None


def _annotated(node: ast.ClassDef) -> list[tuple[str, ast.expr]]:
    """The public annotated names of a class body, without class variables."""
    return [
        (statement.target.id, statement.annotation)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and not statement.target.id.startswith("_")
        and _last_name(statement.annotation) != "ClassVar"
    ]


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            return _last_name(inner)
    return ""


def _is_homogeneous(args: list[ast.expr]) -> bool:
    """tuple[X, ...]."""
    return len(args) == 2 and isinstance(args[1], ast.Constant) and args[1].value is ...


def _optional(kind: Type | None) -> Type | None:
    if kind is None or kind == types.ANY or isinstance(kind, Optional):
        return kind
    return Optional(kind)


def _merge(kinds: list[Type | None]) -> Type | None:
    """The one type of a union's members, if they have one."""
    flat = [kind.inner if isinstance(kind, Optional) else kind for kind in kinds]
    if not flat or any(kind is None for kind in flat):
        return None
    if all(isinstance(kind, Literals) for kind in flat):
        values = [value for kind in flat if isinstance(kind, Literals) for value in kind.values]
        merged: Type | None = Literals(tuple(dict.fromkeys(values)))
    elif set(flat) == {types.INT, types.FLOAT}:
        merged = types.FLOAT
    else:
        merged = flat[0] if len(set(flat)) == 1 else None
    return _optional(merged) if any(isinstance(kind, Optional) for kind in kinds) else merged


def _literals(args: list[ast.expr]) -> Type | None:
    values = [arg.value for arg in args if isinstance(arg, ast.Constant)]
    texts = tuple(value for value in values if isinstance(value, str))
    if len(texts) == len(args):
        return Literals(texts)
    if len(values) == len(args) and all(type(value) is int for value in values):
        return types.INT
    optional: list[ast.expr] = [arg for arg in args if isinstance(arg, ast.Constant) and arg.value is not None]
    return _optional(_literals(optional)) if 0 < len(optional) < len(args) else None
