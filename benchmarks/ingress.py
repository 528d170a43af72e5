"""What comes from outside: `python benchmarks/ingress.py [messages]`.

One node with its own server, on 127.0.0.1. Messages: another client publishes them on a trigger's subject as fast as it
can; measured is the time until all of them are acknowledged, that is, stand in the inbox, first with a filter that
leaves all of them out, then with a run of one step each, until the last one has ended. Requests: signed, over one
connection one after the other, then over 32 at a time; each is answered with the id of its run.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nats
from measure import FLOWC, heading
from nats.aio.client import Client as Nats

FLOW = """\
flow nothing(order: { id: int }) returns int {
  trigger t = event("bench.nothing", filter: event.body.id < 0)
  return order.id
}

flow run_each(order: { id: int }) returns int {
  trigger t = event("bench.each")
  trigger hook = webhook("/each", auth: hmac(secret("hook")))
  return order.id
}
"""
KEY = b"a key of twenty-four byt"
REQUESTS = 1_000


@contextmanager
def node() -> Iterator[tuple[str, int]]:
    """A node with the flows deployed: its server's URL and where it takes webhooks."""
    with tempfile.TemporaryDirectory() as folder:
        root, log = Path(folder), Path(folder) / "node.log"
        (root / "flow.toml").write_text('[project]\nname = "bench"\n')
        (root / "main.flow").write_text(FLOW)
        env = {**os.environ, "FLOW_SECRET_HOOK": f"whsec_{base64.b64encode(KEY).decode()}"}
        with log.open("w") as output:
            command = [FLOWC, "node", "--port", "0", "--http", "127.0.0.1:0"]
            process = subprocess.Popen(command, cwd=root, stdout=output, stderr=output, env=env)
        try:
            url, port = found(log, r"listens on (\S+)"), found(log, r"taken on port (\d+)")
            subprocess.run(
                [FLOWC, "deploy", "--nats", url],
                cwd=root,
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=env,
            )
            time.sleep(2)
            yield url, int(port)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def found(log: Path, pattern: str) -> str:
    """What the node says of itself."""
    for _ in range(600):
        match = re.search(pattern, log.read_text())
        if match:
            return match[1]
        time.sleep(0.05)
    raise SystemExit(log.read_text())


async def api(connection: Nats, subject: str) -> Any:
    return json.loads((await connection.request(f"$JS.API.{subject}", timeout=10)).data)


async def messages(connection: Nats, subject: str, count: int) -> tuple[float, float]:
    """Messages a second: as they were published, and until all were acknowledged."""
    began = time.perf_counter()
    for i in range(count):
        await connection.publish(subject, b'{"id": %d}' % i)
        if i % 1_000 == 0:
            await connection.flush()
    await connection.flush()
    published = time.perf_counter() - began
    while await unread(connection, subject):  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.02)
    return count / published, count / (time.perf_counter() - began)


async def unread(connection: Nats, subject: str) -> int:
    listed = await api(connection, "CONSUMER.LIST.FLOW_HEARD")
    return sum(
        found["num_pending"] + found["num_ack_pending"]
        for found in listed["consumers"]
        if found["config"]["filter_subject"] == subject
    )


async def results(connection: Nats) -> int:
    info: int = (await api(connection, "STREAM.INFO.FLOW_dev_RESULT"))["state"]["messages"]
    return info


async def requests(port: int, at_once: int, prefix: str) -> tuple[float, list[float]]:
    """Requests a second, and how long each took in milliseconds."""
    left, took = iter(range(REQUESTS)), list[float]()

    async def sender() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for i in left:
            body, id, stamp = b'{"id": %d}' % i, f"{prefix}{i}", str(int(time.time()))
            mac = base64.b64encode(hmac.new(KEY, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()).decode()
            head = (
                f"POST /each HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nWebhook-Id: {id}\r\n"
                f"Webhook-Timestamp: {stamp}\r\nWebhook-Signature: v1,{mac}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            start = time.perf_counter()
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 202 "), answer
            await reader.readexactly(int(re.search(rb"content-length: (\d+)", answer)[1]))  # type: ignore[index]
            took.append((time.perf_counter() - start) * 1000)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(sender() for _ in range(at_once)))
    return REQUESTS / (time.perf_counter() - began), sorted(took)


async def measure(url: str, port: int, count: int) -> None:
    connection = await nats.connect(url)
    published, read = await messages(connection, "bench.nothing", count)
    print(f"messages that a filter leaves out: published {published:,.0f}/s, in the inbox {read:,.0f}/s", flush=True)
    began = time.perf_counter()
    published, read = await messages(connection, "bench.each", count)
    while await results(connection) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    ended = count / (time.perf_counter() - began)
    print(f"a run each: published {published:,.0f}/s, in the inbox {read:,.0f}/s, ended {ended:,.0f}/s", flush=True)
    for at_once in (1, 32):
        rate, took = await requests(port, at_once, f"{at_once}-")
        p50, p99 = statistics.median(took), took[len(took) * 99 // 100]
        print(f"requests, {at_once} at a time: {rate:,.0f}/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms", flush=True)
    await connection.close()


def main(count: int) -> None:
    heading(f"messages of other systems and webhooks, {count:,} messages")
    with node() as (url, port):
        asyncio.run(measure(url, port, count))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
