"""The interpreter says what the design says, and the engine does what the interpreter says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from flowc.pipeline import Compilation, compile_paths
from flowc.project import find_project
from flowrun import values
from flowrun.messages import RunRecord
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.reference.behaviours import DECLARATIONS, TASKS
from tests.reference.compare import differences
from tests.reference.direct import Direct
from tests.reference.interpreter import interpret
from tests.reference.outcomes import Report
from tests.reference.programs import BEHAVIOURS, Source, programs
from tests.reference.rules import verdict

#: `trigger-rules.md`: how a step with the rule ends over two upstreams that have ended
COLUMNS = ["SS", "SF", "SK", "SU", "FF", "FK", "FU", "KK", "KU", "UU"]
TABLE = {
    "ok": "R u k u u u u k u u",
    "failed": "k k k k R k R k k R",
    "done": "R R R R R R R R R R",
    "done_any_ok": "R R k R u k u k k u",
    "any_ok": "R R R R u u u k u u",
    "any_failed": "k R k R R R R k R R",
    "any_done": "R R R R R R R k k k",
    "none_failed": "R u R u u u u R u u",
    "none_failed_any_ok": "R u R u u u u k u u",
    "none_skipped": "R R k R R k R k k R",
    "skipped": "k k k k k k k R k k",
    "always": "R R R R R R R R R R",
}
STATES = {"S": "success", "F": "failed", "K": "skipped", "U": "upstream_failed"}
VERDICTS = {"R": "run", "k": "skipped", "u": "upstream_failed"}


@pytest.mark.parametrize("rule", TABLE)
def test_the_rules_are_those_of_the_table(rule: str) -> None:
    for column, cell in zip(COLUMNS, TABLE[rule].split(), strict=True):
        for order in (column, column[::-1]):
            assert verdict(rule, [STATES[state] for state in order]) == VERDICTS[cell], (column, cell)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the tasks of the random programs."""
    folder = tmp_path_factory.mktemp("programs")
    shutil.copy(BEHAVIOURS, folder / "behaviours.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


def compiled(root: Path, text: str) -> Compilation:
    path = root / "program.flow"
    path.write_text(text)
    found = compile_paths(find_project(root), [path])
    errors = [diagnostic for diagnostic in found.diagnostics if diagnostic.severity == "error"]
    assert not errors, errors
    return found


def report_of(root: Path, body: str, n: int = 1) -> Report:
    program = compiled(root, f"{DECLARATIONS}\nflow main(n: int) returns json {{\n{body}\n}}\n").program
    assert program is not None
    key = next(key for key, flow in program.flows.items() if flow.name == "main")
    return interpret(program, key, TASKS, {"n": n})


def same(root: Path, body: str, n: int = 1, declarations: str = "") -> RunRecord:
    """Runs a program on the engine, in several orders; each must end as the interpreter says. Gives the last."""
    found = compiled(root, f"{DECLARATIONS}{declarations}\nflow main(n: int) returns json {{\n{body}\n}}\n")
    assert found.program is not None
    main = next(plan for plan in found.plans if plan.flow == "main")
    key = next(key for key, flow in found.program.flows.items() if flow.name == "main")
    report = interpret(found.program, key, TASKS, {"n": n})
    for order in range(12):
        run = Direct(main.plan, root, order, renewed=order % 3 == 2)
        record = run.run({"n": n})
        assert differences(report, record, "json", run.get) == []
    return record


def states(report: Report) -> dict[str, str]:
    return {row.step + "".join(f"[{i}]" for i in row.index): row.state for row in report.rows}


@pytest.mark.parametrize(
    ("body", "n", "value"),
    [
        ("a = inc(n)\nreturn a + 1", 4, 6),
        ("a = risky(3) catch(e) { return e.attempts }\nreturn a", 1, 1),
        ("a = flaky(2) with { retry: { max: 2, backoff: fixed(1ms) } }\nreturn a", 1, 5),
        ("a = each i in range(4) { return moody(i) }\nreturn a", 1, [2, 4, 5]),
        ('a = each i in range(4) with { on_error: "skip" } { return risky(i) }\nreturn a', 1, [2, 3]),
        ("if n > 0 { a = inc(n) }\nreturn a ?? 7", 0, 7),
        ("a = moody(1)\nb = pick(5, a)\nreturn b", 1, 5),
        ("a = match n { 1: inc(1)\n else: inc(5) }\nreturn a", 1, 2),
        ("a = repeat with { every: 1s, max: 5 } { return add(int(_ ?? 0), 2) } until int(_) > 3\nreturn a", 1, 4),
    ],
)
def test_values(root: Path, body: str, n: int, value: object) -> None:
    report = report_of(root, body, n)
    assert (report.state, report.value) == ("success", value)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a = risky(3)\nb = inc(a)\nc = note(1) after done(a)\nreturn n", {"a": "failed", "b": "upstream_failed"}),
        ("a = moody(1)\nb = inc(a)\ninc(2) after a\nreturn n", {"a": "skipped", "b": "skipped", "inc": "success"}),
        ("if n > 1 { a = inc(n) }\nb = pick(1, a)\nreturn n", {"a": "skipped", "b": "success"}),
        ("a = risky(3) on failure(e) { note(1) }\nreturn n", {"a": "failed", "note": "success"}),
        ("a = each i in range(2) { return risky(i + 2) }\nreturn n", {"risky[0]": "success", "risky[1]": "failed"}),
        ("using c = inc(1) { risky(3) } finally { note(c) }\nreturn n", {"risky": "failed", "note": "success"}),
        ("on failure(e) { note(e.attempts) }\na = broken(1)\nreturn n", {"a": "failed", "note": "success"}),
    ],
)
def test_states(root: Path, body: str, expected: dict[str, str]) -> None:
    found = states(report_of(root, body.replace("c = note(1)", "note(1)")))
    assert found.items() >= expected.items()


