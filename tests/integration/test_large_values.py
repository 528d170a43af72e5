"""Values above 32 KiB, which the coordinator knows by their references only, wherever a flow can use a value."""

from __future__ import annotations

from pathlib import Path

import pytest
from flowrun.memory import run_virtual

from tests.support.node import Node, memory_server
from tests.support.project import compiled

TASKS = """
    def table(n: int) -> list[list[str]]:
        return [[f"row {i}, column {j} " * 20 for j in range(i % 3 + 1)] for i in range(n)]

    def text(n: int) -> str:
        return "x" * n

    def maybe(n: int) -> int:
        from flowrun.operator import Skip
        if n < 0:
            raise Skip
        return n

    def size(x: str) -> int:
        return len(x)

    def inc(a: int) -> int:
        return a + 1
"""
USE = 'use "tasks.py" { table, text, maybe, size, inc }\n'


def result(root: Path, flow: str) -> object:
    """What the flow `main` returns, run on a node in memory."""
    plan = compiled(root, USE + flow, TASKS)

    async def main() -> object:
        async with Node(memory_server(), root=root) as node:
            record = await node.client.wait(await node.client.submit(plan))
            assert record.state == "success", record.error
            return await node.client.value(record)

    return run_virtual(main())


COLUMNS = [i % 3 + 1 for i in range(90)]
LENGTHS = [[len(f"row {i}, column {j} " * 20) for j in range(i % 3 + 1)] for i in range(90)]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("rows = table(90)\n return each row in rows { return len(row) }", COLUMNS),
        ("rows = table(90)\n return each row in rows { return each cell in row { return size(cell) } }", LENGTHS),
        (
            "rows = table(90)\n return each row in rows { return each part in chunk(row, 2) { return len(part) } }",
            [[n] if n < 3 else [2, 1] for n in COLUMNS],
        ),
        ("t = text(40000)\n return child(t)", 40_000),
        ('t = text(40000)\n return child(t + "!")', 40_001),
        ("t = text(40000)\n if len(t) > 30000 { r = inc(1) } else { r = inc(2) }\n return r", 2),
        ('t = text(40000)\n match t { "a": { r = inc(5) }, else: { r = inc(6) } }\n return r', 7),
        ("t = text(40000)\n return each i in range(3) { return size(t[0:i]) + i }", [0, 2, 4]),
        ("a = maybe(-1)\n return inc(a ?? 5)", 6),
        ("a = maybe(-1)\n return each i in range(3) { return inc((a ?? 5) + i) }", [6, 7, 8]),
        ("a = maybe(-1)\n t = text(40000)\n return (a ?? 5) + len(t)", 40_005),
    ],
)
def test_a_flow(tmp_path: Path, body: str, wanted: object) -> None:
    child = "flow child(t: string) returns int { return size(t) }\n"
    assert result(tmp_path, f"{child}flow main() returns json {{\n {body}\n}}\n") == wanted
