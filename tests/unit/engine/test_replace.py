"""A canvas takes the place of a task, or of an item, or adds members to a group."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest
from flowc import plan as p
from flowc.types import INT, JSON
from flowrun import messages as m
from flowrun import values
from flowrun.engine import Revoke
from flowrun.engine.node_states import NAMES
from flowrun.engine.replace import MAX_DEPTH
from hypothesis import given, settings

from tests.unit.engine import builders as b
from tests.unit.engine.driver import Driver, Fail, Replaced, Skip, states
from tests.unit.engine.test_again import rerun
from tests.unit.engine.test_invariants import SEEDS, disturb
from tests.unit.engine.test_snapshot import Freezing, Restoring

X = (p.ParamDef(name="x", type=0),)
#: x -> one(x)
ONE = b.flow(b.task("one", 1), result=2, params=X)
#: x -> one(x) -> two(that)
TWO = b.flow(b.task("one", 1), b.task("two", 2), result=3, params=X)
#: x -> [one(x), two(x)]
PAIR = b.flow(b.task("one", 1), b.task("two", 1), b.value(["list", ["in", 0], ["in", 1]], 2, 3), result=4, params=X)
OTHERS = {
    name: msgspec.structs.replace(plan, returns=0) for name, plan in {"one": ONE, "two": TWO, "pair": PAIR}.items()
}
#: a -> last
CHAIN = b.flow(b.task("a"), b.task("last", 1), result=2)


def by(plan: str, x: Any = 1, own: Any = ...) -> Any:
    """A function whose task is replaced."""

    def replaced(*given: Any) -> Any:
        raise Replaced(plan, {"x": x}, own)

    return replaced


def ran(plan: p.Plan, functions: dict[str, Any], **more: Any) -> tuple[Driver, m.RunRecord]:
    driver = Driver(plan, functions, others=OTHERS, **more)
    return driver, driver.run()


def result(driver: Driver, record: m.RunRecord) -> Any:
    assert record.state == "success", record.error
    return driver.value_of(record.result)


def items(simple: bool = True, **more: Any) -> p.Plan:
    """a(i) for i in 0..3, and the list of that."""
    body = b.block(b.task("a", 0), params=1, result=1) if simple else b.block(
        b.task("before", 0), b.task("a", 0), params=1, result=2
    )  # fmt: skip
    source = ["call", "range", ["lit", 4]]
    return b.flow(b.each(1, source, simple=simple, **more), b.task("last", 1), result=2, blocks=(body,))


# ---- a node ---------------------------------------------------------------------------------------------------------


def test_the_canvas_gives_the_value_of_the_task() -> None:
    driver, record = ran(
        CHAIN, {"a": by("two", 5), "one": lambda x: x + 1, "two": lambda x: x * 10, "last": lambda x: [x]}
    )
    assert result(driver, record) == [60]
    assert states(record) == {"a": "success", "a.one": "success", "a.two": "success", "last": "success"}


def test_a_task_that_was_replaced_has_no_more_attempts() -> None:
    def one(x: int) -> int:
        raise Fail("ValueError", "never")

    retry = b.settings(retry=p.RetryPolicy(max=3, first_ms=10))
    plan = b.flow(b.task("a", settings=1), settings=(b.settings(), retry), result=1)
    driver, record = ran(plan, {"a": by("one"), "one": one})
    assert (record.state, record.failed_step) == ("failed", "a")
    assert record.error is not None
    assert (record.error.type, record.error.message) == ("ValueError", "never")
    assert [name for name, _ in driver.calls] == ["a", "one"]


def test_attempts_before_the_one_that_is_replaced() -> None:
    calls: list[int] = []

    def a() -> Any:
        calls.append(1)
        if len(calls) < 3:
            raise Fail("ValueError", "not yet")
        raise Replaced("one", {"x": 2})

    retry = b.settings(retry=p.RetryPolicy(max=3, first_ms=10))
    plan = b.flow(b.task("a", settings=1), settings=(b.settings(), retry), result=1)
    driver, record = ran(plan, {"a": a, "one": lambda x: x})
    assert result(driver, record) == 2
    assert [(row.step, row.attempts) for row in record.steps] == [("a", 3), ("a.one", 1)]


def test_its_failure_is_handled_as_that_of_the_task() -> None:
    def one(x: int) -> int:
        raise Fail

    plan = b.flow(
        b.task("a", handler=2), b.outcome(1), b.task("mend", 2, guard=(2, 1)), b.merge(2, 1, 3), result=4
    )  # fmt: skip
    driver, record = ran(plan, {"a": by("one"), "one": one, "mend": lambda e: e["step"]})
    assert result(driver, record) == "a"


def test_a_canvas_that_ends_as_skipped_skips_the_task() -> None:
    def one(x: int) -> int:
        raise Skip

    _, record = ran(CHAIN, {"a": by("one"), "one": one})
    assert states(record) == {"a": "skipped", "a.one": "skipped", "last": "skipped"}


def test_canvases_inside_one_another() -> None:
    def one(x: int) -> Any:
        if x < 20:
            raise Replaced("one", {"x": x + 1})
        return x

    driver, record = ran(CHAIN, {"a": by("one", 0), "one": one, "last": lambda x: x})
    assert result(driver, record) == 20


def test_too_deep() -> None:
    def one(x: int) -> Any:
        raise Replaced("one", {"x": x + 1})

    driver, record = ran(CHAIN, {"a": by("one", 0), "one": one})
    assert record.error is not None
    assert (record.state, record.error.type) == ("failed", "TooDeep")
    assert len(driver.calls) == MAX_DEPTH + 1


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (by("nowhere"), "its plan cannot be had: it was not loaded"),
        (lambda: (_ for _ in ()).throw(Replaced("one", {"y": 1})), "has no parameter `y`"),
        (lambda: (_ for _ in ()).throw(Replaced("one")), "needs a value for its parameter `x`"),
        (by("pair", own=1), "it is no member of one"),
    ],
)
def test_what_cannot_be_run_fails_for_good(function: Any, why: str) -> None:
    retry = b.settings(retry=p.RetryPolicy(max=3, first_ms=10))
    plan = b.flow(b.task("a", settings=1), settings=(b.settings(), retry), result=1)
    driver, record = ran(plan, {"a": function})
    assert record.error is not None
    assert (record.state, record.error.type) == ("failed", "InvalidReplace")
    assert why in record.error.message
    assert len(driver.calls) == 1


def test_damaged_bytes_fail_for_good() -> None:
    driver = Driver(CHAIN, others=OTHERS)
    driver.submit()
    work = driver.ready.pop()
    driver.post(m.Results("b", "w", (m.Outcome("r", work.scope, work.node, 1, "replaced", b"\xc1"),)))
    assert driver.ended == ["r"]
    error = driver.engine.record("r").error
    assert error is not None
    assert error.type == "InvalidReplace"


@pytest.mark.parametrize(("value", "state"), [(3, "success"), ("text", "failed")])
def test_the_value_has_the_declared_type(value: object, state: str) -> None:
    plan = b.flow(b.task("a", type=1), b.task("last", 1), result=2)
    plan = msgspec.structs.replace(plan, types=(JSON, INT))
    _, record = ran(plan, {"a": by("one"), "one": lambda x: value})
    assert states(record)["a"] == state
    if state == "failed":
        assert record.error is not None
        assert record.error.type == "TypeMismatch"
        assert "the canvas that replaced `a`" in record.error.message


def test_a_task_without_a_result_gives_null() -> None:
    silent = p.TaskDef(name="silent", params=(), returns=None, operator="python")
    plan = msgspec.structs.replace(CHAIN, tasks=(silent,))
    driver, record = ran(plan, {"a": by("one"), "one": lambda x: x, "last": lambda x: [x]})
    assert driver.calls[-1] == ("last", (None,))
    assert record.state == "success"


# ---- before its time ------------------------------------------------------------------------------------------------


def started(plan: p.Plan, functions: dict[str, Any], calls: int = 1) -> Driver:
    """A driver that has made so many calls."""
    driver = Driver(plan, functions, others=OTHERS)
    driver.submit()
    while len(driver.calls) < calls:
        assert driver.step()
    return driver


def test_cancelling_the_run() -> None:
    driver = started(CHAIN, {"a": by("two")})
    assert [work.plan for work in driver.ready if driver.engine.wants(work)] == ["two"]
    driver.post(m.Cancel("r"))
    assert [type(entry) for entry in driver.revoked] == [Revoke]
    record = driver.engine.record("r")
    assert (record.state, states(record)["a"], states(record)["a.one"]) == ("cancelled", "cancelled", "cancelled")


@pytest.mark.parametrize("step", ["a", "a.one"])
def test_cancelling_a_step(step: str) -> None:
    driver = started(CHAIN, {"a": by("one")})
    driver.post(m.Cancel("r", step=step))
    record = driver.engine.record("r")
    assert record.state == "failed"
    assert states(record)["last"] == "upstream_failed"


def test_the_deadline_of_the_task_holds_on() -> None:
    plan = b.flow(b.task("a", settings=1), settings=(b.settings(), b.settings(deadline_ms=500)), result=1)
    driver = started(plan, {"a": by("two")})
    assert driver.fire() == "deadline/0/1"
    record = driver.engine.record("r")
    assert record.error is not None
    assert (record.error.type, states(record)["a.one"]) == ("Timeout", "cancelled")


def test_the_time_limit_of_the_flow() -> None:
    driver = started(msgspec.structs.replace(CHAIN, timeout_ms=1000), {"a": by("two")})
    driver.fire()
    record = driver.engine.record("r")
    assert record.error is not None
    assert record.error.type == "Timeout"


def test_the_work_of_another_plan_is_found_again() -> None:
    driver = started(CHAIN, {"a": by("two"), "one": lambda x: x, "two": lambda x: x, "last": lambda x: x})
    [work] = driver.engine.outstanding()
    assert (work.plan, work.node) == ("two", 2)
    again = driver.replayed()
    assert [found.plan for found in again.outstanding()] == ["two"]
    assert result(driver, driver.drain()) == 1


def test_it_is_undone_as_the_task_is() -> None:
    undo = b.block(b.task("undo", 0), params=1)
    plan = b.flow(
        b.task("a", undo=p.Attached(1, (1,))), b.task("last", 1), result=2, blocks=(undo,), compensates=True
    )  # fmt: skip

    def last(x: int) -> int:
        raise Fail

    driver, record = ran(plan, {"a": by("one", 7), "one": lambda x: x, "last": last, "undo": lambda x: None})
    assert record.state == "failed"
    assert ("undo", (7,)) in driver.calls


# ---- items ----------------------------------------------------------------------------------------------------------


def item(x: int) -> Any:
    if x % 2:
        raise Replaced("two", {"x": x})
    return x


FUNCTIONS = {"a": item, "one": lambda x: x + 1, "two": lambda x: x * 10, "last": lambda x: x}


@pytest.mark.parametrize("simple", [True, False])
@pytest.mark.parametrize("concurrency", [None, 1])
def test_items_that_are_replaced(simple: bool, concurrency: int | None) -> None:
    driver, record = ran(items(simple, concurrency=concurrency), FUNCTIONS)
    assert result(driver, record) == [0, 20, 2, 40]
    assert states(record)["a.one", 1] == states(record)["a.two", 3] == "success"


@pytest.mark.parametrize("simple", [True, False])
@pytest.mark.parametrize(
    ("on_error", "found"),
    [("fail", None), ("finish", None), ("skip", [0, 2, 40]), ("collect", [0, "Failure", 2, 40])],
)
def test_items_whose_canvas_fails(simple: bool, on_error: str, found: list[Any] | None) -> None:
    def one(x: int) -> int:
        if x == 1:
            raise Fail("ValueError", "no")
        return x + 1

    driver, record = ran(items(simple, on_error=on_error), {**FUNCTIONS, "one": one})
    if found is None:
        assert record.error is not None
        assert (record.state, record.error.message) == ("failed", "item 1: no")
        assert states(record)["each"] == "failed"
    else:
        given = ["Failure" if isinstance(value, dict) else value for value in result(driver, record)]
        assert given == found


def test_all_items_run_to_their_end_where_it_says_finish() -> None:
    def a(x: int) -> int:
        if x in (0, 2):
            raise Fail("ValueError", str(x))
        return x

    _, record = ran(items(on_error="finish"), {"a": a})
    assert [states(record)["a", i] for i in range(4)] == ["failed", "success", "failed", "success"]
    assert states(record)["last"] == "upstream_failed"
    assert record.error is not None
    assert record.error.message == "item 0: 0"


def test_what_takes_the_list_is_known_to_fail_at_once() -> None:
    """While the other items go on."""

    def a(x: int) -> int:
        raise Fail("ValueError", str(x))

    driver = Driver(items(on_error="finish"), {"a": a}, cut=1)
    driver.submit()
    assert driver.step()
    scope = driver.engine.runs["r"].scopes[0]
    assert [NAMES[state] for state in scope.states] == ["success", "running", "upstream_failed"]
    assert len(list(driver.engine.outstanding())) >= 1
    assert states(driver.drain())["each"] == "failed"


def test_a_pool_is_given_back_by_an_item_that_is_replaced() -> None:
    plan = items()
    limited = b.settings(pool=0)
    plan = msgspec.structs.replace(plan, pools=(p.PoolDef(name="db", slots=1),), settings=(limited,))
    driver, record = ran(plan, FUNCTIONS, cut=1)
    assert result(driver, record) == [0, 20, 2, 40]
    assert driver.engine.quotas.taken("pool/db") == 0


def test_cancelling_items() -> None:
    driver = started(items(), {"a": by("two")}, calls=4)
    driver.post(m.Cancel("r", step="each"))
    record = driver.engine.record("r")
    assert {states(record)["a", i] for i in range(4)} == {"cancelled"}
    assert states(record)["a.one", 2] == "cancelled"


def test_an_item_that_fails_cancels_the_canvases_above_it() -> None:
    def a(x: int) -> Any:
        if x:
            raise Replaced("two", {"x": x})
        raise Fail("ValueError", "first")

    driver, record = ran(items(on_error="fail"), {"a": a}, seed=3)
    assert record.state == "failed"
    assert states(record)["a", 0] == "failed"
    assert not driver.engine.runs["r"].scopes


def test_the_deadline_of_an_item_holds_on() -> None:
    plan = msgspec.structs.replace(items(on_error="collect"), settings=(b.settings(deadline_ms=500),))
    driver = started(plan, {"a": lambda x: x if x else by("one")()}, calls=4)
    while driver.timers and not driver.ended:
        driver.ready = [work for work in driver.ready if work.plan == "plan"]
        driver.fire()
        while driver.ready and not driver.ended:
            driver.step()
    body = driver.engine.runs["r"].body
    assert body is not None
    failure, *rest = driver.value_of(body.values[1] or values.NULL)
    assert (failure["type"], rest) == ("Timeout", [1, 2, 3])


# ---- groups ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Group:
    """A group, and what it gives once its second member adds [one(5), two(5)] behind its own value, 100."""

    plan: p.Plan
    found: list[Any]


def added(*given: Any) -> Any:
    if given and given[0] != 1:
        return given[0]
    raise Replaced("pair", {"x": 5}, 100)


LISTED = b.flow(
    b.task("first"), b.task("a"), b.value(["list", ["in", 0], ["in", 1]], 1, 2), b.task("last", 3), result=4
)  # fmt: skip
GROUPS = [
    Group(LISTED, ["first", 100, 6, 50]),
    Group(items(), [0, 100, 6, 50, 2, 3]),
    Group(items(False), [0, 100, 6, 50, 2, 3]),
]


@pytest.mark.parametrize("group", GROUPS)
def test_members_are_added_behind_the_one_that_asks(group: Group) -> None:
    driver, record = ran(group.plan, {"a": added, "one": lambda x: x + 1, "two": lambda x: x * 10, "last": lambda x: x})
    assert result(driver, record) == group.found


def test_members_that_a_canvas_in_a_members_place_adds() -> None:
    functions = {"a": by("one"), "one": lambda x: added() if x == 1 else x + 1, "two": lambda x: x * 10}
    driver, record = ran(LISTED, {**functions, "last": lambda x: x})
    assert result(driver, record) == ["first", 100, 6, 50]


def test_a_member_fails_with_what_it_added() -> None:
    def two(x: int) -> int:
        raise Fail("ValueError", "no")

    _, record = ran(items(on_error="finish"), {"a": added, "one": lambda x: x, "two": two})
    assert [states(record)["a", i] for i in range(4)] == ["success", "failed", "success", "success"]


def test_large_lists_are_added_as_references() -> None:
    functions = {"a": added, "one": lambda x: "y" * 40_000, "two": lambda x: "z" * 40_000, "last": len}
    driver, record = ran(LISTED, functions)
    assert result(driver, record) == 4


# ---- in any order ---------------------------------------------------------------------------------------------------


def grown(x: int) -> Any:
    """What `grow` gives in the end."""
    if x <= 0:
        return 0
    return [x, grown(x - 1) + 1 if isinstance(grown(x - 1), int) else [grown(x - 1)], [grown(x // 2), x]][x % 3]


def grow(x: int) -> Any:
    if x > 0 and x % 3 == 1:
        raise Replaced("more", {"x": x - 1})
    if x > 0 and x % 3 == 2:
        raise Replaced("half", {"x": x})
    return max(x, 0)


def members(count: int) -> list[Any]:
    """What the items of the property's plan give."""
    found: list[Any] = []
    for x in range(count):
        found += [x, x + 1, x * 10] if x % 4 == 3 else [grown(x)]
    return found


