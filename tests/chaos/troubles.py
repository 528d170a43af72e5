"""The troubles of a chaos run: what is done to which process, and when, all from a seed.

`schedule` is pure: so many kills, spread over the time, and other troubles in between. `Troublemaker` does them, one
after another (a pause, a stall may still be on when the next one comes), and writes down when each began and ended.
A slow disk is played by a server that is stopped and let go in short pulses: its writes take long, and nothing else
happens.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from flowrun.errors import FlowError
from flowrun.lease import Holder
from flowrun.transport import Transport

from tests.support.cluster import Server

from .history import Trouble
from .nodes import Node, Role
from .processes import send
from .servers import Servers

__all__ = ["Planned", "Troublemaker", "schedule"]

#: kind -> how often, of those that kill and of the others
_KILLS = {"kill worker": 30, "kill executor": 22, "kill leader": 26, "kill server": 14, "kill node": 8}
_OTHERS = {
    "pause worker": 20, "pause executor": 10, "pause leader": 20, "pause server": 8, "cut": 20, "stall": 14,
    "slow disk": 8,
}  # fmt: skip
#: kills among all troubles
_SHARE = 0.66
#: none begins so shortly before the end, in seconds
_QUIET_END = 2.0
_PULSES, _PULSE_SECONDS = 25, 0.08
_INBOXES = "FLOW_chaos_INBOX_"


@dataclass(frozen=True)
class Planned:
    kind: str
    #: seconds after the beginning
    at: float
    #: of a pause, or from the end of a server to its start, in seconds
    lasts: float
    #: seed of what it hits
    draw: float


def schedule(chance: random.Random, seconds: float, kills: int) -> list[Planned]:
    """At least so many kills in that time."""
    others = round(kills * (1 - _SHARE) / _SHARE)
    kinds = chance.choices(list(_KILLS), list(_KILLS.values()), k=kills)
    kinds += chance.choices(list(_OTHERS), list(_OTHERS.values()), k=others)
    for place, kind in enumerate(("kill worker", "kill leader", "kill server", "kill executor")):
        if place < kills:
            kinds[place] = kind  # each at least once, however short it is
    chance.shuffle(kinds)
    slot = max(seconds - _QUIET_END - 1.0, 1.0) / len(kinds)
    planned = []
    for place, kind in enumerate(kinds):
        at = 1.0 + slot * (place + chance.random())
        planned.append(Planned(kind, at, _lasts(kind, chance), chance.random()))
    return planned


def _lasts(kind: str, chance: random.Random) -> float:
    match kind:
        case "kill server":
            return chance.uniform(0.0, 1.5)
        case "pause server":
            return chance.uniform(0.3, 2.5)
        case "pause worker" | "pause leader" | "pause executor":
            return chance.choice((chance.uniform(0.3, 2.0), chance.uniform(3.0, 9.0)))
        case "stall":
            return chance.uniform(0.5, 8.0)
        case "cut":
            return chance.choice((0.0, chance.uniform(0.2, 3.0)))
        case _:
            return 0.0


class Troublemaker:
    def __init__(self, nodes: Sequence[Node], servers: Servers, transport: Transport) -> None:
        self._nodes, self._servers, self._transport = nodes, servers, transport
        self.troubles: list[Trouble] = []
        self.problems: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = asyncio.Lock()
        #: what is paused now: (process or way, how)
        self._busy: set[object] = set()
        #: node -> partitions that it leads
        self._leads: dict[str, tuple[str, ...]] = {}

    async def run(self, planned: Sequence[Planned]) -> None:
        """Returns when all are over and healed."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        follow = asyncio.create_task(self._follow_leases())
        for one in planned:
            await asyncio.sleep(max(start + one.at - loop.time(), 0))
            task = loop.create_task(self._make(one))
            self._tasks.add(task)
            task.add_done_callback(self._done)
        while self._tasks:
            await asyncio.wait(self._tasks)
        follow.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.problems.append(f"a trouble could not be made: {type(error).__name__}: {error}")

    async def _make(self, one: Planned) -> None:
        what, _, role = one.kind.partition(" ")
        if role == "server" or one.kind == "slow disk":
            await self._hit_server(one)
        elif what in ("kill", "pause"):
            await self._hit_process(one, what, role)  # type: ignore[arg-type]
        else:
            await self._hit_way(one)

    def _note(
        self, one: Planned, target: str, begin: float, pid: int = 0, end: float = 0, partitions: tuple[str, ...] = ()
    ) -> None:
        self.troubles.append(
            Trouble(kind=one.kind, target=target, pid=pid, begin_ms=begin, end_ms=end or _now(), partitions=partitions)
        )

    # ---- processes of nodes

    async def _hit_process(self, one: Planned, what: str, role: Role) -> None:
        for _ in range(100):  # one that was just killed is soon there again
            found = [(node, pid) for node in self._nodes for pid in node.pids(role) if pid not in self._busy]
            if found:
                break
            await asyncio.sleep(0.1)
        else:
            self.problems.append(f"{one.kind}: there was none for ten seconds")
            return
        node, pid = random.Random(one.draw).choice(found)
        partitions = self._leads.get(node.name, ()) if role in ("leader", "node") else ()
        begin = _now()
        if what == "kill":
            send(pid, signal.SIGKILL)
            self._note(one, node.name, begin, pid, partitions=partitions)
            if role == "node":
                await self._revive(node)
            return
        self._busy.add(pid)
        send(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(one.lasts)
        finally:
            send(pid, signal.SIGCONT)
            self._busy.discard(pid)
            self._note(one, node.name, begin, pid, partitions=partitions)

    @staticmethod
    async def _revive(node: Node) -> None:
        while not node.ended():
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        node.start()

    async def _follow_leases(self) -> None:
        """Who leads what, as of a moment ago."""
        while True:
            try:
                async with asyncio.timeout(2):
                    entries = await self._transport.entries("lease")
            except (FlowError, TimeoutError):
                continue
            found: dict[str, list[str]] = {}
            for entry in entries:
                if entry.data:
                    node = msgspec.msgpack.decode(entry.data, type=Holder).node.partition("/")[0]
                    found.setdefault(node, []).append(entry.key.removeprefix("lease."))
            self._leads = {node: tuple(names) for node, names in found.items()}
            await asyncio.sleep(0.2)

    # ---- ways

    async def _hit_way(self, one: Planned) -> None:
        ways = [node for node in self._nodes if node.link not in self._busy]
        if not ways:
            return
        node = random.Random(one.draw).choice(ways)
        link, begin = node.link, _now()
        self._busy.add(link)
        try:
            if one.kind == "stall":
                link.stall(True)
            else:
                link.refuse(one.lasts > 0)
                await link.cut()
            await asyncio.sleep(one.lasts)
        finally:
            link.stall(False)
            link.refuse(False)
            self._busy.discard(link)
            self._note(one, node.name, begin)

    # ---- servers

    async def _choose_server(self, chance: random.Random) -> Server:
        """Any; of several, mostly one that leads an inbox's stream."""
        if self._servers.replicas > 1 and chance.random() < 0.7:
            return await self._servers.leader_of(f"{_INBOXES}{chance.choice('01')}")
        return chance.choice(self._servers.servers)

    async def _hit_server(self, one: Planned) -> None:
        async with self._server:  # of a cluster, one at a time: two at once is more than it promises to bear
            server = await self._choose_server(random.Random(one.draw))
            begin = _now()
            if one.kind == "kill server":
                server.kill(signal.SIGKILL)
                await asyncio.sleep(one.lasts)
                server.start()
                end = await self._servers.answers(server)
                self._note(one, server.name, begin, end=end)
                if self._servers.replicas > 1:
                    await self._servers.healthy()
            elif one.kind == "pause server":
                server.pause()
                await asyncio.sleep(one.lasts)
                server.resume()
                self._note(one, server.name, begin)
            else:
                for _ in range(_PULSES):
                    server.pause()
                    await asyncio.sleep(_PULSE_SECONDS)
                    server.resume()
                    await asyncio.sleep(_PULSE_SECONDS / 2)
                self._note(one, server.name, begin)


def _now() -> float:
    return time.time() * 1000
