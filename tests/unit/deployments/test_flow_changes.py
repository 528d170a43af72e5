"""What is different in a changed flow, in words."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from flowrun.deployments.changes import changes_between
from flowrun.deployments.flow_changes import differences, with_differences
from flowrun.memory import MemoryServer, MemoryTransport, run_virtual

from tests.support.project import compiled

from .builders import built, deploy, flow

TASKS = """
def load(x: int) -> int:
    return x

def store(x: int) -> int:
    return x
"""
FLOW = """
use "tasks.py" { load, store }
pool db { slots: 2 }
pool small { slots: 1 }

flow main(x: int) returns int {
  a = load(x)
  b = store(a) with { retry: 2, pool: db }
  return b
}
"""


def told(tmp_path: Path, old: str, new: str) -> tuple[str, ...]:
    return differences(compiled(tmp_path, old, TASKS), compiled(tmp_path, new, TASKS))


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ("flow main", "\n\n# a remark\nflow main", ("only where it stands in its file changed",)),
        ("x: int)", "x: int, y: int = 3)", ("parameter y: it is new",)),
        ("retry: 2", "retry: 5", ("step b: retry changed",)),
        ("pool: db", "pool: small", ("step b: pool changed",)),
        ("load(x)", "load(x + 1)", ("step a: its arguments changed", "step b: what it depends on changed")),
        ("a = load(x)\n  b = store(a)", "b = store(x)", ("step b: what it depends on changed", "step a: it is gone")),
        ("returns int {", 'returns int {\n  trigger t = cron("0 3 * * *", args: {x: 1})', ("what starts it changed",)),
        (
            "returns int {", 'returns int {\n  timeout: 1h\n  max_active_runs: 2',
            ("timeout of its runs changed", "max_active_runs of its runs changed"),
        ),
    ],
)  # fmt: skip
def test_in_words(tmp_path: Path, before: str, after: str, wanted: tuple[str, ...]) -> None:
    assert told(tmp_path, FLOW, FLOW.replace(before, after)) == wanted


def test_a_changed_flow_is_told_with_what_is_different_in_it_while_its_old_plan_is_there() -> None:
    old, new = built("shop", flow(target="tasks:old")), built("shop", flow(target="tasks:new"))

    async def main() -> None:
        server = MemoryServer()
        transport = MemoryTransport(server)
        await transport.open_partition("0")
        await deploy(transport, old)
        changes = changes_between(old.manifest, new.manifest)
        (found,) = await with_differences(transport, changes, old.manifest, new.manifest, new.blobs)
        assert found.details == ("step work: its task changed",)
        del server.blobs[old.manifest.flows[0].plan]
        (found,) = await with_differences(transport, changes, old.manifest, new.manifest, new.blobs)
        assert found.details == ()

    run_virtual(main())


def test_something_is_always_said() -> None:
    plan = flow()
    other = msgspec.structs.replace(plan, version=plan.version + 1)
    assert differences(plan, other) == ("what surrounds its steps changed",)
