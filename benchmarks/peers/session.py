"""One job of one system: servers, workers and client are started, warmed up, measured, and ended.

Every job has servers with an empty store and workers of its own. The client says when the warm-up is over; then the
CPU time of all processes of the system (client, workers, servers) is read, the client is told to go, and the CPU time
is read again when it is done. What the machine spent beside that was spent by others: it is told with each figure.
"""

from __future__ import annotations

import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers.processes import Processes, cpu_seconds, machine_seconds
from peers.servers import SERVERS, MissingServer
from peers.systems import System

__all__ = ["Outcome", "measure"]

HERE = Path(__file__).parent
#: a job, its warm-up included, must end within this time, in seconds
PATIENCE = 300.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a job gave; without `seconds`, why not."""

    #: of the whole, or of each round
    seconds: tuple[float, ...] = ()
    #: tasks that ran, in all rounds
    items: int = 0
    #: tasks of a round
    per: int = 1
    #: of all processes of the system, per task
    cpu: float = 0.0
    #: the machine's load average before the system was started
    load: float = 0.0
    #: cores that others kept busy meanwhile
    others: float = 0.0
    #: why there is no figure: "none" if the system does not offer this
    problem: str = ""

    @property
    def rate(self) -> float:
        """Tasks per second."""
        return self.items / sum(self.seconds)

    def each(self, share: float = 0.5) -> float:
        """Seconds per task: the median of the rounds, or another quantile."""
        return quantile([seconds / self.per for seconds in self.seconds], share)


def quantile(values: Sequence[float], share: float) -> float:
    if share == 0.5:
        return statistics.median(values)
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def measure(system: System, job: str, count: int, peers: Path) -> Outcome:
    """`peers`: the `bin` folder of the peers' virtual environment."""
    programs = Path(sys.executable).parent if system.own else peers
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="flowc-versus-") as name:
        folder = Path(name)
        with Processes(folder / "output.log") as started:
            try:
                client = _start(system, job, count, programs, started, folder)
                return _watch(client, started, load)
            except (MissingServer, OSError, RuntimeError) as error:
                return Outcome(problem=str(error), load=load)


def _start(
    system: System, job: str, count: int, programs: Path, started: Processes, folder: Path
) -> subprocess.Popen[str]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env |= dict(system.env) | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}
    for server in system.servers:
        env |= SERVERS[server](started, folder)
    for program, *arguments in system.workers:
        started.start([str(programs / program), *arguments], env)
    command = [str(programs / "python"), str(HERE / "client.py"), system.module, job, str(count)]
    return started.start(command, env, talk=True)


def _watch(client: subprocess.Popen[str], started: Processes, load: float) -> Outcome:
    said = _hear(client, started)
    if "ready" in said:
        own, all_of_it, start = cpu_seconds(started.pids()), machine_seconds(), time.perf_counter()
        assert client.stdin is not None
        client.stdin.write("go\n")
        client.stdin.flush()
        said = _hear(client, started)
        own, all_of_it = cpu_seconds(started.pids()) - own, machine_seconds() - all_of_it
        wall = time.perf_counter() - start
    if "seconds" not in said:
        return Outcome(problem="none" if "none" in said else said.get("error", "it said nothing"), load=load)
    return Outcome(
        seconds=tuple(said["seconds"]), items=said["items"], per=said["per"], load=load,
        cpu=own / said["items"], others=max(all_of_it - own, 0.0) / wall,
    )  # fmt: skip


def _hear(client: subprocess.Popen[str], started: Processes) -> dict[str, Any]:
    """The client's next line. Raises RuntimeError if there is none in time."""
    assert client.stdout is not None
    if not select.select([client.stdout], [], [], PATIENCE)[0]:
        raise RuntimeError(f"not done after {PATIENCE:.0f} s: {started.last_words()}")
    line = client.stdout.readline()
    if not line:
        raise RuntimeError(f"the client ended: {started.last_words()}")
    said: dict[str, Any] = json.loads(line)
    return said
