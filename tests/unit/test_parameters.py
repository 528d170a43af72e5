"""Arguments: what is typed is read by the declared type, and each mistake is told with what to write instead."""

from __future__ import annotations

import contextlib
import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flowc.plan import FORMAT, ParamDef, Plan
from flowc.types import (
    BOOL,
    BYTES,
    DATE,
    DATETIME,
    DECIMAL,
    DURATION,
    FILE,
    FLOAT,
    INT,
    JSON,
    SIZE,
    STRING,
    ListOf,
    Literals,
    MapOf,
    Optional,
    Record,
    Secret,
    Type,
)
from flowrun import values
from flowrun.parameters import ArgumentError, encode_arguments, parse_argument
from hypothesis import example, given
from hypothesis import strategies as st

REGION = Literals(("eu", "us"))
ROW = Record((("id", INT), ("day", DATE), ("note", Optional(STRING))))


def plan(**params: tuple[Type, bool]) -> Plan:
    """A plan with these parameters: type, required."""
    types = tuple(kind for kind, _ in params.values())
    return Plan(
        flow="daily",
        file="daily.flow",
        params=tuple(
            ParamDef(name=name, type=i, required=required) for i, (name, (_, required)) in enumerate(params.items())
        ),
        returns=None,
        types=types,
        settings=(),
        tasks=(),
        blocks=(),
        version=FORMAT,
    )


@pytest.mark.parametrize(
    ("kind", "typed", "value"),
    [
        (INT, "42", 42),
        (INT, "-1_000", -1000),
        (FLOAT, "1e-3", 0.001),
        (DECIMAL, "19.90", Decimal("19.90")),
        (BOOL, "True", True),
        (STRING, "@not a file", "@not a file"),
        (STRING, "42", "42"),
        (FILE, "in/a.csv", "in/a.csv"),
        (BYTES, "ä", "ä".encode()),
        (DATE, "2026-01-31", dt.date(2026, 1, 31)),
        (DATETIME, "2026-01-31T10:00:00+02:00", dt.datetime.fromisoformat("2026-01-31T10:00:00+02:00")),
        (DURATION, "5m", dt.timedelta(minutes=5)),
        (DURATION, "1h30m", dt.timedelta(minutes=90)),
        (DURATION, "1.5s", dt.timedelta(seconds=1.5)),
        (SIZE, "64KiB", 65536),
        (SIZE, "10MB", 10_000_000),
        (SIZE, "7", 7),
        (REGION, "eu", "eu"),
        (Optional(INT), "null", None),
        (Optional(INT), "3", 3),
        (Optional(STRING), "null", "null"),
        (Secret(STRING), "s3cret", "s3cret"),
        (ListOf(INT), "[1, 2]", [1, 2]),
        (MapOf(INT), '{"a": 1}', {"a": 1}),
        (ROW, '{"id": 1, "day": "2026-01-31"}', {"id": 1, "day": "2026-01-31"}),
        (JSON, "[null]", [None]),
    ],
)
def test_what_is_typed(kind: Type, typed: str, value: Any) -> None:
    parsed = parse_argument("x", typed, kind)
    assert parsed == value
    values.check(parsed, kind)


