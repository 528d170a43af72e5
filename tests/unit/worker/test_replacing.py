"""What a task returns instead of a value: a plan in the store, named by the outcome, from every kind of executor."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from flowc import plan as plans
from flowc.types import INT, JSON
from flowrun import values
from flowrun.messages import Outcome, Replacement, WorkItem
from flowrun.worker.frames import ExecutorKind

from tests.unit.worker.harness import Worker, call, each_of, worker

TASKS = """
    from flowrun import Extend, Replace
    from flowrun.canvas import chain, group, signature
    from flowrun.operator import Context, task

    def one(x):
        return x

    @task
    def plain(x: int):
        return Replace(chain(plain.s(x), plain.s()))

    def facts(x: int, ctx: Context):
        return Replace(signature(one, (x,)))

    async def later(x: int):
        return Replace(signature(one, (x,)))

    def many(x: int):
        return Replace(group(signature(one, (i,)) for i in range(x)))

    def extended(x: int):
        return Extend(x, [signature(one, (x,)), signature(one, (x + 1,))])

    def large(x: int):
        return Extend("y" * 50_000, [signature(one, ("z" * 50_000,))])

    def some(x: int):
        return Replace(signature(one, (x,))) if x % 2 else x

    def wrong_own(x: int):
        return Extend("text", [])

    def no_canvas(x: int):
        return Replace(3)

    def too_many(x: int):
        return Replace(signature(one, (1, 2)))

    def unknown(x: int):
        return Replace(signature("nowhere:one", (1,)))

    def broken(x: int):
        return Replace(signature("shadow:one", (1,)))
"""


def replacement(outcome: Outcome) -> Replacement:
    assert outcome.state == "replaced", outcome
    return msgspec.msgpack.decode(outcome.value, type=Replacement)


async def plan_of(found: Worker, outcome: Outcome) -> plans.Plan:
    return plans.decode(await found.transport.get_blob(replacement(outcome).plan))


@pytest.mark.parametrize(
    ("kind", "name"),
    [("process", "plain"), ("process", "facts"), ("thread", "plain"), ("async", "later"), ("async", "plain")],
)
async def test_the_plan_is_stored_and_named(tmp_path: Path, kind: ExecutorKind, name: str) -> None:
    async with worker(tmp_path, TASKS, kind=kind) as found:
        outcome = await found.call(f"tasks.py:{name}", x=7)
        plan = await plan_of(found, outcome)
        assert 7 in values.decode_plain(replacement(outcome).args, lambda digest: b"").values()
        assert {task.target for task in plan.tasks} <= {"tasks:plain", "tasks:one", "tasks.py:plain", "tasks.py:one"}


async def test_the_report_names_its_plans(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as found:
        plan, item = call("tasks.py:plain", x=7)
        await found.submit(plan, [item])
        async for event in found.events():
            assert event.plans == (replacement(event.outcomes[0]).plan,)  # type: ignore[union-attr]
            break


async def test_members_that_are_added(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as found:
        outcome = await found.call("tasks.py:extended", x=7)
        assert replacement(outcome).own == values.encode(7)
        assert values.decode_plain(replacement(outcome).args, lambda digest: b"") == {"group": [7, 8]}
        outcome = await found.call("tasks.py:extended", returns=None, x=7)
        assert replacement(outcome).own == values.NULL
        outcome = await found.call("tasks.py:large", x=7)
        own = replacement(outcome).own
        assert own is not None
        assert len(outcome.value) < 1_000
        fetch = found.server.blobs.__getitem__
        assert values.decode_plain(own, fetch) == "y" * 50_000
        assert values.decode_plain(replacement(outcome).args, fetch) == {"group": ["z" * 50_000]}


async def test_items_that_are_replaced_have_outcomes_of_their_own(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as found:
        source = ["call", "range", ["lit", 0], ["lit", 6]]
        item = WorkItem("run", 0, "", 0, 0, 1, 1, (values.NULL,), 0, 6)
        outcomes = await found.run(each_of("tasks.py:some", INT, JSON, source), [item])
        assert [(one.first, one.last) for one in outcomes if one.state == "replaced"] == [(1, 2), (3, 4), (5, 6)]
        assert [one.first for one in outcomes if one.state == "success"] == [0, 2, 4]
        assert len({replacement(one).plan for one in outcomes if one.state == "replaced"}) == 1


@pytest.mark.parametrize(
    ("name", "kind", "why"),
    [
        ("no_canvas", "InvalidReplace", "3 is none"),
        ("too_many", "InvalidReplace", "takes 1 arguments by position, not 2"),
        ("unknown", "InvalidReplace", "it needs the task `nowhere:one`: there is no module `nowhere`"),
        ("wrong_own", "TypeMismatch", "does not have its type"),
    ],
)
async def test_what_cannot_be_run_fails_for_good(tmp_path: Path, name: str, kind: str, why: str) -> None:
    async with worker(tmp_path, TASKS) as found:
        outcome = await found.call(f"tasks.py:{name}", returns=INT, x=1)
        assert outcome.error is not None
        assert (outcome.state, outcome.error.type, outcome.error.retryable) == ("failed", kind, False)
        assert why in outcome.error.message
