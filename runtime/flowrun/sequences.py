"""What an `each` walks, without building it.

The source of an each node is an input, a constant list, or `["call", "range" | "chunk" | "zip" | "cross", …]` over
such: `cross(range(1000), range(1000))` is two counters, not a million pairs. A sequence knows its length and gives
any item or slice.

Two users. The coordinator has bytes: `of_bytes` and `length` read only the headers of lists, so that they work for
references to blobs too, and items are bytes (or references to parts of blobs). Workers have decoded values:
`of_values` gives Python objects. Both are the same sequences over a `Form`, which says how a value of its kind is
packed and taken apart. A map is walked as its pairs.

A sequence that cannot be (a step of 0, a source that is no list) raises `ExpressionError`. `zip` ends with its
shortest list, and in `cross` the last list varies first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from .expr import Env, ExpressionError, evaluate, unpacked
from .functions import pairs, range_of
from .wire import WireError, elements, is_blob, item, make_list, part
from .wire import length as wire_length

__all__ = ["SYMBOLIC", "Source", "length", "of_bytes", "of_values"]

#: the functions that are not built
SYMBOLIC = frozenset({"range", "chunk", "zip", "cross"})

#: a sequence has no more items
_MOST = 2**62

Expr = list[Any]
T = TypeVar("T")


class Source(Protocol[T]):
    """What is walked. Positions are from 0; slices are within the length."""

    def __len__(self) -> int: ...

    def item(self, index: int) -> T: ...

    def slice(self, first: int, last: int) -> list[T]:
        """The items first..last-1."""

    def packed(self, first: int, last: int) -> T:
        """The items first..last-1 as one list value."""

    def parts(self, index: int, count: int) -> list[T]:
        """An item taken apart into `count` values."""


class Form(Protocol[T]):
    """How values are packed and taken apart."""

    def number(self, value: int) -> T: ...

    def pack(self, values: list[T]) -> T: ...

    def unpack(self, value: T, count: int) -> list[T]: ...


class _Base(Generic[T]):
    """What follows from `item` and `__len__`."""

    form: Form[T]

    def __len__(self) -> int:
        raise NotImplementedError

    def item(self, index: int) -> T:
        raise NotImplementedError

    def slice(self, first: int, last: int) -> list[T]:
        return [self.item(index) for index in range(first, last)]

    def packed(self, first: int, last: int) -> T:
        return self.form.pack(self.slice(first, last))

    def parts(self, index: int, count: int) -> list[T]:
        return self.form.unpack(self.item(index), count)


# ---- the symbolic ones ----------------------------------------------------------------------------------------------


class _Range(_Base[T]):
    def __init__(self, form: Form[T], counted: range) -> None:
        self.form = form
        self._counted = counted

    def __len__(self) -> int:
        return len(self._counted)

    def item(self, index: int) -> T:
        return self.form.number(self._counted[index])


class _Chunk(_Base[T]):
    def __init__(self, form: Form[T], source: Source[T], size: int) -> None:
        self.form = form
        self._source = source
        self._size = size

    def __len__(self) -> int:
        return -(-len(self._source) // self._size)

    def item(self, index: int) -> T:
        first = index * self._size
        return self._source.packed(first, min(first + self._size, len(self._source)))


class _Tuples(_Base[T]):
    """Items that are made of one item of each of several sources."""

    def __init__(self, form: Form[T], sources: list[Source[T]]) -> None:
        self.form = form
        self._sources = sources

    def _members(self, index: int) -> list[T]:
        raise NotImplementedError

    def item(self, index: int) -> T:
        return self.form.pack(self._members(index))

    def parts(self, index: int, count: int) -> list[T]:
        unpacked(self._sources, count)
        return self._members(index)


class _Zip(_Tuples[T]):
    def __len__(self) -> int:
        return min(len(source) for source in self._sources)

    def _members(self, index: int) -> list[T]:
        return [source.item(index) for source in self._sources]


class _Cross(_Tuples[T]):
    def __len__(self) -> int:
        return math.prod(len(source) for source in self._sources)

    def _members(self, index: int) -> list[T]:
        members: list[T] = []
        for source in reversed(self._sources):
            index, position = divmod(index, len(source))
            members.append(source.item(position))
        return members[::-1]


# ---- bytes ----------------------------------------------------------------------------------------------------------


class _Bytes:
    """Values as bytes."""

    def number(self, value: int) -> bytes:
        return msgspec.msgpack.encode(value)

    def pack(self, values: list[bytes]) -> bytes:
        return make_list(values)

    def unpack(self, value: bytes, count: int) -> list[bytes]:
        if is_blob(value):
            return [item(value, position) for position in range(count)]
        try:
            found = elements(value)
        except WireError:
            raise ExpressionError(f"an item is no list, and cannot be taken apart into {count} names") from None
        return unpacked(found, count)


class _WireList(_Base[bytes]):
    """A list or map as bytes; its items are cut up once, a blob's never."""

    form = _Bytes()

    def __init__(self, data: bytes, count: int) -> None:
        self._data = data
        self._count = count
        self._items: list[bytes] | None = None

    def __len__(self) -> int:
        return self._count

    def _cut(self) -> list[bytes]:
        if self._items is None:
            self._items = elements(self._data)
        return self._items

    def item(self, index: int) -> bytes:
        return item(self._data, index) if is_blob(self._data) else self._cut()[index]

    def packed(self, first: int, last: int) -> bytes:
        return part(self._data, first, last) if is_blob(self._data) else make_list(self._cut()[first:last])


