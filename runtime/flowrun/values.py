"""Values: from Python objects to bytes and back, checked against the declared types of the language.

On the wire a value is msgpack with only plain things in it: dates, datetimes, decimals and durations are strings
(ISO 8601; a datetime keeps its offset), records and maps are maps with string keys, files are their paths. Which
string is a date follows from the declared type, never from the bytes.

`encode` takes whatever a task may return: dataclasses, msgspec structs, pydantic models, named tuples, numpy scalars
and arrays, sets, paths; what has no such form raises `NotSerialisable` with its type and place. `check` encodes and
holds the result against a type. `decode` gives the Python object of a type; a record field of an optional type that
is absent comes as None. A failed check raises `TypeMismatch`: "`$[3].amount`: expected int, got str".

A union that msgspec cannot tell apart (two records, a string and a date) is decoded by trying its members: one that
takes the value without dropping a field wins, then the first that takes it at all; string is tried last.

Large values: see `wire`, whose names are here too.
"""

from __future__ import annotations

import datetime as dt
import decimal
import functools
import operator
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import PurePath
from typing import Any, NotRequired, TypedDict
from typing import Literal as LiteralOf

import msgspec
from flowc.types import JSON, STRING, ListOf, Literals, MapOf, Optional, Primitive, Record, Secret, Type, Union, text

from .errors import FlowError
from .wire import (
    INLINE_LIMIT,
    NULL,
    Blob,
    Fetch,
    WireError,
    blob_of,
    concat,
    decode_blob,
    elements,
    externalise,
    header,
    is_blob,
    item,
    length,
    make_list,
    make_map,
    make_record,
    may_hold_blobs,
    part,
    reference,
    resolve,
    split,
)

__all__ = [
    # types
    "NotSerialisable", "TypeMismatch", "python_type",
    # objects and bytes
    "check", "decode", "decode_plain", "encode", "references",
    # bytes
    "INLINE_LIMIT", "NULL", "Blob", "Fetch", "WireError", "blob_of", "concat", "elements", "externalise", "header",
    "is_blob", "item", "length", "make_list", "make_map", "make_record", "part", "reference", "resolve", "split",
]  # fmt: skip


class NotSerialisable(FlowError):
    """A value cannot be stored."""


class TypeMismatch(FlowError):
    """A value does not have its declared type."""


# ---- types ----------------------------------------------------------------------------------------------------------

_PYTHON: dict[str, Any] = {
    "int": int, "float": float, "decimal": decimal.Decimal, "string": str, "bool": bool, "bytes": bytes,
    "date": dt.date, "datetime": dt.datetime, "duration": dt.timedelta, "size": int, "json": Any, "file": str,
    "null": None, "error": Any,
}  # fmt: skip


class _AnyOfMeta(type):
    def __instancecheck__(cls, value: object) -> bool:
        return True  # msgspec checks what the hook gives, which is a value of a member


class _AnyOf(metaclass=_AnyOfMeta):
    """A union that is decoded by trying its members. One subclass per union."""

    union: Union


@functools.cache
def python_type(kind: Type) -> Any:
    """The typing object by which msgspec decodes a type: records are TypedDicts, optional fields NotRequired."""
    match kind:
        case Primitive(name):
            return _PYTHON[name]
        case ListOf(item_type):
            return list[python_type(item_type)]  # type: ignore[misc]
        case MapOf(item_type):
            return dict[str, python_type(item_type)]  # type: ignore[misc]
        case Record(fields):
            hints = {name: _field_type(field) for name, field in fields}
            return TypedDict("Record", hints)  # type: ignore[operator]
        case Literals(values):
            return LiteralOf[values]
        case Optional(inner):
            found = python_type(inner)
            return None if found is None else found | None
        case Secret(inner):
            return python_type(inner)
        case Union():
            return _union_type(kind)


def _field_type(kind: Type) -> Any:
    return NotRequired[python_type(kind)] if isinstance(kind, Optional) else python_type(kind)


def _union_type(kind: Union) -> Any:
    if JSON in kind.members:
        return Any
    if all(isinstance(member, Primitive) for member in kind.members):
        simple = functools.reduce(operator.or_, map(python_type, kind.members))
        try:
            msgspec.msgpack.Decoder(simple)
        except TypeError:
            pass  # two members look alike on the wire
        else:
            return simple
    return _AnyOfMeta("AnyOf", (_AnyOf,), {"union": kind})


