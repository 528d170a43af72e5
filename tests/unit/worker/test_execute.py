"""What a task may do and return, the same in a process and inline."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flowc import plan as plans
from flowc.types import ANY, DATE, INT, STRING, ListOf, Optional, Record
from flowrun import values
from flowrun.messages import Outcome, WorkItem
from flowrun.worker import shared

from tests.unit.worker.harness import call, each_of, one_flow, worker

TASKS = """
    from __future__ import annotations
    import asyncio, datetime, enum, logging, os, sys
    from dataclasses import dataclass
    from pathlib import Path
    import msgspec, pydantic
    from flowrun.operator import Context, Fail, Retry, Skip

    def add(a: int, b: int) -> int:
        return a + b

    async def later(a):
        await asyncio.sleep(0.001)
        return a

    @dataclass
    class Row:
        id: int
        name: str = "none"

    class Model(pydantic.BaseModel):
        id: int

    class Colour(enum.Enum):
        RED = "red"

    def kinds(row: Row, rows: list[Row], model: Model, path: Path, colour: Colour, day: datetime.date, free):
        return [type(row).__name__, type(rows[0]).__name__, type(model).__name__, path.name, colour.name,
                day.isoformat(), type(free).__name__]

    def rows():
        return [Row(1), Row(2, "x")]

    def models():
        return [Model(id=1)]

    def generated():
        yield 1
        yield 2

    def facts(a, context: Context):
        return {"step": context.step, "attempt": context.attempt, "id": context.attempt_id, "a": a,
                "index": context.index}

    def fail_for_good(): raise Fail("no use")
    def again(): raise Retry("not yet", after=1.5)
    def skip(): raise Skip("nothing to do")
    def unicode_error(): raise ValueError("größer als ∞ \\udc80 🎉")
    def deep(n=0): return deep(n + 1)
    def interrupted(): raise KeyboardInterrupt
    def leave(): sys.exit(7)
    def no_value(): return None
    def unserialisable(): return {"a": [1, object()]}
    def large(n): return "x" * n
    def wrong_field(): return [{"id": 1}, {"id": "two"}]
    def environment(): return os.environ.get("COLOUR")
    def silent_error(): assert 1 == 2

    class Broken(Exception):
        def __str__(self): raise RuntimeError("no")
    def broken_error(): raise Broken()

    def caused():
        try:
            {}["k"]
        except KeyError as error:
            raise ValueError("outer") from error

    not_a_function = 5