@pytest.mark.parametrize(
    ("kind", "typed", "message"),
    [
        (INT, "many", "`x` takes an int, and `many` is none: write it like `x=42`"),
        (INT, "9" * 30, "it does not fit into 64 bits"),
        (INT, "9" * 5000, "it does not fit into 64 bits"),
        (FLOAT, "1,5", "`x` takes a float, and `1,5` is none: write it like `x=1.5`"),
        (DECIMAL, "a", "takes a decimal"),
        (BOOL, "yes", "write it like `x=true`"),
        (DATE, "31.01.2026", "write it like `x=2026-01-31`"),
        (DATETIME, "noon", "write it like `x=2026-01-31T10:00:00Z`"),
        (DURATION, "5 minutes", "write it like `x=1h30m`"),
        (DURATION, "", "write it like `x=1h30m`"),
        (SIZE, "1KB2KB", "write it like `x=64MiB`"),
        (REGION, "su", "`x` is one of `eu`, `us`, and `su` is none of them"),
        (REGION, "euu", "did you mean `eu`?"),
        (ListOf(INT), "1,2", "takes list<int> as JSON, and `1,2` is none"),
        (ROW, "{", 'write it like `x={"id": 1, "day": "2026-01-31", "note": "text"}`, or `x=@file.json`'),
        (ListOf(INT), "[" * 100_000, "takes list<int> as JSON"),
        (ListOf(INT), "@missing.json", "the file cannot be read (No such file or directory)"),
        (Optional(INT), "x" * 100, "…` is none"),
    ],
)
def test_what_is_typed_wrongly(kind: Type, typed: str, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse_argument("x", typed, kind)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


def test_json_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text("[1, 2, 3]")
    (tmp_path / "bad.json").write_bytes(b"\xff")
    assert parse_argument("x", "@rows.json", ListOf(INT), tmp_path) == [1, 2, 3]
    with pytest.raises(ArgumentError, match="not UTF-8"):
        parse_argument("x", "@bad.json", ListOf(INT), tmp_path)


@given(st.text())
@example("20000000000000000000")
def test_any_text_is_read_or_refused(typed: str) -> None:
    for kind in (INT, FLOAT, DECIMAL, BOOL, DATE, DATETIME, DURATION, SIZE, REGION, Optional(DATE)):
        with contextlib.suppress(ArgumentError):
            values.encode(parse_argument("x", typed, kind))


def test_encoded_arguments() -> None:
    given = plan(day=(DATE, True), rows=(ListOf(ROW), True), limit=(INT, False), tag=(Optional(STRING), False))
    rows = [{"id": 1, "day": dt.date(2026, 1, 31)}]
    args, blobs = encode_arguments(given, {"day": dt.date(2026, 1, 31), "rows": rows, "tag": None})
    assert blobs == []
    assert msgspec.msgpack.decode(args) == {
        "day": "2026-01-31",
        "rows": [{"id": 1, "day": "2026-01-31"}],
        "tag": None,
    }


def test_a_large_argument_is_a_blob() -> None:
    numbers = list(range(100_000))
    args, [(digest, data)] = encode_arguments(plan(xs=(ListOf(INT), True)), {"xs": numbers})
    assert len(args) < 100
    assert digest.encode() in args
    assert msgspec.msgpack.decode(data) == numbers


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, 'flow `daily` needs `day: date`, `region: "eu" | "us"`: give them as `-p day=2026-01-31 -p region=eu`'),
        ({"region": "eu"}, "flow `daily` needs `day: date`: give it as `-p day=2026-01-31`"),
        ({"dy": 1}, "flow `daily` has no parameter `dy`: did you mean `day`?"),
        ({"zzz": 1}, "flow `daily` has no parameter `zzz`: it has `day`, `region`, `rows`"),
        ({"day": 3, "region": "eu"}, "argument `day` is no date: expected "),
        ({"day": "2026-01-31", "region": "x"}, 'argument `region` is no "eu" | "us": '),
        (
            {"day": "2026-01-31", "region": "eu", "rows": [{"id": "a", "day": "2026-01-31"}]},
            "argument `rows` is no list<{ id: int, day: date, note: string? }>: `rows[0].id`: expected int, got str",
        ),
        ({"day": object(), "region": "eu"}, "argument `day`: "),
    ],
)
def test_wrong_arguments(args: dict[str, Any], message: str) -> None:
    given = plan(day=(DATE, True), region=(REGION, True), rows=(ListOf(ROW), False))
    with pytest.raises(ArgumentError) as caught:
        encode_arguments(given, args)
    assert message in str(caught.value)


def test_a_flow_without_parameters() -> None:
    with pytest.raises(ArgumentError, match="takes no parameters, so there is no `x`"):
        encode_arguments(plan(), {"x": 1})
