"""How late ticks are, and delayed submissions: `python benchmarks/ticks.py [cron] [midnight] [delayed] [schedules]`.

    cron       10,000 cron schedules of 500 flows (1 in 10 every five minutes, 1 in 50 every minute, the others once an
               hour): how late the task of a run begins, over some minutes; target: 300 ms for 99 of 100. What they take
               of memory
    midnight   10,000 schedules that all tick in the same moment
    delayed    100,000 submissions with a time of their own: how long it takes to set them (target: 10 s), and whether
               one of them begins too early
    schedules  what the server's own cron schedules do, which are not used: how late they come, and what becomes of
               those that were due while the server was down

One node and one server, of their own for each figure, beside the client on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path

import msgspec
import uvloop
from flowc.pipeline import compile_paths
from flowc.plan import CronSource, Plan, TriggerDef
from flowc.plan import digest as digest_of
from flowc.plan import encode as encode_plan
from flowc.project import find_project
from flowc.schedules import ticks
from flowrun.client import Client
from flowrun.manifest import DeployedFlow, Deployment, History, Manifest, encode_history, encode_manifest, key_of
from flowrun.messages import RunRecord, unpack
from flowrun.nats.transport import NatsTransport
from flowrun.node.config import NodeConfig
from flowrun.node.supervise import supervise
from flowrun.records import packed_record
from flowrun.run_ids import run_id_of_window
from flowrun.server import EmbeddedServer
from flowrun.settings import Settings
from flowrun.sources import home_of
from growth import _node
from measure import heading, process_tree

FLOW = """\
use "ticks_tasks.py" { now }

flow main(at_ms: int = 0) returns int {
  return now(at_ms)
}
"""
TASKS = """\
import time

def now(at_ms: int) -> int:
    return int(time.time() * 1000) - at_ms
"""
FLOWS, EACH = 500, 20
PARTITIONS = 8
MINUTES = 3
DELAYED = 100_000


class System:
    def __init__(self, client: Client, transport: NatsTransport, plan: Plan, node: int) -> None:
        self.client, self.transport, self.plan, self.node = client, transport, plan, node

    def leader_mb(self) -> float:
        """Memory of the leader."""
        for pid in process_tree(self.node):
            if "flowrun.node" in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "):
                return 4096 * int(Path(f"/proc/{pid}/statm").read_text().split()[1]) / 1e6
        raise SystemExit("there is no leader")

    async def deploy(self, triggers: dict[str, list[TriggerDef]]) -> int:
        """Flows with their triggers; when that was, milliseconds since 1970."""
        flows, at_ms = [], int(time.time() * 1000)
        for name, own in triggers.items():
            data = encode_plan(msgspec.structs.replace(self.plan, flow=name))
            await self.transport.put_blob(digest_of(data), data)
            flows.append(DeployedFlow(name=name, plan=digest_of(data), triggers=tuple(own)))
        data = encode_manifest(Manifest(project="bench", flows=tuple(flows)))
        await self.transport.put_blob(digest_of(data), data)
        history = History(deployments=(Deployment(number=1, manifest=digest_of(data), at_ms=at_ms),))
        await self.transport.write_entry(key_of("bench"), encode_history(history))
        return at_ms


@asynccontextmanager
async def system(partitions: int) -> AsyncIterator[System]:
    with tempfile.TemporaryDirectory(prefix="flow-ticks-") as name:
        folder = Path(name)
        (folder / "main.flow").write_text(FLOW)
        (folder / "ticks_tasks.py").write_text(TASKS)
        if "ticks_tasks" not in sys.modules:
            sys.path.insert(0, name)
            import_module("ticks_tasks")
        found = compile_paths(find_project(folder), [folder / "main.flow"])
        settings = Settings(partitions=partitions)
        async with EmbeddedServer(folder / ".flow") as server:
            config = NodeConfig(url=server.url, name="ticks", slots=(2, 2), root=name, partitions=partitions)
            with _node(config) as node:
                transport = await NatsTransport.connect(server.url, settings, "benchmark")
                async with Client.connect(server.url, settings=settings) as client:
                    runs = [client.submit_task_nowait(import_module("ticks_tasks").now, 0) for _ in range(2_000)]
                    await asyncio.gather(*(run.result() for run in runs))  # all of it is up, and warm
                    yield System(client, transport, found.plans[0].plan, node)
                await transport.close()


# ---- cron -----------------------------------------------------------------------------------------------------------


def mixed() -> Iterator[CronSource]:
    for i in range(FLOWS * EACH):
        if i % 50 == 0:
            yield CronSource(expression="* * * * *", tz="Europe/Berlin")
        elif i % 10 == 1:
            yield CronSource(expression=f"{i % 5}-59/5 * * * *", tz="America/New_York")
        else:
            yield CronSource(expression=f"{i % 60} * * * *", tz="Asia/Kolkata")


def named(sources: Iterable[CronSource]) -> dict[str, list[TriggerDef]]:
    triggers = [TriggerDef(name=f"t{i}", source=source) for i, source in enumerate(sources)]
    return {f"flow{i}": triggers[i * EACH : (i + 1) * EACH] for i in range(FLOWS)}


async def cron() -> None:
    await _measure(named(mixed()), MINUTES)


async def midnight() -> None:
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=80)
    at = CronSource(expression=f"{soon.minute} {soon.hour} * * *")
    await _measure(named([at] * (FLOWS * EACH)), 2)


async def _measure(triggers: dict[str, list[TriggerDef]], minutes: int) -> None:
    async with system(PARTITIONS) as this:
        before = this.leader_mb()
        begin = await this.deploy(triggers)
        await asyncio.sleep(5)  # they are armed
        wait = 60 - time.time() % 60
        begin = int((time.time() + wait - 30) * 1000)
        await asyncio.sleep(wait + 60 * (minutes - 1) + 8)
        end = int(time.time() * 1000) - 8_000
        grew = this.leader_mb() - before
        await asyncio.sleep(20)
        due = [
            (f"{flow}.{trigger.name}", at_ms)
            for flow, own in triggers.items()
            for trigger in own
            for at_ms in _between(trigger.source, begin, end)  # type: ignore[arg-type]
        ]
        late, stamped = await _lateness(this, due)
        _tell(f"{len(due):,} ticks of {FLOWS * EACH:,} schedules", len(due) - len(late), late, stamped, grew)


def _between(source: CronSource, begin: int, end: int) -> Iterator[int]:
    for at_ms in ticks(source, begin):
        if at_ms > end:
            return
        yield at_ms


async def _lateness(this: System, due: list[tuple[str, int]]) -> tuple[list[int], list[int]]:
    """Of the tasks, by their own clock; and of the submissions, by the server's."""
    late, stamped = [], []
    for start in range(0, len(due), 500):
        names = [
            run_id_of_window(trigger, at_ms, 1, home_of(trigger, PARTITIONS), PARTITIONS)
            for trigger, at_ms in due[start : start + 500]
        ]
        for (_, at_ms), data in zip(
            due[start : start + 500], await asyncio.gather(*map(this.transport.get_result, names)), strict=True
        ):
            if data is not None:
                record = unpack(packed_record(data), RunRecord)
                if record.state != "success":
                    raise SystemExit(f"a run failed: {record}")
                late.append(msgspec.msgpack.decode(record.result) - at_ms)
                stamped.append(record.started_ms - at_ms)
    return sorted(late), sorted(stamped)


