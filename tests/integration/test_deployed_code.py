"""Deployed code on real worker processes: a node whose folder is empty runs it, and two versions never mix."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flowc import plan as plans
from flowc.types import STRING
from flowrun import values
from flowrun.code.packing import pack_code
from flowrun.messages import Bundle, Outcome, Results, WorkItem, pack, unpack_events
from flowrun.names import lane
from flowrun.nats.transport import NatsTransport
from flowrun.server import EmbeddedServer
from flowrun.settings import Settings
from flowrun.worker.config import WorkerConfig
from flowrun.worker.supervisor import Supervisor

from tests.unit.worker.code_harness import project, wheel
from tests.unit.worker.harness import call, template

_numbers = count()
TASKS = """
    import os
    from shop import mail
    import greeting

    def which(): return [mail.VERSION, greeting.hello(), open("version.txt").read(), os.getpid()]
    async def which_async(): return which()
"""


class Cluster:
    """A server and this side of a partition."""

    def __init__(self, transport: NatsTransport, fence: int) -> None:
        self.transport, self._fence = transport, fence
        self._seen = 0
        self._came: deque[tuple[str, Outcome]] = deque()

    async def submit(self, plan: plans.Plan, item: WorkItem, name: str, kind: Any = "process") -> None:
        data = plans.encode(plan)
        await self.transport.put_blob(plans.digest(data), data)
        bundle = Bundle(f"{name}/{next(_numbers)}", "p", lane("default", kind), (plans.digest(data),), (item,))
        await self.transport.dispatch("g", bundle.lane, 5, "p", pack(bundle), bundle.id, self._fence)

    async def outcome(self, seconds: float = 30.0) -> tuple[str, Outcome]:
        """The next one, with the first part of its bundle's name."""
        async with asyncio.timeout(seconds):
            while not self._came:
                async with aclosing(self.transport.read("p", self._seen)) as reader:
                    records = await anext(reader)
                self._seen = records[-1].seq
                for event in (event for record in records for event in unpack_events(record.data)):
                    assert isinstance(event, Results), event
                    self._came.extend((event.bundle.split("/")[0], outcome) for outcome in event.outcomes)
        return self._came.popleft()


def version(root: Path, name: str, greeting: str) -> Path:
    folder = project(root / name, tasks=TASKS, shop__mail=f"VERSION = {name!r}", shop____init__="")
    (folder / "version.txt").write_text(name)
    wheel(folder / "wheels", "greeting", "1.0", f"def hello(): return {greeting!r}")
    (folder / "requirements.txt").write_text("--no-index\n--find-links wheels\ngreeting==1.0\n")
    return folder


@pytest.mark.slow
async def test_two_versions_at_the_same_time_on_a_node_with_an_empty_folder(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "server")
    await server.start()
    transport = await NatsTransport.connect(server.url, Settings(env="code"))
    await transport.open_partition("p")
    cluster = Cluster(transport, await transport.fence("p"))
    (tmp_path / "node").mkdir()
    config = WorkerConfig(
        url=server.url, env="code", group="g", root=str(tmp_path / "node"), slots=2, async_slots=4, thread_slots=4
    )
    supervisor = Supervisor(config)
    await supervisor.start()
    try:
        digests = {}
        for name in ("old", "new"):
            packed = pack_code(version(tmp_path, name, f"hello of {name}"))
            await transport.put_blob(packed.digest, packed.data)
            digests[name] = packed.digest
        given = 0
        pids: dict[tuple[str, str], set[int]] = {}
        for n in range(36):
            name, kind = ("old", "new")[n % 2], ("process", "async", "thread")[n % 3]
            plan, item = call("tasks.py:which_async" if kind == "async" else "tasks:which")
            item = msgspec.structs.replace(item, run=kind)
            await cluster.submit(msgspec.structs.replace(plan, code=digests[name]), item, name, kind)
            given += 1
        while given:
            name, outcome = await cluster.outcome()
            kind = outcome.run
            if outcome.state == "returned":  # it waited long for the other version
                plan, item = call("tasks:which")
                plan = msgspec.structs.replace(plan, code=digests[name])
                await cluster.submit(plan, msgspec.structs.replace(item, run=kind), name, kind)
                continue
            assert outcome.state == "success", outcome
            found = values.decode_plain(outcome.value, lambda digest: b"")
            assert found[:3] == [name, f"hello of {name}", name]
            pids.setdefault((name, kind), set()).add(found[3])
            given -= 1
        every = [pid for one in pids.values() for pid in one]
        assert len(every) == len(set(every)) <= 2 * 2 + 2 + 2
        plan, item = template("shell", ["str", ["lit", "cat version.txt"]], STRING)
        await cluster.submit(msgspec.structs.replace(plan, code=digests["new"]), item, "shell")
        _, outcome = await cluster.outcome()
        assert values.decode_plain(outcome.value, lambda digest: b"") == "new"
        assert [path.name for path in (tmp_path / "node").iterdir()] == [".flow"]
    finally:
        await supervisor.stop()
        await transport.close()
        await server.stop()
