"""Bundles: as many as there is room for, as large as they may be, in order; nothing twice, nothing forgotten."""

from __future__ import annotations

import struct
from collections import Counter
from itertools import pairwise
from typing import Any

from flowrun.capacity import Capacity
from flowrun.dispatch import Cut, Dispatcher
from flowrun.engine.commands import Ready, Revoke
from flowrun.messages import Bundle, Outcome
from flowrun.settings import Settings
from hypothesis import given
from hypothesis import strategies as st


def ready(**changes: Any) -> Ready:
    given: dict[str, Any] = {
        "run": "r", "scope": 0, "block": 0, "node": 1, "attempt": 1, "first": -1, "last": -1, "inputs": (b"\x01",),
        "plan": "p", "flow": "", "lane": "default", "priority": 5, "order": 1,
    }  # fmt: skip
    return Ready(**{**given, **changes})


def dispatcher(slots: int = 2, **settings: Any) -> Dispatcher:
    given = Settings(**settings)
    return Dispatcher("part", "x", Capacity("nodes", given, fixed=slots), given)


def add(d: Dispatcher, work: Ready, now: float, seconds: float | None) -> None:
    """`seconds`: what an item of it took before; None: it was never measured."""
    if seconds is not None:
        d.durations.took((work.plan, work.flow, work.block, work.node), seconds)
    d.add(work, now)


def done(bundle: Bundle, seconds: float = 0.0001) -> tuple[Outcome, ...]:
    """All items of a bundle succeeded."""
    return tuple(
        Outcome(
            run=item.run, scope=item.scope, node=item.node, attempt=item.attempt, state="success",
            seconds=struct.pack("<f", seconds) * max(item.last - item.first, 1), first=item.first, last=item.last,
        )
        for item in bundle.items
    )  # fmt: skip


def nodes(cut: Cut) -> list[int]:
    return [item.node for item in cut.bundle.items]


def drain(d: Dispatcher, seconds: float = 0.0001) -> list[Cut]:
    """Cuts, and ends what was cut, until nothing is left."""
    cuts: list[Cut] = []
    while found := list(d.cut()):
        cuts += found
        for cut in found:
            d.outcomes(cut.bundle.id, done(cut.bundle, seconds))
    assert (d.waiting, d.outstanding) == (0, 0)
    return cuts


def test_what_was_never_measured_goes_alone_and_two_per_slot() -> None:
    d = dispatcher(slots=2)
    for node in range(10):
        d.add(ready(node=node), 0.0)
    first = list(d.cut())
    assert [nodes(cut) for cut in first] == [[0], [1], [2], [3]]
    assert list(d.cut()) == []
    assert (d.waiting, d.outstanding) == (6, 4)
    d.outcomes(first[0].bundle.id, done(first[0].bundle))
    assert [nodes(cut) for cut in d.cut()] == [[4]]


def test_a_step_takes_as_long_as_its_function_took_elsewhere() -> None:
    given = Settings()
    capacity = Capacity("nodes", given, fixed=2)
    d = Dispatcher("part", "x", capacity, given, lambda task: "short" if task[3] % 2 else "unknown")
    d.durations.took(("p", "", 0, 1), 0.001)
    for node in range(3, 43, 2):
        d.add(ready(node=node), 0.0)
    assert [len(cut.bundle.items) for cut in d.cut()] == [10, 5, 3, 2]
    for node in range(100, 110, 2):
        d.add(ready(node=node, lane="other"), 0.0)
    assert [len(cut.bundle.items) for cut in d.cut()] == [1, 2, 1, 1]  # it is tried with more and more


def test_what_is_short_goes_together_shared_out_over_the_slots() -> None:
    d = dispatcher(slots=2)
    for i in range(20):
        add(d, ready(node=i), 0.0, 0.001)
    assert [len(cut.bundle.items) for cut in d.cut()] == [10, 5, 3, 2]
    d = dispatcher(slots=2)
    for i in range(4):
        add(d, ready(node=i), 0.0, 0.00001)
    assert [len(cut.bundle.items) for cut in d.cut()] == [4]


def test_a_bundle_aims_at_its_time() -> None:
    d = dispatcher(slots=1)
    for _ in range(2):
        d.add(ready(node=7), 0.0)
        [cut] = d.cut()
        d.outcomes(cut.bundle.id, done(cut.bundle, 0.010))
    for i in range(50):
        d.add(ready(node=7, scope=i), 0.0)
    assert [len(cut.bundle.items) for cut in d.cut()] == [5, 5]


def test_long_work_is_never_bundled() -> None:
    d = dispatcher(slots=4)
    for i in range(6):
        add(d, ready(node=i), 0.0, 2.0)
    assert [len(cut.bundle.items) for cut in d.cut()] == [1] * 6