@functools.cache
def _decoder(kind: Type) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(python_type(kind), dec_hook=_decode_union)


def _decode_union(target: type, value: object) -> object:
    assert issubclass(target, _AnyOf), target
    members = sorted(target.union.members, key=lambda member: member == STRING)
    taken = [found for member in members if (found := _try(member, value)) is not None]
    if value is None or not taken:
        raise ValueError(f"Expected `{text(target.union)}`, got `{_wire_name(value)}`")
    return next((found[0] for found in taken if _keeps_all(value, found[0])), taken[0][0])


def _try(kind: Type, value: object) -> tuple[object] | None:
    try:
        return (_convert(value, kind),)
    except msgspec.ValidationError:
        return None


def _keeps_all(before: object, after: object) -> bool:
    return not isinstance(before, dict) or not isinstance(after, dict) or before.keys() <= after.keys()


def _convert(value: object, kind: Type) -> object:
    converted = msgspec.convert(value, python_type(kind), dec_hook=_decode_union)
    return _complete(kind, converted)


# ---- absent optional fields -----------------------------------------------------------------------------------------


def _complete(kind: Type, value: Any) -> Any:
    """Adds the absent optional fields as None, at every depth."""
    fill = _filler(kind)
    if fill is not None and value is not None:
        fill(value)
    return value


@functools.cache
def _filler(kind: Type) -> Callable[[Any], None] | None:
    """What completes a value of this type in place; None if there is nothing to complete. (Unions complete what
    they take themselves.)"""
    match kind:
        case ListOf(item_type) | MapOf(item_type):
            return _fill_items(_filler(item_type), isinstance(kind, MapOf))
        case Optional(inner) | Secret(inner):
            return _filler(inner)
        case Record(fields):
            return _fill_record(fields)
        case _:
            return None


def _fill_items(inner: Callable[[Any], None] | None, is_map: bool) -> Callable[[Any], None] | None:
    if inner is None:
        return None

    def fill(value: Any) -> None:
        for entry in value.values() if is_map else value:
            if entry is not None:
                inner(entry)

    return fill


def _fill_record(fields: tuple[tuple[str, Type], ...]) -> Callable[[Any], None] | None:
    optional = [name for name, field in fields if isinstance(field, Optional)]
    nested = [(name, inner) for name, field in fields if (inner := _filler(field)) is not None]
    if not optional and not nested:
        return None

    def fill(value: Any) -> None:
        for name in optional:
            value.setdefault(name, None)
        for name, inner in nested:
            if value[name] is not None:
                inner(value[name])

    return fill


# ---- objects to bytes -----------------------------------------------------------------------------------------------

_encode = msgspec.msgpack.Encoder().encode
_PLAIN_TYPES = frozenset({str, int, float, bool, bytes, type(None)})


def _simplify(value: Any) -> Any:
    """A plain form of what msgspec does not know (its `enc_hook`)."""
    if callable(getattr(value, "model_dump", None)):
        return value.model_dump()
    if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    for base in (str, int, float, bytes):
        if isinstance(value, base):
            plain: object = base(value)  # type: ignore[arg-type]
            return plain
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set | deque | range):
        return list(value)
    if isinstance(value, PurePath):
        return str(value)
    raise NotImplementedError


def encode(value: object) -> bytes:
    """The bytes of a value. Raises NotSerialisable."""
    try:
        if type(value) not in _PLAIN_TYPES:
            value = msgspec.to_builtins(value, builtin_types=(bytes,), str_keys=True, enc_hook=_simplify)
        return _encode(value)
    except RecursionError:
        raise NotSerialisable("the value contains itself, or is nested too deeply to be stored") from None
    except (TypeError, ValueError, OverflowError, NotImplementedError) as error:
        raise NotSerialisable(_why_not(value, "$") or f"the value cannot be stored: {error}") from error


def check(value: object, kind: Type) -> bytes:
    """The bytes of a value that has this type. Raises NotSerialisable, or TypeMismatch with the place."""
    data = encode(value)
    if kind != JSON:
        _decode_typed(data, kind)
    return data


