"""Types from their canonical text."""

from __future__ import annotations

import pytest
from flowc import types
from flowc.lower.type_text import parse
from flowc.types import ListOf, Literals, MapOf, Optional, Record, Secret, Type, Union, text
from hypothesis import given
from hypothesis import strategies as st

plain = st.sampled_from([*types.PRIMITIVES.values(), types.NULL, types.ERROR, types.FAILURE, types.RUN])
literals = st.builds(Literals, st.lists(st.text(), min_size=1, max_size=3, unique=True).map(tuple))


#: deferred, for what hypothesis says of a recursive strategy grows without end
kinds: st.SearchStrategy[Type] = st.deferred(lambda: plain | literals | plain | _grown())


def _grown() -> st.SearchStrategy[Type]:
    whole = kinds.filter(lambda kind: not isinstance(kind, Optional | Union))
    members = st.lists(whole.filter(lambda kind: not isinstance(kind, Literals)), min_size=2, max_size=3, unique=True)
    fields = st.lists(st.tuples(st.text(min_size=1), kinds), max_size=3, unique_by=lambda field: field[0])
    return (
        st.builds(ListOf, kinds)
        | st.builds(MapOf, kinds)
        | st.builds(Secret, whole)
        | st.builds(Optional, kinds.filter(lambda kind: not isinstance(kind, Optional)))
        | st.builds(Union, members.map(tuple))
        | st.builds(Record, fields.map(tuple))
    )


@given(kinds)
def test_every_type_is_read_back_from_its_text(kind: Type) -> None:
    assert parse(text(kind)) == kind


def test_literals_in_a_union_are_one_member() -> None:
    assert parse('"a" | int | "b"') == Union((Literals(("a", "b")), types.INT))


@pytest.mark.parametrize("given_text", ["", "list<int", "what", "int int", "{ a int }", "list<>", "int %"])
def test_other_text_is_refused(given_text: str) -> None:
    with pytest.raises(ValueError, match="is no type"):
        parse(given_text)
