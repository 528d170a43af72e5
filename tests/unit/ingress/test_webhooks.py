"""Webhooks over real HTTP: what is taken, and what becomes of everything else."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio
from flowc.plan import AnySource, CronSource, TriggerDef, WebhookSource
from flowc.types import INT, JSON, STRING, ListOf, Record
from flowrun.deployments.trust import Trust
from flowrun.errors import FlowError
from flowrun.ingress.server import Ingress
from flowrun.ingress.webhooks import Limits
from flowrun.memory import MemoryServer, MemoryTransport
from flowrun.messages import Answered, Arrived, pack, unpack_events
from flowrun.settings import Settings
from flowrun.sources import home_of

from tests.support.deployed import deploy, flow_of, manifest_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "whsec_" + base64.b64encode(b"twenty-four bytes of key").decode()
SECRETS = {"orders": SECRET, "github": "It's a Secret to Everybody", "token": "t0ken", "broken": "whsec_?"}
ORDER = Record((("id", INT), ("lines", ListOf(Record((("sku", STRING),))))))
TYPES = (JSON, ORDER)

SIGNED = WebhookSource(path="/orders", body=1, secret="orders", max_bytes=10_000)
GITHUB = WebhookSource(path="/github", body=0, secret="github", scheme="sha256=hex", max_bytes=1_000_000)
TOKEN = WebhookSource(path="/token", body=0, secret="token", auth="bearer")
OPEN = WebhookSource(path="/open", body=0, auth="none", max_bytes=1_000)
MISSING = WebhookSource(path="/missing", body=0, secret="nowhere", auth="bearer")
BROKEN = WebhookSource(path="/broken", body=0, secret="broken")
SOURCES = {"signed": SIGNED, "github": GITHUB, "token": TOKEN, "open": OPEN, "missing": MISSING, "broken": BROKEN}
BODY = {"id": 7, "lines": [{"sku": "a"}]}

LIMITS = Limits(headers_seconds=0.4, body_seconds=0.4, answer_seconds=0.3, requests=20, grace=1)


class Remembered:
    """Reads secrets once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    async def get(self, key: str) -> str:
        if key not in SECRETS:
            raise FlowError(f"there is no {key}")
        return self._known.setdefault(key, SECRETS[key])

    def forget(self) -> None:
        self._known.clear()


class Leader:
    """Stands for the leaders of all partitions: takes what arrives, and answers."""

    def __init__(self, transport: MemoryTransport, count: int) -> None:
        self._transport, self._count = transport, count
        self.begin_anew()

    def begin_anew(self) -> None:
        self.arrived: list[Arrived] = []
        self.answer: Callable[[Arrived, bool], Answered | None] = self._started

    def _started(self, event: Arrived, again: bool) -> Answered:
        what = "repeated" if again else "started"
        return Answered(event.id, True, "", msgspec.msgpack.encode({"run": f"run of {event.id}", "what": what}))

    async def lead(self, partition: str) -> None:
        await self._transport.open_partition(partition)
        async for batch in self._transport.read(partition, 0):
            for record in batch:
                for event in unpack_events(record.data):
                    assert isinstance(event, Arrived)
                    assert home_of(event.trigger, self._count) == partition
                    again = any(known.id == event.id for known in self.arrived)
                    if not again:
                        self.arrived.append(event)
                    answer = self.answer(event, again)
                    if answer is not None:
                        await self._transport.notify("to", event.client, pack(answer))


class Setup:
    def __init__(self, transport: MemoryTransport, leader: Leader, http: httpx.AsyncClient, port: int) -> None:
        self.transport, self.leader, self.http, self.port = transport, leader, http, port

    @property
    def events(self) -> list[Any]:
        return [msgspec.msgpack.decode(event.value) for event in self.leader.arrived]

    async def signed(self, body: bytes, id: str = "msg_1", at: float = 0.0, path: str = "/orders") -> httpx.Response:
        stamp = str(int(at or time.time()))
        key = base64.b64decode(SECRET[6:])
        mac = hmac.new(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()
        headers = {
            "webhook-id": id,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
        }
        return await self.post(path, body, headers)

    async def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        return await self.http.post(path, content=body, headers={"content-type": "application/json", **(headers or {})})


@asynccontextmanager
async def running(settings: Settings | None = None, limits: Limits = LIMITS) -> AsyncIterator[Setup]:
    settings = settings or Settings(partitions=4)
    server = MemoryServer(settings)
    transport = MemoryTransport(server, "test")
    triggers = [TriggerDef(name=name, source=source) for name, source in SOURCES.items()]
    await deploy(transport, manifest_of(flow_of("shop", *triggers, types=TYPES)))
    leader = Leader(MemoryTransport(server, "leader"), settings.partitions)
    ingress = Ingress(MemoryTransport(server, "ingress"), settings, "127.0.0.1:0", Remembered(), Trust(), limits)
    tasks = [asyncio.create_task(leader.lead(str(partition))) for partition in range(settings.partitions)]
    serving = asyncio.create_task(ingress.run())
    await asyncio.wait([serving, asyncio.create_task(ingress.ready.wait())], return_when=asyncio.FIRST_COMPLETED)
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{ingress.port}", trust_env=False, verify=False, timeout=10
        ) as http:
            yield Setup(transport, leader, http, ingress.port)
    finally:
        ingress.stop()
        await serving
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served() -> AsyncIterator[Setup]:
    async with running() as setup:
        yield setup


