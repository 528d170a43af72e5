"""How types relate: what fits where (`assignable`), one type for two values (`join`), and why not (`difference`).

int, size     fit into float and decimal, and into each other; float does not fit into int or decimal
literals      fit into string, and into a union that has them all
file          and string fit into each other: a file is named by its path
list, map     are covariant; a record whose fields all fit is a map
record        fits into one with fewer fields; a field that is missing must be optional
T, null       fit into T?; T? fits into T only once null is handled
union         fits where all its members do; a value fits into it where it fits into one member
json          takes everything but a secret, and fits everywhere: the worker checks the value
secret<T>     fits into secret<T> only
error         fits everywhere: its cause has been reported
"""

from __future__ import annotations

from flowc.types import (
    ERROR,
    FAILURE,
    JSON,
    NULL,
    STRING,
    ListOf,
    Literals,
    MapOf,
    Optional,
    Primitive,
    Record,
    Secret,
    Type,
    Union,
    text,
)

__all__ = [
    "assignable", "difference", "join", "optional", "required", "revealed", "field_of", "holds_secret", "is_text",
    "shown",
]  # fmt: skip

_WIDENS = {
    "int": {"float", "decimal", "size"},
    "size": {"int", "float", "decimal"},
    "string": {"file"},
    "file": {"string"},
}
#: longest union of string literals that is kept; beyond, it is a string
_MOST_LITERALS = 16
#: longest text of a type in a message
_LONGEST = 120


def assignable(source: Type, target: Type) -> bool:
    """Whether a value of type `source` can stand where `target` is expected."""
    if source is target or source == target or ERROR in (source, target):
        return True
    if isinstance(source, Secret):
        return isinstance(_inner(target), Secret) and assignable(source.inner, _inner(target).inner)  # type: ignore[union-attr]
    if target == JSON:
        return not holds_secret(source)
    if source == JSON:
        return True
    if isinstance(source, Union):
        return all(assignable(member, target) for member in source.members)
    if isinstance(target, Optional):
        return source == NULL or assignable(required(source), target.inner)
    if isinstance(source, Optional):
        return False
    if isinstance(target, Secret):
        return assignable(source, target.inner)
    if isinstance(target, Union):
        return any(assignable(source, member) for member in target.members)
    return _plain(source, target)


def _plain(source: Type, target: Type) -> bool:
    match source, target:
        case Primitive(a), Primitive(b):
            return b in _WIDENS.get(a, ())
        case Literals(), Primitive(b):
            return b in ("string", "file")
        case Literals(a_values), Literals(b_values):
            return set(a_values) <= set(b_values)
        case (ListOf(a_item), ListOf(b_item)) | (MapOf(a_item), MapOf(b_item)):
            return assignable(a_item, b_item)
        case Record(fields), MapOf(item):
            return all(assignable(field, item) for _, field in fields)
        case Record(fields), Record(wanted):
            have = dict(fields)
            return all(
                assignable(have[name], field) if name in have else isinstance(field, Optional) for name, field in wanted
            )
    return False


def difference(source: Type, target: Type, path: str = "") -> str:
    """Where two types part, as the end of a sentence: "field `a.b` is string, not int"; "" if it is the whole."""
    if path and isinstance(source, Optional) and assignable(source.inner, target):
        return f"field `{path}` may be null"
    source, target = required(source), required(target)
    match source, target:
        case (ListOf(a), ListOf(b)) | (MapOf(a), MapOf(b)):
            return difference(a, b, f"{path}[]")
        case Record(fields), Record(wanted):
            have = dict(fields)
            for name, field in wanted:
                inner = f"{path}.{name}" if path else name
                if name not in have and not isinstance(field, Optional):
                    return f"field `{inner}` is missing"
                if name in have and not assignable(have[name], field):
                    if isinstance(have[name], Optional) and assignable(required(have[name]), field):
                        return f"field `{inner}` may be null"
                    return difference(have[name], field, inner)
    return f"field `{path}` is {shown(source)}, not {shown(target)}" if path else ""