"""

both = pytest.mark.parametrize("inline", [True, False], ids=["inline", "process"])


def error(outcome: Outcome) -> tuple[str, str, bool]:
    assert outcome.state == "failed", outcome
    assert outcome.error is not None
    return outcome.error.type, outcome.error.message, outcome.error.retryable


@both
async def test_values_in_and_out(tmp_path: Path, inline: bool) -> None:
    async with worker(tmp_path, TASKS, inline=inline) as running:
        value, call_ = running.value, running.call
        assert value(await call_("tasks.py:add", a=2, b=3)) == 5
        assert value(await call_("tasks.py:later", a="x")) == "x"
        assert value(await call_("tasks.py:add", a=1, b=1)) == 2
        assert value(await call_("tasks.py:rows")) == [{"id": 1, "name": "none"}, {"id": 2, "name": "x"}]
        assert value(await call_("tasks.py:models")) == [{"id": 1}]
        assert value(await call_("tasks.py:generated", ListOf(INT))) == [1, 2]
        assert value(await call_("tasks.py:add", None, a=1, b=1)) is None
        plan, item = call(
            "tasks.py:kinds",
            types={"day": DATE},
            row={"id": 1},
            rows=[{"id": 2}],
            model={"id": 3},
            path="a/b.csv",
            colour="red",
            day=dt.date(2026, 1, 31),
            free={},
        )
        (outcome,) = await running.run(plan, [item])
        assert value(outcome) == ["Row", "Row", "Model", "b.csv", "RED", "2026-01-31", "dict"]


@both
async def test_context(tmp_path: Path, inline: bool) -> None:
    async with worker(tmp_path, TASKS, inline=inline) as running:
        found = running.value(await running.call("tasks.py:facts", a=1))
    assert found == {"step": "step", "attempt": 1, "id": "run/0/2/1", "a": 1, "index": None}


@both
async def test_what_tasks_raise(tmp_path: Path, inline: bool) -> None:
    async with worker(tmp_path, TASKS, inline=inline) as running:
        outcome = await running.call("tasks.py:fail_for_good")
        assert error(outcome) == ("Fail", "no use", False)
        outcome = await running.call("tasks.py:again")
        assert error(outcome) == ("Retry", "not yet", True)
        assert outcome.error is not None
        assert outcome.error.retry_after_ms == 1500
        assert (await running.call("tasks.py:skip")).state == "skipped"
        kind, message, _ = error(await running.call("tasks.py:unicode_error"))
        assert (kind, message) == ("ValueError", "größer als ∞ \\udc80 🎉")
        outcome = await running.call("tasks.py:deep")
        assert error(outcome)[0] == "RecursionError"
        assert outcome.error is not None
        assert "frames left out" in outcome.error.detail
        assert error(await running.call("tasks.py:interrupted"))[0] == "KeyboardInterrupt"
        assert error(await running.call("tasks.py:leave")) == ("SystemExit", "the task called sys.exit(7)", True)
        assert error(await running.call("tasks.py:silent_error"))[0] == "AssertionError"
        assert "cannot be shown" in error(await running.call("tasks.py:broken_error"))[1]


@both
async def test_a_traceback_shows_the_users_frames_only(tmp_path: Path, inline: bool) -> None:
    async with worker(tmp_path, TASKS, inline=inline) as running:
        outcome = await running.call("tasks.py:caused")
    assert outcome.error is not None
    detail = outcome.error.detail
    assert 'raise ValueError("outer")' in detail
    assert "caused by KeyError: no key 'k'" in detail
    assert "execute.py" not in detail


@both
async def test_results_that_do_not_fit(tmp_path: Path, inline: bool) -> None:
    async with worker(tmp_path, TASKS, inline=inline) as running:
        kind, message, retryable = error(await running.call("tasks.py:no_value", INT))
        assert (kind, retryable) == ("TypeMismatch", False)
        assert message == "the result of `step` does not have its type: `$`: expected int, got None"
        assert (await running.call("tasks.py:no_value", Optional(INT))).state == "success"
        _, message, _ = error(await running.call("tasks.py:wrong_field", ListOf(Record((("id", INT),)))))
        assert "`$[1].id`: expected int, got str" in message
        kind, message, _ = error(await running.call("tasks.py:unserialisable"))
        assert kind == "NotSerialisable"
        assert "`$.a[1]`" in message


@both
async def test_arguments_that_do_not_fit(tmp_path: Path, inline: bool) -> None:
    async with worker(tmp_path, TASKS, inline=inline) as running:
        plan, item = call("tasks.py:add", types={"a": INT}, a="one", b=1)
        (outcome,) = await running.run(plan, [item])
        kind, message, retryable = error(outcome)
        assert (kind, retryable) == ("TypeMismatch", False)
        assert message == "the argument `a`, which comes from `a`: `$`: expected int, got str"
        kind, message, _ = error(await running.call("tasks.py:add", a="one", b=1))
        assert kind == "TypeMismatch"
        assert "`a` does not fit the annotation of `tasks.py:add`" in message
        assert error(await running.call("tasks.py:add", a=1))[0] == "TypeError"


@both
@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("tasks.py:absent", "there is no function `absent` in"),
        ("tasks.py:not_a_function", "is no function but a int"),
        ("absent.module:main", "there is no module `absent`"),
        ("absent/file.py:main", "there is no file `absent/file.py`"),
    ],
)
async def test_functions_that_are_not_there(tmp_path: Path, inline: bool, target: str, said: str) -> None:
    async with worker(tmp_path, TASKS, inline=inline) as running:
        kind, message, retryable = error(await running.call(target))
    assert (kind, retryable) == ("NotFound", False)
    assert said in message


async def test_modules_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "needs.py").write_text("import absent_library\n")
    (tmp_path / "wrong.py").write_text("def f(:\n")
    (tmp_path / "raises.py").write_text("1 / 0\n")
    async with worker(tmp_path, TASKS) as running:
        kind, message, retryable = error(await running.call("needs:main"))
        assert (kind, retryable) == ("ModuleNotFoundError", False)
        assert "absent_library" in message
        assert error(await running.call("wrong.py:f"))[0] == "SyntaxError"
        kind, message, retryable = error(await running.call("raises:f"))
        assert (kind, retryable) == ("ZeroDivisionError", True)
        assert message.startswith("the task's module could not be imported")


@both
async def test_large_values_go_through_the_blob_store(tmp_path: Path, inline: bool) -> None:
    async with worker(tmp_path, TASKS, inline=inline) as running:
        outcome = await running.call("tasks.py:large", STRING, n=1_000_000)
        assert values.is_blob(outcome.value)
        assert running.value(outcome) == "x" * 1_000_000
        plan, item = call("tasks.py:later", a=None)
        item = WorkItem(*(getattr(item, name) for name in item.__struct_fields__[:7]), (outcome.value,))
        (again,) = await running.run(plan, [item])
        assert values.blob_of(again.value).digest == values.blob_of(outcome.value).digest


async def test_environment_of_a_step(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        settings = plans.StepSettings(env=(("COLOUR", "blue"),))
        plan, item = call("tasks.py:environment", settings=settings)
        (outcome,) = await running.run(plan, [item])
        assert running.value(outcome) == "blue"
        assert running.value(await running.call("tasks.py:environment")) is None


@both
async def test_expressions_and_branches(tmp_path: Path, inline: bool) -> None:
    nodes: tuple[Any, ...] = (
        plans.ParamNode(name="n", type=0),
        plans.ValueNode(name="double", type=0, inputs=(plans.Input(0),), value=["op", "*", ["in", 0], ["lit", 2]]),
        plans.BranchNode(type=0, inputs=(plans.Input(0),), selector=["if", ["lit", True], ["lit", 1], ["lit", 0]]),
        plans.ValueNode(name="broken", type=0, inputs=(plans.Input(0),), value=["op", "/", ["in", 0], ["lit", 0]]),
    )  # fmt: skip
    plan = one_flow((), (INT,), (plans.PlanBlock(nodes=nodes, params=1),))
    items = [WorkItem("run", 0, "", 0, 0, node, 1, (values.encode(21),)) for node in (1, 2, 3)]
    async with worker(tmp_path, inline=inline) as running:
        double, branch, broken = await running.run(plan, items)
        assert running.value(double) == 42
        assert running.value(branch) == 1
        assert error(broken) == ("ExpressionError", "division by zero: 21 / 0", False)


@both
async def test_a_skipped_input_is_null(tmp_path: Path, inline: bool) -> None:
    """`a: int` was skipped: `a ?? 5` as a value, as an argument, and as an argument of the items of a range."""
    task = plans.TaskDef(
        name="add",
        params=(plans.TaskParamDef(name="a", type=0), plans.TaskParamDef(name="b", type=0)),
        returns=0,
        operator="python",
        target="tasks.py:add",
    )
    fallback = ["??", ["in", 0], ["lit", 5]]
    nodes = (
        plans.ParamNode(name="a", type=0),
        plans.ValueNode(name="value", type=0, inputs=(plans.Input(0, True),), value=fallback),
        plans.TaskNode(
            name="sum", inputs=(plans.Input(0, True),), task=0, args=(("a", fallback), ("b", fallback)), settings=0
        ),
        plans.EachNode(
            inputs=(plans.Input(0, True),), source=["call", "range", ["lit", 1]], body=1, captures=(0,), simple=True
        ),
    )
    body = plans.TaskNode(
        inputs=(plans.Input(1, True), plans.Input(0)), task=0, args=(("a", fallback), ("b", ["in", 1])), settings=0
    )
    blocks = (
        plans.PlanBlock(nodes=nodes, params=1),
        plans.PlanBlock(nodes=(plans.ParamNode(type=0), plans.ParamNode(type=0), body), params=2, result=2),
    )
    plan = one_flow((task,), (INT,), blocks)
    items = [WorkItem("run", 0, "", 0, 0, node, 1, (values.NULL,)) for node in (1, 2)]
    items.append(WorkItem("run", 0, "", 0, 0, 3, 1, (values.NULL,), 0, 1))
    async with worker(tmp_path, TASKS, inline=inline) as running:
        assert [running.value(outcome) for outcome in await running.run(plan, items)] == [5, 10, 5]


@both
async def test_the_source_of_an_each_is_evaluated(tmp_path: Path, inline: bool) -> None:
    """Where only the content of a blob tells how many items there are."""
    lists = ListOf(ListOf(STRING))
    rows = [[f"row {i} {j} " * 20 for j in range(i)] for i in range(30)]
    data, stored = values.externalise(values.encode(rows))
    assert stored is not None
    whole = plans.EachNode(name="each", inputs=(plans.Input(0),), source=["in", 0], body=1)
    chunks = plans.EachNode(inputs=(plans.Input(0),), source=["call", "chunk", ["in", 0], ["lit", 10]], body=1)
    few = msgspec.structs.replace(whole, max=20)
    blocks = (
        plans.PlanBlock(nodes=(plans.ParamNode(type=0), whole, chunks, few), params=1),
        plans.PlanBlock(nodes=(plans.ParamNode(type=0),), params=1, result=0),
    )
    plan = one_flow((), (lists,), blocks)
    part = values.item(data, 24)
    items = [WorkItem("run", 0, "", 0, 0, node, 1, (part,)) for node in (1, 2, 3)]
    items.append(WorkItem("run", 0, "", 0, 0, 1, 1, (values.item(part, 0),)))
    async with worker(tmp_path, inline=inline) as running:
        await running.transport.put_blob(*stored)
        all_of_it, in_parts, too_many, none = await running.run(plan, items)
        assert running.value(all_of_it) == rows[24]
        assert running.value(in_parts) == [rows[24][:10], rows[24][10:20], rows[24][20:]]
        assert error(too_many)[:2] == (
            "TooManyItems", "there are 24 items, and `max` allows 20: raise it, or pass fewer"
        )  # fmt: skip
        assert error(none) == ("ExpressionError", "`each` needs a list or a map", False)


@both
async def test_the_arguments_of_a_child_run_are_evaluated(tmp_path: Path, inline: bool) -> None:
    """Each large one is stored by itself, so that the coordinator can read the map."""
    text = "x" * 40_000
    data, stored = values.externalise(values.encode(text))
    assert stored is not None
    args = (
        ("whole", ["in", 0]),
        ("twice", ["op", "+", ["in", 0], ["in", 0]]),
        ("size", ["call", "len", ["in", 0]]),
        ("none", ["in", 1]),
    )
    node = plans.ChildNode(inputs=(plans.Input(0), plans.Input(0, True)), flow="", args=args, settings=0)
    plan = one_flow((), (STRING,), (plans.PlanBlock(nodes=(plans.ParamNode(type=0), node), params=1),))
    item = WorkItem("run", 0, "", 0, 0, 1, 1, (data, values.NULL))
    async with worker(tmp_path, inline=inline) as running:
        await running.transport.put_blob(*stored)
        (outcome,) = await running.run(plan, [item])
        assert len(outcome.value) < 1_000
        assert running.value(outcome) == {"whole": text, "twice": text * 2, "size": 40_000, "none": None}


@both
async def test_ranges_take_items_apart_and_capture(tmp_path: Path, inline: bool) -> None:
    task = plans.TaskDef(
        name="add",
        params=(plans.TaskParamDef(name="a", type=0), plans.TaskParamDef(name="b", type=0)),
        returns=0,
        operator="python",
        target="tasks.py:add",
    )
    pairs = ["call", "cross", ["call", "range", ["lit", 10]], ["in", 1]]
    each = plans.EachNode(
        name="each", inputs=(plans.Input(0), plans.Input(1)), source=pairs, body=1, unpack=2, captures=(0,), simple=True
    )
    total = ["op", "+", ["in", 0], ["in", 2]]
    node = plans.TaskNode(
        name="sum",
        inputs=(plans.Input(0), plans.Input(1), plans.Input(2)),
        task=0,
        args=(("a", total), ("b", ["in", 1])),
        settings=0,
    )
    params = tuple(plans.ParamNode(name=name, type=0) for name in "abc")
    blocks = (
        plans.PlanBlock(nodes=(plans.ParamNode(type=0), plans.ParamNode(type=1), each), params=2),
        plans.PlanBlock(nodes=(*params, node), params=3, result=3),
    )
    plan = one_flow((task,), (INT, ListOf(INT)), blocks)
    item = WorkItem("run", 0, "", 0, 0, 2, 1, (values.encode(1000), values.encode([100, 200])), 3, 9)
    async with worker(tmp_path, TASKS, inline=inline) as running:
        outcomes = await running.run(plan, [item])
        found = [
            values.decode_plain(d, {}.__getitem__) for o in outcomes for d in values.split(o.last - o.first, o.value)
        ]
    assert found == [1000 + i + j for i in range(10) for j in (100, 200)][3:9]


@both
async def test_a_damaged_range_fails_item_by_item(tmp_path: Path, inline: bool) -> None:
    plan = each_of("tasks.py:absent", ANY, ANY, ["call", "range", ["lit", 3]])
    async with worker(tmp_path, TASKS, inline=inline) as running:
        outcomes = await running.run(plan, [WorkItem("run", 0, "", 0, 0, 1, 1, (b"\xc0",), 0, 3)])
    assert [(o.first, o.last, o.state) for o in outcomes] == [(0, 1, "failed"), (1, 2, "failed"), (2, 3, "failed")]


def test_the_ring_wraps_and_refuses_what_does_not_fit() -> None:
    from flowrun.worker.memory_file import CAPACITY, create_file

    fd = create_file()
    writer, reader = shared.SharedMemory(fd), shared.SharedMemory(fd)
    written = 0
    for _ in range(200):
        payload = bytes([written % 256]) * 30_000
        while writer.write(written, shared.SUCCESS, 1.0, 0.5, payload):
            written += 1
            payload = bytes([written % 256]) * 30_000
        found = reader.take()
        assert [result.token for result in found] == list(range(written - len(found), written))
        assert all(result.payload == bytes([result.token % 256]) * 30_000 for result in found)
    assert written > 3 * CAPACITY // 30_000