@pytest.mark.parametrize(
    "group",
    [
        '[broken(1) -> inc, inc(5)] with { join: "first" }',
        '[inc(broken(1)), inc(5)] with { join: "first" }',
        '[1 + broken(1), 1 + inc(5)] with { join: "first" }',
        '{ a: broken(1) -> inc, b: inc(5) } with { join: "first" }',
        'inc(1) -> [add(_, broken(1)), add(_, 4)] with { join: "first" }',
        '[if n > 0 then broken(1) else inc(2), inc(5)] with { join: "first" }',
        '[[broken(1) -> inc, inc(5)] with { join: "first" }, broken(3) -> inc] with { join: "first" }',
    ],
)
def test_a_join_handles_the_failure_of_every_step_of_its_members(root: Path, group: str) -> None:
    record = same(root, f"x = {group}\nreturn x")
    assert record.state == "success"
    assert "failed" in {row.state for row in record.steps}


def test_a_join_that_fails_handles_nothing(root: Path) -> None:
    record = same(root, "x = [broken(1) -> inc, inc(5), broken(2)] with { join: 2 }\nreturn x")
    assert (record.state, record.failed_step) == ("failed", "broken")


@pytest.mark.parametrize(
    ("body", "step", "place"),
    [
        ("if 1 % (n - 1) == 0 { a = inc(1) }\nreturn n", "a", "in the condition at line {line}: "),
        ("a = if 1 % (n - 1) == 0 then inc(1) else inc(2)\nreturn n", "inc", "in the condition at line {line}: "),
        ("a = each i in [1 % (n - 1)] { return inc(i) }\nreturn n", "a", "in the source of `each` at line {line}: "),
        ("return 1 % (n - 1)", "return", "in `return` at line {line}: "),
        ("a = each i in [n] { return 1 % (n - 1) }\nreturn n", "a", "item 0: in `return` at line {line}: "),
        ("a = twice(1 % (n - 1))\nreturn n", "inc", "in an expression at line {line}: "),
        (
            "a = repeat with { every: 1ms, max: 2 } {\n  return inc(n)\n} until 1 % (n - 1) == 0\nreturn n",
            "a",
            "in `until` of the `repeat` at line {below}: ",
        ),
        ("y = 1 % (n - 1)\nreturn n", "y", ""),
    ],
)
def test_a_part_that_fails_is_told_by_the_step_it_belongs_to(root: Path, body: str, step: str, place: str) -> None:
    declarations = "chain twice(x: int) returns int = inc(x) -> inc\n"
    line = DECLARATIONS.count("\n") + 4
    place = place.format(line=line, below=line + 2)
    record = same(root, body, declarations=declarations)
    assert (record.state, record.failed_step) == ("failed", step)
    assert record.error is not None
    assert (record.error.type, record.error.message) == ("ExpressionError", f"{place}division by zero: 1 % 0")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a = (if 1 % (n - 1) == 0 then inc(1) else inc(2)) catch(e) { return len(e.step) }\nreturn a", len("inc")),
        ("a = twice(1 % (n - 1)) catch(e) { return e.attempts }\nreturn a", 1),
        ('a = ([broken(1) -> inc, broken(2)] with { join: "first" }) catch(e) { return len(e.step) }\nreturn a', 6),
        (
            'a = each i in range(2) with { on_error: "collect" } {\n  b = inc(i)\n  c = flaky(2 + b - b) with '
            "{ retry: { max: 1, backoff: fixed(1ms) } }\n  return c }\nreturn a",
            [2, 2],
        ),
    ],
)
def test_what_handlers_see_of_a_failure(root: Path, value: str, expected: object) -> None:
    record = same(root, value, declarations="chain twice(x: int) returns int = inc(x) -> inc\n")
    assert record.state == "success", record.error
    found = values.decode_plain(record.result, lambda _: b"")
    assert ([item["attempts"] for item in found] if isinstance(found, list) else found) == expected