def join(a: Type, b: Type) -> Type:
    """The type of a value that is one of two: the wider one if one fits into the other, else their union."""
    if a is b or a == b or b == ERROR:
        return a
    if a == ERROR:
        return b
    if JSON in (a, b):
        return JSON
    if NULL in (a, b) or isinstance(a, Optional) or isinstance(b, Optional):
        if a == NULL:
            return optional(b)
        return optional(a) if b == NULL else optional(join(required(a), required(b)))
    match a, b:
        case Literals(left), Literals(right):
            values = tuple(dict.fromkeys((*left, *right)))
            return Literals(values) if len(values) <= _MOST_LITERALS else STRING
        case ListOf(left_item), ListOf(right_item):
            return ListOf(join(left_item, right_item))
        case MapOf(left_item), MapOf(right_item):
            return MapOf(join(left_item, right_item))
        case Record(), Record() if FAILURE not in (a, b):
            return _join_records(a, b)
    if isinstance(a, Union) or isinstance(b, Union):
        return _union(a, b)
    if assignable(a, b):
        return b
    return a if assignable(b, a) else _union(a, b)


def _join_records(a: Record, b: Record) -> Record:
    """Fields of both; one that only one side has may be absent."""
    left, right = dict(a.fields), dict(b.fields)
    fields: dict[str, Type] = {}
    for name in (*left, *right):
        if name in left and name in right:
            fields[name] = join(left[name], right[name])
        else:
            kind = left.get(name) or right[name]
            fields[name] = Optional(JSON) if kind in (JSON, NULL) else optional(kind)
    return Record(tuple(fields.items()))


def _union(a: Type, b: Type) -> Type:
    members: list[Type] = []
    for side in (a, b):
        for member in side.members if isinstance(side, Union) else (side,):
            if not any(member == known or assignable(member, known) for known in members):
                members.append(member)
    return members[0] if len(members) == 1 else Union(tuple(members))


def optional(kind: Type) -> Type:
    """T? of T; already optional, null, json and error stay."""
    return kind if isinstance(kind, Optional) or kind in (NULL, JSON, ERROR) else Optional(kind)


def required(kind: Type) -> Type:
    """T of T?."""
    return kind.inner if isinstance(kind, Optional) else kind


def _inner(kind: Type) -> Type:
    return required(kind)


def holds_secret(kind: Type) -> bool:
    """Whether a value of the type has a secret in it."""
    match kind:
        case Secret():
            return True
        case ListOf(inner) | MapOf(inner) | Optional(inner):
            return holds_secret(inner)
        case Record(fields):
            return any(holds_secret(field) for _, field in fields)
        case Union(members):
            return any(holds_secret(member) for member in members)
    return False


def revealed(kind: Type) -> Type:
    """The type as the worker hands it to a task: a secret is its value."""
    match kind:
        case Secret(inner):
            return revealed(inner)
        case Optional(inner):
            return optional(revealed(inner))
        case ListOf(inner):
            return ListOf(revealed(inner))
        case MapOf(inner):
            return MapOf(revealed(inner))
        case Record(fields):
            return Record(tuple((name, revealed(field)) for name, field in fields))
    return kind


def is_text(kind: Type) -> bool:
    return kind == STRING or isinstance(kind, Literals)


def field_of(kind: Type, name: str) -> Type | None:
    """The type of a record's field (of a union: of all its members), or None."""
    if isinstance(kind, Record):
        return dict(kind.fields).get(name)
    if isinstance(kind, Union):
        found = [field_of(member, name) for member in kind.members]
        known = [field for field in found if field is not None]
        if known and len(known) == len(found):
            joined = known[0]
            for field in known[1:]:
                joined = join(joined, field)
            return joined
    return None


def shown(kind: Type) -> str:
    """The type's text, cut where it is long."""
    full = text(kind)
    return full if len(full) <= _LONGEST else full[: _LONGEST - 1] + "…"
