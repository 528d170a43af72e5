"""This system: a client of `flowrun`, and as a program (`python -m flowc_peer`) a node of one leader and one worker.

`chain` has steps that may not go together, for they are on two queues in turn; `fused` is the same chain as anyone
would write it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop
from client import Done, check
from flowc.pipeline import compile_paths
from flowc.plan import Plan
from flowc.project import find_project
from flowc_tasks import noop
from flowrun.client import Client
from flowrun.node.config import NodeConfig
from flowrun.node.supervise import supervise

HERE = Path(__file__).parent
STEPS = 100
PARTITIONS = int(os.environ.get("PEER_PARTITIONS", "1"))


def _steps(settings: Callable[[int], str]) -> str:
    lines = [f"  x{i + 1} = add_one({f'x{i}' if i else 0}){settings(i)}" for i in range(STEPS)]
    return "\n".join([*lines, f"  return x{STEPS}"])


FLOWS = f"""\
use "flowc_tasks.py" {{ noop, add_one, total }}

queue even {{}}
queue odd {{}}

flow chain() returns int {{
{_steps(lambda i: f" with {{ queue: {('even', 'odd')[i % 2]} }}")}
}}

flow fused() returns int {{
{_steps(lambda i: "")}
}}

flow chord(count: int) returns int {{
  values = each i in range(count) {{ return noop(i) }}
  return total(values)
}}

flow map(count: int) returns int {{
  values = each i in range(count) with {{ max: 10_000_000 }} {{ return noop(i) }}
  return sum(values)
}}
"""

_runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
_client: Client | None = None
_plans: dict[str, Plan] = {}


def timed(once: Callable[[Client], Awaitable[None]], repeats: int, per: int = 1) -> Done:
    """The client is kept from job to job."""

    async def all_of_them() -> list[float]:
        global _client
        if _client is None:
            _client = await Client.connect(os.environ["PEER_NATS"])
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            await once(_client)
            seconds.append(time.perf_counter() - start)
        return seconds

    return Done(_runner.run(all_of_them()), repeats * per, per)


def plan(flow: str) -> Plan:
    """Compiled once; the text stands in for a file beside this one."""
    if not _plans:
        file = HERE / "flowc_bench.flow"
        found = compile_paths(find_project(HERE), [file], overlay={file: FLOWS})
        if found.has_errors:
            raise SystemExit(f"the flows do not compile: {found.diagnostics}")
        _plans.update((one.flow, one.plan) for one in found.plans)
    return _plans[flow]


async def value(client: Client, flow: str, **args: Any) -> Any:
    run = await client.submit(plan(flow), args)
    return await run.result()


def single(count: int) -> Done:
    async def once(client: Client) -> None:
        runs = [client.submit_task_nowait(noop, i) for i in range(count)]
        values = await asyncio.gather(*(run.result() for run in runs))
        check("single", sum(values), count * (count - 1) // 2)

    return timed(once, 1, count)


def chains(flow: str) -> Callable[[int], Done]:
    async def once(client: Client) -> None:
        check(flow, await value(client, flow), STEPS)

    return lambda count: timed(once, count, STEPS)


def over_items(flow: str) -> Callable[[int], Done]:
    def job(count: int) -> Done:
        async def once(client: Client) -> None:
            check(flow, await value(client, flow, count=count), count * (count - 1) // 2)

        return timed(once, 1, count + (flow == "chord"))

    return job


def rounds(count: int) -> Done:
    async def once(client: Client) -> None:
        run = await client.submit_task(noop, 7)
        check("round", await run.result(), 7)

    return timed(once, count)


JOBS = {
    "single": single, "chain": chains("chain"), "fused": chains("fused"), "chord": over_items("chord"),
    "round": rounds, "map": over_items("map"),
}  # fmt: skip


def serve() -> int:
    config = NodeConfig(
        url=os.environ["PEER_NATS"], name="bench", queues=("default", "even", "odd"), slots=(2, 2), root=str(HERE),
        partitions=PARTITIONS,
    )  # fmt: skip
    return _runner.run(supervise(config))


if __name__ == "__main__":
    sys.exit(serve())
