"""Canvases run on the engine and mean what Celery's mean; on both transports where it may matter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flowrun.canvas import Signature, chain, chord, group, signature
from flowrun.memory import run_virtual
from flowrun.messages import RunRecord
from flowrun.nats.transport import NatsTransport
from flowrun.server import EmbeddedServer
from flowrun.worker.inline import InlineSlot
from flowrun.worker.slot import Slot

from tests.support.node import Node, memory_server
from tests.unit.canvas import tutorial as t


class _Node(Node):
    """With a slot for `async def`, too."""

    def _slot(self) -> Slot:
        self.count = getattr(self, "count", 0) + 1
        return InlineSlot(self._root, "async" if self.count == 1 else "process")


async def ran_on(node: Node, canvas: Signature) -> RunRecord:
    t.told.clear()
    return await asyncio.wait_for(node.client.wait(await node.client.submit(canvas)), 30)


def run(canvas: Signature) -> RunRecord:
    async def main() -> RunRecord:
        async with _Node(memory_server(), root=Path()) as node:
            return await ran_on(node, canvas)

    return run_virtual(main())


def value(record: RunRecord) -> Any:
    assert record.state == "success", record.error
    return msgspec.msgpack.decode(record.result)


def states(record: RunRecord) -> dict[Any, str]:
    return {(row.step if row.index is None else (row.step, row.index)): row.state for row in record.steps}


ADD, MUL, FAIL, XSUM = t.add, t.mul, t.fail, t.xsum
#: canvas, value
VALUES: list[tuple[Callable[[], Signature], Any]] = [
    (lambda: ADD.s(2, 2), 4),
    (lambda: chain(ADD.s(2, 2), ADD.s(4), MUL.s(8)), 64),
    (lambda: ADD.s(2, 2) | MUL.s(8) | MUL.s(10), 320),
    (lambda: chain(ADD.s(4), MUL.s(8)).clone((4,)), 64),
    (lambda: MUL.s(3, 3) | ADD.si(1, 1), 2),
    (lambda: group(ADD.s(i, i) for i in range(4)), [0, 2, 4, 6]),
    (lambda: group([ADD.s(1, 1)]), [2]),
    (lambda: group([]), []),
    (lambda: group([]) | XSUM.s(), 0),
    (lambda: group(ADD.s(1, 1), MUL.s(2, 3)), [2, 6]),
    (lambda: group(t.doubled.s(i) for i in range(3)), [0, 2, 4]),
    (lambda: group(t.later.si(1) for _ in range(3)), [2, 2, 2]),
    (lambda: chord([ADD.s(i, i) for i in range(100)], XSUM.s()), 9900),
    (lambda: group(ADD.s(1, 1), MUL.s(2, 3)) | XSUM.s() | ADD.s(1), 9),
    (lambda: ADD.s(1, 1) | group(ADD.s(i) for i in range(3)), [2, 3, 4]),
    (lambda: ADD.s(1, 1) | group(ADD.s(1), MUL.s(10)) | XSUM.s(), 23),
    (lambda: group(ADD.s(1, 2) | MUL.s(i) for i in range(3)) | XSUM.s(), 9),
    (lambda: group(group(ADD.s(i, 1), MUL.s(i, 2)) for i in range(2)), [[1, 0], [2, 2]]),
    (lambda: group(group(ADD.s(i, j) for j in range(i)) for i in range(3)), [[], [1], [2, 3]]),
    (lambda: group(chord([ADD.s(i, 1), ADD.s(i, 2)], XSUM.s()) for i in range(3)), [3, 5, 7]),
    (lambda: chord([ADD.s(1, 1), ADD.s(2, 2)], XSUM.s()) | ADD.s(1), 7),
    (lambda: group(ADD.s(i, i) for i in range(3)) | group(t.tsum.s(), XSUM.s()), [6, 6]),
    (lambda: t.tsum.map([list(range(10)), list(range(100))]), [45, 4950]),
    (lambda: t.tsum.map([]), []),
    (lambda: ADD.starmap(zip(range(3), range(3), strict=True)), [0, 2, 4]),
    (lambda: ADD.starmap([]), []),
    (lambda: ADD.chunks([(i, i) for i in range(5)], 2), [[0, 2], [4, 6], [8]]),
    (lambda: ADD.chunks([(i, i) for i in range(5)], 2).group(), [[0, 2], [4, 6], [8]]),
    (lambda: ADD.chunks([], 2), []),
    (lambda: ADD.chunks([(1, 1), (2, 2)], 1) | t.note.s(), [[2], [4]]),
    (lambda: t.later.s(1) | t.whole.s(), 2),
    (lambda: t.flaky.s(1), [1, 2]),
    (lambda: chain(t.flaky.s(i) for i in [5]), [5, 2]),
    (lambda: t.doubled.s(4) | t.doubled.s(), 16),
    (lambda: signature("tests.unit.canvas.tutorial:plain", (9,)) | signature(t.plain, kwargs={"y": 2}), 6),
    (lambda: signature("tests.unit.canvas.tutorial.add", (9, 1)), 10),
    (lambda: group(signature("tests.unit.canvas.tutorial:plain", (i,), {"y": 0}) for i in range(3)), [0, 1, 2]),
    (lambda: t.marked.s(1) | ADD.s(1), 3),
    # dynamic work
    (lambda: t.deep.s(5), 5),
    (lambda: t.bound_deep.s(3), 8),
    (lambda: group(t.deep.s(i) for i in range(5)) | XSUM.s(), 10),
    (lambda: group(t.extending.s(i) for i in range(4)), [0, 1, 1, 2, 2, 3, 3, 3, 4, 5]),
    (lambda: group([t.extending.s(2), ADD.s(0, 0), t.chording.s(3)]), [2, 2, 3, 0, 3, 13]),
    (lambda: group(ADD.s(0, i) | t.extending.s() for i in range(3)), [0, 1, 1, 2, 2, 3]),
    (lambda: t.doubled.map([1, 2]) | XSUM.s(), 6),
]  # fmt: skip


@pytest.mark.parametrize(("canvas", "found"), VALUES)
def test_value(canvas: Callable[[], Signature], found: Any) -> None:
    assert value(run(canvas())) == found


def on_nats(test: Callable[[Node], Awaitable[None]], folder: Path) -> None:
    async def main() -> None:
        async with EmbeddedServer(folder) as server:

            async def connect() -> NatsTransport:
                return await NatsTransport.connect(server.url)

            async with _Node(connect, root=Path()) as node:
                await test(node)

    asyncio.run(main())


def test_values_on_nats(tmp_path: Path) -> None:
    async def test(node: Node) -> None:
        for canvas, found in VALUES:
            assert value(await ran_on(node, canvas())) == found

    on_nats(test, tmp_path)


# ---- what fails -----------------------------------------------------------------------------------------------------


def test_what_comes_after_a_failure_is_upstream_failed() -> None:
    record = run(ADD.s(2, 2) | FAIL.s() | ADD.s(1) | ADD.s(1))
    assert record.state == "failed"
    assert record.error is not None
    assert (record.failed_step, record.error.type, record.error.message) == ("fail", "ValueError", "no 4")
    assert [row.state for row in record.steps] == ["success", "failed", "upstream_failed", "upstream_failed"]


def test_all_members_of_a_group_run_to_their_end() -> None:
    record = run(group(t.odd.s(i) for i in range(4)) | XSUM.s())
    assert [states(record)["odd", i] for i in range(4)] == ["failed", "success", "failed", "success"]
    assert states(record)["xsum"] == "upstream_failed"
    assert record.error is not None
    assert record.error.message == "item 0: even: 0"


@pytest.mark.parametrize(
    ("canvas", "told"),
    [
        (lambda: FAIL.s(1).on_error(t.error_handler.s()), [("fail", "ValueError", "no 1")]),
        (lambda: FAIL.s(1).on_error(t.old_handler.s()), ["fail"]),
        (lambda: FAIL.s(1).on_error(t.tagged_handler.s("x", more=2)), [("fail", "x", 2)]),
        (lambda: FAIL.s(1).on_error(signature(t.plain_handler)), [("plain", "ValueError")]),
        (lambda: (ADD.s(1, 1) | FAIL.s() | ADD.s(1)).on_error(t.error_handler.s()), [("fail", "ValueError", "no 2")]),
        # once for each call that fails
        (lambda: group(FAIL.s(i) for i in range(2)).on_error(t.old_handler.s()), ["fail", "fail"]),
        (lambda: group(FAIL.s(1), ADD.s(1, 1), FAIL.s(2)).on_error(t.old_handler.s()), ["fail", "fail#2"]),
        # of a chord once: its body cannot run any more
        (lambda: chord([FAIL.s(1), FAIL.s(2)], XSUM.s().on_error(t.old_handler.s())), ["group"]),
        (lambda: chord([FAIL.s(1), ADD.s(1, 1)], XSUM.s().on_error(t.error_handler.s())),
         [("fail", "ValueError", "no 1")]),
        (lambda: (group([FAIL.s(1), ADD.s(1, 1)]) | XSUM.s()).on_error(t.old_handler.s()), ["fail"]),
        (lambda: (group([ADD.s(1, 1)]) | FAIL.s()).on_error(t.error_handler.s()), [("fail", "ValueError", "no [2]")]),
        (lambda: group([ADD.s(1, 1), MUL.s(1, 1)]).on_error(t.old_handler.s()), []),
        (lambda: t.failing_replace.s(2).on_error(t.error_handler.s()), [("failing_replace", "ValueError", "no 2")]),
    ],
)  # fmt: skip
def test_error_handlers(canvas: Callable[[], Signature], told: list[Any]) -> None:
    run(canvas())
    assert t.told == told


def test_callbacks_are_called_with_the_result() -> None:
    canvas = ADD.s(2, 2)
    canvas.link(t.note.s("first"))
    canvas.link(t.note.s("second") | t.note.s("third"))
    record = run(canvas)
    assert value(record) == 4
    assert sorted(t.told, key=str) == [("first", 4), ("second", 4), ("third", 4)]


def test_callbacks_of_composites() -> None:
    canvas = group(ADD.s(i, i) for i in range(3))
    canvas.link(t.note.s("list"))
    assert value(run(canvas)) == [0, 2, 4]
    assert t.told == [("list", [0, 2, 4])]
    canvas = ADD.s(1, 1) | ADD.s(1)
    canvas.link(t.note.s("last"))
    assert value(run(canvas)) == 3
    assert t.told == [("last", 3)]


def test_a_callback_that_fails_changes_nothing() -> None:
    canvas = ADD.s(2, 2)
    canvas.link(FAIL.s())
    record = run(canvas)
    assert value(record) == 4
    assert states(record)["fail"] == "failed"


def test_a_callback_is_not_called_after_a_failure() -> None:
    canvas = FAIL.s(1)
    canvas.link(t.note.s())
    assert run(canvas).state == "failed"
    assert t.told == []


def test_ignore_ends_a_task_as_skipped() -> None:
    assert states(run(t.skipped.s() | t.note.s())) == {"skipped": "skipped", "note": "skipped"}


@pytest.mark.parametrize(("kind", "attempts"), [("value", 2), ("type", 1)])
def test_only_the_errors_that_are_named_are_tried_again(kind: str, attempts: int) -> None:
    record = run(t.auto.s(kind))
    assert record.state == "failed"
    assert len(t.told) == attempts
    assert record.error is not None
    assert record.error.type == f"{kind.title()}Error"


def test_a_task_that_is_tried_for_too_long_fails_with_its_own_error() -> None:
    record = run(t.never.s())
    assert record.error is not None
    assert (record.error.type, record.error.message, len(t.told)) == ("KeyError", "no key 'never'", 3)


def test_hooks_of_a_task_class() -> None:
    run(t.doubled.s(4))
    assert t.told == [("on_success", 8)]
    record = run(t.hooked.s(1))
    assert record.state == "failed"
    assert t.told == ["before_start", ("on_retry", "no"), "RETRY", "before_start", ("on_failure", "no"), "FAILURE"]


def test_what_a_task_knows_of_its_attempt() -> None:
    record = run(t.facts.s(1, y=2) | t.facts.s())
    found = value(record)
    assert found == {"id": f"{record.run}/facts#2", "root": record.run, "retries": 0, "task": t.facts.name, "args": 1}


def test_settings_of_steps() -> None:
    """A countdown holds back the first part only, and a queue is that of all."""

    async def main() -> tuple[float, RunRecord]:
        async with _Node(memory_server(), root=Path(), queues=("default", "math")) as node:
            loop = asyncio.get_running_loop()
            start = loop.time()
            canvas = ADD.s(1, 1) | ADD.s(1).set(countdown=20) | chain(ADD.s(1), ADD.s(1)).set(countdown=5, queue="math")
            record = await ran_on(node, canvas)
            return loop.time() - start, record

    seconds, record = run_virtual(main())
    assert 25 <= seconds < 26
    assert value(record) == 5


# ---- dynamic work ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("canvas", "kind", "why"),
    [
        (lambda: t.endless.s(0), "TooDeep", "100 times"),
        (lambda: t.cyclic.s(), "InvalidReplace", "contains itself"),
        (lambda: t.unknown.s(), "InvalidReplace", "it needs the task `nowhere:at_all`: there is no module `nowhere`"),
        (lambda: t.misfit.s(), "InvalidReplace", "`add` takes 2 arguments by position, not 3"),
        (lambda: t.not_a_canvas.s(), "InvalidReplace", "3 is none"),
        (lambda: t.wrong_type.s(), "TypeMismatch", "the canvas that replaced `wrong_type`"),
        (lambda: t.extending.s(2), "InvalidReplace", "it is no member of one"),
        (lambda: t.extending.s(2) | t.note.s(), "InvalidReplace", "it is no member of one"),
    ],
)
def test_a_canvas_that_cannot_replace_a_task(canvas: Callable[[], Signature], kind: str, why: str) -> None:
    record = run(canvas() if kind != "TypeMismatch" else canvas() | t.note.s())
    assert record.error is not None
    assert (record.state, record.error.type) == ("failed", kind)
    assert why in record.error.message


def test_the_steps_of_a_canvas_follow_the_task_that_it_replaced() -> None:
    record = run(t.deep.s(1))
    assert [row.step for row in record.steps] == ["deep", "deep.deep", "deep.add"]


def test_a_coordinator_that_takes_over_goes_on() -> None:
    """With canvases in place of tasks and of items, half way."""

    async def main() -> Any:
        async with _Node(memory_server(), root=Path()) as node:
            canvas = group(t.slow.s(i) for i in range(4)) | XSUM.s() | t.slow.s()
            submitted = await node.client.submit(canvas)
            for _ in range(6):
                await asyncio.sleep(1.0)
                await node.stop_coordinator()
                await node.start_coordinator()
            return value(await asyncio.wait_for(node.client.wait(submitted), 60))

    assert run_virtual(main()) == 0 + 1 + 2 + 3 + 4 + 1


# ---- order ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "behind",
    [
        lambda: t.note.si("x"),
        lambda: group(t.note.si("x") for _ in range(2)),
        lambda: group(t.note.si("x"), ADD.si(1, 1)),
        lambda: t.note.map(["x"]),
        lambda: chain(t.note.si("x"), t.note.s()),
        lambda: chord([t.note.si("x")], t.note.si("y")),
        lambda: group(t.note.si("x") | t.note.s() for _ in range(2)),
    ],
)
def test_what_takes_no_value_waits_all_the_same(behind: Callable[[], Signature]) -> None:
    async def main() -> float:
        async with _Node(memory_server(), root=Path()) as node:
            loop = asyncio.get_running_loop()
            start = loop.time()
            submitted = await node.client.submit(t.pausing.s(1) | behind())
            t.told.clear()
            while not t.told:
                await asyncio.sleep(0.01)
            seen = loop.time() - start
            await asyncio.wait_for(node.client.wait(submitted), 30)
            return seen

    assert run_virtual(main()) >= 1.0
    record = run(FAIL.s(1) | behind())
    assert t.told == []
    assert {row.state for row in record.steps if row.step != "fail"} == {"upstream_failed"}
