"""What statements become in the IR."""

from __future__ import annotations

from flowc import ir

from .program import TASKS, checked, flow, named, steps


def test_names_in_written_order() -> None:
    found = flow(
        'x = number(1)\nnumber(2)\nnumber(number(3))\nnumber(4) -> number -> add(_, 2)\ny = x + 1\nnote("${y}")'
    )
    assert [step.name for step in found.body.steps] == [
        "x", "number", "number#3", "number#2", "number#4", "number#5", "add", "y", "note",
    ]  # fmt: skip


def test_lines_are_those_of_the_file() -> None:
    found = flow("x = number(1)\n\ny = number(x)", tasks=TASKS.strip())
    assert [step.line for step in found.body.steps] == [8, 10]


def test_a_skipped_value_is_null_only_where_the_type_allows_it() -> None:
    found = flow(
        "a = number(1)\nif a > 1 { b = number(2) }\nc = maybe(a)\nd = maybe(b)\ne = a ?? 1\nf = b ?? 2\nnumber(a)\n"
        "g = maybe(1)?? 3\nnumber(e + f + g + (c ?? 0) + (d ?? 0))"
    )
    known = named(found)
    a = known["a"].id
    assert known["c"].args == {"x": ["opt", a]}
    assert known["number"].args == {"x": ["ref", a]}
    assert known["d"].args["x"][0] == "opt"
    assert known["e"].value == ["??", ["opt", a], ["lit", 1]]


def test_a_group_is_its_members_and_a_list() -> None:
    found = flow('g = [number(1), number(2) -> add]\ns = total(g)\nt = [number(3)] -> total\nnote("${s} ${t}")')
    known = named(found)
    group = known["g"]
    assert isinstance(group, ir.ValueStep)
    assert group.value == ["list", ["ref", known["number"].id], ["ref", known["add"].id]]
    assert known["s"].args == {"xs": ["ref", group.id]}
    assert known["t"].args == {"xs": ["list", ["ref", known["number#3"].id]]}


def test_rules_look_at_the_members_of_a_group_where_they_must() -> None:
    found = flow(
        'g = [number(1), number(2)]\nnote("a") after any_ok(g)\nnote("b") after ok(g)\nnote("c") after done(g)'
    )
    known = named(found)
    members = (known["number"].id, known["number#2"].id)
    assert known["note"].after == (ir.Rule(rule="any_ok", steps=members),)
    assert known["note#2"].after == (ir.Rule(rule="ok", steps=(known["g"].id,)),)
    assert known["note#3"].after == (ir.Rule(rule="done", steps=members),)


def test_after_holds_for_every_step_of_its_stage() -> None:
    found = flow("x = number(1)\n(number(number(2)) -> add) after failed(x)\n[number(3), number(4)] after x")
    rules = {step.name: [rule.rule for rule in step.after] for step in found.body.steps}
    assert rules == {
        "x": [], "number": ["failed"], "number#2": ["failed"], "add": ["failed"], "number#3": ["none_failed"],
        "number#4": ["none_failed"],
    }  # fmt: skip


def test_branches_merge_what_they_bind() -> None:
    found = flow(
        'n = number(1)\nif n > 1 { a = number(2) } else if n > 0 { a = 3 } else { b = n }\nnote("${a ?? 0} ${b ?? 0}")'
    )
    (branch,) = [step for step in found.body.steps if isinstance(step, ir.BranchStep)]
    n = named(found)["n"].id
    assert branch.selector == [
        "if", ["op", ">", ["ref", n], ["lit", 1]], ["lit", 0],
        ["if", ["op", ">", ["ref", n], ["lit", 0]], ["lit", 1], ["lit", 2]],
    ]  # fmt: skip
    ids = [[step.id for step in arm.steps] for arm in branch.arms]
    assert [(merge.name, merge.type, merge.sources) for merge in branch.merges] == [
        ("a", "int?", (ids[0][0], ids[1][0], None)),
        ("b", "int?", (None, None, ids[2][0])),
    ]


def test_a_condition_with_a_call_is_decided_in_its_arm() -> None:
    found = flow("n = number(1)\nif n > 1 { number(2) } else if number(3) > 1 { number(4) }")
    (branch,) = [step for step in found.body.steps if isinstance(step, ir.BranchStep)]
    assert [type(step).__name__ for step in branch.arms[1].steps] == ["CallStep", "BranchStep"]


def test_returns_in_arms_are_merged() -> None:
    found = flow("if n > 1 { return number(n) } else { return 0 }", "main(n: int) returns int")
    (branch,) = found.body.steps
    assert isinstance(branch, ir.BranchStep)
    assert found.body.result == ["ref", branch.merges[0].id]
    assert branch.merges[0].name == ""


def test_each_and_its_settings() -> None:
    found = flow('xs = each (a, b) in zip(listing(), range(3)) with { max: 5, on_error: "skip" } { return add(a, b) }')
    each = named(found)["xs"]
    assert isinstance(each, ir.EachStep)
    assert (each.max, each.on_error, each.unpack, each.item_types) == (5, "skip", True, ("int", "int"))
    assert each.source == ["call", "zip", ["ref", named(found)["listing"].id], ["call", "range", ["lit", 3]]]
    (step,) = each.body.steps
    assert step.args == {"a": ["ref", each.items[0]], "b": ["ref", each.items[1]]}
    assert each.body.result == ["ref", step.id]
    assert each.type == "list<int>"


def test_collected_failures_are_in_the_type() -> None:
    found = flow('xs = each x in listing() with { on_error: "collect" } { return number(x) }')
    assert named(found)["xs"].type == "list<int | Failure>"


