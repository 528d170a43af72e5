"""How fast the transport is: `python benchmarks/transport_speed.py [--profile durable] [--messages 50000]`.

Each row is measured on a server of its own run, on one connection, first as nats-py does it and then as the runtime
does. Rates are messages per second of wall-clock time; the last column is the client's processor time per message.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import nats
import uvloop
from flowrun.nats.transport import NatsTransport
from flowrun.server import EmbeddedServer
from flowrun.settings import Settings
from nats.js.api import ConsumerConfig, RetentionPolicy, StreamConfig

PAYLOAD = bytes(200)
#: as many as wait for the server at the same time
AT_ONCE = 1_000
BATCH = 500


@dataclass(frozen=True)
class Rate:
    """What was measured."""

    name: str
    #: seconds by the clock, and of the client's processor time
    seconds: float
    cpu: float
    messages: int

    def line(self, baseline: Rate | None) -> str:
        rate = self.messages / self.seconds
        times = f"{rate / (baseline.messages / baseline.seconds):5.1f}×" if baseline else "      "
        return f"  {self.name:<44} {rate:>11,.0f}/s {times} {self.cpu / self.messages * 1e6:>8.1f} µs"


async def measured(name: str, messages: int, work: Callable[[], Awaitable[object]]) -> Rate:
    start, cpu = time.perf_counter(), time.process_time()
    await work()
    return Rate(name, time.perf_counter() - start, time.process_time() - cpu, messages)


async def windowed(count: int, one: Callable[[int], Awaitable[object]], at_once: int = AT_ONCE) -> None:
    """So many are on their way all the time."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await one(number)

    await asyncio.gather(*(worker() for _ in range(at_once)))


async def latency(name: str, one: Callable[[int], Awaitable[object]], count: int = 2_000) -> str:
    took = []
    for i in range(count):
        start = time.perf_counter()
        await one(i)
        took.append((time.perf_counter() - start) * 1e3)
    took.sort()
    return f"  {name:<44} p50 {took[count // 2]:.3f} ms   p99 {took[count * 99 // 100]:.3f} ms"


async def as_nats_py(url: str, count: int, durable: bool) -> tuple[dict[str, Rate], list[str]]:
    """The same work with nats-py's own means."""
    client = await nats.connect(url)
    js = client.jetstream(publish_async_max_pending=AT_ONCE + 1)
    await js.add_stream(StreamConfig(name="E", subjects=["e"]))
    await js.add_stream(StreamConfig(name="W", subjects=["w.>"], retention=RetentionPolicy.WORK_QUEUE))
    await js.add_stream(StreamConfig(name="R", subjects=["r.>"], max_msgs_per_subject=1, allow_msg_ttl=True))

    async def published(subject: str, headers: dict[str, str]) -> None:
        await (await js.publish_async(subject, PAYLOAD, headers=headers))

    async def fetched(stream: str, acknowledged: bool) -> None:
        config = ConsumerConfig(ack_policy="explicit" if acknowledged else "none")  # type: ignore[arg-type]
        source = await js.pull_subscribe("", "c", stream, config=config)
        got = 0
        while got < count:
            for message in await source.fetch(BATCH, timeout=5):
                got += 1
                if acknowledged:
                    await message.ack()

    rates = {
        "append": await measured(
            "nats-py: publish_async", count, lambda: windowed(count, lambda i: published("e", {"Nats-Msg-Id": str(i)}))
        ),
        "read": await measured("nats-py: fetch", count, lambda: fetched("E", False)),
        "dispatch": await measured(
            "nats-py: publish_async",
            count,
            lambda: windowed(count, lambda i: published("w.g", {"Nats-Msg-Id": f"w{i}"})),
        ),
        "receive": await measured("nats-py: fetch, acknowledge", count, lambda: fetched("W", True)),
        "put_results": await measured(
            "nats-py: publish_async",
            count,
            lambda: windowed(count, lambda i: published(f"r.{i}", {"Nats-TTL": "3600s"})),
        ),
    }  # fmt: skip
    times = [await latency("nats-py: publish, one after the other", lambda i: js.publish("e", PAYLOAD))]
    await client.close()
    return rates, times


async def as_the_runtime(url: str, count: int, durable: bool) -> tuple[dict[str, Rate], list[str]]:
    settings = Settings(env="speed", ack_wait=60, durable=durable)
    transport, other = await NatsTransport.connect(url, settings), await NatsTransport.connect(url, settings)
    await transport.open_partition("0")
    fence = await transport.fence("0")

    async def read(after: int, most: int) -> None:
        async for batch in transport.read("0", after):
            most -= len(batch)
            if most <= 0:
                return

    async def received() -> None:
        source = await transport.work("nodes", ("default",))
        got = 0
        while got < count:
            for delivery in await source.receive(BATCH):
                got += 1
                await delivery.ack()
        await source.close()

    async def hop(i: int) -> None:
        """One event to a reader on another connection."""
        seen = asyncio.ensure_future(anext(live))
        await transport.append("0", PAYLOAD, f"hop {i}")
        await seen

    def dispatched(i: int) -> Awaitable[object]:
        return transport.dispatch("nodes", "default", 5, "0", PAYLOAD, f"b{i}", fence)

    rates = {
        "append": await measured(
            "flowrun: append", count, lambda: windowed(count, lambda i: transport.append("0", PAYLOAD, str(i)))
        ),
        "read": await measured("flowrun: read", count, lambda: read(0, count)),
        "dispatch": await measured("flowrun: dispatch, fenced", count, lambda: windowed(count, dispatched)),
        "receive": await measured("flowrun: receive, acknowledge", count, received),
        "put_results": await measured(
            "flowrun: put_results",
            count,
            lambda: windowed(
                count // BATCH,
                lambda b: transport.put_results([(f"run{b * BATCH + i}", PAYLOAD) for i in range(BATCH)], 3600),
                4,
            ),
        ),
    }
    times = [await latency("flowrun: append, one after the other", lambda i: transport.append("0", PAYLOAD, f"l{i}"))]
    times.append(await latency("flowrun: put_results of one", lambda i: transport.put_results([(f"x{i}", b"")], 60)))
    times.append(await latency("flowrun: dispatch, one after the other", lambda i: dispatched(count + i)))
    live = other.read("0", (await other.inbox("0")).last_seq)
    times.append(await latency("flowrun: append until it is read elsewhere", hop))
    await live.aclose()  # type: ignore[attr-defined]
    await transport.close()
    await other.close()
    return rates, times


async def main(count: int, durable: bool) -> None:
    print(f"{count:,} messages of {len(PAYLOAD)} bytes, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, "
          f"profile {'durable' if durable else 'fast'}")  # fmt: skip
    rates, times = [], []
    for run in (as_nats_py, as_the_runtime):
        with tempfile.TemporaryDirectory() as folder:
            async with EmbeddedServer(Path(folder), durable=durable) as server:
                found, took = await run(server.url, count, durable)
                rates.append(found)
                times += took
    for work, before in rates[0].items():
        print(work)
        print(before.line(None))
        print(rates[1][work].line(before))
    print("round trips", *times, sep="\n")
    print(f"load at the end {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--profile", choices=("fast", "durable"), default="fast")
    given = parser.parse_args()
    uvloop.run(main(given.messages, given.profile == "durable"))
