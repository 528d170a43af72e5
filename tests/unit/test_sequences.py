"""Symbolic sequences: the same as the built ones, on bytes and on objects."""

from __future__ import annotations

from typing import Any

import pytest
from flowrun import sequences, values
from flowrun.expr import Env, ExpressionError, compile_expr
from flowrun.functions import pairs
from hypothesis import given
from hypothesis import strategies as st

Expr = list[Any]


class Store:
    """Externalises everything, whatever its size."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.fetched = 0

    def put(self, value: object) -> bytes:
        data = values.encode(value)
        key = f"{len(self.blobs):032}"
        self.blobs[key] = data
        return values.reference(values.Blob(key, len(data), values.length(data)))

    def fetch(self, digest: str) -> bytes:
        self.fetched += 1
        return self.blobs[digest]


INPUTS: list[Any] = [[1, 2, 3, 4, 5], ["a", "b"], {"k": 1, "l": 2}, 3]

numbers = st.sampled_from([["in", 3], ["lit", 2]])
leaves = st.sampled_from([["in", 0], ["in", 1], ["in", 2], ["list", ["lit", 1], ["lit", 2]]]) | st.builds(
    lambda args: ["call", "range", *args], st.lists(numbers, min_size=1, max_size=3)
)


def _grow(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    tuples = st.lists(inner, min_size=2, max_size=3)
    return (
        st.builds(lambda xs, n: ["call", "chunk", xs, n], inner, numbers)
        | st.builds(lambda lists: ["call", "zip", *lists], tuples)
        | st.builds(lambda lists: ["call", "cross", *lists], tuples)
    )


sources = st.recursive(leaves, _grow, max_leaves=4)


def built(source: Expr) -> list[Any]:
    """What the functions of expressions build. A map is walked as pairs."""
    inputs = [pairs(value) if isinstance(value, dict) else value for value in INPUTS]
    found = compile_expr(source)(Env(inputs))
    assert isinstance(found, list)
    return found


@given(sources)
def test_objects_are_walked_as_if_built(source: Expr) -> None:
    expected = built(source)
    found = sequences.of_values(source, INPUTS)
    assert len(found) == len(expected)
    assert found.slice(0, len(found)) == expected
    assert [found.item(i) for i in range(len(found))] == expected


@given(sources, st.booleans())
def test_bytes_are_walked_as_if_built(source: Expr, in_blobs: bool) -> None:
    store = Store()
    inputs = [store.put(value) if in_blobs and value != 3 else values.encode(value) for value in INPUTS]
    expected = built(source)
    found = sequences.of_bytes(source, inputs)
    assert found is not None
    assert len(found) == len(expected) == sequences.length(source, inputs)
    items = [found.item(i) for i in range(len(found))]
    assert store.fetched == 0
    assert [values.decode_plain(item, store.fetch) for item in items] == expected
    for i, item in enumerate(expected):
        if isinstance(item, list) and item:
            parts = found.parts(i, len(item))
            assert [values.decode_plain(part, store.fetch) for part in parts] == item


@given(sources, st.integers(0, 10), st.integers(0, 10))
def test_slices_are_those_of_the_built(source: Expr, first: int, count: int) -> None:
    expected = built(source)
    first = min(first, len(expected))
    last = min(first + count, len(expected))
    inputs = [values.encode(value) for value in INPUTS]
    found = sequences.of_bytes(source, inputs)
    assert found is not None
    assert values.decode_plain(found.packed(first, last), lambda _: b"") == expected[first:last]
    assert sequences.of_values(source, INPUTS).slice(first, last) == expected[first:last]


def test_a_million_pairs_are_two_counters() -> None:
    source = ["call", "cross", ["call", "range", ["in", 0]], ["call", "range", ["in", 0]]]
    assert sequences.length(source, [values.encode(1_000_000)]) == 10**12
    found = sequences.of_values(source, [1_000_000])
    assert found.item(10**12 - 1) == [999_999, 999_999]
    assert found.slice(1_000_000, 1_000_001) == [[1, 0]]


def test_a_length_that_only_a_blob_tells_is_not_known() -> None:
    store = Store()
    inner = values.item(store.put([[1, 2], [3]]), 0)
    assert sequences.length(["in", 0], [inner]) is None
    assert sequences.length(["call", "chunk", ["in", 0], ["lit", 1]], [inner]) is None
    assert sequences.length(["call", "range", ["in", 0]], [inner]) is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (["call", "range", ["lit", 0], ["lit", 3], ["lit", 0]], "the step of `range` is 0"),
        (["call", "range", ["in", 1]], "a whole number is needed"),
        (["call", "chunk", ["in", 0], ["lit", 0]], "a size of at least 1, and it is 0"),
        (["in", 3], "a list or (a )?map"),
        (["call", "cross", *([["call", "range", ["lit", 2**40]]] * 2)], "more than can be counted"),
        (["call", "range", ["lit", -(2**62)], ["lit", 2**62]], "more than can be counted"),
    ],
)
def test_what_cannot_be_walked_is_told(source: Expr, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        sequences.of_values(source, INPUTS)
    with pytest.raises(ExpressionError, match=message):
        sequences.of_bytes(source, [values.encode(value) for value in INPUTS])


def test_an_item_that_cannot_be_taken_apart_is_told() -> None:
    for value, message in ((["a"], "cannot be taken apart"), ([[1, 2, 3]], "3 parts, and the pattern 2 names")):
        with pytest.raises(ExpressionError, match=message):
            sequences.of_values(["in", 0], [value]).parts(0, 2)
        found = sequences.of_bytes(["in", 0], [values.encode(value)])
        assert found is not None
        with pytest.raises(ExpressionError, match=message):
            found.parts(0, 2)
