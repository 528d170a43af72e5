"""huey with Redis; `notify_result`, so that a waiting client is woken instead of looking again from time to time."""

from __future__ import annotations

import os

from client import Done, check, series
from huey import RedisHuey, chord

STEPS = 100

#: redis-py gives up a blocking read after 5 s if not told otherwise
REDIS = os.environ["PEER_REDIS"] + "?socket_timeout=300"

huey = RedisHuey("bench", url=REDIS, notify_result=True)


@huey.task()
def noop(x: int) -> int:
    return x


@huey.task()
def add_one(x: int) -> int:
    return x + 1


@huey.task()
def total(values: list[int]) -> int:
    return sum(values)


def single(count: int) -> Done:
    def once() -> None:
        results = [noop(i) for i in range(count)]
        check("single", sum(result.get(blocking=True) for result in results), count * (count - 1) // 2)

    return series(once, 1, count)


def chains(count: int) -> Done:
    def once() -> None:
        pipeline = add_one.s(0)
        for _ in range(STEPS - 1):
            pipeline = pipeline.then(add_one)
        check("chain", huey.enqueue(pipeline)[STEPS - 1], STEPS)

    return series(once, count, STEPS)


def chords(count: int) -> Done:
    def once() -> None:
        result = huey.enqueue(chord([noop.s(i) for i in range(count)], total.s()))
        check("chord", result.get(blocking=True), count * (count - 1) // 2)

    return series(once, 1, count + 1)


def rounds(count: int) -> Done:
    return series(lambda: check("round", noop(7).get(blocking=True), 7), count)


JOBS = {"single": single, "chain": chains, "chord": chords, "round": rounds}
