"""dramatiq with Redis as broker and result store.

Its group calls a body without the results of the members: here the body is given the members' messages and reads
their results itself. Results is the last middleware, for a result must be stored before its group is counted down.
"""

from __future__ import annotations

import os

import dramatiq
from client import Done, check, series
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import GroupCallbacks
from dramatiq.rate_limits.backends import RedisBackend as BarrierBackend
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

REDIS = os.environ["PEER_REDIS"]
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
def total(ids: list[str]) -> int:
    members = (dramatiq.Message(noop.queue_name, noop.actor_name, (), {}, {}, message_id=one) for one in ids)
    return sum(member.get_result() for member in members)


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
        members = dramatiq.group([noop.message(i) for i in range(count)])
        body = total.message([member.message_id for member in members.children])
        members.add_completion_callback(body)
        members.run()
        check("chord", body.get_result(block=True, timeout=PATIENCE_MS), count * (count - 1) // 2)

    return series(once, 1, count + 1)


def rounds(count: int) -> Done:
    return series(lambda: check("round", noop.send(7).get_result(block=True, timeout=PATIENCE_MS), 7), count)


JOBS = {"single": single, "chain": chains, "chord": chords, "round": rounds}
