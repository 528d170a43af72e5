"""Processes that a benchmark starts, and what CPU time they and the whole machine have used, from /proc (Linux only).

Each leads a session of its own, as services do: so it is ended together with its children, and the kernel's groups of
processes that share the CPU evenly (autogroup) are the same as in service.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

__all__ = ["Processes", "cpu_seconds", "free_port", "machine_seconds", "settle"]

_TICK = os.sysconf("SC_CLK_TCK")
_STOP_SECONDS = 5.0
#: a machine is quiet when less than so many cores are busy for so long, in seconds
_QUIET_CORES, _QUIET_SECONDS = 0.1, 1.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Processes:
    """`with Processes(log) as started: started.start([...])`; all are ended with the block."""

    def __init__(self, log: Path) -> None:
        #: takes what they write, for errors
        self.log = log
        self._running: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *exc: object) -> None:
        for process in reversed(self._running):
            self.end(process)

    def start(self, command: Sequence[str], env: Mapping[str, str], *, talk: bool = False) -> subprocess.Popen[str]:
        """With `talk`, standard input and output are pipes."""
        pipe = subprocess.PIPE if talk else None
        with self.log.open("a") as log:
            process = subprocess.Popen(
                command, env=dict(env), stdin=pipe or subprocess.DEVNULL, stdout=pipe or log, stderr=log,
                text=True, start_new_session=True,
            )  # fmt: skip
        self._running.append(process)
        return process

    def end(self, process: subprocess.Popen[str]) -> None:
        """Asks it to end; what is left of its group after some seconds is killed."""
        self._running.remove(process)
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def pids(self) -> list[int]:
        return [process.pid for process in self._running]

    def wait_for_port(self, process: subprocess.Popen[str], port: int, seconds: float = 10.0) -> None:
        """Returns when something answers on the port. Raises RuntimeError."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                return
            time.sleep(0.02)
        raise RuntimeError(f"{process.args!r} does not answer: {self.last_words()}")

    def last_words(self) -> str:
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return " | ".join(lines[-3:])


def cpu_seconds(roots: Iterable[int]) -> float:
    """User and system time of processes and all their descendants, also of those that have ended."""
    ticks, queue = 0, list(roots)
    while queue:
        pid = queue.pop()
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            children = [thread / "children" for thread in Path(f"/proc/{pid}/task").iterdir()]
            queue.extend(int(child) for file in children for child in file.read_text().split())
        except OSError:
            continue  # it ended meanwhile: its parent has its time
        ticks += sum(map(int, fields[11:15]))
    return ticks / _TICK


def machine_seconds() -> float:
    """CPU time of everything on this machine since it started."""
    user, nice, system, _idle, _wait, irq, soft = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + soft) / _TICK


def settle(most: float) -> None:
    """Returns when the machine has been quiet, or after `most` seconds."""
    end = time.monotonic() + most
    while time.monotonic() < end:
        before = machine_seconds()
        time.sleep(_QUIET_SECONDS)
        if machine_seconds() - before < _QUIET_CORES * _QUIET_SECONDS:
            return
