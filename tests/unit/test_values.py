"""Values to bytes and back, by their types."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import math
from pathlib import PurePosixPath
from typing import Any

import msgspec
import numpy
import pydantic
import pytest
from flowc.types import (
    BOOL,
    BYTES,
    DATE,
    DATETIME,
    DECIMAL,
    DURATION,
    FAILURE,
    FILE,
    FLOAT,
    INT,
    JSON,
    NULL,
    SIZE,
    STRING,
    ListOf,
    Literals,
    MapOf,
    Optional,
    Record,
    Secret,
    Type,
    Union,
)
from flowrun import values
from hypothesis import given
from hypothesis import strategies as st

ROW = Record((("id", INT), ("amount", FLOAT), ("note", Optional(STRING))))
UTC = dt.UTC
CEST = dt.timezone(dt.timedelta(hours=2))


def nothing(digest: str) -> bytes:
    raise AssertionError(f"fetched {digest}")


def round_trip(value: object, kind: Type) -> Any:
    return values.decode(values.check(value, kind), kind, nothing)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (3, INT),
        (2.5, FLOAT),
        (decimal.Decimal("3.10"), DECIMAL),
        ("näme", STRING),
        (True, BOOL),
        (b"\x00\xff", BYTES),
        (dt.date(2026, 1, 31), DATE),
        (dt.datetime(2026, 1, 31, 10, 0), DATETIME),
        (dt.datetime(2026, 1, 31, 10, 0, tzinfo=UTC), DATETIME),
        (dt.timedelta(minutes=1, seconds=30, microseconds=5), DURATION),
        (1024, SIZE),
        ("in/x.csv", FILE),
        ({"a": [1, None, "x"]}, JSON),
        (None, NULL),
        ([1, 2], ListOf(INT)),
        ({"a": 1}, MapOf(INT)),
        ("eu", Literals(("eu", "us"))),
        (None, Optional(INT)),
        ("hush", Secret(STRING)),
        ({"id": 1, "amount": 2.0, "note": "n"}, ROW),
    ],
)
def test_every_type_comes_back_as_it_went(value: object, kind: Type) -> None:
    back = round_trip(value, kind)
    assert back == value
    assert type(back) is type(value)


def test_a_datetime_keeps_its_offset() -> None:
    at = dt.datetime(2026, 1, 31, 10, 0, tzinfo=CEST)
    assert round_trip(at, DATETIME).utcoffset() == dt.timedelta(hours=2)
    assert values.decode_plain(values.encode(at), nothing) == "2026-01-31T10:00:00+02:00"


def test_nan_and_infinity_are_floats() -> None:
    assert math.isnan(round_trip(math.nan, FLOAT))
    assert round_trip(-math.inf, FLOAT) == -math.inf


def test_whole_numbers_are_accepted_as_floats_and_decimals() -> None:
    assert round_trip(3, FLOAT) == 3.0
    assert isinstance(round_trip(3, FLOAT), float)
    assert round_trip(3, DECIMAL) == decimal.Decimal(3)


def test_an_absent_optional_field_comes_as_none_at_every_depth() -> None:
    deep = Record((("rows", ListOf(ROW)), ("by", MapOf(ROW)), ("one", Optional(ROW))))
    row = {"id": 1, "amount": 2.0}
    back = round_trip({"rows": [row], "by": {"x": row}}, deep)
    assert back == {"rows": [{**row, "note": None}], "by": {"x": {**row, "note": None}}, "one": None}


def test_fields_that_the_type_does_not_have_are_dropped() -> None:
    assert round_trip({"id": 1, "amount": 1.0, "note": None, "more": 3}, ROW) == {"id": 1, "amount": 1.0, "note": None}


@dataclasses.dataclass
class DataRow:
    id: int
    amount: float


class StructRow(msgspec.Struct):
    id: int
    amount: float


class ModelRow(pydantic.BaseModel):
    id: int
    amount: float
    day: dt.date = dt.date(2026, 1, 31)


class Text(str):
    pass


@pytest.mark.parametrize("row", [DataRow(1, 2.0), StructRow(1, 2.0), ModelRow(id=1, amount=2.0)])
def test_dataclasses_structs_and_models_are_records(row: object) -> None:
    assert round_trip(row, ROW) == {"id": 1, "amount": 2.0, "note": None}
    assert round_trip([row], ListOf(ROW))[0]["id"] == 1


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (numpy.float64(1.5), 1.5),
        (numpy.int32(4), 4),
        (numpy.bool_(True), True),
        (numpy.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (Text("x"), "x"),
        (PurePosixPath("a/b"), "a/b"),
        ((1, 2), [1, 2]),
        ({3}, [3]),
        (collections.deque([1]), [1]),
        (range(3), [0, 1, 2]),
        (collections.OrderedDict(a=1), {"a": 1}),
        ({1: "a"}, {"1": "a"}),
    ],
)
def test_what_python_returns_has_a_plain_form(value: object, plain: object) -> None:
    assert values.decode_plain(values.encode(value), nothing) == plain
    assert values.decode_plain(values.encode([value]), nothing) == [plain]


class Opaque:
    pass


def _circle() -> list[object]:
    circle: list[object] = []
    circle.append(circle)
    return circle


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"rows": [1, Opaque()]}, r"`\$\.rows\[1\]`: a value of type .*Opaque cannot be stored: return"),
        (DataRow(Opaque(), 1), r"`\$\.id`: a value of type"),  # type: ignore[arg-type]
        ((x for x in "ab"), "read only once: return a list"),
        (2**70, "does not fit into 64 bits"),
        ([{"x": 2**70}], r"`\$\[0\]\.x`: the integer"),
        ("\ud800", "lone surrogate"),
        ({(1, 2): 3}, "keys that are no strings"),
        (_circle(), "contains itself"),
        (lambda: 0, "a value of type function"),
    ],
)
def test_what_cannot_be_stored_is_named_with_its_place(value: object, message: str) -> None:
    with pytest.raises(values.NotSerialisable, match=message):
        values.encode(value)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("x", INT, "`$`: expected int, got str"),
        (True, INT, "`$`: expected int, got bool"),
        (1.0, INT, "`$`: expected int, got float"),
        ([{"id": 1, "amount": 1.0}, {"id": 1, "amount": "a"}], ListOf(ROW), "`$[1].amount`: expected float, got str"),
        ([{"id": 1}], ListOf(ROW), "`$[0]`: missing field `amount`"),
        ({"id": 1, "amount": 1.0, "note": 3}, ROW, "`$.note`: expected string or null, got int"),
        ([1], ROW, "`$`: expected record, got list"),
        (None, ListOf(INT), "`$`: expected list, got None"),
        ({"a": 1}, ListOf(INT), "`$`: expected list, got dict"),
        ("x", DATE, "`$`: not the ISO form of a date"),
        ("asia", Literals(("eu", "us")), "`$`: not one of the allowed values: 'asia'"),
        (3, Union((STRING, ROW)), "`$`: expected string or { id: int, amount: float, note: string? }, got int"),
        ([3], ListOf(Union((STRING, DATE))), "`$[0]`: expected string or date, got int"),
    ],
)
def test_a_mismatch_names_place_expected_and_got(value: object, kind: Type, message: str) -> None:
    with pytest.raises(values.TypeMismatch) as caught:
        values.check(value, kind)
    assert str(caught.value) == message


def test_unions_that_look_alike_are_told_apart() -> None:
    either = ListOf(Union((ROW, FAILURE)))
    failure = {"step": "a", "index": 3, "type": "E", "message": "m", "attempts": 1}
    assert round_trip([{"id": 1, "amount": 1.0}, failure], either) == [{"id": 1, "amount": 1.0, "note": None}, failure]
    # a record whose fields are a part of a failure's is not mistaken for it
    part = Record((("type", STRING), ("message", STRING)))
    assert round_trip([failure], ListOf(Union((part, FAILURE)))) == [failure]
    assert round_trip({"type": "x", "message": "y"}, Union((part, FAILURE))) == {"type": "x", "message": "y"}
    assert round_trip([[1], ["a"]], ListOf(Union((ListOf(INT), ListOf(STRING))))) == [[1], ["a"]]
    assert round_trip(dt.date(2026, 1, 31), Union((STRING, DATE))) == dt.date(2026, 1, 31)
    assert round_trip("x", Union((STRING, DATE))) == "x"


def test_same_type_gives_the_same_python_type() -> None:
    assert values.python_type(ROW) is values.python_type(Record(ROW.fields))


# ---- references -----------------------------------------------------------------------------------------------------


class Store:
    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.fetched = 0

    def put(self, value: object) -> bytes:
        data, blob = values.externalise(values.encode(value))
        assert blob is not None
        self.blobs[blob[0]] = blob[1]
        return data

    def fetch(self, digest: str) -> bytes:
        self.fetched += 1
        return self.blobs[digest]


def test_small_values_travel_inline() -> None:
    data = values.encode("x" * 1000)
    assert values.externalise(data) == (data, None)


def test_a_large_value_travels_as_a_reference_with_its_length() -> None:
    store = Store()
    data = store.put(list(range(50_000)))
    assert len(data) < 100
    assert values.is_blob(data)
    assert values.length(data) == values.blob_of(data).length == 50_000
    assert values.decode(data, ListOf(INT), store.fetch) == list(range(50_000))


def test_references_inside_lists_and_records_are_resolved_by_type() -> None:
    store = Store()
    row = {"id": 1, "amount": 2.0, "note": "n" * 40_000}
    inner = values.make_list([store.put(row), values.encode({"id": 2, "amount": 0.5})])
    data = values.make_record([("rows", inner), ("day", values.encode(dt.date(2026, 1, 31)))])
    kind = Record((("rows", ListOf(ROW)), ("day", DATE)))
    back = values.decode(data, kind, store.fetch)
    assert back == {"rows": [row, {"id": 2, "amount": 0.5, "note": None}], "day": dt.date(2026, 1, 31)}
    assert [blob.digest for blob in values.references([data, data])] == list(store.blobs)


def test_a_mismatch_inside_a_reference_is_told() -> None:
    store = Store()
    data = values.make_list([store.put(["x" * 40_000])])
    with pytest.raises(values.TypeMismatch, match=r"`\$\[0\]\[0\]`: expected int, got str"):
        values.decode(data, ListOf(ListOf(INT)), store.fetch)


def test_a_string_that_looks_like_a_reference_is_a_string() -> None:
    mark = b"\x01\x94\xd9\x20"
    assert values.decode(values.encode([mark, mark * 9]), ListOf(BYTES), nothing) == [mark, mark * 9]


def test_items_and_parts_of_a_blob_are_references_without_fetching() -> None:
    store = Store()
    rows = [[i, str(i) * 20] for i in range(3_000)]
    data = store.put(rows)
    one, some = values.item(data, 7), values.part(data, 10, 13)
    assert values.length(some) == 3
    assert values.length(one) is None
    assert store.fetched == 0
    assert values.decode_plain(one, store.fetch) == rows[7]
    assert values.decode_plain(some, store.fetch) == rows[10:13]
    assert values.decode_plain(values.item(some, 1), store.fetch) == rows[11]
    assert values.decode_plain(values.item(values.part(some, 1, 3), 1), store.fetch) == rows[12]
    assert values.decode_plain(values.item(one, 1), store.fetch) == rows[7][1]


def test_a_blob_that_holds_references_is_resolved() -> None:
    store = Store()
    big = store.put("y" * 40_000)
    outer, blob = values.externalise(values.make_list([big] * 1000))
    assert blob is not None
    store.blobs[blob[0]] = blob[1]
    assert values.decode(outer, ListOf(STRING), store.fetch) == ["y" * 40_000] * 1000
    assert values.decode(values.item(outer, 3), STRING, store.fetch) == "y" * 40_000


# ---- bytes ----------------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.lists(json_values, max_size=40))
def test_lists_are_counted_cut_and_joined_as_bytes(items: list[Any]) -> None:
    data = values.encode(items)
    parts = values.elements(data)
    assert values.length(data) == len(items)
    assert [values.decode_plain(part, nothing) for part in parts] == items
    assert values.make_list(parts) == data
    assert values.concat(len(parts), parts) == data
    assert values.split(len(items), b"".join(parts)) == parts
    assert all(values.item(data, i) == part for i, part in enumerate(parts))
    assert values.part(data, 1, 3) == values.encode(items[1:3])


@given(st.dictionaries(st.text(), json_values, max_size=20))
def test_maps_are_walked_as_pairs(entries: dict[str, Any]) -> None:
    data = values.encode(entries)
    assert values.length(data) == len(entries)
    pairs = [tuple(values.decode_plain(pair, nothing)) for pair in values.elements(data)]
    assert pairs == list(entries.items())
    assert values.make_map((key, values.encode(value)) for key, value in entries.items()) == data


@pytest.mark.parametrize("count", [0, 15, 16, 65_535, 65_536])
def test_headers_of_every_size(count: int) -> None:
    data = values.make_list([values.NULL] * count)
    assert data == values.encode([None] * count)
    assert values.length(data) == count
    assert values.length(values.make_map((str(i), values.NULL) for i in range(count))) == count


@pytest.mark.parametrize("value", [None, 3, "abc", 2.5, b"xy", "x" * 300])
def test_other_values_have_no_length(value: object) -> None:
    assert values.length(values.encode(value)) is None


@pytest.mark.parametrize("data", [b"\x03", b"\x92\x01", b"\x91\xc1"])
def test_what_is_no_list_is_told(data: bytes) -> None:
    with pytest.raises(values.WireError, match="no list"):
        values.elements(data)


@pytest.mark.parametrize("data", [b"\x91" * 5000, b"\xc1", b"\x92\x01", b"\xc7\x02\x05ab"])
def test_damaged_bytes_are_told(data: bytes) -> None:
    with pytest.raises((values.TypeMismatch, values.WireError)):
        values.decode_plain(data, nothing)
    with pytest.raises(values.TypeMismatch):
        values.decode(data, ListOf(INT), nothing)
