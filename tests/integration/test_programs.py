"""Random programs give the naive interpreter's result on the engine, on both transports, whatever dies meanwhile.

`FLOW_PROGRAMS` says how many (600 by default, of which every fourth is tried while processes die, too; for longer
runs see CONTRIBUTING). A program that fails is shown as it is; `FLOW_SHRINK=1` looks for a smaller one, which takes
minutes where a run did not end.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flowc.pipeline import compile_paths
from flowc.plan import Plan
from flowc.project import find_project
from flowrun.memory import run_virtual
from flowrun.nats.transport import NatsTransport
from flowrun.server import EmbeddedServer
from flowrun.transport import Transport
from hypothesis import HealthCheck, Phase, given, settings

from tests.reference.behaviours import TASKS
from tests.reference.compare import differences
from tests.reference.interpreter import interpret
from tests.reference.on_nats import Ran, blobs_of
from tests.reference.outside import Expected
from tests.reference.programs import BEHAVIOURS, Source, programs
from tests.sim.telling import ByClient, tell
from tests.support.node import Connect, Node, memory_server

PROGRAMS = int(os.environ.get("FLOW_PROGRAMS", "600"))
PHASES = (Phase.generate, Phase.shrink) if os.environ.get("FLOW_SHRINK") else (Phase.generate,)
#: seconds in which a run must have ended; in memory, of virtual time
LIMIT = 60
#: what is said to runs takes so much of the time that it takes in a simulation
HASTE = 0.003


async def ran(node: Node, store: Transport, plan: Plan, source: Source, expected: Expected) -> Ran:
    """Runs a program to its end, and answers it."""
    run = await node.client.submit(plan, source.args)
    ended, chance = asyncio.Event(), random.Random(0)
    told = asyncio.create_task(tell(ByClient(node.client, run.id, chance, ended.is_set), expected, chance, haste=HASTE))
    try:
        record = await node.client.wait(run)
    finally:
        ended.set()
        told.cancel()
    return Ran(record, await blobs_of(record, store))


async def ran_in_memory(root: Path, plan: Plan, source: Source, expected: Expected) -> Ran:
    connect = memory_server()
    async with Node(connect, root=root) as node:
        return await asyncio.wait_for(ran(node, await connect(), plan, source, expected), LIMIT)


class OnNats:
    """One node on a real server, for all programs."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._server = EmbeddedServer(folder)
        self._loop.run_until_complete(self._start(root))

    async def _start(self, root: Path) -> None:
        await self._server.start()

        async def connect() -> NatsTransport:
            return await NatsTransport.connect(self._server.url)

        self._store: Transport = await connect()
        opened: Connect = connect
        self._node = await Node(opened, root=root).__aenter__()

    def run(self, plan: Plan, source: Source, expected: Expected) -> Ran:
        running = ran(self._node, self._store, plan, source, expected)
        return self._loop.run_until_complete(asyncio.wait_for(running, LIMIT))

    def close(self) -> None:
        self._loop.run_until_complete(self._stop())
        self._loop.close()

    async def _stop(self) -> None:
        await self._node.__aexit__()
        await self._store.close()
        await self._server.stop()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with the tasks of the random programs."""
    folder = tmp_path_factory.mktemp("programs")
    shutil.copy(BEHAVIOURS, folder / "behaviours.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


@pytest.fixture(scope="module")
def nats(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnNats]:
    node = OnNats(root, tmp_path_factory.mktemp("server"))
    yield node
    node.close()


@pytest.mark.slow
@pytest.mark.timeout(max(300, PROGRAMS // 4))
def test_random_programs_give_the_interpreters_result(root: Path, nats: OnNats) -> None:
    @settings(
        max_examples=PROGRAMS,
        deadline=None,
        database=None,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(programs(waits=True))
    def check(source: Source) -> None:
        path = root / "program.flow"
        path.write_text(source.text)
        found = compile_paths(find_project(root), [path])
        assert found.program is not None, found.diagnostics
        key = next(key for key, flow in found.program.flows.items() if flow.name == "main")
        plan = next(flow.plan for flow in found.plans if flow.flow == "main")
        report = interpret(found.program, key, TASKS, source.args)
        for name, run in (
            ("in memory", lambda: run_virtual(ran_in_memory(root, plan, source, report.expected))),
            ("over NATS", lambda: nats.run(plan, source, report.expected)),
        ):
            try:
                done = run()
            except TimeoutError:
                pytest.fail(f"{name}: it did not end in {LIMIT} s\n{source.text}\n# {source.args}")
            wrong = differences(report, done.record, "json", done.blobs.__getitem__)
            assert not wrong, f"{name}: {wrong}\n{source.text}\n# {source.args}"

    check()


def crashed(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Random programs while processes die; in a process of its own, with which goes what those leave behind."""
    command = [sys.executable, "-m", "tests.reference", "--crashes", *arguments]
    return subprocess.run(command, cwd=Path(__file__).parents[2], text=True, capture_output=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(max(300, PROGRAMS // 4))
def test_random_programs_survive_random_crashes() -> None:
    count = PROGRAMS // 4
    done = crashed("--programs", str(count))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{count} programs, 0 wrong" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_random_programs_survive_random_crashes_over_nats() -> None:
    done = crashed("--nats", "--programs", "200")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "200 programs, 0 wrong" in done.stdout
