"""An executor process: takes tokens, runs their units, writes the results into shared memory.

A token is a number in a pipe; whoever reads it from the pipe owns the unit. The agent takes work back by reading
tokens itself, so a unit is never both handed back and run. Frames come over the socket: plans, jobs, blobs.

There are three kinds: `serial` runs one unit at a time in the process's main thread, `threads` several in a pool,
`coroutines` many on an event loop. None knows of time limits: the agent watches the shared memory, and kills the
process. It dies with its agent: by the parent's death signal on Linux, and when it reads the end of the socket.
"""

from __future__ import annotations

import ctypes
import faulthandler
import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from flowrun.where import tell

from .core import Core
from .frames import Ready, Setup
from .link import Link
from .logs import LogWriter
from .mask import process_mask
from .shared import SharedMemory

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Arguments: descriptors of socket, token pipe and memory; the parent's process id."""
    sock, tokens, memory, parent = map(int, sys.argv[1:5])
    _die_with(parent)
    for fd in (sock, tokens, memory):
        os.set_inheritable(fd, False)
    link = Link(sock)
    setup = link.receive()
    assert isinstance(setup, Setup)
    os.chdir(setup.root)
    root = Path.cwd()
    sys.path[:0] = [str(root), *(str(root / folder) for folder in setup.python)]
    tell(setup.url, setup.env, setup.code)
    core = Core(link, tokens, SharedMemory(memory), root)
    _capture(core)
    link.send(Ready())
    _serve(core, setup)


def _serve(core: Core, setup: Setup) -> None:
    # each kind imports what only it needs, and most executors are serial
    if setup.kind == "process":
        from .serial import serve_serial

        serve_serial(core)
    elif setup.kind == "thread":
        from .threads import serve_threads

        serve_threads(core, setup.width)
    else:
        from .coroutines import serve_coroutines

        serve_coroutines(core, setup.width)


def _die_with(parent: int) -> None:
    """The kernel kills this process when its parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _capture(core: Core) -> None:
    """Output of Python code goes to the agent as frames; that of its children through the descriptors 1 and 2."""
    mask = process_mask()
    out, err, log = (
        LogWriter(fd, mask, partial(core.log, stream), core.speaker)
        for fd, stream in ((1, "out"), (2, "err"), (2, "log"))
    )
    core.writers = [out, err, log]
    sys.stdout, sys.stderr = out, err
    handler: logging.StreamHandler[Any] = logging.StreamHandler(log)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    os.register_at_fork(after_in_child=partial(_uncapture, handler))
    faulthandler.enable(file=2)


def _uncapture(handler: logging.StreamHandler[Any]) -> None:
    """A forked child writes to the descriptors: the socket to the agent is its parent's."""
    sys.stdout, sys.stderr = (open(fd, "w", buffering=1, closefd=False) for fd in (1, 2))  # noqa: SIM115
    handler.setStream(sys.stderr)
