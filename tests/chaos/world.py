"""A chaos run from beginning to end: servers, nodes, a client, a recorder and a troublemaker; gives its history."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import flowc
import flowcli
import flowgrammar
import flowrun
import flowstd
import msgspec
from flowrun.client import Client
from flowrun.messages import MessageError, Submit, unpack_known_events
from flowrun.nats.transport import NatsTransport
from flowrun.settings import Settings

from tests.reference.programs import BEHAVIOURS

from .history import Effect, History, Trouble
from .kinds import GATES
from .load import Load, compiled
from .nodes import Link, Node, linked
from .recorder import Recorder
from .servers import Servers
from .troubles import Troublemaker, schedule

__all__ = ["Wish", "copy_source", "ready", "run_chaos"]

_PROJECT = Path(__file__).with_name("project")
_NODES = 3
#: all that was accepted must have ended so long after the last trouble, in seconds
_BOUND = 90.0
#: numbers of random programs that there are
_PROGRAMS = 400


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked for."""

    seed: int
    seconds: float
    tasks: int
    kills: int
    #: "single" or "cluster"
    scenario: str = "single"
    partitions: int = 8
    #: different random programs that are submitted
    programs: int = 40
    #: is told how it goes from time to time
    told: Callable[[str], None] = print


async def run_chaos(wish: Wish, folder: Path) -> History:
    """`folder`: for stores, logs, the project and its journal."""
    chance = random.Random(wish.seed)
    history = History(
        seed=wish.seed, scenario=wish.scenario, seconds=wish.seconds, partitions=wish.partitions, nodes=_NODES,
        gates=GATES,
    )  # fmt: skip
    before = os.getloadavg()[0]
    project = folder / "project"
    shutil.copytree(_PROJECT, project)
    shutil.copy(BEHAVIOURS, project)
    source = copy_source(folder / "source")
    servers = Servers(folder / "nats", 3 if wish.scenario == "cluster" else 1)
    settings = Settings(env="chaos", replicas=servers.replicas, partitions=wish.partitions)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(servers)
        ports = [server.port for server in servers.servers]
        transport = await NatsTransport.connect(servers.url, settings, "chaos recorder")
        stack.push_async_callback(transport.close)
        way = await stack.enter_async_context(linked(ports))
        links = [await stack.enter_async_context(linked(ports)) for _ in range(_NODES)]
        nodes = [
            Node(f"n{i}", project, folder, source, link, wish.partitions, servers.replicas)
            for i, link in enumerate(links)
        ]
        recorder = Recorder(transport, tuple(map(str, range(wish.partitions))))
        client = await stack.enter_async_context(Client.connect(way.url, settings=settings))
        for node in nodes:
            node.start()
            stack.push_async_callback(node.stop)
        watching = [asyncio.create_task(node.watch()) for node in nodes]
        stack.callback(lambda: [task.cancel() for task in watching])
        recorder.start()
        programs = chance.sample(range(_PROGRAMS), wish.programs)
        load = Load(client, random.Random(chance.random()), project, compiled(project), programs)
        await ready(nodes, wish.partitions)
        troubles = Troublemaker(nodes, servers, transport)
        await _go(wish, chance, load, troubles, way)
        await recorder.stop()
        await load.read_stored(transport, _runs(load, recorder))
        await load.give_up()
        _collect(history, load, recorder, troubles, nodes, project)
        history.loads = (before, os.getloadavg()[0])
    return history


def copy_source(folder: Path) -> Path:
    """The product as it is now: processes that are started again must not find another one because somebody edits."""
    for package in (flowc, flowcli, flowgrammar, flowrun, flowstd):
        assert package.__file__ is not None
        shutil.copytree(Path(package.__file__).parent, folder / package.__name__)
    return folder


async def ready(nodes: list[Node], partitions: int) -> None:
    """Every partition is led."""
    deadline = time.monotonic() + 60
    while len({live.partition for node in nodes for live in node.lives()}) < partitions:
        assert time.monotonic() < deadline, "not every partition is led after a minute: see the logs of the nodes"
        await asyncio.sleep(0.2)


async def _go(wish: Wish, chance: random.Random, load: Load, troubles: Troublemaker, way: Link) -> None:
    planned = schedule(chance, wish.seconds, wish.kills)
    running = [
        asyncio.create_task(load.run(wish.seconds, wish.tasks)),
        asyncio.create_task(troubles.run(planned)),
    ]
    telling = asyncio.create_task(_tell(wish, load, troubles))
    cutting = asyncio.create_task(_cut(way, random.Random(chance.random()), troubles))
    try:
        await asyncio.gather(*running)
        cutting.cancel()
        wish.told(f"all troubles are over: {len(load.open)} of {len(load.submissions)} runs are open")
        await load.finish(_BOUND)
    finally:
        for task in (*running, telling, cutting):
            task.cancel()
        await asyncio.gather(*running, telling, cutting, return_exceptions=True)


async def _cut(way: Link, chance: random.Random, troubles: Troublemaker) -> None:
    """The client's connection is cut now and then."""
    while True:
        await asyncio.sleep(chance.uniform(5, 25))
        now = time.time() * 1000
        await way.cut()
        troubles.troubles.append(Trouble(kind="cut client", target="client", begin_ms=now, end_ms=now))


async def _tell(wish: Wish, load: Load, troubles: Troublemaker) -> None:
    start = time.monotonic()
    while True:
        await asyncio.sleep(10)
        kills = sum(one.is_kill for one in troubles.troubles)
        wish.told(
            f"{time.monotonic() - start:4.0f} s: {load.tasks} tasks in {len(load.submissions)} runs, "
            f"{len(load.open)} open, {kills} kills, {len(troubles.troubles) - kills} other troubles, "
            f"load {os.getloadavg()[0]:.1f}"
        )


def _runs(load: Load, recorder: Recorder) -> list[str]:
    """All that may have a record: what the client submitted, and what the inboxes say was submitted."""
    found = dict.fromkeys(load.submissions)
    for messages in recorder.messages.values():
        for message in messages:
            try:
                events, _ = unpack_known_events(message.data)
            except MessageError:
                continue
            found.update(dict.fromkeys(event.run for event in events if isinstance(event, Submit)))
    return list(found)


def _collect(
    history: History, load: Load, recorder: Recorder, troubles: Troublemaker, nodes: list[Node], project: Path
) -> None:
    history.submissions = list(load.submissions.values())
    history.ends = list(load.ends.values())
    history.messages = [message for messages in recorder.messages.values() for message in messages]
    history.plans = recorder.plans
    history.effects = _journal(project)
    history.troubles = sorted(troubles.troubles, key=lambda one: one.begin_ms)
    history.lives = sorted((live for node in nodes for live in node.lives()), key=lambda live: live.at_ms)
    history.deaths = [death for node in nodes for death in node.deaths]
    history.problems = [*recorder.problems, *troubles.problems, *load.problems]


def _journal(project: Path) -> list[Effect]:
    path = project / "journal.jsonl"
    found = [msgspec.json.decode(line, type=Effect) for line in path.read_bytes().splitlines() if line]
    return sorted(found, key=lambda effect: effect.at_ms)
