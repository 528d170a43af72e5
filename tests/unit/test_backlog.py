"""What goes first: priority, then who waits longest; large runs take turns with what comes later; nothing starves."""

from __future__ import annotations

from typing import Any

from flowrun.backlog import Backlog, Entry
from flowrun.engine.commands import Ready, Revoke


def ready(**changes: Any) -> Ready:
    given: dict[str, Any] = {
        "run": "r", "scope": 0, "block": 0, "node": 1, "attempt": 1, "first": -1, "last": -1, "inputs": (b"\x01",),
        "plan": "p", "flow": "", "lane": "default", "priority": 5, "order": 1,
    }  # fmt: skip
    return Ready(**{**given, **changes})


def taken(backlog: Backlog, items: int = 1, seconds: float = 0.01, most: int = 100) -> list[str]:
    """The runs whose items go first, that many items at a time."""
    lane = backlog.lane("default")
    runs: list[str] = []
    while len(runs) < most and (entry := lane.front()) is not None:
        runs.append(entry.ready.run)
        backlog.take(lane, min(items, entry.items), seconds)
    return runs


def add(backlog: Backlog, now: float, seconds: float = 0.01, **changes: Any) -> None:
    backlog.add(Entry.of(ready(**changes)), now, seconds)


def test_a_higher_priority_goes_first_and_then_the_earlier_submission() -> None:
    backlog = Backlog(aging=60)
    for run, priority, order in (("a", 5, 2), ("b", 5, 1), ("c", 9, 3), ("d", 0, 0)):
        add(backlog, 0.0, run=run, priority=priority, order=order)
    assert taken(backlog) == ["c", "b", "a", "d"]


def test_what_waits_gains_a_level_in_its_time() -> None:
    backlog = Backlog(aging=60)
    add(backlog, 0.0, run="old", priority=3)
    add(backlog, 119.0, run="new", priority=5)
    assert taken(backlog) == ["new", "old"]
    add(backlog, 0.0, run="old", priority=3)
    add(backlog, 121.0, run="new", priority=5)
    assert taken(backlog) == ["old", "new"]


def test_a_huge_each_does_not_hold_up_a_small_run() -> None:
    backlog = Backlog(aging=60)
    add(backlog, 0.0, run="huge", first=0, last=1_000_000)
    assert taken(backlog, items=100, most=50) == ["huge"] * 50  # worth 50 seconds
    add(backlog, 10.0, run="small", order=9)
    assert taken(backlog, items=100, most=2) == ["small", "huge"]


def test_two_huge_ones_take_turns() -> None:
    backlog = Backlog(aging=60)
    add(backlog, 0.0, run="a", first=0, last=1_000)
    add(backlog, 0.0, run="b", first=0, last=1_000)
    runs = taken(backlog, items=100)
    assert (runs.count("a"), runs.count("b")) == (10, 10)
    assert all(runs[i : i + 2].count("a") == 1 for i in range(0, 20, 2))


def test_a_run_of_many_steps_takes_turns_too() -> None:
    backlog = Backlog(aging=60)
    for node in range(100):
        add(backlog, 0.0, run="wide", node=node)
    add(backlog, 0.1, run="small", order=9)
    assert 5 <= taken(backlog).index("small") <= 15


def test_revoked_and_ended_work_leaves_nothing_behind() -> None:
    backlog = Backlog(aging=60)
    add(backlog, 0.0, run="a", first=0, last=100)
    add(backlog, 0.0, run="b", node=1)
    add(backlog, 0.0, run="b", node=2)
    backlog.revoke(Revoke(run="a", scope=0, node=1, attempt=0, first=20, last=30), 0.0)
    assert sorted((entry.first, entry.last) for entry in backlog.of("a", 0, 1)) == [(0, 20), (30, 100)]
    assert backlog.lane("default").items == 92
    backlog.revoke(Revoke(run="b", scope=0, node=1, attempt=2), 0.0)
    assert backlog.lane("default").items == 92
    backlog.revoke(Revoke(run="b", scope=0, node=1, attempt=1), 0.0)
    assert backlog.lane("default").items == 91
    backlog.end_run("a")
    assert backlog.lane("default").items == 1
    assert taken(backlog) == ["b"]
    assert backlog.runs == {}
