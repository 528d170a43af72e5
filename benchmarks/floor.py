"""The floor: the messages of the runtime through JetStream, with no engine: `python benchmarks/floor.py [--tasks N]`.

The processes are those of the runtime, and so are the ways of the messages, durable wherever they are so there:

    client ── a submission each ──▶ inbox stream ──▶ coordinator ── bundles ──▶ work stream (WorkQueue) ──▶ worker
    client ◀── results stream ◀── a result each, under its run's subject ── coordinator ◀── inbox ◀── bundle's results

but nothing is decided, checked, retried, deduplicated, replayed or timed: the coordinator counts. It is written in
plain nats-py as fast as that goes: publishes whose acknowledgements come to one subscription, pulls whose messages come
to a callback, and bundles of whatever has come at once. How far the runtime is from this is what its engine costs.
`versus.py` has it as the system `floor`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import nats
import uvloop
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RetentionPolicy, StreamConfig
from peers.client import Done, check, series
from peers.report import Report, facts
from peers.session import measure
from peers.systems import SYSTEMS

INBOX, WORK, RESULT = "FLOOR_INBOX", "FLOOR_WORK", "FLOOR_RESULT"
SUBJECTS = {INBOX: "floor.inbox", WORK: "floor.work", RESULT: "floor.result.*"}
STEPS = 100
#: items of a bundle, publishes without an acknowledgement, messages that are asked for
BUNDLE, IN_FLIGHT, PULL = 500, 4_096, 4_096
#: nothing goes out before the loop gets its turn: after so many publishes
_BREATH = 256
_PULL_SECONDS = 60

#: run, value, what the task adds to it
Item = tuple[str, int, int]


class Submission(msgspec.Struct, array_like=True, tag="s"):
    """A run: so many items beside each other with the values from `first` on, then further steps of one item each,
    the first of which gets the sum of the values before it."""

    run: str
    first: int
    items: int
    steps: int
    add: int


class Results(msgspec.Struct, array_like=True, tag="r"):
    """What a bundle gave: run, value."""

    values: list[tuple[str, int]]


_event = msgspec.msgpack.Decoder(Submission | Results)
_bundle = msgspec.msgpack.Decoder(list[Item])
_pack = msgspec.msgpack.Encoder().encode


class Publisher:
    """Publishes without waiting; all acknowledgements come to one subscription."""

    def __init__(self, connection: Nats) -> None:
        self._connection = connection
        self._prefix = connection.new_inbox() + "."
        self._numbers = itertools.count()
        #: token of a message -> what is to be acknowledged when the server has it
        self._waiting: dict[str, str] = {}
        self._room = asyncio.Event()

    async def open(self) -> None:
        await self._connection.subscribe(self._prefix + "*", cb=self._on_ack)

    async def send(self, subject: str, data: bytes, then_ack: str = "") -> None:
        """Returns at once, unless too many acknowledgements are outstanding."""
        number = next(self._numbers)
        self._waiting[str(number)] = then_ack
        await self._connection.publish(subject, data, reply=f"{self._prefix}{number}")
        if number % _BREATH == 0:
            await asyncio.sleep(0)
        while len(self._waiting) >= IN_FLIGHT:
            self._room.clear()
            await self._room.wait()

    async def _on_ack(self, msg: Msg) -> None:
        if b'"error"' in msg.data or not msg.data:
            raise RuntimeError(f"a message was refused: {msg.data!r}")
        reply = self._waiting.pop(msg.subject[len(self._prefix) :])
        if reply:
            await self._connection.publish(reply, b"+ACK")
        self._room.set()


class Puller:
    """Messages of a consumer as they come, each time all that are there."""

    def __init__(self, connection: Nats, stream: str) -> None:
        self._connection, self._stream = connection, stream
        self._name = "workers" if stream == WORK else f"{stream}-{os.getpid()}"
        self._inbox = connection.new_inbox()
        self._come: list[Msg] = []
        self._arrived = asyncio.Event()
        self._wanted = 0

    async def open(self) -> None:
        queue = self._stream == WORK
        config = ConsumerConfig(
            durable_name=self._name,
            ack_policy=AckPolicy.EXPLICIT if queue else AckPolicy.NONE,
            deliver_policy=DeliverPolicy.ALL,
            max_ack_pending=10_000 if queue else None,
        )
        await self._connection.jetstream().add_consumer(self._stream, config)
        await self._connection.subscribe(self._inbox, cb=self._on_message)

    async def batches(self) -> AsyncIterator[list[Msg]]:
        while True:
            if self._wanted < PULL // 2:
                await self._ask(PULL - self._wanted)
            self._arrived.clear()
            batch, self._come = self._come, []
            if batch:
                yield batch
            else:
                await self._arrived.wait()

    async def _ask(self, count: int) -> None:
        request = json.dumps({"batch": count, "expires": _PULL_SECONDS * 1_000_000_000}).encode()
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._name}"
        await self._connection.publish(subject, request, reply=self._inbox)
        self._wanted += count

    async def _on_message(self, msg: Msg) -> None:
        if msg.headers and not msg.data:  # a request has run out
            self._wanted = max(self._wanted - int(msg.headers.get("Nats-Pending-Messages", 0)), 0)
        else:
            self._wanted -= 1
            self._come.append(msg)
        self._arrived.set()


async def connect() -> tuple[Nats, Publisher]:
    """A connection, its publisher, and the streams."""
    connection = await nats.connect(os.environ["PEER_NATS"], pending_size=64 * 1024 * 1024)
    for stream, subject in SUBJECTS.items():
        retention = RetentionPolicy.WORK_QUEUE if stream == WORK else RetentionPolicy.LIMITS
        await connection.jetstream().add_stream(StreamConfig(name=stream, subjects=[subject], retention=retention))
    publisher = Publisher(connection)
    await publisher.open()
    return connection, publisher


# ---- coordinator and worker -----------------------------------------------------------------------------------------


class Counting:
    """What is left to do of each run."""

    def __init__(self) -> None:
        #: run -> items that have not come back, steps after them, sum of the values, what a task adds
        self._runs: dict[str, list[int]] = {}

    def take(self, data: bytes, ready: list[Item], ended: list[tuple[str, int]]) -> None:
        event = _event.decode(data)
        if isinstance(event, Submission):
            self._runs[event.run] = [event.items, event.steps - 1, 0, event.add]
            ready += [(event.run, event.first + i, event.add) for i in range(event.items)]
            return
        for run, value in event.values:
            state = self._runs[run]
            state[0] -= 1
            state[2] += value
            if state[0]:
                continue
            if state[1]:
                ready.append((run, state[2], state[3]))
                state[:3] = [1, state[1] - 1, 0]
            else:
                ended.append((run, state[2]))
                del self._runs[run]


async def coordinate() -> None:
    connection, publisher = await connect()
    inbox, counting = Puller(connection, INBOX), Counting()
    await inbox.open()
    async for batch in inbox.batches():
        ready: list[Item] = []
        ended: list[tuple[str, int]] = []
        for msg in batch:
            counting.take(msg.data, ready, ended)
        for first in range(0, len(ready), BUNDLE):
            await publisher.send("floor.work", _pack(ready[first : first + BUNDLE]))
        for run, value in ended:
            await publisher.send(f"floor.result.{run}", _pack((run, value)))


async def work() -> None:
    """A bundle is acknowledged when the inbox has its results."""
    connection, publisher = await connect()
    bundles = Puller(connection, WORK)
    await bundles.open()
    async for batch in bundles.batches():
        for msg in batch:
            values = [(run, task(value, add)) for run, value, add in _bundle.decode(msg.data)]
            await publisher.send("floor.inbox", _pack(Results(values)), then_ack=msg.reply)


def task(value: int, add: int) -> int:
    return value + add


# ---- client ---------------------------------------------------------------------------------------------------------


class Client:
    """Submits runs, and reads their results from the stream where they are stored."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._found: dict[str, int] = {}
        self._wanted = 0
        self._all_there = asyncio.Event()

    async def open(self) -> None:
        connection, self._publisher = await connect()
        self._results = Puller(connection, RESULT)
        await self._results.open()
        self._reading = asyncio.create_task(self._read())

    async def run(self, submissions: list[Submission]) -> int:
        """The sum of their results."""
        self._found, self._wanted = {}, len(submissions)
        self._all_there.clear()
        for submission in submissions:
            await self._publisher.send("floor.inbox", _pack(submission))
        await self._all_there.wait()
        return sum(self._found.values())

    def submission(self, first: int = 0, items: int = 1, steps: int = 1, add: int = 0) -> Submission:
        return Submission(f"{os.getpid()}-{next(self._numbers)}", first, items, steps, add)

    async def _read(self) -> None:
        async for batch in self._results.batches():
            for msg in batch:
                run, value = msgspec.msgpack.decode(msg.data)
                self._found[run] = value
            if len(self._found) == self._wanted:
                self._all_there.set()


_runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
_client: Client | None = None


def timed(make: Callable[[Client], list[Submission]], expected: int, rounds: int, per: int) -> Done:
    """The connection is kept from job to job."""

    async def prepare() -> Client:
        global _client
        if _client is None:
            _client = Client()
            await _client.open()
        return _client

    client = _runner.run(prepare())
    return series(lambda: check("floor", _runner.run(client.run(make(client))), expected), rounds, per)


def single(count: int) -> Done:
    total = count * (count - 1) // 2
    return timed(lambda client: [client.submission(first=i) for i in range(count)], total, 1, count)


def chains(count: int) -> Done:
    return timed(lambda client: [client.submission(steps=STEPS, add=1)], STEPS, count, STEPS)


def chords(count: int) -> Done:
    total = count * (count - 1) // 2
    return timed(lambda client: [client.submission(items=count, steps=2)], total, 1, count + 1)


def rounds(count: int) -> Done:
    return timed(lambda client: [client.submission(first=7)], 7, count, 1)


JOBS = {"single": single, "chain": chains, "chord": chords, "round": rounds}
ROLES: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {"coordinator": coordinate, "worker": work}


# ---- on its own -----------------------------------------------------------------------------------------------------


def main() -> None:
    if len(sys.argv) == 2 and sys.argv[1] in ROLES:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(ROLES[sys.argv[1]]())
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=20_000, help="single tasks (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="times each job runs (default: %(default)s)")
    options = parser.parse_args()
    counts = {"single": options.tasks, "chain": 10, "chord": 5_000, "round": 300}
    report = Report(facts(["floor"], Path()), counts)
    for job, count in counts.items():
        for _ in range(options.repeat):
            report.add("floor", job, measure(SYSTEMS["floor"], job, count, Path()))
    print(report.text())


if __name__ == "__main__":
    main()
