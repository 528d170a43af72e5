"""`each`: ranges and scopes, their failures, retries, windows and results."""

from __future__ import annotations

import tracemalloc
from array import array
from typing import Any

import msgspec
import pytest
from flowc.plan import PoolDef, RetryPolicy
from flowrun import messages as m
from flowrun.engine import Revoke
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engine import builders as b
from tests.unit.engine.driver import Driver, Fail, Skip, states

RANGE = ["call", "range", ["in", 0]]


def simple(*, settings: Any = None, pools: Any = (), **more: Any) -> Any:
    """Parameter `n`; node 2 is the each over range(n), whose items call `item`."""
    return b.flow(
        b.each(1, RANGE, 1, simple=True, **more),
        params=(b.param("n"),),
        result=2,
        blocks=(b.block(b.task("item", 0), params=1, result=1),),
        settings=(settings or b.settings(),),
        pools=pools,
    )


def general(body: Any = None, **more: Any) -> Any:
    """The same with two steps per item."""
    steps = body or b.block(b.task("first", 0), b.task("second", 1), params=1, result=2)
    return b.flow(b.each(1, RANGE, 1, **more), params=(b.param("n"),), result=2, blocks=(steps,))


def fails_on(*bad: int) -> Any:
    def item(i: int) -> int:
        if i in bad:
            raise Fail("ValueError", f"bad {i}")
        return i * 10

    return item


@given(st.integers(0, 60), st.integers(0, 1_000), st.sampled_from([None, 1, 3, 50]), st.integers(1, 20))
def test_results_stand_in_order_however_they_come(n: int, seed: int, concurrency: int | None, cut: int) -> None:
    driver = Driver(simple(concurrency=concurrency), {"item": lambda i: i * i}, seed=seed, cut=cut)
    record = driver.run(args=b.args(n=n))
    assert driver.value_of(record.result) == [i * i for i in range(n)]
    assert sorted(driver.calls) == [("item", (i,)) for i in range(n)]
    assert [(row.index, row.state, row.seconds) for row in record.steps[1:]] == [(i, "success", 0.5) for i in range(n)]


@given(st.sets(st.integers(0, 19), min_size=1), st.integers(0, 1_000), st.integers(1, 20))
def test_the_lowest_item_that_fails_is_the_failure(bad: set[int], seed: int, cut: int) -> None:
    driver = Driver(simple(), {"item": fails_on(*bad)}, seed=seed, cut=cut)
    record = driver.run(args=b.args(n=20))
    lowest = min(bad)
    assert record.error is not None
    assert (record.state, record.failed_step) == ("failed", "each")
    assert record.error.message == f"item {lowest}: bad {lowest}"
    found = states(record)
    assert all(found["item", i] == "success" for i in range(lowest))
    assert all(found["item", i] in ("success", "failed", "cancelled") for i in range(lowest, 20))


def test_items_above_a_failed_one_are_revoked_and_their_late_results_ignored() -> None:
    driver = Driver(simple())
    driver.submit(args=b.args(n=5))
    (work,) = driver.ready
    failed = m.Outcome("r", 0, 2, 1, "failed", error=m.Failure("E", "x"), first=1, last=2)
    commands = driver.post(m.Results("b", "w", (failed,)))
    assert Revoke("r", 0, 2, 0, 2, 5) in commands
    assert driver.engine.wants(work)
    late = m.Outcome("r", 0, 2, 1, "success", b"\x01\x02\x03", first=2, last=5)
    driver.post(m.Results("b", "w", (late,)))
    assert driver.engine.ignored_count == 1
    driver.post(m.Results("b", "w", (m.Outcome("r", 0, 2, 1, "success", b"\x01", first=0, last=1),)))
    assert not driver.engine.wants(work)
    assert driver.engine.record("r").state == "failed"


@pytest.mark.parametrize("make", [simple, general])
def test_collect_leaves_the_failure_in_its_place(make: Any) -> None:
    plan = make(on_error="collect")
    driver = Driver(plan, {"item": fails_on(1), "first": fails_on(1), "second": lambda x: x})
    record = driver.run(args=b.args(n=3))
    step = record.steps[1].step
    failure = {"step": step, "index": 1, "type": "ValueError", "message": "bad 1", "attempts": 1}
    assert driver.value_of(record.result) == [0, failure, 20]
    assert record.state == "success"


@pytest.mark.parametrize("make", [simple, general])
def test_skip_drops_the_item(make: Any) -> None:
    driver = Driver(make(on_error="skip"), {"item": fails_on(1), "first": fails_on(1), "second": lambda x: x})
    assert driver.value_of(driver.run(args=b.args(n=3)).result) == [0, 20]


