"""Who waits for what happens outside of runs."""

from __future__ import annotations

from flowrun.engine.listeners import APPROVAL, Listeners, event_key, heard_of, outer_key
from hypothesis import given
from hypothesis import strategies as st

KEYS, RUNS = st.sampled_from("xyz"), st.sampled_from(["a", "b", "c"])


def test_keys() -> None:
    key = event_key("orders.paid", "7")
    assert outer_key(key) == key
    assert outer_key("approval/ask") == outer_key("approval/ask[3]") == APPROVAL
    assert outer_key("signal/approval") == outer_key("") == ""
    assert heard_of(["signal/x", key, "approval/a", "approval/b"]) == {key: 1, APPROVAL: 2}


@given(st.lists(st.tuples(st.booleans(), KEYS, RUNS)))
def test_it_knows_as_many_as_were_added(steps: list[tuple[bool, str, str]]) -> None:
    listeners, counts = Listeners(), dict[tuple[str, str], int]()
    for adds, key, run in steps:
        if adds:
            listeners.add(key, run)
            counts[key, run] = counts.get((key, run), 0) + 1
        elif counts.get((key, run)):
            listeners.drop(key, run)
            counts[key, run] -= 1
    for key in "xyz":
        assert listeners.runs(key) == [run for run in "abc" if counts.get((key, run))]
    listening = {key for (key, _), count in counts.items() if count}
    assert set(listeners._of) == listening


def test_a_part_of_many() -> None:
    listeners = Listeners()
    for run in "dbac":
        listeners.add("x", run)
    assert listeners.runs("x", "a", 2) == ["b", "c"]
    assert listeners.runs("x", "d", 2) == []
    listeners.add_run("a", {"x": 2, "y": 1})
    assert listeners.runs("y") == ["a"]
    listeners.drop("x", "a")
    listeners.drop("x", "a")
    assert "a" in listeners.runs("x")