def test_a_large_each_makes_few_bundles() -> None:
    d = dispatcher(slots=2)
    d.add(ready(first=0, last=100_000), 0.0)
    cuts = drain(d, 0.00001)
    assert 100 <= len(cuts) <= 400
    spans = sorted((item.first, item.last) for cut in cuts for item in cut.bundle.items)
    assert spans[0][0] == 0
    assert spans[-1][1] == 100_000
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    assert len(cuts[0].bundle.items) == 1
    assert cuts[0].bundle.items[0].last == 1


def test_large_inputs_limit_a_bundle() -> None:
    d = dispatcher(slots=1)
    for i in range(30):
        add(d, ready(node=i, inputs=(bytes(30_000),)), 0.0, 0.0001)
    assert all(len(cut.bundle.items) <= 9 for cut in drain(d))


def test_priority_then_order() -> None:
    d = dispatcher(slots=1, window_per_slot=100)
    for node, (priority, order) in enumerate([(5, 2), (5, 1), (9, 3), (0, 0), (5, 1)]):
        d.add(ready(run=f"r{node}", node=node, priority=priority, order=order), 0.0)
    cuts = list(d.cut())
    assert [nodes(cut) for cut in cuts] == [[2], [1], [4], [0], [3]]
    assert [cut.priority for cut in cuts] == [9, 5, 5, 5, 0]


def test_lanes_have_windows_of_their_own() -> None:
    d = dispatcher(slots=1)
    for i in range(5):
        d.add(ready(node=i, lane="cpu"), 0.0)
        d.add(ready(node=i, lane="io"), 0.0)
    assert Counter(cut.bundle.lane for cut in d.cut()) == {"cpu": 2, "io": 2}


def test_a_suspect_goes_alone() -> None:
    d = dispatcher(slots=1)
    for i in range(5):
        add(d, ready(node=i, alone=i == 2), 0.0, 0.0001)
    assert [nodes(cut) for cut in drain(d)] == [[0, 1], [2], [3, 4]]


def test_of_what_workers_died_of_again_one_is_out_at_a_time() -> None:
    d = dispatcher(slots=4)
    for node in range(3):
        d.add(ready(node=node, alone=True, suspect=True, order=node), 0.0)
    d.add(ready(node=9, order=9), 0.0)
    (suspect,) = [cut for cut in d.cut() if nodes(cut) != [9]]
    assert nodes(suspect) == [0]
    d.gone(suspect.bundle.id)
    assert [nodes(cut) for cut in d.cut()] == [[1]]


def test_items_of_several_plans() -> None:
    d = dispatcher(slots=1)
    for i, plan in enumerate("aba"):
        add(d, ready(node=i, plan=plan), 0.0, 0.0001)
    [cut] = d.cut()
    assert cut.bundle.plans == ("a", "b")
    assert [item.plan for item in cut.bundle.items] == [0, 1, 0]


def test_a_bundle_is_done_when_all_of_it_is() -> None:
    d = dispatcher(slots=1)
    add(d, ready(first=0, last=100), 0.0, 0.0001)
    [cut] = d.cut()
    item = cut.bundle.items[0]
    assert (item.first, item.last) == (0, 100)

    def part(first: int, last: int) -> tuple[Outcome, ...]:
        return (Outcome(run="r", scope=0, node=1, attempt=1, state="success", first=first, last=last),)

    d.outcomes(cut.bundle.id, part(0, 60))
    assert d.outstanding == 1
    d.outcomes("of another coordinator", part(60, 100))
    assert d.outstanding == 1
    d.outcomes(cut.bundle.id, part(60, 100))
    assert d.outstanding == 0


def test_what_was_returned_or_lost_frees_the_window_and_teaches_nothing() -> None:
    d = dispatcher(slots=1)
    for i in range(4):
        d.add(ready(node=i), 0.0)
    one, two = d.cut()
    d.gone(one.bundle.id)
    d.gone(one.bundle.id)
    given_back = Outcome(run="r", scope=0, node=1, attempt=1, state="returned", seconds=b"")
    d.outcomes(two.bundle.id, (given_back,))
    assert d.outstanding == 0
    d.add(ready(node=1, attempt=1), 0.0)
    assert [nodes(cut) for cut in d.cut()] == [[2], [3]]


def test_revoked_work_does_not_go() -> None:
    d = dispatcher(slots=1)
    for node in range(4):
        d.add(ready(node=node), 0.0)
    d.revoke(Revoke(run="r", scope=0, node=2, attempt=0), 0.0)
    d.revoke(Revoke(run="r", scope=0, node=3, attempt=2), 0.0)
    out = list(d.cut())
    assert [nodes(cut) for cut in out] == [[0], [1]]
    d.revoke(Revoke(run="r", scope=0, node=0, attempt=1), 0.0)
    assert d.outstanding == 1
    assert [nodes(cut) for cut in d.cut()] == [[3]]


def test_a_part_of_a_range_is_revoked() -> None:
    d = dispatcher(slots=1)
    add(d, ready(first=0, last=100), 0.0, 0.0001)
    d.revoke(Revoke(run="r", scope=0, node=1, attempt=0, first=30, last=40), 0.0)
    assert d.waiting == 90
    spans = sorted((item.first, item.last) for cut in drain(d) for item in cut.bundle.items)
    assert spans == [(0, 30), (40, 100)]


