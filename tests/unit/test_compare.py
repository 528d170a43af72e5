"""Which steps of a new plan are the same work as before."""

from __future__ import annotations

from pathlib import Path

import pytest
from flowc.compare import Comparison, compare
from flowc.pipeline import compile_paths
from flowc.plan import Plan
from flowc.project import find_project

DECLARATIONS = """
task load(day: string) returns list<int> { run: shell("load ${day}"), timeout: 1m }
task clean(xs: list<int>) returns list<int> { run: shell("clean ${xs}"), timeout: 1m }
task one(x: int) returns int { run: shell("one ${x}"), timeout: 1m }
task total(xs: list<int>) returns int { run: shell("total ${xs}"), timeout: 1m }
task up() returns string { run: shell("up"), timeout: 1m }
task down(c: string) { run: shell("down ${c}"), timeout: 1m }
task use_it(c: string) returns int { run: shell("use ${c}"), timeout: 1m }
flow inner(x: int) returns int { return one(x) }
"""
FLOW = """
flow main(day: string = "monday") returns int {
  rows = load(day)
  good = clean(rows)
  each_one = each x in good { return one(x) }
  n = total(each_one)
  called = inner(n)
  if n > 1 { big = one(n) } else { small = one(1) }
  using c = up() { used = use_it(c) } finally { down(c) }
  last = one(3) after n
  return called
}
"""
ALL = {"rows", "good", "each_one", "n", "called", "big", "small", "c", "used", "down", "last"}


@pytest.fixture
def plan_of(tmp_path: Path) -> object:
    def plan(text: str, flow: str = "main") -> Plan:
        path = tmp_path / "main.flow"
        path.write_text(text)
        found = compile_paths(find_project(tmp_path), [path])
        errors = [diagnostic for diagnostic in found.diagnostics if diagnostic.severity == "error"]
        assert not errors, errors
        return next(plan.plan for plan in found.plans if plan.flow == flow)

    return plan


def kept(new: Plan, found: Comparison) -> set[str]:
    return {new.blocks[0].nodes[node].name for node in found.nodes} - {"", "run", "day"}


def test_the_same_plan_is_the_same_work(plan_of) -> None:  # type: ignore[no-untyped-def]
    old = plan_of(DECLARATIONS + FLOW)
    found = compare(old, old)
    assert found.nodes == {i: i for i in range(len(old.blocks[0].nodes))}
    assert kept(old, found) == ALL
    assert not found.changed


def test_what_does_not_change_a_result_does_not_count(plan_of) -> None:  # type: ignore[no-untyped-def]
    old = plan_of(DECLARATIONS + FLOW)
    text = "\n\n# moved down\n" + DECLARATIONS + FLOW
    text = text.replace("n = total(each_one)", "n = total(each_one) with { retry: 2, priority: 7, timeout: 5m }")
    text = text.replace("good = clean(rows)", "good = clean(rows) catch(e) { return [1] }")
    new = plan_of(text)
    # the value of a step with `catch` is that of a merge
    assert kept(new, compare(old, new)) >= {"rows", "c", "used", "down"}
    new = plan_of(text.replace(" catch(e) { return [1] }", ""))
    assert kept(new, compare(old, new)) == ALL


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("one(3) after n", "one(4) after n", {"last": "its arguments changed"}),
        ("one(3) after n", "one(3) after done(n)", {"last": "when it runs changed"}),
        (
            'run: shell("total ${xs}")',
            'run: shell("sum ${xs}")',
            {
                "n": "its task changed", "called": "what it depends on changed", "big": "when it runs changed",
                "small": "when it runs changed", "last": "when it runs changed",
            },
        ),
        ("return one(x) }\n  n", "return one(x) + 1 }\n  n", {"each_one"}),
        ("int { return one(x) }", "int { return one(x + 1) }", {"called": "what runs inside of it changed"}),
        ("  last =", "  more = one(9)\n  last =", {"more": "it is new"}),
        ("  last =", "  latest =", {"latest": "it is new"}),
        ("down(c) }", "down(c)\n down(c) }", {"down#2": "it is new"}),
        ('string = "monday"', 'string = "friday"', {}),
    ],
)  # fmt: skip
def test_what_changed(plan_of, before: str, after: str, changed: object) -> None:  # type: ignore[no-untyped-def]
    old = plan_of(DECLARATIONS + FLOW)
    text = DECLARATIONS + FLOW
    assert text.count(before) == 1
    new = plan_of(text.replace(before, after))
    found = compare(old, new)
    if isinstance(changed, dict):
        assert found.changed == changed
    else:
        assert changed <= found.changed.keys()
    assert not kept(new, found) & found.changed.keys()


def test_a_set_up_whose_tear_down_changed_is_gone(plan_of) -> None:  # type: ignore[no-untyped-def]
    old = plan_of(DECLARATIONS + FLOW)
    new = plan_of(DECLARATIONS + FLOW.replace("used = use_it(c) }", "used = use_it(c)\n more = use_it(c) }"))
    found = compare(old, new)
    assert found.changed["c"] == "its tear-down changed"
    assert "used" in kept(new, found)  # it runs again all the same: after the set-up


@pytest.mark.parametrize(
    ("signature", "given", "problem"),
    [
        ("day: int = 1", (), "the type of parameter `day` changed: give it a value"),
        ("day: int = 1", ("day",), ""),
        ('day: string = "x", n: int', (), "it has no value for the new parameter `n`: give it one"),
        ('day: string = "x", n: int', ("n",), ""),
        ('day: string = "x", n: int = 1', (), ""),
        ("", (), ""),
    ],
)
def test_parameters(plan_of, signature: str, given: tuple[str, ...], problem: str) -> None:  # type: ignore[no-untyped-def]
    old = plan_of(DECLARATIONS + 'flow main(day: string = "x") returns int { return one(1) }')
    new = plan_of(DECLARATIONS + f"flow main({signature}) returns int {{ return one(1) }}")
    assert compare(old, new, given).problems == ((problem,) if problem else ())


def test_another_flow(plan_of) -> None:  # type: ignore[no-untyped-def]
    text = DECLARATIONS + FLOW
    found = compare(plan_of(text), plan_of(text, "inner"))
    assert found.problems == ("it was a run of flow `main`, and the plan is of flow `inner`",)


def test_a_flow_that_calls_itself(plan_of) -> None:  # type: ignore[no-untyped-def]
    text = DECLARATIONS + (
        "flow main(n: int = 3) returns int {\n  max_depth: 5\n  if n > 0 { m = main(n - 1) }\n  return m ?? 0\n}\n"
    )
    plan = plan_of(text)
    assert not compare(plan, plan).changed
    assert "m" in compare(plan, plan_of(text.replace("m ?? 0", "m ?? 1"))).changed
    assert "m" in compare(plan, plan_of(text.replace("max_depth: 5", "max_depth: 6"))).changed
