"""What a flow no longer wants frees its slot, although it runs; what still has to run does."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from flowrun.memory import run_virtual
from flowrun.messages import RunRecord

from tests.support.node import Node, memory_server
from tests.support.project import compiled

TASKS = """
    import time
    from pathlib import Path

    def slow(i: int = 0) -> int:
        Path(f"slow{i}").touch()
        time.sleep(30)
        return i

    def fast() -> int:
        while not Path("slow0").exists():
            time.sleep(0.01)
        return 1

    def fail(i: int) -> int:
        if i:
            return slow(i)
        while not Path("slow1").exists():
            time.sleep(0.01)
        raise ValueError(i)

    def meet(me: str, other: str) -> bool:
        Path(me).touch()
        until = time.monotonic() + 20
        while not Path(other).exists() and time.monotonic() < until:
            time.sleep(0.01)
        return Path(other).exists()
"""
USE = 'use "tasks.py" { slow, fast, fail, meet }\n'


@pytest.mark.parametrize(
    "stopped",
    [
        'a = [slow(), fast()] with { join: "first", cancel_rest: true }',
        "a = slow() with { deadline: 1500ms } catch(e) { return 0 }\n b = fast()",
        "a = each i in range(2) { return fail(i) } catch(e) { return [] }",
    ],
    ids=["join", "deadline", "on_error"],
)
async def test_the_slot_is_free_at_once(tmp_path: Path, stopped: str) -> None:
    """Both slots are needed for the two that meet."""
    flow = f"""flow main() returns list<bool> {{
      {stopped}
      c = meet("x", "y") after done(a)
      d = meet("y", "x") after done(a)
      return [c, d]
    }}"""
    plan = compiled(tmp_path, USE + flow, TASKS)
    began = time.monotonic()
    async with Node(memory_server(), root=tmp_path, processes=True) as node:
        async with asyncio.timeout(25):
            record = await node.client.wait((await node.client.submit(plan)).id)
        assert record.state == "success", record.error
        assert await node.client.value(record) == [True, True]
    assert time.monotonic() - began < 25


def test_a_tear_down_runs_after_a_cancellation(tmp_path: Path) -> None:
    tasks = """
        import asyncio

        def up() -> int:
            return 1

        async def work() -> int:
            await asyncio.sleep(1000)
            return 1

        def down(c: int) -> int:
            return c
    """
    flow = 'use "tasks.py" { up, work, down }\nflow main() { using c = up() { work() } finally { down(c) } }\n'
    plan = compiled(tmp_path, flow, tasks)

    async def main() -> RunRecord:
        async with Node(memory_server(), root=tmp_path) as node:
            run = (await node.client.submit(plan)).id
            await asyncio.sleep(1)
            await node.client.cancel(run)
            async with asyncio.timeout(25):
                return await node.client.wait(run)

    record = run_virtual(main())
    assert record.state == "cancelled"
    assert [(step.step, step.state) for step in record.steps][-2:] == [("work", "cancelled"), ("down", "success")]
