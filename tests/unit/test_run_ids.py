"""Ids of runs: they sort by time, never repeat, and follow from a key where there is one."""

from __future__ import annotations

import time

import pytest
from flowrun.run_ids import RunIds, new_run_id, run_id_of_key


def test_ids_of_one_maker_grow() -> None:
    ids = RunIds()
    made = [ids.new() for _ in range(5_000)]
    assert made == sorted(made)
    assert len(set(made)) == 5_000
    assert all(len(one) in (17, 19) for one in made)


def test_ids_of_two_makers_differ_in_the_same_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
    assert len({new_run_id() for _ in range(1_000)}) == 1_000
    one = RunIds()
    assert len({one.new() for _ in range(3_000)}) == 3_000  # more than a millisecond has numbers


def test_ids_sort_by_time_also_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_700_000_000_000
    ids = RunIds()
    made = []
    for step in (0, 1, 2, -3600_000, -3600_000, 10):
        monkeypatch.setattr(time, "time_ns", lambda step=step: (now + step) * 1_000_000)
        made.append(ids.new())
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    monkeypatch.setattr(time, "time_ns", lambda: (now + 1_000) * 1_000_000)
    assert RunIds().new() > made[-1]


def test_a_key_is_a_run_of_its_flow() -> None:
    assert run_id_of_key("f", "a") == run_id_of_key("f", "a")
    assert len({run_id_of_key("f", "a"), run_id_of_key("f", "b"), run_id_of_key("g", "a")}) == 3
    assert run_id_of_key("f", "a").startswith("k")
