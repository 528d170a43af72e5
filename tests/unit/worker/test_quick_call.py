"""A quick call ends as the same call does that is taken step by step."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flowc import plan as plans
from flowc.types import ANY, INT, STRING, ListOf, Type
from flowrun import values, wire
from flowrun.messages import WorkItem
from flowrun.operator import NAMED, POSITIONAL
from flowrun.worker.ended import Ended
from flowrun.worker.execute import Executions, run
from flowrun.worker.failures import unpack_failure
from flowrun.worker.shared import FAILED, SKIPPED, SUCCESS
from flowrun.worker.unit_blobs import UnitBlobs

from tests.unit.worker.harness import call, each_of

TASKS = """
from __future__ import annotations
import enum, os
from flowrun.operator import Context, Skip

class Colour(enum.Enum):
    RED = "red"

def same(a): return a
def item(x): return x
def named(colour: Colour) -> str: return colour.name
def number(a: int): return a + 1
def rows(n):
    yield from range(n)
async def later(a): return a
def skipped(a): raise Skip
def fails(a): raise ValueError(f"not {a}")
def leaves(a): raise SystemExit(3)
def odd(a): return object()
def large(n): return "x" * n
def facts(context: Context): return context.run
def variable(): return os.environ["GREETING"]
"""


class Blobs(UnitBlobs):
    def put(self, digest: str, data: bytes) -> None:
        super().put(digest, data)
        self.fetched[digest] = data


def wait(awaitable: Any) -> Any:
    async def waiting() -> Any:
        return await awaitable

    return asyncio.run(waiting())


def executions(root: Path, plan: plans.Plan) -> tuple[Executions, str, Blobs]:
    (root / "quick_tasks.py").write_text(TASKS)
    blobs, data = Blobs(), plans.encode(plan)
    found = Executions(root, blobs)
    found.add(plans.digest(data), data)
    return found, plans.digest(data), blobs


def shown(ended: Ended) -> Any:
    """A failure without its line numbers and without the time that it takes."""
    if ended.state != FAILED:
        return ended
    return msgspec.structs.replace(unpack_failure(ended.payload), detail="")


CALLS: list[tuple[str, Type | None, dict[str, Any], int]] = [
    ("same", ANY, {"a": [1, None]}, SUCCESS),
    ("same", None, {"a": 1}, SUCCESS),
    ("same", INT, {"a": 5}, SUCCESS),
    ("same", INT, {"a": "five"}, FAILED),
    ("number", ANY, {"a": 5}, SUCCESS),
    ("number", ANY, {"a": "five"}, FAILED),
    ("named", STRING, {"colour": "red"}, SUCCESS),
    ("named", STRING, {"colour": "blue"}, FAILED),
    ("rows", ListOf(INT), {"n": 3}, SUCCESS),
    ("later", INT, {"a": 3}, SUCCESS),
    ("later", INT, {"a": "3"}, FAILED),
    ("skipped", ANY, {"a": 3}, SKIPPED),
    ("fails", ANY, {"a": 3}, FAILED),
    ("leaves", ANY, {"a": 3}, FAILED),
    ("odd", ANY, {"a": 3}, FAILED),
    ("large", STRING, {"n": wire.INLINE_LIMIT * 2}, SUCCESS),
    ("same", ANY, {"a": "x" * wire.INLINE_LIMIT * 2}, SUCCESS),
]


@pytest.mark.parametrize(("name", "returns", "args", "state"), CALLS)
def test_it_ends_alike(tmp_path: Path, name: str, returns: Type | None, args: dict[str, Any], state: int) -> None:
    plan, item = call(f"quick_tasks.py:{name}", returns, **args)
    found, digest, blobs = executions(tmp_path, plan)
    assert found.quick(item, digest) is None  # nothing is known of the step yet
    expected = run(found.prepare(item, digest), -1, wait)
    quick = found.quick(item, digest)
    assert quick is not None
    ended = quick.run(item.inputs, blobs, wait)
    assert (ended.state, shown(ended)) == (state, shown(expected))


def test_an_input_in_a_blob_is_fetched(tmp_path: Path) -> None:
    plan, item = call("quick_tasks.py:same", STRING, {"a": STRING}, a="")
    found, digest, blobs = executions(tmp_path, plan)
    found.prepare(item, digest)
    travels, stored = wire.externalise(values.encode("x" * 50_000))
    assert stored is not None
    blobs.put(*stored)
    quick = found.quick(item, digest)
    assert quick is not None
    assert quick.run((travels,), blobs, wait) == Ended(SUCCESS, travels)


def test_an_input_of_another_type_is_told_with_its_name(tmp_path: Path) -> None:
    plan, item = call("quick_tasks.py:same", ANY, {"a": INT}, a=1)
    found, digest, blobs = executions(tmp_path, plan)
    found.prepare(item, digest)
    quick = found.quick(item, digest)
    assert quick is not None
    failure = unpack_failure(quick.run((values.encode("x"),), blobs, wait).payload)
    assert (failure.type, failure.message) == (
        "TypeMismatch",
        "the argument `a`, which comes from `a`: `$`: expected int, got str",
    )


def test_what_needs_more_is_not_quick(tmp_path: Path) -> None:
    greeting = plans.StepSettings(env=(("GREETING", "hello"),))
    open_call = {POSITIONAL: [1], NAMED: {}}
    for plan, item in (
        call("quick_tasks.py:facts"),
        call("quick_tasks.py:variable", settings=greeting),
        call("quick_tasks.py:same", **open_call),
        (each_of("quick_tasks.py:item", ANY, ANY, ["in", 0]), WorkItem("run", 0, "", 0, 0, 1, 1, (b"\x91\x01",), 0, 1)),
    ):
        found, digest, _ = executions(tmp_path, plan)
        assert run(found.prepare(item, digest), item.first, wait).state == SUCCESS
        assert found.quick(item, digest) is None
