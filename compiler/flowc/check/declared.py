"""Type expressions to types: `type_of`, and the declared types of a program.

A `type T = …` is an alias for a structure, so it cannot hold itself: that is reported as a `cycle`.
"""

from __future__ import annotations

from collections.abc import Callable

from flowc import syntax
from flowc.resolve import Module, Symbol
from flowc.suggest import did_you_mean
from flowc.types import ERROR, FAILURE, PRIMITIVES, ListOf, Literals, MapOf, Record, Secret, Type, Union

from .context import Context, Shared
from .names import report_unknown
from .types import join, optional

__all__ = ["Types"]

_GENERIC: dict[str, Callable[[Type], Type]] = {"list": ListOf, "map": MapOf, "secret": Secret}


class Types:
    """Reads type expressions; a declared type is read once."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._known: dict[Symbol, Type] = {}
        self._open: list[Symbol] = []

    def of(self, module: Module, node: syntax.TypeExpr) -> Type:
        """The type that is written; ERROR after a finding."""
        match node:
            case syntax.NamedType():
                return self._named(module, node)
            case syntax.OptionalType(inner=inner):
                return optional(self.of(module, inner))
            case syntax.LiteralType(value=value):
                return Literals((value,))
            case syntax.UnionType(members=members):
                return self._union(module, node, members)
        return self._record(module, node)

    def declared(self, symbol: Symbol) -> Type:
        """The type that a `type` declaration names."""
        if symbol in self._known:
            return self._known[symbol]
        node = symbol.node
        if not isinstance(node, syntax.TypeDecl):
            return ERROR
        if symbol in self._open:
            place = Context(self._shared, symbol.module)
            place.report("cycle", node.name, what=f"the type `{symbol.name}`", path=self._way(symbol))
            return ERROR
        self._open.append(symbol)
        found = self.of(symbol.module, node.type)
        self._open.pop()
        return self._known.setdefault(symbol, found)

    def _way(self, symbol: Symbol) -> str:
        names = [known.name for known in self._open[self._open.index(symbol) :]]
        return " → ".join(f"`{name}`" for name in (*names, symbol.name))

    def _named(self, module: Module, node: syntax.NamedType) -> Type:
        name = node.path.text
        if name in _GENERIC:
            return self._generic(module, node, name)
        place = Context(self._shared, module)
        if name in ("Optional", "optional", "Option"):
            place.report("bad-type", node, problem=f"there is no `{name}`", hint="write `T?`, as in `int?`")
            return ERROR
        if node.args and (name in PRIMITIVES or name in module.names):
            place.report("bad-type", node, problem=f"`{name}` takes no type in `<…>`", hint=f"write `{name}`")
            return ERROR
        if name in PRIMITIVES:
            return PRIMITIVES[name]
        symbol = module.names.get(name)
        if symbol is not None and symbol.kind == "type":
            return symbol.type if symbol.type is not None else self.declared(symbol)
        if name == "Failure":
            return FAILURE
        if symbol is not None:
            hint = "name a type, or declare one with `type T = …`"
            place.report("wrong-kind", node, name=name, what=f"a {symbol.kind}", wanted="a type", hint=hint)
            return ERROR
        types = [known for known, what in module.names.items() if what.kind == "type"]
        hint = did_you_mean(name, [*PRIMITIVES, *_GENERIC, *types], _HINTS.get(name, ""))
        report_unknown(place, node, name, "type", hint)
        return ERROR

    def _generic(self, module: Module, node: syntax.NamedType, name: str) -> Type:
        if len(node.args) != 1:
            given = len(node.args)
            problem = f"`{name}` takes one type in `<…>`, and {given or 'none'} {'are' if given > 1 else 'is'} given"
            hint = "the keys of a map are always strings: write `map<T>`" if name == "map" else f"write `{name}<T>`"
            Context(self._shared, module).report("bad-type", node, problem=problem, hint=hint)
            return ERROR
        return _GENERIC[name](self.of(module, node.args[0]))

    def _union(self, module: Module, node: syntax.UnionType, members: tuple[syntax.TypeExpr, ...]) -> Type:
        values: list[str] = []
        others: list[Type] = []
        for member in members:
            if not isinstance(member, syntax.LiteralType):
                others.append(self.of(module, member))
                continue
            if member.value in values:
                Context(self._shared, module).report(
                    "bad-type", member, problem=f'"{member.value}" stands twice in the union', hint="remove one"
                )
            values.append(member.value)
        kinds = [*([Literals(tuple(dict.fromkeys(values)))] if values else []), *others]
        if ERROR in kinds:
            return ERROR
        found = kinds[0]
        for kind in kinds[1:]:
            found = _either(found, kind)
        return found

    def _record(self, module: Module, node: syntax.RecordType) -> Type:
        fields: dict[str, Type] = {}
        for field in node.fields:
            if field.name.text in fields:
                problem = f"the field `{field.name.text}` stands twice"
                Context(self._shared, module).report("bad-type", field.name, problem=problem, hint="rename one of them")
            fields[field.name.text] = self.of(module, field.type)
        return Record(tuple(fields.items()))


def _either(a: Type, b: Type) -> Type:
    """The written union of two types: literals merge, everything else stays apart."""
    if isinstance(a, Literals) and isinstance(b, Literals):
        return Literals(tuple(dict.fromkeys((*a.values, *b.values))))
    if isinstance(a, Union) and not isinstance(b, Union) and b not in a.members:
        return join(a, b)
    return join(a, b)


_HINTS = {
    "str": "write `string`",
    "integer": "write `int`",
    "number": "write `int`, `float` or `decimal`",
    "boolean": "write `bool`",
    "array": "write `list<T>`",
    "dict": "write `map<T>`, or a record `{ field: type }`",
    "object": "write `map<T>`, or a record `{ field: type }`",
    "any": "write `json`: any value, checked by the worker",
    "timestamp": "write `datetime`",
    "void": "leave `returns` out: without it, there is no result",
    "None": "leave `returns` out: without it, there is no result",
    "List": "write `list<T>`",
    "Dict": "write `map<T>`, or a record `{ field: type }`",
    "tuple": "write `list<T>`, or a record `{ first: int, second: string }`",
    "set": "write `list<T>`",
    "null": "write `T?` for a value that may be null",
}
