"""Nodes of a chaos run: real ones, started as `flowc node`, each behind proxies of its own that can cut and stall.

The processes below a node are found by their parents, so that a worker, an executor or a leader can be hit alone. All
of them are looked at several times a second: of what dies it is known between which moments it did.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

from tests.support.proxy import Proxy

from .history import Death, Live
from .processes import children, command_of, living, send

__all__ = ["Link", "Node", "Role", "linked"]

Role = Literal["node", "leader", "worker", "executor"]
_HOSTS = Path(__file__).with_name("hosts")
_LOOK_SECONDS = 0.1
#: what a leader logs when its take-over is done
_LIVE = "is led from here"


class Link:
    """The way from a node, or a client, to all servers."""

    def __init__(self, proxies: Sequence[Proxy]) -> None:
        self._proxies = proxies
        self.url = ",".join(proxy.url for proxy in proxies)

    async def cut(self) -> None:
        """All connections end; new ones may be made."""
        for proxy in self._proxies:
            await proxy.cut()

    def stall(self, on: bool) -> None:
        """Bytes stay where they are."""
        for proxy in self._proxies:
            proxy.stalled = on

    def refuse(self, on: bool) -> None:
        for proxy in self._proxies:
            proxy.refuse = on


@asynccontextmanager
async def linked(ports: Sequence[int]) -> AsyncIterator[Link]:
    async with AsyncExitStack() as stack:
        yield Link([await stack.enter_async_context(Proxy(port)) for port in ports])


class Node:
    """One node of the environment, that is started again when its supervisor was killed."""

    def __init__(
        self, name: str, project: Path, folder: Path, source: Path, link: Link, partitions: int, replicas: int
    ) -> None:
        """`source`: where the product's packages are; `folder`: for its log."""
        self.name, self.link, self._source = name, link, source
        self._project, self._log = project, folder / f"{name}.log"
        self._partitions, self._replicas = partitions, replicas
        self._process: subprocess.Popen[bytes] | None = None
        #: pid -> (role, when it was seen to live)
        self._seen: dict[int, tuple[Role, float]] = {}
        self.deaths: list[Death] = []

    def start(self) -> None:
        command = [
            str(Path(sys.executable).with_name("flowc")), "node", "--nats", self.link.url, "--env", "chaos",
            "--name", self.name, "--slots", "2", "--async-slots", "50", "--thread-slots", "4", "--grace", "5",
            "--queues", "default", "--log", "json", "--partitions", str(self._partitions),
            "--replicas", str(self._replicas),
        ]  # fmt: skip
        path = os.pathsep.join((str(_HOSTS), str(self._source)))
        env = {**os.environ, "PYTHONPATH": path, "FLOW_CHAOS_HOST": self.name}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._project, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def ended(self) -> bool:
        """The supervisor has ended."""
        return self._process is None or self._process.poll() is not None

    # ---- its processes

    def look(self) -> None:
        """Which of its processes live."""
        now, parents = time.time() * 1000, living()
        found: dict[int, Role] = {}
        if not self.ended():
            found[self.pid] = "node"
        for pid, (role, _) in self._seen.items():
            if pid in parents:  # those below a supervisor or a worker that was killed may live on for a moment
                found[pid] = role
        for pid in children(self.pid, parents):
            found[pid] = _role(pid)
        for pid in [pid for pid, role in found.items() if role == "worker"]:
            found |= dict.fromkeys(children(pid, parents), "executor")
        for pid, (_, seen) in list(self._seen.items()):
            if pid not in found:
                del self._seen[pid]
                self.deaths.append(Death(pid, self.name, seen, now))
        self._seen.update({pid: (role, now) for pid, role in found.items()})

    async def watch(self) -> None:
        """Looks for ever."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    def pids(self, role: Role) -> list[int]:
        """Its living processes of a role."""
        self.look()
        return sorted(pid for pid, (found, _) in self._seen.items() if found == role)

    # ---- its log

    def lives(self) -> list[Live]:
        """When its leaders were ready."""
        found = []
        for line in self.log_lines():
            event = str(line.get("event", ""))
            if _LIVE in event and event.startswith("partition "):
                at = dt.datetime.fromisoformat(str(line["timestamp"]).replace("Z", "+00:00"))
                found.append(Live(event.split()[1], self.name, at.timestamp() * 1000))
        return found

    def log_lines(self) -> list[dict[str, object]]:
        """What it said. Lines that are none of the log are under "event" alone."""
        found: list[dict[str, object]] = []
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        for line in text.splitlines():
            try:
                said = json.loads(line)
            except ValueError:
                said = None
            found.append(said if isinstance(said, dict) else {"event": line})
        return found

    # ---- its end

    async def stop(self) -> None:
        """As a service manager does; what does not end is killed."""
        if self._process is None:
            return
        for pid in self._seen:
            send(pid, signal.SIGCONT)
        if not self.ended():
            self._process.send_signal(signal.SIGQUIT)
        for _ in range(100):
            if self.ended():
                break
            await asyncio.sleep(0.1)
        self.look()
        for pid in [*self._seen]:
            send(pid, signal.SIGKILL)
        self._process.wait()


def _role(pid: int) -> Role:
    """Of a child of a supervisor."""
    return "leader" if "flowrun.node" in command_of(pid) else "worker"