@pytest.mark.parametrize("make", [simple, general])
def test_skipped_items_are_dropped(make: Any) -> None:
    def item(i: int) -> int:
        if i % 2:
            raise Skip
        return i

    driver = Driver(make(), {"item": item, "first": item, "second": lambda x: x})
    assert driver.value_of(driver.run(args=b.args(n=5)).result) == [0, 2, 4]


@pytest.mark.parametrize("make", [simple, general])
def test_too_many_items_fail_the_step(make: Any) -> None:
    record = Driver(make(max=3)).run(args=b.args(n=4))
    assert record.error is not None
    assert record.error.type == "TooManyItems"
    assert record.error.message == "there are 4 items, and `max` allows 3: raise it, or pass fewer"


@pytest.mark.parametrize("make", [simple, general])
def test_no_items_give_an_empty_list(make: Any) -> None:
    driver = Driver(make())
    assert driver.value_of(driver.run(args=b.args(n=0)).result) == []


def test_an_each_without_return_gives_null() -> None:
    driver = Driver(simple(collects=False))
    assert driver.value_of(driver.run(args=b.args(n=3)).result) is None


def test_an_each_takes_from_its_start_to_its_end() -> None:
    driver = Driver(simple())
    driver.submit(args=b.args(n=3))
    driver.now += 2_500
    row = driver.drain().steps[0]
    assert (row.step, row.attempts, row.seconds) == ("each", 1, 2.5)


def test_a_source_that_is_no_list_fails_the_step() -> None:
    plan = b.flow(b.each(1, ["in", 0], 1, simple=True), params=(b.param("xs"),), blocks=simple().blocks[1:])
    record = Driver(plan).run(args=b.args(xs=5))
    assert record.error is not None
    assert (record.error.type, record.error.message) == ("ExpressionError", "`each` needs a list or a map")


@given(st.integers(0, 500), st.integers(1, 4), st.integers(1, 7))
def test_items_are_tried_again(seed: int, times: int, cut: int) -> None:
    tried: dict[int, int] = {}

    def item(i: int) -> int:
        tried[i] = tried.get(i, 0) + 1
        if i % 3 == 0 and tried[i] <= times:
            raise Fail
        return i

    policy = RetryPolicy(max=times, first_ms=1_000, jitter=0.5 if seed % 2 else 0.0)
    driver = Driver(simple(settings=b.settings(retry=policy)), {"item": item}, seed=seed, cut=cut)
    record = driver.run(args=b.args(n=10))
    assert driver.value_of(record.result) == list(range(10))
    assert [row.attempts for row in record.steps[1:]] == [times + 1 if i % 3 == 0 else 1 for i in range(10)]
    assert not driver.timers


def test_retries_that_are_used_up_fail_the_item() -> None:
    policy = RetryPolicy(max=2, first_ms=0)
    driver = Driver(simple(settings=b.settings(retry=policy)), {"item": fails_on(1)})
    record = driver.run(args=b.args(n=3))
    assert (record.state, record.steps[2].attempts) == ("failed", 3)
    assert [call for call in driver.calls if call == ("item", (1,))] == [("item", (1,))] * 3


@given(st.integers(0, 500), st.integers(1, 5), st.integers(1, 3), st.booleans())
def test_concurrency_and_slots_are_never_exceeded(seed: int, slots: int, weight: int, failing: bool) -> None:
    settings = b.settings(pool=0, slots=weight, retry=RetryPolicy(max=1, first_ms=10))
    plan = simple(settings=settings, pools=(PoolDef(name="db", slots=slots),), concurrency=4, on_error="skip")
    driver = Driver(plan, {"item": fails_on(2, 5) if failing else fails_on()}, seed=seed, cut=2)
    driver.submit(args=b.args(n=12))
    while not driver.ended:
        fan = driver.engine.runs["r"].scopes[0].fans[2]
        assert fan.live <= 4
        taken = driver.engine.quotas.taken("pool/db")
        assert taken <= slots
        assert fan.live * min(weight, slots) == taken
        assert driver.step()
    assert not driver.engine.quotas.by_name
    assert driver.value_of(driver.engine.record("r").result) == [
        i * 10 for i in range(12) if not (failing and i in (2, 5))
    ]


