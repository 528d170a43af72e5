"""Bundles that are out: done with when all of them is, told again while something of them is not wanted."""

from __future__ import annotations

from typing import Any

from flowrun.backlog import Lane
from flowrun.dispatched import Dispatched
from flowrun.engine.commands import Revoke
from flowrun.messages import Bundle, Outcome, Then, WorkItem


def item(run: str = "r", node: int = 1, first: int = -1, last: int = -1, then: tuple[int, ...] = ()) -> WorkItem:
    followers = tuple(Then(node=follower, inputs=()) for follower in then)
    return WorkItem(
        run=run, plan=0, flow="", scope=0, block=0, node=node, attempt=1, inputs=(), first=first, last=last,
        then=followers,
    )  # fmt: skip


def bundle(*items: WorkItem, id: str = "b") -> Bundle:
    return Bundle(id=id, partition="0", lane="default", plans=("p",), items=items)


def outcome(run: str = "r", node: int = 1, state: Any = "success", first: int = -1, last: int = -1) -> Outcome:
    return Outcome(run=run, scope=0, node=node, attempt=1, state=state, first=first, last=last)


def out(*bundles: Bundle) -> tuple[Dispatched, Lane]:
    dispatched, lane = Dispatched(), Lane("default")
    for one in bundles:
        dispatched.add(one, lane)
    return dispatched, lane


def test_a_chain_is_done_with_its_last_or_with_the_first_that_fails() -> None:
    dispatched, lane = out(bundle(item(node=1, then=(2, 3))))
    dispatched.outcomes("b", [outcome(node=1), outcome(node=2)])
    assert lane.out == 1
    dispatched.outcomes("b", [outcome(node=3)])
    assert (lane.out, dispatched.bundle("b")) == (0, None)

    dispatched, lane = out(bundle(item(node=1, then=(2, 3))))
    dispatched.outcomes("b", [outcome(node=1), outcome(node=2, state="failed")])
    assert (lane.out, dispatched.bundle("b")) == (0, None)


def test_results_that_are_not_of_it_change_nothing() -> None:
    dispatched, lane = out(bundle(item()))
    dispatched.outcomes("b", [outcome(run="other"), outcome(node=7)])
    dispatched.outcomes("other", [outcome()])
    assert lane.out == 1
    dispatched.outcomes("b", [outcome(), outcome()])
    dispatched.outcomes("b", [outcome()])
    assert lane.out == 0


def test_what_is_revoked_leaves_the_window_and_is_told_until_the_worker_reports() -> None:
    dispatched, lane = out(bundle(item("r"), item("s")))
    revoke = Revoke(run="r", scope=0, node=1, attempt=1)
    assert dispatched.revoke(revoke)
    assert dispatched.unwanted() == {revoke}
    assert lane.out == 1
    assert dispatched.end_run("s")
    assert lane.out == 0
    assert dispatched.unwanted() == {revoke, "s"}
    assert not dispatched.end_run("s")
    dispatched.outcomes("b", [outcome("r")])
    assert dispatched.unwanted() == {"s"}
    dispatched.gone("b")
    assert dispatched.unwanted() == set()
    assert not dispatched.revoke(revoke)


def test_a_part_of_a_range_is_revoked() -> None:
    dispatched, lane = out(bundle(item(first=0, last=50), id="a"), bundle(item(first=50, last=100), id="b"))
    assert dispatched.revoke(Revoke(run="r", scope=0, node=1, attempt=0, first=40, last=100))
    assert lane.out == 1
    dispatched.outcomes("a", [outcome(first=0, last=40)])
    assert lane.out == 0


def test_what_was_handed_back_of_a_range_is_not_out() -> None:
    dispatched, lane = out(bundle(item(first=1, last=6), item("s")))
    dispatched.outcomes("b", [outcome(state="returned", first=3, last=5), outcome("s", state="returned")])
    assert dispatched.covers("r", 0, 1, 1) == [(1, 3), (5, 6)]
    assert dispatched.covers("s", 0, 1, 1) == []
    assert lane.out == 1
    assert dispatched.handed_back() == {"b": {("r", 0, 1, 1): [(3, 5)], ("s", 0, 1, 1): [(-1, -1)]}}
    dispatched.outcomes("b", [outcome(first=1, last=3), outcome(first=5, last=6)])
    assert lane.out == 0
    # its worker may not have told the server: a successor that finds it there must know what is not in it
    assert dispatched.handed_back() == {"b": {("r", 0, 1, 1): [(3, 5)], ("s", 0, 1, 1): [(-1, -1)]}}
    assert dispatched.older_than(1.0) == set()
    dispatched.stands("b", 0.5)
    assert dispatched.older_than(1.0) == {"b"}
    assert dispatched.gone("b") is None
    assert (dispatched.handed_back(), dispatched.older_than(1.0)) == ({}, set())


def test_a_bundle_of_another_leader_is_adopted_as_far_as_it_is_wanted() -> None:
    dispatched, lane = Dispatched(), Lane("default")
    standing = bundle(item("r", then=(2, 3)), item("s"), item("t", first=0, last=100))
    open_ = {("r", 0, 2, 1): 1, ("t", 0, 1, 1): 30}
    assert dispatched.adopt(standing, lane, 5.0, lambda attempt, item: open_.get(attempt, 0))
    assert lane.out == 1
    assert dispatched.covers("r", 0, 2, 1) == [(-1, -1)]
    assert dispatched.covers("s", 0, 1, 1) == []
    assert dispatched.covers("t", 0, 1, 1) == [(0, 100)]
    dispatched.outcomes("b", [outcome("r", 2), outcome("r", 3), outcome("t", first=70, last=100)])
    assert lane.out == 0
    assert not dispatched.adopt(bundle(item("x"), id="c"), lane, 5.0, lambda attempt, item: 0)
    assert lane.out == 0


def test_only_what_stood_in_the_work_stream_is_looked_for_there() -> None:
    dispatched, _ = out(bundle(item(), id="a"), bundle(item("s"), id="b"))
    dispatched.stands("a", 10.0)
    assert dispatched.older_than(10.0) == set()
    assert dispatched.older_than(10.1) == {"a"}
    dispatched.stands("unknown", 1.0)


def test_a_run_in_several_bundles_is_out_until_the_last_of_them_is_gone() -> None:
    one, other = bundle(item(node=1), item(node=2), id="a"), bundle(item(node=3), item(node=4), id="b")
    dispatched, lane = out(one, other)
    assert dispatched.gone("a") == one
    assert (lane.out, [*dispatched.of_run]) == (1, ["r"])
    assert dispatched.covers("r", 0, 3, 1) == [(-1, -1)]
    assert dispatched.gone("b") == other
    assert (lane.out, [*dispatched.of_run]) == (0, [])
