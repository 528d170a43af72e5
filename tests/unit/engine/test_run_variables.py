"""Variables: read once, when a run begins, and the same for all that belongs to it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from flowc import plan as p
from flowc.types import INT, JSON
from flowrun import messages as m
from flowrun import values
from flowrun.engine.commands import Answer
from flowrun.engine.variables import Variables
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engine import builders as b
from tests.unit.engine.driver import Driver, Replaced
from tests.unit.engine.test_again import rerun
from tests.unit.engine.test_snapshot import Freezing, Restoring


def reading(*nodes: Any, variables: tuple[p.VarDef, ...], **more: Any) -> p.Plan:
    """A plan whose block 0 has `run`, its parameters, its variables, then these nodes."""
    params = more.pop("params", ())
    plan = b.flow(*nodes, **more)
    given = (b.RUN, *(p.ParamNode(name=one.name) for one in (*params, *variables)))
    body = p.PlanBlock(nodes=given + nodes, params=len(given), result=plan.blocks[0].result)
    return msgspec.structs.replace(
        plan, params=params, vars=variables, blocks=(body, *plan.blocks[1:]), types=(JSON, INT)
    )


LIMIT = (p.VarDef(name="limit", type=1, default=["lit", 10]),)
RATE = (p.VarDef(name="rate", type=1),)
#: limit -> f(limit)
PLAIN = reading(b.task("f", 1), result=2, variables=LIMIT)


def put(name: str, value: Any, version: int, **more: Any) -> m.SetVar:
    return m.SetVar(name, None if value is None else values.encode(value), f"{name}{version}", version=version, **more)


def echo(value: Any) -> Any:
    return value


def result(driver: Driver, record: m.RunRecord) -> Any:
    assert record.state == "success", record.error
    return driver.value_of(record.result)


@pytest.mark.parametrize("kind", [Driver, Restoring, Freezing])
def test_the_default_holds_until_a_value_is_set_and_again_when_it_is_unset(kind: type[Driver]) -> None:
    driver = kind(PLAIN, {"f": echo})
    assert result(driver, driver.run("r1")) == 10
    driver.post(put("limit", 20, 5))
    assert result(driver, driver.run("r2")) == 20
    driver.post(put("limit", None, 6))
    assert result(driver, driver.run("r3")) == 10


def test_the_largest_version_counts_whatever_the_order() -> None:
    driver = Driver(PLAIN, {"f": echo})
    for value, version in ((3, 3), (1, 1), (2, 2), (7, 3)):
        driver.post(put("limit", value, version))
    assert result(driver, driver.run()) == 3
    assert driver.engine.ignored_count == 2  # the same version again is nothing to tell


def test_whoever_wants_an_answer_gets_one_also_when_it_comes_again() -> None:
    driver = Driver(PLAIN)
    for _ in range(2):
        commands = driver.post(put("limit", 3, 3, client="c"))
        assert [one.ok for one in commands if isinstance(one, Answer)] == [True]


def test_a_variable_without_a_value_fails_the_run_and_says_how_to_set_it() -> None:
    driver = Driver(reading(b.task("f", 1), result=2, variables=RATE), {"f": echo})
    record = driver.run("r1")
    assert record.error is not None
    assert (record.state, record.error.type) == ("failed", "TypeMismatch")
    assert "flowc var set rate VALUE" in record.error.message
    driver.post(put("rate", 1, 1))
    assert result(driver, driver.run("r2")) == 1


def test_a_value_of_another_type_fails_the_run() -> None:
    driver = Driver(PLAIN, {"f": echo})
    driver.post(put("limit", "many", 1))
    record = driver.run()
    assert record.error is not None
    assert record.error.type == "TypeMismatch"
    assert "variable `limit` has a value that is no int" in record.error.message


@pytest.mark.parametrize("kind", [Driver, Restoring, Freezing])
def test_child_runs_see_what_the_run_began_with(kind: type[Driver]) -> None:
    child = reading(b.task("f", 2), result=3, variables=LIMIT, name="child", params=(p.ParamDef(name="x", type=0),))
    call = p.ChildNode(name="call", flow="child", args=(("x", ["in", 0]),), settings=0, inputs=b.ref(1))
    plan = b.flow(b.task("first"), call, result=2, children={"child": child})
    driver = kind(plan, {"f": echo})
    driver.functions["first"] = lambda: driver.post(put("limit", 99, 2)) and None
    driver.post(put("limit", 1, 1))
    assert result(driver, driver.run("r1")) == 1
    assert result(driver, driver.run("r2")) == 99


def test_unset_at_the_begin_stays_unset_for_child_runs() -> None:
    child = reading(b.task("f", 2), result=3, variables=LIMIT, name="child", params=(p.ParamDef(name="x", type=0),))
    call = p.ChildNode(name="call", flow="child", args=(("x", ["in", 0]),), settings=0, inputs=b.ref(1))
    driver = Driver(b.flow(b.task("first"), call, result=2, children={"child": child}), {"f": echo})
    driver.functions["first"] = lambda: driver.post(put("limit", 99, 2)) and None
    assert result(driver, driver.run()) == 10


def test_what_replaces_a_task_reads_its_own_variables() -> None:
    def replace() -> None:
        raise Replaced("other")

    other = msgspec.structs.replace(PLAIN, returns=0)
    driver = Driver(b.flow(b.task("a"), result=1), {"a": replace, "f": echo}, others={"other": other})
    driver.post(put("limit", 4, 1))
    assert result(driver, driver.run()) == 4


def test_a_rerun_runs_what_depends_on_a_variable_that_changed() -> None:
    plan = reading(b.task("f", 1), b.task("other"), variables=LIMIT, result=2)
    driver = Driver(plan, {"f": echo})
    driver.run("r")
    driver.post(put("limit", 5, 1))
    driver.calls.clear()
    record = rerun(driver)
    assert result(driver, record) == 5
    assert [name for name, _ in driver.calls] == ["f"]


def test_a_run_that_reads_none_remembers_none() -> None:
    driver = Driver(b.flow(b.task("a"), result=1))
    driver.post(put("limit", 4, 1))
    driver.submit()
    run = driver.engine.find("r")
    assert run is not None
    assert run.variables == {}


def test_the_part_survives_packing() -> None:
    one, two = Variables(), Variables()
    one.set("a", 2, b"\x01")
    one.set("b", 3, None)
    two.restore(one.pack())
    assert (two.get("a"), two.version("a"), two.get("b"), two.version("b")) == (b"\x01", 2, None, 3)
    assert not two.set("b", 3, b"\x01")


@given(st.lists(st.none() | st.tuples(st.integers(1, 8), st.none() | st.integers(0, 99)), max_size=20))
@settings(max_examples=60, deadline=None)
def test_each_run_sees_the_newest_value_that_came_before_it(story: list[Any]) -> None:
    """None: a run begins; else a version, and a value. The same version always has the same value."""
    driver = Restoring(PLAIN, {"f": echo})
    known: dict[int, int | None] = {}
    for number, one in enumerate(story):
        if one is None:
            newest = known[max(known)] if known else None
            assert result(driver, driver.run(f"r{number}")) == (10 if newest is None else newest)
        else:
            version, value = one
            driver.post(put("limit", known.setdefault(version, value), version))