MORE = b.flow(b.task("grow", 1), b.task("plus", 2), result=3, params=X)
HALF = b.flow(
    b.value(["op", "/", ["in", 0], ["lit", 2]], 1), b.task("halve", 1), b.task("grow", 3), b.task("same", 1),
    b.value(["list", ["in", 0], ["in", 1]], 4, 5), result=6, params=X,
)  # fmt: skip


def growing(kind: type[Driver], seed: int) -> Driver:
    body = b.block(b.task("member", 0), params=1, result=1)
    plan = b.flow(b.each(1, ["call", "range", ["lit", 9]], simple=True), result=1, blocks=(body,))

    def member(x: int) -> Any:
        if x % 4 == 3:
            raise Replaced("pair", {"x": x}, x)
        return grow(x)

    functions = {
        "member": member, "grow": grow, "plus": lambda x: x + 1 if isinstance(x, int) else [x], "same": lambda x: x,
        "halve": lambda x: x // 2, "one": lambda x: x + 1, "two": lambda x: x * 10,
    }  # fmt: skip
    return kind(plan, functions, seed=seed, cut=3, others={**OTHERS, "more": MORE, "half": HALF})


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_the_outcome_does_not_depend_on_the_order_nor_on_deaths(seed: int) -> None:
    driver = growing(Driver, seed)
    driver.submit()
    while not driver.ended:
        disturb(driver)
        if not driver.ended and not driver.step():  # a bundle was lost: a new coordinator dispatches what is owed
            driver.ready = list(driver.engine.outstanding())
            assert driver.ready
    record = driver.engine.record("r")
    crashed = [row for row in record.steps if row.error is not None]
    if not crashed:
        assert result(driver, record) == members(9)
    assert {row.error.type for row in crashed if row.error is not None} <= {"WorkerDied"}