def _tell(what: str, missing: int, late: list[int], stamped: list[int], grew: float) -> None:
    def spread(values: list[int]) -> str:
        if not values:
            return "none"
        at = {name: values[min(int(len(values) * part), len(values) - 1)] for name, part in
              (("p50", 0.5), ("p99", 0.99), ("most", 1.0))}  # fmt: skip
        return ", ".join(f"{name} {value:,} ms" for name, value in at.items())

    print(f"{what}: {missing} missing; the leader grew by {grew:.0f} MB", flush=True)
    print(f"  until the task begins:      {spread(late)}")
    print(f"  until the run is submitted: {spread(stamped)}", flush=True)


# ---- delayed --------------------------------------------------------------------------------------------------------


async def delayed() -> None:
    async with system(PARTITIONS) as this:
        at = time.time() + 40
        times = [at + i % 20_000 / 1000 for i in range(DELAYED)]
        start = time.perf_counter()
        runs = [
            this.client.submit(this.plan, {"at_ms": int(when * 1000)}, at=dt.datetime.fromtimestamp(when, dt.UTC))
            for when in times
        ]
        handles = await asyncio.gather(*runs)
        took = time.perf_counter() - start
        found = sorted(await asyncio.gather(*(run.result() for run in handles)))
        early = sum(one < 0 for one in found)
        print(
            f"{DELAYED:,} delayed submissions were set in {took:.1f} s ({DELAYED / took:,.0f}/s); {early} were early; "
            f"late: p50 {statistics.median(found):,.0f} ms, p99 {found[int(len(found) * 0.99)]:,} ms",
            flush=True,
        )


async def main(names: list[str]) -> None:
    parts = {"cron": cron, "midnight": midnight, "delayed": delayed, "schedules": schedules}
    heading("how late ticks and delayed submissions are")
    for name in names or list(parts):
        await parts[name]()


# ---- the server's own schedules -------------------------------------------------------------------------------------


async def schedules() -> None:
    """1,000 cron schedules of the server, every two seconds; then the server is away for ten seconds."""
    import nats  # of this figure only
    from nats.js.api import StreamConfig

    with tempfile.TemporaryDirectory(prefix="flow-ticks-") as name:
        server = EmbeddedServer(Path(name))
        await server.__aenter__()
        connection = await nats.connect(server.url)
        js = connection.jetstream()
        config = StreamConfig(name="S", subjects=["plan.*", "tick.*"]).as_dict() | {"allow_msg_schedules": True}
        await js._api_request("$JS.API.STREAM.CREATE.S", msgspec.json.encode(config), timeout=5)
        for i in range(1_000):
            headers = {"Nats-Schedule": "*/2 * * * * *", "Nats-Schedule-Target": f"tick.{i}"}
            await js.publish(f"plan.{i}", b"x", headers=headers)
        await asyncio.sleep(12)
        await connection.close()
        await server.__aexit__(None, None, None)
        away = time.time()
        await asyncio.sleep(10)
        server = EmbeddedServer(Path(name))
        await server.__aenter__()
        back = time.time()
        await asyncio.sleep(8)
        connection = await nats.connect(server.url)
        js = connection.jetstream()
        late, during, now = [], 0, time.time()
        subscription = await js.subscribe("tick.*", ordered_consumer=True)
        while (stamp := (await subscription.next_msg(timeout=5)).metadata.timestamp.timestamp()) < now:
            during += away < stamp - stamp % 2 < back
            late.append(round(stamp % 2 * 1000))
        late.sort()
        print(
            f"the server's schedules: {len(late):,} ticks, late p50 {late[len(late) // 2]} ms, "
            f"p99 {late[int(len(late) * 0.99)]} ms; away for {back - away:.0f} s, of whose times {during} came",
            flush=True,
        )
        await connection.close()
        await server.__aexit__(None, None, None)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        sys.exit(uvloop.run(supervise(NodeConfig.from_json(sys.argv[2]))))
    os.environ.setdefault("FLOW_BENCH", "1")
    uvloop.run(main(sys.argv[1:]))
