"""Signatures: what they are made of, what they are refused for, and which of them share a plan."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from flowc import plan as plans
from flowc.plan import EachNode, TaskNode
from flowc.types import INT, NULL, ListOf
from flowrun import canvas as c
from flowrun.canvas import Signature, chain, chord, group, signature
from flowrun.canvas.sending import prepared, shape_of
from flowrun.parameters import ArgumentError

from tests.unit.canvas import tutorial as t

ADD, MUL, XSUM = t.add, t.mul, t.xsum


def plan_of(canvas: Signature) -> plans.Plan:
    return plans.decode(prepared(canvas).data)


def args_of(canvas: Signature) -> Any:
    made = prepared(canvas)
    assert not made.blobs
    return msgspec.msgpack.decode(made.args)


def steps(plan: plans.Plan) -> list[TaskNode]:
    return [node for node in plan.blocks[0].nodes if isinstance(node, TaskNode)]


# ---- shapes ---------------------------------------------------------------------------------------------------------


def test_canvases_of_one_shape_share_a_plan() -> None:
    def digest(canvas: Signature) -> str:
        return prepared(canvas).digest

    assert digest(ADD.s(1, 2) | MUL.s(3)) == digest(ADD.s(4, 5) | MUL.s(6))
    assert digest(ADD.s(1, 2) | MUL.s(3)) != digest(ADD.s(1, 2) | ADD.s(3))
    assert digest(group(ADD.s(i, i) for i in range(3))) == digest(group(ADD.s(i, i) for i in range(50)))
    assert digest(chord([ADD.s(1, 1)], XSUM.s())) == digest(group(ADD.s(2, 2)) | XSUM.s())
    assert digest(ADD.s(1, 2) | MUL.s(3)) != digest(ADD.s(1, 2) | MUL.s(3).set(queue="other"))
    assert digest(ADD.s(1, y=2) | MUL.s(3)) == digest(ADD.s(1, 2) | MUL.s(y=3))


def test_the_same_object_twice_is_two_arguments() -> None:
    one = MUL.s(3)
    assert args_of(ADD.s(1, 2) | one | one) == {"add.x": 1, "add.y": 2, "mul.y": 3, "mul#2.y": 3}
    assert args_of(ADD.s(1, 2) | MUL.s(4) | MUL.s(5)) == {"add.x": 1, "add.y": 2, "mul.y": 4, "mul#2.y": 5}


def test_arguments_are_inputs_of_the_run() -> None:
    canvas = group(ADD.s(i, 2 * i) | MUL.s(3) for i in range(3)) | XSUM.s()
    assert args_of(canvas) == {"group": [[0, 0, 3], [1, 2, 3], [2, 4, 3]]}
    assert args_of(group(XSUM.s([i]) for i in range(2))) == {"group": [[0], [1]]}
    assert args_of(group(t.skipped.s() for _ in range(5))) == {"group": 5}
    assert args_of(ADD.starmap([(1, 2), (3, 4)])) == {"starmap": [[1, 2], [3, 4]]}
    assert args_of(XSUM.map([[1], [2]])) == {"map": [[1], [2]]}
    assert args_of(ADD.chunks([(1, 2), (3, 4)], 10)) == {"chunks": [[1, 2], [3, 4]], "chunks.size": 10}


def test_arguments_of_error_handlers_and_callbacks() -> None:
    canvas = (ADD.s(1, 2) | MUL.s(3)).on_error(t.tagged_handler.s("a", more=7))
    canvas.link(t.note.s("b"))
    found = args_of(canvas)
    assert [found[name] for name in ("add.x", "add.y", "mul.y", "note.tag")] == [1, 2, 3, "b"]
    assert sorted(map(str, found.values())) == ["1", "2", "3", "7", "a", "b"]
    inside = group((ADD.s(i, 1) | MUL.s(2)).on_error(t.tagged_handler.s(i)) for i in range(2))
    assert args_of(inside) == {"group": [[0, 1, 2, 0], [1, 1, 2, 1]]}


def test_ten_thousand_calls_of_one_task_are_a_range() -> None:
    made = prepared(group(ADD.s(i, i) for i in range(10_000)))
    plan = plans.decode(made.data)
    [each] = [node for node in plan.blocks[0].nodes if isinstance(node, EachNode)]
    assert (each.simple, each.unpack, each.on_error) == (True, 2, "finish")
    assert len(made.data) < 2_000
    assert [len(data) > 10_000 for _, data in made.blobs] == [True]


def test_values_that_are_not_plain_are_checked_one_by_one() -> None:
    day = dt.date(2026, 1, 31)
    assert args_of(group(t.note.s(day, str(i)) for i in range(2))) == {
        "group": [["2026-01-31", "0"], ["2026-01-31", "1"]]
    }
    with pytest.raises(ArgumentError, match=r"`group`|`whole\.x`"):
        prepared(group(t.whole.s(x) for x in (1, "two")))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError):
        prepared(group(ADD.s(object(), 1), ADD.s(1, 1)))


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("canvas", "why"),
    [
        (lambda: ADD.s(1, 2, 3), "takes 2 arguments by position, not 3"),
        (lambda: ADD.s(1) | ADD.s(1), "`add` needs `y`"),
        (lambda: ADD.s(1, 2) | MUL.s(3, 4), "takes 2 arguments by position, not 3, the value before it included"),
        (lambda: ADD.s(1, 2) | MUL.s(3, z=4), "has no parameter `z`: it has `x`, `y`"),
        (lambda: ADD.s(1, 2) | MUL.s(x=4), "`mul` was given `x` twice"),
        (lambda: t.whole.s(1) | t.text.s(), "`whole` gives int, and `text` takes string as its `x`"),
        (
            lambda: group(t.whole.s(i) for i in range(2)) | t.text.s(),
            "`group` gives list<int>, and `text` takes string",
        ),
        (lambda: group(t.whole.s(1), t.later.s(2)) | t.whole.s(), "the group gives list<int>, and `whole` takes int"),
        (lambda: t.whole.s("one"), "argument `x` is no int"),
        (lambda: t.whole.s("one") | t.whole.s(), r"argument `whole.x` is no int"),
        (lambda: chain(), "this one is empty"),
        (lambda: chord([ADD.s(1, 1)]), "this chord has no body"),
        (lambda: ADD.s(1, 1).on_error(ADD.s(1) | MUL.s(2)), "an error handler is a single task"),
        (lambda: ADD.starmap([(1, 2), (3,)]), "do not all have the same number of arguments"),
        (lambda: ADD.s(1, 1).set(eta=3) | ADD.s(1), "`eta` takes a datetime"),
        (lambda: ADD.s(1, 1).set(countdown=-1) | ADD.s(1), "`countdown` takes a duration"),
        (lambda: c.flow("nowhere.flowplan").s(1) | ADD.s(1), "the plan nowhere.flowplan cannot be read"),
    ],
)
def test_what_is_wrong_is_told_when_it_is_submitted(canvas: Callable[[], Signature], why: str) -> None:
    with pytest.raises(ArgumentError, match=why.replace("(", r"\(")):
        prepared(canvas())


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: ADD.s(1).set(countdwn=3), "a call has no option `countdwn`: did you mean `countdown`?"),
        (lambda: t.app.task(time_limt=3)(lambda x: x), "a task has no option `time_limt`: did you mean `time_limit`?"),
        (lambda: ADD.chunks([], 0), "a chunk has 1 item or more"),
        (lambda: signature("nameless"), "there is no task `nameless` here"),
        (lambda: group(3, 4), "and 3 is none"),
        (lambda: t.app.task(int), "`int` is no task"),
    ],
)
def test_what_is_wrong_at_once(make: Callable[[], Any], why: str) -> None:
    with pytest.raises(ArgumentError) as told:
        make()
    assert why in str(told.value)


def test_a_canvas_that_contains_itself() -> None:
    found = group([ADD.s(1, 1), MUL.s(1, 1)])
    found.tasks = (found, MUL.s(1, 1))
    with pytest.raises(ArgumentError, match="contains itself"):
        prepared(found)


# ---- options --------------------------------------------------------------------------------------------------------


def test_options_of_a_task_become_settings() -> None:
    @t.app.task(
        name="limited", bind=True, queue="math", time_limit=30, soft_time_limit=20, rate_limit="10/m", priority=200,
        max_retries=7, retry_backoff=2, retry_backoff_max=100, retry_jitter=False, acks_late=True,
    )  # fmt: skip
    def limited(self, x):  # type: ignore[no-untyped-def]
        return x

    limited.__qualname__ = "limited"
    plan = plan_of(limited.s(1))
    [found] = plan.settings
    assert (found.queue, found.timeout_ms, found.soft_timeout_ms, found.priority) == ("math", 30_000, 20_000, 9)
    assert found.retry == plans.RetryPolicy(max=7, backoff="exponential", first_ms=2_000, cap_ms=100_000, jitter=0.0)
    assert plan.limits == (plans.LimitDef(name="limited", rate=10, per_ms=60_000, burst=10),)
    both = plan_of(limited.s(1) | ADD.s(1))
    assert both.settings[0] == found
    assert both.limits == plan.limits


def test_settings_with_keys_are_those_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    @t.app.task(
        concurrency=(1, "x"), cache={"key": "x", "ttl": "1d"}, idempotency_key="x", delivery="at_most_once",
        pool=("db", 3), result="ignore",
    )  # fmt: skip
    def keyed(y, x):  # type: ignore[no-untyped-def]
        return x

    keyed.__qualname__ = "keyed"
    plan = plan_of(ADD.s(1, 1) | keyed.s(2) | t.note.s())
    _, node, _ = steps(plan)
    found = plan.settings[node.settings]
    given = dict(node.args)["x"]
    assert found.concurrency is not None
    assert found.cache is not None
    assert found.concurrency.key == found.cache.key == found.idempotency_key == given
    assert (found.at_most_once, plan.pools[found.pool or 0].slots) == (True, 3)
    assert plan.types[node.type] == NULL


def test_a_task_that_is_not_bound_is_not_tried_again() -> None:
    assert plan_of(ADD.s(1, 1)).settings[0].retry is None


def test_options_of_calls_become_settings_of_steps() -> None:
    eta = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    canvas = chain(
        ADD.s(1, 1).set(queue="a", priority=9), MUL.s(2).set(countdown=3),
        MUL.s(3).set(eta=eta, expires=60, time_limit=5),
    )  # fmt: skip
    plan = plan_of(canvas)
    first, second, third = [plan.settings[node.settings] for node in steps(plan)]
    assert (first.queue, first.priority) == ("a", 9)
    assert second.delay_ms == 3_000
    assert (third.at_ms, third.expires_ms, third.timeout_ms) == (round(eta.timestamp() * 1000), 60_000, 5_000)


def test_options_of_a_run_of_one_task() -> None:
    eta = dt.datetime(2027, 1, 1)
    made = prepared(ADD.s(1, 1).set(eta=eta, expires=60, priority=99, queue="math"))
    assert made.options == {"at": eta.replace(tzinfo=dt.UTC), "expires": 60, "priority": 9}
    assert plans.decode(made.data).settings[0].queue == "math"
    assert prepared(ADD.s(1, 1).set(countdown=5)).options == {"delay": 5}


# ---- parts ----------------------------------------------------------------------------------------------------------


def test_partials_immutables_and_copies() -> None:
    assert repr(ADD.s(2).bound((4,), {})) == "tests.unit.canvas.tutorial.add(4, 2)"
    assert repr(ADD.si(2).bound((4,), {})) == "tests.unit.canvas.tutorial.add(2)"
    one = ADD.s(2)
    other = one.clone((1,), {"z": 3}, queue="a")
    assert (repr(one), one.options) == ("tests.unit.canvas.tutorial.add(2)", {})
    assert (repr(other), other.options) == ("tests.unit.canvas.tutorial.add(1, 2, z=3)", {"queue": "a"})
    assert ADD.s(2, 2)() == 4
    assert ADD.s(2)(3) == 5


def test_chains_are_flat_and_a_chain_of_one_is_that_one() -> None:
    three = ADD.s(1, 1) | (ADD.s(1) | ADD.s(1))
    assert isinstance(three, chain)
    assert len(three.tasks) == 3
    one = ADD.s(1, 1)
    assert chain(one) is one
    assert chain(three) is three
    assert len(chain([ADD.s(1, 1), ADD.s(1)]).tasks) == 2


def test_names_of_runs() -> None:
    def name(canvas: Signature) -> str:
        return shape_of(canvas)[0].flow.replace("tests.unit.canvas.tutorial.", "")

    assert name(ADD.s(1, 1) | MUL.s(2)) == "chain(add, mul)"
    assert name(chord([ADD.s(1, 1)], XSUM.s())) == "chain(group(add), xsum)"
    assert name(group(ADD.s(i, i) for i in range(100))) == "group(add)"
    assert name(ADD.starmap([(1, 1)])) == "add.starmap"
    assert len(name(chain(t.bound_deep.s(1), *[t.failing_replace.s() for _ in range(9)]))) <= 80


def test_plain_functions_that_are_marked_as_tasks() -> None:
    assert prepared(t.marked.s(1)).flow == "tests.unit.canvas.tutorial:marked"  # type: ignore[attr-defined]
    plan = plan_of(t.marked.s(1) | ADD.s(1))  # type: ignore[attr-defined]
    assert plan.settings[0].timeout_ms == 60_000
    assert t.marked(1) == 2


def test_types_of_the_results() -> None:
    plan = plan_of(t.whole.s(1) | t.later.s())
    assert [plan.types[node.type] for node in steps(plan)] == [INT, INT]
    listed = plan_of(group(t.whole.s(i) for i in range(2)))
    assert listed.returns is not None
    assert listed.types[listed.returns] == ListOf(INT)


def test_a_worker_that_imports_tasks_loads_no_client_and_no_compiler() -> None:
    code = (
        "import sys; from flowrun.canvas import Celery, chain, group, chord; app = Celery('x'); "
        "app.task(lambda x: x); bad = {'asyncio', 'nats', 'pydantic', 'flowc.ir', 'flowc.check', 'flowrun.client'}; "
        "print(sorted(bad & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_importing_flowrun_loads_nothing_of_it() -> None:
    code = "import sys, flowrun; print([name for name in sys.modules if name.startswith('flowrun.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    import flowrun

    assert flowrun.chain is chain
    assert flowrun.App is c.Celery
