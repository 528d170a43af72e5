"""What comes from outside, over a real server: nothing is lost or doubled while leaders die, and streams of others are
left as they are."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import msgspec
import nats
import pytest
from flowc.pipeline import compile_paths
from flowc.project import find_project
from flowrun import names
from flowrun.client import Client
from flowrun.deployments.building import build
from flowrun.messages import RunRecord
from flowrun.nats.reading import Reader
from flowrun.nats.streams import consumers_of
from flowrun.nats.transport import NatsTransport
from flowrun.node.config import NodeConfig
from flowrun.node.supervise import launch_role
from flowrun.records import read_record
from flowrun.server import EmbeddedServer
from flowrun.settings import Settings

from tests.support.deployed import deploy
from tests.support.live_node import FLOWC, LiveNode

_environments = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path_factory.mktemp("flow"))
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture
async def transport(server: EmbeddedServer) -> AsyncIterator[NatsTransport]:
    settings = Settings(env=f"ingress{next(_environments)}", partitions=2, heard_wait=1.0)
    transport = await NatsTransport.connect(server.url, settings)
    yield transport
    await transport.keep_heard({})
    await transport.close()


# ---- messages while leaders die


class Leader:
    """The leader process of a node, as its supervisor starts it."""

    def __init__(self, config: NodeConfig) -> None:
        self._config = config

    def start(self) -> None:
        self._process = launch_role("flowrun.node")
        assert self._process.stdin is not None
        self._process.stdin.write(self._config.to_json() + b"\n")
        self._process.stdin.flush()

    def end(self, number: signal.Signals) -> None:
        self._process.send_signal(number)
        self._process.wait(20)
        assert self._process.stdin is not None
        self._process.stdin.close()


async def ended_runs(transport: NatsTransport, wanted: int) -> list[RunRecord]:
    """The records of all runs that ended, once there are so many, and a moment later. (A new leader stores those of its
    predecessor again.)"""
    env = transport._settings.env
    reader = Reader(transport._connection, names.result_stream(env), names.subjects(env, "result"), 0)
    records: dict[str, RunRecord] = {}

    batches, loop = reader.batches(), asyncio.get_running_loop()
    with suppress(TimeoutError):
        async with asyncio.timeout(30) as patience:
            async for batch in batches:
                for message, *_ in batch:
                    record = await read_record(transport, message.data)
                    records[record.run] = record
                if len(records) >= wanted:
                    patience.reschedule(loop.time() + 1.0)
    await batches.aclose()
    return [*records.values()]


async def test_none_is_lost_and_none_doubled_while_leaders_die(
    server: EmbeddedServer, transport: NatsTransport, tmp_path: Path
) -> None:
    (tmp_path / "main.flow").write_text(
        "flow placed(order: { id: int }) returns int {\n"
        '  trigger t = event("restart.orders.*", filter: event.body.id >= 0)\n'
        "  return order.id\n"
        "}\n"
    )
    plans = [one.plan for one in compile_paths(find_project(tmp_path), [tmp_path / "main.flow"]).plans]
    built = build("shop", plans)
    await transport.open_partition("0")
    for digest, data in built.blobs.items():
        await transport.put_blob(digest, data)
    await deploy(transport, built.manifest, at_ms=int(time.time() * 1000))
    env = transport._settings.env
    leader = Leader(NodeConfig(url=server.url, env=env, name="leader", partitions=2, log_level="error"))
    leader.start()
    other = await nats.connect(server.url)
    try:
        await until_wanted(transport, "restart.orders.*")
        sent = 0
        for ending in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
            for _ in range(150):
                body = json.dumps({"id": sent}).encode()
                await other.publish("restart.orders.x", body, headers={"Nats-Msg-Id": f"order {sent}"})
                sent += 1
                if sent % 10 == 0:
                    await other.publish("restart.orders.x", b"rubbish")
                    await asyncio.sleep(0.02)
            await other.flush()
            leader.end(ending)
            leader.start()
        records = await ended_runs(transport, sent)
        values = Counter(msgspec.msgpack.decode(record.result) for record in records)
        assert values == Counter(range(sent))
        assert {(record.state, record.trigger) for record in records} == {("success", "placed.t")}
    finally:
        leader.end(signal.SIGTERM)
        await other.close()


async def until_wanted(transport: NatsTransport, subject: str) -> None:
    async with asyncio.timeout(20):
        while True:
            found = await transport._connection.api("STREAM.INFO.FLOW_HEARD")
            if isinstance(found, bytes) and subject in json.loads(found)["config"]["subjects"]:
                info = await transport._connection.api("CONSUMER.NAMES.FLOW_HEARD")
                if isinstance(info, bytes) and json.loads(info)["consumers"]:
                    return
            await asyncio.sleep(0.05)


# ---- streams of others


async def subjects(other: Any) -> list[str]:
    answer = json.loads((await other.request("$JS.API.STREAM.INFO.FLOW_HEARD")).data)
    return answer["config"]["subjects"] if "config" in answer else []


async def test_what_a_stream_of_somebody_else_holds_is_read_there(
    server: EmbeddedServer, transport: NatsTransport
) -> None:
    other = await nats.connect(server.url)
    stream = other.jetstream()
    await stream.add_stream(name="OTHERS", subjects=["others.placed", "others.paid.>"])
    try:
        wanted = {"a": "others.placed", "b": "others.>", "c": "mine.placed", "d": "flow.>", "e": "$JS.API.>"}
        problems = await transport.keep_heard(wanted)
        assert sorted(problems) == ["b", "d", "e"]
        assert "only what the streams OTHERS hold" in problems["b"]
        assert await subjects(other) == ["mine.placed"]
        await stream.publish("others.placed", b"1", headers={"Nats-Msg-Id": "one"})
        await stream.publish("others.paid.late", b"2")
        a, b = await transport.hear("a", "others.placed"), await transport.hear("b", "others.>")
        assert [(m.data, m.id) for m in await a.receive(5)] == [(b"1", "one")]
        heard = await b.receive(5)
        assert [m.subject for m in heard] == ["others.placed", "others.paid.late"]
        assert heard[1].id.startswith("OTHERS 20")
        await a.close()
        await b.close()
        await transport.keep_heard({})
        info = await stream.stream_info("OTHERS")
        assert (info.state.consumer_count, info.state.messages) == (0, 2), "nothing of it was touched"
        assert await subjects(other) == []
    finally:
        await stream.delete_stream("OTHERS")
        await other.close()


async def test_environments_share_what_is_kept(server: EmbeddedServer, transport: NatsTransport) -> None:
    other = await nats.connect(server.url)
    second = await NatsTransport.connect(server.url, Settings(env=f"ingress{next(_environments)}"))
    try:
        await asyncio.gather(
            transport.keep_heard({"a": "both.placed", "b": "both.*"}), second.keep_heard({"a": "both.placed"})
        )
        await asyncio.gather(transport.keep_heard({"a": "both.placed"}), second.keep_heard({"a": "both.placed"}))
        assert await subjects(other) == ["both.placed"]
        await other.publish("both.placed", b"1")
        for each in (transport, second):
            hearing = await each.hear("a", "both.placed")
            [message] = await hearing.receive(1)
            assert message.data == b"1"
            await message.ack()
            await hearing.close()
        await transport.keep_heard({})
        assert await subjects(other) == ["both.placed"], "the other one still wants it"
    finally:
        await second.keep_heard({})
        await second.close()
        assert await subjects(other) == []
        await other.close()


async def test_what_somebody_wanted_who_is_gone_is_forgotten(
    server: EmbeddedServer, transport: NatsTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = await NatsTransport.connect(server.url, transport._settings)
    await dead.keep_heard({"a": "gone.a", "b": "gone.b"})
    await dead.close()
    await transport.keep_heard({"a": "gone.a"})
    before = await consumers_of(transport._connection, "FLOW_HEARD")
    assert len(before) == 2, "not at once: it may be the one who knows more"
    monkeypatch.setattr("flowrun.nats.keeping._STRAY_SECONDS", 0.0)
    await transport.keep_heard({"a": "gone.a"})
    left = await consumers_of(transport._connection, "FLOW_HEARD")
    assert len(left) == 1
    assert set(left) < set(before)
    hearing = await transport.hear("a", "gone.a")
    await hearing.close()


async def test_a_server_that_is_restarted_has_kept_all(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path) as server:
        transport = await NatsTransport.connect(server.url, Settings(heard_wait=0.5))
        other = await nats.connect(server.url)
        await transport.keep_heard({"a": "x.y"})
        hearing = await transport.hear("a", "x.y")
        await other.publish("x.y", b"1")
        [message] = await hearing.receive(1)
        await message.ack()
        await other.publish("x.y", b"2")
        await other.flush()
        await hearing.receive(1)
        await other.close()
        await server.restart()
        async with asyncio.timeout(10):
            [message] = await hearing.receive(1)
        assert message.data == b"2", "it was not acknowledged"
        await message.ack()
        await hearing.close()
        await transport.close()


# ---- a node


def test_a_node_takes_webhooks_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOW_SECRET_HOOK", "t0ken")
    (tmp_path / "flow.toml").write_text('[project]\nname = "shop"\n')
    (tmp_path / "main.flow").write_text(
        "flow placed(order: { id: int }) returns int {\n"
        '  trigger hook = webhook("/orders", auth: bearer(secret("hook")))\n'
        "  return order.id\n"
        "}\n"
        "flow loaded(file: { path: string, size: int, modified: datetime }) returns int {\n"
        '  trigger files = file("in/**/*.csv", every: 200ms)\n'
        "  return file.size\n"
        "}\n"
    )
    with LiveNode(tmp_path, "--http", "127.0.0.1:0", "--roles", "leader,ingress") as node:
        url = f"http://127.0.0.1:{said(node.log, r'taken on port ([0-9]+)')}"
        done = subprocess.run([FLOWC, "deploy", "--nats", node.url], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        said(node.log, r"webhooks: (/orders)")
        (tmp_path / "in" / "today").mkdir(parents=True)
        (tmp_path / "in" / "today" / "a.csv").write_text("12345")
        with httpx.Client(base_url=url, trust_env=False) as http:
            assert http.get("/healthz").json() == {"status": "ok"}
            assert http.post("/orders", json={"id": 7}).status_code == 401
            headers = {"Authorization": "Bearer t0ken", "Idempotency-Key": "mine"}
            answer = http.post("/orders", json={"id": 7}, headers=headers)
            for _ in range(50):  # the leader may not have taken the deployment yet
                if answer.status_code == 202:
                    break
                assert answer.status_code == 503, answer.text
                time.sleep(0.1)
                answer = http.post("/orders", json={"id": 7}, headers=headers)
            again = http.post("/orders", json={"id": 7}, headers=headers)
            assert (again.status_code, again.json()) == (200, {"run": answer.json()["run"], "status": "repeated"})
            assert asyncio.run(result(node.url, answer.json()["run"])) == 7
        assert asyncio.run(first_result_of(node.url, "loaded")) == 5


def said(log: Path, pattern: str) -> str:
    """What the node's log says."""
    until = time.monotonic() + 20
    while (found := re.search(pattern, log.read_text())) is None:
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.05)
    return found[1]


async def result(url: str, run: str) -> Any:
    async with Client.connect(url) as client:
        return await client.run(run).result()


async def first_result_of(url: str, flow: str) -> Any:
    transport = await NatsTransport.connect(url)
    try:
        records = await ended_runs(transport, 2)
        return next(msgspec.msgpack.decode(record.result) for record in records if record.flow == flow)
    finally:
        await transport.close()
