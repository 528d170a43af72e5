"""The NATS transport keeps the port's promises, and a lost, denied or full server is told in one clear error."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import nats
import pytest
from flowrun import names
from flowrun.errors import StoreError, TransportError, ValueTooLarge
from flowrun.nats.transport import NatsTransport
from flowrun.server import EmbeddedServer, find_nats_server
from flowrun.settings import Settings

from tests.unit.transport_conformance import CHECKS, SETTINGS, Check, digest, take

_environments = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path_factory.mktemp("flow"))
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_conformance(check: Check, server: EmbeddedServer) -> None:
    await conforms(check, server, SETTINGS)


#: those that write much at the same time
TOGETHER = [
    check
    for check in CHECKS
    if any(word in check.__name__ for word in ("reader_sees", "written_once", "many", "standing", "fence"))
]


@pytest.mark.parametrize("check", TOGETHER, ids=lambda check: check.__name__)
async def test_conformance_of_what_is_written_together(check: Check, server: EmbeddedServer) -> None:
    """As it is for a server that syncs each write."""
    await conforms(check, server, replace(SETTINGS, durable=True, sync_together=3))


async def conforms(check: Check, server: EmbeddedServer, settings: Settings) -> None:
    settings = replace(settings, env=f"test{next(_environments)}")
    connections: list[NatsTransport] = []

    async def connect() -> NatsTransport:
        connections.append(await NatsTransport.connect(server.url, settings))
        return connections[-1]

    try:
        await check(connect)
    finally:
        for connection in connections:
            await connection.close()


@pytest.fixture
async def transport(server: EmbeddedServer) -> AsyncIterator[NatsTransport]:
    transport = await NatsTransport.connect(server.url, Settings(env=f"test{next(_environments)}"))
    await transport.open_partition("p")
    yield transport
    await transport.close()


# ---- a server that goes away ----------------------------------------------------------------------------------------


class Restartable:
    """A nats-server on a fixed port, to be killed and started again."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.folder, self.more = folder, more
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = ["-a", "127.0.0.1", "-p", str(self.port), *self.more]
        self.process = subprocess.Popen(
            [str(find_nats_server()), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.01)
        raise AssertionError("the server did not start")

    def stop(self, sign: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(sign)
            self.process.wait()
            self.process = None


@pytest.fixture
def restartable(tmp_path: Path) -> Iterator[Restartable]:
    server = Restartable(tmp_path, "-js", "-sd", str(tmp_path / "store"))
    server.start()
    yield server
    server.stop()


async def test_nothing_is_lost_over_a_killed_server(restartable: Restartable) -> None:
    """Appends in flight, a reader and a worker live through kill -9 of the server; each key is there once."""
    settings = Settings(reconnect_wait=0.05, answer_timeout=1.0)
    transport = await NatsTransport.connect(restartable.url, settings)
    await transport.open_partition("p")
    source = await transport.work("g", ("default",))
    receiving = asyncio.create_task(source.receive(1))
    reading = asyncio.create_task(take(transport, "p", 0, 600))
    for round_ in range(3):
        appends = [asyncio.create_task(transport.append("p", b"%d" % i, f"{round_} {i}")) for i in range(200)]
        await asyncio.sleep(0.005)
        restartable.stop(signal.SIGKILL)
        await asyncio.sleep(0.1)
        restartable.start()
        await asyncio.gather(*appends)
    async with asyncio.timeout(20):
        records = await reading
    assert [int(r.data) % 200 for r in sorted(records, key=lambda r: int(r.data))] == sorted(list(range(200)) * 3)
    assert [r.seq for r in records] == list(range(1, 601))
    await transport.dispatch("g", "default", 5, "p", b"after all", "w", await transport.fence("p"))
    async with asyncio.timeout(20):
        assert [d.data for d in await receiving] == [b"after all"]
    await source.close()
    await transport.close()


async def test_a_server_that_stays_away_is_told(restartable: Restartable) -> None:
    settings = Settings(reconnect_wait=0.05, answer_timeout=0.3, patience=0.6)
    transport = await NatsTransport.connect(restartable.url, settings)
    await transport.open_partition("p")
    restartable.stop()
    with pytest.raises(TransportError, match=f"{restartable.url} does not answer"):
        await transport.append("p", b"x", "1")
    with pytest.raises(TransportError, match=f"{restartable.url} does not answer"):
        await transport.get_result("r")
    await transport.close()


async def test_a_url_that_does_not_answer_fails_fast() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    start = time.perf_counter()
    with pytest.raises(TransportError, match=f"no NATS server answers at nats://127.0.0.1:{port} .*check the URL"):
        await NatsTransport.connect(f"nats://user:secret@127.0.0.1:{port}")
    assert time.perf_counter() - start < 2


async def test_a_port_that_is_silent_fails_within_its_time() -> None:
    settings = Settings(connect_timeout=0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.perf_counter()
        with pytest.raises(TransportError, match="no NATS server answers") as caught:
            await NatsTransport.connect(f"nats://u:secret@127.0.0.1:{silent.getsockname()[1]}", settings)
        assert time.perf_counter() - start < 2
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["nats://127.0.0.1:not-a-port", "nats://", "http://127.0.0.1:1"])
async def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(TransportError, match="check the URL"):
        await NatsTransport.connect(url)


async def test_an_old_server(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowrun.nats.connection.MINIMUM_SERVER", (99, 0))
    with pytest.raises(TransportError, match=r"runs nats-server 2\.\d+\.\d+, and 99\.0 or later is needed"):
        await NatsTransport.connect(server.url)


async def test_a_server_without_jetstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowrun.nats.connection._NO_RESPONDERS_PATIENCE", 0.3)
    server = Restartable(tmp_path)
    server.start()
    try:
        transport = await NatsTransport.connect(server.url)
        with pytest.raises(TransportError, match=r"JetStream is not enabled .*nats-server -js"):
            await transport.open_partition("p")
        await transport.close()
    finally:
        server.stop()


async def test_a_wrong_password_and_a_missing_permission(tmp_path: Path) -> None:
    config = tmp_path / "server.conf"
    config.write_text(
        'authorization { users = [ {user: "a", password: "b", permissions: {publish: ["nothing"]}} ] }\n'
        f'jetstream {{ store_dir: "{tmp_path / "store"}" }}\n'
    )
    server = Restartable(tmp_path, "-c", str(config))
    server.start()
    try:
        with pytest.raises(TransportError, match="does not accept this user"):
            await NatsTransport.connect(f"nats://a:wrong@127.0.0.1:{server.port}")
        settings = Settings(answer_timeout=0.5)
        transport = await NatsTransport.connect(f"nats://a:b@127.0.0.1:{server.port}", settings)
        with pytest.raises(TransportError, match=r"denies this user .*permissions violation for publish"):
            await transport.open_partition("p")
        with pytest.raises(TransportError, match="denies this user"):
            await transport.append("p", b"x", "1")
        await transport.close()
    finally:
        server.stop()


async def test_a_store_that_is_full_is_told(tmp_path: Path) -> None:
    config = tmp_path / "server.conf"
    config.write_text(f'jetstream {{ store_dir: "{tmp_path / "store"}", max_file_store: 1MB }}\n')
    server = Restartable(tmp_path, "-c", str(config))
    server.start()
    try:
        transport = await NatsTransport.connect(server.url)
        await transport.open_partition("p")
        with pytest.raises(StoreError, match=r"does not take more .*free disk space"):
            await asyncio.gather(*(transport.append("p", os.urandom(100_000), str(i)) for i in range(20)))
        await transport.close()
    finally:
        server.stop()


# ---- limits ---------------------------------------------------------------------------------------------------------


async def test_a_message_that_is_too_large(transport: NatsTransport) -> None:
    with pytest.raises(ValueTooLarge, match=r"9,000,000 bytes .*max_payload"):
        await transport.append("p", bytes(9_000_000), "1")


async def test_a_missing_stream_is_told(transport: NatsTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowrun.nats.connection._NO_RESPONDERS_PATIENCE", 0.3)
    with pytest.raises(TransportError, match=r"no stream .*takes flow\.test\d+\.inbox\.never-opened"):
        await transport.append("never-opened", b"x", "1")


async def test_streams_of_an_older_version_and_of_an_operator(server: EmbeddedServer) -> None:
    """They get what they lack, and keep what they have."""
    env = f"test{next(_environments)}"
    client = await nats.connect(server.url)
    for stream, subject in (
        (names.work_stream(env), names.subjects(env, "work")),
        (names.inbox_stream(env, "p"), names.inbox_subject(env, "p")),
        (names.result_stream(env), names.subjects(env, "result")),
        (names.meta_stream(env), names.subjects(env, "meta")),
    ):
        retention = "workqueue" if stream.endswith("WORK") else "limits"
        config = {"name": stream, "subjects": [subject], "retention": retention, "max_msg_size": 7_000_000}
        await client.request(f"$JS.API.STREAM.CREATE.{stream}", json.dumps(config).encode())
    transport = await NatsTransport.connect(server.url, Settings(env=env))
    for _ in range(2):
        await transport.open_partition("p")
    await transport.dispatch("g", "default", 5, "p", b"bundle", "b", await transport.fence("p"))
    assert await transport.standing_work("p") == [b"bundle"]
    await transport.append_at("p", "now", b"event", 0)
    assert [r.data for r in await take(transport, "p", 0, 1)] == [b"event"]
    await transport.put_results([(f"r{i}", b"") for i in range(3)], 60)
    await transport.write_entry("lease.p", b"", 0)
    answer = await client.request(f"$JS.API.STREAM.INFO.{names.work_stream(env)}")
    assert json.loads(answer.data)["config"]["max_msg_size"] == 7_000_000
    await transport.close()
    await client.close()


async def test_blobs_fit_the_default_limit_of_a_server(restartable: Restartable) -> None:
    transport = await NatsTransport.connect(restartable.url)
    await transport.open_partition("p")
    data = os.urandom(2_500_000)
    await asyncio.gather(*(transport.put_blob(digest(data), data) for _ in range(3)))
    assert await transport.get_blob(digest(data)) == data
    await transport.close()


async def test_a_damaged_blob_is_told(transport: NatsTransport) -> None:
    await transport.put_blob(digest(b"right"), b"wrong")
    with pytest.raises(StoreError, match="is damaged"):
        await transport.get_blob(digest(b"right"))


async def test_a_closed_source_gives_back_what_it_did_not_hand_out(server: EmbeddedServer) -> None:
    settings = Settings(env=f"test{next(_environments)}", ack_wait=30)
    transport = await NatsTransport.connect(server.url, settings)
    await transport.open_partition("p")
    fence = await transport.fence("p")
    first = await transport.work("g", ("default",))
    waiting = asyncio.create_task(first.receive(10))
    await asyncio.sleep(0.05)
    await asyncio.gather(*(transport.dispatch("g", "default", 5, "p", b"%d" % i, f"w{i}", fence) for i in range(5)))
    held = await waiting
    await asyncio.sleep(0.1)
    await first.close()
    second = await transport.work("g", ("default",))
    got: list[bytes] = [d.data for d in held]
    async with asyncio.timeout(5):
        while len(got) < 5:
            deliveries = await second.receive(5)
            assert not any(d.redelivered for d in deliveries)
            got += [d.data for d in deliveries]
    assert sorted(got) == [b"%d" % i for i in range(5)]
    await second.close()
    await transport.close()
