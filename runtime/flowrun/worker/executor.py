"""An executor process: a plain loop that takes a token, runs its unit, writes the result into shared memory.

A token is a number in a pipe; whoever reads it from the pipe owns the unit. The agent takes work back by reading
tokens itself, so a unit is never both handed back and run. Frames come over the socket: plans, jobs, blobs.

The loop knows nothing of time limits: the agent watches the shared memory and kills the process. It dies with its
agent: by the parent's death signal on Linux, and when it reads the end of the socket.
"""

from __future__ import annotations

import bisect
import ctypes
import faulthandler
import logging
import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from flowrun.errors import StoreError

from .execute import Executions, Prepared, run
from .frames import (
    Bell,
    BlobReply,
    FrameBuffer,
    FromExecutor,
    GetBlob,
    JobFrame,
    Log,
    PlanFrame,
    PutBlob,
    Ready,
    Setup,
    ToExecutor,
    pack_frame,
)
from .logs import LogWriter, Mask
from .shared import SharedMemory

__all__ = ["main"]

#: results wait at most this long for a bell, while units are quick, in seconds
BELL_EVERY = 0.003
_PR_SET_PDEATHSIG = 1
_TOKEN_BYTES = 8


class _Link:
    """The socket to the agent, by its descriptor: the module `socket` takes its time to import."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = FrameBuffer()
        self._frames: deque[ToExecutor] = deque()
        self._decoder = msgspec.msgpack.Decoder(ToExecutor)
        self._lock = threading.Lock()  # threads of tasks write logs

    def fileno(self) -> int:
        return self._fd

    def send(self, frame: FromExecutor) -> None:
        data = memoryview(pack_frame(frame))
        with self._lock:
            while data:
                data = data[os.write(self._fd, data) :]

    def receive(self) -> ToExecutor:
        """Waits for a frame; ends the process when the agent is gone."""
        while not self._frames:
            data = os.read(self._fd, 1 << 18)
            if not data:
                os._exit(0)
            self._frames.extend(map(self._decoder.decode, self._buffer.feed(data)))
        return self._frames.popleft()


class _AgentBlobs:
    """The blob store, through the agent. Keeps what was read lately."""

    #: of what is kept, in bytes; the last one is always kept
    ROOM = 64 * 1024 * 1024

    def __init__(self, executor: _Executor) -> None:
        self._executor = executor
        self._kept: dict[str, bytes] = {}

    def get(self, digest: str) -> bytes:
        data = self._kept.pop(digest, None)
        if data is None:
            data = self._executor.request(GetBlob(digest))
        self._kept[digest] = data
        while len(self._kept) > 1 and sum(map(len, self._kept.values())) > self.ROOM:
            del self._kept[next(iter(self._kept))]
        return data

    def put(self, digest: str, data: bytes) -> None:
        self._executor.request(PutBlob(digest, data))


class _Executor:
    """The loop and its state."""

    def __init__(self, link: _Link, tokens: int, memory: SharedMemory, root: Path) -> None:
        self._link = link
        self._tokens = tokens
        self._memory = memory
        self._executions = Executions(root, _AgentBlobs(self))
        self._pid = os.getpid()
        self._job = JobFrame(0, (), ())
        #: per item of the job: its first token
        self._starts: list[int] = []
        self._end = 0
        #: what the current item's units share, the token after its last, and its first position minus first token
        self._prepared: Prepared | None = None
        self._prepared_end = 0
        self._shift: int | None = None
        self._replies: deque[BlobReply] = deque()
        self._run_until_complete: Callable[[Coroutine[Any, Any, Any]], Any] | None = None
        self._rung = 0.0
        self._unrung = False
        self.token = 0
        self.writers: list[LogWriter] = []

    def log(self, stream: str, text: str) -> None:
        self._link.send(Log(self.token, stream, text))

    def serve(self) -> None:
        self._link.send(Ready())
        while True:
            try:
                data = os.read(self._tokens, _TOKEN_BYTES)
            except BlockingIOError:
                self._idle()
                continue
            if not data:
                return
            self._run(int.from_bytes(data, "little"))

    def _idle(self) -> None:
        self._memory.rest()
        if self._unrung:
            self._ring()
        readable, _, _ = select.select([self._link.fileno(), self._tokens], [], [])
        if self._link.fileno() in readable:
            self._handle(self._link.receive())

    def _handle(self, frame: ToExecutor) -> None:
        if isinstance(frame, PlanFrame):
            self._executions.add(frame.digest, frame.data)
        elif isinstance(frame, JobFrame):
            self._job, self._prepared, self._starts = frame, None, []
            self._end = frame.base
            for item in frame.items:
                self._starts.append(self._end)
                self._end += max(1, item.last - item.first) if item.first >= 0 else 1
        elif isinstance(frame, BlobReply):
            self._replies.append(frame)

    def request(self, frame: GetBlob | PutBlob) -> bytes:
        """Asks the agent and waits. Raises StoreError."""
        self._link.send(frame)
        while not self._replies:
            self._handle(self._link.receive())
        reply = self._replies.popleft()
        if reply.error is not None:
            raise StoreError(reply.error)
        return reply.data

    # ---- one unit

    def _run(self, token: int) -> None:
        while token >= self._end:
            self._handle(self._link.receive())
        self.token = token
        self._memory.begin(token)
        started, clock = time.time(), time.perf_counter()
        prepared, index = self._unit(token)
        ended = run(prepared, index, self._wait)
        if os.getpid() != self._pid:
            os._exit(0)  # the task forked, and this is the child coming back from it
        for writer in self.writers:
            writer.end_attempt()
        now = time.perf_counter()
        while not self._memory.write(token, ended.state, started, now - clock, ended.payload):
            self._ring()
            time.sleep(0.001)
        self._unrung = True
        if now - self._rung > BELL_EVERY:
            self._ring()

    def _unit(self, token: int) -> tuple[Prepared, int]:
        """What the token stands for: a prepared item and a position of its range, or -1."""
        if self._prepared is None or token >= self._prepared_end:
            at = bisect.bisect_right(self._starts, token) - 1
            item = self._job.items[at]
            self._prepared = self._executions.prepare(item, self._job.plans[item.plan])
            self._prepared_end = self._starts[at + 1] if at + 1 < len(self._starts) else self._end
            self._shift = item.first - self._starts[at] if item.first >= 0 else None
        return self._prepared, -1 if self._shift is None else token + self._shift

    def _ring(self) -> None:
        self._link.send(Bell())
        self._unrung = False
        self._rung = time.perf_counter()

    def _wait(self, awaitable: Awaitable[Any]) -> Any:
        """Runs an `async def` task on this process's loop, which lives as long as the process."""
        if self._run_until_complete is None:
            import asyncio  # takes as long to import as all the rest, and most executors never need it

            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            self._run_until_complete = loop.run_until_complete
        return self._run_until_complete(_awaited(awaitable))


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _die_with(parent: int) -> None:
    """The kernel kills this process when its parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _capture(executor: _Executor) -> None:
    """Output of Python code goes to the agent as frames; that of its children through the descriptors 1 and 2."""
    mask = Mask()
    out, err, log = (
        LogWriter(fd, mask, partial(executor.log, stream)) for fd, stream in ((1, "out"), (2, "err"), (2, "log"))
    )
    executor.writers = [out, err, log]
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


def main() -> None:
    """Arguments: descriptors of socket, token pipe and memory; the parent's process id."""
    sock, tokens, memory, parent = map(int, sys.argv[1:5])
    _die_with(parent)
    for fd in (sock, tokens, memory):
        os.set_inheritable(fd, False)
    link = _Link(sock)
    setup = link.receive()
    assert isinstance(setup, Setup)
    os.chdir(setup.root)
    root = Path.cwd()
    sys.path[:0] = [str(root), *(str(root / folder) for folder in setup.python)]
    executor = _Executor(link, tokens, SharedMemory(memory), root)
    _capture(executor)
    executor.serve()