@pytest.mark.parametrize("kind", [Restoring, Freezing])
@pytest.mark.parametrize("seed", range(3))
def test_packed_and_restored_it_goes_on(kind: type[Driver], seed: int) -> None:
    driver = growing(kind, seed)
    assert result(driver, driver.run()) == members(9)


def test_a_replay_gives_the_same() -> None:
    driver = growing(Driver, 1)
    record = driver.run()
    assert driver.replayed().record("r") == record


def test_a_run_whose_other_plan_is_missing_waits_for_it() -> None:
    driver = started(CHAIN, {"a": by("two")})
    engine = driver.engine
    packed = {name: engine.pack_run(name) for name in engine.take_touched()}
    found = type(engine)()
    assert found.restore(engine.pack_rest(), packed.items()) == {"plan", "two"}
    found.add_plan("plan", CHAIN)
    assert found.peek("r") is None
    found.add_plan("two", TWO)
    assert [work.plan for work in found.outstanding()] == ["two"]


def test_plans_that_replace_tasks_are_loaded_first() -> None:
    engine = Driver(CHAIN, others=OTHERS).engine
    event = m.Results("b", "w", (), ("two", "new"))
    assert engine.needs_also(event) == ["new"]
    engine.add_plan_failure("new", "it is gone")
    assert engine.needs_also(event) == []


