"""dramatiq with Redis as broker and result store.

Its group calls a body without the results of the members: here the members have ids that the body can tell by itself,
and it reads their results. Results is the last middleware: a result must be stored before its group is counted down.
"""

from __future__ import annotations

import os
import uuid

import dramatiq
from client import Done, check, series
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import GroupCallbacks
from dramatiq.rate_limits.backends import RedisBackend as BarrierBackend
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

#: redis-py gives up a blocking read after 5 s if not told otherwise
REDIS = os.environ["PEER_REDIS"] + "?socket_timeout=300"
STEPS = 100
PATIENCE_MS = 120_000

broker = RedisBroker(url=REDIS)
broker.add_middleware(GroupCallbacks(BarrierBackend(url=REDIS)))
broker.add_middleware(Results(backend=RedisBackend(url=REDIS), store_results=True))
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(x: int) -> int:
    return x


@dramatiq.actor
def add_one(x: int) -> int:
    return x + 1


@dramatiq.actor
def total(name: str, count: int) -> int:
    return sum(member(name, i).get_result() for i in range(count))


def member(name: str, i: int) -> dramatiq.Message[int]:
    return noop.message(i).copy(message_id=f"{name}-{i}")


def single(count: int) -> Done:
    def once() -> None:
        messages = [noop.send(i) for i in range(count)]
        found = sum(message.get_result(block=True, timeout=PATIENCE_MS) for message in messages)
        check("single", found, count * (count - 1) // 2)

    return series(once, 1, count)


def chains(count: int) -> Done:
    def once() -> None:
        steps = [add_one.message(0), *(add_one.message() for _ in range(STEPS - 1))]
        result = dramatiq.pipeline(steps).run().get_result(block=True, timeout=PATIENCE_MS)
        check("chain", result, STEPS)

    return series(once, count, STEPS)


def chords(count: int) -> Done:
    def once() -> None:
        name = str(uuid.uuid4())
        members = dramatiq.group([member(name, i) for i in range(count)])
        body = total.message(name, count)
        members.add_completion_callback(body)
        members.run()
        check("chord", body.get_result(block=True, timeout=PATIENCE_MS), count * (count - 1) // 2)

    return series(once, 1, count + 1)


def rounds(count: int) -> Done:
    return series(lambda: check("round", noop.send(7).get_result(block=True, timeout=PATIENCE_MS), 7), count)


JOBS = {"single": single, "chain": chains, "chord": chords, "round": rounds}