def test_an_ended_run_is_forgotten() -> None:
    d = dispatcher(slots=1)
    for i in range(6):
        d.add(ready(run="r" if i % 2 else "s", node=i), 0.0)
    first, second = d.cut()
    assert (nodes(first), nodes(second)) == ([0], [1])
    d.end_run("r")
    d.end_run("r")
    assert (d.waiting, d.outstanding) == (2, 1)
    d.outcomes(first.bundle.id, done(first.bundle))
    assert [nodes(cut) for cut in drain(d)] == [[2], [4]]


_OPERATION = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 5), st.sampled_from([None, 0.00001, 0.01, 1.0]), st.integers(0, 9)),
    st.tuples(st.just("range"), st.integers(0, 5), st.integers(1, 3_000), st.sampled_from([None, 0.00001, 0.02])),
    st.tuples(st.just("cut"), st.floats(0, 0.1)),
)


@given(st.lists(_OPERATION, max_size=30), st.integers(1, 4))
def test_every_item_goes_exactly_once(operations: list[tuple[Any, ...]], slots: int) -> None:
    d = dispatcher(slots)
    expected: Counter[tuple[int, int]] = Counter()
    got: Counter[tuple[int, int]] = Counter()

    def take(seconds: float) -> bool:
        cuts = list(d.cut())
        assert d.outstanding <= 2 * slots
        for cut in cuts:
            assert len(cut.bundle.items) >= 1
            assert sum(max(i.last - i.first, 1) for i in cut.bundle.items) <= 500
            for item in cut.bundle.items:
                got.update((item.scope, i) for i in (range(item.first, item.last) if item.last >= 0 else [-1]))
            d.outcomes(cut.bundle.id, done(cut.bundle, seconds))
        return bool(cuts)

    for scope, (kind, *args) in enumerate(operations):
        if kind == "add":
            add(d, ready(scope=scope, node=args[0], priority=args[2]), 0.0, args[1])
            expected[scope, -1] += 1
        elif kind == "range":
            add(d, ready(scope=scope, node=args[0], first=0, last=args[1]), 0.0, args[2])
            expected.update((scope, i) for i in range(args[1]))
        else:
            take(args[0])
    while take(0.001):
        pass
    assert got == expected
    assert d.waiting == 0


def coded(slots: int = 2) -> Dispatcher:
    """Plans are named after their codes: "a1" has the code "a", "1" none."""
    given = Settings()
    return Dispatcher(
        "part", "x", Capacity("nodes", given, fixed=slots), given, code_of=lambda plan: plan.rstrip("0123456789")
    )


@given(st.lists(st.sampled_from(["1", "2", "a1", "a2", "b1"]), min_size=1, max_size=60), st.booleans())
def test_no_bundle_has_work_of_two_codes(plans: list[str], known: bool) -> None:
    d = coded()
    for number, plan in enumerate(plans):
        add(d, ready(run=f"r{number}", plan=plan, order=number), 0.0, 0.0001 if known else None)
    cuts = drain(d)
    assert sorted(item.run for cut in cuts for item in cut.bundle.items) == sorted(f"r{n}" for n in range(len(plans)))
    for cut in cuts:
        assert len({plan.rstrip("0123456789") for plan in cut.bundle.plans}) == 1
        assert cut.bundle.lane == "default"


def test_work_of_one_code_does_not_hold_up_another() -> None:
    d = coded(slots=1)
    for number in range(50):
        add(d, ready(run=f"a{number}", plan="a1", order=number), 0.0, None)
    out = list(d.cut())
    assert list(d.cut()) == []  # the window of this code is full
    add(d, ready(run="other", plan="1", order=100), 1.0, None)
    assert [item.run for cut in d.cut() for item in cut.bundle.items] == ["other"]
    assert len(out) == 2


def test_codes_that_nothing_is_left_of_are_forgotten() -> None:
    d = coded()
    for number in range(300):
        add(d, ready(run=f"r{number}", plan=f"code{chr(97 + number % 26)}{chr(97 + number // 26)}1"), 0.0, 0.001)
        drain(d)
    assert len(d._backlog.lanes) <= 70
    add(d, ready(run="last", plan="codeaa1"), 0.0, 0.001)
    d.end_run("last")
    assert list(d.cut()) == []


def test_a_bundle_is_of_few_plans() -> None:
    """Thousands of flows may tick at the same moment, and executors keep some hundred plans."""
    d = dispatcher(slots=1)
    for i in range(100):
        add(d, ready(run=f"r{i}", plan=f"p{i % 50}"), 0.0, 0.0001)
    cuts = drain(d)
    assert sum(len(cut.bundle.items) for cut in cuts) == 100
    assert max(len(cut.bundle.plans) for cut in cuts) == 16