# ---- run again ------------------------------------------------------------------------------------------------------


def test_a_rerun_keeps_what_was_replaced_and_what_was_added() -> None:
    plan = b.flow(
        b.task("a"), b.task("bad"), b.value(["list", ["in", 0], ["in", 1]], 1, 2), b.task("last", 3), result=4
    )  # fmt: skip

    def bad() -> int:
        raise Fail

    functions = {"a": added, "one": lambda x: x + 1, "two": lambda x: x * 10, "last": lambda x: x, "bad": bad}
    driver, record = ran(plan, functions)
    assert states(record)["a"] == "success"
    driver.functions["bad"] = lambda: "mended"
    driver.calls.clear()
    again = rerun(driver)
    assert result(driver, again) == [100, 6, 50, "mended"]
    assert [name for name, _ in driver.calls] == ["bad", "last"]


@pytest.mark.parametrize("on_error", ["fail", "finish"])
def test_a_rerun_of_items_that_were_replaced(on_error: str) -> None:
    def two(x: int) -> int:
        raise Fail

    driver, record = ran(items(on_error=on_error), {**FUNCTIONS, "two": two})
    assert record.state == "failed"
    driver.functions["two"] = FUNCTIONS["two"]
    assert result(driver, rerun(driver)) == [0, 20, 2, 40]