def test_joins() -> None:
    found = flow(
        'a = [number(1), number(2)] with { join: "first", cancel_rest: true }\nb = [number(a), 5] with { join: 2 }'
    )
    known = named(found)
    first, both = known["a"], known["b"]
    assert isinstance(first, ir.JoinStep)
    assert isinstance(both, ir.JoinStep)
    assert (first.n, first.first, first.cancel_rest, first.type) == (1, True, True, "int")
    assert (both.n, both.first, both.cancel_rest, both.type) == (2, False, False, "list<int>")
    assert len(both.members) == 2


def test_catch_gives_either_value() -> None:
    found = flow('x = (number(1) -> number) catch(e) {\n  note(e.message)\n  return 0\n}\nnote("${x}")')
    catch = named(found)["x"]
    assert isinstance(catch, ir.CatchStep)
    assert [step.name for step in catch.body.steps] == ["number", "number#2"]
    assert catch.body.result == ["ref", catch.body.steps[1].id]
    assert catch.handler.result == ["lit", 0]
    assert catch.handler.steps[0].args == {"text": ["attr", ["ref", catch.error_id], "message"]}


def test_watches_stand_beside_the_step() -> None:
    found = flow("x = number(1) on failure(e) { note(e.type) } on success(r) { number(r) }")
    x, failure, success = found.body.steps
    assert [(step.step, step.event) for step in (failure, success)] == [(x.id, "failure"), (x.id, "success")]
    assert success.body.steps[0].args == {"x": ["ref", success.value_id]}


def test_handlers_see_steps_as_optional_after_a_failure() -> None:
    handlers = 'on failure(e) { note("${x ?? 0} ${e.message}") }\non success(r) { number(x + r) }\n'
    found = flow(f"x = number(1)\n{handlers}return x", "main() returns int")
    failure, success = found.handlers
    x = found.body.steps[0].id
    assert ["??", ["opt", x], ["lit", 0]] in failure.body.steps[0].args["text"]
    assert success.body.steps[0].args == {"x": ["op", "+", ["ref", x], ["ref", success.value_id]]}


def test_composites_are_inlined_in_boxes() -> None:
    composites = (
        "chain inner(x: int) returns int = number(x) -> add\n"
        "group outer(x: int) = { left: inner(x), right: number(x + 1) }\n"
    )
    found = flow('a = outer(1)\nb = inner(a.left)\nnote("${b}")', tasks=TASKS + composites)
    boxes = [(step.name, step.box) for step in found.body.steps]
    assert boxes == [
        ("number", ("outer", "inner")),
        ("add", ("outer", "inner")),
        ("number#2", ("outer",)),
        ("a", ()),
        ("number#3", ("inner#2",)),
        ("b", ("inner#2",)),
        ("note", ()),
    ]


def test_child_flows() -> None:
    text = (
        TASKS + "flow child(x: int, y: int = x + 1) returns int { return number(x + y) }\nflow main { r = child(2) }\n"
    )
    program, findings = checked(text)
    assert not findings.has_errors
    (step,) = program.flows["main.flow:main"].body.steps
    assert isinstance(step, ir.ChildStep)
    assert (step.flow, step.args, step.type) == ("main.flow:child", {"x": ["lit", 2]}, "int")
    first, second = program.flows["main.flow:child"].params
    assert second.default == ["op", "+", ["ref", first.id], ["lit", 1]]


def test_repeat_reads_the_last_round() -> None:
    found = flow("r = repeat with { every: 2s, max: 5 } { return maybe(_) } until _ != null")
    repeat = named(found)["r"]
    assert isinstance(repeat, ir.RepeatStep)
    assert (repeat.every_ms, repeat.max) == (2_000, 5)
    assert repeat.body.steps[0].args == {"x": ["opt", repeat.previous_id]}


def test_using_sets_up_and_tears_down() -> None:
    found = flow("using n = number(1) { a = number(n) } finally { number(n) }\nnumber(a)")
    using = found.body.steps[0]
    assert isinstance(using, ir.UsingStep)
    assert using.setup.result == ["ref", using.setup.steps[0].id]
    assert using.body.steps[0].args == using.cleanup.steps[0].args == {"x": ["ref", using.value_id]}
    assert found.body.steps[1].args == {"x": ["ref", using.body.steps[0].id]}


def test_templates_hold_the_parameters() -> None:
    text = """
    connection db: sqlite { path: "x.db", key: secret("k") }
    task t(a: string, b: string?) returns json { run: sql("select ${a}, ${b} from ${ident(a)}"), uses: [db] }
    flow main { t("x") }
    """
    program, findings = checked(text)
    assert findings.sorted() == []
    task = program.tasks["main.flow:t"]
    assert task.template == [
        "str", ["lit", "select "], ["arg", "a"], ["lit", ", "], ["arg", "b"], ["lit", " from "],
        ["ident", ["arg", "a"]],
    ]  # fmt: skip
    assert task.uses == ("db",)
    assert program.connections["db"].fields == {"path": ["lit", "x.db"], "key": ["secret", "k"]}


def test_ids_are_unique_and_used_after_they_are_made() -> None:
    found = flow(
        "xs = listing()\nys = each x in xs { if x > 1 { y = number(x) } else { y = 0 }\n return y ?? number(x) }\n"
        "z = total(ys) catch(e) { return 0 }\nw = match z {\n 1: number(z)\n else: { return z }\n}\nnumber(w)"
    )
    ids = [step.id for step in steps(found.body)]
    assert len(set(ids)) == len(ids)