@pytest.fixture
def setup(served: Setup) -> Setup:
    """One server for all tests that leave it as it was."""
    served.leader.begin_anew()
    return served


# ---- what is taken


async def test_a_signed_request_starts_a_run(setup: Setup) -> None:
    answer = await setup.signed(json.dumps(BODY).encode())
    assert answer.status_code == 202
    [arrived] = setup.leader.arrived
    assert answer.json() == {"run": f"run of {arrived.id}", "status": "started"}
    assert (arrived.trigger, arrived.source) == ("shop.signed", 0)
    [event] = setup.events
    assert event | {"at": ""} == {"subject": "/orders", "key": "", "id": "msg_1", "at": "", "body": BODY}
    assert event["at"].endswith("+00:00")
    assert "server" not in answer.headers


async def test_what_is_sent_again_is_the_same_run(setup: Setup) -> None:
    first = await setup.signed(json.dumps(BODY).encode())
    again = await setup.signed(json.dumps(BODY).encode())
    assert (again.status_code, again.json()["status"]) == (200, "repeated")
    assert again.json()["run"] == first.json()["run"]
    both = await asyncio.gather(*(setup.signed(json.dumps(BODY).encode(), "msg_2") for _ in range(5)))
    assert len({answer.json()["run"] for answer in both}) == 1
    assert len(setup.leader.arrived) == 2


