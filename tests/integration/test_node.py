"""A whole node over NATS: runs end, survive the death of each part, and are not confused by each other."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest
from flowc.plan import Plan, RetryPolicy, StepSettings
from flowrun.nats.transport import NatsTransport
from flowrun.server import EmbeddedServer
from flowrun.settings import Settings

from tests.integration.test_nats_transport import Restartable
from tests.support import sample_tasks
from tests.support.node import Node
from tests.support.plans import call, each_plan, flow_plan, task

TASKS = "tests.support.sample_tasks"
SETTINGS = Settings(ack_wait=0.6)
SUM = flow_plan(
    (call("twice", 0, (1,)), call("sum", 1, (2, 1))),
    (task("double", f"{TASKS}:double", "a"), task("add", f"{TASKS}:add", "a", "b")),
    params=("x",),
)
_partitions = count()


async def submit(node: Node, plan: Plan, args: dict[str, object]) -> str:
    return (await node.client.submit(plan, args)).id


@pytest.fixture(autouse=True)
def _fresh_calls() -> None:
    sample_tasks.forget_calls()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path_factory.mktemp("flow"))
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture
async def node(server: EmbeddedServer) -> AsyncIterator[Node]:
    async def connect() -> NatsTransport:
        return await NatsTransport.connect(server.url, SETTINGS)

    async with Node(connect, partition=f"p{next(_partitions)}", settings=SETTINGS) as node:
        yield node


async def test_runs(node: Node) -> None:
    runs = await asyncio.gather(*(submit(node, SUM, {"x": x}) for x in range(100)))
    records = await asyncio.gather(*(node.client.wait(run) for run in runs))
    assert [await node.client.value(record) for record in records] == [3 * x for x in range(100)]


async def test_an_each_whose_result_is_a_blob(node: Node) -> None:
    record = await node.client.wait(await submit(node, each_plan(f"{TASKS}:noop"), {"n": 30_000}))
    assert await node.client.value(record) == list(range(30_000))
    assert len(record.steps) == 30_001


async def test_a_retry(node: Node) -> None:
    retry = StepSettings(retry=RetryPolicy(max=2, backoff="fixed", first_ms=300))
    plan = flow_plan(
        (call("only", 0, (1,)),), (task("t", f"{TASKS}:fail_once", "a"),), params=("x",), settings=(retry,)
    )
    record = await node.client.wait(await submit(node, plan, {"x": 4}))
    assert (record.state, record.steps[0].attempts) == ("success", 2)
    assert record.ended_ms - record.started_ms >= 300


async def test_a_dead_worker_and_a_dead_coordinator(node: Node) -> None:
    nap = task("nap", f"{TASKS}:short_nap", "a")
    plan = flow_plan(
        (call("one", 0, (1,)), call("two", 0, (2,))),
        (nap,),
        params=("x",),
        settings=(StepSettings(retry=RetryPolicy(max=2, first_ms=0)),),
    )
    run = await submit(node, plan, {"x": 4})
    while not sample_tasks.calls:
        await asyncio.sleep(0.01)
    await node.kill_worker()
    await node.start_worker()
    while len(sample_tasks.calls) < 3:  # the first nap, again, and the second one, which goes with it
        await asyncio.sleep(0.01)
    await node.kill_worker()
    await node.stop_coordinator()
    await node.start_coordinator()
    await node.start_worker()
    record = await node.client.wait(run)
    assert record.state == "success"
    assert sample_tasks.calls in (["nap 4"] * 4, ["nap 4"] * 5)  # whether the result of the first was stored in time


async def test_cancel(node: Node) -> None:
    plan = flow_plan((call("only", 0, (1,)),), (task("t", f"{TASKS}:nap", "a"),), params=("x",))
    run = await submit(node, plan, {"x": 60})
    await asyncio.sleep(0.2)
    await node.client.cancel(run)
    async with asyncio.timeout(5):
        assert (await node.client.wait(run)).state == "cancelled"
        assert (await node.client.wait(await submit(node, SUM, {"x": 1}))).state == "success"


async def test_a_killed_server_loses_nothing(tmp_path: Path) -> None:
    server = Restartable(tmp_path, "-js", "-sd", str(tmp_path / "store"))
    server.start()
    settings = Settings(ack_wait=1.0, reconnect_wait=0.05, answer_timeout=1.0)

    async def connect() -> NatsTransport:
        return await NatsTransport.connect(server.url, settings)

    plan = flow_plan(
        (call("one", 0, (1,)), call("two", 0, (2,)), call("three", 0, (3,))),
        (task("noop", f"{TASKS}:noop", "a"),),
        params=("x",),
        settings=(StepSettings(retry=RetryPolicy(max=5, first_ms=0)),),
    )
    try:
        async with Node(connect, settings=settings) as node:
            for round_ in range(2):
                runs = [asyncio.create_task(submit(node, plan, {"x": x})) for x in range(30)]
                await asyncio.sleep(0.01 * (round_ + 1))
                server.stop(signal.SIGKILL)
                await asyncio.sleep(0.2)
                server.start()
                async with asyncio.timeout(30):
                    records = [await node.client.wait(await run) for run in runs]
                assert [await node.client.value(record) for record in records] == list(range(30))
    finally:
        server.stop()
