"""Reading and writing by type is what `values` does, whatever the value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flowc.types import (
    ANY,
    BOOL,
    DATE,
    FLOAT,
    INT,
    JSON,
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
)
from flowrun import values, wire
from flowrun.errors import FlowError
from flowrun.worker.plain_values import reader, writer
from hypothesis import given
from hypothesis import strategies as st

KINDS: list[Type] = [
    INT, FLOAT, STRING, BOOL, DATE, JSON, ANY, Primitive("decimal"), Primitive("bytes"), Primitive("null"),
    ListOf(INT), ListOf(Optional(STRING)), MapOf(FLOAT), Optional(INT), Literals(("a", "b")), Secret(STRING),
    Record((("x", INT), ("y", Optional(INT)))), ListOf(Record((("x", Optional(INT)),))), Union((INT, STRING)),
]  # fmt: skip
GIVEN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**65)
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(["2026-01-31", "12.5", "a", "\ud800"])
    | st.binary()
    | st.sets(st.integers(0, 3))
    | st.complex_numbers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "y", "z"]) | st.text(), inner),
    max_leaves=6,
)
STORED: dict[str, bytes] = {}


def outcome(call: Callable[[], Any]) -> Any:
    try:
        found = call()
    except FlowError as error:
        return type(error), str(error)
    return type(found), found


@given(st.sampled_from(KINDS), GIVEN)
def test_what_is_written_and_refused(kind: Type, value: Any) -> None:
    assert outcome(lambda: writer(kind)(value)) == outcome(lambda: values.check(value, kind))


@given(st.sampled_from(KINDS), GIVEN)
def test_what_is_read_and_refused(kind: Type, value: Any) -> None:
    try:
        data = values.encode(value)
    except values.NotSerialisable:
        return
    fetch = STORED.__getitem__
    assert outcome(lambda: reader(kind)(data, fetch)) == outcome(lambda: values.decode(data, kind, fetch))
    key = wire.digest(data)
    STORED[key] = data
    stored = wire.reference(wire.Blob(key, len(data)))
    for sent, sort in ((stored, kind), (wire.make_list([stored]), ListOf(kind))):
        assert outcome(lambda: reader(sort)(sent, fetch)) == outcome(lambda: values.decode(sent, sort, fetch))  # noqa: B023


@pytest.mark.parametrize("data", [b"", b"\x91", b"\xc1", b"\xa5ab", b"\x05\x05"])
def test_damaged_values_are_refused_alike(data: bytes) -> None:
    def refused(read: Callable[[], Any]) -> Any:
        with pytest.raises((FlowError, IndexError)) as caught:
            read()
        return type(caught.value), str(caught.value)

    for kind in KINDS:
        expected = refused(lambda: values.decode(data, kind, STORED.__getitem__))  # noqa: B023
        assert refused(lambda: reader(kind)(data, STORED.__getitem__)) == expected  # noqa: B023


def test_a_writer_leaves_to_another_what_it_cannot_do() -> None:
    write = writer(INT, lambda value: f"{value!r}".encode())
    assert [write(1), write("x"), write([1])] == [b"\x01", b"'x'", b"[1]"]
