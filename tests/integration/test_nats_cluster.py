"""The NATS transport on three servers that replicate: the port's promises, and a server that dies."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio
from flowrun import names
from flowrun.errors import Fenced
from flowrun.nats.transport import NatsTransport
from flowrun.settings import Settings

from tests.support.cluster import Cluster
from tests.unit.transport_conformance import CHECKS, SETTINGS, Check, take

pytestmark = pytest.mark.asyncio(loop_scope="module")

_environments = count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[Cluster]:
    with tempfile.TemporaryDirectory() as folder:
        async with Cluster(Path(folder)) as cluster:
            yield cluster


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_conformance(check: Check, cluster: Cluster) -> None:
    settings = replace(SETTINGS, env=f"test{next(_environments)}", replicas=3)
    connections: list[NatsTransport] = []

    async def connect() -> NatsTransport:
        connections.append(await NatsTransport.connect(cluster.url, settings))
        return connections[-1]

    try:
        await check(connect)
    finally:
        for connection in connections:
            await connection.close()


async def lead_and_append(transport: NatsTransport, count: int) -> None:
    """A leader dispatches, a client appends, runs end, a lease is renewed."""
    fence = await transport.fence("p")
    revision = await transport.write_entry("lease.p", b"0", 0)
    for i in range(count):
        await asyncio.gather(
            *(transport.append("p", b"%d" % (10 * i + j), f"a{i}-{j}") for j in range(10)),
            *(transport.dispatch("g", "default", 5, "p", b"%d" % (10 * i + j), f"b{i}-{j}", fence) for j in range(10)),
            transport.put_results([(f"r{i}-{j}", b"%d" % j) for j in range(10)], 60),
        )
        revision = await transport.write_entry("lease.p", b"%d" % i, revision)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("stream", ["inbox", "work"])
async def test_the_leader_of_a_stream_dies(cluster: Cluster, sign: signal.Signals, stream: str) -> None:
    """Everything that was acknowledged is there, once; and it goes on soon."""
    settings = Settings(env=f"test{next(_environments)}", replicas=3, reconnect_wait=0.05, answer_timeout=1.0)
    transport = await NatsTransport.connect(cluster.url, settings)
    await transport.open_partition("p")
    reading = asyncio.create_task(take(transport, "p", 0, 300))
    working = asyncio.create_task(lead_and_append(transport, 30))
    await asyncio.sleep(0.05)
    name = names.inbox_stream(settings.env, "p") if stream == "inbox" else names.work_stream(settings.env)
    leader = await cluster.leader_of(name)
    start = time.monotonic()
    if sign == signal.SIGKILL:
        leader.kill(sign)
    else:
        leader.pause()
    try:
        async with asyncio.timeout(40):
            await working
            records = await reading
        assert time.monotonic() - start < 30
        assert sorted(int(r.data) for r in records) == list(range(300))
        assert sorted(map(int, await transport.standing_work("p"))) == list(range(300))
        assert await transport.get_result("r29-9") == b"9"
        entry = await transport.read_entry("lease.p")
        assert entry is not None
        assert entry.data == b"29"
    finally:
        if sign == signal.SIGKILL:
            leader.start()
        else:
            leader.resume()
        await cluster.healthy()
        await transport.close()


async def test_many_bundles_of_several_partitions(cluster: Cluster) -> None:
    settings = Settings(env=f"test{next(_environments)}", replicas=3)
    transport, other = [await NatsTransport.connect(cluster.url, settings) for _ in range(2)]
    partitions = [str(i) for i in range(4)]
    await asyncio.gather(*(transport.open_partition(p) for p in partitions))
    fences = {p: await transport.fence(p) for p in partitions}
    await asyncio.gather(
        *(transport.dispatch("g", "l", 5, p, b"%d" % i, f"{p} {i}", fences[p]) for p in partitions for i in range(600))
    )
    for p in partitions:
        assert sorted(map(int, await other.standing_work(p))) == list(range(600))
    # the same again is not written again
    await asyncio.gather(*(transport.dispatch("g", "l", 5, "0", b"%d" % i, f"0 {i}", fences["0"]) for i in range(605)))
    assert sorted(map(int, await other.standing_work("0"))) == list(range(605))
    await other.fence("1")
    ended = await asyncio.gather(
        *(transport.dispatch("g", "l", 5, "1", b"x", f"new {i}", fences["1"]) for i in range(5)), return_exceptions=True
    )
    assert all(isinstance(error, Fenced) for error in ended)
    await transport.close()
    await other.close()
