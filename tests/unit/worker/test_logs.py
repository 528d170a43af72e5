"""What tasks write is attributed, bounded, live, and holds no secrets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from flowc import plan as plans
from flowc.types import ANY, INT
from flowrun.messages import WorkItem
from flowrun.worker.logs import BURST, TAIL, LogLimit, LogWriter
from flowrun.worker.mask import Mask

from tests.unit.worker.harness import Worker, call, each_of, template, worker

TASKS = """
    import logging, os, subprocess, sys, time

    def talk(context=None):
        print("to out")
        print("to err", file=sys.stderr)
        logging.getLogger("mine").info("to log")
        logging.getLogger("mine").debug("not shown")
        print("no line end", end="")

    def say(x):
        print(x)

    def children():
        subprocess.run(["sh", "-c", "echo from a child; echo and its error >&2"])
        os.write(1, b"from the descriptor\\n")
        sys.stdout.buffer.write(b"from the buffer\\n")

    def flood():
        for i in range(20_000):
            print("line", i, "x" * 50)
        print("the end")
        return "done"

    def flood_child():
        subprocess.run(["sh", "-c", "yes | head -c 3000000"])
        return "done"

    def announce():
        print("started")
        time.sleep(30)

    def tell(value):
        print("it is", value)
        raise ValueError(value)

    def in_pieces(value):
        os.write(1, b"before quite-")
        time.sleep(0.1)
        os.write(1, b"secret and ")
        time.sleep(0.1)
        os.write(1, b"quite")

    def forty():
        for i in range(40):
            print(i)
"""


async def said(running: Worker, stream: str = "out") -> str:
    await asyncio.sleep(0.1)
    return "".join(note.text for note in running.logs if note.stream == stream)


async def test_output_is_attributed(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        await running.call("tasks:talk", None)
        assert await said(running) == "to out\nno line end"
        assert await said(running, "err") == "to err\n"
        assert await said(running, "log") == "INFO mine: to log\n"
        assert {(note.run, note.step, note.attempt, note.index) for note in running.logs} == {("run", "step", 1, None)}


async def test_lines_tell_the_item_that_wrote_them(tmp_path: Path) -> None:
    plan, item = call("tasks:talk", None)
    ranged = each_of("tasks:say", INT, INT, ["call", "range", ["lit", 3]])
    inner = WorkItem("run", 0, "", 0, 0, 1, 1, (b"\xc0",), 1, 2, index=7)
    async with worker(tmp_path, TASKS) as running:
        await running.run(plan, [msgspec.structs.replace(item, index=(4, 5))])
        await running.run(ranged, [inner])
        await asyncio.sleep(0.1)
    assert {(note.step, note.index) for note in running.logs} == {("step", (4, 5)), ("step", (7, 1))}


async def test_output_of_children(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        await running.call("tasks:children", None)
        assert sorted((await said(running)).splitlines()) == [
            "from a child",
            "from the buffer",
            "from the descriptor",
        ]
        assert await said(running, "err") == "and its error\n"


async def test_output_is_live(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        plan, item = call("tasks:announce", None)
        await running.submit(plan, [item])
        async with asyncio.timeout(5):
            while not running.logs:
                await asyncio.sleep(0.01)
        assert running.logs[0].text == "started\n"


@pytest.mark.parametrize("target", ["tasks:flood", "tasks:flood_child"])
async def test_a_megabyte_neither_blocks_nor_floods(tmp_path: Path, target: str) -> None:
    async with worker(tmp_path, TASKS) as running:
        assert running.value(await running.call(target)) == "done"
        await asyncio.sleep(0.3)  # the end of what was held back
        text = await said(running)
    assert len(text) < 2 * BURST
    assert "characters left out" in text
    if target == "tasks:flood":
        assert text.startswith("line 0 x")
        assert text.endswith("the end\n")


def with_secret(target: str) -> tuple[plans.Plan, WorkItem]:
    """A call whose argument `value` is the secret `api-key`."""
    plan, item = call(target, ANY, value=None)
    node = plans.TaskNode(name="step", task=0, args=(("value", ["secret", "api-key"]),), settings=0)
    block = plans.PlanBlock(nodes=(*plan.blocks[0].nodes[:-1], node), params=2)
    return msgspec.structs.replace(plan, blocks=(block,)), item


async def test_a_secret_that_a_child_writes_in_pieces_is_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOW_SECRET_API_KEY", "quite-secret")
    async with worker(tmp_path, TASKS) as running:
        plan, item = with_secret("tasks:in_pieces")
        (outcome,) = await running.run(plan, [item])
        assert outcome.state == "success", outcome.error
        await asyncio.sleep(0.4)  # the end of what was held back
        assert await said(running) == "before *** and quite"


async def test_secrets_reach_the_task_but_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOW_SECRET_API_KEY", "hunter2-value")
    plan, item = with_secret("tasks:tell")
    async with worker(tmp_path, TASKS) as running:
        (outcome,) = await running.run(plan, [item])
        assert await said(running) == "it is ***\n"
        assert outcome.error is not None
        assert outcome.error.message == "***"
        assert "hunter2" not in outcome.error.detail
        monkeypatch.delenv("FLOW_SECRET_API_KEY")
    async with worker(tmp_path, TASKS) as running:
        (outcome,) = await running.run(plan, [item])
        assert outcome.error is not None
        assert outcome.error.type == "NotFound"
        assert "FLOW_SECRET_API_KEY" in outcome.error.message


async def test_a_shell_task_keeps_its_output(tmp_path: Path) -> None:
    async with worker(tmp_path, TASKS) as running:
        plan, item = template("shell", ["lit", "echo result"])
        (outcome,) = await running.run(plan, [item])
        assert outcome.error is not None  # `json`: the output is no JSON
        assert await said(running) == ""


def test_the_limit_lets_through_at_a_rate_and_keeps_the_end() -> None:
    limit = LogLimit(0.0)
    assert limit.feed("a" * BURST, 0.0) == "a" * BURST
    assert limit.feed("b" * 10_000 + "\n", 0.0) == ""
    assert limit.feed("c\n", 0.0) == ""
    later = limit.feed("d\n", 1.0)
    assert later.startswith("[… 5,909 characters left out …]\nbbb")
    assert later.endswith("b\nc\nd\n")
    assert len(later) < TAIL + 100
    assert limit.rest() == ""


def test_a_quiet_task_is_not_limited() -> None:
    limit = LogLimit(0.0)
    assert all(limit.feed("line\n", second) == "line\n" for second in range(10_000))


def test_a_writer_gives_whole_lines_and_the_rest_at_the_end() -> None:
    got: list[str] = []
    writer = LogWriter(1, Mask({"FLOW_SECRET_A": "secret", "OTHER": "line"}), lambda _, text: got.append(text))
    print("one line and sec", end="", file=writer)
    print("ret", file=writer)
    print("end", end="", file=writer)
    assert got == ["one line and ***\n"]
    writer.end_attempt()
    assert got == ["one line and ***\n", "end"]
    writer.end_attempt()
    assert len(got) == 2
