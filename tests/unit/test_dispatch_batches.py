"""Calls that wait for others to be executed with."""

from __future__ import annotations

from math import inf

from flowc.plan import BatchDef
from flowrun.backlog import Task
from flowrun.capacity import Capacity
from flowrun.dispatch import Cut, Dispatcher
from flowrun.engine.commands import Revoke
from flowrun.settings import Settings

from tests.unit.test_dispatch import done, ready

BATCH = BatchDef(max=4, within_ms=500)


def dispatcher(slots: int = 4) -> Dispatcher:
    """Nodes from 10 on are calls of functions with a batch: 10 to 19 of one, 20 to 29 of another."""
    given = Settings()

    def batch_of(task: Task) -> BatchDef | None:
        return BATCH if task[3] >= 10 else None

    def function_of(task: Task) -> str:
        return str(task[3] // 10)

    return Dispatcher("part", "x", Capacity("nodes", given, fixed=slots), given, function_of, batch_of)


def shown(cuts: list[Cut]) -> list[list[tuple[str, int]]]:
    assert all(cut.bundle.batch == (cut.bundle.items[0].node >= 10) for cut in cuts)
    return [[(item.run, item.node) for item in cut.bundle.items] for cut in cuts]


def test_they_wait_until_enough_are_there() -> None:
    d = dispatcher()
    for i in range(3):
        d.add(ready(run=f"r{i}", node=10), 1.0)
    assert list(d.cut(1.2)) == []
    assert d.due() == 1.5
    d.add(ready(run="r3", node=11), 1.3)
    assert shown(list(d.cut(1.3))) == [[("r0", 10), ("r1", 10), ("r2", 10), ("r3", 11)]]
    assert (d.due(), d.waiting) == (inf, 0)


def test_they_wait_no_longer_than_that() -> None:
    d = dispatcher()
    d.add(ready(run="a", node=10, plan="p"), 1.0)
    d.add(ready(run="b", node=12, plan="q"), 1.4)
    assert list(d.cut(1.49)) == []
    [cut] = d.cut(1.5)
    assert shown([cut]) == [[("a", 10), ("b", 12)]]
    assert cut.bundle.plans == ("p", "q")
    assert cut.bundle.lane == "default"


def test_only_those_of_one_function_go_together() -> None:
    d = dispatcher()
    for node in (10, 20, 1, 11, 21):
        d.add(ready(run=f"r{node}", node=node), 0.0)
    assert sorted(shown(list(d.cut(9.0)))) == [[("r1", 1)], [("r10", 10), ("r11", 11)], [("r20", 20), ("r21", 21)]]


def test_ranges_are_cut_into_batches() -> None:
    d = dispatcher()
    d.add(ready(node=10, first=0, last=10), 0.0)
    cuts = list(d.cut(0.1))
    assert [[(item.first, item.last) for item in cut.bundle.items] for cut in cuts] == [[(0, 4)], [(4, 8)]]
    d.add(ready(run="s", node=10, first=3, last=5), 0.2)
    [cut] = d.cut(0.2)
    assert [(item.run, item.first, item.last) for item in cut.bundle.items] == [("r", 8, 10), ("s", 3, 5)]


def test_what_is_revoked_or_belongs_to_a_run_that_ended_goes_nowhere() -> None:
    d = dispatcher()
    d.add(ready(run="a", node=10), 0.0)
    d.add(ready(run="b", node=10, first=0, last=3), 0.0)
    d.add(ready(run="c", node=10), 0.0)
    assert d.covers(ready(run="b", node=10, first=0, last=3)) == [(0, 3)]
    d.revoke(Revoke("b", 0, 10, 0, 1, 2), 0.1)
    d.end_run("a")
    assert not d.holds("a")
    [cut] = d.cut(9.0)
    assert sorted((item.run, item.first) for item in cut.bundle.items) == [("b", 0), ("b", 2), ("c", -1)]


def test_one_that_goes_alone_is_a_batch_of_one() -> None:
    d = dispatcher()
    d.add(ready(run="a", node=10), 0.0)
    d.add(ready(run="b", node=10, alone=True), 0.0)
    assert sorted(shown(list(d.cut(9.0)))) == [[("a", 10)], [("b", 10)]]


def test_there_are_no_more_at_a_time_than_the_window_holds() -> None:
    d = dispatcher(slots=1)
    for i in range(20):
        d.add(ready(run=f"r{i:02}", node=10), 0.0)
    first = list(d.cut(9.0))
    assert [len(cut.bundle.items) for cut in first] == [4, 4]
    assert d.due() == inf  # a place that becomes free wakes them
    d.outcomes(first[0].bundle.id, done(first[0].bundle))
    assert [len(cut.bundle.items) for cut in d.cut(9.0)] == [4]
