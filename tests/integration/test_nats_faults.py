"""What servers and networks do to the NATS transport: it goes on where it can, and says so where something was lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flowrun.errors import Fenced, StoreError, TransportError, ValueTooLarge
from flowrun.nats.transport import NatsTransport
from flowrun.settings import Settings

from tests.support.cluster import Server
from tests.support.proxy import Proxy
from tests.unit.transport_conformance import take

#: of these tests: everything is noticed soon
SETTINGS = Settings(reconnect_wait=0.05, answer_timeout=1.0, ack_wait=1.0)
#: what is written at the same time goes together
TOGETHER = replace(SETTINGS, durable=True, sync_together=3)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, "one", free_port())
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    async with Proxy(server.port) as proxy:
        yield proxy


async def connect(url: str, settings: Settings = SETTINGS) -> NatsTransport:
    """Waits for the server to answer, and opens a partition."""
    async with asyncio.timeout(10):
        while True:
            try:
                transport = await NatsTransport.connect(url, settings)
                break
            except TransportError:
                await asyncio.sleep(0.01)
    await transport.open_partition("p")
    return transport


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def appends_through(fault: Callable[[], Awaitable[None]], transport: NatsTransport) -> None:
    """Appends, results and a reader live through a fault; each message is there once."""
    reading = asyncio.create_task(take(transport, "p", 0, 300))
    appends = [asyncio.create_task(transport.append("p", b"%d" % i, f"a{i}")) for i in range(150)]
    results = asyncio.create_task(transport.put_results([(f"r{i}", b"%d" % i) for i in range(3_000)], 60))
    await appends[0]
    await fault()
    appends += [asyncio.create_task(transport.append("p", b"%d" % i, f"a{i}")) for i in range(150, 300)]
    async with asyncio.timeout(20):
        await asyncio.gather(*appends, results)
        records = await reading
    assert sorted(int(r.data) for r in records) == list(range(300))
    assert await transport.get_result("r0") == b"0"
    assert await transport.get_result("r2999") == b"2999"


# ---- connections ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [SETTINGS, TOGETHER], ids=["fast", "durable"])
async def test_a_connection_that_is_cut_again_and_again(proxy: Proxy, settings: Settings) -> None:
    transport = await connect(proxy.url, settings)

    async def fault() -> None:
        for _ in range(5):
            await proxy.cut()
            await asyncio.sleep(0.1)

    await appends_through(fault, transport)
    assert proxy.accepted > 3
    await transport.close()


@pytest.mark.parametrize("error", ["User Authentication Expired", "Stale Connection", "Maximum Connections Exceeded"])
async def test_a_server_that_ends_the_connection_with_an_error(proxy: Proxy, error: str) -> None:
    """nats-py gives up for good then: another client takes its place."""
    transport = await connect(proxy.url)
    source = await transport.work("g", ("default",))
    notes = await transport.listen("to", "me")
    told: list[str] = []
    transport.on_reconnect.append(lambda: told.append("again"))

    async def fault() -> None:
        await proxy.say(f"-ERR '{error}'\r\n".encode())

    await appends_through(fault, transport)
    assert told
    await transport.notify("to", "me", b"note")
    async with asyncio.timeout(5):
        assert await anext(notes) == b"note"
        await transport.dispatch("g", "default", 5, "p", b"bundle", "b", await transport.fence("p"))
        [delivery] = await source.receive(1)
    assert delivery.data == b"bundle"
    await source.close()
    await transport.close()


async def test_a_server_that_refuses_for_a_while(proxy: Proxy) -> None:
    transport = await connect(proxy.url)

    async def fault() -> None:
        proxy.refuse = True
        await proxy.say(b"-ERR 'Authorization Violation'\r\n")
        await asyncio.sleep(0.5)
        proxy.refuse = False

    await appends_through(fault, transport)
    await transport.close()


async def test_a_line_that_goes_silent(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """No end of the connection, no word: the client leaves it, and also does not wait for what it cannot send."""
    monkeypatch.setattr("flowrun.nats.line._WATCH_SECONDS", 0.05)
    transport = await connect(proxy.url)
    before = proxy.accepted

    async def fault() -> None:
        proxy.stalled = True
        for i in range(20):
            await transport.put_log("run", bytes(1_000_000 + i))
        await asyncio.sleep(0.8)
        proxy.stalled = False

    await appends_through(fault, transport)
    assert proxy.accepted > before
    await transport.close()


async def test_a_server_that_is_paused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowrun.nats.line._WATCH_SECONDS", 0.05)
    transport = await connect(server.url)

    async def fault() -> None:
        server.pause()
        await asyncio.sleep(1.0)
        server.resume()

    await appends_through(fault, transport)
    await transport.close()


@pytest.mark.parametrize("settings", [SETTINGS, TOGETHER], ids=["fast", "durable"])
async def test_a_server_that_is_killed(server: Server, settings: Settings) -> None:
    transport = await connect(server.url, settings)

    async def fault() -> None:
        for _ in range(2):
            server.kill(signal.SIGKILL)
            await asyncio.sleep(0.1)
            server.start()
            await asyncio.sleep(0.2)

    await appends_through(fault, transport)
    start = time.perf_counter()
    server.kill(signal.SIGKILL)
    server.start()
    await transport.append("p", b"after", "after")
    assert time.perf_counter() - start < 2
    await transport.close()


async def test_a_server_with_no_place_left(tmp_path: Path) -> None:
    server = Server(tmp_path, "one", free_port(), more="max_connections: 1\n")
    server.start()
    transport = await connect(server.url)
    try:
        server.kill()
        server.start()
        other = None
        while other is None:
            try:
                _, other = await asyncio.open_connection("127.0.0.1", server.port)
            except OSError:
                await asyncio.sleep(0)
        waiting = asyncio.create_task(transport.append("p", b"x", "1"))
        await asyncio.sleep(0.5)
        other.close()
        async with asyncio.timeout(10):
            await waiting
    finally:
        await transport.close()
        server.kill()


# ---- work over a reconnect ------------------------------------------------------------------------------------------


async def test_bundles_after_a_reconnect_are_fresh_for_a_while(server: Server) -> None:
    transport = await connect(server.url)
    fence = await transport.fence("p")
    source = await transport.work("g", ("default",))

    async def next_is_fresh(key: str) -> bool:
        await transport.dispatch("g", "default", 5, "p", b"x", key, fence)
        async with asyncio.timeout(5):
            [delivery] = await source.receive(1)
        await delivery.ack()
        return delivery.fresh

    assert not await next_is_fresh("1")
    server.kill(signal.SIGKILL)
    server.start()
    assert await next_is_fresh("2")
    await asyncio.sleep(SETTINGS.ack_wait)
    assert not await next_is_fresh("3")
    await source.close()
    await transport.close()


async def test_a_fence_lives_through_a_killed_server(server: Server) -> None:
    transport = await connect(server.url)
    old = await transport.fence("p")
    await transport.dispatch("g", "default", 5, "p", b"1", "1", old)
    new = await transport.fence("p")
    server.kill(signal.SIGKILL)
    server.start()
    with pytest.raises(Fenced):
        await transport.dispatch("g", "default", 5, "p", b"2", "2", old)
    await transport.dispatch("g", "default", 5, "p", b"3", "3", new)
    assert await transport.standing_work("p") == [b"1", b"3"]
    await transport.close()


# ---- a store that is lost -------------------------------------------------------------------------------------------


async def test_a_server_that_loses_its_store(server: Server) -> None:
    transport = await connect(server.url)
    source = await transport.work("g", ("default",))
    before = await transport.inbox("p")
    for i in range(5):
        await transport.append("p", b"%d" % i, str(i))
    fence = await transport.fence("p")
    reading = asyncio.create_task(take(transport, "p", 0, 100))
    await asyncio.sleep(0.1)
    server.kill(signal.SIGKILL)
    shutil.rmtree(server.folder / "store")
    server.start()
    with pytest.raises(StoreError, match=r"FLOW_dev_INBOX_p is missing .*was it deleted"):
        async with asyncio.timeout(10):
            await reading
    with pytest.raises(StoreError, match="no partition p"):
        await transport.inbox("p")
    with pytest.raises(StoreError, match="is missing"):
        await transport.read_entry("lease.p")
    await transport.open_partition("p")
    after = await transport.inbox("p")
    assert after.created != before.created
    assert (after.first_seq, after.last_seq) == (0, 0)
    with pytest.raises(Fenced):
        await transport.dispatch("g", "default", 5, "p", b"old", "old", fence)
    assert await transport.append("p", b"new", "0") == 1
    assert [r.data for r in await take(transport, "p", 0, 1)] == [b"new"]
    await transport.dispatch("g", "default", 5, "p", b"bundle", "b", await transport.fence("p"))
    async with asyncio.timeout(10):
        [delivery] = await source.receive(1)
    assert delivery.data == b"bundle"
    assert await transport.write_entry("lease.p", b"me", 0) > 0
    await transport.put_results([("a", b"1"), ("b", b"2")], 60)
    assert await transport.get_result("b") == b"2"
    await source.close()
    await transport.close()


async def test_workers_make_what_a_lost_store_took(server: Server) -> None:
    """Without a coordinator that opens the partition."""
    worker, leader = await connect(server.url), await connect(server.url)
    source = await worker.work("g", ("default",))
    receiving = asyncio.create_task(source.receive(1))
    await asyncio.sleep(0.05)
    server.kill(signal.SIGKILL)
    shutil.rmtree(server.folder / "store")
    server.start()
    await leader.open_partition("p")
    await leader.dispatch("g", "default", 5, "p", b"bundle", "b", await leader.fence("p"))
    async with asyncio.timeout(10):
        assert [d.data for d in await receiving] == [b"bundle"]
    await source.close()
    await worker.close()
    await leader.close()


async def test_a_reader_of_an_inbox_that_was_made_anew(server: Server, proxy: Proxy) -> None:
    """It is told so, although the new inbox goes further than the old one did."""
    transport, other = await connect(proxy.url), await connect(server.url)
    for i in range(5):
        await transport.append("p", b"%d" % i, str(i))
    reading = asyncio.create_task(take(transport, "p", 0, 100))
    await asyncio.sleep(0.1)
    proxy.refuse = True
    await proxy.cut()
    await other.drop_partition("p")
    await other.open_partition("p")
    for i in range(20):
        await other.append("p", b"new %d" % i, f"n{i}")
    proxy.refuse = False
    with pytest.raises(StoreError, match="was made anew"):
        async with asyncio.timeout(10):
            await reading
    await transport.close()
    await other.close()


async def test_a_store_that_was_put_back_to_an_earlier_state(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowrun.nats.reading._CATCH_UP", 0.2)
    transport = await connect(server.url)
    await transport.append("p", b"1", "1")
    server.kill(signal.SIGTERM)
    shutil.copytree(server.folder / "store", server.folder / "copy")
    server.start()
    await transport.append("p", b"2", "2")
    reading = asyncio.create_task(take(transport, "p", 0, 100))
    await asyncio.sleep(0.2)
    server.kill(signal.SIGTERM)
    shutil.rmtree(server.folder / "store")
    shutil.copytree(server.folder / "copy", server.folder / "store")
    server.start()
    with pytest.raises(StoreError, match="lost messages of FLOW_dev_INBOX_p: it ends at 1, and 2 was read"):
        async with asyncio.timeout(10):
            await reading
    await transport.close()


async def test_a_store_that_is_full(tmp_path: Path) -> None:
    server = Server(tmp_path, "one", free_port())
    config = tmp_path / "nats.conf"
    config.write_text(config.read_text().replace('/store"', '/store", max_file_store: 2MB'))
    server.start()
    transport = await connect(server.url)
    try:
        records = [(f"r{i}", os.urandom(10_000)) for i in range(300)]
        with pytest.raises(StoreError, match=r"does not take more .*free disk space"):
            await transport.put_results(records, 60)
        with pytest.raises(StoreError, match="does not take more"):
            await transport.append("p", os.urandom(500_000), "1")
    finally:
        await transport.close()
        server.kill()


async def test_what_is_too_large_for_the_server(server: Server) -> None:
    transport = await connect(server.url)
    fence = await transport.fence("p")
    large = bytes(9_000_000)
    told: list[str] = []
    transport.on_reconnect.append(lambda: told.append("again"))
    for attempt in (
        transport.append("p", large, "1"),
        transport.append_at("p", "later", large, 0),
        transport.dispatch("g", "default", 5, "p", large, "1", fence),
        transport.put_results([("a", b""), ("b", large)], 60),
        transport.write_entry("lease.p", large, 0),
    ):
        with pytest.raises(ValueTooLarge, match=r"9,000,000 bytes"):
            await attempt
    await transport.put_log("run", large)
    await transport.notify("to", "me", large)
    assert await transport.append("p", b"the connection lives", "2") == 1
    assert not told, "the server ended the connection"
    await transport.close()
