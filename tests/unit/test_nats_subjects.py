"""Sets of subjects: what they have in common is told from what matches."""

from __future__ import annotations

import itertools

import pytest
from flowrun.nats.subjects import collide, cover, covers, why_not_heard
from flowrun.sources import subject_matches
from hypothesis import given
from hypothesis import strategies as st

#: all subjects of up to three parts of two letters, and a part that no pattern names
SUBJECTS = [".".join(parts) for size in (1, 2, 3, 4) for parts in itertools.product("abz", repeat=size)]
PATTERNS = st.lists(st.sampled_from("ab*"), min_size=1, max_size=3).flatmap(
    lambda parts: st.sampled_from([".".join(parts), ".".join([*parts, ">"])])
)


def matched(pattern: str) -> set[str]:
    return {subject for subject in SUBJECTS if subject_matches(pattern, subject)}


@given(PATTERNS, PATTERNS)
def test_collisions_and_covers(one: str, other: str) -> None:
    assert collide(one, other) == bool(matched(one) & matched(other))
    assert covers(one, other) == (matched(one) >= matched(other))


@given(st.lists(PATTERNS, max_size=6))
def test_a_cover_takes_in_all_and_never_overlaps(patterns: list[str]) -> None:
    found = cover(patterns)
    assert all(any(covers(one, pattern) for one in found) for pattern in patterns)
    assert not any(collide(one, other) for one, other in itertools.combinations(found, 2))
    assert found == cover(reversed(patterns)) or len(patterns) > 2


def test_a_cover_is_no_larger_than_it_must_be() -> None:
    assert cover(["a.b", "a.c", "b.>"]) == ["a.b", "a.c", "b.>"]
    assert cover(["a.b", "a.>", "a.*.c"]) == ["a.>"]
    assert cover(["a.*.c", "a.b.*"]) == ["a.*.*"]
    assert cover([]) == []


@pytest.mark.parametrize(
    "pattern", ["", "a..b", ".a", "a b", "a.>.b", ">", "*.placed", "flow.dev.inbox.0", "$JS.API", "_INBOX.x"]
)
def test_what_cannot_be_heard(pattern: str) -> None:
    assert why_not_heard(pattern) is not None


@pytest.mark.parametrize("pattern", ["orders", "orders.placed", "orders.*", "orders.>", "flows.x", "o-1.a_b"])
def test_what_can(pattern: str) -> None:
    assert why_not_heard(pattern) is None