def test_a_rerun_of_items_that_added_others() -> None:
    def last(x: Any) -> int:
        raise Fail

    driver, _ = ran(items(), {"a": added, "one": lambda x: x + 1, "two": lambda x: x * 10, "last": last})
    driver.functions["last"] = lambda x: x
    assert result(driver, rerun(driver)) == [0, 100, 6, 50, 2, 3]


# ---- beside other constructs ----------------------------------------------------------------------------------------


def test_a_join_that_is_decided_cancels_the_canvas() -> None:
    plan = b.flow(
        b.task("a", handler=3), b.task("quick", handler=3),
        p.JoinNode(members=(1, 2), n=1, first=True, cancel_rest=True), b.task("last", 3), result=4,
    )  # fmt: skip
    driver = Driver(plan, {"a": by("two"), "quick": lambda: "won", "last": lambda x: x}, others=OTHERS)
    driver.submit()
    for name in ("a", "quick"):
        work = next(w for w in driver.ready if w.plan == "plan" and plan.blocks[0].nodes[w.node].name == name)
        driver.ready.remove(work)
        driver.post(m.Results("b", "w", tuple(driver.execute(work))))
    record = driver.drain()
    assert result(driver, record) == "won"
    assert states(record)["a"] == states(record)["a.one"] == "cancelled"


