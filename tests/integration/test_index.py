"""A task knows where it stands in the `each`es around it, as the record of the run says it."""

from __future__ import annotations

from pathlib import Path

from flowrun.memory import run_virtual

from tests.support.node import Node, memory_server
from tests.support.project import compiled

TASKS = """
    from flowrun.operator import Context

    def here(context: Context) -> str:
        return str(context.index)

    def item(x: int, context: Context) -> str:
        return str(context.index)
"""
FLOW = """
    use "tasks.py" { here, item }

    flow child(n: int) returns list<string> {
      return each j in range(n) { return item(j) }
    }

    flow main() returns json {
      alone = here()
      simple = each i in range(2) { return item(i) }
      general = each i in range(2) {
        a = here()
        b = each j in range(2) { return item(j) }
        c = each j in range(1) {
          d = here()
          e = item(j)
          return [d, e]
        }
        f = child(2)
        return { a: a, b: b, c: c, f: f }
      }
      return { alone: alone, simple: simple, general: general }
    }
"""


def test_the_index_is_that_of_the_record(tmp_path: Path) -> None:
    plan = compiled(tmp_path, FLOW, TASKS)

    async def main() -> None:
        async with Node(memory_server(), root=tmp_path) as node:
            record = await node.client.wait(await node.client.submit(plan))
            assert record.state == "success", record.error
            value = await node.client.value(record)
        assert value == {
            "alone": "None",
            "simple": ["0", "1"],
            "general": [
                {
                    "a": f"{i}",
                    "b": [f"({i}, 0)", f"({i}, 1)"],
                    "c": [[f"({i}, 0)", f"({i}, 0)"]],
                    "f": [f"({i}, 0)", f"({i}, 1)"],
                }
                for i in range(2)
            ],
        }
        indexes = {(step.step, str(step.index)) for step in record.steps}
        assert {("alone", "None"), ("a", "1"), ("b", "1"), ("d", "(1, 0)")} <= indexes, sorted(indexes)

    run_virtual(main())
