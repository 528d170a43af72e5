"""Deploy, change, plan, deploy, roll back, with runs in flight throughout: all end on the plan and the code that they
began with. `python -m tests.support.deploy_story` shows it.

The node stands in an empty folder: flows and their code come to it by deployments alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from flowrun.client import SyncClient
from flowrun.client.sync import SyncRun

from tests.support.live_node import LiveNode

__all__ = ["Story", "tell"]

_FLOWC = str(Path(sys.executable).with_name("flowc"))
#: runs that are started after each deployment
RUNS = 3

FLOW_1 = """
use std.wait { signal }
use "stages.py" { stage }

pool ovens { slots: 2 }

flow bake(name: string) returns string {
  first = stage(name, "mixed") with { pool: ovens }
  go = signal("go")
  last = stage(name, "baked") after go
  return "${first}, ${last}"
}
"""
FLOW_2 = FLOW_1.replace("slots: 2", "slots: 4").replace(
    'return "${first}, ${last}"', 'iced = stage(name, "iced") after last\n  return "${first}, ${last}, ${iced}"'
)
CODE_1 = """
def stage(name: str, what: str) -> str:
    return f"{name} {what} by recipe 1"
"""
CODE_2 = CODE_1.replace("recipe 1", "recipe 2")


class Story(NamedTuple):
    """What happened."""

    #: what `flowc plan` said before the change
    planned: str
    #: what each run gave, by when it was started
    before: list[str]
    changed: list[str]
    back: list[str]
    #: content hashes of the plans that runs were on, in the same way
    plans: list[set[str]]
    history: str


def tell(folder: Path, say: Callable[[str], None] = lambda line: None) -> Story:
    """In two folders below this one."""
    shop, node = folder / "bakery", folder / "node"
    for one in (shop, node):
        one.mkdir()
    (shop / "flow.toml").write_text('[project]\nname = "bakery"\n')
    with LiveNode(node) as server:

        def flowc(*args: str) -> str:
            env = {name: value for name, value in os.environ.items() if not name.startswith("FLOW_")}
            done = subprocess.run(
                [_FLOWC, *args], cwd=shop, env=env | {"FLOW_NATS_URL": server.url}, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stdout + done.stderr
            say(f"$ flowc {' '.join(args)}\n{done.stdout}")
            return done.stdout

        with SyncClient(server.url) as client:

            def start(prefix: str) -> list[SyncRun]:
                runs = [client.submit("bake", {"name": f"{prefix}{number}"}) for number in range(RUNS)]
                _until_they_wait(client, runs)
                say(f"{RUNS} runs wait for their signal: {', '.join(run.id for run in runs)}\n")
                return runs

            _write(shop, FLOW_1, CODE_1)
            flowc("deploy", "--note", "the first recipe")
            before = start("a")
            _write(shop, FLOW_2, CODE_2)
            planned = flowc("plan", "--deployed")
            flowc("deploy", "--note", "with icing")
            changed = start("b")
            flowc("rollback", "--note", "too sweet")
            back = start("c")
            groups = [before, changed, back]
            for run in [run for group in groups for run in group]:
                run.signal("go")
            results = [[run.result(30) for run in group] for group in groups]
            for group in results:
                say("\n".join(group) + "\n")
            plans = [{_plan_hash(client, run) for run in group} for group in groups]
            return Story(planned, *results, plans, flowc("history"))


def _write(shop: Path, flow: str, code: str) -> None:
    (shop / "bake.flow").write_text(flow)
    (shop / "stages.py").write_text(code)


def _until_they_wait(client: SyncClient, runs: list[SyncRun]) -> None:
    """Their first step has ended."""
    for run in runs:
        for note in run.events():
            if any(step.step == "first" and step.state == "success" for step in getattr(note, "steps", ())):
                break


def _plan_hash(client: SyncClient, run: SyncRun) -> str:
    from flowc.plan import digest, encode

    return digest(encode(client.plan_of(run.id)))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        tell(Path(folder), print)
