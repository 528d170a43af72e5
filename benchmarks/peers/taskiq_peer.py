"""taskiq with results in Redis; the broker is NATS JetStream or Redis streams, by PEER_BROKER.

Chains and the fan-out come from taskiq-pipelines, the project's own package for them. taskiq waits for a result by
asking for it again and again; how often is an argument of the wait.

Of the JetStream brokers it is the pulling one: with the pushing one a client joins the workers' queue when it starts
and takes tasks that it never runs. A pull has a time-out, for without one it may wait for a whole batch for ever.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop
from client import Done, check, in_chunks
from taskiq import AsyncBroker, AsyncTaskiqTask
from taskiq.serializers import ORJSONSerializer
from taskiq_nats import PullBasedJetStreamBroker
from taskiq_pipelines import Pipeline, PipelineMiddleware
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

STEPS = 100
#: calls at the same time: each has a connection to Redis, and more of them were slower
TOGETHER = 20
#: seconds between two looks for a result: of many tasks, of one
MANY, ONE = 0.02, 0.001


def _open_broker() -> AsyncBroker:
    if os.environ["PEER_BROKER"] == "nats":
        return PullBasedJetStreamBroker(os.environ["PEER_NATS"], pull_consume_batch=100, pull_consume_timeout=1.0)
    return RedisStreamBroker(os.environ["PEER_REDIS"])


broker = (
    _open_broker()
    .with_result_backend(RedisAsyncResultBackend(os.environ["PEER_REDIS"]))
    .with_serializer(ORJSONSerializer())
    .with_middlewares(PipelineMiddleware())
)
_runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
_started = False


@broker.task
async def noop(x: int) -> int:
    return x


@broker.task
async def add_one(x: int) -> int:
    return x + 1


@broker.task
async def numbers(count: int) -> list[int]:
    return list(range(count))


@broker.task
async def total(values: list[int]) -> int:
    return sum(values)


async def value(task: AsyncTaskiqTask[Any], interval: float) -> Any:
    result = await task.wait_result(check_interval=interval)
    result.raise_for_error()
    return result.return_value


def timed(once: Callable[[], Awaitable[None]], repeats: int, per: int = 1) -> Done:
    """The loop stays open between jobs, and with it the connections."""

    async def all_of_them() -> list[float]:
        global _started
        if not _started:
            await broker.startup()
            _started = True
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            await once()
            seconds.append(time.perf_counter() - start)
        return seconds

    return Done(_runner.run(all_of_them()), repeats * per, per)


def single(count: int) -> Done:
    async def once() -> None:
        tasks: list[AsyncTaskiqTask[Any]] = []
        for part in in_chunks(list(range(count)), TOGETHER):
            tasks += await asyncio.gather(*(noop.kiq(i) for i in part))
        found = 0
        for some in in_chunks(tasks, TOGETHER):
            found += sum(await asyncio.gather(*(value(task, MANY) for task in some)))
        check("single", found, count * (count - 1) // 2)

    return timed(once, 1, count)


def chains(count: int) -> Done:
    async def once() -> None:
        pipeline: Pipeline[Any, Any] = Pipeline(broker, add_one)
        for _ in range(STEPS - 1):
            pipeline = pipeline.call_next(add_one)
        check("chain", await value(await pipeline.kiq(0), ONE), STEPS)

    return timed(once, count, STEPS)


def chords(count: int) -> Done:
    async def once() -> None:
        pipeline = Pipeline(broker, numbers).map(noop, check_interval=MANY).call_next(total)
        check("chord", await value(await pipeline.kiq(count), ONE), count * (count - 1) // 2)

    return timed(once, 1, count + 1)


def rounds(count: int) -> Done:
    async def once() -> None:
        check("round", await value(await noop.kiq(7), ONE), 7)

    return timed(once, count)


JOBS = {"single": single, "chain": chains, "chord": chords, "round": rounds}
