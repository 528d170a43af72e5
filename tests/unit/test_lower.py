"""Lowering: IR built by hand, and the graph that comes of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from flowc import ir, plan
from flowc.lower import lower
from flowc.types import FAILURE, INT, NULL, ListOf, Optional

Expr = list[Any]
SETTINGS = ir.Settings()


def ref(id: int) -> Expr:
    return ["ref", id]


def opt(id: int) -> Expr:
    return ["opt", id]


def lit(value: object) -> Expr:
    return ["lit", value]


def call(id: int, *args: Expr, name: str = "", after: tuple[ir.Rule, ...] = (), **fields: Any) -> ir.CallStep:
    """A call of task `t` with these arguments."""
    given = {f"p{i}": arg for i, arg in enumerate(args)}
    fields = {"task": "t", "settings": SETTINGS, "type": "int", "line": id, **fields}
    return ir.CallStep(id=id, name=name or f"s{id}", args=given, after=after, **fields)


def value(id: int, expr: Expr, name: str = "", type: str = "int") -> ir.ValueStep:
    return ir.ValueStep(id=id, name=name, line=id, type=type, value=expr)


def block(*steps: ir.Step, result: Expr | None = None) -> ir.Block:
    return ir.Block(steps=steps, result=result)


def rule(name: Any, *steps: int, n: int | None = None) -> ir.Rule:
    return ir.Rule(rule=name, steps=steps, n=n)


def each(id: int, source: Expr, body: ir.Block, items: tuple[int, ...], **fields: Any) -> ir.EachStep:
    fields = {"name": f"each{id}", "line": id, "type": "list<int>", "unpack": len(items) > 1, **fields}
    return ir.EachStep(id=id, source=source, items=items, item_types=("int",) * len(items), body=body, **fields)


def branch(id: int, selector: Expr, *arms: ir.Block, merges: tuple[ir.Merge, ...] = ()) -> ir.BranchStep:
    return ir.BranchStep(id=id, name="", line=id, type="null", selector=selector, arms=arms, merges=merges)


def catch(id: int, body: ir.Block, error_id: int, handler: ir.Block, **fields: Any) -> ir.CatchStep:
    return ir.CatchStep(
        id=id, name=f"s{id}", line=id, type="int", body=body, error_id=error_id, handler=handler, **fields
    )


TASK = ir.Task(
    name="t",
    params=(ir.TaskParam(name="p0", type="int"), ir.TaskParam(name="p1", type="int?", optional=True)),
    returns="int",
    operator="python",
    target="m:t",
)


def flow(
    *steps: ir.Step,
    result: Expr | None = None,
    params: tuple[ir.Param, ...] = (),
    handlers: tuple[ir.Handler, ...] = (),
) -> ir.Flow:
    returns = "int" if result is not None else None
    body = block(*steps, result=result)
    return ir.Flow(name="f", file="f.flow", line=1, params=params, returns=returns, body=body, handlers=handlers)


def program(main: ir.Flow, **others: Any) -> ir.Program:
    fields: dict[str, Any] = {"flows": {"f": main}, "tasks": {"t": TASK}}
    for name, rows in others.items():
        fields[name] = {**fields.get(name, {}), **rows}
    return ir.Program(**fields)


def lowered(*steps: ir.Step, **fields: Any) -> plan.Plan:
    made = lower(program(flow(*steps, **fields)), "f")
    check(made)
    return made


def nodes(made: plan.Plan, block: int = 0) -> dict[str, tuple[int, Any]]:
    """The named nodes of a block, with their positions."""
    return {node.name: (i, node) for i, node in enumerate(made.blocks[block].nodes) if node.name}


def of_kind(made: plan.Plan, kind: type, block: int = 0) -> list[tuple[int, Any]]:
    return [(i, node) for i, node in enumerate(made.blocks[block].nodes) if isinstance(node, kind)]


# ---- what holds for every plan --------------------------------------------------------------------------------------


def positions(expr: Any) -> Iterator[int]:
    """The inputs that an expression reads."""
    if isinstance(expr, list):
        if expr[:1] == ["in"]:
            yield expr[1]
        for part in expr:
            yield from positions(part)


def reads(node: Any) -> list[Any]:
    found = [getattr(node, field, None) for field in ("value", "selector", "source")]
    return [expr for expr in found if expr is not None] + [arg for _, arg in getattr(node, "args", ())]


def upstreams(node: Any) -> Iterator[int]:
    yield from (given.node for given in node.inputs)
    yield from (upstream for trigger in node.after for upstream in (*trigger.nodes, *trigger.setups))
    if node.guard:
        yield node.guard[0]
    for field in ("watched", "members", "sources"):
        yield from (upstream for upstream in getattr(node, field, ()) if upstream is not None)
    if isinstance(node, plan.MergeNode):
        yield node.branch
        if node.otherwise is not None:
            yield node.otherwise


def check_node(made: plan.Plan, found: plan.PlanBlock, i: int, node: Any) -> None:
    assert isinstance(node, plan.ParamNode) == (i < found.params)
    assert all(0 <= upstream < i for upstream in upstreams(node)), node
    assert node.type < len(made.types)
    for expr in reads(node):
        assert all(position < len(node.inputs) for position in positions(expr)), node
    if node.guard:
        assert isinstance(found.nodes[node.guard[0]], plan.BranchNode | plan.OutcomeNode)
    if node.handler >= 0:
        assert isinstance(found.nodes[node.handler], plan.OutcomeNode | plan.JoinNode)
    else:
        assert node.handler in (-1, -2)
    if isinstance(node, plan.EachNode):
        assert made.blocks[node.body].params == max(1, node.unpack) + len(node.captures)
        assert (made.blocks[node.body].result >= 0) == node.collects
    if isinstance(node, plan.RepeatNode):
        assert made.blocks[node.body].params == made.blocks[node.until].params == 1 + len(node.captures)
    if isinstance(node, plan.TaskNode):
        assert node.task < len(made.tasks)
        assert node.settings < len(made.settings)


def check(made: plan.Plan) -> None:
    """The contract of plan.py, as far as it can be seen in a plan."""
    assert plan.decode(plan.encode(made)) == made
    for found in made.blocks:
        assert -1 <= found.result < len(found.nodes)
        for i, node in enumerate(found.nodes):
            check_node(made, found, i, node)
    for handler in made.handlers:
        assert made.blocks[handler.block].params == 1 + len(handler.captures)
    for child in made.children.values():
        assert not child.children
        check(child)


# ---- steps, inputs, rules -------------------------------------------------------------------------------------------


def test_a_chain_of_calls_is_a_chain_of_nodes() -> None:
    made = lowered(call(1, lit(1)), call(2, ref(1), opt(1)), call(3, lit(0), opt(1)), result=ref(3))
    assert [type(node) for node in made.blocks[0].nodes] == [plan.ParamNode] + [plan.TaskNode] * 3
    second, third = made.blocks[0].nodes[2:]
    # read both ways, the value is needed
    assert second.inputs == (plan.Input(1),)
    assert isinstance(second, plan.TaskNode)
    assert second.args == (("p0", ["in", 0]), ("p1", ["in", 0]))
    assert third.inputs == (plan.Input(1, optional=True),)
    assert made.blocks[0].result == 3
    assert third.line == 3


def test_parameters_and_their_defaults() -> None:
    params = (
        ir.Param(id=1, name="a", type="int"),
        ir.Param(id=2, name="b", type="int", default=["op", "+", ref(1), ["op", "*", lit(2), lit(3)]]),
        ir.Param(id=3, name="day", type="date", default=["attr", ref(0), "date"]),
    )
    made = lowered(call(4, ref(2)), params=params)
    assert made.blocks[0].params == 4
    assert [(param.name, param.required, param.default) for param in made.params] == [
        ("a", True, None),
        ("b", False, ["op", "+", ["in", 1], ["lit", 6]]),
        ("day", False, ["attr", ["in", 0], "date"]),
    ]
    assert made.blocks[0].nodes[4].inputs == (plan.Input(2),)


def test_a_result_that_is_an_expression_is_a_node() -> None:
    made = lowered(call(1), result=["op", "+", ref(1), lit(1)])
    last = made.blocks[0].nodes[made.blocks[0].result]
    assert isinstance(last, plan.ValueNode)
    assert (last.name, last.value) == ("", ["op", "+", ["in", 0], ["lit", 1]])


def test_rules_become_triggers() -> None:
    made = lowered(call(1), call(2), call(3, after=(rule("any_failed", 1, 2), rule("at_least", 1, 2, n=1))))
    assert nodes(made)["s3"][1].after == (plan.Trigger("any_failed", (1, 2)), plan.Trigger("at_least", (1, 2), n=1))


def test_a_value_that_nobody_reads_is_left_out_unless_it_is_a_step_or_can_fail() -> None:
    made = lowered(
        call(1),
        value(2, ["list", ref(1), lit(2)], type="list<int>"),
        value(3, ["op", "/", lit(1), lit(0)], type="float"),
        value(4, lit(1), name="kept"),
        value(5, ["list", ref(1)], type="list<int>"),
        call(6, ref(5)),
    )
    kept = [node for _, node in of_kind(made, plan.ValueNode)]
    assert [node.name for node in kept] == ["", "kept", ""]
    assert kept[0].value[0] == "op"


def test_tables_hold_everything_once() -> None:
    pooled = ir.Settings(pool="p", retry=ir.Retry(max=2, only=("A",)))
    task = TASK.model_copy(update={"name": "db", "operator": "sql", "uses": ("c",), "template": ["str", lit("x")]})
    steps = (call(1), call(2, settings=pooled), call(3, settings=pooled.model_copy()), call(4, task="db"), call(5))
    made = lower(
        program(
            flow(*steps),
            tasks={"db": task, "unused": TASK},
            pools={"p": ir.Pool(name="p", slots=3), "unused": ir.Pool(name="unused", slots=1)},
            connections={"c": ir.Connection(name="c", kind="sqlite", fields={"key": ["secret", "k"]})},
        ),
        "f",
    )
    check(made)
    assert [node.settings for _, node in of_kind(made, plan.TaskNode)] == [0, 1, 1, 0, 0]
    assert made.pools == (plan.PoolDef(name="p", slots=3),)
    assert made.settings[1].pool == 0
    assert made.settings[1].retry == plan.RetryPolicy(max=2, only=("A",))
    assert [found.name for found in made.tasks] == ["t", "db"]
    assert made.tasks[1].template == ["str", ["lit", "x"]]
    assert made.connections == (plan.ConnectionDef(name="c", kind="sqlite", fields=(("key", ["secret", "k"]),)),)
    assert len(set(made.types)) == len(made.types)


# ---- branches -------------------------------------------------------------------------------------------------------


def test_arms_are_guarded_and_names_merge() -> None:
    made = lowered(
        call(1),
        branch(
            2,
            ["if", ["op", ">", ref(1), lit(3)], lit(0), lit(1)],
            block(call(3), branch(4, lit(0), block(call(5)))),
            block(call(6)),
            merges=(ir.Merge(id=7, name="y", type="int", sources=(3, None), otherwise=1),),
        ),
        call(8, ref(7)),
    )
    named = nodes(made)
    (outer, _), (inner, inner_node) = of_kind(made, plan.BranchNode)
    assert named["s3"][1].guard == (outer, 0)
    assert inner_node.guard == (outer, 0)
    assert named["s5"][1].guard == (inner, 0)
    assert named["s6"][1].guard == (outer, 1)
    ((merge, merge_node),) = of_kind(made, plan.MergeNode)
    assert (merge_node.branch, merge_node.sources, merge_node.otherwise) == (outer, (named["s3"][0], None), 1)
    assert merge_node.guard is None
    assert named["s8"][1].inputs == (plan.Input(merge),)


def test_the_end_of_a_whole_branch_can_be_waited_for() -> None:
    made = lowered(branch(1, lit(0), block(call(2)), block(call(3))), call(4, after=(rule("none_failed", 1),)))
    (waited,) = nodes(made)["s4"][1].after
    end = made.blocks[0].nodes[waited.nodes[0]]
    assert isinstance(end, plan.ValueNode)
    assert end.after == (plan.Trigger("none_failed", (1, 2, 3)),)


def test_a_catch_watches_its_body_and_only_that() -> None:
    made = lowered(
        call(1),
        catch(
            2,
            block(call(3, ref(1)), branch(4, lit(0), block(call(5))), result=ref(3)),
            6,
            block(call(7, ["attr", ref(6), "attempts"]), result=ref(7)),
        ),
        call(8, ref(2)),
    )
    named = nodes(made)
    ((outcome, node),) = of_kind(made, plan.OutcomeNode)
    ((branch_at, _),) = of_kind(made, plan.BranchNode)
    assert node.watched == (named["s3"][0], branch_at, named["s5"][0])
    assert (node.event, made.types[node.type]) == ("failure", FAILURE)
    assert {name: found.handler for name, (_, found) in named.items()} == {
        "s1": -1, "s3": outcome, "s5": outcome, "s7": -1, "s2": -1, "s8": -1,
    }  # fmt: skip
    assert named["s7"][1].guard == (outcome, 1)
    merge_at, merge = named["s2"]
    assert (merge.branch, merge.sources) == (outcome, (named["s3"][0], named["s7"][0]))
    assert named["s8"][1].inputs == (plan.Input(merge_at),)


def test_an_inner_catch_handles_its_own_and_the_outer_one_the_inner_handler() -> None:
    inner = catch(2, block(call(3), result=ref(3)), 4, block(call(5), result=ref(5)))
    made = lowered(catch(1, block(inner, call(6, ref(2)), result=ref(6)), 7, block(call(8))))
    named = nodes(made)
    (inner_at, inner_node), (outer_at, outer_node) = of_kind(made, plan.OutcomeNode)
    assert inner_node.watched == (named["s3"][0],)
    assert outer_node.watched == (named["s5"][0], named["s6"][0])
    assert named["s3"][1].handler == inner_at
    assert named["s5"][1].handler == outer_at
    assert inner_node.handler == outer_at
    # the outer handler has no value: null, once its steps have ended well
    end = made.blocks[0].nodes[named["s1"][1].sources[1]]
    assert end.guard == (outer_at, 1)
    assert end.after == (plan.Trigger("none_failed", (named["s8"][0],)),)


def test_a_rule_on_a_whole_catch_holds_back_body_and_handler() -> None:
    made = lowered(call(1), catch(2, block(call(3), result=ref(3)), 4, block(call(5)), after=(rule("failed", 1),)))
    ((gate, node),) = of_kind(made, plan.BranchNode)
    ((_, outcome),) = of_kind(made, plan.OutcomeNode)
    assert node.after == (plan.Trigger("failed", (1,)),)
    assert nodes(made)["s3"][1].guard == (gate, 0)
    assert outcome.guard == (gate, 0)
    assert nodes(made)["s2"][1].after == ()


@pytest.mark.parametrize(("event", "type"), [("failure", FAILURE), ("success", INT), ("skip", NULL)])
def test_a_handler_on_a_step_watches_it_and_never_fails_the_run(event: Any, type: object) -> None:
    watch = ir.WatchStep(
        id=2, name="", line=2, type="null", step=1, event=event, value_id=3, body=block(call(4, ["str", ref(3)]))
    )
    made = lowered(call(1), watch)
    ((outcome, node),) = of_kind(made, plan.OutcomeNode)
    assert (node.watched, node.event, made.types[node.type]) == ((1,), event, type)
    _, handler = nodes(made)["s4"]
    assert (handler.guard, handler.handler) == ((outcome, 1), -2)
    assert handler.inputs == (plan.Input(outcome),)
    assert nodes(made)["s1"][1].handler == -1


def test_using_starts_with_its_setup_and_ends_with_its_teardown() -> None:
    using = ir.UsingStep(
        id=1,
        name="",
        line=1,
        type="null",
        setup=block(call(2), result=ref(2)),
        value_id=3,
        body=block(call(4, ref(3)), call(5)),
        cleanup=block(call(6, ref(3))),
    )
    made = lowered(using, call(7, after=(rule("done", 1),)))
    named = nodes(made)
    (start, start_node), (end, end_node) = of_kind(made, plan.BranchNode)
    setup = named["s2"][0]
    assert start_node.after == (plan.Trigger("ok", (setup,)),)
    assert named["s4"][1].guard == named["s5"][1].guard == (start, 0)
    assert end_node.after == (plan.Trigger("teardown", (setup, named["s4"][0], named["s5"][0]), setups=(setup,)),)
    assert (named["s6"][1].guard, named["s6"][1].handler) == ((end, 0), -2)
    assert named["s6"][1].inputs == (plan.Input(setup),)
    (waited,) = named["s7"][1].after
    whole = made.blocks[0].nodes[waited.nodes[0]]
    assert [trigger.rule for trigger in whole.after] == ["none_failed", "done"]


def test_a_join_handles_its_members() -> None:
    join = ir.JoinStep(id=3, name="w", line=3, type="int", members=(1, 2), n=1, first=True, cancel_rest=True)
    made = lowered(call(1), call(2), join)
    at, node = nodes(made)["w"]
    assert (node.members, node.n, node.first, node.cancel_rest) == ((1, 2), 1, True, True)
    assert [node.handler for _, node in of_kind(made, plan.TaskNode)] == [at, at]


def test_a_join_handles_the_steps_that_its_members_consist_of() -> None:
    join = ir.JoinStep(
        id=9, name="w", line=9, type="int", members=(2, 4), parts=((1, 2), (5, 4)), n=1, first=True, cancel_rest=True
    )
    merge = ir.Merge(id=4, name="", type="int", sources=(6, 7))
    choice = branch(5, ["if", ["ref", 3], lit(0), lit(1)], block(call(6)), block(call(7)), merges=(merge,))
    made = lowered(call(3), call(1), call(2, ref(1)), choice, join)
    at, _ = nodes(made)["w"]
    handlers = {node.name: node.handler for _, node in of_kind(made, plan.TaskNode)}
    assert handlers == {"s3": -1, "s1": at, "s2": at, "s6": at, "s7": at}


# ---- loops ----------------------------------------------------------------------------------------------------------


def test_an_each_of_one_call_is_simple_and_captures_what_it_uses() -> None:
    made = lowered(call(1), call(2), each(3, ref(1), block(call(5, ref(4), ref(2)), result=ref(5)), (4,)))
    _, node = nodes(made)["each3"]
    assert (node.source, node.inputs) == (["in", 0], (plan.Input(1), plan.Input(2)))
    assert (node.captures, node.simple, node.collects, node.unpack) == ((1,), True, True, 0)
    task = made.blocks[node.body].nodes[2]
    assert isinstance(task, plan.TaskNode)
    assert task.inputs == (plan.Input(0), plan.Input(1))


def test_what_a_body_only_reads_as_optional_does_not_skip_the_each() -> None:
    body = block(call(5, ref(4), opt(1)), call(6, ref(2)), result=ref(5))
    made = lowered(call(1), call(2), each(3, ["call", "range", lit(3)], body, (4,)))
    _, node = nodes(made)["each3"]
    assert node.inputs == (plan.Input(1, optional=True), plan.Input(2))
    assert not node.simple


@pytest.mark.parametrize(
    ("body", "simple"),
    [
        (block(call(5, ref(4)), result=ref(5)), True),
        (block(call(5, ref(4))), True),
        (block(call(5, ref(4)), result=["op", "+", ref(5), lit(1)]), False),
        (block(call(5, ref(4)), result=ref(4)), False),
        (block(value(5, ref(4)), result=ref(5)), False),
        (block(branch(6, lit(0), block(call(5, ref(4)))), result=lit(1)), False),
    ],
)
def test_which_bodies_are_simple(body: ir.Block, simple: bool) -> None:
    made = lowered(call(1), each(3, ref(1), body, (4,)))
    assert nodes(made)["each3"][1].simple is simple


def test_symbolic_sources_stay_and_others_are_computed_before() -> None:
    source = ["call", "cross", ["call", "chunk", ref(1), ["op", "+", ref(2), lit(1)]], ["attr", ref(2), "xs"]]
    made = lowered(call(1), call(2), each(3, source, block(call(6, ref(4)), result=ref(6)), (4, 5)))
    at, node = nodes(made)["each3"]
    assert node.source == ["call", "cross", ["call", "chunk", ["in", 0], ["in", 1]], ["in", 2]]
    assert node.inputs == (plan.Input(1), plan.Input(at - 2), plan.Input(at - 1))
    assert node.unpack == 2
    hoisted = [node for _, node in of_kind(made, plan.ValueNode)]
    assert [found.value[0] for found in hoisted] == ["op", "attr"]


def test_nested_bodies_pass_captures_through() -> None:
    inner = each(5, ref(4), block(call(7, ref(6), ref(1)), result=ref(7)), (6,))
    made = lowered(call(1), call(2), each(3, ref(2), block(inner, result=ref(5)), (4,)))
    _, outer = nodes(made)["each3"]
    assert outer.captures == (1,)
    ((_, node),) = of_kind(made, plan.EachNode, outer.body)
    assert node.inputs == (plan.Input(0), plan.Input(1))
    assert node.captures == (1,)
    assert node.simple


def test_a_rule_over_steps_outside_a_body_is_waited_for_before_it() -> None:
    waits = rule("failed", 1, 2)
    inner = each(6, ref(5), block(call(8, ref(7), after=(waits,))), (7,), type="null")
    made = lowered(call(1), call(2), call(3), each(4, ref(3), block(inner), (5,), type="null"))
    gate_at, gate = of_kind(made, plan.ValueNode)[0]
    assert gate.after == (plan.Trigger("failed", (1, 2)),)
    _, outer = nodes(made)["each4"]
    assert outer.inputs == (plan.Input(3), plan.Input(gate_at, optional=True))
    ((_, middle),) = of_kind(made, plan.EachNode, outer.body)
    assert middle.inputs == (plan.Input(0), plan.Input(1, optional=True))
    ((_, task),) = of_kind(made, plan.TaskNode, middle.body)
    assert task.after == (plan.Trigger("ok", (1,)),)


def test_a_catch_around_an_each_handles_the_each_and_not_its_items() -> None:
    inside = each(2, ["call", "range", lit(3)], block(call(4, ref(3)), result=ref(4)), (3,))
    made = lowered(catch(1, block(inside, result=["call", "sum", ref(2)]), 5, block(result=lit(0))))
    ((outcome, _),) = of_kind(made, plan.OutcomeNode)
    _, node = nodes(made)["each2"]
    assert node.handler == outcome
    assert [found.handler for _, found in of_kind(made, plan.TaskNode, node.body)] == [-1]


def test_repeat_has_a_body_and_a_condition_over_the_same_captures() -> None:
    repeat = ir.RepeatStep(
        id=2,
        name="r",
        line=2,
        type="int",
        body=block(call(4, ref(1), opt(3)), result=ref(4)),
        previous_id=3,
        until=["op", ">", ref(3), ref(1)],
        every_ms=10,
        max=3,
    )
    made = lowered(call(1), repeat)
    _, node = nodes(made)["r"]
    assert (node.inputs, node.captures, node.every_ms, node.max) == ((plan.Input(1),), (0,), 10, 3)
    body, until = made.blocks[node.body], made.blocks[node.until]
    assert made.types[body.nodes[0].type] == Optional(INT)
    assert made.types[until.nodes[0].type] == INT
    assert body.nodes[2].inputs == (plan.Input(1), plan.Input(0, optional=True))
    last = until.nodes[until.result]
    assert isinstance(last, plan.ValueNode)
    assert last.value == ["op", ">", ["in", 0], ["in", 1]]


# ---- flows ----------------------------------------------------------------------------------------------------------


def test_handlers_of_a_flow_are_blocks_over_the_event_and_captures() -> None:
    handler = ir.Handler(event="failure", value_id=9, body=block(call(10, ["attr", ref(9), "attempts"], opt(2))))
    made = lowered(call(1), call(2), result=ref(1), handlers=(handler,))
    (found,) = made.handlers
    assert (found.event, found.captures) == ("failure", (2,))
    body = made.blocks[found.block]
    assert made.types[body.nodes[0].type] == FAILURE
    task = body.nodes[2]
    assert (task.handler, task.inputs) == (-2, (plan.Input(0), plan.Input(1, optional=True)))


def child(id: int, key: str) -> ir.ChildStep:
    return ir.ChildStep(id=id, name=key, line=id, type="int", flow=key, args={}, settings=SETTINGS)


def test_child_flows_are_embedded_once_in_the_outermost_plan() -> None:
    deep = flow(call(1), result=ref(1))
    middle = flow(each(1, ["call", "range", lit(2)], block(child(3, "deep"), result=ref(3)), (2,)))
    made = lower(program(flow(child(1, "middle"), child(2, "deep")), flows={"deep": deep, "middle": middle}), "f")
    check(made)
    assert list(made.children) == ["deep", "middle"]
    assert [node.flow for _, node in of_kind(made, plan.ChildNode)] == ["middle", "deep"]


def test_names_lines_and_boxes_are_kept() -> None:
    made = lowered(call(7, box=("prepare", "inner")), each(8, ref(7), block(), (9,), type="null"))
    _, node = nodes(made)["s7"]
    assert (node.line, node.box) == (7, ("prepare", "inner"))
    assert nodes(made)["each8"][1].line == 8


def test_the_same_program_gives_the_same_bytes() -> None:
    def build() -> bytes:
        inner = catch(2, block(call(3), result=ref(3)), 4, block(call(5), result=ref(5)))
        loop = each(6, ref(1), block(call(8, ref(7), ref(2)), result=ref(8)), (7,))
        made = program(flow(call(1), inner, loop, child(9, "deep")), flows={"deep": flow(call(1))})
        return plan.encode(lower(ir.Program.model_validate_json(made.model_dump_json()), "f"))

    assert build() == build()


def test_lists_and_types_of_an_each() -> None:
    made = lowered(each(3, ["call", "range", lit(3)], block(result=lit(1)), (4,)))
    _, node = nodes(made)["each3"]
    assert made.types[node.type] == ListOf(INT)


def test_ten_thousand_steps_take_little_time() -> None:
    steps: list[ir.Step] = [call(1)]
    for i in range(2, 10_001):
        steps.append(call(i, ["op", "+", ref(i - 1), lit(1)], after=(rule("none_failed", i - 1),)))
    whole = program(flow(*steps))
    started = time.process_time()
    made = lower(whole, "f")
    assert time.process_time() - started < 0.7
    assert len(made.blocks[0].nodes) == 10_001


def test_the_end_of_a_block_looks_past_failures_that_are_handled_inside() -> None:
    inner = catch(5, block(call(6), result=ref(6)), 7, block(call(8), result=ref(8)))
    made = lowered(catch(1, block(call(2), result=ref(2)), 3, block(inner, call(9))))
    named = nodes(made)
    end = made.blocks[0].nodes[named["s1"][1].sources[1]]
    (trigger,) = end.after
    assert named["s6"][0] not in trigger.nodes
    assert {named["s8"][0], named["s9"][0]} <= set(trigger.nodes)


def test_using_that_returns_means_what_it_returns() -> None:
    using = ir.UsingStep(
        id=1, name="", line=1, type="int", setup=block(call(2), result=ref(2)), value_id=3,
        body=block(call(4, ref(3)), result=["op", "+", ref(4), lit(1)]), cleanup=block(call(5, ref(3))),
    )  # fmt: skip
    made = lowered(using, result=ref(1))
    result = made.blocks[0].nodes[made.blocks[0].result]
    assert isinstance(result, plan.ValueNode)
    assert result.guard == nodes(made)["s4"][1].guard


def test_a_merge_is_a_step_only_where_no_arm_has_one_of_its_name() -> None:
    arms = (block(call(3, name="y")), block(call(4, name="y#2")))
    bound = ir.Merge(id=5, name="y", type="int", sources=(3, 4))
    chosen = ir.Merge(id=9, name="z", type="int", sources=(7, 8))
    made = lowered(
        branch(2, lit(0), *arms, merges=(bound,)), branch(6, lit(0), block(call(7)), block(call(8)), merges=(chosen,))
    )
    assert [node.name for _, node in of_kind(made, plan.MergeNode)] == ["", "z"]


def keyed(key: Expr | None, task: str = "") -> ir.Settings:
    return ir.Settings(concurrency=ir.Concurrency(limit=2, key=key, task=task, on_conflict="skip"), limit="api")


def test_a_key_of_concurrency_is_over_the_inputs_of_its_step() -> None:
    limits = {"api": ir.Limit(name="api", rate=5, per_ms=1_000, burst=2)}
    steps = call(1), call(2, ref(1), settings=keyed(ref(1))), call(3, lit(7), settings=keyed(["arg", "p0"], "a.flow:t"))
    made = lower(program(flow(*steps), limits=limits), "f")
    check(made)
    first, second = (made.settings[nodes(made)[name][1].settings] for name in ("s2", "s3"))
    assert first.concurrency == plan.ConcurrencyDef(limit=2, key=["in", 0], on_conflict="skip")
    assert second.concurrency == plan.ConcurrencyDef(limit=2, key=["lit", 7], on_conflict="skip", name="a.flow:t")
    assert made.limits == (plan.LimitDef(name="api", rate=5, per_ms=1_000, burst=2),)
    assert (first.limit, second.limit) == (0, 0)


def test_a_key_makes_the_step_wait_for_what_it_is_made_of() -> None:
    made = lowered(call(1), call(2, settings=ir.Settings(concurrency=ir.Concurrency(limit=1, key=ref(1)))))
    assert [given.node for given in nodes(made)["s2"][1].inputs] == [nodes(made)["s1"][0]]


def test_items_with_a_bound_of_their_own_are_scopes() -> None:
    bound = ir.Settings(concurrency=ir.Concurrency(limit=1))
    for settings, simple in ((SETTINGS, True), (bound, False)):
        body = block(call(3, ref(2), settings=settings), result=ref(3))
        made = lowered(call(9, type="list<int>"), each(1, ref(9), body, (2,)), result=ref(1))
        assert of_kind(made, plan.EachNode)[0][1].simple is simple


def test_a_flow_s_key_is_over_its_parameters() -> None:
    param = ir.Param(id=5, name="tenant", type="string")
    main = flow(call(1), params=(param,)).model_copy(
        update={"concurrency": ir.Concurrency(limit=1, key=ref(5)), "max_active_runs": 3}
    )
    made = lower(program(main), "f")
    assert (made.concurrency, made.max_active_runs) == (plan.ConcurrencyDef(limit=1, key=["in", 1]), 3)


def test_a_constant_in_a_command_stays_a_value() -> None:
    template = ["str", lit("ls "), ["call", "string", lit("a b")], ["op", "+", lit("c"), lit("d")], lit(" x")]
    task = TASK.model_copy(update={"operator": "shell", "template": template})
    made = lower(program(flow(call(1)), tasks={"t": task}), "f")
    assert made.tasks[0].template == template
