"""What is remembered of runs that ended, for how long, and how it is packed."""

from __future__ import annotations

from flowrun.engine.past import Past, digest_of
from hypothesis import given
from hypothesis import strategies as st


def test_ids_are_remembered_for_their_time() -> None:
    past = Past()
    past.remember_ms, past.keep_ms = 1_000, 100_000
    past.add(digest_of("a"), 0, False)
    past.add(digest_of("k"), 0, True)
    past.add(digest_of("b"), 1_000, False)
    assert "a" in past
    past.add(digest_of("c"), 1_200, False)
    assert "a" not in past
    assert all(run in past for run in "kbc")
    past.prune(10_000)
    assert len(past) == 1
    assert "k" in past
    past.prune(200_000)
    assert len(past) == 0
    assert "k" not in past


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=60))
def test_pieces_that_changed_are_enough(steps: list[tuple[int, bool]]) -> None:
    past = Past()
    past.remember_ms, past.keep_ms = 1_000, 3_000
    packed: dict[str, bytes] = {}
    now = 0
    for number, (wait, keyed) in enumerate(steps):
        now += wait
        past.add(digest_of(f"run{number}"), now, keyed)
        packed.update((name, past.pack_piece(name)) for name in past.take_changed())
        other = Past()
        other.restore(past.pack())
        other.restore_pieces({name: data for name, data in packed.items() if data})
        assert len(other) == len(past)
        assert [f"run{i}" in other for i in range(number + 2)] == [f"run{i}" in past for i in range(number + 2)]
        assert other.pack() == past.pack()


def test_many_ids_take_little() -> None:
    past = Past()
    for number in range(100_000):
        past.add(digest_of(f"run{number}"), number // 100, False)
    packed = [past.pack_piece(name) for name in past.take_changed()]
    assert sum(map(len, packed)) < 1_010_000
    assert all(f"run{number}" in past for number in range(0, 100_000, 997))
    assert not any(f"other{number}" in past for number in range(1_000))
