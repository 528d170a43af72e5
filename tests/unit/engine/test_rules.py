"""The trigger rules, against the table of the design, and their independence of order."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from flowrun import messages as m
from flowrun.engine.rules import FAIL, RULES, RUN, SKIP, WAIT
from hypothesis import given
from hypothesis import strategies as st

from tests.support.rules import COLUMNS, TABLE
from tests.unit.engine import builders as b
from tests.unit.engine.driver import Driver, Fail, Skip, states

VERDICTS = {"R": RUN, "k": SKIP, "u": FAIL, "w": WAIT}
CELLS = [(rule, c, v) for rule, row in TABLE.items() for c, v in zip(COLUMNS, row.split(), strict=True)]


def verdict(rule: str, upstreams: str, n: int = 0) -> int:
    s, f, k, u, w = (upstreams.count(c) for c in "SFKU.")
    return RULES[rule](s, f, k, u, w, n)


@pytest.mark.parametrize(("rule", "column", "wanted"), CELLS)
def test_the_table(rule: str, column: str, wanted: str) -> None:
    assert verdict(rule, column) == VERDICTS[wanted]


def test_the_table_is_whole() -> None:
    own = {"at_least", "setups", "join"}
    assert set(RULES) == set(TABLE) | own


@given(st.sampled_from(sorted(RULES)), st.text("SFKU", min_size=1, max_size=5), st.integers(0, 3))
def test_a_verdict_stays_whatever_the_open_ones_do(rule: str, ends: str, n: int) -> None:
    final = verdict(rule, ends, n)
    assert final != WAIT
    for order in set(itertools.permutations(ends)):
        for known in range(len(order)):
            so_far = "".join(order[:known]) + "." * (len(order) - known)
            assert verdict(rule, so_far, n) in (WAIT, final)


@given(st.integers(1, 4), st.text("SFKU.", min_size=1, max_size=5))
def test_at_least_one_is_any_ok(n: int, ends: str) -> None:
    assert verdict("at_least", ends, 1) == verdict("any_ok", ends)
    if ends.count("S") >= n:
        assert verdict("at_least", ends, n) == RUN


def end_as(state: str) -> object:
    if state == "F":
        raise Fail
    if state == "K":
        raise Skip
    return state


@given(st.sampled_from(sorted(TABLE)), st.text("SFKU", min_size=1, max_size=4), st.integers(0, 5))
def test_the_engine_follows_the_rules_in_every_order(rule: str, ends: str, seed: int) -> None:
    count = len(ends)
    # node 1 fails, so that a task after it is upstream_failed
    upstreams = [b.task(f"t{i}", 1) if s == "U" else b.task(f"t{i}") for i, s in enumerate(ends)]
    last = b.task("last", after=(b.after(rule, *range(2, 2 + count)),))
    plan = b.flow(b.task("bad"), *upstreams, last)
    functions = {f"t{i}": (lambda state=state: end_as(state)) for i, state in enumerate(ends)}
    driver = Driver(plan, functions | {"bad": lambda: end_as("F")}, seed=seed)
    found = states(driver.run())["last"]
    assert found == {RUN: "success", SKIP: "skipped", FAIL: "upstream_failed"}[verdict(rule, ends)]


def test_two_conditions_must_both_hold_and_a_failed_one_wins() -> None:
    conditions = {
        "both": (b.after("ok", 1), b.after("done", 2)),
        "one": (b.after("ok", 1), b.after("ok", 2)),
        "skip": (b.after("ok", 1), b.after("ok", 3)),
        "worse": (b.after("ok", 2), b.after("ok", 3)),
    }
    tasks = [b.task(name, after=after) for name, after in conditions.items()]
    plan = b.flow(b.task("good"), b.task("bad"), b.task("gone"), *tasks)
    functions = {"bad": lambda: end_as("F"), "gone": lambda: end_as("K")}
    wanted = {"both": "success", "one": "upstream_failed", "skip": "skipped", "worse": "upstream_failed"}
    for seed in range(10):
        found = states(Driver(plan, functions, seed=seed).run())
        assert {name: found[name] for name in wanted} == wanted


def test_a_guard_comes_before_everything() -> None:
    plan = b.flow(b.branch(["lit", 1]), b.task("bad"), b.task("in_arm", 2, guard=(1, 0)))
    for seed in range(5):
        record = Driver(plan, {"bad": lambda: end_as("F")}, seed=seed).run()
        assert states(record)["in_arm"] == "skipped"


def test_a_tear_down_runs_when_its_set_up_succeeded_whatever_happened_between() -> None:
    def flow() -> Any:
        return b.flow(
            b.task("up"),
            b.task("work", 1),
            b.task("down", 1, after=(b.after("teardown", 1, 2, setups=(1,)),), handler=-2),
        )

    failing = {"work": lambda *_: end_as("F")}
    assert states(Driver(flow(), failing).run())["down"] == "success"
    failing = {"up": lambda: end_as("F")}
    assert states(Driver(flow(), failing).run())["down"] == "upstream_failed"
    failing = {"up": lambda: end_as("K")}
    assert states(Driver(flow(), failing).run())["down"] == "skipped"


def test_a_tear_down_still_runs_in_a_cancelled_run() -> None:
    plan = b.flow(
        b.task("up"),
        b.task("work", 1),
        b.task("down", 1, after=(b.after("teardown", 1, 2, setups=(1,)),), handler=-2),
    )
    driver = Driver(plan)
    driver.submit()
    driver.step()
    driver.post(m.Cancel("r"))
    assert [work.node for work in driver.ready if driver.engine.wants(work)] == [3]
    assert [revoked.node for revoked in driver.revoked] == [2]
    record = driver.drain()
    assert record.state == "cancelled"
    assert states(record) == {"up": "success", "work": "cancelled", "down": "success"}


def test_rules_count_the_items_of_an_each() -> None:
    def flow(rule: str, n: int = 0) -> Any:
        return b.flow(
            b.each(1, ["call", "range", ["lit", 4]], simple=True, on_error="skip"),
            b.task("last", after=(b.after(rule, 1, n=n),)),
            blocks=(b.block(b.task("item", 0), params=1, result=1),),
        )

    def item(i: int) -> int:
        if i % 2:
            raise Fail
        return i

    def found(rule: str, n: int = 0, function: Any = item) -> str:
        driver = Driver(flow(rule, n), {"item": function})
        return states(driver.run())["last"]

    assert found("any_ok") == "success"
    assert found("any_failed") == "success"
    assert found("at_least", 2) == "success"
    assert found("at_least", 3) == "upstream_failed"
    assert found("any_failed", function=lambda i: i) == "skipped"
    assert found("ok") == "success"
    assert found("failed") == "skipped"


@pytest.mark.parametrize(("on_error", "index", "is_ready"), [("skip", 1, True), ("fail", 0, True), ("fail", 1, False)])
def test_a_rule_over_items_need_not_wait_for_the_last(on_error: str, index: int, is_ready: bool) -> None:
    plan = b.flow(
        b.each(1, ["call", "range", ["lit", 3]], simple=True, on_error=on_error),
        b.task("early", after=(b.after("any_ok", 1),)),
        blocks=(b.block(b.task("item", 0), params=1, result=1),),
    )
    driver = Driver(plan)
    driver.submit()
    ended = m.Outcome("r", 0, 1, 1, "success", b"\x01", first=index, last=index + 1)
    driver.post(m.Results("b", "w", (ended,)))
    assert (2 in [work.node for work in driver.ready]) == is_ready


def test_no_items_count_as_one_success() -> None:
    plan = b.flow(
        b.each(1, ["list"], simple=True),
        b.task("any", after=(b.after("any_ok", 1),)),
        blocks=(b.block(b.task("item", 0), params=1, result=1),),
    )
    assert states(Driver(plan).run())["any"] == "success"
