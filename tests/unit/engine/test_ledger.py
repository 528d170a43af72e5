"""The ledger of a trigger's windows is a table by time, however it is written, packed and restored."""

from __future__ import annotations

import pytest
from flowrun.engine import ledger
from flowrun.engine.ledger import LIVE, NEVER, SUCCESS, Ledger
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_PIECE", 4)


WRITES = st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 3), st.integers(1, 4)), max_size=80)


@given(WRITES)
@settings(max_examples=200)
def test_it_is_a_table_by_time(writes: list[tuple[int, int, int]]) -> None:
    found, model = Ledger(), dict[int, tuple[int, int]]()
    pieces: dict[int, bytes] = {}
    for at_ms, number, state in writes:
        for piece in found.put(at_ms, number, state):
            pieces[piece] = b""
        model[at_ms] = number, state
        pieces = {piece: found.pack_piece(piece) for piece in {*pieces, *found.numbers()}}
    restored = Ledger()
    for piece, data in pieces.items():
        restored.restore_piece(piece, data)
    for one in (found, restored):
        assert len(one) == len(model)
        for at_ms in range(-51, 52):
            assert (one.number(at_ms), one.state(at_ms)) == model.get(at_ms, (0, NEVER))
        assert list(one.backwards(51)) == [(at_ms, *model[at_ms]) for at_ms in sorted(model, reverse=True)]
        assert list(one.backwards(0)) == [(at_ms, *model[at_ms]) for at_ms in sorted(model, reverse=True) if at_ms < 0]


@given(WRITES)
def test_only_the_pieces_that_changed_are_told(writes: list[tuple[int, int, int]]) -> None:
    found = Ledger()
    packed: dict[int, bytes] = {}
    for at_ms, number, state in writes:
        changed = set(found.put(at_ms, number, state))
        now = {piece: found.pack_piece(piece) for piece in found.numbers()}
        assert {piece for piece in now if packed.get(piece) != now[piece]} <= changed
        packed = now


def test_the_oldest_go_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MOST", 20)
    found = Ledger()
    gone: set[int] = set()
    for at_ms in range(100):
        gone |= set(found.put(at_ms, 1, SUCCESS))
    assert len(found) <= 20
    assert found.state(99) == SUCCESS
    assert found.state(0) == NEVER
    assert all(not found.pack_piece(piece) for piece in gone - set(found.numbers()))


def test_the_last_window_that_had_a_run() -> None:
    found = Ledger()
    found.put(10, 1, SUCCESS)
    found.put(20, 0, ledger.MISSED)
    found.put(30, 2, LIVE)
    assert found.before(30) == (10, SUCCESS)
    assert found.before(31) == (30, LIVE)
    assert found.before(10) is None


def test_a_window_takes_thirteen_bytes() -> None:
    found = Ledger()
    for at_ms in range(1_000):
        found.put(at_ms, 1, SUCCESS)
    assert sum(len(found.pack_piece(piece)) for piece in found.numbers()) == 13_000