async def test_github_and_its_ping(setup: Setup) -> None:
    body = b'{"zen": "Design for failure."}'
    mac = hmac.new(SECRETS["github"].encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={mac}", "X-GitHub-Delivery": "d-1"}
    assert (await setup.post("/github", body, headers)).status_code == 202
    assert (await setup.post("/github", body, headers)).status_code == 200
    assert setup.events[0]["id"] == "d-1"


async def test_a_body_in_chunks(setup: Setup) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for part in (b"[", b"1", b",2]"):
            yield part

    assert (await setup.post("/open", chunks())).status_code == 202
    assert setup.events[0]["body"] == [1, 2]


async def test_bearer_counts_each_request(setup: Setup) -> None:
    for _ in range(2):
        assert (await setup.post("/token", b"{}", {"Authorization": "Bearer t0ken"})).status_code == 202
    for status in (202, 200):
        headers = {"Authorization": "Bearer t0ken", "Idempotency-Key": "mine"}
        assert (await setup.post("/token", b"{}", headers)).status_code == status
    assert len(setup.leader.arrived) == 3


async def test_a_large_body_is_stored(setup: Setup) -> None:
    body = json.dumps({"text": "x" * 400_000}).encode()
    mac = hmac.new(SECRETS["github"].encode(), body, hashlib.sha256).hexdigest()
    assert (await setup.post("/github", body, {"X-Hub-Signature-256": f"sha256={mac}"})).status_code == 202
    [arrived] = setup.leader.arrived
    assert len(arrived.value) < 1_000
    assert max(map(len, setup.transport.server.blobs.values())) > 400_000


# ---- what is not


async def test_paths_and_methods(setup: Setup) -> None:
    cases: list[Any] = [
        ("POST", "/", 404),
        ("POST", "/orders/", 404),
        ("GET", "/orders", 405),
        ("PUT", "/orders", 405),
        ("GET", "/x", 404),
    ]
    for method, path, status in cases:
        answer = await setup.http.request(method, path, json={})
        assert answer.status_code == status
        assert (answer.headers.get("allow") == "POST") == (status == 405)


async def test_wrong_signatures(setup: Setup) -> None:
    body = json.dumps(BODY).encode()
    assert (await setup.post("/orders", body)).status_code == 401
    assert (await setup.signed(body, path="/github")).status_code == 401
    old = await setup.signed(body, at=time.time() - 400)
    assert (old.status_code, "too far from now" in old.json()["error"]) == (401, True)
    assert (await setup.post("/token", b"{}", {"Authorization": "Bearer other"})).status_code == 401
    wrong = {"webhook-id": "a", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,AAAA"}
    assert (await setup.post("/orders", body, wrong)).status_code == 401
    assert setup.leader.arrived == []


async def test_a_secret_that_changed_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as setup:
        assert (await setup.post("/token", b"{}", {"Authorization": "Bearer t0ken"})).status_code == 202
        monkeypatch.setitem(SECRETS, "token", "rotated")
        assert (await setup.post("/token", b"{}", {"Authorization": "Bearer rotated"})).status_code == 202
        assert (await setup.post("/token", b"{}", {"Authorization": "Bearer t0ken"})).status_code == 401


async def test_secrets_that_cannot_be_used(setup: Setup) -> None:
    answer = await setup.post("/missing", b"{}", {"Authorization": "Bearer x"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert "nowhere" not in answer.text
    assert (await setup.signed(b"{}", path="/broken")).status_code == 500


async def test_forms_that_are_not_taken(setup: Setup) -> None:
    cases: list[Any] = [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-encoding": "gzip"},
        {"content-type": ""},
    ]
    for headers in cases:
        assert (await setup.post("/open", b"{}", headers)).status_code == 415


async def test_forms_that_are(setup: Setup) -> None:
    cases: list[Any] = ["application/json; charset=utf-8", "application/cloudevents+json", "Application/JSON"]
    for kind in cases:
        assert (await setup.post("/open", b"{}", {"content-type": kind})).status_code == 202


async def test_bodies_that_are_not_what_the_trigger_takes(setup: Setup) -> None:
    cases: list[Any] = [
        (b"", None, "empty"),
        (b"{", None, "no JSON"),
        (b'{"id": 1, "lines": "\xff"}', None, "no JSON"),
        (b'{"id": "7", "lines": []}', "$.id", "`body.id`: expected int, got str"),
        (b'{"id": 7, "lines": [{"sku": "a"}, {"sku": 1}]}', "$.lines[1].sku", "`body.lines[1].sku`"),
        (b'{"id": 7}', "$", "missing field `lines`"),
        (b"[]", "$", "the body: expected record"),
        (b'{"id": 99999999999999999999, "lines": []}', "$.id", ""),
        (b"[" * 5_000 + b"]" * 5_000, None, "nested"),
    ]
    for body, field, text in cases:
        answer = await setup.signed(body)
        assert answer.status_code == 422, answer.text
        assert text in answer.json()["error"]
        assert answer.json().get("field") == field
        assert setup.leader.arrived == []


# ---- too much, too slow


async def test_bodies_that_are_too_large(setup: Setup) -> None:
    assert (await setup.post("/open", b"x" * 1_001)).status_code == 413

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"x" * 1_000

    assert (await setup.post("/open", chunks())).status_code == 413
    exact = b'"' + b"x" * 998 + b'"'
    assert (await setup.post("/open", exact)).status_code == 202


async def raw(port: int, parts: list[bytes], wait: float = 0.0) -> bytes:
    """What comes back for these bytes, until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(wait)
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()


POST = b"POST /open HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


async def test_a_slow_body(setup: Setup) -> None:
    start = time.perf_counter()
    answer = await raw(setup.port, [POST + b"Content-Length: 100\r\n\r\n", b"{", b" "], 0.05)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()
    assert time.perf_counter() - start < 2


async def test_slow_headers(setup: Setup) -> None:
    for parts in ([b""], [b"POST /open HT"], [POST, b"X-A: b\r\n", b"X-C: d\r\n"]):
        start = time.perf_counter()
        assert await raw(setup.port, parts, 0.05) == b""
        assert 0.3 < time.perf_counter() - start < 2
    answer = await raw(setup.port, [b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /hea"], 0.05)
    assert answer.startswith(b"HTTP/1.1 200 "), "and the second request of a connection is given up, too"


async def test_a_refusal_before_a_large_body_is_sent(setup: Setup) -> None:
    head = POST + b"Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n"
    answer = await raw(setup.port, [head])
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_what_is_no_http(setup: Setup) -> None:
    cases: list[Any] = [
        b"NONSENSE\r\n\r\n",
        b"POST /open HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\nHost: x\r\n\r\n",
        b"POST /open HTTP/1.1\r\n" + b"X-A: " + b"x" * 100_000 + b"\r\n\r\n",
    ]
    for head in cases:
        assert (await raw(setup.port, [head])).startswith(b"HTTP/1.1 400 ")
        assert (await setup.http.get("/healthz")).status_code == 200


async def test_too_many_requests_at_once() -> None:
    async with running(limits=msgspec.structs.replace(LIMITS, requests=2, body_seconds=1.0)) as setup:
        waiting = [asyncio.create_task(raw(setup.port, [POST + b"Content-Length: 10\r\n\r\n"])) for _ in range(2)]
        await asyncio.sleep(0.1)
        answer = await setup.post("/open", b"{}")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert (await setup.http.get("/healthz")).status_code == 200
        await asyncio.gather(*waiting)
        assert (await setup.post("/open", b"{}")).status_code == 202


# ---- what leaders answer


def answered(ok: bool, value: Any, message: str = "") -> Callable[[Arrived, bool], Answered]:
    return lambda event, again: Answered(event.id, ok, message, msgspec.msgpack.encode(value))


async def test_answers(setup: Setup) -> None:
    cases: list[Any] = [
        (answered(True, {"run": None, "what": "filtered"}), 200, {"run": None, "status": "filtered"}),
        (answered(True, {"run": None, "what": "waiting"}), 202, {"run": None, "status": "waiting"}),
        (answered(True, {"run": "r", "what": "duplicate"}), 200, {"run": "r", "status": "duplicate"}),
        (answered(False, "error", "`x` is null"), 422, {"error": "`x` is null"}),
        (answered(False, "paused", "it is paused"), 503, {"error": "it is paused"}),
        (answered(False, "unknown", "no such trigger"), 503, {"error": "no such trigger"}),
    ]
    for answer, status, content in cases:
        setup.leader.answer = answer
        found = await setup.post("/open", b"{}")
        assert (found.status_code, found.json()) == (status, content)
        assert ("retry-after" in found.headers) == (status == 503)


async def test_nobody_leads(setup: Setup) -> None:
    setup.leader.answer = lambda event, again: None
    found = await setup.post("/open", b"{}")
    assert (found.status_code, found.json()) == (202, {"run": None, "status": "accepted"})
    assert len(setup.leader.arrived) == 1


async def test_an_inbox_that_is_full() -> None:
    async with running(Settings(partitions=1, inbox_high_water=0)) as setup:
        await setup.transport.append("0", b"\x02\x90", "something")  # no event, and some bytes
        await setup.post("/open", b"{}")
        await asyncio.sleep(1.1)  # the outbox looks once a second
        await setup.post("/open", b"{}")
        answer = await setup.post("/open", b"{}")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")


# ---- deployments


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(5):
        while not await check():
            await asyncio.sleep(0.02)


async def test_routes_follow_deployments() -> None:
    async with running() as setup:
        source = WebhookSource(path="/new", body=0, auth="none")
        nested = AnySource(sources=(CronSource(expression="0 0 * * *"), source))
        await deploy(setup.transport, manifest_of(flow_of("shop", TriggerDef(name="t", source=nested))), number=2)

        async def is_there() -> bool:
            return (await setup.post("/new", b"{}")).status_code == 202

        await until(is_there)
        assert (setup.leader.arrived[0].trigger, setup.leader.arrived[0].source) == ("shop.t", 1)
        assert (await setup.post("/open", b"{}")).status_code == 404


async def test_a_path_belongs_to_one_trigger() -> None:
    async with running() as setup:
        source = WebhookSource(path="/open", body=0, auth="none")
        other = manifest_of(flow_of("a", TriggerDef(name="t", source=source)), project="other")
        await deploy(setup.transport, other)

        async def has_it() -> bool:
            await setup.post("/open", b"{}")
            return setup.leader.arrived[-1].trigger == "a.t"

        await until(has_it)


async def test_health(setup: Setup) -> None:
    answer = await setup.http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert (await setup.http.post("/healthz")).status_code == 405


async def test_what_is_being_answered_is_answered_before_the_end() -> None:
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        async with running() as setup:
            setup.leader.answer = lambda event, again: None
            asking = asyncio.create_task(http.post(f"http://127.0.0.1:{setup.port}/open", json={}))
            while not setup.leader.arrived:
                await asyncio.sleep(0.01)
        assert (await asking).status_code == 202
