"""Starts executor processes. Imports little: a worker process starts its first executor before it imports the rest."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence

from .memory_file import create_file

__all__ = ["Spawned", "spawn", "task_environment"]

#: beginnings of variables that tasks do not see: what opens secrets, and secrets that they did not ask for
_NOT_FOR_TASKS = ("FLOW_KEY", "FLOW_SECRET_", "FLOW_VAULT_")


class Spawned:
    """A started executor, and this side's ends of what connects to it."""

    def __init__(self, process: subprocess.Popen[bytes], sock: socket.socket, tokens: tuple[int, int], memory: int):
        self.process = process
        #: frames, both ways
        self.sock = sock
        #: the pipe of tokens, read end and write end: what is read from it is not executed
        self.tokens = tokens
        #: file descriptor of the shared memory
        self.memory = memory


def task_environment(python: str = "") -> dict[str, str]:
    """The environment of whatever runs code that is not ours: tasks, and what installs their dependencies. `python`:
    the interpreter of a virtual environment, whose programs come first."""
    found = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_TASKS)}
    if python:
        folder = os.path.dirname(python)  # noqa: PTH120 (pathlib takes its time to import)
        found["PATH"] = f"{folder}:{found.get('PATH', os.defpath)}"
        found["VIRTUAL_ENV"] = os.path.dirname(folder)  # noqa: PTH120
    return found


def spawn(python: str = "", paths: Sequence[str] = ()) -> Spawned:
    """An executor that waits for its Setup. `python`: another interpreter than ours; `paths` come last on its sys.path,
    and are where it finds us."""
    ours, theirs = socket.socketpair()
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    ours.setblocking(False)
    memory = create_file()
    passed = (theirs.fileno(), read, memory)
    code = f"import sys; sys.path += {list(paths)!r}; " if paths else ""
    code += "from flowrun.worker.start_executor import start; start()"
    process = subprocess.Popen(
        [python or sys.executable, "-P", "-c", code, *map(str, passed), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=passed,
        env=task_environment(python),
        process_group=0,  # its own group, so that what it starts can be killed with it, and Ctrl-C does not reach it
    )
    theirs.close()
    return Spawned(process, ours, (read, write), memory)