@pytest.mark.parametrize("items", ["risky", "moody", "broken", "inc"])
@pytest.mark.parametrize("body", ["return {}(i + n)", "note(i)\n  return {}(i + n)"])
@pytest.mark.parametrize("on_error", ["fail", "collect", "skip"])
def test_rules_that_look_at_items_do_not_depend_on_who_was_faster(
    root: Path, items: str, body: str, on_error: str
) -> None:
    rules = ["any_ok(x)", "any_failed(x)", "any_done(x)", "at_least(2, [x])", "at_least(3, [x, y])", "any_ok([x, y])"]
    steps = "\n".join(f"note({number}) after {rule}" for number, rule in enumerate(rules))
    text = f'y = risky(n)\nx = each i in range(6) with {{ on_error: "{on_error}" }} {{\n  {body.format(items)}\n}}\n'
    for n in range(3):
        same(root, f"{text}{steps}\nreturn n", n)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("x = inc(broken(1)) catch(e) { return 1 }\nreturn x", {"broken": "failed", "x": "success"}),
        (
            "a = broken(1)\nx = inc(a) catch(e) { note(1)\n  return 1 }\nreturn n",
            {"x": "upstream_failed", "note": "skipped"},
        ),
        ("x = inc(2) -> broken catch(e) { return 1 }\nreturn x", {"inc": "success", "x": "success"}),
        ("x = (broken(2) -> inc) catch(e) { return 1 }\nreturn x", {"inc": "upstream_failed", "x": "success"}),
        ("x = moody(1) catch(e) { return 1 }\nreturn x ?? 2", {"moody": "skipped", "x": "skipped"}),
        ("x = broken(1) catch(e) { broken(2)\n  return 1 }\nreturn n", {"broken#2": "failed", "x": "success"}),
        ("x = [moody(1), inc(1)]\ninc(len(x))\nreturn n", {"moody": "skipped", "inc#2": "skipped"}),
        (
            "using c = broken(1) { note(c) } finally { inc(c) }\nreturn n",
            {"note": "upstream_failed", "inc": "upstream_failed"},
        ),
        ("using c = moody(1) { note(c) } finally { inc(c) }\nreturn n", {"note": "skipped", "inc": "skipped"}),
        ("using c = inc(1) { note(c) } finally { broken(c) }\nreturn n", {"note": "success", "broken": "failed"}),
    ],
)
def test_what_the_reference_says_of_failures(root: Path, body: str, expected: dict[str, str]) -> None:
    record = same(root, body)
    assert {row.step: row.state for row in record.steps}.items() >= expected.items()


def test_on_retry_of_a_task_and_of_its_call_are_both_shown(root: Path) -> None:
    call = "guarded(8) with { retry: { max: 2, backoff: fixed(1ms) } }"
    record = same(root, f"x = {call} on retry(e) {{ inc(e.attempts) }}\nreturn n")
    assert {"note", "inc"} <= {row.step for row in record.steps}


CHILDREN = """
flow whole(x: int) returns int { return moody(x) }
flow part(x: int) returns int? { return moody(x) }
flow outer(x: int) returns int { return whole(x) }
"""


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("whole(1)", {"x": "skipped", "y": "skipped"}),
        ("whole(2)", {"x": "success", "y": "success"}),
        ("outer(1)", {"x": "skipped", "y": "skipped"}),
        ("part(1)", {"x": "success", "y": "success"}),
        ("part(2)", {"x": "success", "y": "success"}),
    ],
)
def test_a_call_of_a_flow_whose_result_was_skipped_is_skipped(root: Path, call: str, expected: dict[str, str]) -> None:
    value = "x ?? 0" if call.startswith("part") else "x"
    record = same(root, f"x = {call}\ny = inc({value})\nreturn n", declarations=CHILDREN)
    assert {row.step: row.state for row in record.steps}.items() >= expected.items()


def test_a_run_fails_by_the_first_failure_that_nothing_handled(root: Path) -> None:
    report = report_of(root, "a = risky(3) catch(e) { return 1 }\nb = risky(6)\nc = broken(1)\nreturn a")
    assert (report.state, report.step) == ("failed", "b")
    assert report.error is not None
    assert report.error.type == "ValueError"


@settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(source=programs(), order=st.integers(0, 1_000))
def test_the_engine_does_what_the_interpreter_says(root: Path, source: Source, order: int) -> None:
    found = compiled(root, source.text)
    assert found.program is not None
    main = next(plan for plan in found.plans if plan.flow == "main")
    key = next(key for key, flow in found.program.flows.items() if flow.name == "main")
    report = interpret(found.program, key, TASKS, source.args)
    run = Direct(main.plan, root, order, renewed=order % 2 == 1)
    assert differences(report, run.run(source.args), "json", run.get) == []
