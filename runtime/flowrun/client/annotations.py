"""From the annotations of a live function to types of the language, so that wrong arguments are told when they are
submitted. What has no counterpart is `json`: anything that can be stored; the worker converts it to what the function
is annotated with."""

from __future__ import annotations

import collections.abc as abc
import datetime as dt
import decimal
import types
import typing
from typing import Any

from flowc.types import (
    BOOL,
    BYTES,
    DATE,
    DATETIME,
    DECIMAL,
    DURATION,
    FLOAT,
    INT,
    JSON,
    STRING,
    ListOf,
    Literals,
    MapOf,
    Optional,
    Primitive,
    Type,
)

__all__ = ["is_plain", "plain_types", "type_of"]

_NAMED: dict[Any, Type] = {
    int: INT, float: FLOAT, str: STRING, bool: BOOL, bytes: BYTES, decimal.Decimal: DECIMAL, dt.date: DATE,
    dt.datetime: DATETIME, dt.timedelta: DURATION, list: ListOf(JSON), dict: MapOf(JSON),
}  # fmt: skip
#: objects of these types travel as they are
_PLAIN: frozenset[type] = frozenset({str, int, float, bool, bytes, type(None)})
_AS_THEY_ARE: dict[Type, frozenset[type]] = {
    INT: frozenset({int}), FLOAT: frozenset({float, int}), STRING: frozenset({str}), BOOL: frozenset({bool}),
    BYTES: frozenset({bytes}), JSON: _PLAIN,
}  # fmt: skip


def type_of(annotation: Any) -> Type:
    """The type that an annotation means; JSON where it has none."""
    named = _NAMED.get(annotation) if isinstance(annotation, type) else None
    if named is not None:
        return named
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (list, abc.Sequence, abc.Iterable, abc.Collection) and args:
        return ListOf(type_of(args[0]))
    if origin in (dict, abc.Mapping) and len(args) == 2 and args[0] is str:
        return MapOf(type_of(args[1]))
    if origin is typing.Literal and all(isinstance(arg, str) for arg in args):
        return Literals(args)
    if origin in (typing.Union, types.UnionType) and len(args) == 2 and type(None) in args:
        inner = type_of(args[0] if args[1] is type(None) else args[1])
        return JSON if inner == JSON else Optional(inner)
    return JSON


def plain_types(kind: Type) -> frozenset[type]:
    """Types of objects that need no check and no conversion to be of a type."""
    if isinstance(kind, Optional):
        return plain_types(kind.inner) | {type(None)}
    return _AS_THEY_ARE.get(kind, frozenset()) if isinstance(kind, Primitive) else frozenset()


def is_plain(annotation: Any) -> bool:
    """Values of it look the same when they come back as plain data: nothing is to be converted."""
    if annotation in (Any, object, None, type(None), int, float, str, bool, bytes, list, dict):
        return True
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    return origin in (list, dict, typing.Union, types.UnionType, typing.Literal) and (
        origin is typing.Literal or all(map(is_plain, args))
    )
