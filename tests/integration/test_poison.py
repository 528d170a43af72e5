"""A task whose worker dies of it, again and again, ends as failed; its neighbours do not."""

from __future__ import annotations

import asyncio
from pathlib import Path

from flowrun.nats.transport import NatsTransport
from flowrun.server import EmbeddedServer
from flowrun.settings import Settings
from flowrun.worker.config import WorkerConfig
from flowrun.worker.supervisor import Supervisor

from tests.support.node import Node
from tests.support.project import compiled

TASKS = """
    import os, signal, time

    def some_kill_the_worker(i: int) -> int:
        if i == 3:
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        return i
"""
FLOW = """use "tasks.py" { some_kill_the_worker }
flow main() {
  each i in range(8) with { on_error: "collect" } { return some_kill_the_worker(i) }
}
"""


async def test_a_poison_item_fails_alone(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "server")
    await server.start()
    settings = Settings(env="poison", ack_wait=1.0)

    async def connect() -> NatsTransport:
        return await NatsTransport.connect(server.url, settings)

    plan = compiled(tmp_path, FLOW, TASKS)
    config = WorkerConfig(url=server.url, env="poison", root=str(tmp_path), ack_wait=1.0)
    async with Node(connect, settings=settings, root=tmp_path) as node:
        await node.stop_worker()
        supervisor = Supervisor(config)
        await supervisor.start()
        run = await node.client.submit(plan)
        async with asyncio.timeout(40):
            record = await node.client.wait(run.id)
        await supervisor.stop()
        await node.start_worker()
    await server.stop()
    failed = [(step.index, step.error.type) for step in record.steps if step.error is not None]
    assert failed == [(3, "WorkerDied")], record.steps
    assert sum(step.state == "success" for step in record.steps if step.index is not None) == 7