def _why_not(value: Any, path: str) -> str | None:
    """The first place in a value that cannot be stored, and what to do; the value is not recursive."""
    for step, inner in _parts(value):
        found = _why_not(inner, path + step)
        if found is not None:
            return found
    try:
        encode_one = msgspec.to_builtins(value, builtin_types=(bytes,), str_keys=True, enc_hook=_simplify)
        _encode(encode_one)
    except OverflowError:
        return f"`{path}`: the integer does not fit into 64 bits: return it as a string or a decimal"
    except UnicodeEncodeError:
        return f"`{path}`: the string holds half a character (a lone surrogate), so it is not text: return bytes"
    except (TypeError, ValueError, NotImplementedError):
        return f"`{path}`: {_unknown(value)}"
    return None


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((f".{key}", inner) for key, inner in value.items())
    elif isinstance(value, list | tuple):
        yield from ((f"[{position}]", inner) for position, inner in enumerate(value))
    elif hasattr(type(value), "__dataclass_fields__") or isinstance(value, msgspec.Struct):
        names = getattr(type(value), "__dataclass_fields__", None) or type(value).__struct_fields__
        yield from ((f".{name}", getattr(value, name)) for name in names)


def _unknown(value: object) -> str:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(value, Mapping):
        return f"a {name} with keys that are no strings cannot be stored: use string keys"
    if isinstance(value, Iterator):
        return f"a {name} cannot be stored, as it can be read only once: return a list"
    return (
        f"a value of type {name} cannot be stored: return numbers, strings, lists, dicts, dates, decimals, "
        "dataclasses or models, or write it to a file and return the path"
    )


# ---- bytes to objects -----------------------------------------------------------------------------------------------


def decode(data: bytes, kind: Type, fetch: Fetch) -> Any:
    """The object of a type. References are resolved by `fetch(digest)`. Raises TypeMismatch, and what fetch does."""
    data = resolve(data, fetch)
    if not may_hold_blobs(data):
        return _decode_typed(data, kind)
    try:
        return _convert(decode_plain(data, fetch), kind)
    except msgspec.ValidationError as error:
        raise TypeMismatch(_mismatch(str(error))) from error


def decode_plain(data: bytes, fetch: Fetch) -> Any:
    """The object as it is on the wire: dates and the like are strings. For `json`, and for showing a result."""

    def load(code: int, payload: memoryview) -> Any:
        return decode_plain(reference(decode_blob(code, payload)), fetch)

    try:
        return msgspec.msgpack.decode(resolve(data, fetch), ext_hook=load)
    except RecursionError as error:
        raise TypeMismatch("the value is nested too deeply to be read") from error
    except msgspec.DecodeError as error:
        raise TypeMismatch(f"the value is damaged: {error}") from error


def _decode_typed(data: bytes, kind: Type) -> Any:
    try:
        return _complete(kind, _decoder(kind).decode(data))
    except msgspec.DecodeError as error:
        raise TypeMismatch(_mismatch(str(error))) from error
    except RecursionError as error:
        raise TypeMismatch("the value is nested too deeply to be read") from error


def references(values: Iterable[bytes]) -> list[Blob]:
    """The references in these values, without repeats: what to fetch before decoding. (What is fetched can hold
    references in turn.)"""
    found: dict[str, Blob] = {}

    def note(code: int, payload: memoryview) -> None:
        blob = decode_blob(code, payload)
        found.setdefault(blob.digest, blob)

    for data in values:
        if may_hold_blobs(data):
            msgspec.msgpack.decode(data, ext_hook=note)
    return list(found.values())


# ---- messages -------------------------------------------------------------------------------------------------------

_MESSAGE = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?", re.DOTALL)
_EXPECTED = re.compile(r"Expected `([^`]*)`, got `([^`]*)`(?: - at `([^`]*)`)?", re.DOTALL)
#: what msgspec calls the types: as the language does, and as Python does
_WANTED = {"str": "string", "array": "list", "object": "record"}
_GOT = {"array": "list", "object": "dict", "null": "None"}


def _mismatch(message: str) -> str:
    """msgspec's message in our words, the place first."""
    if expected := _EXPECTED.fullmatch(message):
        wanted, got, path = expected.groups()
        wanted = " or ".join(_WANTED.get(name, name) for name in wanted.split(" | "))
        return f"`{path or '$'}`: expected {wanted}, got {_GOT.get(got, got)}"
    match = _MESSAGE.fullmatch(message)
    assert match is not None, message
    what = match["what"].replace("Object missing required field", "missing field")
    what = what.replace("Invalid enum value", "not one of the allowed values:")
    what = what.replace("Invalid RFC3339 encoded", "not the ISO form of a")
    return f"`{match['path'] or '$'}`: {what}"


def _wire_name(value: object) -> str:
    names = {list: "array", dict: "object", type(None): "null"}
    return names.get(type(value), type(value).__name__)