def test_items_of_a_dead_worker_go_alone_and_only_the_poison_fails() -> None:
    driver = Driver(simple(on_error="skip"))
    driver.submit(args=b.args(n=4))
    (work,) = driver.ready
    driver.ready.clear()
    done = m.Outcome("r", 0, 2, 1, "success", b"\x00", first=0, last=1)
    driver.post(m.Results("b1", "w", (done,)))
    for _ in range(2):
        driver.post(m.Lost("b1", (work.item(0),)))
    assert [(w.first, w.last, w.attempt, w.alone) for w in driver.ready] == [(i, i + 1, 2, True) for i in (1, 2, 3)]
    for bundle in ("b2", "b3"):
        (poison,) = [w for w in driver.ready if w.first == 2]
        driver.ready.remove(poison)
        driver.post(m.Lost(bundle, (poison.item(0),)))
    record = driver.drain()
    assert driver.value_of(record.result) == [0, "item", "item"]
    assert record.steps[3].error is not None
    assert (record.steps[3].error.type, record.steps[3].attempts) == ("WorkerDied", 3)


def test_items_that_are_handed_back_are_dispatched_once_more() -> None:
    driver = Driver(simple())
    driver.submit(args=b.args(n=3))
    driver.ready.clear()
    back = m.Outcome("r", 0, 2, 1, "returned", first=1, last=3)
    driver.post(m.Results("b", "w", (back,)))
    driver.post(m.Results("b", "w", (back,)))
    assert [(w.first, w.last, w.attempt) for w in driver.ready] == [(1, 3, 1)]


def test_results_that_overlap_count_once() -> None:
    driver = Driver(simple())
    driver.submit(args=b.args(n=4))
    for first, last, value in ((0, 2, b"\x00\x01"), (0, 4, b"\x07\x07\x02\x03")):
        driver.post(m.Results("b", "w", (m.Outcome("r", 0, 2, 1, "success", value, first=first, last=last),)))
    assert driver.value_of(driver.engine.record("r").result) == [0, 1, 2, 3]


@pytest.mark.parametrize("value", [b"\x01", b"\x01\x02\x03", b"\x91", b""])
def test_a_range_with_a_wrong_number_of_values_fails(value: bytes) -> None:
    driver = Driver(simple())
    driver.submit(args=b.args(n=2))
    driver.post(m.Results("b", "w", (m.Outcome("r", 0, 2, 1, "success", value, first=0, last=2),)))
    record = driver.engine.record("r")
    assert record.error is not None
    assert record.error.type == "NotSerialisable"


def test_a_deadline_ends_items_that_are_not_done() -> None:
    driver = Driver(simple(settings=b.settings(deadline_ms=5_000), on_error="skip"))
    driver.submit(args=b.args(n=3))
    driver.ready.clear()
    driver.post(m.Results("b", "w", (m.Outcome("r", 0, 2, 1, "success", b"\x01", first=1, last=2),)))
    driver.fire()
    record = driver.engine.record("r")
    assert states(record) == {
        "each": "success",
        ("item", 0): "failed",
        ("item", 1): "success",
        ("item", 2): "failed",
    }
    assert {(revoked.first, revoked.last) for revoked in driver.revoked} == {(0, 1), (2, 3)}
    assert not driver.timers


def test_a_large_result_is_stored() -> None:
    driver = Driver(simple(), {"item": lambda i: "x" * 1_000})
    record = driver.run(args=b.args(n=100))
    assert len(record.result) < 200
    assert driver.value_of(record.result) == ["x" * 1_000] * 100


def test_items_of_a_stored_list_are_ranges_of_its_length() -> None:
    plan = b.flow(
        b.task("make"),
        b.each(1, ["in", 0], 1, simple=True),
        result=2,
        blocks=(b.block(b.task("item", 0), params=1, result=1),),
    )
    driver = Driver(plan, {"make": lambda: ["y" * 100] * 1_000, "item": len}, cut=300)
    assert driver.value_of(driver.run().result) == [100] * 1_000


def test_unpacked_items_and_captures() -> None:
    body = b.block(b.task("item", 0, 1, 2), params=3, result=3)
    plan = b.flow(
        b.each(1, ["call", "zip", ["in", 0], ["in", 0]], 1, 2, unpack=2, captures=(1,), simple=True),
        params=(b.param("xs"), b.param("k")),
        result=3,
        blocks=(body,),
    )
    for flow in (plan, general_of(plan)):
        driver = Driver(flow, {"item": lambda x, y, k: x + y + k})
        assert driver.value_of(driver.run(args=b.args(xs=[1, 2], k=100)).result) == [102, 104]


def general_of(plan: Any) -> Any:
    """The same plan, its each run as scopes."""
    block = plan.blocks[0]
    nodes = tuple(msgspec.structs.replace(n, simple=False) if hasattr(n, "simple") else n for n in block.nodes)
    return msgspec.structs.replace(plan, blocks=(msgspec.structs.replace(block, nodes=nodes), *plan.blocks[1:]))


