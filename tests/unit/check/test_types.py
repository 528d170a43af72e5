"""How types relate."""

from __future__ import annotations

import pytest
from flowc.check.types import assignable, difference, join, optional
from flowc.types import (
    DATE,
    DECIMAL,
    ERROR,
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
    text,
)
from hypothesis import given
from hypothesis import strategies as st

EU_US = Literals(("eu", "us"))
ROW = Record((("id", INT), ("note", Optional(STRING))))

LEAVES = st.sampled_from([INT, FLOAT, DECIMAL, STRING, DATE, SIZE, JSON, NULL, EU_US, Literals(("eu",))])


def _nested(inner: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    fields = st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    return st.one_of(
        inner.map(ListOf), inner.map(MapOf), inner.map(optional), fields.map(lambda f: Record(tuple(f.items())))
    )


TYPES = st.recursive(LEAVES, _nested, max_leaves=6)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (INT, FLOAT),
        (INT, DECIMAL),
        (SIZE, INT),
        (EU_US, STRING),
        (Literals(("eu",)), EU_US),
        (NULL, Optional(INT)),
        (INT, Optional(FLOAT)),
        (Optional(INT), Optional(INT)),
        (ListOf(INT), ListOf(FLOAT)),
        (Record((("id", INT),)), ROW),
        (Record((("id", INT), ("more", DATE))), ROW),
        (ROW, MapOf(JSON)),
        (JSON, ROW),
        (ROW, JSON),
        (Union((INT, STRING)), JSON),
        (INT, Union((INT, STRING))),
        (STRING, Secret(STRING)),
        (Secret(STRING), Optional(Secret(STRING))),
        (ERROR, INT),
        (INT, ERROR),
    ],
    ids=str,
)
def test_fits(source: Type, target: Type) -> None:
    assert assignable(source, target)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (FLOAT, INT),
        (FLOAT, DECIMAL),
        (STRING, EU_US),
        (Optional(INT), INT),
        (NULL, INT),
        (ListOf(STRING), ListOf(INT)),
        (Record((("note", STRING),)), ROW),
        (MapOf(INT), ROW),
        (Union((INT, STRING)), INT),
        (Secret(STRING), STRING),
        (Secret(STRING), JSON),
        (ListOf(Secret(STRING)), JSON),
        (DATE, STRING),
    ],
    ids=str,
)
def test_does_not_fit(source: Type, target: Type) -> None:
    assert not assignable(source, target)


@given(TYPES)
def test_everything_fits_into_itself_and_its_optional(kind: Type) -> None:
    assert assignable(kind, kind)
    assert assignable(kind, optional(kind))


@given(TYPES, TYPES)
def test_both_sides_fit_into_their_join(a: Type, b: Type) -> None:
    joined = join(a, b)
    assert assignable(a, joined)
    assert assignable(b, joined)


@given(TYPES)
def test_a_join_with_itself_changes_nothing(kind: Type) -> None:
    assert join(kind, kind) == kind
    assert join(kind, ERROR) == kind == join(ERROR, kind)


@pytest.mark.parametrize(
    ("a", "b", "joined"),
    [
        (INT, FLOAT, "float"),
        (INT, NULL, "int?"),
        (INT, STRING, "int | string"),
        (Literals(("eu",)), Literals(("us",)), '"eu" | "us"'),
        (ListOf(INT), ListOf(NULL), "list<int?>"),
        (Record((("a", INT),)), Record((("b", INT),)), "{ a: int?, b: int? }"),
        (JSON, INT, "json"),
    ],
)
def test_joins(a: Type, b: Type, joined: str) -> None:
    assert text(join(a, b)) == joined


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        (INT, STRING, ""),
        (ListOf(Record((("id", STRING),))), ListOf(ROW), "field `[].id` is string, not int"),
        (Record(()), ROW, "field `id` is missing"),
        (Record((("id", Optional(INT)),)), ROW, "field `id` may be null"),
        (Record((("a", ROW),)), Record((("a", Record((("id", DATE),))),)), "field `a.id` is int, not date"),
    ],
)
def test_differences(source: Type, target: Type, said: str) -> None:
    assert difference(source, target) == said
