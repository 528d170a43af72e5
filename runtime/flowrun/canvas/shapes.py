"""Canvases of one shape share one plan: the structure of a canvas as a key, and its arguments as run inputs.

`described` takes a signature apart in one go: a key, which says everything but the arguments, and the arguments, in the
order in which the plan's parameters are made. A group whose members are all alike is one argument, a list with a row of
arguments per member, however many there are.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from flowc.types import Type

from flowrun import values
from flowrun.client.annotations import plain_types
from flowrun.client.stored import Blobs
from flowrun.parameters import ArgumentError, encode_argument, join_arguments

from .signatures import Call, FlowCall, Items, Signature, chain, chord, group

__all__ = ["Argument", "Column", "Rows", "described", "encoded"]

_encode = msgspec.msgpack.Encoder().encode
#: deeper ones are taken for endless
_DEEPEST = 100
_NO_OPTIONS = ((), (), (), False)


# ---- taken apart ----------------------------------------------------------------------------------------------------


def described(signature: Signature) -> tuple[Hashable, list[Any]]:
    """The key and the arguments. Raises ArgumentError."""
    found: list[Any] = []
    return _key(signature, found, 0), found


def _key(signature: Signature, found: list[Any], depth: int) -> Hashable:
    if depth > _DEEPEST:
        raise ArgumentError("this canvas contains itself, or is nested more than 100 deep")
    kind = type(signature)
    if kind is Call or kind is FlowCall:
        key: Hashable = _call_key(signature, found)
    elif kind is chain:
        key = ("chain", *[_key(task, found, depth + 1) for task in signature.tasks])  # type: ignore[attr-defined]
    elif kind is group:
        key = _group_key(signature, found, depth)  # type: ignore[arg-type]
    elif kind is chord:
        return _key(signature.as_chain(), found, depth + 1)  # type: ignore[attr-defined]
    elif isinstance(signature, Items):
        key = _items_key(signature, found)
    else:
        raise ArgumentError(f"{signature!r} is no signature")
    more = _more_key(signature, found, depth)
    return key if more is _NO_OPTIONS else (key, more)


def _call_key(signature: Any, found: list[Any]) -> Hashable:
    task = signature.task if type(signature) is Call else _flow_key(signature.plan)
    found += signature.args
    names: tuple[str, ...] = ()
    if signature.kwargs:
        names = tuple(sorted(signature.kwargs))
        found += [signature.kwargs[name] for name in names]
    return (task, len(signature.args), names)


def _flow_key(plan: Any) -> Hashable:
    if not isinstance(plan, str | Path):
        return ("flow", id(plan))
    try:
        return ("flow", str(plan), Path(plan).stat().st_mtime_ns)
    except OSError as error:
        raise ArgumentError(f"the plan {plan} cannot be read: {(error.strerror or str(error)).lower()}") from error


def _more_key(signature: Signature, found: list[Any], depth: int) -> Any:
    """Options, callbacks and error handlers."""
    if signature.is_plain and not signature.immutable:
        return _NO_OPTIONS
    try:
        options = tuple(sorted(signature.options.items()))
        hash(options)
    except TypeError:
        raise ArgumentError(f"an option of {signature!r} cannot be used: {signature.options!r}") from None
    links = tuple([_key(link, found, depth + 1) for link in signature.links])
    errbacks = tuple([_key(errback, found, depth + 1) for errback in signature.errbacks])
    return options, links, errbacks, signature.immutable


def _group_key(signature: group, found: list[Any], depth: int) -> Hashable:
    rows: list[list[Any]] = []
    keys = []
    for task in signature.tasks:
        row: list[Any] = []
        keys.append(_key(task, row, depth + 1))
        rows.append(row)
    first = keys[0] if keys else None
    if all(key == first for key in keys):
        found.append(rows)
        return ("each", first)
    for row in rows:
        found += row
    return ("group", *keys)


def _items_key(signature: Items, found: list[Any]) -> Hashable:
    width = 1
    if signature.unpack:
        rows = [tuple(item) for item in signature.items]
        width = len(rows[0]) if rows else 0
        if any(len(row) != width for row in rows):
            raise ArgumentError(f"the items of {signature!r} do not all have the same number of arguments")
        found.append(rows)
    else:
        found.append([(item,) for item in signature.items])
    if signature.size:
        found.append(signature.size)
    return (type(signature), signature.task, width, bool(signature.size))


# ---- encoded --------------------------------------------------------------------------------------------------------


class Column(NamedTuple):
    """An argument by itself."""

    #: as messages name it
    name: str
    kind: Type


class Rows(NamedTuple):
    """A list with a row of arguments per member. Of one column its values stand for the rows; without any, so many
    members are counted."""

    name: str
    columns: tuple[Column | Rows, ...]


Argument = Column | Rows


def encoded(arguments: Sequence[Argument], given: Sequence[Any]) -> tuple[bytes, Blobs]:
    """The `args` of a submission, and the blobs that it refers to. Raises ArgumentError."""
    plain: dict[str, Any] = {}
    for argument, value in zip(arguments, given, strict=True):
        if type(argument) is not Column or type(value) not in _plain(argument.kind):
            break
        plain[argument.name] = value
    else:
        try:
            data = _encode(plain)
        except (OverflowError, ValueError):  # told with the argument's name
            data = b""
        if 0 < len(data) <= values.INLINE_LIMIT:
            return data, ()
    pairs = zip(arguments, given, strict=True)
    return join_arguments([(argument.name, _encoded(argument, value)) for argument, value in pairs])


_plain_types: dict[Type, frozenset[type]] = {}


def _plain(kind: Type) -> frozenset[type]:
    """Types of objects that travel as they are."""
    found = _plain_types.get(kind)
    if found is None:
        found = _plain_types[kind] = plain_types(kind)
    return found


def _encoded(argument: Argument, value: Any) -> bytes:
    if isinstance(argument, Column):
        return encode_argument(argument.name, value, argument.kind)
    columns = argument.columns
    if not columns:
        return values.encode(len(value))
    if all(isinstance(column, Column) for column in columns) and value:
        data = _encoded_at_once(columns, value)
        if data is not None:
            return data
    if len(columns) == 1:
        return values.make_list([_encoded(columns[0], row[0]) for row in value])
    return values.make_list([
        values.make_list([_encoded(column, cell) for column, cell in zip(columns, row, strict=True)]) for row in value
    ])  # fmt: skip


def _encoded_at_once(columns: Sequence[Any], rows: Sequence[Sequence[Any]]) -> bytes | None:
    """Rows of plain values; None: there are others."""
    for column, cells in zip(columns, zip(*rows, strict=True), strict=True):
        if not _plain(column.kind).issuperset(map(type, cells)):
            return None
    try:
        return _encode([row[0] for row in rows] if len(columns) == 1 else rows)
    except (OverflowError, ValueError):  # told with the argument's name
        return None
