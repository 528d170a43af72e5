"""Celery with Redis as broker and result store."""

from __future__ import annotations

import os

from celery import Celery, chain, chord
from celery.result import ResultSet
from client import Done, check, series

REDIS = os.environ["PEER_REDIS"]
CHUNK = 1_000
STEPS = 100

app = Celery("celery_peer", broker=REDIS, backend=REDIS)
app.conf.update(
    worker_prefetch_multiplier=128,  # the guide on optimizing, for many short tasks
    worker_send_task_events=False,
    task_ignore_result=False,
    broker_connection_retry_on_startup=True,
)


@app.task
def noop(x: int) -> int:
    return x


@app.task
def add_one(x: int) -> int:
    return x + 1


@app.task
def total(values: list[int]) -> int:
    return sum(values)


def single(count: int) -> Done:
    def once() -> None:
        results = ResultSet([noop.delay(i) for i in range(count)])
        check("single", sum(results.get()), count * (count - 1) // 2)

    return series(once, 1, count)


def chains(count: int) -> Done:
    def once() -> None:
        steps = [add_one.s(0), *(add_one.s() for _ in range(STEPS - 1))]
        check("chain", chain(steps).apply_async().get(), STEPS)

    return series(once, count, STEPS)


def chords(count: int) -> Done:
    def once() -> None:
        result = chord([noop.s(i) for i in range(count)], total.s()).apply_async()
        check("chord", result.get(), count * (count - 1) // 2)

    return series(once, 1, count + 1)


def rounds(count: int) -> Done:
    return series(lambda: check("round", noop.delay(7).get(), 7), count)


def mapped(count: int) -> Done:
    def once() -> None:
        parts = noop.chunks(((i,) for i in range(count)), CHUNK).apply_async().get()
        check("map", sum(map(sum, parts)), count * (count - 1) // 2)

    return series(once, 1, count)


JOBS = {"single": single, "chain": chains, "chord": chords, "round": rounds, "map": mapped}