def test_rounds_of_a_repeat_that_are_replaced() -> None:
    body = b.block(b.task("a", 0), params=1, result=1)
    until = b.block(b.value(["op", ">", ["in", 0], ["lit", 2]], 0), params=1, result=1)
    plan = b.flow(p.RepeatNode(name="again", body=1, until=2, every_ms=0, max=9), result=1, blocks=(body, until))

    def a(x: Any) -> Any:
        raise Replaced("one", {"x": x or 0})

    driver, record = ran(plan, {"a": a, "one": lambda x: x + 1})
    assert result(driver, record) == 3


def test_a_tear_down_that_is_replaced_runs_though_the_run_is_cancelled() -> None:
    plan = b.flow(
        b.task("setup"), b.task("work", 1),
        b.task("drop", after=(b.after("teardown", 1, 2, setups=(1,)),), handler=-2), result=2,
    )  # fmt: skip
    driver = started(plan, {"setup": lambda: 1, "drop": by("two", 4), "one": lambda x: x, "two": lambda x: x})
    driver.post(m.Cancel("r"))
    record = driver.drain()
    assert record.state == "cancelled"
    assert states(record)["drop.two"] == states(record)["drop"] == "success"


def test_of_a_paused_run_nothing_of_the_canvas_begins() -> None:
    driver = Driver(CHAIN, {"a": by("one"), "one": lambda x: x, "last": lambda x: x}, others=OTHERS)
    driver.submit()
    driver.post(m.Control("pause", "r", id="1"))
    assert driver.step()
    assert [name for name, _ in driver.calls] == ["a"]
    assert not list(driver.engine.outstanding())
    driver.post(m.Control("resume", "r", id="2"))
    assert result(driver, driver.drain()) == 1


def test_the_canvas_of_a_child_run() -> None:
    child = msgspec.structs.replace(CHAIN, flow="child", returns=0)
    call = p.ChildNode(name="call", flow="child", args=(), settings=0)
    plan = b.flow(call, b.task("last", 1), result=2, children={"child": child})
    driver, record = ran(
        plan, {"a": by("two", 1), "one": lambda x: x + 1, "two": lambda x: x * 10, "last": lambda x: x}
    )
    assert result(driver, record) == 20
    assert states(record)["call.a.one"] == "success"


def test_a_canvas_that_calls_a_flow() -> None:
    inner = msgspec.structs.replace(TWO, flow="inner", returns=0)
    call = p.ChildNode(name="call", flow="inner", args=(("x", ["in", 0]),), settings=0, inputs=b.ref(1))
    calling = b.flow(call, result=2, params=X, children={"inner": inner})
    functions = {"a": by("calling", 1), "one": lambda x: x + 1, "two": lambda x: x * 10, "last": lambda x: x}
    driver = Driver(CHAIN, functions, others={"calling": calling})
    assert result(driver, driver.run()) == 20
    assert {"plan", "calling"} == driver.plans.keys()