@given(st.integers(0, 30), st.integers(0, 1_000), st.sampled_from([None, 1, 3]))
def test_scopes_of_items_give_results_in_order(n: int, seed: int, concurrency: int | None) -> None:
    functions = {"first": lambda i: i + 1, "second": lambda i: i * 2}
    driver = Driver(general(concurrency=concurrency), functions, seed=seed)
    driver.submit(args=b.args(n=n))
    while not driver.ended:
        assert len(driver.engine.runs["r"].scopes) - 1 <= (concurrency or 1_000)
        assert driver.step()
    record = driver.engine.record("r")
    assert driver.value_of(record.result) == [(i + 1) * 2 for i in range(n)]
    rows = [(row.step, row.index) for row in record.steps]
    assert rows == [("each", None)] + [(step, i) for i in range(n) for step in ("first", "second")]


@given(st.sets(st.integers(0, 7), min_size=1), st.integers(0, 1_000))
def test_of_scopes_too_the_lowest_failure_counts(bad: set[int], seed: int) -> None:
    driver = Driver(general(concurrency=3), {"first": fails_on(*bad)}, seed=seed)
    record = driver.run(args=b.args(n=8))
    assert record.error is not None
    assert record.error.message == f"item {min(bad)}: bad {min(bad)}"


def test_many_scopes_live_in_a_window() -> None:
    driver = Driver(general())
    driver.submit(args=b.args(n=5_000))
    assert len(driver.engine.runs["r"].scopes) == 1_001


def test_nested_each() -> None:
    inner = b.block(
        b.each(2, ["call", "range", ["in", 0]], 0, name="inner", captures=(0,), simple=True), params=1, result=1
    )
    plan = b.flow(
        b.each(1, RANGE, 1, name="outer"),
        params=(b.param("n"),),
        result=2,
        blocks=(inner, b.block(b.task("item", 0, 1), params=2, result=2)),
    )
    driver = Driver(plan, {"item": lambda j, i: [i, j]})
    record = driver.run(args=b.args(n=3))
    assert driver.value_of(record.result) == [[], [[1, 0]], [[2, 0], [2, 1]]]
    assert [(row.step, row.index) for row in record.steps] == [
        ("outer", None),
        ("inner", 0),
        ("inner", 1),
        ("item", (1, 0)),
        ("inner", 2),
        ("item", (2, 0)),
        ("item", (2, 1)),
    ]


def test_an_each_inside_a_stored_list_asks_a_worker_for_its_items() -> None:
    inner = b.block(b.each(2, ["in", 0], 0, name="inner", simple=True), params=1, result=1)
    plan = b.flow(
        b.task("make"),
        b.each(1, ["in", 0], 1, name="outer"),
        result=2,
        blocks=(inner, b.block(b.task("item", 0), params=1, result=1)),
    )
    stored = [["z" * 50] * i for i in range(60)]
    driver = Driver(plan, {"make": lambda: stored, "item": len})
    assert driver.value_of(driver.run().result) == [[50] * i for i in range(60)]


def test_scopes_over_a_stored_list_take_references() -> None:
    body = b.block(b.task("first", 0), b.task("second", 1), params=1, result=2)
    plan = b.flow(b.task("make"), b.each(1, ["in", 0], 1), result=2, blocks=(body,))
    driver = Driver(plan, {"make": lambda: ["v" * 40_000] * 4, "first": len, "second": lambda n: n + 1})
    assert driver.value_of(driver.run().result) == [40_001] * 4


def test_a_million_items_are_a_byte_each() -> None:
    n, part = 1_000_000, 5_000
    driver = Driver(simple())
    tracemalloc.start()
    driver.submit(args=b.args(n=n))
    seconds = array("f", bytes(4 * part)).tobytes()
    for first in range(0, n, part):
        outcome = m.Outcome("r", 0, 2, 1, "success", b"\x01" * part, None, 0, seconds, first, first + part)
        driver.log.clear()
        driver.post(m.Results("b", "w", (outcome,)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert driver.ended == ["r"]
    assert peak < 40_000_000
    record_value = driver.value_of(driver.engine.runs["r"].result)
    assert (len(record_value), set(record_value)) == (n, {1})


def test_what_an_item_shares_is_kept_as_it_was() -> None:
    """A skipped input that is optional stays skipped inside."""
    body = b.block(b.value(["if", ["op", "==", ["in", 0], ["lit", None]], ["lit", "none"], ["in", 0]],
                           b.ref(1, optional=True)[0]), params=2, result=2)  # fmt: skip

    def gone() -> None:
        raise Skip

    each = b.each(1, ["list", ["lit", 1]], captures=(0,))
    each = msgspec.structs.replace(each, inputs=b.ref(1, optional=True))
    driver = Driver(b.flow(b.task("gone"), each, result=2, blocks=(body,)), {"gone": gone})
    assert driver.value_of(driver.run().result) == ["none"]
