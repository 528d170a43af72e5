"""Ten thousand runs wait for a signal, the node is killed and started again, all are signalled: all end.

`FLOW_WAITING` says how many.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flowc.pipeline import compile_paths
from flowc.plan import Plan
from flowc.project import find_project
from flowrun.client import Client
from flowrun.server import EmbeddedServer
from flowrun.settings import Settings

RUNS = int(os.environ.get("FLOW_WAITING", "10000"))
PARTITIONS = 2
FLOW = """
use std.wait { signal }

signal go: { by: string, number: int }

flow main(i: int) returns list<json> {
  told = signal(go) with { timeout: 1h }
  return [i, told.number, told.by]
}
"""
#: seconds in which all of it has happened, on a machine with much else to do
LIMIT = 120


@contextmanager
def a_node(url: str, folder: Path) -> Iterator[None]:
    """A node in its processes, which ends by SIGKILL."""
    command = [
        sys.executable, "-c", "from flowcli.main import main; main()", "node", "--nats", url, "--slots", "1",
        "--partitions", str(PARTITIONS),
    ]  # fmt: skip
    with (folder / "node.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "main.flow").write_text(FLOW)
    found = compile_paths(find_project(tmp_path), [tmp_path / "main.flow"])
    return found.plans[0].plan


async def all_wait(client: Client) -> None:
    while (await client.list(limit=1)).total < RUNS:
        await asyncio.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT)
async def test_all_runs_that_wait_end_after_a_crash(plan: Plan, tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path / ".flow") as server, asyncio.timeout(LIMIT):
        start = time.monotonic()
        with a_node(server.url, tmp_path):
            async with Client.connect(server.url, settings=Settings(partitions=PARTITIONS)) as client:
                runs = [run.id for run in await client.submit_many(plan, ({"i": i} for i in range(RUNS)))]
                await all_wait(client)
                print(f"they wait after {time.monotonic() - start:.1f} s")
        with a_node(server.url, tmp_path):
            async with Client.connect(server.url, settings=Settings(partitions=PARTITIONS)) as client:
                begun = time.monotonic()
                handles = [client.run(run) for run in runs]
                await asyncio.gather(*(run.signal("go", {"by": "test", "number": i}) for i, run in enumerate(handles)))
                told = time.monotonic() - begun
                results = await asyncio.gather(*(run.result() for run in handles))
                print(f"{RUNS:,} runs: signalled in {told:.1f} s, all ended after {time.monotonic() - begun:.1f} s")
                assert results == [[i, i, "test"] for i in range(RUNS)]
                assert (await client.list()).total == 0
