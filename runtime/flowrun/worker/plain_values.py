"""Values of tasks on their way in and out: what `values` does, made ready once per type.

Most values are of a type that msgspec takes in one step, and hold no blob. Whatever is not so, or is refused, goes the
way through `values`, which also says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from flowc.types import JSON, ListOf, Literals, MapOf, Optional, Primitive, Secret, Type

from flowrun import values
from flowrun.wire import may_hold_blobs

__all__ = ["reader", "writer"]

#: a reference to a blob takes as many bytes at least: its header, and a digest of 32 characters
_SMALLEST_BLOB = 38
_REFUSED = (msgspec.MsgspecError, RecursionError, TypeError, ValueError, OverflowError)
_SCALARS = frozenset({str, int, float, bool, bytes, type(None)})
_encode = msgspec.msgpack.Encoder().encode


def reader(kind: Type) -> Callable[[bytes, values.Fetch], Any]:
    """`values.decode` for one type."""
    if not _is_plain(kind):
        return lambda data, fetch: values.decode(data, kind, fetch)
    decode = msgspec.msgpack.Decoder(values.python_type(kind)).decode

    def read(data: bytes, fetch: values.Fetch) -> Any:
        if len(data) < _SMALLEST_BLOB or not may_hold_blobs(data):
            try:
                return decode(data)
            except _REFUSED:
                pass  # what is wrong is said by
        return values.decode(data, kind, fetch)

    return read


def writer(kind: Type, otherwise: Callable[[Any], bytes] | None = None) -> Callable[[Any], bytes]:
    """`values.check` for one type. `otherwise`: does the same, with whatever cannot be done in one step."""
    check = otherwise or partial(values.check, kind=kind)
    if not _is_plain(kind):
        return check
    decode = None if kind == JSON else msgspec.msgpack.Decoder(values.python_type(kind)).decode

    def write(value: Any) -> bytes:
        if type(value) in _SCALARS:
            try:
                data = _encode(value)
                if decode is not None:
                    decode(data)
                return data
            except _REFUSED:
                pass  # what is wrong is said by
        return check(value)

    return write


def _is_plain(kind: Type) -> bool:
    """msgspec alone makes its objects: it holds no record, whose absent fields are added, and no union."""
    match kind:
        case Primitive() | Literals():
            return True
        case ListOf(inner) | MapOf(inner) | Optional(inner) | Secret(inner):
            return _is_plain(inner)
        case _:
            return False