class _NotKnown(Exception):
    """A length that only the content of a blob tells."""


def of_bytes(source: Expr, inputs: Sequence[bytes]) -> Source[bytes] | None:
    """The items of a source as bytes; None if its length is not known without fetching a blob, and a worker must
    evaluate it. Raises ExpressionError."""

    def leaf(expr: Expr) -> Source[bytes]:
        data = inputs[expr[1]] if expr[0] == "in" else msgspec.msgpack.encode(evaluate(expr, Env()))
        count = wire_length(data)
        if count is not None:
            return _WireList(data, count)
        if is_blob(data):
            raise _NotKnown
        raise ExpressionError("`each` needs a list or a map")

    def number(expr: Expr) -> int:
        if expr[0] != "in":
            return _as_number(evaluate(expr, Env()))
        if is_blob(inputs[expr[1]]):
            raise _NotKnown
        try:
            return _as_number(msgspec.msgpack.decode(inputs[expr[1]]))
        except msgspec.DecodeError:
            raise ExpressionError("a whole number is needed") from None

    try:
        return _sequence(source, _Bytes(), leaf, number)
    except _NotKnown:
        return None


def length(source: Expr, inputs: Sequence[bytes]) -> int | None:
    """How many items a source has; None where only a worker can tell. Raises ExpressionError."""
    found = of_bytes(source, inputs)
    return None if found is None else len(found)


# ---- objects --------------------------------------------------------------------------------------------------------


class _Objects:
    """Values as Python objects."""

    def number(self, value: int) -> object:
        return value

    def pack(self, values: list[object]) -> object:
        return values

    def unpack(self, value: object, count: int) -> list[object]:
        return unpacked(value, count)


class _ValueList(_Base[object]):
    form = _Objects()

    def __init__(self, values: list[object]) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def item(self, index: int) -> object:
        return self._values[index]

    def slice(self, first: int, last: int) -> list[object]:
        return self._values[first:last]


def of_values(source: Expr, inputs: Sequence[object]) -> Source[object]:
    """The items of a source as Python objects. Raises ExpressionError."""
    env = Env(inputs)
    return _sequence(
        source,
        _Objects(),
        lambda expr: _ValueList(pairs(evaluate(expr, env))),
        lambda expr: _as_number(evaluate(expr, env)),
    )


# ---- both -----------------------------------------------------------------------------------------------------------


def _as_number(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ExpressionError("a whole number is needed")


def _sequence(
    source: Expr, form: Form[T], leaf: Callable[[Expr], Source[T]], number: Callable[[Expr], int]
) -> Source[T]:
    """The sequence of a source: `leaf` gives a list that is there, `number` an argument that is an int."""
    if source[0] != "call" or source[1] not in SYMBOLIC:
        return leaf(source)
    name, args = source[1], source[2:]
    if name == "range":
        counted = range_of(*map(number, args))
        _bounded((counted.stop - counted.start) // counted.step)
        return _Range(form, counted)
    inner = [_sequence(arg, form, leaf, number) for arg in (args[:1] if name == "chunk" else args)]
    if name == "chunk":
        size = number(args[1])
        if size < 1:
            raise ExpressionError(f"`chunk` needs a size of at least 1, and it is {size}")
        return _Chunk(form, inner[0], size)
    if name == "zip":
        return _Zip(form, inner)
    _bounded(math.prod(map(len, inner)))
    return _Cross(form, inner)


def _bounded(count: int) -> None:
    if count > _MOST:
        raise ExpressionError(f"`each` has {count:,} items, which is more than can be counted")
